"""The rooms: each imports from the rooms below it, and importing does no work."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cinder_driver
import ovirt_demo
import storpool_ovirt
import storpool_simulator

PACKAGE = Path(storpool_ovirt.__file__).parent
# From the ground up.  The rooms of one storey never import each other.
STOREYS = (
    ("ground",),  # the files that lie flat in storpool_ovirt/
    ("privilege",),
    ("cluster",),
    ("policy",),
    ("engine", "host", "fence"),
    ("agent",),
    ("setup",),
    ("doctor",),
    ("admin",),
)
STOREY = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}
# Who alone may import a library; the other parts of the house start without it.
ALONE = {"psycopg2": {"engine"}, "click": {"admin"}, "rich": {"admin"}, "ovirtsdk4": {"setup"}}
# The demo is beside the house; one command starts it, where it is installed.
STARTS_THE_DEMO = "admin.commands.demo"
BESIDE = {"storpool_simulator": storpool_simulator, "ovirt_demo": ovirt_demo}
OPENSTACK = {
    "cinder",
    "cinderlib",
    "os_brick",
    "oslo_concurrency",
    "oslo_config",
    "oslo_log",
    "oslo_utils",
}


def name(path: Path, package: Path = PACKAGE) -> str:
    """Return how a file is imported, below its package: `errors`, `cluster.api`."""
    return ".".join(path.relative_to(package).with_suffix("").parts)


def files(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the files of a package by their names."""
    found = {name(path, package): path for path in sorted(package.rglob("*.py"))}
    return {key: path for key, path in found.items() if not key.endswith("__init__")}


FILES = files()


def imported(path: Path) -> set[str]:
    """Return all that a file imports by its full name, also inside functions and for types."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    """Return the packages that a file imports from."""
    return {each.split(".")[0] for each in imported(path)}


def ours(path: Path) -> set[str]:
    """Return the files of storpool_ovirt that a file imports from."""
    found = set()
    for each in imported(path):
        parts = each.split(".")
        if parts[0] == "storpool_ovirt":
            candidates = (".".join(parts[1:length]) for length in (4, 3, 2) if len(parts) >= length)
            found |= {next((one for one in candidates if one in FILES), ".".join(parts[1:]))}
    return found


def room(module: str) -> str:
    """Return the room that a file of the house is in."""
    return module.rpartition(".")[0].partition(".")[0] or "ground"


@pytest.mark.parametrize("module", FILES)
def test_a_room_imports_only_what_is_below_it(module: str) -> None:
    """Down, or within the room; a folder that has no storey yet has no place in the house."""
    mine = room(module)
    for other in ours(FILES[module]):
        theirs = room(other)
        assert mine == theirs or STOREY[theirs] < STOREY[mine], f"{module} imports {other}"


def test_there_is_no_cycle() -> None:
    """Of no length: whatever is left when the files that import nothing more are taken away."""
    left = {module: ours(path) - {module} for module, path in FILES.items()}
    while True:
        free = {module for module, wanted in left.items() if not wanted & left.keys()}
        if not free:
            break
        left = {module: wanted for module, wanted in left.items() if module not in free}
    assert not left


@pytest.mark.parametrize("module", FILES)
def test_a_library_is_known_in_one_room(module: str) -> None:
    """A database in engine/, a terminal in admin/ and setup/; OpenStack nowhere."""
    used = packages(FILES[module])
    for library, rooms in ALONE.items():
        assert library not in used or room(module) in rooms, library
    assert not used & {*OPENSTACK, "cinder_driver", "storpool_simulator"}
    assert "ovirt_demo" not in used or module == STARTS_THE_DEMO


@pytest.mark.parametrize("package", BESIDE)
def test_what_stands_beside_the_house_imports_none_of_it(package: str) -> None:
    """The simulator must be able to contradict the product; the demo starts programs as oVirt."""
    for path in Path(BESIDE[package].__file__ or "").parent.rglob("*.py"):
        assert not packages(path) & {"storpool_ovirt", "cinder_driver", *BESIDE} - {package}, path


SIMULATED = files(Path(storpool_simulator.__file__).parent)
# Players are programs of their own, which know the cluster by HTTP alone.
SIMULATORS_STOREY = {"ground": 0, "players": 1, "devices": 2, "model": 3, "api": 4}
# The simulator's own ground; what is flat and not named here puts the rooms together.
SIMULATORS_GROUND = {"errors", "switches"}


@pytest.mark.parametrize("module", [each for each in SIMULATED if "." in each])
def test_the_simulators_rooms_import_downwards(module: str) -> None:
    """HTTP knows the rules, the rules know the devices, and never the other way round."""
    for full in imported(SIMULATED[module]):
        other = full.partition("storpool_simulator.")[2]
        if other:
            assert "." in other or other in SIMULATORS_GROUND, f"{module} imports {other}"
            assert SIMULATORS_STOREY[room(other)] <= SIMULATORS_STOREY[room(module)], other


def test_the_driver_uses_what_is_below_ovirts_words() -> None:
    """Cinder knows no mapping, no helper, no fence: only ground, cluster and policy."""
    for path in files(Path(cinder_driver.__file__).parent).values():
        for other in ours(path):
            assert STOREY[room(other)] <= STOREY["policy"], f"{path.name} imports {other}"


def test_importing_a_module_does_no_work() -> None:
    """Importing reads no file of ours, connects nowhere, leaves the streams and signals alone."""
    code = """
import builtins, socket, signal, sys
import storpool_ovirt.errors
opened = []
real = builtins.open
builtins.open = lambda *args, **kw: (opened.append(args[0]), real(*args, **kw))[1]
socket.socket.connect = None
import storpool_ovirt.engine.adapter, storpool_ovirt.host.helper, storpool_ovirt.engine.disks
read = [str(name) for name in opened if "storpool" in str(name)]
assert not [name for name in read if not name.endswith(".py")], opened
assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
