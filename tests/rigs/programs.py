"""Programs that tests write for themselves."""

from __future__ import annotations

import sys
from pathlib import Path


def written(path: Path, source: str, **facts: str) -> Path:
    """Write a program, with this Python and these facts in the places that `source` has for them;
    return its path."""
    path.write_text(source.format(python=sys.executable, **facts))
    path.chmod(0o755)
    return path
