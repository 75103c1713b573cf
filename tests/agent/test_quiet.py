"""Who has stopped to write is asked first: a frozen guest is found at once on a host with many VMs
too."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agent_stage import GIB, Stage, Vm

from storpool_ovirt.agent import guests, quiet
from storpool_ovirt.agent.options import Options
from storpool_ovirt.cluster import devices

if TYPE_CHECKING:
    from storpool_ovirt.agent.quiet import Run

VMS = 200
STEP_SECONDS = 0.05
LATEST_SECONDS = guests.pause(VMS, Options())


class Crowd:
    """A host with many VMs of one disk each, whose guests write now and then, with a clock that a
    test sets."""

    def __init__(self, host: Stage, every_seconds: float) -> None:
        self.host, self.every = host, every_seconds
        self.chance = random.Random(1)
        self.vms = [host.vm(number, host.device(number, GIB)) for number in range(VMS)]
        self.files = [self._file(vm) for vm in self.vms]
        self.thawing = guests.Thawing(str(host.root), Options(), host.log, lambda *_: [None])
        self.now = 1000.0
        self.thawing._clock = lambda: self.now
        self.writes_at = [self.now + self.chance.uniform(0, every_seconds) for _ in self.vms]
        self.domains = self.thawing.watched([vm.domain for vm in self.vms])
        self.asked = 0

    def _file(self, vm: Vm) -> Path:
        return self.host.root / vm.domain.disks[0].path[1:]

    def step(self, frozen: int | None = None) -> set[Run]:
        """Let a moment pass, and return who is asked then."""
        self.now += STEP_SECONDS
        for number, at in enumerate(self.writes_at):
            if number != frozen and at <= self.now:
                self.write(number)
        late, _ = self.thawing.due(self.domains)
        for each in late:
            self.thawing.postpone(each, VMS)
            self.thawing.turn(self.host.hypervisor, each)
        self.asked += len(late)
        return {guests.key(each) for each in late}

    def write(self, number: int) -> None:
        """Have a guest write, and again after a while."""
        moment = int(self.now * 1e9)
        os.utime(self.files[number], ns=(moment, moment))
        self.writes_at[number] = self.now + self.every * self.chance.uniform(0.7, 1.3)

    def live(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self.now < end:
            self.step()

    def found_after(self) -> float:
        """Freeze a guest, and return how long it takes until it is asked."""
        number = self.chance.randrange(VMS)
        self.write(number)  # a file system that is frozen is written once more
        self.vms[number].frozen, begun = True, self.now
        while guests.key(self.vms[number].domain) not in self.step(number):
            assert self.now < begun + 2 * LATEST_SECONDS
        self.vms[number].frozen = False
        self.thawing.turn(self.host.hypervisor, self.vms[number].domain)
        return self.now - begun


@pytest.mark.parametrize(
    ("every_seconds", "most_seconds"), [(30.0, 1.5), (5.0, 2.0), (1.0, 2.0), (0.2, 1.5)]
)
def test_a_frozen_guest_is_found_among_many(
    host: Stage, every_seconds: float, most_seconds: float
) -> None:
    """T89: however often the others write; without a look at that it took up to ten seconds."""
    crowd = Crowd(host, every_seconds)
    crowd.live(2 * LATEST_SECONDS)
    waits = []
    for _ in range(12):
        waits.append(crowd.found_after())
        crowd.live(3.0)
    assert max(waits) <= most_seconds, waits


def test_no_more_is_asked_than_may_be(host: Stage) -> None:
    """Each guest in its turn, and so many beside."""
    crowd = Crowd(host, 1.0)
    crowd.live(LATEST_SECONDS)
    crowd.asked = 0
    crowd.live(10.0)
    most = guests.ASKS_PER_SECOND + guests.QUIET_ASKS_PER_SECOND
    assert guests.ASKS_PER_SECOND * 9 <= crowd.asked <= most * 10.5


def test_who_never_writes_is_asked_in_its_turn(host: Stage) -> None:
    """Also where nobody counts what a device writes."""
    crowd = Crowd(host, 1e9)
    crowd.live(2 * LATEST_SECONDS)
    crowd.asked = 0
    crowd.live(LATEST_SECONDS)
    assert VMS <= crowd.asked <= VMS * 1.1


def test_few_guests_are_not_looked_at(host: Stage) -> None:
    """They are asked often enough."""
    vm = host.vm(1, host.device(1, GIB))
    thawing = guests.Thawing(str(host.root), Options(), host.log, lambda *_: [None])
    [domain] = thawing.watched([vm.domain])
    thawing.due([domain])
    assert thawing._guest(domain).writer.count is None


def test_disks_elsewhere_are_not_looked_at(host: Stage) -> None:
    """A file on storage that hangs would hold up all; such a guest waits for Engine anyhow."""
    vm = host.vm(1, host.device(1, GIB), "/rhev/image")
    thawing = guests.Thawing(str(host.root), Options(), host.log, lambda *_: [None])
    [domain] = thawing.watched([vm.domain])
    assert thawing._guest(domain).writer.paths == []


def test_what_the_kernel_counts() -> None:
    """Writes, discards and flushes, and no reads."""
    found = [Path(f"/dev/{each.name}") for each in Path("/sys/class/block").iterdir()]
    devices_here = [each for each in sorted(found) if each.is_block_device()]
    if not devices_here:
        pytest.skip("no block device here")
    counts = Path(f"/sys/class/block/{devices_here[0].name}/stat").read_text().split()
    most = sum(int(counts[each]) for each in (4, 11, 15) if each < len(counts))
    assert most <= devices.writes(str(devices_here[0])) <= most + 1000  # others may write it


def test_a_device_that_goes_away(host: Stage) -> None:
    """It is detached just now: nothing is known of it."""
    path = host.root / host.device(1, GIB)[1:]
    writer = quiet.Writer([str(path)])
    for now in (1.0, 2.0):
        writer.look(now)
    assert writer.has_stopped
    path.unlink()
    writer.look(3.0)
    assert not writer.has_stopped
