"""rebuild.py: which volume of a disk is in use, what an interrupted run leaves, and whose location
objects carry."""

from __future__ import annotations

from typing import Any

import pytest

from rigs import recovery_rig
from rigs.disk_rig import Death
from rigs.recovery_rig import CLONE, DISK, GIB, Rig
from storpool_ovirt import names
from storpool_ovirt.admin import findings
from storpool_ovirt.cluster import volumes
from storpool_ovirt.engine import disks, mapping

LAST, FIRST = (f"{digit}0000000-0000-4000-8000-000000000000" for digit in "92")


def forget(rig: Rig, *uuids: str) -> None:
    """Take rows away, as a backup of before does; of all disks where none is named."""
    rig.sql(
        "DELETE FROM storpool_ovirt.node WHERE %s OR uuid = ANY (%s::uuid[])",
        not uuids,
        list(uuids),
    )


def set_active(rig: Rig, uuid: str) -> None:
    """Have the mapping of an older time tell another volume."""
    rig.sql("UPDATE storpool_ovirt.node SET active = %s WHERE uuid = root", uuid)


def two_previews(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a disk with two previews within one second, the younger one with the smaller id."""
    ids = iter([CLONE, LAST, FIRST])
    monkeypatch.setattr(disks, "_new_uuid", lambda: next(ids))
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    for _ in range(2):
        rig.verb("preview", snapshot)


@pytest.mark.parametrize("lost", [(FIRST, LAST), ()], ids=["previews", "all"])
def test_the_newest_preview_is_active(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    """Of volumes that no host has, the one that StorPool made last is in use, and it replaced the
    one before it."""
    two_previews(rig, monkeypatch)
    set_active(rig, DISK)
    forget(rig, *lost)
    rig.rebuild()
    rows = rig.see().rows
    assert (rig.active(), rows[FIRST][8], rows[LAST][8]) == (FIRST, LAST, DISK)


@pytest.mark.parametrize("lost", ["preview", "all"])
def test_the_only_attached_volume_is_active(rig: Rig, lost: str) -> None:
    """T82: what a host has is what the VM writes, however many younger ones there are, and extend
    grows that one."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    rig.attach(1, rig.verb("connection", DISK)["data"])
    preview = rig.verb("preview", snapshot)
    rig.verb("connection", DISK)
    forget(rig, *{"preview": [preview], "all": []}[lost])
    rig.rebuild()
    rig.verb("extend", DISK, 4 * GIB)
    things = rig.see().things
    assert (things[f"ovirt--{DISK}"].size_bytes, things[f"ovirt--{preview}"].size_bytes) == (
        4 * GIB,
        GIB,
    )


def test_a_stale_active_volume_is_corrected(rig: Rig) -> None:
    """A restored mapping that lacks no row may still take another volume for the VM's: the attached
    one it is."""
    rig.verb("create", DISK, GIB)
    preview = rig.verb("preview", rig.verb("snapshot", DISK))
    rig.attach(1, rig.verb("connection", preview)["data"])
    set_active(rig, DISK)
    assert "storpool-ovirt rebuild" in rig.audit()[0].mend
    assert rig.reconcile().done == [], "a volume that a VM may write is not detached"
    assert rig.plan().active == ((DISK, preview),)
    rig.rebuild()
    assert rig.active() == preview
    assert rig.audit() == []


def test_two_attached_volumes_decide_nothing(rig: Rig) -> None:
    """A copy left one of them attached: what the mapping tells stays."""
    rig.verb("create", DISK, GIB)
    preview = rig.verb("preview", rig.verb("snapshot", DISK))
    rig.attach(1, rig.verb("connection", DISK)["data"])
    rig.attach(2, rig.verb("connection", preview)["data"])
    rig.rebuild()
    assert rig.active() == preview


def whole_rows(rig: Rig) -> list[Any]:
    """Return the rows without what names the request that made them, and when."""
    asked = (
        "SELECT to_jsonb(each) - 'correlation_id' - 'created_at' FROM storpool_ovirt.node AS each"
        " ORDER BY uuid"
    )
    return [row for (row,) in rig.sql(asked)]


def removed_root(rig: Rig) -> str:
    """Make a disk that lives in a preview, as its first volume was deleted; return the preview."""
    rig.verb("create", DISK, GIB)
    preview: str = rig.verb("preview", rig.verb("snapshot", DISK))
    rig.verb("connection", preview)
    rig.verb("remove", DISK)
    return preview


def test_an_interrupted_rebuild_is_run_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """T71: wherever it dies, a disk has all of its rows or none, and the next run ends like one
    that did not die."""
    preview = removed_root(rig)
    rig.verb("clone", preview, CLONE)
    forget(rig)
    rows = rig.rebuild()
    whole = whole_rows(rig)
    for died_at in range(rows):
        forget(rig)
        die_at_row(rig, monkeypatch, died_at)
        assert of_disk(whole_rows(rig)) in ([], of_disk(whole))
        rig.rebuild()
        assert whole_rows(rig) == whole
    assert rig.audit() == []


def of_disk(rows: list[Any]) -> list[Any]:
    """Return DISK's rows."""
    return [row for row in rows if row["root"] == DISK]


def die_at_row(rig: Rig, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have a rebuild die before it writes this row."""
    left = [number]
    adopt = mapping.Mapping.adopt

    def mortal(self: mapping.Mapping, node: mapping.Node, created_at: float) -> bool:
        if not left[0]:
            raise Death
        left[0] -= 1
        return adopt(self, node, created_at)

    with monkeypatch.context() as patch:
        patch.setattr(mapping.Mapping, "adopt", mortal)
        with pytest.raises(Death):
            rig.rebuild()


def test_a_disk_without_its_row_is_named_and_rebuilt(rig: Rig) -> None:
    """T72: rows whose disk's row is missing are told, rebuild writes it, and the disk can be used
    and deleted."""
    preview = removed_root(rig)
    forget(rig, DISK)
    assert {finding.mend for finding in rig.audit()} == {"storpool-ovirt rebuild"}
    rig.rebuild()
    assert rig.active() == preview
    assert rig.audit() == []
    rig.verb("extend", DISK, 2 * GIB)
    assert rig.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB
    rig.verb("delete", DISK)
    assert (rig.uuids(), rig.see().rows) == (set(), {})


def test_a_preview_of_a_disk_without_its_row(rig: Rig) -> None:
    """T71: a verb that meets rows without their disk's row works, or says why, and leaves
    nothing."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    forget(rig, DISK)
    preview = rig.verb("preview", snapshot)
    assert rig.uuids() == {DISK, snapshot, preview}
    rig.rebuild()
    assert rig.audit() == []


@pytest.mark.parametrize("known", [True, False])
def test_a_ghost_of_a_disk_with_other_volumes_is_not_deleted_in_ovirt(
    rig: Rig, known: bool
) -> None:
    """Deleting the disk in oVirt would take the volume that it lives in: the audit says so, and
    names the way."""
    rig.verb("create", DISK, GIB)
    preview = rig.verb("preview", rig.verb("snapshot", DISK))
    rig.verb("connection", preview)
    rig.api(f"VolumeDelete/~{rig.global_id(DISK)}", {})
    if not known:
        forget(rig, preview)
    ghost = next(each for each in rig.audit() if each.kind == findings.GHOST)
    assert "do not delete it in oVirt" in ghost.mend
    assert "delete the disk in oVirt" not in ghost.mend
    rig.rebuild()
    rig.remove(DISK)
    assert rig.audit() == []
    rig.verb("extend", DISK, 2 * GIB)
    assert rig.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB


def test_a_ghost_that_is_the_whole_disk_can_be_deleted_in_ovirt(rig: Rig) -> None:
    """T7: where nothing else is left the advice is the short one, and it works."""
    rig.verb("create", DISK, GIB)
    rig.verb("create", CLONE, GIB)
    rig.api(f"VolumeDelete/~{rig.global_id(DISK)}", {})
    (ghost,) = rig.audit()
    assert "delete the disk in oVirt" in ghost.mend
    rig.verb("delete", DISK)
    assert rig.audit() == []


def test_an_attached_disk_without_a_row_is_critical(rig: Rig) -> None:
    """T72: a running VM whose disk the mapping does not know is named with its host, and rebuild
    takes it in."""
    rig.verb("create", DISK, GIB)
    rig.attach(1, rig.verb("connection", DISK)["data"])
    forget(rig)
    (finding,) = rig.audit()
    assert (finding.kind, finding.severity) == (findings.UNMAPPED, findings.CRITICAL)
    assert "client 1" in finding.cause
    rig.rebuild()
    assert rig.audit() == []


def new_location(rig: Rig) -> str:
    """Lose the database of an Engine with a disk; a verb of the new one died.

    Returns the old location.
    """
    old = rig.location
    rig.verb("create", CLONE, GIB)
    forget(rig)
    rig.location = "aaaaaaaa"
    rig.sql("UPDATE storpool_ovirt.meta SET location = %s", rig.location)
    rig.verb("create", LAST, GIB)
    rig.die_when_made("create", DISK, GIB)
    return old


def locations(rig: Rig) -> dict[str, str]:
    """Return the location of each object of oVirt's, without that of the other Engine."""
    tags = [each["tags"] for each in rig.api("VolumesList")]
    return {
        each[names.TAG_UUID]: each[names.TAG_LOCATION]
        for each in tags
        if each.get(names.TAG_UUID) not in (None, recovery_rig.FOREIGN)
    }


def test_the_old_location_is_everybodys(rig: Rig) -> None:
    """T79: rebuild --location gives the old location to all that the new Engine made, rows or
    not."""
    old = new_location(rig)
    rig.rebuild(old)
    rig.location = old
    assert locations(rig) == dict.fromkeys((CLONE, LAST, DISK), old)
    rig.verb("create", DISK, GIB)
    rig.verb("delete", CLONE)
    assert rig.audit() == []


def test_an_interrupted_change_of_location_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T79: whichever object it dies before, the next run retags the rest."""
    old = new_location(rig)
    with monkeypatch.context() as patch:
        change = volumes.change
        left = iter([True])

        def mortal(*arguments: Any, **wanted: Any) -> int:
            if next(left, None) is None:
                raise Death
            return change(*arguments, **wanted)

        patch.setattr(volumes, "change", mortal)
        with pytest.raises(Death):
            rig.rebuild(old)
    assert sorted(locations(rig).values()).count(old) == 2, "that of the lost database and one more"
    rig.rebuild(old)
    rig.location = old
    assert locations(rig) == dict.fromkeys((CLONE, LAST, DISK), old)


@pytest.mark.parametrize("location", ["bbbbbbbb", ""])
def test_an_object_of_the_mapping_with_another_location_is_anothers(
    rig: Rig, location: str
) -> None:
    """T76, T79: what was handed to another Engine stays its own; one without a location gets ours
    again."""
    rig.verb("create", DISK, GIB)
    rig.verb("create", CLONE, GIB)
    rig.api(f"VolumeUpdate/~{rig.global_id(CLONE)}", {"tags": {names.TAG_LOCATION: location}})
    left_out = rig.plan().left_out
    assert [
        why.endswith("but it belongs to the Engine of location bbbbbbbb now") for why in left_out
    ] == ([True] if location else [])
    rig.rebuild()
    assert locations(rig) == {CLONE: location or rig.location, DISK: rig.location}
