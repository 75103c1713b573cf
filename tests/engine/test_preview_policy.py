"""vm_tag.py: class, VolumeCare's policy and who gave them go with a disk's active volume, over a
preview, its undo and its commit; at no moment they are nowhere."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.tag_updates import with_both
from rigs.yard import CLONE, DISK, HOUR
from storpool_ovirt import errors, names
from storpool_ovirt.policy import levels

if TYPE_CHECKING:
    from collections.abc import Callable

    from rigs.yard import Yard

KEY = names.TAG_VM
VM = "aaaaaaaa-0000-4000-8000-000000000001"
POLICY = {"qc": "gold", "vc-policy": "daily"}
ALL = {KEY: VM, **POLICY}
KEYS = (*ALL, "virtp")


def has(yard: Yard, uuid: str) -> dict[str, str]:
    """Return what a volume has that goes with the active one."""
    tags = yard.see().things[f"ovirt--{uuid}"].tags
    return {key: tags[key] for key in KEYS if tags.get(key)}


def tag(yard: Yard, uuid: str, tags: dict[str, str]) -> None:
    """Write tags to a volume by hand."""
    yard.ask(f"VolumeUpdate/ovirt--{uuid}", {"tags": tags})


def disk(yard: Yard, tags: dict[str, str]) -> str:
    """Make a disk with these tags and a snapshot of it; return the snapshot."""
    yard.verb("create", DISK, GIB)
    yard.verb("connect", DISK, None)
    tag(yard, DISK, tags)
    return str(yard.verb("snapshot", DISK))


def check(yard: Yard) -> None:
    """No VM has the disk twice, what has a VM has its policy too, and all fits."""
    there = {name: each.tags for name, each in yard.see().things.items()}
    assert sum(bool(tags.get(KEY)) for tags in there.values()) <= 1
    for name, tags in there.items():
        length = len(name) + sum(len(key) + len(value) for key, value in tags.items())
        assert length <= 199, (name, length)
    assert yard.report().findings == ()


@with_both
@pytest.mark.parametrize("tags", [ALL, POLICY, {"qc": "gold"}, {"vc-policy": "no"}, {KEY: VM}])
def test_a_preview_takes_all_of_it_over_and_its_undo_gives_it_back(
    yard: Yard, tags: dict[str, str], tag_update: str
) -> None:
    """T78, T79: the class may be on both; the VM and VolumeCare's policy are on one."""
    yard.simulator.switches.set({"tag_update": tag_update})
    snapshot = disk(yard, tags)
    first = yard.verb("preview", snapshot)
    kept = {"qc": tags["qc"]} if "qc" in tags else {}
    assert (has(yard, first), has(yard, DISK)) == (tags, kept)
    check(yard)
    second = yard.verb("preview", snapshot)
    assert (has(yard, second), has(yard, first), has(yard, DISK)) == (tags, kept, kept)
    yard.verb("delete", second)
    assert (has(yard, first), has(yard, DISK)) == (tags, kept)
    yard.verb("delete", first)
    assert has(yard, DISK) == tags
    check(yard)


def test_what_is_changed_meanwhile_comes_back_with_the_undo(yard: Yard) -> None:
    """Another class, no policy any more, an administrator's word; and a commit keeps it."""
    snapshot = disk(yard, ALL)
    preview = yard.verb("preview", snapshot)
    tag(yard, preview, {"qc": "iron", "vc-policy": ""})
    yard.verb("delete", preview)
    assert has(yard, DISK) == {KEY: VM, "qc": "iron"}
    tag(yard, DISK, {KEY: ""})
    preview = yard.verb("preview", snapshot)
    tag(yard, preview, {"qc": "", "virtp": "a-gold"})
    yard.verb("delete", preview)
    assert has(yard, DISK) == {"virtp": "a-gold"}
    preview = yard.verb("preview", snapshot)
    yard.verb("connect", preview, None)
    yard.verb("remove", DISK)
    assert has(yard, preview) == {"virtp": "a-gold"}
    check(yard)


def test_who_gave_the_values_goes_along_as_far_as_there_is_room(yard: Yard) -> None:
    """A preview without a VM has room for it; where there is none, the one before it keeps it, and
    what it says of."""
    marked = {**POLICY, "virtp": "pp4.ironno"}
    snapshot = disk(yard, marked)
    preview = yard.verb("preview", snapshot)
    assert has(yard, preview) == marked
    yard.verb("delete", preview)
    assert has(yard, DISK) == marked
    tag(yard, DISK, {KEY: VM})
    preview = yard.verb("preview", snapshot)
    # Nobody could take the values back without it: the preview has the disk's own
    assert has(yard, preview) == {KEY: VM, "qc": "iron", "vc-policy": "no"}
    assert "tags=qc,vc-policy" in (yard.folder / "verbs.log").read_text()
    check(yard)
    yard.verb("delete", preview)
    assert has(yard, DISK) == {**ALL, "virtp": "pp4.ironno"}
    check(yard)


def test_a_policy_without_room_on_the_preview_is_not_lost(yard: Yard) -> None:
    """It stays on the volume before it, which names no VM, and is told; the undo has it again."""
    tags = {KEY: VM, "qc": "gold", "vc-policy": "d" * 30}
    snapshot = disk(yard, tags)
    preview = yard.verb("preview", snapshot)
    assert has(yard, preview) == {KEY: VM, "qc": "gold"}
    assert has(yard, DISK) == {"qc": "gold", "vc-policy": "d" * 30}
    assert "tags=vc-policy" in (yard.folder / "verbs.log").read_text()
    check(yard)
    yard.verb("delete", preview)
    assert has(yard, DISK) == tags
    check(yard)


def test_a_preview_that_is_in_use_is_not_undone_and_keeps_all_of_it(yard: Yard) -> None:
    """What was given back before is taken again: VolumeCare finds one volume with the policy."""
    preview = yard.verb("preview", disk(yard, ALL))
    yard.shut(preview, declared_open=True)
    with pytest.raises(errors.InUse):
        yard.verb("delete", preview)
    assert (has(yard, preview), has(yard, DISK)) == (ALL, {"qc": "gold"})
    check(yard)


@pytest.mark.parametrize("own", ["", "no"])
@pytest.mark.parametrize("verb", ["preview", "undo", "connect"])
def test_killed_at_every_request_it_is_never_lost(yard: Yard, verb: str, own: str) -> None:
    """T71, T79: the next verb on the disk finds class, policy and mark on the active volume, and no
    VM has it twice; the VM's next start writes its tag. Where the preview has no room for the mark
    it has the disk's own policy."""
    policy = {**POLICY, "virtp": f"-a{own}"}
    snapshot = disk(yard, {KEY: VM, **policy})
    for number in itertools.count(1):
        arguments = ("preview", snapshot)
        if verb == "undo":
            arguments = ("delete", yard.verb("preview", snapshot))
        elif verb == "connect":
            yard.verb("preview", snapshot)
            arguments = ("connect", DISK, None)
        yard.queries()
        try:
            yard.verb(*arguments, fault=Fault("death", when=_after(yard, number)))
        except Death:
            pass
        else:
            break
        yard.verb("remove", yard.verb("snapshot", DISK))
        active = str(yard.active())
        found = has(yard, active)
        found.pop(KEY, None)
        assert found in (policy, {**POLICY, "vc-policy": own}), number
        if active == DISK:
            assert found == policy, number
        check(yard)
        while yard.active() != DISK:
            yard.verb("delete", str(yard.active()))
        tag(yard, DISK, {KEY: VM})
        assert has(yard, DISK) == {KEY: VM, **policy}, number
    assert number > 5


def _after(yard: Yard, number: int) -> Callable[[], bool]:
    return lambda: len(yard._called()) >= number


@with_both
def test_engine_goes_back_without_an_undo(yard: Yard, tag_update: str) -> None:
    """T79: a preview, or its undo, has failed for Engine: the volume that it names is the disk's,
    with all of it but for the VM, whose start comes next; and again where that goes on."""
    yard.simulator.switches.set({"tag_update": tag_update})
    tags = {**POLICY, "virtp": "-a"}
    kept = {"qc": "gold", "virtp": "-a"}
    preview = yard.verb("preview", disk(yard, {KEY: VM, **tags}))
    yard.verb("connect", DISK, None)
    assert has(yard, DISK) == tags
    assert has(yard, preview).items() <= kept.items()
    check(yard)
    yard.verb("connect", preview, None)
    assert (has(yard, preview), has(yard, DISK)) == (tags, kept)
    check(yard)
    yard.queries()
    yard.verb("connect", preview, None)
    assert [each for each in yard.queries() if "Update" in each] == []


def test_engine_goes_back_after_an_undo_that_died(yard: Yard) -> None:
    """T79: the undo had only written what it was about to do; then Engine names the volume before,
    and the undo is taken back, as its volume is still there."""
    preview = yard.verb("preview", disk(yard, ALL))
    yard.die_planned("delete", preview)
    yard.verb("connect", DISK, None)
    yard.reconcile()
    assert yard.see().rows[preview].state == "live"
    assert (has(yard, DISK), has(yard, preview)) == (POLICY, {"qc": "gold"})


def test_a_preview_that_engine_never_heard_of_keeps_nothing(yard: Yard) -> None:
    """T79: it is left to the audit, and the disk has its class and its policy; until somebody says
    that Engine knows it."""
    preview = yard.undelivered("preview", disk(yard, ALL))
    yard.age(2 * HOUR)
    yard.verb("connect", DISK, None)
    assert (has(yard, DISK), has(yard, preview)) == (POLICY, {"qc": "gold"})
    yard.keep(preview)
    assert (has(yard, preview), has(yard, DISK)) == (POLICY, {"qc": "gold"})


@pytest.mark.parametrize("kind", ["error_200", "reset_before", "reset_after"])
@pytest.mark.parametrize("verb", ["preview", "undo"])
def test_tags_that_cannot_be_written_fail_no_verb(yard: Yard, verb: str, kind: str) -> None:
    """The verb has done its work, and says so."""
    snapshot = disk(yard, ALL)
    fault = Fault(kind, "VolumeUpdate", times=1000)
    if verb == "preview":
        preview = yard.verb("preview", snapshot, fault=fault)
        assert {**has(yard, preview), KEY: VM} == ALL
    else:
        yard.verb("delete", yard.verb("preview", snapshot), fault=fault)
    assert sum(KEY in has(yard, name[7:]) for name in yard.see().things) <= 1


def test_the_volume_before_cannot_be_asked_for(yard: Yard) -> None:
    """Somebody deleted it by hand: the preview gets what the domain gives."""
    snapshot = disk(yard, {"qc": "silver"})
    yard.given(qos_class="gold", vc_policy="daily")
    yard.ask(f"VolumeDelete/ovirt--{DISK}", {})
    preview = yard.verb("preview", snapshot)
    assert has(yard, preview) == POLICY


@pytest.mark.parametrize("is_by_volume", [True, False])
def test_a_clone_of_a_preview_without_room_for_the_mark(yard: Yard, is_by_volume: bool) -> None:
    """Beside its VM and its values a preview's volume may have none: the volume before tells whose
    the class is, so a clone has no part in a property's."""
    snapshot = disk(yard, {KEY: VM, "qc": "gold", "virtp": "p-"})
    preview = yard.verb("preview", snapshot)
    tag(yard, preview, {"virtp": ""})
    yard.verb("clone", preview if is_by_volume else snapshot, CLONE)
    assert "qc" not in has(yard, CLONE)


def test_a_value_that_went_meanwhile_goes_from_the_volume_before_too(yard: Yard) -> None:
    """A property's class, which an unplug took from the preview: the volume before still tells
    whose it was, so a clone of its snapshot has no part in it, and the next start or sync takes it
    away."""
    property_s = {"qc": "gold", "virtp": "p-"}
    snapshot = disk(yard, {**property_s, "vc-policy": "daily"})
    preview = yard.verb("preview", snapshot)
    assert has(yard, preview) == {**property_s, "vc-policy": "daily"}
    yard.verb("clone", snapshot, CLONE)
    assert "qc" not in has(yard, CLONE)
    tag(yard, preview, dict.fromkeys(("qc", "virtp", "vc-policy"), ""))
    yard.verb("delete", preview)
    assert has(yard, DISK) == property_s
    said = {"qos": levels.Said(by_property=None)}
    gone = levels.changes(f"ovirt--{DISK}", has(yard, DISK), said)
    assert gone.tags == {"qc": "", "virtp": ""}
