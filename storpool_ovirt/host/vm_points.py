"""What is done at each point of Vdsm's for the StorPool disks of a VM, by whoever may use the
host's token.

`before_vm_start` and `before_disk_hotplug` make this host the only one that has them;
`before_vm_migrate_source` only looks. At no other point may anything be taken from another host,
and by force from one that is up at a start alone. `after_disk_hotunplug` takes the VM's tag off a
disk that it has no more: nothing depends on it, so it fails nobody.
"""

from __future__ import annotations

import time

from storpool_ovirt import config, names, storpool_conf
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import domain_xml
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from typing import Callable

    from storpool_ovirt.cluster import api, attachments, vm_tags
    from storpool_ovirt.host import takeover, vm_disks


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


def act(work: Work, disks: vm_disks.Pairs, host: config.HostSettings) -> None:
    """Do what is to be done at a point for these disks, each with its global id, with the host's
    own settings.

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
    point.act(client, side, disks, host)


def _take(
    client: api.Client,
    side: attachments.HostSide,
    disks: vm_disks.Pairs,
    host: config.HostSettings,
) -> None:
    from storpool_ovirt.host import takeover

    _tell(side, takeover.take(client, side, disks, host.openstack_prefix, _tag(side, host)))


def _plug(
    client: api.Client,
    side: attachments.HostSide,
    disks: vm_disks.Pairs,
    host: config.HostSettings,
) -> None:
    from storpool_ovirt.host import plug

    _tell(side, plug.take(client, side, disks, host.openstack_prefix, _tag(side, host)))


def _tag(side: attachments.HostSide, host: config.HostSettings) -> vm_tags.Tag:
    """Return the tag that names the VM of this moment, which is that of the log's lines."""
    from storpool_ovirt.cluster import vm_tags

    if not host.vm_tag:
        side.log.line("vm_tag_unusable", key=storpool_conf.VM_TAG_KEY)
    vm = side.log.correlation_id
    return vm_tags.Tag(host.vm_tag, vm) if host.vm_tag and names.UUID.fits(vm) else vm_tags.NONE


def _tell(side: attachments.HostSide, taken: takeover.StartResult) -> None:
    side.log.line(
        "disks_alone",
        disks=",".join(each.global_id for each in taken.targets) or "-",
        client=side.client_id,
        left_alone=",".join(taken.left_alone) or "-",
    )


def _look(
    client: api.Client,
    side: attachments.HostSide,
    disks: vm_disks.Pairs,
    _host: config.HostSettings,
) -> None:
    from storpool_ovirt.host import vm_disks

    vm_disks.check_held(client, side.client_id, disks)


def _unplug(
    client: api.Client,
    side: attachments.HostSide,
    disks: vm_disks.Pairs,
    host: config.HostSettings,
) -> None:
    from storpool_ovirt.host import unplug

    unplug.untag(client, side, disks, host.openstack_prefix, _tag(side, host))


class Point(NamedTuple):
    """What Vdsm hands over at a point, as the root of its XML, and what is done there.

    `refuses`: Vdsm must not go on where it was not done.
    """

    root: str
    act: Callable[[api.Client, attachments.HostSide, vm_disks.Pairs, config.HostSettings], None]
    refuses: bool = True


POINTS = {
    "before_vm_start": Point(domain_xml.DOMAIN, _take),
    "before_disk_hotplug": Point(domain_xml.DISK, _plug),
    "before_vm_migrate_source": Point(domain_xml.DOMAIN, _look),
    "after_disk_hotunplug": Point(domain_xml.DISK, _unplug, refuses=False),
}
