"""A VM with many disks: what becomes of a start, a plug and a look where one of the calls that are
under way at once goes wrong: nothing is taken, or all of it."""

from __future__ import annotations

from typing import Any

import pytest

from rigs.clock import Clock
from rigs.core_fixtures import Core
from rigs.starts import UUIDS, attached, brief, disk, made, side
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import takeover, vm_disks

COUNT = 40


@pytest.fixture
def targets(core: Core) -> list[attachments.Target]:
    """Forty disks of a VM on this host, host 2; host 1 has them open."""
    many = [made(core, f"{number:08x}-1111-4111-8111-111111111111", 2) for number in range(COUNT)]
    core.client().reassign([{"volume": f"~{each.global_id}", "rw": [1]} for each in many], 0, "")
    core.queries()
    return many


def start(core: Core, many: list[attachments.Target], **limits: Any) -> takeover.StartResult:
    """Start the VM."""
    client = brief(core, **limits)
    client.be_current()
    return takeover.take(client, side(core, Clock()), [disk(each) for each in many], "os")


def both(many: list[attachments.Target]) -> set[tuple[str, int]]:
    """What is attached where nothing was taken."""
    return {(each.global_id, client) for each in many for client in (1, 2)}


def mine(many: list[attachments.Target]) -> set[tuple[str, int]]:
    """What is attached where all was taken."""
    return {(each.global_id, 2) for each in many}


def test_they_are_read_without_a_list_of_the_cluster(
    core: Core, targets: list[attachments.Target]
) -> None:
    """Each is asked for once, by its id; the request that takes them is one."""
    assert len(start(core, targets).targets) == COUNT
    asked = core.queries()
    assert asked.count("Volume") == COUNT
    assert asked.count("VolumesReassignWait") == 1
    assert "VolumesList" not in asked
    assert attached(core) == mine(targets)


@pytest.mark.parametrize("times", [1, 7, 16])
@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "bad_gateway", "transient", "old"])
def test_calls_that_go_wrong_are_made_again(
    core: Core, targets: list[attachments.Target], kind: str, times: int
) -> None:
    """T53, T55: whatever becomes of some of them at first, the start comes to its end."""
    core.simulator.faults.add(kind, query="Volume", times=times)
    assert len(start(core, targets, first_pause_seconds=0.001).targets) == COUNT
    assert attached(core) == mine(targets)


@pytest.mark.parametrize("kind", ["refuse", "stop"])
def test_a_service_that_is_restarted_meanwhile(
    core: Core, targets: list[attachments.Target], kind: str
) -> None:
    """T53: connects are refused for a moment: the start goes on after it."""
    core.simulator.faults.add(kind, query="Volume", seconds=0.3)
    assert len(start(core, targets, first_pause_seconds=0.05).targets) == COUNT
    assert attached(core) == mine(targets)


def test_one_that_hangs_is_made_again(core: Core, targets: list[attachments.Target]) -> None:
    """T53: after its own limit, while there is time."""
    core.simulator.faults.add("hang", query="Volume", seconds=60)
    assert len(start(core, targets, request_seconds=1.0).targets) == COUNT
    core.simulator.faults.forget()
    assert attached(core) == mine(targets)


def test_what_goes_wrong_for_ever_takes_nothing(
    core: Core, targets: list[attachments.Target]
) -> None:
    """T53: the time is over before all are known."""
    core.simulator.faults.add("reset_before", query="Volume", times=10_000)
    with pytest.raises(errors.ApiUnavailable):
        start(core, targets, retry_seconds=1.0)
    core.simulator.faults.forget()
    assert attached(core) == both(targets)


@pytest.mark.parametrize("place", [0, 19, COUNT - 1])
def test_one_of_them_is_gone(core: Core, targets: list[attachments.Target], place: int) -> None:
    """It is that one of which it is told, and nothing is taken."""
    lost = targets[place]
    core.client().reassign(
        [{"volume": f"~{lost.global_id}", "detach": "all", "force": True}], 0, ""
    )
    core.client().volume_delete(names.address(lost.global_id))
    others = [each for each in targets if each is not lost]
    with pytest.raises(errors.NotFound, match=lost.global_id):
        start(core, targets)
    assert attached(core) == both(others)


def test_the_first_that_is_wrong_is_told(core: Core, targets: list[attachments.Target]) -> None:
    """Of several the error is that of the first in the VM's order, however fast each answer is."""
    for each in (targets[30], targets[11]):
        item = {"volume": f"~{each.global_id}", "detach": "all", "force": True}
        core.client().reassign([item], 0, "")
        core.client().volume_delete(names.address(each.global_id))
    core.simulator.faults.add("delay", query="Volume", times=12, seconds=0.2)
    with pytest.raises(errors.NotFound, match=targets[11].global_id):
        start(core, targets)


def test_two_of_them_are_one_volume(core: Core, targets: list[attachments.Target]) -> None:
    """T60: by two paths, or by two ids of one volume: nothing is taken."""
    with pytest.raises(errors.Conflict, match="is two disks of this VM"):
        vm_disks.check_each_once([*map(disk, targets), disk(targets[3], UUIDS[0])])
    pairs = [*map(disk, targets[:20]), disk(targets[3], UUIDS[0]), *map(disk, targets[20:])]
    with pytest.raises(errors.Conflict, match="is two disks of this VM"):
        takeover.take(core.client(), side(core, Clock()), pairs, "os")
    assert attached(core) == both(targets)


@pytest.mark.parametrize("after", [1, 9, COUNT])
def test_the_time_ends_in_the_middle(
    core: Core, targets: list[attachments.Target], after: int
) -> None:
    """T53: no call is made after it, and nothing is taken."""
    clock = Clock()
    client = api.Client(core.settings(), Deadline(20, clock))
    client.be_current()
    seen: list[object] = []

    def before(call: Any) -> None:
        seen.append(call)
        if len(seen) == after:
            clock.now = 21

    core.simulator.calls.watch(before)
    with pytest.raises(errors.DeadlineExceeded):
        takeover.take(client, side(core, clock), [disk(each) for each in targets], "os")
    core.simulator.calls.watch(lambda _call: None)
    assert len(seen) <= COUNT + 1
    assert attached(core) == both(targets)


def test_a_volume_that_is_attached_meanwhile_is_seen(
    core: Core, targets: list[attachments.Target]
) -> None:
    """T55: who has it is asked after whose it is: a host that comes meanwhile loses it too."""
    done: list[object] = []

    def before(call: Any) -> None:
        if call.query == "Volume" and not done:
            done.append(call)
            attachments.attach(core.client(), core.host(3), targets[5], "rw")

    core.simulator.calls.watch(before)
    start(core, targets)
    core.simulator.calls.watch(lambda _call: None)
    assert attached(core) == mine(targets)
    assert f"global_id={targets[5].global_id} client=3" in (core.folder / "test.log").read_text()


@pytest.mark.parametrize("listed", ["ids", "names"])
def test_a_look_before_a_migration(
    core: Core, targets: list[attachments.Target], listed: str
) -> None:
    """T45: one of forty was taken: it is named; also where a release lists names alone."""
    client = core.client()
    client.be_current()
    if listed == "names":
        everything = client.attachments
        client.attachments = lambda: [  # type: ignore[method-assign]
            api.Attachment(each.name, None, each.client_id, each.access_mode)
            for each in everything()
        ]
    pairs = [disk(each) for each in targets]
    vm_disks.check_held(client, 2, pairs)
    lost = targets[23]
    core.client().reassign([{"volume": f"~{lost.global_id}", "detach": [2]}], 0, "")
    client.be_current()
    with pytest.raises(errors.Conflict, match=f"~{lost.global_id}.* was taken from client 2"):
        vm_disks.check_held(client, 2, pairs)
