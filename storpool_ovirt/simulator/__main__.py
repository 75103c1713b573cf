"""``python -m storpool_ovirt.simulator``: the same as ``storpool-simulator``."""

from __future__ import annotations

import sys

from storpool_ovirt.simulator import main

sys.exit(main())
