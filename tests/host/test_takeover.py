"""takeover.py: a start takes disks whole or not at all, repeats by looking, and waits for who has
to know."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Callable

import pytest

from rigs.clock import Clock
from rigs.core_fixtures import GIB, Core
from rigs.starts import UUIDS, attached, bare, brief, disk, made, side, unanswered
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, force, sharing, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.host import takeover, vm_hook
from storpool_ovirt.limits import LIMITS


def test_a_start_waits_for_a_loser_that_hangs_and_gives_up(core: Core) -> None:
    """T46: the one that lost the disk runs and does not take that over: the start is refused,
    naming it."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)
    with pytest.raises(
        errors.DeadlineExceeded, match="client 1 to learn that disks were taken from it"
    ):
        takeover.take(brief(core), side(core, clock), [disk(target)], "os")
    assert LIMITS.loser_seconds <= clock.now < LIMITS.loser_seconds + 1
    assert attached(core) == {(target.global_id, 2)}


@pytest.mark.parametrize(
    "change", [{"behind": False}, {"running": False}], ids=["catches up", "goes down"]
)
def test_a_start_goes_on_when_the_loser_knows(core: Core, change: dict[str, bool]) -> None:
    """T46: once it has caught up, or StorPool says that it is down, the start goes on."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 3:
            core.simulator.set_client(1, **change)

    taken = takeover.take(
        brief(core), dataclasses.replace(side(core, clock), sleep=sleep), [disk(target)], "os"
    )
    assert [each.global_id for each in taken.targets] == [target.global_id]
    assert len(clock.slept) == 3


def test_a_start_does_not_wait_for_what_came_later(core: Core) -> None:
    """T46: a loser that follows, but is always a step behind a busy cluster, knows of this start's
    request."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        core.simulator.set_client(1, behind=False)
        core.simulator.set_client(1, behind=True)
        volumes.create(core.client(), Plan(Owner(f"x{len(clock.slept)}"), GIB))

    takeover.take(
        brief(core), dataclasses.replace(side(core, clock), sleep=sleep), [disk(target)], "os"
    )
    assert len(clock.slept) == 1


def test_a_bystander_that_hangs_stops_no_start(core: Core) -> None:
    """T57: who lost nothing that we know of is waited for a while, as it may have in a start that
    failed; then not."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(3, behind=True)
    takeover.take(brief(core), side(core, clock), [disk(target)], "os")
    assert LIMITS.bystander_seconds <= clock.now < LIMITS.bystander_seconds + 1
    assert attached(core) == {(target.global_id, 2)}


def test_a_loser_that_is_down_is_not_waited_for(core: Core) -> None:
    """T46, T54: the host is lost, and StorPool says so: the start goes on at once."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, running=False)
    takeover.take(brief(core), side(core, clock), [disk(target)], "os")
    assert len(clock.slept) == 0


def test_the_start_after_a_refused_one_waits_too(core: Core) -> None:
    """T46: the loser of a start that was refused is in no list any more; it is waited for all the
    same."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)
    with pytest.raises(errors.DeadlineExceeded):
        takeover.take(brief(core), side(core, clock), [disk(target)], "os")
    clock = Clock()
    takeover.take(brief(core), side(core, clock), [disk(target)], "os")
    assert clock.now >= LIMITS.bystander_seconds


def test_a_generation_that_nobody_told(core: Core) -> None:
    """T46: the answer was lost, and no other client has taken the change over yet: the cluster's
    generation counts."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    for client_id in (1, 3):
        core.simulator.set_client(client_id, behind=True)
    client = unanswered(core)
    with pytest.raises(errors.DeadlineExceeded, match="client 1 to learn"):
        takeover.take(client, side(core, clock), [disk(target)], "os")


# Requests that are answered late, or not


def test_a_repeat_takes_nothing_from_who_came_later(core: Core) -> None:
    """T88: the answer is lost, and before the repeat the VM was started elsewhere: that host keeps
    its disk."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()

    def start_on_3() -> None:
        attachments.attach(core.client(), core.host(3), target, "rw")
        takeover.take(core.client(), core.host(3), [disk(target)], "os")

    client = unanswered(core, start_on_3)
    with pytest.raises(errors.Conflict, match="was attached to client 3 while it was taken"):
        takeover.take(client, side(core, clock), [disk(target)], "os")
    assert attached(core) == {(target.global_id, 3)}


def test_a_repeat_takes_nothing_from_a_loser_that_started_again(core: Core) -> None:
    """T88: the VM that was lost there was started there again before the repeat: that host keeps
    its disk."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()

    def start_on_1() -> None:
        attachments.attach(core.client(), core.host(1), target, "rw")
        takeover.take(core.client(), core.host(1), [disk(target)], "os")

    client = unanswered(core, start_on_1)
    with pytest.raises(errors.Conflict, match="is not attached to client 2 any more"):
        takeover.take(client, side(core, clock), [disk(target)], "os")
    assert attached(core) == {(target.global_id, 1)}


def test_a_repeat_takes_nothing_back_from_a_fence(core: Core) -> None:
    """T56, T88: who says that this host is lost, while its start has no answer yet, is not
    overruled by the repeat."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()

    def fence() -> None:
        client = core.client()
        force.clear(client, force.look(client, 2, "os"), "os", core.log)

    client = unanswered(core, fence)
    with pytest.raises(errors.Conflict, match="is not attached to client 2 any more"):
        takeover.take(client, side(core, clock), [disk(target)], "os")
    assert attached(core) == set()


def test_a_lost_answer_is_found_in_the_list(core: Core) -> None:
    """T87: the request took effect, so it is not sent again."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    client = unanswered(core)
    core.queries()
    takeover.take(client, side(core, clock), [disk(target)], "os")
    assert core.queries().count("VolumesReassignWait") == 1
    assert attached(core) == {(target.global_id, 2)}


# What is a VM's, and what is not


def test_a_disk_that_is_not_attached_here_any_more(core: Core) -> None:
    """T56: it was attached just before: somebody took it since, and may run the VM; it is not taken
    back."""
    mine, gone = made(core, UUIDS[0], 1, 2), made(core, UUIDS[1], 1)
    with pytest.raises(
        errors.Conflict, match="is not attached to client 2 any more: somebody took it"
    ):
        takeover.take(core.client(), core.host(2), [disk(mine), disk(gone)], "os")
    assert attached(core) == {(mine.global_id, 1), (mine.global_id, 2), (gone.global_id, 1)}


def test_a_disk_without_its_device(core: Core) -> None:
    """A host whose device never comes takes a disk from nobody."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    lost = dataclasses.replace(side(core, clock), root=str(core.folder / "nowhere"))
    with pytest.raises(errors.DeviceMissing):
        takeover.take(core.client(), lost, [disk(target)], "os")
    assert attached(core) == {(target.global_id, 1), (target.global_id, 2)}


def test_one_volume_as_two_disks(core: Core) -> None:
    """T60: two paths of a VM that lead to one object are a mistake, whichever of them is right."""
    target = made(core, UUIDS[0], 1)
    for pair in ((UUIDS[0], UUIDS[1]), (UUIDS[1], UUIDS[0]), (UUIDS[0], None)):
        with pytest.raises(errors.Conflict, match="is two disks of this VM"):
            takeover.take(core.client(), core.host(2), [disk(target, uuid) for uuid in pair], "os")
    assert attached(core) == {(target.global_id, 1)}


@pytest.mark.parametrize("shareable", [True, False])
def test_a_link_to_another_volume(core: Core, shareable: bool) -> None:
    """T60, T81: what is not taken must be what the VM means too: two VMs would write one disk."""
    target = made(core, UUIDS[0], 1)
    with pytest.raises(
        errors.Foreign, match=f"is the disk {UUIDS[1]} of this VM but was made for {UUIDS[0]}"
    ):
        takeover.take(
            core.client(), core.host(2), [disk(target, UUIDS[1], shareable=shareable)], "os"
        )


@pytest.mark.parametrize("name", ["renamed", f"os--volume-{UUIDS[1]}"])
def test_what_may_be_anybodys(core: Core, name: str) -> None:
    """T76: neither tags nor the VM tell whose it is: left alone where nobody else has it, else
    refused."""
    target = bare(core, name, {}, 2)
    assert takeover.take(core.client(), core.host(2), [disk(target)], "os") == (
        [],
        [target.global_id],
    )
    attachments.attach(core.client(), core.host(1), target, "rw")
    with pytest.raises(
        errors.Foreign, match="is attached to client 1 too, and neither its tags nor the VM tell"
    ):
        takeover.take(core.client(), core.host(2), [disk(target)], "os")
    assert attached(core) == {(target.global_id, 1), (target.global_id, 2)}


@pytest.mark.parametrize("how", ["link", "serial"])
def test_volumes_of_cinders_are_ovirts_where_ovirt_says_so(core: Core, how: str) -> None:
    """T80: the VM's link, or the serial that Engine gives the disk, tells that the name is
    oVirt's."""
    target = bare(core, f"os--volume-{UUIDS[1]}", {}, 1, 2)
    mine = disk(target, UUIDS[1]) if how == "link" else disk(target, serial=UUIDS[1])
    takeover.take(core.client(), core.host(2), [mine], "os")
    assert attached(core) == {(target.global_id, 2)}


def test_another_orchestrators(core: Core) -> None:
    """S6: what carries another platform's tag is left alone, whoever has it."""
    target = bare(core, "x", {"virt": "cs"}, 1, 2)
    assert takeover.take(core.client(), core.host(2), [disk(target)], "os").targets == []
    assert len(attached(core)) == 2


def test_a_snapshot_that_is_being_deleted(core: Core) -> None:
    """T14: it will be gone when the guest reads it."""
    target = made(core, UUIDS[0])
    core.simulator.switches.set({"linger": "3600"})
    shot = core.client().volume_snapshot(f"~{target.global_id}", {"name": "x"})
    core.client().snapshot_delete(f"~{shot}")
    with pytest.raises(errors.NotFound):
        takeover.take(
            core.client(), core.host(2), [disk(attachments.Target(shot, "x", "snapshot"))], "os"
        )


NO_ID = {"volume": f"ovirt--{UUIDS[0]}", "snapshot": False, "client": 2, "rights": "rw", "pos": 0}


@pytest.mark.parametrize(
    ("listed", "passes"),
    [
        ([NO_ID], True),
        ([{**NO_ID, "rights": "ro"}], False),
        ([], False),
        ([NO_ID, {**NO_ID, "client": 1}], False),
    ],
    ids=["alone", "read-only", "nobody", "two"],
)
def test_what_the_list_says_decides(core: Core, listed: list[dict[str, Any]], passes: bool) -> None:
    """T55: whatever was answered; older releases list names and no global ids."""
    target, clock = made(core, UUIDS[0], 2), Clock()
    client = core.client()
    parsed = [
        api.Attachment(each["volume"], None, each["client"], each["rights"]) for each in listed
    ]
    before = client.attachments()
    answers = iter([before])
    client.attachments = lambda: next(answers, parsed)  # type: ignore[method-assign]
    if passes:
        takeover.take(client, side(core, clock), [disk(target)], "os")
    else:
        with pytest.raises(errors.Conflict, match="should be client 2's alone"):
            takeover.take(client, side(core, clock), [disk(target)], "os")


def test_many_disks_are_one_sentence(core: Core) -> None:
    """A refusal of a VM with many disks names a few of them."""
    targets = [made(core, f"{number:08x}-1111-4111-8111-111111111111", 1) for number in range(12)]
    core.simulator.faults.add("error_200", query="VolumesReassignWait")
    with pytest.raises(errors.Rejected) as refused:
        takeover.take(core.client(), core.host(1), [disk(each) for each in targets], "os")
    assert len(str(refused.value)) < 400
    assert "and 9 more" in str(refused.value)


SLOW_CALL_SECONDS = 1.2


@pytest.mark.parametrize("taken", [False, True], ids=["its own", "taken"])
def test_a_vm_with_many_disks_starts_where_each_call_takes_long(core: Core, taken: bool) -> None:
    """T53, T73: 36 disks and a second for each call: the start ends within its limit, as for one
    disk."""
    targets = [made(core, f"{number:08x}-1111-4111-8111-111111111111", 2) for number in range(36)]
    if taken:
        core.client().reassign(
            [{"volume": f"~{each.global_id}", "rw": [1]} for each in targets], 0, ""
        )
    core.queries()
    client = core.client()
    client.be_current()
    done = takeover.take(client, core.host(2), [disk(each) for each in targets], "os")
    assert len(done.targets) == 36
    # What is asked again at once waits here for clients of milliseconds; it would not where a call
    # takes a second.
    asked = [query for query, _ in itertools.groupby(core.queries())]
    assert len(asked) * SLOW_CALL_SECONDS < vm_hook.LIMITS.deadline_seconds / 2
    assert attached(core) == {(each.global_id, 2) for each in targets}


HANDED = {names.TAG_PLATFORM: "cs", names.TAG_UUID: "", names.TAG_LOCATION: ""}


def test_a_volume_that_is_handed_over_while_a_start_waits_gets_no_mark(core: Core) -> None:
    """T76: its tags are those of its new owner, and the ones that the start has read are not
    written back."""
    waited, given, clock = made(core, UUIDS[0], 1, 2), made(core, UUIDS[1], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 3:
            core.client().volume_update(names.address(given.global_id), {"tags": HANDED})
            core.simulator.set_client(1, behind=False)

    host = dataclasses.replace(side(core, clock), sleep=sleep)
    takeover.take(brief(core), host, [disk(waited), disk(given, shareable=True)], "os")
    assert core.client().volume(names.address(given.global_id)).tags == {names.TAG_PLATFORM: "cs"}


@pytest.mark.parametrize("step", [sharing.mark, sharing.unmark])
@pytest.mark.parametrize("body", [{"tags": HANDED}, {"rename": "theirs"}], ids=["tags", "name"])
def test_a_copy_that_is_old_changes_no_mark(
    core: Core, step: Callable[..., bool], body: dict[str, Any]
) -> None:
    """T76: whose it is is read again before its tags are written, and what else they say by now
    stays."""
    address = names.address(made(core, UUIDS[0]).global_id)
    if step is sharing.unmark:
        sharing.mark(core.client(), core.client().volume(address), core.host(2).log)
    there = core.client().volume(address)
    core.client().volume_update(address, body)
    after = core.client().volume(address)
    with pytest.raises(errors.Foreign, match="other tags or another name"):
        step(core.client(), there, core.host(2).log)
    assert core.client().volume(address) == after


def test_tags_that_were_written_meanwhile_stay_beside_the_mark(core: Core) -> None:
    """Others keep their own facts in tags: the mark is written beside those of now."""
    address = names.address(made(core, UUIDS[0]).global_id)
    there = core.client().volume(address)
    core.client().volume_update(address, {"tags": {**there.tags, "backup": "daily"}})
    assert sharing.mark(core.client(), there, core.host(2).log)
    assert core.client().volume(address).tags == {
        **there.tags,
        "backup": "daily",
        names.TAG_SHARED: names.SHARED,
    }
