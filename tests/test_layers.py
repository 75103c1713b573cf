"""The layers: a file imports only files on lower floors, and the hot path starts with nothing that it does not need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import storpool_ovirt

PACKAGE = Path(storpool_ovirt.__file__).parent

# A line each, so that two changes at once do not meet.
FLOORS = {
    "apart": 0,
    "deadline": 0,
    "device_paths": 0,
    "documents": 0,
    "domain_xml": 0,
    "errors": 0,
    "fence_metadata": 0,
    "log": 0,
    "names": 0,
    "presence": 0,
    "replies": 0,
    "rights": 0,
    "sentences": 0,
    "storpool_conf": 0,
    "streams": 0,
    "text": 0,
    "wire": 0,
    "api": 1,
    "config": 1,
    "console": 1,
    "database": 1,
    "door": 1,
    "engine_conf": 1,
    "threshold": 1,
    "vdsm_database": 1,
    "vdsm_rows": 1,
    "vm_request": 1,
    "attachments": 2,
    "doorway": 2,
    "fencing": 2,
    "journal": 2,
    "mapping": 2,
    "plugging": 2,
    "sharing": 2,
    "taking": 2,
    "volumes": 2,
    "audit": 3,
    "candidates": 3,
    "checks": 3,
    "claims": 3,
    "shareable": 3,
    "share_mark": 3,
    "disks": 3,
    "drifts": 3,
    "fence_host": 3,
    "findings": 3,
    "holders": 3,
    "leftovers": 3,
    "lines": 3,
    "listing": 3,
    "lost": 3,
    "mend": 3,
    "ownership": 3,
    "purposes": 3,
    "rebuild": 3,
    "recovery": 3,
    "placement": 3,
    "removal": 3,
    "repair": 3,
    "reports": 3,
    "rowless": 3,
    "stale": 3,
    "trees": 3,
    "truths": 3,
    "twins": 3,
    "vm_points": 3,
    "admin": 4,
    "admin_hosts": 4,
    "admin_share": 4,
    "admin_look": 4,
    "admin_mend": 4,
    "admin_work": 4,
    "boot_hook": 4,
    "engine_adapter": 4,
    "fence_agent": 4,
    "fence_door": 4,
    "vdsm_helper": 4,
    "vm_door": 4,
    "vm_hook": 4,
}
# Packages that stand beside the house: they start its programs or stand in for what is outside, and import none of it.
BESIDE = ("simulator", "demo")
# What must not be needed to start the adapter and the helper (they are waited for, and a guest may be frozen).
FORBIDDEN = ("cinder", "cinderlib", "os_brick", "eventlet", "oslo_config", "confget", "pyparsing", "werkzeug", "click",
             "rich", "sqlalchemy", "storpool_ovirt.simulator", "storpool_ovirt.demo")  # fmt: skip


def imports(path: Path) -> set[str]:
    """Return the modules of storpool_ovirt that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "storpool_ovirt":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("storpool_ovirt."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("storpool_ovirt.")}
    return found


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_lower_floors(module: str) -> None:
    """Imports go down, or sideways without a cycle; a module that is not in the list has no place in the house yet."""
    floor = FLOORS[module]
    for other in imports(PACKAGE / f"{module}.py"):
        if module == "admin" and other == "demo":
            continue
        assert FLOORS[other] <= floor, f"{module} imports {other}"
        if FLOORS[other] == floor:
            assert module not in imports(PACKAGE / f"{other}.py"), f"{module} and {other} import each other"


@pytest.mark.parametrize("package", BESIDE)
def test_what_stands_beside_the_house_imports_none_of_it(package: str) -> None:
    """The simulator must be able to contradict the product, and the demo starts programs as oVirt does."""
    for path in (PACKAGE / package).rglob("*.py"):
        assert imports(path) <= {package}, path.name


def test_openstack_is_known_in_one_place() -> None:
    """Only cinder_driver imports Cinder, os-brick and oslo; of the house it uses what stands below oVirt's words."""
    openstack = {"cinder", "cinderlib", "os_brick", "oslo_config", "oslo_log", "oslo_concurrency", "oslo_utils"}
    for path in PACKAGE.rglob("*.py"):
        assert not imported_packages(path) & {*openstack, "cinder_driver"}, path.name
    for path in (PACKAGE.parent / "cinder_driver").glob("*.py"):
        used = imports(path)
        assert all(FLOORS[module] <= FLOORS["volumes"] for module in used), path.name
        assert "mapping" not in used, "the mapping is the adapter's"


@pytest.mark.parametrize("program", ["engine_adapter", "vdsm_helper", "boot_hook", "vm_hook", "vm_door", "fence_door"])
def test_the_hot_path_starts_without_what_it_does_not_need(program: str) -> None:
    """With OpenStack, the simulator, confget and the tools' libraries blocked, each program can be loaded and work."""
    code = f"""
import sys
for name in {FORBIDDEN!r}:
    sys.modules[name] = None
del sys.modules["confget"]
import storpool_ovirt.{program}
from storpool_ovirt import api, attachments
if {program!r} == "engine_adapter":
    from storpool_ovirt import disks, mapping
else:
    assert "psycopg2" not in sys.modules, "a host has no database"
api.binding()
assert sys.modules.get("confget") is None and sys.modules.get("pyparsing") is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "the binding's greeting must not reach Engine"


def test_a_hook_that_asks_root_needs_little() -> None:
    """Who has no token needs nothing that talks to StorPool, and no module that takes as long as all of the rest."""
    code = """
import sys
import storpool_ovirt.vm_hook
for name in ("storpool", "storpool_ovirt.api", "storpool_ovirt.attachments", "storpool_ovirt.taking", "http.client",
             "socket", "ssl", "email", "subprocess", "threading"):
    assert name not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(PACKAGE.parent)})  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_importing_a_module_does_no_work() -> None:
    """Importing reads no file of ours, opens no connection and leaves the streams and signals alone."""
    code = """
import builtins, socket, signal, sys
import storpool_ovirt.errors
opened = []
real = builtins.open
builtins.open = lambda *args, **kw: (opened.append(args[0]), real(*args, **kw))[1]
socket.socket.connect = None
import storpool_ovirt.engine_adapter, storpool_ovirt.vdsm_helper, storpool_ovirt.disks
assert not [name for name in opened if "storpool" in str(name) and not str(name).endswith(".py")], opened
assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
