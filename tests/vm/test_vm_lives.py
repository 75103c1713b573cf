"""Random lives of VMs on three hosts: at no instant can two hosts write one disk, outside a
migration.

1,000 lives each time, the same ones. After each step whoever ever opened a disk tries to write to
it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
import vm_lives_hosts
import vm_lives_starts
import vm_lives_steps
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from vm_lives import Life, TwoWriters
from vm_lives_site import LivesSite

from ovirt_demo import flows, hooks
from storpool_ovirt import errors
from storpool_ovirt.cluster import api
from storpool_ovirt.host import takeover

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vm_lives import Qemu, Vm
    from vm_lives_site import Frozen, LiveHost

PARTS, LIVES = 5, 200
LAGS = (
    0,
    1,
    4,
    0,
    12,
)  # of each part: how many changes an instance is behind that answers every other reading call
ON_FILES = 40
FEWEST_STEPS, MOST_STEPS = 6, 14
# The lives among which two writers are found when there is no hook, or a worse one.
SOON = 100
RESTARTED = 12  # one life in so many sees the simulator restarted, where it can be
VISITED = 20  # and one a pass of VolumeCare or of storpool_qos

numbers = st.integers(0, 59)
lives = st.lists(
    st.tuples(st.integers(0, len(vm_lives_steps.TABLE) - 1), numbers, numbers, numbers),
    min_size=FEWEST_STEPS,
    max_size=MOST_STEPS,
)
# What has to have happened in each part, so that none of it can pass by doing nothing.
HAPPENED = (
    "started",
    "stopped",
    "host lost",
    "host rebooted",
    "host came back as it was",
    "write of who lost it refused",
    "lost host's write refused",
    "migrated",
    "migration failed",
    "migration refused by the destination",
    "both sides of a migration wrote",
    "shareable disk written by two",
    "hot-plugged",
    "hot-unplugged",
    "late attach took effect",
    "stray attach took effect",
    "late detach",
    "repeated call",
    "two starts at once",
    "frozen: attach",
    "frozen: reading",
    "frozen: before the request",
    "frozen: request on its way",
    "frozen: behind the request",
    "frozen: before QEMU",
    "went on in time",
    "went on too late",
    "QEMU found no device",
    "late start ran",
    "detach of what runs refused: 926",
    "simulator restarted",
    "start refused: ClientDown",
    "start refused: ApiUnavailable",
    "start refused: Conflict",
    "fault: transient",
    "fault: reset_before",
    "fault: reset_after",
    "fault: bad_gateway",
    "fault: error_200",
    "fault: refuse",
    "storpool_qos looked",
    "VolumeCare took backups",
)


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LivesSite]:
    """Give a cluster with three hosts and six disks, in some parts with an instance that is
    behind."""
    pytest.importorskip("werkzeug", reason="the simulator's requirements are not installed")
    part = getattr(getattr(request.node, "callspec", None), "params", {}).get("part", 0)
    with contextlib.closing(LivesSite(tmp_path, lag=LAGS[part])) as made:
        yield made


def run(site: LivesSite, part: int) -> collections.Counter[str]:
    """Live the lives of a part, the same ones each time, and return what happened in them."""
    counts: collections.Counter[str] = collections.Counter()
    for number in range(part * LIVES, (part + 1) * LIVES):
        told: list[str] = []
        counts["lives"] += 1
        try:
            one(Life(site, counts, tell=told.append), drawn(number))
        except AssertionError as error:
            raise AssertionError(f"life {number}: {error}; tried: {', '.join(told)}") from error
    return counts


def search(site: LivesSite, most: int) -> collections.Counter[str]:
    """Live so many lives, others each time; where one fails, it is made small."""
    counts: collections.Counter[str] = collections.Counter()

    @settings(
        max_examples=most,
        derandomize=False,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(lives)
    def live(steps: Sequence[vm_lives_steps.Step]) -> None:
        counts["lives"] += 1
        one(Life(site, counts, tell=note), steps)

    live()
    return counts


def one(life: Life, steps: Sequence[vm_lives_steps.Step]) -> None:
    """Live one life."""
    try:
        for number, step in enumerate(steps):
            if number == FEWEST_STEPS // 2 and life.counts["lives"] % RESTARTED == 1:
                vm_lives_hosts.restart(life, 0, 0, 0)
            if number == FEWEST_STEPS - 1 and life.counts["lives"] % VISITED == 2:
                vm_lives_hosts.visit(life, life.counts["lives"] // VISITED)
            vm_lives_steps.do(life, step)
            life.counts["steps"] += 1
    finally:
        life.end()


@pytest.mark.parametrize("part", range(PARTS))
def test_random_lives_of_vms(site: LivesSite, part: int) -> None:
    """T13, T35, T44, T45, T53, T55, T56, T69, T76, T80, T81, T88: whatever happens, a disk has one
    host that can write.

    Hosts are lost while their VMs run on, come back, hooks freeze anywhere and go on later,
    requests are late, lost or repeated, migrations fail, and starts race; then a VM runs with its
    disks alone, or it does not start. STORPOOL_OVIRT_LIVES is how many lives are tried in each
    part, for who looks for defects.
    """
    wanted = os.environ.get("STORPOOL_OVIRT_LIVES")
    if wanted:
        assert search(site, int(wanted))["lives"] >= int(wanted)
        return
    counts = run(site, part)
    assert counts["lives"] == LIVES
    assert counts["steps"] >= LIVES * FEWEST_STEPS
    assert [event for event in HAPPENED if not counts[event]] == []


def test_random_lives_of_vms_on_plain_files(tmp_path: Path) -> None:
    """T44, T80: the same holds where devices are plain files, as for ordinary users."""
    pytest.importorskip("werkzeug", reason="the simulator's requirements are not installed")
    counts: collections.Counter[str] = collections.Counter()
    with contextlib.closing(LivesSite(tmp_path, "file")) as site:
        for number in range(ON_FILES):
            one(Life(site, counts), drawn(number))
    assert counts["lost host's write refused"]
    assert counts["both sides of a migration wrote"]


def test_without_the_hook_two_hosts_write(site: LivesSite) -> None:
    """T80: the same lives with the hook left out find two writers: so they can fail."""
    with pytest.raises(TwoWriters):
        for number in range(SOON):
            one(Life(site, collections.Counter(), hooked=False), drawn(number))


def test_a_take_in_two_requests_lets_two_hosts_write(
    site: LivesSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T80: were a disk first taken from all and then attached here, two starts at once would both
    have it."""
    whole = api.Client.reassign

    def in_two(
        client: api.Client,
        items: Sequence[Any],
        attach_timeout: int,
        what: str,
        repeat: bool = True,
    ) -> int:
        if any(item.get("force") and "rw" in item for item in items):
            whole(client, [{**item, "rw": []} for item in items], attach_timeout, what)
            items = [
                {key: value for key, value in item.items() if key in ("volume", "rw")}
                for item in items
            ]
        return whole(client, items, attach_timeout, what, repeat)

    monkeypatch.setattr(api.Client, "reassign", in_two)
    monkeypatch.setattr(
        takeover, "check_alone", lambda *_: None
    )  # the look at the list afterwards sees it
    race = vm_lives_steps.TABLE.index(vm_lives_starts.race)
    with pytest.raises(TwoWriters):
        for number in range(SOON):
            one(Life(site, collections.Counter()), [(race, number, number, 0)] * 3)


def test_a_late_detach_does_not_end_a_newer_attach(site: LivesSite) -> None:
    """T88: a detach that was on its way when its host was lost comes when the VM runs there again,
    and is refused."""
    with living(site) as life:
        vm, first, second = life.vms[0], site.hosts[1], site.hosts[2]
        life.kill(running(life, vm, first))
        disk = vm.disks[0]
        detach = site.freeze(
            first,
            "detach",
            ("VolumesReassignWait",),
            lambda _: first.detach_volume(life.domain.id, disk.active),
        )
        assert detach is not None
        detach.clock.dead = True
        first.reboot()
        life.kill(running(life, vm, second))
        running(life, vm, first)
        site.thaw([detach])
        life.check()
        assert {(life.volume(each).global_id, 1) for each in vm.disks} == site.attached()


def test_what_a_hook_before_the_start_does_not_see_a_stray_attach(site: LivesSite) -> None:
    """A limit: a start that froze between hook and QEMU, and a repeated attach of that host that
    StorPool did late.

    Where both meet, the lost host opens the disk again. Either one alone does no harm: see the
    random lives.
    """
    with living(site) as life:
        vm, lost = life.vms[1], site.hosts[1]
        devices = flows.run_vm(life.domain, lost, *vm.disks)
        frozen = site.freeze(
            lost, "before QEMU", (), lambda pause: life.start(vm, lost, devices, pause) and None
        )
        assert frozen is not None
        lost.lost = True
        running(life, vm, site.hosts[2])
        site.reassign({"volume": f"~{life.volume(vm.disks[0]).global_id}", "rw": [lost.number]})
        life.check()
        site.thaw([frozen])
        with pytest.raises(TwoWriters):
            life.check()


@pytest.mark.parametrize("hooked", [True, False], ids=["with its hook", "without it"])
def test_a_vm_that_lost_its_disk_is_not_migrated(site: LivesSite, hooked: bool) -> None:
    """T45: its destination would have the disk anew, beside the host that took it: the hook of the
    source refuses.

    A VM that has noticed is paused, and Engine migrates none that is paused for an I/O error; this
    one has not. Without that hook two hosts write.
    """
    with living(site) as life:
        vm, frozen, source = started_meanwhile(life)
        site.thaw(
            [frozen]
        )  # Engine had given it up, but it was in time: the disk is taken from the VM on host 2
        moved = flows.start_migration(life.domain, site.hosts[1], *vm.disks)
        if hooked:
            with pytest.raises(
                errors.Conflict, match="was taken from client 2, on which its VM runs"
            ):
                life.hook(source.host, moved, hooks.BEFORE_VM_MIGRATE_SOURCE)
            return
        incoming = life.launch(vm, site.hosts[1], life.paths(moved))
        assert incoming is not None
        life.kill(source)
        with pytest.raises(TwoWriters):
            life.check()


def test_what_a_late_take_does_to_a_vm_that_runs(site: LivesSite) -> None:
    """A limit: the request of a hook that gave up is done late, and a VM that runs loses its disk;
    then nobody writes.

    No request of StorPool's can be told to be void when something else was there first.
    """
    with living(site) as life:
        _, frozen, runs = started_meanwhile(life)
        frozen.clock.now += vm_lives_starts.LONG
        site.thaw([frozen])
        life.check()
        assert life.counts["start refused: DeadlineExceeded"]
        assert life.qemus == [runs]
        assert [each.cut for each in runs.disks] == [True, False]  # the second one is shareable


def test_a_shareable_disk_is_plugged_with_its_mark_and_without(site: LivesSite) -> None:
    """T81: a second VM gets it beside one that started with it; without the mark it does not, and
    the first writes."""
    with living(site) as life:
        first = running(life, life.vms[1], site.hosts[1])
        second = running(life, life.vms[0], site.hosts[2])
        life.vms[0].at = site.hosts[2]
        shareable = vm_lives_starts.choose(life.vms[0].spare, 1)
        assert life.volume(shareable).shareable
        vm_lives_starts.hot_plug(life, 0, 0, 2)
        life.check()
        assert life.counts["hot-plugged beside others"] == 1
        vm_lives_starts.hot_plug(life, 0, 1, 0)
        assert life.counts["hot-unplugged"] == 1
        vm_lives_starts.hot_plug(life, 0, 0, 1)
        life.check()
        assert life.counts["hot-plug without a mark refused"] == 1
        assert [each.volume.number for each in first.disks if not each.cut] == [2, 5]
        assert [each.volume.number for each in second.disks] == [0, 1]


@contextlib.contextmanager
def living(site: LivesSite) -> Iterator[Life]:
    """Give a life, and let nothing be left of it."""
    life = Life(site, collections.Counter())
    try:
        yield life
    finally:
        life.end()


def started_meanwhile(life: Life) -> tuple[Vm, Frozen, Qemu]:
    """Freeze a start on host 3 with its request on the way, and have the VM started on host 2."""
    vm, late = life.vms[1], life.site.hosts[3]
    devices = flows.run_vm(life.domain, late, *vm.disks)
    frozen = life.site.freeze(
        late, "start", ("VolumesReassignWait",), lambda _: life.start(vm, late, devices) and None
    )
    assert frozen is not None
    return vm, frozen, running(life, vm, life.site.hosts[2])


def running(life: Life, vm: Vm, host: LiveHost) -> Qemu:
    """Start a VM on a host and return its QEMU."""
    qemu = life.start(vm, host, flows.run_vm(life.domain, host, *vm.disks))
    assert qemu is not None
    return qemu


def drawn(number: int) -> list[vm_lives_steps.Step]:
    """Return the steps of a life, the same ones for each number."""
    chance = random.Random(number)
    return [
        (
            chance.randrange(len(vm_lives_steps.TABLE)),
            chance.randrange(60),
            chance.randrange(60),
            chance.randrange(60),
        )
        for _ in range(chance.randint(FEWEST_STEPS, MOST_STEPS))
    ]
