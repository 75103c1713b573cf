"""An unplug: a disk has left a VM that goes on, and says nothing of it any more."""

from __future__ import annotations

from storpool_ovirt.cluster import api, attachments, held, vm_tags
from storpool_ovirt.host import vm_disks, vm_policy


def untag(
    client: api.Client,
    host: attachments.HostSide,
    disks: vm_disks.Pairs,
    openstack_prefix: str,
    tag: vm_tags.Tag,
) -> None:
    """Take the tag off what names this VM, and what that VM says of its class and its policy,
    where this host has it, and no other one.

    Another one may have a VM of its own on it, and who asks is to be believed nothing that could
    take a disk out of that VM's snapshots: what names another VM is left. What names none may say
    something of this one all the same: its tag had no room, or the host has no key for it. Vdsm
    asks before Engine has the disk detached here: what nobody has is a disk of a VM that is down,
    anywhere, whose backups are nothing to an unplug. Raises what `vm_disks.candidates` raises; what
    cannot be written is a line of the log.
    """
    if tag == vm_tags.NONE:
        return
    wished = vm_policy.Wish(tag)
    found = [
        each
        for each in vm_disks.candidates(client, disks, openstack_prefix)
        if each.proved
        and each.there.tags.get(tag.key, "") in ("", tag.vm)
        and vm_policy.may_differ(wished, each.there, is_its=False)
    ]
    targets = [each.target for each in found]
    now = held.Held(targets, client.attachments() if targets else ())
    left = [
        each.there
        for each in found
        if {one.client_id for one in now.of(each.target)} == {host.client_id}
    ]
    vm_policy.silent_follow(client, host, wished, not_its=left)
