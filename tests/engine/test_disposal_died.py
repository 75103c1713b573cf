"""disposal.py, settlement.py: deletes that died on their way into the trash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.trash_yard import entries
from rigs.yard import DISK, HOUR, Yard
from storpool_ovirt import errors
from storpool_ovirt.engine import settlement

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = int(48 * HOUR)


@pytest.fixture
def kept(yard: Yard) -> Iterator[Yard]:
    """Give an Engine whose domain keeps what is deleted, with a disk that has a snapshot."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)
    yard.verb("create", DISK, GIB)
    yield yard
    assert yard.forced() == []


def dies_with_a_copy(yard: Yard) -> None:
    """Have a delete die that has copied the volume, and has not deleted it."""
    yard.die_when(lambda: bool(yard.see().trash), "delete", DISK)
    assert f"ovirt--{DISK}" in yard.see().things


def dies_without_the_volume(yard: Yard) -> None:
    """Have a delete die that has deleted the volume, and has not written it."""
    yard.die_when(lambda: f"ovirt--{DISK}" not in yard.see().things, "delete", DISK)
    assert entries(yard) == []


def test_before_the_volume_went_the_next_verb_takes_it_back(kept: Yard) -> None:
    """T83, T71: the disk is as it was, and its copy is gone."""
    before = kept.see()
    dies_with_a_copy(kept)
    kept.verb("connection", DISK)
    after = kept.see()
    assert (after.trash, after.things, after.pending) == ({}, before.things, [])
    assert after.rows == before.rows
    assert entries(kept) == []


def test_after_the_volume_went_the_next_verb_ends_it(kept: Yard) -> None:
    """T83, T71: also where the trash was turned off since; the snapshot of the disk is kept too."""
    snapshot = kept.verb("snapshot", DISK)
    dies_without_the_volume(kept)
    kept.given()
    with pytest.raises(errors.NotFound):
        kept.verb("connection", DISK)
    seen = kept.see()
    assert (seen.rows, seen.things, seen.pending) == ({}, {}, [])
    found = entries(kept)
    assert {each.node for each in found} == {DISK, snapshot}
    assert {each.entry for each in found} == set(seen.trash)
    assert len({(each.deletion, each.ends_at) for each in found}) == 1


def test_no_repetition_keeps_it_longer(kept: Yard) -> None:
    """T83: the end is that of the first try, whenever it is ended."""
    kept.verb("snapshot", DISK)
    dies_without_the_volume(kept)
    [copied] = [each for each in kept.ask("SnapshotsList") if each["targetDeleteDate"]]
    kept.given(delete_delay_seconds=10 * DELAY)
    kept.verb("delete", DISK)
    assert {each.ends_at for each in entries(kept)} == {entries(kept)[0].ends_at}
    dates = {each["targetDeleteDate"] for each in kept.ask("SnapshotsList")}
    assert max(dates) - copied["targetDeleteDate"] < 60


def test_a_repetition_copies_the_volume_again(kept: Yard) -> None:
    """T83: it may have changed since; one copy is left, the one that was made last."""
    dies_with_a_copy(kept)
    [first] = kept.see().trash
    kept.verb("delete", DISK)
    [entry] = entries(kept)
    assert set(kept.see().trash) == {entry.entry} != {first}
    assert kept.see().pending == []


def test_reconcile_does_the_same(kept: Yard) -> None:
    """T83, T72: back where the volume is there, forward where it is gone."""
    dies_with_a_copy(kept)
    assert kept.reconcile() == ["delete taken back for 1 of 1 object"]
    assert kept.see().trash == {}
    dies_without_the_volume(kept)
    assert kept.reconcile() == ["finished: it is in the trash"]
    assert [each.node for each in entries(kept)] == [DISK]
    assert kept.see().pending == []


def test_no_copy_goes_while_the_volume_may_still_be_deleted(kept: Yard) -> None:
    """T83: a request of the dead process takes effect within half a minute, counted from when that
    had to end."""
    dies_with_a_copy(kept)
    kept.age(60)
    kept.clock.slept.clear()
    kept.verb("connection", DISK)
    assert settlement.LATE_SECONDS in kept.clock.slept
    dies_with_a_copy(kept)
    kept.sql("UPDATE storpool_ovirt.operation SET until = now() - interval '1 minute'")
    kept.clock.slept.clear()
    kept.verb("connection", DISK)
    assert max(kept.clock.slept, default=0) < 1


def test_a_copy_is_kept_where_another_volume_has_the_place(kept: Yard) -> None:
    """T83, T62: an image of the database's server that is put back brings an old entry along; what
    is in the trash may be all that is left of that disk."""
    dies_without_the_volume(kept)
    saved = kept.save()
    kept.verb("delete", DISK)
    kept.verb("create", DISK, GIB)
    kept.put_back(saved)
    with pytest.raises(errors.Conflict):
        kept.verb("connection", DISK)
    assert len(kept.see().trash) == 1


def test_a_single_snapshot_goes_forward_once_it_has_a_date(kept: Yard) -> None:
    """T83: by any verb on its disk."""
    snapshot = kept.verb("snapshot", DISK)
    kept.die_when(lambda: bool(kept.see().trash), "remove", snapshot)
    later = kept.verb("snapshot", DISK)
    assert [each.node for each in entries(kept)] == [snapshot]
    assert set(kept.see().rows) == {DISK, later}
    kept.verb("remove", snapshot)


def test_a_replaced_volume_is_copied_again_too(kept: Yard) -> None:
    """T83: of a disk that goes on the same holds, and the entry of the first try goes."""
    preview = kept.verb("preview", kept.verb("snapshot", DISK))
    kept.verb("connection", preview)
    kept.die_when(lambda: bool(kept.see().trash), "remove", DISK)
    kept.verb("remove", DISK)
    assert [each.node for each in entries(kept)] == [DISK]
    assert len(kept.see().trash) == 1
    assert kept.see().pending == []
