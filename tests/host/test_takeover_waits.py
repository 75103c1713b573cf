"""takeover.py: StorPool may wait for a client that loses a disk, or leave that to us: a start
depends on neither."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from rigs.clock import Clock
from rigs.starts import UUIDS, attached, brief, disk, made, side
from storpool_ovirt import errors
from storpool_ovirt.cluster import force
from storpool_ovirt.host import takeover
from storpool_ovirt.limits import LIMITS

if TYPE_CHECKING:
    from rigs.core_fixtures import Core

# Whom StorPool's VolumesReassignWait waits for, and what its time-out ends.
WAITS = {
    "for all": {"reassign_wait_for": "affected", "attach_timeout_covers": "all"},
    "for all, for ever": {"reassign_wait_for": "affected", "attach_timeout_covers": "missing"},
    "not for losers": {"reassign_wait_for": "gaining", "attach_timeout_covers": "all"},
}
EXPIRIES = ("error_keep", "error_undo", "ok")
# Longer than the wait of `brief`, and far below what a start has.
REQUEST_SECONDS = 2.0


@pytest.fixture(params=WAITS.values(), ids=WAITS)
def waits(core: Core, request: pytest.FixtureRequest) -> dict[str, str]:
    """Have StorPool wait in one of these ways."""
    core.simulator.switches.set(request.param)
    return dict(request.param)


def test_a_loser_that_is_slow_is_waited_for(core: Core, waits: dict[str, str]) -> None:
    """T46: a start goes on when the one that lost the disk knows it, whoever waits for that; where
    StorPool waits, it costs no call more than where nobody has to be waited for."""
    target = made(core, UUIDS[0], 1, 2)
    core.simulator.set_client(1, behind=True)
    core.queries()
    timer = threading.Timer(0.5, lambda: core.simulator.set_client(1, behind=False))
    timer.start()
    started = takeover.take(
        brief(core, attach_timeout_seconds=10), core.host(2), [disk(target)], "os"
    )
    timer.join()
    assert [each.global_id for each in started.targets] == [target.global_id]
    assert attached(core) == {(target.global_id, 2)}
    looks = core.queries().count("ClientsConfigDump")
    if waits["reassign_wait_for"] == "affected":
        assert looks == 2  # is this host up, and does everybody know
    else:
        assert looks > 3


@pytest.mark.parametrize("expiry", EXPIRIES)
def test_a_loser_that_hangs_stops_the_start(core: Core, waits: dict[str, str], expiry: str) -> None:
    """T46: the start is refused, naming the loser, and not StorPool's words about its own wait:
    also where that ended with an error, or never."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.switches.set({"attach_timeout_expiry": expiry})
    core.simulator.set_client(1, behind=True)
    client = brief(core, request_seconds=REQUEST_SECONDS)
    with pytest.raises(errors.DeadlineExceeded, match="client 1 to learn"):
        takeover.take(client, side(core, clock), [disk(target)], "os")
    assert clock.now < LIMITS.loser_seconds + 1
    assert attached(core) == {(target.global_id, 2)}


def test_the_waits_are_one(core: Core) -> None:
    """T46: what StorPool has waited for a loser is not waited for again by the hook."""
    target, clock = made(core, UUIDS[0], 1, 2), Clock()
    core.simulator.set_client(1, behind=True)
    client = brief(core)
    real = client.reassign

    def slowly(*arguments: object, **more: object) -> int:
        clock.sleep(15)
        return real(*arguments, **more)  # type: ignore[arg-type]

    client.reassign = slowly  # type: ignore[method-assign]
    with pytest.raises(errors.DeadlineExceeded):
        takeover.take(client, side(core, clock), [disk(target)], "os")
    assert LIMITS.loser_seconds <= clock.now < LIMITS.loser_seconds + 1


def test_a_loser_that_goes_down_is_waited_for_no_more(core: Core, waits: dict[str, str]) -> None:
    """T46, T54: the host that had the disk is lost, and StorPool notices it after a while."""
    target = made(core, UUIDS[0], 1, 2)
    core.simulator.set_client(1, behind=True)
    timer = threading.Timer(0.5, lambda: core.simulator.set_client(1, running=False))
    timer.start()
    takeover.take(brief(core, attach_timeout_seconds=10), core.host(2), [disk(target)], "os")
    timer.join()
    assert attached(core) == {(target.global_id, 2)}, waits


def test_a_real_refusal_is_told(core: Core, waits: dict[str, str]) -> None:
    """An error after which the disks are not this host's alone is the start's error too."""
    target = made(core, UUIDS[0], 1, 2)
    core.simulator.faults.add("error_200", query="VolumesReassignWait", name="odd", descr="no")
    with pytest.raises(errors.Rejected, match="odd"):
        takeover.take(brief(core), side(core, Clock()), [disk(target)], "os")
    assert attached(core) == {(target.global_id, 1), (target.global_id, 2)}, waits


def test_a_fence_tells_what_it_took(core: Core, waits: dict[str, str]) -> None:
    """T46: what is taken from a host that hangs is told as taken, whatever StorPool says about its
    wait for that host."""
    target = made(core, UUIDS[0], 1)
    core.simulator.set_client(1, behind=True)
    hung = brief(core, request_seconds=REQUEST_SECONDS, known_seconds=0.1)
    with pytest.raises(errors.Conflict, match="does not take over that its disks were taken"):
        force.clear(hung, force.look(hung, 1, "os"), "os", core.log)
    assert attached(core) == set(), waits
    log = (core.folder / "test.log").read_text()
    assert any(" taken " in line and target.global_id in line for line in log.splitlines())
