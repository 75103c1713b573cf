"""A program of the product with its limits cut, for what would else be minutes of waiting.

    python tests/rigs/hasty.py host.helper '{"deadline_seconds": 3.0}' NAME [ARGUMENT...]

runs `storpool_ovirt.host.helper.main` as it would run under NAME, with these limits in place of
its own.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

SOURCE = """#!/bin/sh
exec {interpreter} {program} {module} '{limits}' "$0" "$@"
"""


def written(path: Path, module: str, **limits: float) -> Path:
    """Write a program that stands for one of the product's, and return its path."""
    own = Path(__file__).resolve()
    path.write_text(
        SOURCE.format(
            interpreter=sys.executable, program=own, module=module, limits=json.dumps(limits)
        )
    )
    path.chmod(0o755)
    return path


def main(module: str, limits: str, *argv: str) -> int:
    """Run a program's `main` with these arguments and limits; return its exit code."""
    program: Any = importlib.import_module(f"storpool_ovirt.{module}")
    code: int = program.main(list(argv), limits=program.LIMITS._replace(**json.loads(limits)))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
