"""How the product's programs talk to StorPool in a run of the tests.

    STORPOOL_TESTS_TRANSPORT=binding .venv/bin/pytest tests/engine

What holds by the one way has to hold by the other (`storpool_ovirt/cluster/transport.py`). Without
it each program has its own default. The tests of the room `cluster` run by both.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "STORPOOL_TESTS_TRANSPORT"
WAYS = ("wire", "binding")


def chosen() -> str:
    """Return what this run asks for; raise ValueError for what is none."""
    asked_for = os.environ.get(VARIABLE, "") or "auto"
    if asked_for not in (*WAYS, "auto"):
        raise ValueError(f"{VARIABLE}: {asked_for!r} is neither of {WAYS}")
    return asked_for


def loading_seconds() -> int:
    """Return how much longer than by its own way a program of this run may take for what it loads,
    a dozen of them at once: a limit that is cut to a second or two has this added."""
    return 6 if chosen() == "binding" else 0


def options() -> dict[str, str]:
    """Return the driver option that says so."""
    return {} if chosen() == "auto" else {"sp_transport": chosen()}


def tell(root: str | Path) -> None:
    """Have the storpool.conf of a host say so."""
    if chosen() != "auto":
        folder = Path(root, "etc", "storpool.conf.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "transport.conf").write_text(f"SP_OVIRT_TRANSPORT={chosen()}\n")
