"""A copy in another location becomes a disk here: it is fetched as a snapshot, and a disk that
oVirt has made for it, or is about to make, gets a volume that stands on that.

The copy stays where it is, and can be restored once more. The snapshot here goes when the disk has
its volume: StorPool keeps the data for that.
"""

from __future__ import annotations

from collections.abc import Callable

from storpool_ovirt import errors, names
from storpool_ovirt.admin import backup, policy_domains, trash_restore
from storpool_ovirt.cluster import api, remote
from storpool_ovirt.deadline import polls
from storpool_ovirt.engine import backups, copies, copies_seen, tree
from storpool_ovirt.engine.copies import Copy


def restore(
    work: tree.Work,
    given: str,
    into: str,
    *,
    from_remote: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Give the disk `into` the data of a copy, and return what was done, line by line; repeated it
    is a success that changes nothing.

    `given` is the copy's global id. Not `from_remote`: only a copy that is here already. The disk
    is looked at before the copy is fetched, and again when it is here. Raises NotFound, Conflict,
    InUse, Foreign with the reason where it cannot be.
    """
    disk = names.uuid(into, "--into")
    row = _row(work, given)
    work = policy_domains.within(work, {disk: row.template or None})
    work.client.be_current()
    said = f"copy ~{row.remote_id} of disk {row.disk} in {row.location}"
    there = _here(work, row)
    if there is None:
        if trash_restore.is_done(work, disk, str(row.remote_id)):
            return trash_restore.has_already(disk, said)
        if not from_remote:
            raise errors.Conflict(
                f"copy ~{row.remote_id}",
                f"is in location {row.location} and not here",
                "give --from-remote to have it fetched",
            )
    # It takes hours until the data are here: who has named a wrong disk hears it now
    trash_restore.check_target(work, disk, row.size_bytes, str(row.remote_id))
    if there is None:
        there = backups.fetch(work, row, _template(work, row))
        told(f"fetching ~{row.remote_id} from {row.location}")
    _wait(work, row)
    source = trash_restore.Source(there, {}, _template(work, row) or "", said)
    lines = trash_restore.give(work, source, disk)
    backups.drop_fetched(work, there)
    return lines


def remote_id(given: str) -> str:
    """Return the global id that was given for a copy; raise InputError where it is none."""
    found = given.strip().lstrip("~")
    if not names.GLOBAL_ID.fits(found):
        raise errors.InputError(
            "COPY",
            f"is no global id ({names.shown(given)})",
            "storpool-ovirt backup list has those of all copies, like ~bgu4.n.a1z",
        )
    return found


def _row(work: tree.Work, given: str) -> Copy:
    """Return the row of a copy; one that only its location knows is taken into the table first."""
    wanted = remote_id(given)
    row = copies.of_remote(work.mapping, wanted)
    if row is None:
        backup.look(work)
        row = copies.of_remote(work.mapping, wanted)
    if row is None:
        raise errors.NotFound("copy", f"~{wanted}", "of ours: storpool-ovirt backup list")
    return row


def _here(work: tree.Work, row: Copy) -> api.Volume | None:
    """Return the snapshot of a copy that was fetched already; raise Foreign for what has its id and
    is another owner's."""
    try:
        there = work.client.snapshot(names.address(str(row.remote_id)))
    except errors.NotFound:
        return None
    if there.dying:
        return None
    if not backups.is_fetched(work, there):
        raise errors.Foreign(
            f"snapshot {there.name} (~{there.global_id})",
            "was fetched by somebody else",
            "it is left alone; delete it with the StorPool CLI if nobody needs it",
        )
    return there


def _template(work: tree.Work, row: Copy) -> str | None:
    """Return the template of the volume that was copied, if there is one of that name still, else
    the domain's."""
    known = {each.name for each in work.client.templates()}
    return row.template if row.template in known else work.domain.template


def _wait(work: tree.Work, row: Copy) -> None:
    """Wait until all data of a copy are here; raise Conflict where it was given up on its way,
    DeadlineExceeded when the command's time is over first."""
    deadline = work.mapping.session.deadline
    limit = deadline.within(max(0.0, deadline.remaining() - copies_seen.TELL_SECONDS))
    for _ in polls(limit, work.sleep, copies_seen.POLL_SECONDS, copies_seen.LONGEST_POLL_SECONDS):
        try:
            if not remote.is_recovering(work.client, str(row.remote_id)):
                return
        except errors.NotFound:
            raise errors.Conflict(
                f"copy ~{row.remote_id}",
                f"was given up on its way from {row.location}",
                "see that the bridge between the locations works, and run it again",
            ) from None
    raise errors.DeadlineExceeded(f"the data of copy ~{row.remote_id}", deadline.seconds)
