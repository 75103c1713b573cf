"""What is done at each point of Vdsm's for the StorPool disks of a VM, by whoever may use the
host's token.

`before_vm_start` and `before_disk_hotplug` make this host the only one that has them;
`before_vm_migrate_source` only looks. At no other point may anything be taken from another host,
and by force from one that is up at a start alone. `after_disk_hotunplug` takes off a disk what it
says of a VM that has it no more: nothing depends on it, so it fails nobody.
"""

from __future__ import annotations

import time

from storpool_ovirt import config
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import domain_xml
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Callable

    from storpool_ovirt.cluster import api, attachments
    from storpool_ovirt.host import takeover, vm_disks, vm_policy


# What a limit is waited for at any point.
ALONE = "the disks to be this host's alone"


class Work(NamedTuple):
    """What a program works with at a point of Vdsm's: which one it is, where, and how long.

    `root` is the folder that stands for the host's `/`.
    """

    point: str
    root: str
    deadline: Deadline
    log: Log
    limits: Limits = LIMITS
    sleep: Callable[[float], None] = time.sleep


class Means(NamedTuple):
    """By what something is done: the client for StorPool, this host in it, and its own settings."""

    client: api.Client
    side: attachments.HostSide
    host: config.HostSettings


def act(
    work: Work,
    disks: vm_disks.Pairs,
    host: config.HostSettings,
    properties: Mapping[str, str] | None = None,
) -> None:
    """Do what is to be done at a point for these disks, each with its global id, with the host's
    own settings, and by what the VM's properties say (`vm_request.PROPERTIES`).

    Raises what `takeover` and `plug` raise: then Vdsm must not go on.
    """
    work.log.hide(host.api.token.reveal())

    from storpool_ovirt.cluster import api, attachments, vm_tags

    point = POINTS[work.point]
    # Where nothing depends on it Vdsm, which waits, is not held up.
    deadline = work.deadline if point.refuses else work.deadline.within(vm_tags.SECONDS)
    side = attachments.HostSide(
        host.client_id, work.root, deadline, work.log, work.sleep, limits=work.limits
    )
    client = api.Client(host.api, deadline, work.sleep, limits=work.limits)
    # Who has a disk and whose it is must be known as of now: who took it from us a moment ago may
    # run the VM.
    client.be_current()
    point.act(Means(client, side, host), disks, properties or {})


def _take(means: Means, disks: vm_disks.Pairs, properties: Mapping[str, str]) -> None:
    from storpool_ovirt.host import takeover

    client, side, host = means
    wished = _wish(means, properties)
    _tell(side, takeover.take(client, side, disks, host.openstack_prefix, wished))


def _plug(means: Means, disks: vm_disks.Pairs, properties: Mapping[str, str]) -> None:
    from storpool_ovirt.host import plug

    client, side, host = means
    wished = _wish(means, properties)
    _tell(side, plug.take(client, side, disks, host.openstack_prefix, wished))


def _wish(means: Means, properties: Mapping[str, str]) -> vm_policy.Wish:
    """Return what the VM of this moment, which is that of the log's lines, wishes."""
    from storpool_ovirt.host import vm_policy

    return vm_policy.wish(means.side.log, means.host, properties)


def _tell(side: attachments.HostSide, taken: takeover.StartResult) -> None:
    side.log.line(
        "disks_alone",
        disks=",".join(each.global_id for each in taken.targets) or "-",
        client=side.client_id,
        left_alone=",".join(taken.left_alone) or "-",
    )


def _look(means: Means, disks: vm_disks.Pairs, _properties: Mapping[str, str]) -> None:
    from storpool_ovirt.host import vm_disks

    vm_disks.check_held(means.client, means.side.client_id, disks)


def _unplug(means: Means, disks: vm_disks.Pairs, _properties: Mapping[str, str]) -> None:
    from storpool_ovirt.host import unplug

    client, side, host = means
    unplug.untag(client, side, disks, host.openstack_prefix, _wish(means, {}).tag)


class Point(NamedTuple):
    """What Vdsm hands over at a point, as the root of its XML, and what is done there.

    `refuses`: Vdsm must not go on where it was not done.
    """

    root: str
    act: Callable[[Means, vm_disks.Pairs, Mapping[str, str]], None]
    refuses: bool = True


POINTS = {
    "before_vm_start": Point(domain_xml.DOMAIN, _take),
    "before_disk_hotplug": Point(domain_xml.DISK, _plug),
    "before_vm_migrate_source": Point(domain_xml.DOMAIN, _look),
    "after_disk_hotunplug": Point(domain_xml.DISK, _unplug, refuses=False),
}
