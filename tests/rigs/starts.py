"""Starts of VMs in this process: volumes that are attached, a host with a clock of its own, and
what happens meanwhile."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

from rigs.clock import Clock
from rigs.core_fixtures import GIB, Core
from storpool_ovirt import names
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import domain_xml
from storpool_ovirt.limits import LIMITS

UUIDS = [f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "123456"]


SD = "0" * 8 + "-0000-4000-8000-" + "0" * 12


def made(core: Core, uuid: str, *clients: int) -> attachments.Target:
    """Make a volume of oVirt's and attach it."""
    name = names.object_name(uuid)
    plan = Plan(Owner(name, names.tags(uuid, "loc", uuid)), GIB)
    target = attachments.Target(volumes.create(core.client(), plan), name)
    for client_id in clients:
        attachments.attach(core.client(), core.host(client_id), target, "rw")
    return target


def attached(core: Core) -> set[tuple[str, int]]:
    """What StorPool lists: global id and client."""
    return {(str(each.global_id), each.client_id) for each in core.client().attachments()}


def disk(
    target: attachments.Target, uuid: str | None = None, **facts: Any
) -> tuple[str, domain_xml.Disk]:
    """Return a disk of a VM: by its run link where oVirt's id for it is given, else by its global
    id."""
    path = f"{names.RUN_FOLDER}/{SD}_{uuid}" if uuid else names.device_path(target.global_id)
    return target.global_id, domain_xml.Disk(path, **facts)


def side(core: Core, clock: Clock) -> attachments.HostSide:
    """Host 2 with that clock."""
    return dataclasses.replace(core.host(2), deadline=Deadline(30, clock), sleep=clock.sleep)


def brief(core: Core, **limits: float) -> api.Client:
    """Return a client that has StorPool wait for others for a second only."""
    given = {"attach_timeout_seconds": 1, **limits}
    return api.Client(core.settings(), Deadline(30), limits=LIMITS._replace(**given))


def unanswered(core: Core, meanwhile: Callable[[], None] = lambda: None) -> api.Client:
    """Return a client whose next attach or detach takes effect and is not answered; something
    happens before its next request, which is how it looks."""
    core.simulator.faults.add("reset_after", query="VolumesReassignWait")
    due = [meanwhile]

    def before(_call: object) -> None:
        if due and not core.simulator.faults.waiting():
            due.pop()()

    core.simulator.calls.watch(before)
    return brief(core)


def bare(core: Core, name: str, tags: dict[str, str], *clients: int) -> attachments.Target:
    """Make a volume with this name and these tags, and attach it."""
    target = attachments.Target(volumes.create(core.client(), Plan(Owner(name, tags), GIB)), name)
    for client_id in clients:
        attachments.attach(core.client(), core.host(client_id), target, "rw")
    return target
