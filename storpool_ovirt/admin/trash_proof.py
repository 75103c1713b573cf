"""What is asked before anything is made of the trash or taken out of it: whose the object of an
entry is, whether it is gone, whether this is its cluster. Everything is read as of now."""

from __future__ import annotations

from storpool_ovirt import errors, names, trash_names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import candidates, mapping, ownership, trash, tree


def said(entry: trash.Entry) -> str:
    """Return how an entry is named to people."""
    return f"{entry.kind} {entry.node} of disk {entry.disk}, entry {entry.entry}"


def proved(work: tree.Work, entry: trash.Entry) -> api.Volume:
    """Return the snapshot of an entry: it has the global id of the row, the name of the entry, and
    our tags, all of them.

    Raises NotFound when there is none any more, Foreign when it is another owner's or was changed
    by hand, WrongCluster when it lives elsewhere, or may.
    """
    address = names.address(entry.global_id)
    work.client.check_cluster(entry.global_id, said(entry))
    try:
        there = volumes.read(work.client, "snapshot", address)
    except errors.NotFound:
        _check_is_its_cluster(work, entry)
        raise
    if there.dying:
        raise errors.NotFound("snapshot", address, "any more: StorPool is about to drop it")
    _check(work, entry, there)
    return there


def changed(entry: trash.Entry, there: api.Volume, location: str) -> list[str]:
    """Return what somebody changed of the snapshot of an entry: its name, and which of its tags."""
    wanted = names.tags(entry.node, location, entry.disk)
    found = [f"tag {key}" for key in names.differing(wanted, there.tags)]
    found += [] if trash_names.TAG in there.tags else [f"tag {trash_names.TAG}"]
    return found + (["name"] if there.name != trash_names.name(entry.entry) else [])


def is_marked(thing: api.Volume) -> bool:
    """Return whether a snapshot says of itself that it is in the trash of some Engine."""
    if thing.kind != "snapshot" or thing.tags.get(names.TAG_PLATFORM) != names.PLATFORM:
        return False
    return trash_names.TAG in thing.tags or trash_names.entry_of(thing.name) is not None


def is_own(thing: api.Volume, location: str) -> bool:
    """Return whether a snapshot says of itself that it is in the trash of the Engine of this
    location."""
    uuid = thing.tags.get(names.TAG_UUID, "")
    return is_marked(thing) and names.is_ours(thing.tags, uuid, location)


def _check(work: tree.Work, entry: trash.Entry, there: api.Volume) -> None:
    location = work.mapping.location
    odd = changed(entry, there, location)
    if there.global_id == entry.global_id and not odd:
        return
    other = candidates.owner(there, location)
    raise errors.Foreign(
        candidates.said(there),
        f"is not what {said(entry)}, was: {', '.join(odd) or 'its global id'} changed",
        f"it belongs to {other} and is left alone"
        if other
        else f"it is left alone; give it the name {trash_names.name(entry.entry)} and the tags"
        f" {_tags(entry, location)} with the StorPool CLI, if it is that",
    )


def _tags(entry: trash.Entry, location: str) -> str:
    wanted = {
        **names.tags(entry.node, location, entry.disk),
        trash_names.TAG: str(int(entry.ends_at)),
    }
    return ", ".join(f"{key}={value}" for key, value in wanted.items())


def _check_is_its_cluster(work: tree.Work, entry: trash.Entry) -> None:
    """Raise WrongCluster unless it is the entry's own cluster that does not have its snapshot."""
    node = mapping.Node(
        uuid=entry.node,
        kind="snapshot",
        root=entry.disk,
        source=None,
        size_bytes=entry.size_bytes,
        state=mapping.LIVE,
        global_id=entry.global_id,
    )
    ownership.check_is_its_cluster(work, node)
