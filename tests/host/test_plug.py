"""plug.py: what a plug may take, step by step: it may die after each, be answered late, and meet
who comes anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import pytest

from rigs.clock import Clock
from rigs.core_fixtures import Core
from rigs.starts import UUIDS, attached, bare, brief, disk, made, side, unanswered
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, sharing
from storpool_ovirt.host import plug, takeover
from storpool_ovirt.limits import LIMITS

if TYPE_CHECKING:
    from storpool_ovirt.cluster.attachments import Target


class Death(BaseException):
    """The process was killed."""


def opened(core: Core, client_id: int, target: Target) -> None:
    """Have a client hold it open."""
    core.simulator.set_client(client_id, opened=[target.global_id])


def plugged(
    core: Core, target: Target, client: api.Client | None = None, clock: Clock | None = None
) -> takeover.StartResult:
    """Plug it into a VM on host 2."""
    return plug.take(client or core.client(), side(core, clock or Clock()), [disk(target)], "os")


def around(core: Core, method: str, act: Callable[[Callable[[], Any], int], Any]) -> api.Client:
    """Return a client of which one method goes through `act`, which gets the real call and its
    number."""
    client = core.client()
    real, count = getattr(client, method), [0]

    def called(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return act(lambda: real(*args, **kwargs), count[0])

    setattr(client, method, called)
    return client


def test_nothing_changes_where_one_of_several_has_it_open(core: Core) -> None:
    """T44, T81: it is closed on one, open on another, a third is down: refused, and all three have
    it as before."""
    core.simulator.set_client(4, running=True)
    target = made(core, UUIDS[0], 1, 2, 3)
    core.client().reassign([{"volume": f"~{target.global_id}", "rw": [4]}], 0, "")
    core.simulator.set_client(4, running=False)
    opened(core, 3, target)
    opened(core, 4, target)
    before = attached(core)
    assert len(before) == 4
    with pytest.raises(
        errors.Conflict, match="is open at client 3, and nothing tells whether it is shareable"
    ):
        plugged(core, target)
    assert attached(core) == before


def test_closed_first_then_down(core: Core) -> None:
    """T80: those that are up are asked, those that are down are not."""
    target = made(core, UUIDS[0], 1, 2, 3)
    opened(core, 1, target)
    core.simulator.set_client(1, running=False)
    plugged(core, target)
    requests = [
        each.body for each in core.simulator.calls.list() if each.query == "VolumesReassignWait"
    ]
    items = [item for body in requests[-2:] for item in body["reassign"]]
    assert [(item["detach"], item["force"]) for item in items] == [([3], False), ([1], True)]
    assert attached(core) == {(target.global_id, 2)}


@pytest.mark.parametrize("step", [1, 2])
def test_it_may_die_after_each_step(core: Core, step: int) -> None:
    """T44: whoever lost it by then had it closed, or is down; who has it open and is up has it; a
    repeat goes on."""
    target = made(core, UUIDS[0], 1, 2, 3)
    opened(core, 1, target)
    core.simulator.set_client(1, running=False)

    def die(real: Callable[[], Any], number: int) -> Any:
        answer = real()
        if number == step:
            raise Death
        return answer

    with pytest.raises(Death):
        plugged(core, target, around(core, "reassign", die))
    assert attached(core) == {
        (target.global_id, client_id) for client_id in ((1, 2), (2,))[step - 1]
    }
    plugged(core, target)
    assert attached(core) == {(target.global_id, 2)}


@pytest.mark.parametrize("effect", [True, False])
def test_a_lost_answer_is_repeated_by_looking(core: Core, effect: bool) -> None:
    """T87: whether the request took effect tells the list."""
    target = made(core, UUIDS[0], 1, 2)

    def lose(real: Callable[[], Any], number: int) -> Any:
        if number > 1:
            return real()
        if effect:
            real()
        raise errors.ApiUnavailable("", "reassign", "reset", ambiguous=True)

    core.queries()
    plugged(core, target, around(core, "reassign", lose))
    assert core.queries().count("VolumesReassignWait") == 1
    assert attached(core) == {(target.global_id, 2)}


def test_who_opens_it_between_two_tries_keeps_it(core: Core) -> None:
    """T44: the first answer was lost, and the host that was down is up and has it open when it is
    asked again."""
    target = made(core, UUIDS[0], 1, 2)
    core.simulator.set_client(1, running=False)

    def comes_back(real: Callable[[], Any], number: int) -> Any:
        if number > 1:
            return real()
        core.simulator.set_client(1, running=True)
        opened(core, 1, target)
        raise errors.ApiUnavailable("", "reassign", "reset", ambiguous=True)

    with pytest.raises(errors.Conflict, match="is open at client 1"):
        plugged(core, target, around(core, "reassign", comes_back))
    assert attached(core) == {(target.global_id, 1), (target.global_id, 2)}


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_who_let_go_meanwhile(core: Core, absent: str) -> None:
    """A detach of what is not attached any more, an error or not, ends in this host alone."""
    core.simulator.switches.set({"detach_absent": absent})
    target = made(core, UUIDS[0], 1, 2)

    def goes(real: Callable[[], Any], number: int) -> Any:
        if number == 1:
            attachments.detach(core.client(), core.host(1), target)
        return real()

    plugged(core, target, around(core, "reassign", goes))
    assert attached(core) == {(target.global_id, 2)}


def test_who_attaches_it_again_and_again(core: Core) -> None:
    """T55: what the list says in the end decides, and it ends soon."""
    target = made(core, UUIDS[0], 1, 2)

    def again(real: Callable[[], Any], _number: int) -> Any:
        answer = real()
        attachments.attach(core.client(), core.host(1), target, "rw")
        return answer

    clock = Clock()
    with pytest.raises(
        errors.Conflict, match=r"should be client 2's alone, but those who have it are: .*client 1"
    ):
        plugged(core, target, around(core, "reassign", again), clock)
    assert clock.now < 2 * LIMITS.list_seconds


def test_who_takes_it_by_force_meanwhile_keeps_it(core: Core) -> None:
    """T56: the VM was started elsewhere while it was plugged here: it is not attached here anew."""
    target = made(core, UUIDS[0], 1, 2)

    def starts(real: Callable[[], Any], number: int) -> Any:
        if number == 1:
            attachments.attach(core.client(), core.host(3), target, "rw")
            takeover.take(core.client(), core.host(3), [disk(target)], "os")
            opened(core, 3, target)
        return real()

    with pytest.raises((errors.Conflict, errors.Rejected)):
        plugged(core, target, around(core, "reassign", starts))
    assert attached(core) == {(target.global_id, 3)}


def test_a_loser_that_hangs_is_waited_for(core: Core) -> None:
    """T46: it runs and does not take over that it has let go: the plug is refused, naming it."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)
    with pytest.raises(errors.DeadlineExceeded, match="client 1 to learn"):
        plugged(core, target, brief(core, request_seconds=2), clock)
    assert LIMITS.loser_seconds <= clock.now < LIMITS.loser_seconds + 1


def test_an_api_that_is_away(core: Core) -> None:
    """T54: without an answer no plug, and nobody lost anything."""
    target = made(core, UUIDS[0], 1, 2)

    def away(_real: Callable[[], Any], _number: int) -> Any:
        raise errors.ApiUnavailable("", "reassign", "reset", ambiguous=True)

    client = around(core, "reassign", away)
    clock = Clock()
    client.pause = lambda _attempt: clock.sleep(1)  # type: ignore[method-assign]
    with pytest.raises(errors.ApiUnavailable):
        plugged(core, target, client, clock)
    assert attached(core) == {(target.global_id, 1), (target.global_id, 2)}


def test_what_may_be_anybodys(core: Core) -> None:
    """T76: neither tags nor the VM tell whose it is: a mark by whoever is none, as long as others
    have it."""
    target = bare(core, f"os--volume-{UUIDS[1]}", {names.TAG_SHARED: names.SHARED}, 1, 2)
    with pytest.raises(
        errors.Foreign, match="is attached to client 1 too, and neither its tags nor the VM tell"
    ):
        plugged(core, target)
    attachments.detach(core.client(), core.host(1), target)
    assert plugged(core, target) == ([], [target.global_id])


# The mark


@pytest.mark.parametrize("update", ["merge", "replace"])
@pytest.mark.parametrize("empty", ["remove", "keep"])
def test_the_mark_leaves_the_other_tags(core: Core, update: str, empty: str) -> None:
    """Writing and removing it sends all tags, as StorPool's update may replace those that it does
    not name."""
    core.simulator.switches.set({"tag_update": update, "tag_empty": empty})
    target = made(core, UUIDS[0])
    client, address = core.client(), f"~{target.global_id}"
    before = client.volume(address)
    assert sharing.mark(client, before, core.log)
    marked = client.volume(address)
    assert marked.tags == {**before.tags, names.TAG_SHARED: names.SHARED}
    assert not sharing.mark(client, marked, core.log)
    assert sharing.unmark(client, marked, core.log)
    after = client.volume(address).tags
    assert {key: value for key, value in after.items() if value} == before.tags
    assert not names.is_shared(after)
    assert not sharing.unmark(client, before, core.log)


def test_the_mark_has_room_on_every_object_of_ours(core: Core) -> None:
    """Name and tags of the longest kind, a preview's volume, with the mark: below StorPool's 200
    bytes."""
    tags = names.tags(UUIDS[0], "0a1b2c3d", UUIDS[1])
    target = bare(core, names.object_name(UUIDS[0]), tags)
    there = core.client().volume(f"~{target.global_id}")
    assert sharing.mark(core.client(), there, core.log)
    length = len(there.name) + sum(
        len(key) + len(value) for key, value in {**tags, names.TAG_SHARED: "1"}.items()
    )
    assert length == 173


def test_a_name_without_room_for_the_mark(core: Core) -> None:
    """What does not fit is refused before anything of it is written, and stops no start."""
    name = "x" * 190
    target = bare(core, name, {}, 2)
    there = core.client().volume(f"~{target.global_id}")
    core.queries()
    with pytest.raises(errors.InputError, match="has 202 bytes"):
        sharing.mark(core.client(), there, core.log)
    sharing.silent_mark(core.client(), there, core.log)
    assert "VolumeUpdate" not in core.queries()


def test_a_mark_that_comes_back(core: Core) -> None:
    """T44: StorPool said yes and still has it: nobody may believe that it is gone."""
    target = made(core, UUIDS[0])
    client = core.client()
    sharing.mark(client, client.volume(f"~{target.global_id}"), core.log)
    marked = client.volume(f"~{target.global_id}")
    client.volume_update = lambda *_: 0  # type: ignore[method-assign]
    with pytest.raises(errors.Conflict, match="is still marked as shareable"):
        sharing.unmark(client, marked, core.log)


def test_a_plug_takes_nothing_from_a_host_that_came_back(core: Core) -> None:
    """T88: the disk was taken from a host that was down, the answer is lost, and the VM was started
    there meanwhile."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, running=False)

    def back() -> None:
        core.simulator.set_client(1, running=True)
        attachments.attach(core.client(), core.host(1), target, "rw")
        takeover.take(core.client(), core.host(1), [disk(target)], "os")

    client = unanswered(core, back)
    with pytest.raises(errors.Conflict, match="is not attached to client 2 any more"):
        plug.take(client, side(core, clock), [disk(target)], "os")
    assert attached(core) == {(target.global_id, 1)}
