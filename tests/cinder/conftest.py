"""A backend for the driver's tests: the driver as Cinder loads it, beside a simulated cluster.

In these tests `4.1 B1` and the like are rows of our list of what is wrong in Cinder's own StorPool
driver, `U1` and the like failures that were measured on the path through cinderlib with that
driver, `T1` promises of comparable systems.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rigs.core_fixtures import Core
    from rigs.driver_rig import Backend, Database

MISSING = ""

with warnings.catch_warnings():
    # eventlet announces its end, and Cinder's other libraries that of what they use.
    warnings.simplefilter("ignore")
    try:
        # Not `cinder`: this folder has the same name.
        for name in ("cinder.interface", "cinder.volume.group_types", "rigs.driver_rig"):
            importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("cinder", "os_brick", "oslo_config"):
            raise
        MISSING = f"Cinder is not installed for this Python ({missing})"


class _Skipped(pytest.Module):
    """A module of tests that cannot be loaded here."""

    def collect(self) -> NoReturn:
        pytest.skip(MISSING, allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip this folder, with the reason, where Cinder is not installed."""
    return _Skipped.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture
def backend(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Give the driver, started; storpool.conf names the three hosts, the cluster has the templates
    nvme and hdd."""
    from rigs import driver_rig

    root = tmp_path / "engine"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "storpool.conf").write_text(
        "".join(f"[host{client_id}.example.com]\nSP_OURID={client_id}\n" for client_id in (1, 2, 3))
    )
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(root))
    with driver_rig.backend(core) as started:
        yield started


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Give Cinder's database, empty."""
    from rigs import driver_rig

    with driver_rig.database(tmp_path) as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Cinder's libraries use what Python is about to drop: it is not ours to change."""
    for item in items:
        if item.path.parent.name == "cinder":
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
