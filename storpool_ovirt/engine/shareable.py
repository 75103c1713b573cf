"""Whether a disk is shareable by Engine's own word, and the mark on its volume that follows it
(`sharing.py`).

Engine runs connect_volume before each plug, and its database has `base_disks.shareable` (oVirt's
dbscripts, create_tables.sql). That is no interface, and may be out of reach: what cannot be read
leaves the mark as it is.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import sharing
from storpool_ovirt.engine import database, host_notes, mapping, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from storpool_ovirt.cluster import api

# A server on the same machine answers in some milliseconds; a guest may be waiting, and what is
# asked is a hint.
SECONDS = 1.0
_QUESTION = "SELECT shareable FROM base_disks WHERE disk_id = %s::uuid"


def follow(work: tree.Work, node: mapping.Node, there: api.Volume, host: str | None) -> None:
    """Write or remove the mark on the volume that was just asked for, as Engine's database has the
    disk; `there` is that volume, read behind a barrier: a mark of a moment ago counts.

    Engine is asked only where an answer matters, as that is a twentieth of the verb: for a mark,
    which may be old, and for a disk that another host asked for before, and may have. A shareable
    disk has no snapshots, so its volume is its root (UpdateDiskCommand). Raises what StorPool says
    to the removal of a mark that is wrong: with it two VMs might write one disk.
    """
    if node.kind != "volume" or node.uuid != node.root or not node.connected:
        return
    marked = names.is_shared(there.tags)
    if not marked and not host_notes.is_noted_elsewhere(work.mapping, node.uuid, host):
        return
    wanted = is_shareable(work, node.root)
    if wanted is False:
        sharing.unmark(work.client, there, work.log)
    elif wanted and not marked:
        sharing.silent_mark(work.client, there, work.log)


def is_shareable(work: tree.Work, disk: str) -> bool | None:
    """Return whether Engine's own database has a disk as shareable; None where it does not tell."""
    try:
        limit = work.mapping.session.deadline.within(SECONDS)
        rows = database.ask_engine(work.root, work.log, limit, _QUESTION, disk)
    except errors.Error as error:
        work.log.line("shareable_unknown", disk=disk, reason=error)
        return None
    if len(rows) != 1 or not isinstance(rows[0][0], bool):
        work.log.line(
            "shareable_unknown", disk=disk, reason="Engine's database does not have this disk"
        )
        return None
    return rows[0][0]
