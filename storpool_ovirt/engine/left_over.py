"""What is left over of older moments of a VM: reserved snapshots that no verb asked for."""

from __future__ import annotations

from storpool_ovirt.engine import mapping, moments
from storpool_ovirt.engine.journal import INCARNATION
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from storpool_ovirt.engine.moments import Moment


class LeftOver(NamedTuple):
    """A snapshot that no verb asked for; `is_old`: its moment was longer ago than what is certainly
    not from a backup that was put back."""

    node: mapping.Node
    is_old: bool


def of(there: mapping.Mapping, moment: Moment, fresh_seconds: float) -> list[LeftOver]:
    """Return the snapshots that older moments of the same VM left on the disks of this one, and of
    which nobody outside knows; forget moments that have none any more.

    The action of such a moment is over: it has failed, nothing of it can be claimed any more (a
    snapshot of it is gone, or a minute has passed), or it has the key of this one. That this one
    has begun proves nothing, as a tag may name a VM that the disk is not of. What came back with a
    backup may be known by now, and what something was made from, or a host asked for, is.
    """
    rows = there.session.rows(
        f"""
        WITH over AS (
            DELETE FROM storpool_ovirt.moment WHERE vm IN (%s, '') AND {moments.FORGOTTEN}
        )
        SELECT node.*,
            (SELECT made_at FROM storpool_ovirt.moment WHERE moment.id = node.moment)
                < clock_timestamp() - make_interval(secs => %s)
        FROM ({mapping.SELECT_NODE}
        WHERE reserved AND kind = 'snapshot' AND state IN ('live', 'deleting') AND NOT connected
            AND root IN (
                SELECT root FROM storpool_ovirt.node WHERE uuid = ANY (%s::uuid[])
            )
            AND moment IN (
                SELECT id FROM storpool_ovirt.moment
                WHERE mark <> %s AND vm = %s AND moment.incarnation = {INCARNATION}
                    AND (
                        moment.state = 'failed' OR key = %s
                        OR made_at < clock_timestamp() - make_interval(secs => %s)
                        OR NOT {moments.WHOLE}
                    )
            )
            AND NOT EXISTS (
                SELECT FROM storpool_ovirt.node AS made WHERE made.source = node.uuid
            )
            AND NOT EXISTS (
                SELECT FROM storpool_ovirt.operation WHERE operation.node = node.uuid
            )
        ) AS node
        """,
        moment.vm,
        fresh_seconds,
        list(moment.volumes),
        moment.mark,
        moment.vm,
        moment.key,
        moments.CLAIM_SECONDS,
    )
    return [LeftOver(mapping.Node(*row[:-1]), bool(row[-1])) for row in rows]
