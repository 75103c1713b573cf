"""What the steps of random lives of VMs share: what there is to choose from, and the parts of a
start."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from vm_lives_site import JOIN_SECONDS

from ovirt_demo import flows, vdsm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vm_lives import Life, Vm
    from vm_lives_site import LiveHost

_T = TypeVar("_T")

HOOK_QUERIES = (
    "Volume",
    "ClientsConfigDump",
    "AttachmentsList",
    "VolumesReassignWait",
    "AttachmentsList",
)
FAULTS = ("transient", "reset_before", "reset_after", "bad_gateway", "error_200")


def choose(things: Sequence[_T], number: int) -> _T:
    """Return the n-th of these, counted round and round."""
    return things[number % len(things)]


def attach_all(life: Life, vm: Vm, host: LiveHost) -> list[dict[str, Any]] | None:
    """Do Engine's part of a start; None when Vdsm refuses it: what was attached by then stays, or
    not."""
    if any(
        each.host is host and each.what != "detach" and not each.clock.dead for each in life.frozen
    ):
        return None
    try:
        return flows.run_vm(life.domain, host, *vm.disks)
    except vdsm.VdsmError as error:
        life.counts[f"attach refused: {error.code}"] += 1
        process_down(life, vm)
        return None


def late_start(
    life: Life, vm: Vm, host: LiveHost, devices: Sequence[dict[str, Any]], pause: Callable[[], None]
) -> None:
    """Vdsm's part of a start that Engine may not wait for; a VM that it finds running is its VM."""
    qemu = life.start(vm, host, devices, pause)
    if qemu is None:
        return
    life.counts["late start ran"] += 1
    if vm.at is None and not host.lost:
        vm.at = host


def down(life: Life, number: int) -> Vm | None:
    """Choose a VM that Engine believes to be down."""
    found = [vm for vm in life.vms if vm.at is None]
    return choose(found, number) if found else None


def is_frozen(life: Life, host: LiveHost) -> bool:
    """Tell whether anything on this host is frozen."""
    return any(each.host is host for each in life.frozen)


def is_destination(life: Life, host: LiveHost) -> bool:
    """Tell whether a migration is on its way to this host."""
    return any(vm.moving is not None and vm.moving.destination is host for vm in life.vms)


def process_down(life: Life, vm: Vm) -> None:
    """Do what Engine does when a VM has ended."""
    with life.engine("ProcessDown"):
        flows.stop_vm(life.domain, *vm.disks)


@contextlib.contextmanager
def trouble(life: Life, how: int) -> Iterator[None]:
    """Have a fault wait for the hook's calls; none is left afterwards."""
    kind = choose((None, None, None, *FAULTS, "refuse"), how)
    if kind == "refuse" and life.frozen:
        kind = None  # its end would wake up what is frozen
    if kind == "refuse":
        life.site.simulator.faults.add("refuse", seconds=JOIN_SECONDS)
    elif kind is not None and life.hooked:
        query = choose(HOOK_QUERIES, how // 3)
        life.site.simulator.faults.add(kind, query=query, times=1 + how % 3)
    if kind is not None:
        life.counts[f"fault: {kind}"] += 1
    try:
        yield
    finally:
        life.site.simulator.faults.forget()
        if kind == "refuse":
            life.site.simulator.faults.clear()


def check_alone(life: Life, vm: Vm, host: LiveHost) -> None:
    """T53, T55: what runs has its disks alone, by the cluster's own list."""
    if not life.hooked:
        return
    attached = life.site.attached()
    for disk in vm.disks:
        volume = life.volume(disk)
        if not volume.shareable:
            assert {number for global_id, number in attached if global_id == volume.global_id} == {
                host.number
            }
