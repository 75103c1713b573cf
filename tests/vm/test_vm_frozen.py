"""A live snapshot in Engine's order of calls: the guest is frozen by its guest agent, each disk is
snapshotted, and nobody thaws it but our agent.

Engine thaws a VM of managed disks alone never (docs/agent.md). The guest agent is Debian's own, the
VM a domain of a real libvirtd, and the agent the installed program.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vm_domain import FROZEN, THAWED, Domain
from vm_domains import Domains
from vm_fixtures import VIRTUAL, serial

from ovirt_demo import engine, flows
from rigs.shared_stage import engine_with

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk

pytestmark = VIRTUAL
BESIDE = True  # StorPool's services make passes all the while

WINDOW_SECONDS = 8.0  # Engine's, in which it would thaw by itself
SILENCE_SECONDS = 3.0  # a failed snapshot's guest is thawed when nothing came for so long
GROUP, ALONE = "VolumesGroupSnapshot", "VolumeSnapshot"
SLACK_SECONDS = 10.0  # for the agent's own steps beside ten other tests
DOUBT_SECONDS = 5.0  # the agent's own, docs/agent.md


def test_a_frozen_guest_goes_on_when_its_disks_are_taken(domains: Domains) -> None:
    """T78, T89: it is frozen until its last disk has its snapshot, and thawed soon after, also by
    an agent that was not there before; the previews hold file systems that were left in order."""
    machines = domains.machines
    play = machines.play
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    vm = working(domains, disks)
    warm = [flows.create_snapshot(play.domain, disk) for disk in disks]
    vm.freeze()
    snapshots(play.domain, disks)
    assert vm.freeze_status() == FROZEN, "somebody else thaws it"
    with domains.agent(play.host1, thaw_latest="0") as log:
        vm.until_thawed()
        goes_on(vm, disks)
        vm.freeze()
        cold = snapshots(play.domain, disks)
        taken = time.monotonic()
        vm.until_thawed()
        assert time.monotonic() - taken < DOUBT_SECONDS + SLACK_SECONDS
        goes_on(vm, disks)
    assert thaws(log) == ["all_taken"] * 2
    stop(domains, vm, disks)

    preview(play.domain, disks, warm)
    assert not any(in_order(domains, disk) for disk in disks), "nothing was frozen then"
    undo(play.domain, disks)
    preview(play.domain, disks, cold)
    assert all(in_order(domains, disk) for disk in disks)
    booted = machines.start(vm.name, play.host2, *disks)
    for disk in disks:
        booted.run(f"mounted {serial(disk)}")
    assert booted.run("dmesg | grep -i recover || true") == []
    assert booted.troubles() == []
    machines.stop(booted, *disks)
    undo(play.domain, disks)
    machines.delete(*disks)


def test_a_frozen_guest_goes_on_when_a_disk_fails(domains: Domains) -> None:
    """T89: all snapshots are refused as a group, or the second disk's alone: the guest is thawed
    when no new one came for `thaw_latest` seconds."""
    play = domains.machines.play
    disks = [flows.create_disk(play.domain, 1) for _ in range(2)]
    vm = working(domains, disks)
    with domains.agent(play.host1, thaw_latest=str(SILENCE_SECONDS)) as log:
        for option, query, made in (("true", GROUP, 0), ("false", ALONE, 1)):
            caller = engine_with(play.stage, sp_group_snapshot=option)
            vm.freeze()
            found = refused(domains, dataclasses.replace(play.domain, engine=caller), disks, query)
            ended = time.monotonic()
            vm.until_thawed()
            assert time.monotonic() - ended < SILENCE_SECONDS + SLACK_SECONDS
            assert len(found) == made
            goes_on(vm, disks)
    assert thaws(log) == ["nothing_comes"] * 2
    stop(domains, vm, disks)
    domains.machines.delete(*disks)


def test_a_guest_with_a_disk_elsewhere_stays_frozen(domains: Domains, tmp_path: Path) -> None:
    """T89: a disk on an image domain is plugged, which Engine snapshots later and thaws after:
    ours being taken thaws nothing before Engine's own window is over."""
    play = domains.machines.play
    disks = [flows.create_disk(play.domain, 1)]
    vm = working(domains, disks)
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    with domains.agent(play.host1, thaw_mixed=str(WINDOW_SECONDS)) as log:
        vm.plug_file(image, "vdz")
        frozen = time.monotonic()  # the agent may know of it before we do
        vm.freeze()
        snapshots(play.domain, disks)
        vm.until_thawed()
        assert WINDOW_SECONDS < time.monotonic() - frozen < WINDOW_SECONDS + SLACK_SECONDS
        goes_on(vm, disks)
    assert thaws(log) == ["window_over"]
    stop(domains, vm, disks)
    domains.machines.delete(*disks)


def working(domains: Domains, disks: Sequence[Disk]) -> Domain:
    """Run a VM that works on a file system on each of its disks."""
    machines = domains.machines
    host = machines.play.host1
    vm = domains.start(host, *disks)
    for disk in disks:
        machines.make_file_system(host, disk)
        vm.run(f"mounted {serial(disk)}")
        vm.run(f"churn {serial(disk)} {serial(disk)} &")
    goes_on(vm, disks)
    assert vm.freeze_status() == THAWED
    return vm


def goes_on(vm: Domain, disks: Sequence[Disk]) -> None:
    """Check that the VM works on each of its file systems."""
    for disk in disks:
        vm.further("churn", serial(disk), 2)
    assert vm.troubles() == []


def snapshots(domain: flows.Domain, disks: Sequence[Disk]) -> list[str]:
    """Take a snapshot of each disk as Engine does for one action."""
    action = dataclasses.replace(domain, correlation_id=str(uuid.uuid4()))
    return [flows.create_snapshot(action, disk) for disk in disks]


def refused(domains: Domains, domain: flows.Domain, disks: Sequence[Disk], query: str) -> list[str]:
    """Have StorPool refuse this call for the last disk (a group's is that for all), by which Engine
    is not held up; return the snapshots that were made."""
    action = dataclasses.replace(domain, correlation_id=str(uuid.uuid4()))
    made = []
    for disk in disks:
        if query == GROUP or disk is disks[-1]:
            domains.machines.play.cluster.inject("error_200", query=query, name="invalidParam")
        with contextlib.suppress(engine.VerbFailed):
            made.append(flows.create_snapshot(action, disk))
    domains.machines.play.cluster.clear_faults()
    return made


def thaws(log: Path) -> list[str]:
    """Return why the agent thawed guests, by its log."""
    return re.findall(r" guest_thawed .*why=(\S+)", log.read_text())


def stop(domains: Domains, vm: Domain, disks: Sequence[Disk]) -> None:
    """Have the guest end, and let Engine see it."""
    for disk in disks:
        vm.run(f"halt {serial(disk)}")
        vm.until("ended", serial(disk))
    vm.stop()
    flows.stop_vm(domains.machines.play.domain, *disks)


def preview(domain: flows.Domain, disks: Sequence[Disk], taken: Sequence[str]) -> None:
    """Preview the snapshots of one action."""
    for disk, snapshot in zip(disks, taken):
        flows.preview(domain, disk, snapshot)


def undo(domain: flows.Domain, disks: Sequence[Disk]) -> None:
    """Go back to what was before the preview."""
    for disk in disks:
        flows.undo_preview(domain, disk)


def in_order(domains: Domains, disk: Disk) -> bool:
    """Tell whether a file system was left in order: without an entry in its journal that has to be
    carried out."""
    code, said = domains.machines.check(disk)
    return code == 0 and "journal" not in said
