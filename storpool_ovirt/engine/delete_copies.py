"""The copy of a disk in another location that its delete begins (`sp_backup_on_delete`).

Without it the disk is not deleted. From StorPool's answer on the copy is made, whatever becomes of
the disk: a snapshot that belongs to no disk holds its data here until they are there. So a delete
does not wait for them, which may take hours; what becomes of the copy is told by `storpool-ovirt
backup list` and by the audit, and the trash has the disk meanwhile.

A delete that died is repeated without a second copy, as long as nothing has taken it back: nobody
had the disk since.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.cluster import remote
from storpool_ovirt.engine import backups, copies, mapping, tree
from storpool_ovirt.engine.changes import Part
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine.copies import Copy
    from storpool_ovirt.option_values import CopyTo

# A copy that an earlier try has begun is taken for that of this one for so long.
FRESH_SECONDS = 3600.0


class DeleteCopy(NamedTuple):
    """What one delete copies; not `is_new` where an earlier try has asked for it, or may have."""

    group: backups.Group
    is_new: bool

    @property
    def copy(self) -> str:
        """The id of the copies' moment, for the journal."""
        return self.group.rows[0].copy

    @property
    def part(self) -> Part:
        """What writes the rows of the copies together with the intent to delete."""
        change = copies.written(self.group.rows)
        return Part("copied", change.sql, change.args)


def planned(
    work: tree.Work, to: CopyTo, members: Sequence[tuple[mapping.Node, api.Volume]]
) -> DeleteCopy | None:
    """Return what is copied before these volumes of a disk go; None where there are none."""
    if not members:
        return None
    earlier = copies.of_open_delete(work.mapping, members[0][0].root)
    rows = _same(work, earlier, members, to)
    group = backups.planned(work, members, to, copies.DELETED)
    if not rows:
        return DeleteCopy(group, is_new=True)
    return DeleteCopy(backups.again(work, group, rows, to), is_new=False)


def send(work: tree.Work, copied: DeleteCopy) -> None:
    """Have the copy begun; raise Conflict where StorPool says no, ApiUnavailable where nobody
    knows: the disk must not be deleted then."""
    group = copied.group
    if all(row.remote_id is not None for row in group.rows) and _is_alive(work, group.rows):
        return
    disk, location = group.rows[0].disk, group.rows[0].location
    try:
        backups.send(work, group, is_new=copied.is_new)
    except tree.REFUSALS as error:
        if not work.client.tally.unanswered:
            work.mapping.write(copies.forgotten(group.rows))
        raise _refused(work, disk, location, error) from error
    except errors.ApiUnavailable as error:
        raise errors.ApiUnavailable(
            error.address,
            error.call,
            f"{error.why}; disk {disk} was not deleted, as it has to be copied to location"
            f" {location} before (sp_backup_on_delete)",
            error.ambiguous,
        ) from error


def _refused(work: tree.Work, disk: str, location: str, error: errors.Error) -> errors.Conflict:
    """Return why a disk is not deleted whose copy StorPool refused, and what to do."""
    try:
        remote.check_location(work.client, location)
    except errors.NotFound as unknown:
        return errors.Conflict(
            f"disk {disk}",
            f"was not deleted, as it has to be copied before: {unknown}",
            "correct sp_backup_on_delete of the storage domain, or, where its options have none,"
            " SP_OVIRT_BACKUP_ON_DELETE in /etc/storpool.conf of Engine's machine; the word"
            " none deletes without a copy",
        )
    except (errors.Rejected, errors.ApiUnavailable):
        pass  # the first failure is told
    return errors.Conflict(
        f"disk {disk}",
        f"was not deleted, as it has to be copied to location {location} before, and StorPool"
        f" refused that: {error}",
        "mend that and delete it again; docs/backup.md tells more",
    )


def _same(
    work: tree.Work,
    earlier: Sequence[Copy],
    members: Sequence[tuple[mapping.Node, api.Volume]],
    to: CopyTo,
) -> list[Copy]:
    """Return the rows of the newest copy that earlier tries have begun of just these volumes."""
    if not earlier:
        return []
    now = work.mapping.now()
    moments: dict[str, list[Copy]] = {}
    for row in earlier:
        if row.location == to.location and now - row.made_at < FRESH_SECONDS:
            moments.setdefault(row.copy, []).append(row)
    wanted = {(node.uuid, there.global_id) for node, there in members}
    same = [rows for rows in moments.values() if {(r.node, r.volume) for r in rows} == wanted]
    return same[-1] if same else []


def _is_alive(work: tree.Work, rows: Sequence[Copy]) -> bool:
    """Return whether copies that were begun are on their way still, or there."""
    from storpool_ovirt.engine import copies_seen

    good = (copies_seen.ON_THE_WAY, copies.THERE)
    return all(each.state in good for each in copies_seen.look(work, rows))
