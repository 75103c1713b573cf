"""One VM at its turn: what is asked, changed, and remembered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from agent_stage import GIB, Stage, Vm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storpool_ovirt import errors
from storpool_ovirt.agent import guests, thaw
from storpool_ovirt.agent.options import Options

MISSING = errors.LibvirtRefused("anything", "vm1", "no")


def grown(host: Stage, vm: Vm, growing: guests.Growing) -> list[tuple[str, int]]:
    """Have a turn, and return what it showed the guest."""
    vm.grown.clear()
    growing.turn(host.hypervisor, vm.domain)
    return list(vm.grown)


def test_a_disk_that_grew_is_shown_once(host: Stage) -> None:
    """To the very size of its device; a disk that is settled costs libvirt nothing."""
    vm = host.vm(1, host.device(1, GIB), host.device(2, GIB))
    growing = guests.Growing(str(host.root), host.log)
    assert grown(host, vm, growing) == []
    host.device(2, 3 * GIB)
    assert grown(host, vm, growing) == [("vdb", 3 * GIB)]
    vm.fails = MISSING  # no call is made any more
    assert grown(host, vm, growing) == []
    vm.fails = None
    host.device(2, 4 * GIB)
    assert grown(host, vm, growing) == [("vdb", 4 * GIB)]
    assert len(host.lines("disk_grown")) == 2


def test_a_device_that_shrank_is_told_only(host: Stage) -> None:
    """Nothing is shrunk; the log has it once, and it may grow again."""
    vm = host.vm(1, host.device(1, GIB // 2))
    growing = guests.Growing(str(host.root), host.log)
    assert [grown(host, vm, growing) for _ in range(3)] == [[]] * 3
    assert len(host.lines("disk_shrunk")) == 1
    host.device(1, 2 * GIB)
    assert grown(host, vm, growing) == [("vda", 2 * GIB)]


def test_a_vm_that_moves_waits(host: Stage) -> None:
    """It is looked at again in each round, and grown when it stays; on the other host it is
    another run."""
    vm = host.vm(1, host.device(1, 2 * GIB))
    growing = guests.Growing(str(host.root), host.log)
    vm.moving = True
    assert [grown(host, vm, growing) for _ in range(2)] == [[], []]
    vm.moving = False
    assert grown(host, vm, growing) == [("vda", 2 * GIB)]
    arrived = host.vm(1, vm.domain.disks[0].path, run=2)
    growing.forget([guests.key(arrived.domain)])
    assert grown(host, arrived, growing) == [("vda", 2 * GIB)]


def test_other_disks_are_none_of_ours(host: Stage) -> None:
    """Image disks, disks without a path, and links that lead nowhere are not even asked about."""
    image = host.root / "dev/mapper/image"
    image.write_bytes(b"x" * 4096)
    vm = host.vm(1, "/dev/mapper/image", "", "/dev/storpool-byid/gone.b.c", "/rhev/image")
    vm.shown = {}
    growing = guests.Growing(str(host.root), host.log)
    assert grown(host, vm, growing) == []


def test_a_refusal_is_tried_again(host: Stage) -> None:
    """A VM that ended between two calls, or a refusal, leaves nothing settled."""
    vm = host.vm(1, host.device(1, 2 * GIB))
    growing = guests.Growing(str(host.root), host.log)
    gone = host.hypervisor.vms.pop(vm.domain.uuid)
    with pytest.raises(errors.NotFound):
        growing.turn(host.hypervisor, vm.domain)
    host.hypervisor.vms[vm.domain.uuid] = gone
    assert grown(host, vm, growing) == [("vda", 2 * GIB)]


class Guest:
    """A VM of one disk or more with the agent's memory of it, and clocks that a test sets."""

    def __init__(self, host: Stage, *paths: str, **options: float) -> None:
        self.host = host
        self.vm = host.vm(1, *(paths or (host.device(1, GIB),)))
        self.snapshots: list[thaw.Snapshot | None] | errors.Error = [None]
        self.asked: list[Sequence[Sequence[str]]] = []
        wanted = Options(**options)  # type: ignore[arg-type]
        self.thawing = guests.Thawing(str(host.root), wanted, host.log, self._newest)
        self.time, self.jump = 1000.0, 1_800_000_000.0
        self.thawing._clock = lambda: self.time
        self.thawing._now = lambda: self.time + self.jump

    def _newest(self, disks: Sequence[Sequence[str]], _root: str) -> list[thaw.Snapshot | None]:
        self.asked.append(disks)
        if isinstance(self.snapshots, errors.Error):
            raise self.snapshots
        return self.snapshots

    def turn(self, after: float = 0.5) -> bool:
        """Have a turn so many seconds later; return whether the guest was thawed."""
        self.time += after
        before = self.vm.thaws
        self.thawing.turn(self.host.hypervisor, self.vm.domain)
        return self.vm.thaws > before

    def taken(self, number: int = 1) -> thaw.Snapshot:
        """Return a snapshot of now."""
        return thaw.Snapshot(f"a.b.{number}", float(int(self.time + self.jump)), "mark")

    def due_in(self) -> float:
        """Return when it is asked next."""
        late, wait = self.thawing.due([self.vm.domain])
        return 0.0 if late else wait


def test_a_guest_that_is_not_frozen_costs_one_question(host: Stage) -> None:
    """StorPool is not asked."""
    guest = Guest(host)
    assert [guest.turn() for _ in range(3)] == [False] * 3
    assert guest.asked == []


def test_a_frozen_guest_is_thawed_when_its_snapshot_is_there(host: Stage) -> None:
    """Not before; once; with one line that says why."""
    guest = Guest(host)
    guest.turn()
    guest.vm.frozen = True
    assert not guest.turn()
    guest.snapshots = [guest.taken()]
    assert guest.turn()
    assert not guest.turn()
    [line] = host.lines("guest_thawed")
    assert "why=all_taken frozen_seconds=0.5 moment=mark" in line


def test_the_next_freeze_needs_a_snapshot_of_its_own(host: Stage) -> None:
    """What the last one was for does not count again."""
    guest = Guest(host)
    guest.turn()
    for number in (1, 2, 3):
        guest.vm.frozen = True
        assert not guest.turn(), "the old snapshot is there"
        guest.snapshots = [guest.taken(number)]
        assert guest.turn()
        assert not guest.turn()


def test_a_disk_elsewhere_is_not_asked_about(host: Stage) -> None:
    """A VM with a disk of others, or of nobody knows whom, stays frozen until `thaw_mixed`."""
    for other in ("/rhev/image", "/dev/storpool/unknown", ""):
        guest = Guest(host, host.device(1, GIB), other)
        guest.turn()
        guest.vm.frozen = True
        guest.snapshots = [guest.taken()]
        assert not guest.turn()
        assert not guest.turn(3599.0)
        assert guest.turn(1.0)
        assert guest.asked == []


def test_storpool_is_away(host: Stage) -> None:
    """It is told once; the guest waits for the latest moment; what fails is no reason to thaw."""
    guest = Guest(host)
    guest.turn()
    guest.vm.frozen = True
    guest.snapshots = errors.ApiUnavailable("host:81", "volumeList", "refused", False)
    assert [guest.turn(30) for _ in range(4)] == [False] * 4
    assert guest.thawing.api_failed is not None
    assert guest.turn(30)
    assert len(host.lines("snapshots_unknown")) == 1


def test_a_clock_that_jumps(host: Stage) -> None:
    """The host's clock is set while a guest is frozen: it is thawed later, never too soon."""
    for jump in (-3600.0, 3600.0):
        guest = Guest(host)
        guest.turn()
        guest.vm.frozen = True
        assert not guest.turn()
        guest.snapshots = [guest.taken()]
        guest.jump += jump
        assert not guest.turn()
        assert guest.turn(120.0)


@pytest.mark.parametrize("why", ["no answer", "nonsense"])
def test_a_silent_guest_is_asked_ever_less(host: Stage, why: str) -> None:
    """It is told once, never thawed, and asked as usual when it answers again."""
    guest = Guest(host)
    guest.vm.fails = errors.GuestSilent("vm1", why)
    waits = []
    for _ in range(7):
        assert not guest.turn()
        waits.append(guest.thawing._guest(guest.vm.domain).next_at - guest.time)
    assert waits == [30, 60, 120, 240, 480, 600, 600]
    assert len(host.lines("guest_silent")) == 1
    guest.vm.fails = None
    guest.turn()
    guest.thawing.postpone(guest.vm.domain, 1)
    assert guest.due_in() == pytest.approx(0.5)


def test_a_thaw_that_fails_is_tried_again(host: Stage) -> None:
    """Its line says why; five seconds later is the next try."""
    guest = Guest(host)
    guest.turn()
    guest.vm.frozen = True
    guest.snapshots = [guest.taken()]

    def fails(_domain: object) -> None:
        raise errors.GuestSilent("vm1", "fsfreeze hook failed")

    host.hypervisor.thaw = fails  # type: ignore[method-assign]
    assert not guest.turn()
    assert guest.due_in() == pytest.approx(5.0)
    assert "fsfreeze hook failed" in host.lines("thaw_failed")[0]
    del host.hypervisor.thaw
    assert guest.turn(5.0)


def test_another_who_talks_to_the_agent(host: Stage) -> None:
    """While Vdsm freezes the guest, it is asked again soon, and is not taken for silent."""
    guest = Guest(host)
    guest.vm.fails = errors.Locked("VM vm1", 30.0)
    assert not guest.turn()
    assert guest.due_in() == pytest.approx(1.0)
    assert host.lines() == []


def test_two_hundred_guests_are_asked_less_often() -> None:
    """Twenty questions a second are all that a host's libvirt and guests get."""
    pauses = [guests.pause(count, Options()) for count in (0, 1, 10, 20, 200)]
    assert pauses == [0.5, 0.5, 0.5, 1.0, 10.0]


steps = st.sampled_from(["freeze", "thaw", "snapshot", "api", "silent", "later", "jump", "turn"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.lists(steps, max_size=25))
def test_any_history(host: Stage, mixed: bool, history: list[str]) -> None:
    """Whatever happens in whatever order: who is thawed had a snapshot since the freeze, or the
    limit was over."""
    guest = Guest(host, host.device(1, GIB), *["/rhev/image"] * mixed)
    guest.turn()
    number, frozen_at, is_taken = 1, 0.0, False
    for step in history:
        if step == "freeze" and not guest.vm.frozen:
            guest.vm.frozen, frozen_at, is_taken = True, guest.time, False
        elif step == "thaw":
            guest.vm.frozen = False
        elif step == "snapshot":
            number, is_taken = number + 1, True
            guest.snapshots = [guest.taken(number)]
        elif step == "api":
            guest.snapshots = errors.Rejected("volumeList", "unauthorized", "no")
        elif step == "silent":
            silent = errors.GuestSilent("vm1", "no answer")
            guest.vm.fails = None if guest.vm.fails else silent
        elif step == "later":
            guest.time += 70.0
        elif step == "jump":
            guest.jump -= 500.0
        elif guest.turn():
            over = guest.time - frozen_at
            assert over >= (3600 if mixed else 0 if is_taken else 120)
