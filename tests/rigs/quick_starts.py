"""Our installed programs, each run of which shares one start of Python with the others of this
session (`forked`): for stages, whose tests are about what programs do, not about how they start.

Starting Python and loading modules are two thirds of what a verb takes, and more of what a command
does. A module whose tests are about starts says `REAL_STARTS = True`: its stage has real ones. So
has whatever is not one of our programs as pip has put it beside this Python, or is to run with
another environment for Python itself.

A pytest plugin, named in conftest.py.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs import forked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UMASK = 0o022  # as Engine's, and a shell's
# What decides how Python itself begins
_OF_PYTHON = ("PYTHON", "LANG", "LC_")
# What a verb that talks to StorPool and PostgreSQL imports
ADAPTER = (
    "storpool_ovirt.engine.adapter",
    "storpool_ovirt.engine.disks",
    "storpool_ovirt.cluster.binding:load",
    "storpool_ovirt.cluster.transport",
    "psycopg2",
    "pwd",
    "syslog",
    "threading",
    "uuid",
)
# What an administrator's command does
COMMAND = (
    *ADAPTER,
    "storpool_ovirt.admin.command",
    "storpool_ovirt.admin.group",
    "storpool_ovirt.admin.reconcile",
    "storpool_ovirt.admin.audit_text",
    "storpool_ovirt.admin.listing_text",
    "storpool_ovirt.admin.snapshots_text",
    "storpool_ovirt.admin.backup_findings",
    "storpool_ovirt.admin.dry_run",
    "storpool_ovirt.host.openers",
    "click.shell_completion",
    "rich.cells",
    "locale",
)
PARTS = {"storpool-adapter": ADAPTER, "storpool-ovirt": COMMAND}

_turn = threading.Lock()
_keepers: dict[tuple[object, ...], forked.Keeper] = {}


@pytest.fixture(scope="session", autouse=True)
def _end_of_keepers() -> Iterator[None]:
    """The processes that were started for this go with the session."""
    yield
    while _keepers:
        _keepers.popitem()[1].close()


def real(request: pytest.FixtureRequest) -> bool:
    """Tell whether a test's module wants real starts."""
    return bool(getattr(request.module, "REAL_STARTS", False))


def keeper(program: str | Path, environment: Mapping[str, str]) -> forked.Keeper | None:
    """Return what keeps the start of a program; None where its start has to be a real one."""
    path = Path(program).resolve()
    if path.parent != Path(sys.executable).absolute().parent.resolve() or path.name not in PARTS:
        return None
    begins = tuple(sorted(each for each in environment.items() if each[0].startswith(_OF_PYTHON)))
    if any(key.startswith("PYTHON") for key, _ in begins):
        return None
    key = (path.name, begins)
    with _turn:  # verbs that are the first ones may begin at once
        if key not in _keepers:
            _keepers[key] = forked.Keeper(PARTS[path.name], environment)
        return _keepers[key]


def run(
    argv: Sequence[str | Path], environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with nothing to read, as a shell would; its start is shared where
    that can be.

    Raises subprocess.TimeoutExpired.
    """
    words = [*map(str, argv)]
    kept = keeper(words[0], environment)
    if kept is None:
        return really_run(argv, environment, seconds)
    with kept.started(words, Path.cwd(), UMASK, environment, is_apart=True) as running:
        stdout, stderr = running.communicate(timeout=seconds)
        status = running.wait()
    said = (_text(each) for each in (stdout, stderr))
    return subprocess.CompletedProcess(words, status, *said)


def really_run(
    argv: Sequence[str | Path], environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Do as `run`, with a start of its own."""
    return subprocess.run(
        argv,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


def _text(said: bytes) -> str:
    return said.decode().replace("\r\n", "\n").replace("\r", "\n")
