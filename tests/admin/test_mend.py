"""mend.py: after a revert, a restore or another change by hand one command makes row and object
agree again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from rigs import deaths, disk_rig
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.tag_updates import with_both
from rigs.yard import DISK, FOREIGN, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import mend
from storpool_ovirt.cluster import force

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("a_disk")


def mended(
    yard: Yard, uuid: str = DISK, chosen: str | None = None, *, dry_run: bool = False
) -> list[str]:
    """Mend as an administrator does."""
    with yard.engine("mend") as engine:
        return mend.mend(engine, uuid, chosen, dry_run)


def restored(
    yard: Yard, size_gib: int = 2, name: str | None = f"ovirt--{DISK}", **tags: str
) -> str:
    """Restore DISK from a snapshot of it by hand: another global id, another size, these tags;
    return its address."""
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    body = {"name": name, "parent": yard.address(snapshot), "size": size_gib * GIB, "tags": tags}
    return f"~{yard.ask('VolumeCreate', body)['globalId']}"


def is_right(yard: Yard, address: str, size_gib: int = 1) -> None:
    """Check that the audit is clean, and that hosts and verbs get this object for the disk."""
    assert yard.report().findings == ()
    row = yard.see().rows[DISK]
    assert (row.state, f"~{row.global_id}", row.size_bytes) == ("live", address, size_gib * GIB)
    data = yard.verb("connection", DISK)["data"]
    assert f"~{data['global_id']}" == address
    assert yard.attach(1, data).endswith(address[1:])
    yard.detach(1, data)
    yard.verb("extend", DISK, 4 * GIB)
    yard.verb("snapshot", DISK)


# By hand, and put right


@with_both
def test_a_volume_that_was_restored_by_hand_is_the_disk_again(yard: Yard) -> None:
    """T85: another global id, another size, no tags: the audit names the command, and after it all
    is well."""
    was = yard.address(DISK)
    address = restored(yard)
    named = {each.kind: each.mend for each in yard.report().findings}
    assert set(named) == {"ghost", "foreign"}
    assert all(f"storpool-ovirt mend {DISK}" in each for each in named.values())
    before = yard.world()
    told = mended(yard, dry_run=True)
    assert yard.world() == before
    assert told == [
        f'volume {DISK}: volume "ovirt--{DISK}" ({address})',
        f"  global id: the mapping has {was}, it is {address}",
        f"  tag ovirt-loc: it has none, it gets {yard.location}",
        f"  tag ovirt-uuid: it has none, it gets {DISK}",
        "  tag virt: it has none, it gets ovirt",
        "  size: the mapping has 1 GiB, it is 2 GiB",
        "1 would be mended",
    ]
    done = mended(yard)
    assert done[: len(told) - 1] == told[:-1]
    assert any("929" in line for line in done)
    assert any("extend disk" in line and "2 GiB" in line for line in done)
    assert done[-1] == "1 mended: now run storpool-ovirt audit"
    assert mended(yard) == ["0 mended: now run storpool-ovirt audit"]
    is_right(yard, address, 2)


@with_both
def test_other_tags_of_the_object_stay(yard: Yard) -> None:
    """T79: what StorPool's own services and administrators wrote is not lost."""
    yard.ask(
        f"VolumeUpdate/{yard.address(DISK)}",
        {"tags": {"vc-policy": "daily", "virt": "", "ovirt-uuid": ""}},
    )
    mended(yard)
    there = yard.see().things[f"ovirt--{DISK}"]
    assert there.tags == {**yard.tags(DISK), "vc-policy": "daily"}


@with_both
@pytest.mark.parametrize(
    "change",
    [
        {"tags": {"virt": "", "ovirt-uuid": "", "ovirt-loc": ""}},
        {"tags": {"ovirt-root": OTHER}},
        {"size": 2 * GIB},
        {"rename": "mine"},
        {"rename": "mine", "size": 2 * GIB, "tags": {"ovirt-loc": ""}},
    ],
    ids=["no tags", "a root", "the size", "the name", "all of it"],
)
def test_what_was_changed_by_hand_is_put_right(yard: Yard, change: dict[str, object]) -> None:
    """T72: the finding names the command, and after it there is none."""
    address = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{address}", change)
    assert all(
        f"storpool-ovirt mend {DISK}" in each.mend
        for each in yard.report().findings
        if each.kind != "foreign"
    )
    mended(yard)
    is_right(yard, address, 2 if "size" in change else 1)


def test_a_whole_disk_is_put_right(yard: Yard) -> None:
    """T72: a disk's id means all of its tree; that of a snapshot only the snapshot."""
    first, second = yard.verb("snapshot", DISK), yard.verb("snapshot", DISK)
    for snapshot in (first, second):
        yard.ask(f"SnapshotUpdate/{yard.address(snapshot)}", {"rename": f"mine-{snapshot}"})
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 2 * GIB})
    assert mended(yard, first)[-1].startswith("1 mended")
    assert mended(yard)[-1].startswith("2 mended")
    assert yard.report().findings == ()


def test_what_only_its_tags_tell_is_found(yard: Yard) -> None:
    """T85: restored under another name, but with the tags of the disk."""
    address = restored(yard, 1, "restored-from-monday", **yard.tags(DISK))
    (ghost,) = [each for each in yard.report().findings if each.kind == "ghost"]
    assert f"storpool-ovirt mend {DISK}" in ghost.mend
    mended(yard)
    is_right(yard, address)


@with_both
def test_any_object_that_is_named_can_be_the_disk(yard: Yard) -> None:
    """T85: restored under another name and without tags: the administrator gives its global id,
    with ~ or without."""
    address = restored(yard, 1, "restored-from-monday")
    with pytest.raises(errors.NotFound, match="give the global id"):
        mended(yard)
    mended(yard, DISK, address[1:])
    is_right(yard, address)


# Which of two


def test_of_two_objects_a_person_chooses(yard: Yard) -> None:
    """T61: one has the global id, the other one the name: both are told, and nothing is changed
    before one is named."""
    was = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{was}", {"rename": "before-the-restore"})
    address = yard.by_hand(DISK)
    before = yard.world()
    with pytest.raises(errors.Conflict) as refused:
        mended(yard)
    assert all(
        each in str(refused.value)
        for each in (was, address, f"storpool-ovirt mend {DISK} ~GLOBALID")
    )
    with pytest.raises(errors.Conflict, match="rename that one first"):
        mended(yard, DISK, was)
    assert yard.world() == before
    mended(yard, DISK, address)
    assert [each.kind for each in yard.report().findings] == ["kept by others"]
    assert f"~{yard.see().rows[DISK].global_id}" == address


@with_both
def test_a_tag_of_another_disk_is_a_doubt(yard: Yard) -> None:
    """T61: a tag says that it is another disk's; who names it means it."""
    address = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{address}", {"tags": {"ovirt-uuid": OTHER}})
    with pytest.raises(errors.Conflict, match="tell which one it is"):
        mended(yard)
    mended(yard, DISK, address)
    is_right(yard, address)


def test_two_copies_with_the_tags_are_a_doubt(yard: Yard) -> None:
    """T61: neither id nor name tell, and two carry the tags."""
    first = restored(yard, 1, "one", **yard.tags(DISK))
    second = yard.by_hand(DISK, name="two")
    with pytest.raises(errors.Conflict) as refused:
        mended(yard)
    assert first in str(refused.value)
    assert second in str(refused.value)


# Refused


def _others_location(yard: Yard) -> tuple[str, str | None]:
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"ovirt-loc": "ffffffff"}})
    return DISK, None


def _another_platform(yard: Yard) -> tuple[str, str | None]:
    yard.ask(
        f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"virt": "pve"}, "rename": "vm-100-disk-0"}
    )
    return DISK, None


def _another_kind(yard: Yard) -> tuple[str, str | None]:
    return DISK, yard.address(yard.verb("snapshot", DISK))


def _another_row(yard: Yard) -> tuple[str, str | None]:
    yard.verb("create", OTHER, GIB)
    return DISK, yard.address(OTHER)


def _another_engines(yard: Yard) -> tuple[str, str | None]:
    return DISK, f"~{yard.ask(f'Volume/ovirt--{FOREIGN}')[0]['globalId']}"


def _gone(yard: Yard) -> tuple[str, str | None]:
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    return DISK, None


def _attached(yard: Yard) -> tuple[str, str | None]:
    was = yard.address(DISK)
    yard.shut(DISK)
    yard.ask(f"VolumeUpdate/{was}", {"rename": "before-the-restore"})
    return DISK, yard.by_hand(DISK)


def _died(yard: Yard) -> tuple[str, str | None]:
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 2 * GIB})
    yard.die_planned("extend", DISK, 3 * GIB)
    return DISK, None


REFUSED: dict[str, tuple[Callable[[Yard], tuple[str, str | None]], type[Exception], str]] = {
    "another location": (
        _others_location,
        errors.Foreign,
        "belongs to the Engine of location ffffffff",
    ),
    "another platform": (
        _another_platform,
        errors.Foreign,
        r"belongs to another platform \(virt=pve\)",
    ),
    "another kind": (_another_kind, errors.Conflict, "is a snapshot, and .* is a volume"),
    "another row's": (_another_row, errors.Conflict, f"is that of {OTHER} in the mapping"),
    "another Engine's": (
        _another_engines,
        errors.Foreign,
        "belongs to the Engine of location ffffffff",
    ),
    "gone": (_gone, errors.NotFound, "restore it there first"),
    "no such object": (lambda _: (DISK, "~sim.a.zzz"), errors.NotFound, "sim.a.zzz"),
    "no row": (lambda _: (OTHER, None), errors.NotFound, "in the mapping database"),
    "no id": (lambda _: ("disk7", None), errors.InputError, "is not a UUID"),
    "a host has the old one": (
        _attached,
        errors.Conflict,
        "still attached to client 1 .*929.*stop its VM",
    ),
    "something died on it": (_died, errors.Conflict, "storpool-ovirt reconcile first"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_may_not_be_mended_is_refused(yard: Yard, what: str, dry_run: bool) -> None:
    """T61, T76: nothing changes, and the reason is told with what to do."""
    spoil, error, said = REFUSED[what]
    disk, chosen = spoil(yard)
    before = yard.world()
    with pytest.raises(error, match=said):
        mended(yard, disk, chosen, dry_run=dry_run)
    assert yard.world() == before


def test_the_old_one_that_was_detached_is_no_obstacle(yard: Yard) -> None:
    """T66: what the refusal says to do is enough."""
    disk, chosen = _attached(yard)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": yard.address(DISK), "detach": [1]}]})
    mended(yard, disk, chosen)
    assert f"~{yard.see().rows[DISK].global_id}" == chosen


@with_both
def test_a_mend_that_dies_anywhere_is_ended_by_the_next(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71: wherever it stops, running it again ends well."""
    monkeypatch.setattr(deaths, "_MORTAL", deaths._MORTAL | {mend.__file__})
    address = restored(yard)
    for lines in itertools.count(1, 2):
        try:
            with yard.engine("mend") as engine, disk_rig.dying(Fault("death", lines=lines)):
                mend.mend(engine, DISK)
        except Death:
            continue
        break
    is_right(yard, address, 2)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": f"os--volume-{OTHER}"},
        {"name": f"ovirt--{OTHER}"},
        {"name": "aside", "tags": {"ovirt-uuid": OTHER}},
    ],
    ids=["Cinder's", "named", "tagged"],
)
def test_another_volume_of_ovirts_or_cinders_does_not_become_the_disk(
    yard: Yard, facts: dict[str, object]
) -> None:
    """T61, T76: its name or its tag says which one it is, whatever the prefix of the Cinder
    driver."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"rename": "lost"})
    chosen = yard.ask("VolumeCreate", {"size": GIB, "template": "hybrid", **facts})["globalId"]
    before = yard.world()
    with pytest.raises(
        errors.Conflict, match=f"is {OTHER} by its name or its tags, and not {DISK}"
    ):
        mended(yard, chosen=chosen)
    assert yard.world() == before


@with_both
def test_what_a_host_has_does_not_become_the_disk(yard: Yard) -> None:
    """T44, T76: somebody uses it, and a start would take it from him."""
    address = restored(yard)
    yard.hold(address, 2)
    before = yard.world()
    for chosen in (None, address):
        with pytest.raises(errors.Conflict, match="is attached to client 2"):
            mended(yard, chosen=chosen)
    assert yard.world() == before
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": address, "detach": [2]}]})
    mended(yard)
    is_right(yard, address, 2)


@with_both
def test_tags_that_were_emptied_by_hand_are_no_other_owners(yard: Yard) -> None:
    """T79, T46: where StorPool keeps empty tags: a fence still sees the disk by its name, and mend
    writes its tags."""
    yard.simulator.switches.set({"tag_empty": "keep"})
    yard.shut(DISK, 1)
    address = yard.address(DISK)
    yard.ask(f"VolumeUpdate/{address}", {"tags": dict.fromkeys(yard.tags(DISK), "")})
    with yard.engine() as engine:
        seen = force.look(engine.client, 1, "os")
    assert ([each.target.global_id for each in seen.ours], seen.others) == ([address[1:]], ())
    mended(yard)
    assert yard.ask(f"Volume/{address}")[0]["tags"] == yard.tags(DISK)
