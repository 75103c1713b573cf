"""rebuild.py: the mapping made again from the tags is the mapping that was lost."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from rigs import players
from rigs.disk_model import GIB
from rigs.histories import History
from rigs.rebuilding import check_equal, flow, lose, rows
from rigs.tag_updates import TAG_UPDATES
from rigs.yard import CLONE, DISK, OTHER, Yard, opened_yard

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database


MOVES = tuple("create clone snapshot snapshot preview preview extend remove delete pass".split())
moves = st.lists(
    st.tuples(
        st.sampled_from(MOVES),
        st.integers(0, 99),
        st.integers(1, 4),
    ),
    min_size=4,
    max_size=14,
)


pytestmark = pytest.mark.usefixtures("a_disk")


def test_a_lost_mapping_is_made_again_as_it_was(module_database: Database, tmp_path: Path) -> None:
    """T85, T62, T76: previews that were committed or undone, clones, grown and deleted disks: after
    any history, also of what VolumeCare has made snapshots of."""
    folders = itertools.count()

    @settings(
        max_examples=14,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @example(history=[("snapshot", 0, 1), ("pass", 1, 1), ("preview", 0, 1), ("clone", 74, 1)])
    @given(history=moves)
    def lives(history: list[tuple[str, int, int]]) -> None:
        number = next(folders)
        folder = tmp_path / str(number)
        folder.mkdir()
        switches = {
            "tag_update": TAG_UPDATES[number % 2],
            "volumecare_tags": players.SNAPSHOT_TAGS[number % 3],
        }
        with opened_yard(module_database, folder, **switches) as yard:
            engine = History(yard)
            for verb, number, gib in [("create", 0, 1), *history]:
                engine.step(verb, number, gib, None)
            before, seen = rows(yard), yard.see()
            if not before:
                return
            yard.rebuild(lose(yard))
            check_equal(yard, before)
            after = yard.see()
            assert (after.things, after.foreign) == (seen.things, seen.foreign)
            assert {each.kind for each in yard.report().findings} <= {"kept by others"}
            assert yard.beside().misled(yard.ask("VolumesList")) == []

    lives()


def test_verbs_work_on_what_was_rebuilt(yard: Yard) -> None:
    """T85, T62: a connect answers the same to the byte, as Vdsm compares it; disks grow, are frozen
    and deleted."""
    snapshot, preview = flow(yard)
    nodes = (DISK, snapshot, preview, CLONE, OTHER)
    first = [yard.verb("connection", uuid) for uuid in nodes]
    yard.verb("connection", preview)
    yard.rebuild(lose(yard))
    assert [yard.verb("connection", uuid) for uuid in nodes] == first
    yard.verb("connection", preview)
    yard.verb("extend", DISK, 4 * GIB)
    assert yard.see().things[f"ovirt--{preview}"].size_bytes == 4 * GIB
    yard.verb("preview", yard.verb("snapshot", preview))
    for disk in (DISK, CLONE, OTHER):
        yard.verb("delete", disk)
    assert (yard.see().rows, yard.see().things) == ({}, {})


def test_an_undo_after_a_rebuild_goes_back_to_the_volume_before(yard: Yard) -> None:
    """T85, T62: which volume a preview had replaced is in the order of their making."""
    snapshot, preview = flow(yard)
    second = yard.verb("preview", snapshot)
    yard.rebuild(lose(yard))
    yard.verb("delete", second)
    assert rows(yard)[DISK]["active"] == preview


def test_a_disk_that_was_connected_to_an_older_volume_is_told_by_its_attachment(yard: Yard) -> None:
    """T85: which volume the VM writes is in no tag; a host that has it attached tells, else the
    last one is taken."""
    snapshot, preview = flow(yard)
    yard.verb("connection", DISK)
    yard.rebuild(lose(yard))
    assert rows(yard)[DISK]["active"] == preview
    yard.shut(DISK)
    yard.rebuild(lose(yard))
    assert rows(yard)[DISK]["active"] == DISK
    assert snapshot in rows(yard)


def test_a_disk_of_which_only_snapshots_are_left_is_known(yard: Yard) -> None:
    """T85: its id stays known until the whole of it is deleted."""
    snapshot, preview = flow(yard)
    yard.verb("remove", DISK)
    before = rows(yard)
    yard.rebuild(lose(yard))
    check_equal(yard, before)
    yard.verb("delete", preview)
    yard.rebuild(lose(yard))
    assert (rows(yard)[DISK]["state"], rows(yard)[snapshot]["root"]) == ("removed", DISK)
    yard.verb("delete", DISK)
    assert snapshot not in yard.see().rows
    assert set(yard.see().things) == {f"ovirt--{uuid}" for uuid in (CLONE, OTHER)}


def test_a_disk_without_a_volume_has_its_own_id_for_the_active_one(yard: Yard) -> None:
    """T62, T85: as an undo writes it."""
    _, preview = flow(yard)
    yard.verb("remove", DISK)
    yard.verb("delete", preview)
    before = rows(yard)
    yard.rebuild(lose(yard))
    check_equal(yard, before)


def test_a_second_rebuild_writes_nothing(yard: Yard) -> None:
    """T85: what has a row is left as it is."""
    flow(yard)
    yard.rebuild(lose(yard))
    before = yard.world()
    assert yard.rebuild() == 0
    assert yard.world() == before
