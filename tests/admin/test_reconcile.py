"""reconcile.py: every step rests on what is so at that moment; nothing that Engine knows is ever
deleted."""

from __future__ import annotations

import pytest

from rigs import deaths
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.tag_updates import with_both
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import reconcile

pytestmark = pytest.mark.usefixtures("a_disk")


def late(yard: Yard) -> str:
    """Have a clone come through after it was taken back; return how it is addressed."""
    yard.die_when(lambda: CLONE in yard.see().rows, "clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    return yard.by_hand(CLONE)


# What has changed since it was planned


@pytest.mark.parametrize("meanwhile", ["repeated", "connected"])
def test_a_leak_that_engine_knows_by_now_is_kept(yard: Yard, meanwhile: str) -> None:
    """T72: between the look and the step the verb was repeated, or Engine connected the disk."""
    yard.die_made("clone", DISK, CLONE)
    todo = reconcile.plan(yard.report())
    yard.verb(*{"repeated": ("clone", DISK, CLONE), "connected": ("connection", CLONE)}[meanwhile])
    before = yard.see()
    assert yard.carry_out(todo) == [reconcile.NOTHING]
    assert yard.see() == before


def test_a_leak_that_was_made_anew_under_its_id_is_kept(yard: Yard) -> None:
    """T72: what came late is gone, and Engine has made a disk of that id since."""
    address = late(yard)
    todo = reconcile.plan(yard.report())
    yard.ask(f"VolumeDelete/{address}", {})
    yard.verb("create", CLONE, GIB)
    before = yard.see()
    assert yard.carry_out(todo) == [reconcile.NOTHING]
    assert yard.see() == before


@pytest.mark.parametrize("tags", [{"ovirt-loc": "ffffffff"}, {"ovirt-uuid": OTHER}, {"virt": "cs"}])
def test_what_became_anothers_is_never_deleted(yard: Yard, tags: dict[str, str]) -> None:
    """T76: whoever changed the tags meanwhile keeps the object."""
    address = late(yard)
    todo = reconcile.plan(yard.report())
    yard.ask(f"VolumeUpdate/{address}", {"tags": tags})
    with pytest.raises(errors.Foreign, match="does not carry the tags of this Engine"):
        yard.carry_out(todo)
    assert len(yard.ask(f"Volume/{address}")) == 1


def test_a_leak_whose_tags_changed_is_forgotten_not_deleted(yard: Yard) -> None:
    """T76: with other tags it is not what the dead verb made."""
    yard.die_made("clone", DISK, CLONE)
    todo = reconcile.plan(yard.report())
    yard.ask(f"VolumeUpdate/ovirt--{CLONE}", {"tags": {"ovirt-loc": "ffffffff"}})
    yard.carry_out(todo)
    assert len(yard.ask(f"Volume/ovirt--{CLONE}")) == 1


def test_a_leak_that_a_host_holds_is_told_and_kept(yard: Yard) -> None:
    """T9: nothing is forced; the finding stays until the host lets go."""
    made = yard.die_made("clone", DISK, CLONE)
    yard.hold(f"ovirt--{made}")
    with pytest.raises(errors.Conflict, match=f"volume {CLONE} was left: .* client 2"):
        yard.reconcile()
    assert f"ovirt--{CLONE}" in yard.see().things
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": f"ovirt--{made}", "detach": [2]}]})
    yard.reconcile()
    assert set(yard.see().things) == {f"ovirt--{DISK}"}


def test_a_late_object_that_a_host_holds_is_told_and_kept(yard: Yard) -> None:
    """T9: also where it has no row."""
    address = late(yard)
    yard.hold(address)
    with pytest.raises(errors.Conflict, match="client 2"):
        yard.reconcile()
    assert f"ovirt--{CLONE}" in yard.see().things


@pytest.mark.parametrize("has_row", [True, False])
def test_the_host_that_has_a_leak_attached_is_named(yard: Yard, has_row: bool) -> None:
    """T72: the administrator reads where it is attached."""
    assert "client 2" in refusal(yard, has_row)


@pytest.mark.parametrize("has_row", [True, False])
def test_a_leak_that_is_attached_and_closed_is_not_said_to_be_open(
    yard: Yard, has_row: bool
) -> None:
    """T72: nothing uses the device, so nothing can be stopped: it is to be detached."""
    assert "is open" not in refusal(yard, has_row)


def refusal(yard: Yard, has_row: bool) -> str:
    """Reconcile a leak that is attached to a host and closed there; return what is told."""
    yard.hold(f"ovirt--{yard.die_made('clone', DISK, CLONE)}" if has_row else late(yard))
    with pytest.raises((errors.InUse, errors.Conflict)) as failure:
        yard.reconcile()
    return str(failure.value)


def test_what_is_younger_than_the_grace_period_is_kept(yard: Yard) -> None:
    """T72: the age is read again, too."""
    yard.die_made("clone", DISK, CLONE)
    assert yard.carry_out(reconcile.plan(yard.report()), grace_seconds=3600) == [reconcile.NOTHING]
    assert f"ovirt--{CLONE}" in yard.see().things


def test_what_a_restored_entry_says_was_undone_is_left_to_a_person(yard: Yard) -> None:
    """T76, T85: it proves nothing, so nothing is deleted, and the audit does not promise what
    reconcile cannot do."""
    late(yard)
    yard.restored()
    yard.reconcile()
    assert f"ovirt--{CLONE}" in yard.see().things
    assert reconcile.plan(yard.report()) == []


def test_an_attachment_that_is_in_use_again_is_kept(yard: Yard) -> None:
    """T72: the VM was started from the first volume meanwhile."""
    yard.shut(DISK)
    yard.shut(yard.verb("preview", yard.verb("snapshot", DISK)), 2)
    todo = reconcile.plan(yard.report())
    yard.verb("connection", DISK)
    assert yard.carry_out(todo) == [reconcile.NOTHING]
    assert len(yard.see().attached) == 2


@pytest.mark.parametrize(
    ("is_open", "said"), [(False, "from client 1"), (True, "it is open at client 1")]
)
def test_a_stale_attachment_is_detached_where_it_is_closed(
    yard: Yard, is_open: bool, said: str
) -> None:
    """T9: a device that is open stays, and the administrator reads where."""
    yard.shut(DISK, declared_open=is_open)
    yard.shut(yard.verb("preview", yard.verb("snapshot", DISK)), 2)
    (done,) = yard.reconcile()
    assert said in done
    assert len(yard.see().attached) == 1 + is_open
    assert yard.forced() == []


@with_both
def test_tags_are_written_again(yard: Yard) -> None:
    """T79: all of them, and nothing else of the object."""
    before = yard.see()
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"ovirt-uuid": "", "virt": ""}})
    assert yard.reconcile() == ["wrote its tags"]
    assert yard.see() == before


@with_both
def test_what_an_administrator_has_tagged_stays(yard: Yard) -> None:
    """T79: also what came between the look and the step."""
    address = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{address}", {"tags": {"ovirt-uuid": "", "qc": "gold"}})
    todo = reconcile.plan(yard.report())
    yard.ask(f"VolumeUpdate/{address}", {"tags": {"qc": "silver", "vc-policy": "daily"}})
    assert yard.carry_out(todo) == ["wrote its tags"]
    [there] = yard.ask(f"Volume/{address}")
    assert there["tags"] == {**yard.tags(DISK), "qc": "silver", "vc-policy": "daily"}


def test_tags_of_what_became_anothers_are_left(yard: Yard) -> None:
    """T76: between the look and the step it got another owner."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"virt": ""}})
    todo = reconcile.plan(yard.report())
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"ovirt-loc": "ffffffff"}})
    before = yard.world()
    assert yard.carry_out(todo) == [reconcile.NOTHING]
    assert yard.world() == before


def test_a_size_is_read_at_the_last_moment(yard: Yard) -> None:
    """T82: not the size that was seen is written, but the one that is."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 2 * GIB})
    todo = reconcile.plan(yard.report())
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 3 * GIB})
    assert yard.carry_out(todo) == ["wrote 3 GiB in the mapping"]
    assert yard.see().rows[DISK].size_bytes == 3 * GIB


def test_a_size_is_not_written_under_another_operation(yard: Yard) -> None:
    """T72: what died meanwhile is put right first."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 2 * GIB})
    todo = reconcile.plan(yard.report())
    yard.die_planned("extend", DISK, 3 * GIB)
    assert yard.carry_out(todo) == [reconcile.NOTHING]


def test_a_delete_that_took_the_disks_volume_is_ended(yard: Yard) -> None:
    """T72: what is left of the disk goes, as Engine wanted."""
    yard.verb("snapshot", DISK)
    yard.die_when(lambda: f"ovirt--{DISK}" not in yard.see().things, "delete", DISK)
    assert yard.reconcile() == [f"deleted what was left of disk {DISK}"]
    assert (yard.see().rows, yard.see().things, yard.report().findings) == ({}, {}, ())


# Being killed


LINES_MAX = 400


def test_a_reconcile_that_dies_anywhere_and_runs_again_ends_well(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T72: the next one finds what is left."""
    monkeypatch.setattr(deaths, "_MORTAL", deaths._MORTAL | {reconcile.__file__})
    snapshot = yard.verb("snapshot", DISK)
    yard.undelivered("preview", snapshot)
    yard.verb("create", OTHER, GIB)
    yard.verb("snapshot", OTHER)
    yard.die_when(lambda: f"ovirt--{OTHER}" not in yard.see().things, "delete", OTHER)
    late(yard)
    yard.undelivered("preview", snapshot)
    for lines in range(1, LINES_MAX, 4):
        try:
            yard.reconcile(fault=Fault("death", lines=lines))
        except Death:
            continue
        break
    # A try that dies in a delete leaves its entry beside those before it, and one more to be ended
    yard.reconcile()
    assert yard.report().findings == ()
    assert (
        set(yard.see().things)
        == {f"ovirt--{uuid}" for uuid in (DISK, snapshot)}
        == yard.names_of_rows()
    )
    assert yard.see().rows[DISK].active == DISK
