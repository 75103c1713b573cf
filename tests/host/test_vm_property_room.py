"""vm_policy.py: what a VM's properties say of disks whose tags leave little room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from rigs.starts import UUIDS
from rigs.vm_world import VM, World, preview

if TYPE_CHECKING:
    from rigs.core_fixtures import Core


def test_a_previews_volume_follows_what_is_said_of_its_disk(core: Core) -> None:
    """People know the disk's id, and a preview's volume has another; it has room for both."""
    world = World(core)
    preview(world)
    given = {"sp_qos": f"gold,{UUIDS[0]}:iron", "sp_vc_policy": "weekly"}
    world.start(**given)
    assert world.has(UUIDS[1]) == ("iron", "weekly")
    assert world.start(**given) == 0


def test_what_has_no_room_is_left_out_and_told(core: Core) -> None:
    """The VM comes first, then the class; a policy that one disk has no room for none gets, as
    VolumeCare leaves a VM of two policies alone; the VM starts, and starts again for no call."""
    world = World(core)
    preview(world)
    given = {"sp_qos": "g" * 12, "sp_vc_policy": "p" * 60}
    world.start(**given)
    assert world.all() == [("g" * 12, "")] * 2
    assert world.volume(UUIDS[1]).tags["cvm"] == VM
    assert f"tags_left_out name=ovirt--{UUIDS[1]} tags=vc-policy" in world.log()
    assert world.start(**given) == 0


def own(world: World, at: int) -> dict[str, str]:
    """Return what the volume of this number says of class, policy and who gave them."""
    tags = world.volume(UUIDS[at]).tags
    return {key: tags[key] for key in ("qc", "vc-policy", "virtp", "cvm") if tags.get(key)}


@pytest.mark.parametrize("qos", ["gold", "silver"])
@pytest.mark.parametrize("way", ["start", "unplug"])
def test_what_goes_goes_from_a_previews_volume_too(core: Core, qos: str, way: str) -> None:
    """Both properties, then none: the VM has one policy all the time. A class without room for who
    gave it is left out, and told."""
    world = World(core)
    preview(world)
    world.start(sp_qos=qos, sp_vc_policy="daily")
    assert [care for _, care in world.all()] == ["daily", "daily"]
    assert world.has(UUIDS[1])[0] == ("gold" if qos == "gold" else "")
    assert (f"tags_left_out name=ovirt--{UUIDS[1]} tags=qc" in world.log()) == (qos == "silver")
    if way == "start":
        world.start()
        assert world.all() == [("", "")] * 2
        assert [own(world, at) for at in (0, 1)] == [{"cvm": VM}] * 2
    else:
        world.unplug(at=1)
        assert own(world, 1) == {}


def test_a_policy_whose_note_has_no_room_none_gets(core: Core) -> None:
    """The policy itself would fit beside the class: nobody could take it from that disk again."""
    world = World(core, qc="gold")
    preview(world)
    world.by_hand(UUIDS[1], qc="gold", vc_policy="no")
    world.by_hand(UUIDS[0], vc_policy="no")
    assert world.start(sp_vc_policy="daily") == 2, "the VM"
    assert world.all() == [("gold", "no")] * 2
    assert f"tags_left_out name=ovirt--{UUIDS[1]} tags=vc-policy" in world.log()
    assert world.start(sp_vc_policy="daily") == 0


CLASS, POLICY = some.sampled_from(["", "iron", "silver"]), some.sampled_from(["", "no", "weekly"])
QOS, CARE = (some.sampled_from([None, *said]) for said in (["gold", "none"], ["daily", "monthly"]))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    had=some.tuples(
        some.tuples(CLASS, some.integers(0, 50)), some.tuples(CLASS, some.integers(0, 9))
    ),
    care=POLICY,
    said=some.lists(some.tuples(QOS, CARE), max_size=3),
    moves=some.booleans(),
)
def test_what_is_taken_back_is_as_before(
    core: Core,
    had: tuple[tuple[str, int], tuple[str, int]],
    care: str,
    said: list[tuple[str | None, str | None]],
    moves: bool,
) -> None:
    """T5: whatever room there is, and whatever the properties say in turn: the VM, which had
    one policy, has one all the time, and without them, or in no VM, each disk has its own."""
    world = World(core)
    preview(world)
    for at, (qos, room) in enumerate(had):
        world.by_hand(UUIDS[at], qc="", vc_policy="", virtp="", cvm="", note="x" * room)
        world.by_hand(UUIDS[at], qc=qos, vc_policy=care)
    world.start()  # the VM's name may take the room of what they have
    before = [own(world, at) for at in (0, 1)]
    mixed = len({each.get("vc-policy") for each in before}) > 1
    for qos_said, care_said in said:
        told = {"sp_qos": qos_said, "sp_vc_policy": care_said}
        world.start(**{key: value for key, value in told.items() if value})
        assert mixed or len({each for _, each in world.all()}) == 1
    if moves:
        for at in (0, 1):
            world.unplug(at=at)
            assert own(world, at) == {k: v for k, v in before[at].items() if k != "cvm"}
    else:
        world.start()
        assert [own(world, at) for at in (0, 1)] == before
