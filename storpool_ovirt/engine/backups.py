"""Copies in another location: made at one moment of several volumes, given up, fetched.

The call that makes them answers before their data are over there. From its answer on StorPool goes
on by itself: a snapshot here, the base, holds the data until they are there, whatever becomes of
the volume; a bridge that is cut meanwhile holds the copy up. What became of it is told by a look
(`copies_seen.py`). Bases are StorPool's: nothing here deletes one.
"""

from __future__ import annotations

from storpool_ovirt import copy_names, errors, names
from storpool_ovirt.cluster import api, remote
from storpool_ovirt.engine import copies, copies_seen, mapping, tree
from storpool_ovirt.engine.copies import BEGUN, GIVEN_UP, SENT, Copy
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple, suppress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storpool_ovirt.option_values import CopyTo

# After an answer that was lost: look, then try again. The deadline ends it earlier.
ATTEMPTS = 5
# How long a location is to keep what we give up: in this time its administrators can still take it
# back. One with a longer delay of its own keeps that.
GIVE_UP_SECONDS = 3600


class Group(NamedTuple):
    """Volumes that are to be copied at one moment, with the rows and the tags of their copies."""

    rows: tuple[Copy, ...]
    volumes: tuple[api.Volume, ...]
    tags: Mapping[str, str]


def planned(
    work: tree.Work,
    members: Sequence[tuple[mapping.Node, api.Volume]],
    to: CopyTo,
    reason: str,
    vm: str = "",
) -> Group:
    """Return what is to be copied; nothing is written or sent yet.

    Raises InputError where the tags do not fit.
    """
    copy = names.random_uuid()
    rows = tuple(
        Copy(
            copy=copy,
            disk=node.root,
            node=node.uuid,
            name=there.name,
            volume=there.global_id,
            size_bytes=there.size_bytes,
            template=there.template,
            location=to.location,
            remote_id=None,
            base_id=None,
            reason=reason,
            vm=vm or None,
            state=BEGUN,
            made_at=0.0,
            goes_at=0.0,
            correlation_id=work.mapping.journal.caller.correlation_id,
        )
        for node, there in members
    )
    return Group(rows, tuple(there for _, there in members), _tags(work, rows, to))


def again(work: tree.Work, group: Group, rows: Sequence[Copy], to: CopyTo) -> Group:
    """Return the same as copies that an earlier process has asked for, or may have."""
    by_node = {row.node: row for row in rows}
    rows = tuple(by_node[row.node] for row in group.rows)
    return group._replace(rows=rows, tags=_tags(work, rows, to))


def send(work: tree.Work, group: Group, *, is_new: bool = True) -> list[Copy]:
    """Have the copies of a group begun, once, and write which they are; return their rows.

    The rows are written already. Not `is_new`: an earlier process may have asked for them, so they
    are looked for first. Where a copy was found by its base alone its own id stays unknown for now.
    """
    for attempt in range(ATTEMPTS):
        found = None if is_new and attempt == 0 else copies_seen.found_again(work, group.rows)
        try:
            sent = found or _sent(work, group)
        except errors.ApiUnavailable as error:
            if not error.ambiguous or attempt == ATTEMPTS - 1:
                raise
            work.client.pause(attempt)
        else:
            work.mapping.write(copies.changed(sent))
            for row in sent:
                work.log.line(
                    "copy_begun",
                    volume=row.node,
                    disk=row.disk,
                    location=row.location,
                    copy=row.copy,
                    global_id=row.remote_id,
                )
            return copies.of(work.mapping, sent[0].copy)
    raise AssertionError("unreachable: the last attempt returns or raises")


def give_up(work: tree.Work, row: Copy, seconds: int = GIVE_UP_SECONDS) -> Copy:
    """Have a location delete a copy of ours after so long, and return its row with the date that is
    set there; 0 where the location did not say so.

    The copy is not ours from then on: it cannot be fetched any more. Raises Conflict where the
    location has ignored the time, ApiUnavailable or Rejected where nobody can look.
    """
    remote_id = _remote_id(row)
    gone = row._replace(state=GIVEN_UP, goes_at=0.0)
    work.mapping.write(copies.changed([gone]))
    with suppress(errors.NotFound):  # it was given up by an earlier try, or is gone
        ask_to_delete(work, row, seconds)
    work.log.line("copy_given_up", global_id=remote_id, disk=row.disk, location=row.location)
    try:
        goes_at = remote.state(work.client, row.location, remote_id).goes_at
    except errors.NotFound:
        work.mapping.write(copies.forgotten([row]))
        return gone
    if not goes_at:
        raise errors.Conflict(
            f"location {row.location}",
            f"ignores dates: it was told to delete copy ~{remote_id}, and keeps it for ever",
            "delete it there by hand; dates are kept where the bridge to us is registered with a"
            " minimumDeleteDelay and deferred deletion is on",
        )
    gone = gone._replace(goes_at=goes_at)
    work.mapping.write(copies.changed([gone]))
    return gone


def ask_to_delete(work: tree.Work, row: Copy, seconds: int = GIVE_UP_SECONDS) -> None:
    """Tell a location to delete a copy of ours after so long; raise NotFound where it has none for
    us."""
    remote.give_up(work.client, row.location, _remote_id(row), seconds)


def fetch(work: tree.Work, row: Copy, template: str | None) -> api.Volume:
    """Have a copy here as a snapshot, or take the one that is, and return it.

    Its data may still be coming. Raises NotFound where its location has none for us.
    """
    remote_id = _remote_id(row)
    tags = copy_names.tags(row.copy, work.mapping.location, row.disk, {})
    wanted = remote.Fetch(row.location, remote_id, copy_names.name(remote_id), tags, template)
    if remote.fetch(work.client, wanted):
        work.log.line("copy_fetched", global_id=remote_id, disk=row.disk, location=row.location)
    return work.client.snapshot(names.address(remote_id))


def drop_fetched(work: tree.Work, there: api.Volume) -> None:
    """Delete a copy that was fetched: what was made of it keeps its data. One that has not our name
    and tags is left alone."""
    if is_fetched(work, there):
        with suppress(errors.NotFound):
            work.client.snapshot_delete(names.address(there.global_id))


def is_fetched(work: tree.Work, there: api.Volume) -> bool:
    """Return whether a snapshot here is a copy that this Engine has fetched."""
    return (
        there.name == copy_names.name(there.global_id)
        and there.tags.get(names.TAG_LOCATION) == work.mapping.location
        and copy_names.TAG in there.tags
    )


def _tags(work: tree.Work, rows: Sequence[Copy], to: CopyTo) -> dict[str, str]:
    """Return the tags of the copies of one moment, with the disk where all are of one."""
    disks = {row.disk for row in rows}
    disk = disks.pop() if len(disks) == 1 else None
    return copy_names.tags(rows[0].copy, work.mapping.location, disk, dict(to.tags))


def _remote_id(row: Copy) -> str:
    if row.remote_id is None:
        raise errors.Conflict(
            f"the copy of volume {row.node} in location {row.location}",
            "is not known by its id yet",
            "storpool-ovirt backup list looks for it; try again after that",
        )
    return row.remote_id


def _sent(work: tree.Work, group: Group) -> list[Copy]:
    made = remote.backup(work.client, group.volumes, group.rows[0].location, group.tags)
    return [
        row._replace(remote_id=each.remote_id, base_id=each.base_id, state=SENT)
        for row, each in zip(group.rows, made)
    ]
