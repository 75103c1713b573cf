"""Fixtures of the tests of recovery, audit, reconcile and rebuild (yard.py), and of the command
(admin_site.py).

A pytest plugin, named in conftest.py; imports are inside, for environments without the simulator's
requirements.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from rigs.tag_updates import TAG_UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.admin_site import AdminSite
    from rigs.stage_fixtures import Stage
    from rigs.yard import Yard


@pytest.fixture(scope="module")
def module_database(database_server: Database) -> Iterator[Database]:
    """Give the database of this module."""
    from rigs.yard import fresh

    with fresh(database_server) as made:
        yield made


@pytest.fixture
def tag_update(request: pytest.FixtureRequest) -> str:
    """Return what StorPool does with the tags that an update does not name: one or the other, by
    the test's name; tests that write tags run with both (tag_updates.py)."""
    return TAG_UPDATES[zlib.crc32(request.node.nodeid.encode()) % len(TAG_UPDATES)]


@pytest.fixture
def yard(module_database: Database, tmp_path: Path, tag_update: str) -> Iterator[Yard]:
    """Give a cluster, an Engine and an administrator."""
    from rigs.yard import opened_yard

    with opened_yard(module_database, tmp_path, tag_update=tag_update) as made:
        yield made


@pytest.fixture
def a_disk(yard: Yard) -> str:
    """Give the yard a disk, and return its id: for modules whose tests all need one."""
    from rigs.disk_model import GIB
    from rigs.yard import DISK

    yard.verb("create", DISK, GIB)
    return DISK


@pytest.fixture
def disk(site: AdminSite) -> str:
    """Give the site a disk of 1 GiB."""
    from rigs import shared_stage

    return shared_stage.make_disk(site.stage.engine)


@pytest.fixture
def site(shared: Stage, tmp_path: Path, tag_update: str) -> Iterator[AdminSite]:
    """Give a stage with empty tables and an empty cluster."""
    from rigs.admin_site import opened_site

    shared.simulator.set_switches(tag_update=tag_update)
    with opened_site(shared, tmp_path) as made:
        yield made
