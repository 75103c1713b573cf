"""rebuild.py: which volume of a disk is in use, what an interrupted run leaves, and whose location
objects carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Death
from rigs.tag_updates import with_both
from rigs.yard import CLONE, DISK, FOREIGN, Yard
from storpool_ovirt import names
from storpool_ovirt.admin import findings, rebuild
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import mapping, records

LAST, FIRST = (f"{digit}0000000-0000-4000-8000-000000000000" for digit in "92")


def forget(yard: Yard, *uuids: str) -> None:
    """Take rows away, as a backup of before does; of all disks where none is named."""
    yard.sql(
        "DELETE FROM storpool_ovirt.node WHERE %s OR uuid = ANY (%s::uuid[])",
        not uuids,
        list(uuids),
    )


def set_active(yard: Yard, uuid: str) -> None:
    """Have the mapping of an older time tell another volume."""
    yard.sql("UPDATE storpool_ovirt.node SET active = %s WHERE uuid = root", uuid)


def two_previews(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a disk with two previews within one second, the younger one with the smaller id."""
    ids = iter([CLONE, LAST, FIRST])
    monkeypatch.setattr(names, "random_uuid", lambda: next(ids))
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    for _ in range(2):
        yard.verb("preview", snapshot)


@pytest.mark.parametrize("lost", [(FIRST, LAST), ()], ids=["previews", "all"])
def test_the_newest_preview_is_active(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    """Of volumes that no host has, the one that StorPool made last is in use, and it replaced the
    one before it."""
    two_previews(yard, monkeypatch)
    set_active(yard, DISK)
    forget(yard, *lost)
    yard.rebuild()
    rows = yard.see().rows
    assert (rows[DISK].active, rows[FIRST].replaced, rows[LAST].replaced) == (FIRST, LAST, DISK)


@pytest.mark.parametrize("lost", ["preview", "all"])
def test_the_only_attached_volume_is_active(yard: Yard, lost: str) -> None:
    """T82: what a host has is what the VM writes, however many younger ones there are, and extend
    grows that one."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    yard.attach(1, yard.verb("connection", DISK)["data"])
    preview = yard.verb("preview", snapshot)
    yard.verb("connection", DISK)
    forget(yard, *{"preview": [preview], "all": []}[lost])
    yard.rebuild()
    yard.verb("extend", DISK, 4 * GIB)
    things = yard.see().things
    assert (things[f"ovirt--{DISK}"].size_bytes, things[f"ovirt--{preview}"].size_bytes) == (
        4 * GIB,
        GIB,
    )


def test_a_stale_active_volume_is_corrected(yard: Yard) -> None:
    """A restored mapping that lacks no row may still take another volume for the VM's: the attached
    one it is."""
    yard.verb("create", DISK, GIB)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.attach(1, yard.verb("connection", preview)["data"])
    set_active(yard, DISK)
    assert "storpool-ovirt rebuild" in yard.report().findings[0].mend
    assert yard.reconcile() == [], "a volume that a VM may write is not detached"
    assert yard.plan_of_rebuild().active == ((DISK, preview),)
    yard.rebuild()
    assert yard.active() == preview
    assert yard.report().findings == ()


def test_two_attached_volumes_decide_nothing(yard: Yard) -> None:
    """A copy left one of them attached: what the mapping tells stays."""
    yard.verb("create", DISK, GIB)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.attach(1, yard.verb("connection", DISK)["data"])
    yard.attach(2, yard.verb("connection", preview)["data"])
    yard.rebuild()
    assert yard.active() == preview


def whole_rows(yard: Yard) -> list[Any]:
    """Return the rows without what names the request that made them, and when."""
    asked = (
        "SELECT to_jsonb(each) - 'correlation_id' - 'created_at' FROM storpool_ovirt.node AS each"
        " ORDER BY uuid"
    )
    return [row for (row,) in yard.sql(asked)]


def removed_root(yard: Yard) -> str:
    """Make a disk that lives in a preview, as its first volume was deleted; return the preview."""
    yard.verb("create", DISK, GIB)
    preview: str = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.verb("connection", preview)
    yard.verb("remove", DISK)
    return preview


def test_an_interrupted_rebuild_is_run_again(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T71: wherever it dies, a disk has all of its rows or none, and the next run ends like one
    that did not die."""
    preview = removed_root(yard)
    yard.verb("clone", preview, CLONE)
    forget(yard)
    yard.rebuild()
    whole = whole_rows(yard)
    disks = len({row["root"] for row in whole})
    for died_at in range(2 * disks):
        forget(yard)
        die_at_batch(yard, monkeypatch, died_at)
        assert of_disk(whole_rows(yard)) in ([], of_disk(whole))
        yard.rebuild()
        assert whole_rows(yard) == whole
    assert yard.report().findings == ()


def of_disk(rows: list[Any]) -> list[Any]:
    """Return DISK's rows."""
    return [row for row in rows if row["root"] == DISK]


def die_at_batch(yard: Yard, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have a rebuild that writes one disk after the other die at one of these: before it writes
    that, or before it knows that it is written."""
    left = [number // 2]
    adopt = records.adopt

    def mortal(
        where: mapping.Mapping, rows: Sequence[tuple[mapping.Node, float]]
    ) -> frozenset[str]:
        if not left[0] and number % 2 == 0:
            raise Death
        done = adopt(where, rows)
        if not left[0]:
            raise Death
        left[0] -= 1
        return done

    with monkeypatch.context() as patch:
        patch.setattr(rebuild, "BATCH_ROWS", 1)
        patch.setattr(records, "adopt", mortal)
        with pytest.raises(Death):
            yard.rebuild()


def test_an_automatic_snapshot_goes_between_the_two_lists(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: StorPool drops what a clone left of itself whenever it likes; what volumes were made
    from is told all the same."""
    preview = removed_root(yard)
    yard.verb("clone", preview, CLONE)
    forget(yard)
    yard.rebuild()
    whole = whole_rows(yard)
    forget(yard)
    listed = api.Client.snapshots

    def late(client: api.Client, *known: Any) -> list[api.Volume]:
        yard.simulator.advance(2)
        return listed(client, *known)

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "snapshots", late)
        yard.rebuild()
    assert not [each for each in yard.ask("SnapshotsList") if each["transient"]]
    assert whole_rows(yard) == whole


def test_a_disk_without_its_row_is_named_and_rebuilt(yard: Yard) -> None:
    """T72: rows whose disk's row is missing are told, rebuild writes it, and the disk can be used
    and deleted."""
    preview = removed_root(yard)
    forget(yard, DISK)
    assert {finding.mend for finding in yard.report().findings} == {"storpool-ovirt rebuild"}
    yard.rebuild()
    assert yard.active() == preview
    assert yard.report().findings == ()
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB
    yard.verb("delete", DISK)
    assert (yard.uuids(), yard.see().rows) == (set(), {})


def test_a_preview_of_a_disk_without_its_row(yard: Yard) -> None:
    """T71: a verb that meets rows without their disk's row works, or says why, and leaves
    nothing."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    forget(yard, DISK)
    preview = yard.verb("preview", snapshot)
    assert yard.uuids() == {DISK, snapshot, preview}
    yard.rebuild()
    assert yard.report().findings == ()


@pytest.mark.parametrize("known", [True, False])
def test_a_ghost_of_a_disk_with_other_volumes_is_not_deleted_in_ovirt(
    yard: Yard, known: bool
) -> None:
    """Deleting the disk in oVirt would take the volume that it lives in: the audit says so, and
    names the way."""
    yard.verb("create", DISK, GIB)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.verb("connection", preview)
    yard.ask(f"VolumeDelete/~{yard.global_id(DISK)}", {})
    if not known:
        forget(yard, preview)
    ghost = next(each for each in yard.report().findings if each.kind == findings.GHOST)
    assert "do not delete it in oVirt" in ghost.mend
    assert "delete the disk in oVirt" not in ghost.mend
    yard.rebuild()
    yard.remove(DISK)
    assert yard.report().findings == ()
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB


def test_a_ghost_that_is_the_whole_disk_can_be_deleted_in_ovirt(yard: Yard) -> None:
    """T7: where nothing else is left the advice is the short one, and it works."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    yard.ask(f"VolumeDelete/~{yard.global_id(DISK)}", {})
    (ghost,) = yard.report().findings
    assert "delete the disk in oVirt" in ghost.mend
    yard.verb("delete", DISK)
    assert yard.report().findings == ()


def test_an_attached_disk_without_a_row_is_critical(yard: Yard) -> None:
    """T72: a running VM whose disk the mapping does not know is named with its host, and rebuild
    takes it in."""
    yard.verb("create", DISK, GIB)
    yard.attach(1, yard.verb("connection", DISK)["data"])
    forget(yard)
    (finding,) = yard.report().findings
    assert (finding.kind, finding.severity) == (findings.UNMAPPED, findings.CRITICAL)
    assert "client 1" in finding.cause
    yard.rebuild()
    assert yard.report().findings == ()


def new_location(yard: Yard) -> str:
    """Lose the database of an Engine with a disk; a verb of the new one died.

    Returns the old location.
    """
    old = yard.location
    yard.verb("create", CLONE, GIB)
    forget(yard)
    yard.location = "aaaaaaaa"
    yard.sql("UPDATE storpool_ovirt.meta SET location = %s", yard.location)
    yard.verb("create", LAST, GIB)
    yard.die_made("create", DISK, GIB)
    return old


def locations(yard: Yard) -> dict[str, str]:
    """Return the location of each object of oVirt's, without that of the other Engine."""
    tags = [each["tags"] for each in yard.ask("VolumesList")]
    return {
        each[names.TAG_UUID]: each[names.TAG_LOCATION]
        for each in tags
        if each.get(names.TAG_UUID) not in (None, FOREIGN)
    }


@with_both
def test_the_old_location_is_everybodys(yard: Yard) -> None:
    """T79: rebuild --location gives the old location to all that the new Engine made, rows or
    not."""
    old = new_location(yard)
    yard.rebuild(old)
    yard.location = old
    assert locations(yard) == dict.fromkeys((CLONE, LAST, DISK), old)
    yard.verb("create", DISK, GIB)
    yard.verb("delete", CLONE)
    assert yard.report().findings == ()


@with_both
def test_an_interrupted_change_of_location_goes_on(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T79: whichever object it dies before, the next run retags the rest."""
    old = new_location(yard)
    with monkeypatch.context() as patch:
        change = volumes.change
        left = iter([True])

        def mortal(*arguments: Any, **wanted: Any) -> int:
            if next(left, None) is None:
                raise Death
            return change(*arguments, **wanted)

        patch.setattr(volumes, "change", mortal)
        with pytest.raises(Death):
            yard.rebuild(old)
    assert sorted(locations(yard).values()).count(old) == 2, (
        "that of the lost database and one more"
    )
    yard.rebuild(old)
    yard.location = old
    assert locations(yard) == dict.fromkeys((CLONE, LAST, DISK), old)


@with_both
def test_a_start_that_overlaps_does_not_bring_the_new_location_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T79, T85: its host read the tags before they were changed, and writes all of them after; what
    another Engine has taken by then stays that one's."""
    old = new_location(yard)
    new, taken = yard.location, "cccccccc"

    def late() -> None:
        for disk, location in ((LAST, new), (DISK, taken)):
            body = {"tags": {"ovirt-loc": location, "cvm": DISK}}
            yard.ask(f"VolumeUpdate/ovirt--{disk}", body)

    yard.meanwhile(monkeypatch, late)
    yard.rebuild(old)
    yard.location = old
    assert locations(yard) == {CLONE: old, LAST: old, DISK: taken}
    [there] = yard.ask(f"Volume/ovirt--{LAST}")
    assert there["tags"]["cvm"] == DISK


@with_both
@pytest.mark.parametrize("location", ["bbbbbbbb", ""])
def test_an_object_of_the_mapping_with_another_location_is_anothers(
    yard: Yard, location: str
) -> None:
    """T76, T79: what was handed to another Engine stays its own; one without a location gets ours
    again."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    yard.ask(f"VolumeUpdate/~{yard.global_id(CLONE)}", {"tags": {names.TAG_LOCATION: location}})
    left_out = yard.plan_of_rebuild().left_out
    assert [
        why.endswith("but it belongs to the Engine of location bbbbbbbb now") for why in left_out
    ] == ([True] if location else [])
    yard.rebuild()
    assert locations(yard) == {CLONE: location or yard.location, DISK: yard.location}
