"""vm_policy.py: what a VM's properties say of its disks: written by a start, plug and unplug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs.clock import Clock
from rigs.core_fixtures import Core
from rigs.deaths import Death, Fault, dying
from rigs.starts import UUIDS, bare, disk, made, side
from rigs.vm_world import OTHER, TAG, VM, World
from storpool_ovirt import names
from storpool_ovirt.cluster import api, vm_tags
from storpool_ovirt.host import takeover, unplug, vm_policy

if TYPE_CHECKING:
    from storpool_simulator.api.recorder import Record


@pytest.mark.parametrize("update", ["merge", "replace"])
@pytest.mark.parametrize("empty", ["remove", "keep"])
def test_a_start_writes_what_the_properties_say(core: Core, update: str, empty: str) -> None:
    """T78, T79: VM, class and policy in one update of each volume; the next starts make none; what
    goes puts the disk's own values back; all other tags stay."""
    core.simulator.switches.set({"tag_update": update, "tag_empty": empty})
    world = World(core, 3, qc="bronze", note="kept")
    before = world.volume().tags
    given = {"sp_qos": f"gold,{UUIDS[1]}:silver", "sp_vc_policy": "daily"}
    assert world.start(**given) == 3
    assert world.all() == [("gold", "daily"), ("silver", "daily"), ("gold", "daily")]
    assert world.volume().tags["cvm"] == VM
    assert world.start(**given) == 0
    assert world.start(sp_qos="silver", sp_vc_policy="daily") == 2, "the one has it"
    assert world.start(sp_vc_policy="daily") == 3
    assert world.all() == [("bronze", "daily")] * 3
    assert world.start() == 3
    assert world.start() == 0
    found = {key: value for key, value in world.volume().tags.items() if value}
    assert found == {**before, "cvm": VM}


def test_the_steady_state_costs_no_call(core: Core) -> None:
    """The same calls, one by one, with properties that are followed already as without any."""
    world = World(core, 2)
    given = {"sp_qos": "gold", "sp_vc_policy": f"daily,{UUIDS[1]}:daily"}
    world.start()
    disks = [disk(target) for target in world.targets]
    counted = []
    for wished in (world.wish(), world.wish(**given)):
        takeover.take(core.client(), side(core, Clock()), disks, "os", wished)
        core.queries()
        takeover.take(core.client(), side(core, Clock()), disks, "os", wished)
        counted.append(core.queries())
    assert counted[0] == counted[1]
    assert world.all() == [("gold", "daily")] * 2


def test_a_plug_and_an_unplug(core: Core) -> None:
    """A disk that comes gets what its VM says, one that goes what it had."""
    world = World(core, qc="bronze")
    world.plug(sp_qos="gold", sp_vc_policy="daily")
    assert world.has() == ("gold", "daily")
    core.queries()
    world.plug(sp_qos="gold", sp_vc_policy="daily")
    assert "VolumeUpdate" not in core.queries()
    world.unplug()
    assert world.has() == ("bronze", "")
    assert not world.volume().tags.get("cvm")
    assert not world.volume().tags.get(names.TAG_MARK)


def test_an_unplug_from_another_vm_changes_nothing(core: Core) -> None:
    """Who asks for a VM that the disk does not name gets nothing."""
    world = World(core)
    world.start(sp_qos="gold")
    disks = [disk(world.targets[0], serial=UUIDS[0])]
    other = vm_tags.Tag("cvm", OTHER)
    unplug.untag(core.client(), side(core, Clock()), disks, "os", other)
    unplug.untag(core.client(), side(core, Clock()), disks, "os", vm_tags.NONE)
    assert world.has() == ("gold", "")


@pytest.mark.parametrize("field", ["qc", "vc_policy"])
def test_what_an_administrator_says_of_a_disk_wins(core: Core, field: str) -> None:
    """A property, its end and an unplug leave it alone; the other field follows."""
    world = World(core)
    mark = {"qc": "a-", "vc_policy": "-a"}[field]
    world.by_hand(**{field: "theirs", "virtp": mark})
    at = 0 if field == "qc" else 1
    world.start(sp_qos="gold", sp_vc_policy="daily")
    assert world.has()[at] == "theirs"
    assert world.has()[1 - at] in ("gold", "daily")
    assert world.start(sp_qos="gold", sp_vc_policy="daily") == 0
    world.start()
    world.unplug()
    assert (world.has()[at], world.has()[1 - at]) == ("theirs", "")


def test_what_an_administrator_says_of_a_vm_goes_with_it(core: Core) -> None:
    """It wins over the property while the disk is in the VM, and is off with an unplug."""
    world = World(core, qc="theirs", virtp="v-bronze")
    world.start(sp_qos="gold")
    assert world.has() == ("theirs", "")
    world.unplug()
    assert world.has() == ("bronze", "")


@pytest.mark.parametrize(
    "said", ["go;ld:x:", "a b", f"gold,{UUIDS[0]}", "gold,x:y", "x" * 9000, '"gold', "$(id)", "?"]
)
@pytest.mark.parametrize("name", ["sp_qos", "sp_vc_policy"])
def test_a_property_that_makes_no_sense(core: Core, name: str, said: str) -> None:
    """It is told, nothing is set and nothing is cleared, and the other one is followed."""
    world = World(core)
    other = {"sp_qos": "sp_vc_policy", "sp_vc_policy": "sp_qos"}[name]
    world.start(**{name: "fine"})
    assert world.start(**{name: said, other: "good"}) == 1
    assert sorted(world.has()) == ["fine", "good"]
    assert world.start(**{name: said, other: "good"}) == 0
    assert f"property_unusable property={name} " in world.log()


def test_a_policy_for_a_single_disk_makes_no_sense(core: Core) -> None:
    """VolumeCare would ignore the VM: nothing is set, the class is, and it is told."""
    world = World(core, 2, vc_policy="daily")
    mixed = f"daily,{UUIDS[1]}:weekly"
    assert world.start(sp_qos=f"gold,{UUIDS[1]}:silver", sp_vc_policy=mixed) == 2
    assert world.all() == [("gold", "daily"), ("silver", "daily")]
    assert "property_unusable property=sp_vc_policy " in world.log()


def test_a_class_that_there_is_not(core: Core) -> None:
    """Where the host knows which there are, a mistyped one makes no sense."""
    world = World(core)
    assert world.start(sp_qos="glod", classes=("gold", "silver")) == 1, "the VM"
    assert world.has() == ("", "")
    assert "do you mean gold?" in world.log()
    assert world.start(sp_qos="gold", classes=("gold", "silver")) == 1
    assert world.has() == ("gold", "")


@pytest.mark.parametrize("none", ["none", "None"])
def test_a_vm_may_have_none(core: Core, none: str) -> None:
    """The word takes the disk's own value away while the VM says so."""
    world = World(core, qc="bronze", vc_policy="daily")
    world.start(sp_qos=none, sp_vc_policy="no")
    assert world.has() == ("", "no")
    world.start()
    assert world.has() == ("bronze", "daily")


def test_a_shareable_disk_has_no_vms_policy(core: Core) -> None:
    """T81: what several VMs may have follows none, and what it had of one goes."""
    world = World(core, qc="bronze")
    given = {"sp_qos": "gold", "sp_vc_policy": "daily"}
    world.start(shareable=True, **given)
    assert world.has() == ("bronze", "")
    assert world.start(shareable=True, **given) == 0
    world.start(**given)
    assert world.has() == ("gold", "daily")
    world.start(shareable=True, **given)
    assert world.has() == ("bronze", "")
    assert not world.volume().tags.get("cvm")
    world.plug(**given)
    assert world.has() == ("bronze", "")
    assert world.start(shareable=True, **given) == 0


def test_what_is_not_ours_is_not_written(core: Core) -> None:
    """A volume of Cinder's driver, or of nobody's, keeps its tags."""
    others = [bare(core, f"os--volume-{UUIDS[2]}", {}), bare(core, "web1", {"virt": "one"})]
    there = [core.client().volume(f"~{each.global_id}") for each in others]
    core.queries()
    wished = World(core, 0).wish(sp_qos="gold", sp_vc_policy="daily")
    vm_policy.silent_follow(core.client(), side(core, Clock()), wished, alone=there)
    assert core.queries() == ()


def test_a_vm_that_nobody_knows_has_its_policy_all_the_same(core: Core) -> None:
    """Where the host's key for the tag cannot be used, the volumes follow the properties."""
    world = World(core)
    wished = vm_policy.Wish(vm_tags.NONE, world.wish(sp_qos="gold").properties)
    vm_policy.silent_follow(core.client(), side(core, Clock()), wished, alone=[world.volume()])
    assert world.has() == ("gold", "")
    assert "cvm" not in world.volume().tags


def test_a_value_goes_with_an_unplug_whatever_names_the_vm(core: Core) -> None:
    """Also where the host's key cannot be used, now or when the VM started; of a VM that nobody
    knows nothing is believed."""
    world = World(core, qc="bronze")
    for key, tag in (("", world.wish(key="").tag), ("", TAG), ("cvm", TAG)):
        wished = world.wish(key=key, sp_qos="gold", sp_vc_policy="daily")
        disks = [disk(world.targets[0], serial=UUIDS[0])]
        takeover.take(core.client(), side(core, Clock()), disks, "os", wished)
        world.unplug(vm_tags.NONE)
        assert world.has() == ("gold", "daily")
        world.unplug(tag)
        assert world.has() == ("bronze", ""), (key, tag)
    core.queries()
    world.unplug()
    assert "AttachmentsList" not in core.queries()


def test_a_disk_that_came_later_has_what_is_said_of_the_vm(core: Core) -> None:
    """`policy set VM` gave it to the disks that the VM had: the next start gives it to the others,
    but for what is said of a disk itself, with one write for each; else VolumeCare ignores the VM.
    What another VM's disk brings along is not believed."""
    world = World(core, count=3)
    world.by_hand(UUIDS[0], cvm=VM, **{"vc-policy": "daily", "virtp": "-v"})
    world.by_hand(UUIDS[1], cvm=VM, **{"vc-policy": "no"})
    world.by_hand(UUIDS[2], cvm=OTHER, **{"qc": "gold", "vc-policy": "weekly", "virtp": "vv0."})
    assert world.start() == 2
    assert [world.has(each) for each in UUIDS[:3]] == [("", "daily")] * 3
    assert world.start(sp_vc_policy="hourly") == 0
    world.by_hand(UUIDS[1], **{"vc-policy": "", "virtp": ""})
    world.by_hand(UUIDS[2], **{"vc-policy": "", "virtp": "-a"})
    assert world.start() == 1
    assert [world.has(each)[1] for each in UUIDS[:3]] == ["daily", "daily", ""]


@pytest.mark.parametrize("policy", ["", "weekly"])
def test_volumecares_policy_comes_to_all_or_to_none(core: Core, policy: str) -> None:
    """policy.md 2: one update fails: what has the new policy gets back what it had, so that no VM
    is left with two; class and VM stay, and the next start writes the rest."""
    world = World(core, 3, vc_policy=policy)
    for kind in ("delay", "error_200"):
        core.simulator.faults.add(kind, query="VolumeUpdate", seconds=0.0)
    world.start(sp_vc_policy="daily", sp_qos="gold")
    assert [care for _, care in world.all()] == [policy] * 3
    assert [qos for qos, _ in world.all()].count("gold") == 2
    assert "vm_not_tagged" in world.log()
    assert "vm_of_two_policies" not in world.log()
    world.start(sp_vc_policy="daily", sp_qos="gold")
    assert world.all() == [("gold", "daily")] * 3


def test_volumecares_policy_goes_from_all_or_from_none(core: Core) -> None:
    """The same for a property that has gone."""
    world = World(core, 3)
    world.start(sp_vc_policy="daily")
    for kind in ("delay", "error_200"):
        core.simulator.faults.add(kind, query="VolumeUpdate", seconds=0.0)
    world.start()
    assert [care for _, care in world.all()] == ["daily"] * 3
    world.start()
    assert [care for _, care in world.all()] == [""] * 3


def test_what_could_be_taken_back_is(core: Core) -> None:
    """One of those that get back what they had is refused that: the others have it."""
    world = World(core, 4, vc_policy="weekly")
    for kind in ("delay", "delay", "error_200", "delay", "error_200"):
        core.simulator.faults.add(kind, query="VolumeUpdate", seconds=0.0)
    world.start(sp_vc_policy="daily")
    assert sorted(care for _, care in world.all()) == ["daily", "weekly", "weekly", "weekly"]
    assert world.log().count("vm_of_two_policies") == 1


@pytest.mark.parametrize("is_sent", [True, False])
def test_an_answer_that_was_lost_is_looked_for(core: Core, is_sent: bool) -> None:
    """The API is away behind the second volume, whose request took effect or did not: it counts as
    what it is, and all have what they had."""
    world, clock = World(core, 3, vc_policy="weekly"), Clock()
    seen = [world.volume(uuid) for uuid in UUIDS[:3]]
    core.simulator.faults.add("delay", query="VolumeUpdate", seconds=0.0)
    core.simulator.faults.add("reset_after" if is_sent else "reset_before", query="VolumeUpdate")
    core.simulator.faults.add("bad_gateway", times=10**6, query="VolumeUpdate")
    asked = core.simulator.calls.counts().get("VolumeUpdate", 0)

    def back(call: Record) -> None:
        written = core.simulator.calls.counts().get("VolumeUpdate", 0) - asked
        if written > 2 and call.query != "VolumeUpdate":
            core.simulator.faults.forget()

    core.simulator.calls.watch(back)
    given = api.Client(core.settings(), side(core, clock).deadline, clock.sleep)
    vm_policy.silent_follow(given, side(core, clock), world.wish(sp_vc_policy="daily"), alone=seen)
    assert [care for _, care in world.all()] == ["weekly"] * 3
    assert "vm_of_two_policies" not in world.log()


def test_what_makes_the_vm_one_stays(core: Core) -> None:
    """Two disks have come while the VM was down, and one of them cannot be written: the other one
    has what the VM's disks have, and it is told."""
    world = World(core)
    world.start(sp_vc_policy="daily")
    world.targets += [made(core, uuid, 2) for uuid in UUIDS[1:3]]
    core.simulator.faults.add("error_200", query="VolumeUpdate")
    world.start(sp_vc_policy="daily")
    found = [names.vm_of(world.volume(uuid).tags, "cvm") for uuid in UUIDS[:3]]
    assert found == [VM, "", VM]
    assert [care for _, care in world.all()] == ["daily", "", "daily"]
    assert world.log().count("vm_of_two_policies") == 1
    world.start(sp_vc_policy="daily")
    assert [care for _, care in world.all()] == ["daily"] * 3


def test_a_start_that_died_between_two_disks(core: Core) -> None:
    """policy.md 2: the next start makes all of its disks say what it says then, for the same
    property, another one or none."""
    world = World(core, 3, vc_policy="weekly")

    def one_is_written() -> bool:
        return core.simulator.calls.counts().get("VolumeUpdate") == 1

    for said in ("daily", "hourly", ""):
        with pytest.raises(Death), dying(Fault("death", when=one_is_written)):
            world.start(sp_vc_policy="monthly")
        assert [care for _, care in world.all()].count("monthly") == 1
        world.start(**({"sp_vc_policy": said} if said else {}))
        assert [care for _, care in world.all()] == [said or "weekly"] * 3


def test_a_volume_that_is_somebody_elses_now_holds_up_nothing(core: Core) -> None:
    """It is the VM's no more, so the others follow."""
    world = World(core, 3)
    seen = [world.volume(uuid) for uuid in UUIDS[:3]]
    world.by_hand(UUIDS[0], virt="one")
    wished = world.wish(sp_vc_policy="daily")
    vm_policy.silent_follow(core.client(), side(core, Clock()), wished, alone=seen)
    assert [care for _, care in world.all()] == ["", "daily", "daily"]


def test_an_api_that_is_gone_refuses_no_start(core: Core) -> None:
    """One that could write the first volume and no other is told, and takes no longer than twice
    the time that all have."""
    world, clock = World(core, 3), Clock()
    seen = [world.volume(uuid) for uuid in UUIDS[:3]]
    core.simulator.faults.add("delay", query="VolumeUpdate", seconds=0.0)
    core.simulator.faults.add("bad_gateway", times=10**6, query="VolumeUpdate")
    vm_policy.silent_follow(
        api.Client(core.settings(), side(core, clock).deadline, clock.sleep),
        side(core, clock),
        world.wish(sp_vc_policy="daily"),
        alone=seen,
    )
    assert clock.now <= 2 * vm_tags.SECONDS + 1
    assert "vm_of_two_policies" in world.log()
