"""The packages, built once in a run for whoever installs them.

A pytest plugin, named in conftest.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rigs import built_packages


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the whole run, also where several processes do it."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder


@pytest.fixture(scope="session")
def packages(shared_folder: Path) -> dict[str, Path]:
    """Our packages, as `make rpm` builds them of this tree."""
    built_packages.needed("rpmbuild", "git")
    folder = shared_folder / "packages"
    with built_packages.once(folder) as first:
        return built_packages.build(folder) if first else built_packages.found(folder)
