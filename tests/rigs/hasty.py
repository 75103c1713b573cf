"""A program of the product with its limits cut, for what would else be minutes of waiting.

    python tests/rigs/hasty.py host.helper '{"deadline_seconds": 3.0}' NAME [ARGUMENT...]

runs `storpool_ovirt.host.helper.main` as it would run under NAME, with these limits in place of
its own. Where all programs of a run talk to StorPool by the binding (`transports.py`) that is
loaded first (`--binding`): it takes as long as such limits are, and is not what they are for.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

BINDING = "--binding"
SOURCE = """#!/bin/sh
exec {interpreter} {program} {module} '{limits}' "$0" "$@"
"""


def written(path: Path, module: str, **limits: float) -> Path:
    """Write a program that stands for one of the product's, and return its path."""
    from rigs import transports

    own = str(Path(__file__).resolve())
    program = f"{own} {BINDING}" if transports.chosen() == "binding" else own
    path.write_text(
        SOURCE.format(
            interpreter=sys.executable, program=program, module=module, limits=json.dumps(limits)
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
    arguments = sys.argv[1:]
    if arguments[0] == BINDING:
        importlib.import_module("storpool_ovirt.cluster.binding").load()
        del arguments[0]
    sys.exit(main(*arguments))
