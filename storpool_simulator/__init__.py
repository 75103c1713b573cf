"""A stand-in for a StorPool cluster: API over HTTP, data as files, hosts as folders with devices.

`running(...)` gives one inside this process; `main` is the command `storpool-simulator`. It follows
the API as far as public sources show it. docs/simulator.md says what is simulated and what is not.
It never imports the product, which it must be able to contradict.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from storpool_simulator.errors import StartError

if TYPE_CHECKING:
    from storpool_simulator.embedded import Simulator, running

__all__ = ["Simulator", "StartError", "main", "running"]


def __getattr__(name: str) -> Any:
    # The data path is a process of its own: it must not wait for the HTTP server to be loaded.
    if name in ("Simulator", "running"):
        from storpool_simulator import embedded

        return getattr(embedded, name)
    raise AttributeError(name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `storpool-simulator` and return its exit code."""
    try:
        from storpool_simulator import cli
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("storpool_ovirt"):
            raise
        sys.stderr.write(
            f"storpool-simulator: {error.name} is not installed: run  {sys.prefix}/bin/pip install"
            " -c requirements/constraints.txt '.[simulator]'  in a clone (docs/simulator.md)\n"
        )
        return 1
    return cli.main(argv)
