"""reconcile.py: what an administrator names is looked at as closely as what the audit found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import OTHERS_VOLUME
from rigs.yard import CLONE, DISK, FOREIGN, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import reconcile
from storpool_ovirt.engine import mapping, settlement

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("a_disk")


def test_an_unmapped_object_is_removed(yard: Yard) -> None:
    """The administrator has decided that it is not needed."""
    address = yard.by_hand(OTHER)
    before = yard.world()
    assert yard.remove(address, dry_run=True) == f"would delete volume ovirt--{OTHER} ({address})"
    assert yard.world() == before
    assert yard.remove(address) == f"deleted volume ovirt--{OTHER} ({address})"
    assert set(yard.see().things) == {f"ovirt--{DISK}"}


def test_a_ghost_is_forgotten(yard: Yard) -> None:
    """The row of a disk that StorPool has lost goes; what else there is of its tree stays known."""
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    before = yard.world()
    assert yard.remove(DISK, dry_run=True) == f"would forget volume {DISK}"
    assert yard.world() == before
    assert yard.remove(DISK) == f"forgot volume {DISK}"
    assert {uuid: row.state for uuid, row in yard.see().rows.items()} == {
        DISK: "removed",
        snapshot: "live",
    }
    assert yard.report().findings == ()


def test_a_dry_run_puts_nothing_right(yard: Yard) -> None:
    """Only told: also where something died on the same disk."""
    yard.verb("create", OTHER, GIB)
    snapshot = yard.verb("snapshot", OTHER)
    yard.ask(f"SnapshotDelete/{yard.address(snapshot)}", {})
    yard.die_made("snapshot", OTHER)
    before = yard.world()
    assert yard.remove(snapshot, dry_run=True) == f"would forget snapshot {snapshot}"
    assert yard.world() == before


Refusal = tuple["str | Callable[[Yard], str]", float, type[Exception], str]
REFUSED: dict[str, Refusal] = {
    "an unknown id": (OTHER, 0, errors.NotFound, OTHER),
    "no id": ("disk7", 0, errors.InputError, "is not a UUID"),
    "an unknown object": ("~sim.a.zzz", 0, errors.NotFound, "sim.a.zzz"),
    "an object of the mapping": (
        lambda yard: yard.address(DISK),
        0,
        errors.Conflict,
        "is in the mapping",
    ),
    "a row whose object is there": (DISK, 0, errors.Conflict, "is there: delete its disk in oVirt"),
    "another Engine's": (lambda _: f"~ovirt--{FOREIGN}", 0, errors.Error, ""),
    "another platform's": (lambda _: f"~{OTHERS_VOLUME}", 0, errors.Error, ""),
    "a young object": (
        lambda yard: yard.by_hand(OTHER),
        3600,
        errors.Conflict,
        "wait for the grace period",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_may_not_be_removed_is_refused(yard: Yard, what: str, dry_run: bool) -> None:
    """T76: nothing changes, and the reason is told."""
    target, grace, error, said = REFUSED[what]
    address = target(yard) if callable(target) else target
    if address[1:] in (OTHERS_VOLUME, f"ovirt--{FOREIGN}"):
        address, error, said = (
            f"~{yard.ask('Volume/' + address[1:])[0]['globalId']}",
            errors.Foreign,
            "left alone",
        )
    before = yard.world()
    with pytest.raises(error, match=said):
        yard.remove(address, grace, dry_run)
    assert yard.world() == before


def test_an_attached_object_is_not_removed(yard: Yard) -> None:
    """T9: in use somewhere, it is needed."""
    address = yard.by_hand(OTHER)
    yard.hold(address)
    before = yard.world()
    with pytest.raises(errors.Conflict, match="client 2"):
        yard.remove(address)
    assert yard.world() == before


def test_an_object_is_detached_by_its_id(yard: Yard) -> None:
    """Where it is closed; where it is open is told; without a word of force."""
    yard.shut(DISK, 1, declared_open=True)
    yard.shut(DISK, 2)
    before = yard.world()
    would = yard.detach_closed(DISK, dry_run=True)
    assert would.endswith("where it is closed, of client 1, client 2")
    assert yard.world() == before
    assert yard.detach_closed(DISK).endswith("from client 2; it is open at client 1")
    assert {client_id for _, client_id, _ in yard.see().attached} == {1}
    assert yard.forced() == []


@pytest.mark.parametrize(("target", "error"), [(OTHER, errors.NotFound), ("x", errors.InputError)])
def test_what_has_no_row_is_not_detached(yard: Yard, target: str, error: type[Exception]) -> None:
    """T76: only what is this Engine's."""
    with pytest.raises(error):
        yard.detach_closed(target)


# What an operation that died has left


def restored_leak(yard: Yard) -> str:
    """Make a snapshot that an entry of a restored backup speaks of."""
    made = yard.die_made("snapshot", DISK)
    yard.restored()
    return made


def test_what_ovirt_lists_is_kept(yard: Yard) -> None:
    """T85: the entry is closed, the row completed, and nothing is open or told any more."""
    made = restored_leak(yard)
    before = yard.world()
    assert yard.keep(made, dry_run=True) == f"would close 1 entry on snapshot {made}"
    assert yard.world() == before
    assert yard.keep(made) == f"closed 1 entry on snapshot {made}"
    assert yard.see().rows[made].state == "live"
    assert (yard.operations(), yard.report().findings) == ([], ())
    yard.verb("preview", made)


def test_what_ovirt_does_not_list_is_removed(yard: Yard) -> None:
    """T72, T85: an administrator's word is the proof that a restored entry is not."""
    made = restored_leak(yard)
    before = yard.world()
    assert yard.remove(made, dry_run=True) == f"would delete snapshot {made}"
    assert yard.world() == before
    assert yard.remove(made) == f"snapshot {made}: taken back: deleted"
    assert set(yard.see().things) == {f"ovirt--{DISK}"}
    assert (yard.operations(), yard.report().findings) == ([], ())


def test_a_preview_that_is_kept_is_the_active_volume(yard: Yard) -> None:
    """T82, T85: a verb had set it aside; oVirt lists it, so what grows with the disk is it
    again."""
    preview = yard.undelivered("preview", yard.verb("snapshot", DISK))
    yard.age(settlement.FRESH_SECONDS)
    yard.verb("extend", DISK, GIB)
    yard.keep(preview)
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.see().things[f"ovirt--{preview}"].size_bytes == 2 * GIB


def test_a_leak_that_a_host_has_is_not_said_to_be_removed(yard: Yard) -> None:
    """T9, T72: what was named and is still there is a failure, with the reason."""
    yard.hold(f"ovirt--{yard.die_made('clone', DISK, CLONE)}")
    with pytest.raises(errors.Error, match="client 2"):
        yard.remove(CLONE)
    assert f"ovirt--{CLONE}" in yard.see().things


def test_what_ovirt_lists_and_was_never_made_is_told(yard: Yard) -> None:
    """T72, T85: oVirt lists a snapshot that StorPool does not have, and the administrator reads
    it."""
    yard.die_planned("snapshot", DISK)
    made = yard.operations()[0].node
    yard.restored()
    with pytest.raises(errors.NotFound, match="it was never made; delete it in oVirt"):
        yard.keep(made)
    assert [each.node for each in yard.operations()] == [made], "and the audit goes on to name it"


def test_of_what_was_removed_nothing_is_open(yard: Yard) -> None:
    """T72: also where an earlier try to make it had been taken back."""
    yard.die_planned("clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    yard.undelivered("clone", DISK, CLONE)
    yard.remove(CLONE)
    assert set(yard.see().things) == {f"ovirt--{DISK}"}
    assert yard.report().findings == ()


def test_what_a_rebuild_took_in_is_no_left_over(yard: Yard) -> None:
    """T76, T85: oVirt lists it, whatever a restored entry says of it: as any row whose object is
    there, it stays."""
    yard.die_planned("snapshot", DISK)
    made = str(yard.operations()[0].node)
    yard.verb("extend", DISK, GIB)
    yard.ask(
        f"VolumeSnapshot/{yard.address(DISK)}",
        {"name": f"ovirt--{made}", "tags": yard.tags(made, DISK)},
    )
    yard.restored()
    yard.rebuild()
    assert yard.see().rows[made].state == "live"
    with pytest.raises(errors.Conflict, match="is there"):
        yard.remove(made)
    assert f"ovirt--{made}" in yard.see().things


# Another owner's, or elsewhere, since a moment ago

HANDED = {"virt": "cs", "ovirt-loc": "", "ovirt-uuid": ""}


@pytest.mark.parametrize(
    ("tags", "said"),
    [(HANDED, "does not carry the tags"), ({"ovirt-root": CLONE}, "another disk")],
    ids=["owner", "disk"],
)
@pytest.mark.parametrize("how", ["waited", "behind"])
def test_what_became_anothers_while_its_disk_was_waited_for_is_kept(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, how: str, tags: dict[str, str], said: str
) -> None:
    """T76: it is read again under the lock, from a cluster that answers of now."""
    address = yard.by_hand(OTHER)
    lock = mapping.Mapping.lock

    def waited(there: mapping.Mapping, disk: str) -> None:
        lock(there, disk)
        yard.ask(f"VolumeUpdate/{address}", {"tags": tags})

    if how == "waited":
        monkeypatch.setattr(mapping.Mapping, "lock", waited)
    else:
        yard.ask(f"VolumeUpdate/{address}", {"tags": tags})
        yard.simulator.faults.add("old", query="Volume", changes=1, times=1)
    with pytest.raises(errors.Conflict, match=said):
        yard.remove(address)
    assert yard.ask(f"Volume/{address}")


def test_another_owners_volume_is_not_detached_by_its_id(yard: Yard) -> None:
    """T76: closed or not, its attachments are that owner's."""
    yard.shut(DISK, 2)
    before = yard.ask("AttachmentsList")
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": HANDED})
    with pytest.raises(errors.Foreign, match="another platform"):
        yard.detach_closed(DISK)
    assert yard.ask("AttachmentsList") == before


def test_another_owners_volume_is_not_detached_by_the_audit(yard: Yard) -> None:
    """T76: no step is offered for what is told to be another's, and one that was planned before is
    refused."""
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    yard.shut(preview, 1)
    yard.shut(DISK, 2)
    yard.sql("UPDATE storpool_ovirt.node SET active = %s WHERE uuid = %s", preview, DISK)
    todo = reconcile.plan(yard.report())
    assert [each.action.kind for each in todo if each.action] == ["detach"]
    before = yard.ask("AttachmentsList")
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": HANDED})
    with pytest.raises(errors.Foreign, match="another platform"):
        yard.carry_out(todo)
    assert [each.kind for each in yard.report().findings if each.uuid == DISK] == ["tag drift"]
    assert yard.reconcile() == []
    assert yard.ask("AttachmentsList") == before


def test_a_dead_delete_forgets_no_row_whose_object_lives_on_by_its_tags(yard: Yard) -> None:
    """T72, T85: it was restored by hand under another name; the row stays until a person has
    decided."""
    snapshot = yard.verb("snapshot", DISK)
    yard.die_planned("remove", snapshot)
    yard.ask(f"SnapshotDelete/{yard.address(snapshot)}", {})
    yard.ask(
        f"VolumeSnapshot/ovirt--{DISK}", {"name": "restored", "tags": yard.tags(snapshot, DISK)}
    )
    before = yard.world()
    with pytest.raises(
        errors.Conflict, match=f'lives on as snapshot "restored".*storpool-ovirt mend {snapshot}'
    ):
        yard.reconcile()
    assert yard.world() == before


def test_a_dead_delete_forgets_no_row_whose_name_is_another_owners(yard: Yard) -> None:
    """T76, T85: Engine's own delete would be refused without the row, so a person decides."""
    snapshot = yard.verb("snapshot", DISK)
    yard.die_planned("remove", snapshot)
    yard.ask(f"SnapshotDelete/{yard.address(snapshot)}", {})
    others = {"virt": "ovirt", "ovirt-uuid": DISK, "ovirt-loc": "elsewhere"}
    yard.ask(f"VolumeSnapshot/ovirt--{DISK}", {"name": f"ovirt--{snapshot}", "tags": others})
    before = yard.world()
    for ask in (yard.reconcile, lambda: yard.remove(snapshot)):
        with pytest.raises(errors.Conflict, match=f'lives on as snapshot "ovirt--{snapshot}"'):
            ask()
    assert yard.world() == before


def test_no_row_is_forgotten_whose_object_the_lists_have(yard: Yard) -> None:
    """T85: a read by its id says that there is none, as on the way back from the trash; the lists
    show it under that very id."""
    before = yard.world()
    with (
        yard.trouble("error_200", query="Volume", name="objectDoesNotExist", times=9),
        pytest.raises(errors.Conflict, match=f'lives on as volume "ovirt--{DISK}"'),
    ):
        yard.remove(DISK)
    assert yard.world() == before
