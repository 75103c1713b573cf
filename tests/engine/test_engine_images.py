"""engine_images.py: what Engine's own database has, where it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import engine_database
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt.engine import engine_images

if TYPE_CHECKING:
    from ovirt_demo.database import Database


def known(yard: Yard, *uuids: str) -> frozenset[str] | None:
    """Ask for these ids, as the administrator's commands do."""
    with yard.administrator() as work:
        return engine_images.known(work, uuids)


@pytest.fixture
def own(yard: Yard, database: Database) -> engine_database.EngineDatabase:
    """Give Engine's own database, with one image, and say where it is."""
    return engine_database.with_images(database, yard.folder, DISK)


@pytest.mark.usefixtures("own")
def test_what_it_has_is_told(yard: Yard) -> None:
    """T78: of those that are asked for; nothing is asked for nothing."""
    assert known(yard, DISK, CLONE) == {DISK}
    assert known(yard, CLONE, OTHER) == frozenset()
    assert known(yard) == frozenset()


def test_what_cannot_be_read_is_not_taken_for_nothing(
    yard: Yard, own: engine_database.EngineDatabase
) -> None:
    """T78, T76: other tables, none, a wrong password, no server, or not Engine's machine: nobody
    knows then, and it is logged."""
    for change in ("ALTER TABLE images RENAME COLUMN image_guid TO id", "DROP TABLE images"):
        own.execute(change)
        assert known(yard, DISK) is None
    for wrong in ({"PASSWORD": "wrong"}, {"PORT": "1"}):
        own.write_conf(yard.folder, **wrong)
        assert known(yard, DISK) is None
    (yard.folder / "etc/ovirt-engine/engine.conf.d" / engine_database.CONF).unlink()
    assert known(yard, DISK) is None
    log = (yard.folder / "verbs.log").read_text()
    assert log.count(" images_unknown ") == 5
    assert own.database.login.password not in log
