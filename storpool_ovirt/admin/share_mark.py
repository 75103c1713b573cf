"""An administrator's word that a disk is shareable, or is not: which volume is meant, whose it is,
what was done."""

from __future__ import annotations

from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, identity, sharing
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, journal, mapping, reverts
from storpool_ovirt.log import Log

CORRELATION_ID = "shareable"


class VolumeIds(NamedTuple):
    """oVirt's id of a volume, and what the mapping knows of it, if anything."""

    uuid: str
    known: identity.Known | None


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
        known = reverts.known(node, opened.location) if node is not None else None
    if node is None:
        return VolumeIds(uuid, None)
    if node.kind != "volume":
        raise errors.Conflict(f"{node.kind} {uuid}", "is nothing that a VM writes", "name the disk")
    if node.state != mapping.LIVE:
        raise errors.NotFound("volume", node.uuid, "any more, or not yet")
    return VolumeIds(node.uuid, known)


def found(client: api.Client, meant: VolumeIds, openstack_prefix: str) -> api.Volume:
    """Return the volume that is meant, if it is oVirt's under this id; raise NotFound, Foreign,
    Conflict."""
    client.be_current()
    try:
        there = (
            identity.find(client, meant.known)
            if meant.known is not None
            else _named(client, meant.uuid, openstack_prefix)
        )
    except errors.NotFound as error:
        raise errors.NotFound(
            "volume of oVirt's disk", meant.uuid, f"in the StorPool cluster at {client.address}"
        ) from error
    owner = names.ovirt_id(there.name, there.tags, openstack_prefix)
    if owner != meant.uuid:
        whose = f"is {owner}'s by its tags" if owner else "is another owner's by its tags"
        raise errors.Foreign(f"volume {there.name} (~{there.global_id})", whose, "it is left alone")
    return there


def mark(client: api.Client, there: api.Volume, disk: str, log: Log, dry_run: bool) -> str:
    """Mark it, and return what was done; `dry_run`: what would be. Raises what `sharing.mark`
    raises."""
    if dry_run and not names.is_shared(there.tags):
        names.fitted(there.name, {**there.tags, names.TAG_SHARED: names.SHARED})
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


def _named(client: api.Client, uuid: str, openstack_prefix: str) -> api.Volume:
    try:
        return client.volume(names.object_name(uuid))
    except errors.NotFound:
        return client.volume(names.cinder_name(uuid, openstack_prefix))


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
