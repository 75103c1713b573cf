"""Run `python -m storpool_simulator`, which is the same as `storpool-simulator`."""

from __future__ import annotations

import sys

from storpool_simulator import main

sys.exit(main())
