"""audit.py: each disagreement of mapping, cluster and hosts is told, with its cause and what mends
it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from one_finding import check, only

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import DISK, FOREIGN, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import audit_text

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database


pytestmark = pytest.mark.usefixtures("a_disk")


def test_a_volume_that_was_deleted_by_hand_is_a_ghost(yard: Yard) -> None:
    """T72: a volume is critical, a snapshot a warning; nobody but a person can decide."""
    yard.verb("create", OTHER, GIB)
    snapshot = yard.verb("snapshot", OTHER)
    yard.ask(f"SnapshotDelete/{yard.address(snapshot)}", {})
    cause = "made by the request test"
    check(
        only(yard),
        "ghost",
        "warning",
        None,
        cause=cause,
        mend=f"storpool-ovirt reconcile --remove {snapshot}",
    )
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    worst = yard.report()
    assert worst.severity == "critical"
    check(worst.findings[0], "ghost", "critical", None, cause=cause, mend="trash")


def test_a_delete_that_was_taken_back_and_took_effect_is_the_cause_of_a_ghost(yard: Yard) -> None:
    """T72: it is told why the object is gone, and how the row goes."""
    snapshot = yard.verb("snapshot", DISK)
    yard.die_when(lambda: yard.see().rows[snapshot].state == "deleting", "remove", snapshot)
    yard.verb("extend", DISK, GIB)
    yard.ask(f"SnapshotDelete/{yard.address(snapshot)}", {})
    cause = "a delete of it that had been taken back took effect after that"
    check(only(yard), "ghost", "warning", None, cause=cause, mend=f"--remove {snapshot} forgets it")


@pytest.mark.parametrize("change", [{"ovirt-root": OTHER}, {"virt": ""}, {"ovirt-uuid": ""}])
def test_tags_that_somebody_changed_are_written_again(yard: Yard, change: dict[str, str]) -> None:
    """T72, T79: an object with our location and no other id is ours."""
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.ask(f"VolumeUpdate/{yard.address(preview)}", {"tags": change})
    found = only(yard)
    check(
        found,
        "tag drift",
        "warning",
        "retag",
        cause=f"({next(iter(change))})",
        mend="writes them again",
    )
    assert (found.uuid, found.disk) == (preview, DISK)


@pytest.mark.parametrize(("tag", "value"), [("ovirt-loc", "ffffffff"), ("virt", "pve")])
def test_tags_that_make_it_anothers_are_left_to_a_person(yard: Yard, tag: str, value: str) -> None:
    """T76: whose it is, only a person knows; the tags to set are told."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {tag: value}})
    right = yard.tags(DISK)[tag]
    check(
        only(yard),
        "tag drift",
        "warning",
        None,
        cause=f"({tag})",
        mend=f"set {tag}={right} with the StorPool CLI",
    )


@pytest.mark.parametrize(
    ("change", "choice"), [({"ovirt-loc": ""}, ""), ({"ovirt-uuid": OTHER}, " ~")]
)
def test_tags_that_a_revert_took_are_for_mend(
    yard: Yard, change: dict[str, str], choice: str
) -> None:
    """T72: the command is named, with the object where its tag names another disk."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": change})
    mend = f"storpool-ovirt mend {DISK}{choice}"
    check(only(yard), "tag drift", "warning", None, cause=f"({next(iter(change))})", mend=mend)


def test_an_object_with_the_root_of_another_disk_is_told(yard: Yard) -> None:
    """T72, T79: a rebuild would take the first volume of a disk for another disk's."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"ovirt-root": OTHER}})
    check(only(yard), "tag drift", "warning", "retag", cause="(ovirt-root)", mend="")


def test_an_object_that_was_renamed_is_told(yard: Yard) -> None:
    """T72: nothing breaks, but a lost answer would not be found."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"rename": "mine"})
    check(
        only(yard),
        "tag drift",
        "info",
        None,
        cause='renamed it to "mine"',
        mend=f"storpool-ovirt mend {DISK} names",
    )


def test_an_object_that_was_resized_is_told(yard: Yard) -> None:
    """T72: both sizes are told."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 3 * GIB})
    check(
        only(yard),
        "size drift",
        "warning",
        "resize",
        cause="it has 3 GiB, the mapping says 1 GiB",
        mend="extend",
    )


def test_an_object_of_ours_without_a_row_is_unmapped(yard: Yard) -> None:
    """T72, T85: it may be the only copy of a disk, so a person decides between the two commands."""
    yard.verb("create", OTHER, GIB)
    address = yard.address(OTHER)
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", OTHER)
    found = only(yard)
    check(
        found,
        "unmapped",
        "warning",
        None,
        cause="restored from an older backup",
        mend="storpool-ovirt rebuild",
    )
    assert f"--remove {address} deletes it" in found.mend


def test_a_second_object_of_an_id_is_critical(yard: Yard) -> None:
    """T72, T61: which of the two has the data, nobody can tell from here."""
    was = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{was}", {"rename": "mine"})
    address = yard.by_hand(DISK)
    found = next(each for each in yard.report().findings if each.kind == "unmapped")
    check(
        found,
        "unmapped",
        "critical",
        None,
        cause="has another object for this id",
        mend=f"--remove {address} del",
    )
    assert f"storpool-ovirt mend {DISK} {address}" in found.mend


def test_a_name_that_belongs_to_nobody_is_only_told(yard: Yard) -> None:
    """T76: it may get in the way of a disk one day."""
    yard.ask("VolumeCreate", {"name": f"ovirt--{OTHER}", "size": GIB, "template": "hybrid"})
    check(
        only(yard),
        "foreign",
        "info",
        None,
        cause="carries no location",
        mend="nothing here touches it",
    )


def test_a_name_of_ours_that_another_took_is_a_warning(yard: Yard) -> None:
    """T76: the disk of this id cannot be made while the name is another Engine's."""
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("create", FOREIGN, GIB, fault=Fault("refuse"))
    found = {each.kind: each for each in yard.report().findings}
    assert set(found) == {"foreign", "unfinished"}
    cause = "belongs to the Engine of location ffffffff, and the mapping has this id"
    check(
        found["foreign"],
        "foreign",
        "warning",
        None,
        cause=cause,
        mend="rename or delete it with the StorPool CLI",
    )


# Hosts


def test_an_attachment_of_a_volume_that_is_not_in_use_is_stale(yard: Yard) -> None:
    """T72: the VM's volume is the preview, which a host has, so nobody needs the first one."""
    yard.shut(DISK)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.shut(preview, 2)
    check(
        only(yard),
        "stale attachment",
        "warning",
        "detach",
        cause=f"the VM's volume is {preview}",
        mend="detaches it",
    )


def test_an_attachment_of_the_only_volume_that_a_host_has_is_only_told(yard: Yard) -> None:
    """T72, T85: the VM may run from it, and the mapping be older than that: nothing is offered."""
    yard.shut(DISK)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    cause = f"takes {preview} for the VM's volume, which no host has"
    check(only(yard), "stale attachment", "info", None, cause=cause, mend="the next connect_volume")


def test_an_attachment_at_a_host_that_is_down_is_told(yard: Yard) -> None:
    """T72: only a person may force, and only when the host is off for sure."""
    yard.shut(DISK, 2)
    yard.simulator.set_client(2, running=False)
    found = only(yard)
    check(
        found,
        "stale attachment",
        "warning",
        None,
        cause="client 2 has it attached and is down",
        mend="OURID=2",
    )
    assert found.mend.endswith("make sure that it is off, then storpool-ovirt fence-host 2")


def test_a_wrong_cluster_is_one_critical_finding(
    yard: Yard, database: Database, tmp_path: Path
) -> None:
    """T77: an empty cluster behind a wrong address is not a hundred lost disks."""
    yard.verb("create", OTHER, GIB)
    yard.verb("snapshot", OTHER)
    yard._running.close()
    yard.folder = tmp_path / "another"
    for client_id in (1, 2, 3):
        (yard.folder / f"host{client_id}").mkdir(parents=True)
    yard._start()
    check(
        only(yard),
        "wrong cluster",
        "critical",
        None,
        cause="none of the 3 objects",
        mend="check sp_api_http_host",
    )


@pytest.mark.parametrize("made", ["infinity", "-infinity"])
def test_a_row_whose_time_others_have_changed_is_told_without_its_age(
    yard: Yard, made: str
) -> None:
    """T24, T72: the audit goes on, for people and for programs."""
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    yard.sql("UPDATE storpool_ovirt.node SET created_at = %s", made)
    finding = only(yard)
    assert (finding.kind, finding.age_seconds) == ("ghost", None)
    (told,) = audit_text.document(yard.report())["findings"]
    assert told["age_seconds"] is None


def test_what_has_a_ghosts_name_and_another_owner_is_for_a_person_to_decide(yard: Yard) -> None:
    """T72, T76: it is named, and neither forgotten nor taken."""
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    tags = {"virt": "ovirt", "ovirt-uuid": DISK, "ovirt-loc": "elsewhere"}
    made = {"name": f"ovirt--{DISK}", "size": GIB, "template": "hybrid", "tags": tags}
    yard.ask("VolumeCreate", made)
    (ghost,) = [each for each in yard.report().findings if each.kind == "ghost"]
    assert f'volume "ovirt--{DISK}"' in ghost.cause
    with pytest.raises(errors.Conflict, match="lives on as"):
        yard.remove(DISK)
