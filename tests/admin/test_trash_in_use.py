"""drift.py, mend.py, trash_purge.py: what the mapping has in use, and StorPool is about to delete
by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.yard import DISK, HOUR, Yard
from storpool_ovirt import names
from storpool_ovirt.admin import mend
from storpool_ovirt.admin.findings import CRITICAL
from storpool_ovirt.admin.trash_purge import Which

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = int(48 * HOUR)


@pytest.fixture
def back(yard: Yard) -> Iterator[tuple[Yard, str]]:
    """Give an Engine whose database came back from before the delete of a snapshot, and that
    snapshot."""
    yard.given(delete_delay_seconds=DELAY, snapshot_delete_delay_seconds=DELAY)
    yard.verb("create", DISK, GIB)
    trash_yard.write(yard, DISK, 7)
    snapshot = yard.verb("snapshot", DISK)
    saved = yard.save()
    yard.verb("remove", snapshot)
    yard.put_back(saved)
    yield yard, snapshot
    assert yard.forced() == []


def dates(yard: Yard) -> list[int]:
    """Return when StorPool deletes its snapshots by itself, as far as it does."""
    found = [each["targetDeleteDate"] for each in yard.ask("SnapshotsList")]
    return [each for each in found if each]


def mended(yard: Yard, uuid: str) -> list[str]:
    """Mend as an administrator does."""
    with yard.administrator("mend") as work:
        return mend.mend(work, uuid)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_it_is_named_and_mend_takes_it_out_of_the_trash(
    back: tuple[Yard, str], *, rebuilt: bool
) -> None:
    """T83, T62: whether its row in the trash was made again or not."""
    yard, snapshot = back
    if rebuilt:
        yard.rebuild()
    [found] = yard.report().findings
    assert (found.severity, found.uuid) == (CRITICAL, snapshot)
    assert "the mapping has it in use" in found.cause
    assert f"mend {snapshot}" in found.mend
    assert dates(yard)
    assert any("date: it goes at" in line for line in mended(yard, snapshot))
    assert dates(yard) == []
    assert yard.report().findings == ()
    assert trash_yard.entries(yard) == []
    assert names.is_ours(yard.see().things[f"ovirt--{snapshot}"].tags, snapshot, yard.location)
    yard.simulator.advance(2 * DELAY)
    yard.verb("preview", snapshot)


def test_a_date_that_somebody_gave_is_named_and_taken_away(back: tuple[Yard, str]) -> None:
    """T83: the name and the tags are right, and it would go all the same."""
    yard, _ = back
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"SnapshotUpdate/{yard.address(snapshot)}", {"deleteAfter": 1000})
    found = {each.uuid: each for each in yard.report().findings}
    assert found[snapshot].severity == CRITICAL
    mended(yard, DISK)
    assert dates(yard) == []
    assert yard.report().findings == ()


def test_a_purge_leaves_what_is_in_use(back: tuple[Yard, str]) -> None:
    """T83: the mapping has it as a snapshot of a disk, and the trash too."""
    yard, snapshot = back
    yard.rebuild()
    [why] = trash_yard.purged(yard, Which(all=True))
    assert f"mend {snapshot}" in why
    [entry] = trash_yard.entries(yard)
    assert entry.ends_at > time.time()
    mended(yard, snapshot)
    yard.verb("preview", snapshot)


def test_what_is_deleted_again_is_kept_for_the_whole_time(back: tuple[Yard, str]) -> None:
    """T83: its row and StorPool say the same, whatever date it had before."""
    yard, snapshot = back
    yard.simulator.advance(DELAY - 600)
    (earlier,) = dates(yard)
    yard.verb("remove", snapshot)
    [entry] = trash_yard.entries(yard)
    (date,) = dates(yard)
    assert date - earlier > DELAY - 900
    assert entry.node == snapshot
