"""An administrator's word that a disk is shareable, or is not: which volume is meant, whose it is,
what was done."""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, sharing
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, journal, mapping
from storpool_ovirt.log import Log

CORRELATION_ID = "shareable"


class VolumeIds(NamedTuple):
    """oVirt's id of a volume, and its global id where the mapping knows it."""

    uuid: str
    global_id: str | None


def active(address: database_url.Database, deadline: Deadline, uuid: str) -> VolumeIds:
    """Return which volume a disk has now, by the mapping; the id itself where that does not know
    it.

    Raises NotFound for what is being deleted, and Conflict for a snapshot, which nobody writes.
    """
    with mapping.opened(
        address, deadline, journal.Caller(CORRELATION_ID, CORRELATION_ID), make=False
    ) as opened:
        node = opened.node(uuid)
        if node is not None and node.uuid == node.root and node.active not in (None, uuid):
            node = opened.node(str(node.active))
    if node is None:
        return VolumeIds(uuid, None)
    if node.kind != "volume":
        raise errors.Conflict(f"{node.kind} {uuid}", "is nothing that a VM writes", "name the disk")
    if node.state != mapping.LIVE:
        raise errors.NotFound("volume", node.uuid, "any more, or not yet")
    return VolumeIds(node.uuid, node.global_id)


def found(client: api.Client, meant: VolumeIds, openstack_prefix: str) -> api.Volume:
    """Return the volume that is meant, if it is oVirt's under this id; raise NotFound, Foreign."""
    client.be_current()
    wanted = [names.object_name(meant.uuid), names.cinder_name(meant.uuid, openstack_prefix)]
    there = None
    for address in [names.address(meant.global_id)] if meant.global_id else wanted:
        try:
            there = client.volume(address)
        except errors.NotFound:
            continue
        break
    if there is None:
        raise errors.NotFound(
            "volume of oVirt's disk", meant.uuid, f"in the StorPool cluster at {client.address}"
        )
    owner = names.ovirt_id(there.name, there.tags, openstack_prefix)
    if owner != meant.uuid:
        whose = f"is {owner}'s by its tags" if owner else "is another owner's by its tags"
        raise errors.Foreign(f"volume {there.name} (~{there.global_id})", whose, "it is left alone")
    return there


def mark(client: api.Client, there: api.Volume, disk: str, log: Log, dry_run: bool) -> str:
    """Mark it, and return what was done; `dry_run`: what would be. Raises what `sharing.mark`
    raises."""
    if dry_run and not names.is_shared(there.tags):
        names.check_length(there.name, {**there.tags, names.TAG_SHARED: names.SHARED})
        return f"disk {disk} would be marked as shareable"
    if not dry_run and sharing.mark(client, there, log):
        return f"disk {disk} is marked as shareable now: a plug leaves it to the hosts that have it"
    return f"disk {disk} was marked as shareable already, so nothing {_is_changed(dry_run)}"


def unmark(client: api.Client, there: api.Volume, disk: str, log: Log, dry_run: bool) -> str:
    """Take the mark away, and return what was done, `dry_run`: what would be; raise Conflict while
    several clients have the volume attached.

    One that attaches it meanwhile, by the mark, is seen in the end: then it is told, as two VMs may
    write.
    """
    if not names.is_shared(there.tags):
        return f"disk {disk} was not marked as shareable, so nothing {_is_changed(dry_run)}"
    _check_one(client, there, "is marked as shareable still")
    if dry_run:
        return f"the mark of disk {disk} as shareable would be taken away"
    sharing.unmark(client, there, log)
    _check_one(client, there, "has no mark any more")
    return (
        f"disk {disk} is not marked as shareable any more: a plug takes it, or is refused where it"
        " is open elsewhere"
    )


def _is_changed(dry_run: bool) -> str:
    return "would be changed" if dry_run else "was changed"


def _check_one(client: api.Client, there: api.Volume, state: str) -> None:
    clients = sorted(
        {each.client_id for each in client.attachments() if each.is_of(there.global_id, there.name)}
    )
    if len(clients) > 1:
        raise errors.Conflict(
            f"volume {there.name} (~{there.global_id})",
            f"is attached to {', '.join(f'client {each}' for each in clients)}, and {state}",
            "stop or unplug all VMs but one, then try again",
        )
