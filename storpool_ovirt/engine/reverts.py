"""Which volume is a row's after a revert gave it another global id, and the row that follows it.

StorPool reverts an unnamed volume by making a new one in its place: that has another global id, the
old id becomes its name (`~old`), and its number, the visible id, stays (python-storpool, commit
76ce668; pve-storpool 7d8e8b0 says of volumes at large that the id may change). A row keeps that
number of its volume (`visible_id`) from the first time that the volume was seen under the row's
global id, and the id that it had first (`first_id`), by which StorPool may still know it.

A volume that does not have the row's global id is the row's where three things say so together: its
name, all of its tags, and StorPool's own word, which is the visible id (`cluster/identity.py`
judges it). By fewer a person decides (`storpool-ovirt mend`): a copy has our tags, a name can be
given to anything, and no source says that a number is never used again.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import candidates, mapping, tree
from storpool_ovirt.light import TYPE_CHECKING, suppress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storpool_ovirt.cluster import identity

# A volume may be reverted again, and its row be put right by others, while it is looked at.
LOOKS = 4


def is_its_volume(there: api.Volume, node: mapping.Node, location: str) -> bool:
    """Return whether a volume is that of a row, also under another global id than the row's."""
    if node.kind != "volume" or is_another(there, node):
        return False
    from storpool_ovirt.cluster import identity

    row = known(node, location)
    return (
        row is not None
        and identity.judge(row, there).is_same
        and names.cluster_of(there.global_id) == names.cluster_of(row.global_id)
        and not candidates.is_fleeting(there)
        and not candidates.wrong_tags(there, node, location)
    )


def known(node: mapping.Node, location: str) -> identity.Known | None:
    """Return what a row tells of its object; None where that was never seen."""
    if node.global_id is None:
        return None
    from storpool_ovirt.cluster import identity

    return identity.Known(
        node.kind,
        node.global_id,
        names.object_name(node.uuid),
        names.tags(node.uuid, location, node.root),
        node.visible_id or 0,
        node.first_id,
    )


def is_another(there: api.Volume, node: mapping.Node) -> bool:
    """Return whether a volume that has a row's global id is another one all the same: neither its
    name nor its visible id are those of the row's."""
    return (
        node.visible_id is not None
        and there.serial not in (0, node.visible_id)
        and there.name not in _its_names(node)
    )


def followed(
    nodes: Iterable[mapping.Node], things: Mapping[str, api.Volume], location: str
) -> dict[str, api.Volume]:
    """Return the volumes of those rows whose volume has another global id now, by the row's id.

    `things` are all objects of the cluster by global id.
    """
    taken, lost = set(), []
    for node in nodes:
        if node.global_id is None:
            continue
        taken.add(node.global_id)
        there = things.get(node.global_id)
        if there is None or is_another(there, node):
            lost.append(node)
    if not lost:
        return {}
    by_name = {each.name: each for each in things.values()}
    return {
        node.uuid: there
        for node in lost
        for there in filter(None, map(by_name.get, _its_names(node)))
        if there.global_id not in taken and is_its_volume(there, node, location)
    }


def found_again(work: tree.Work, node: mapping.Node) -> api.Volume | None:
    """Return the volume of a row that is not there under the row's global id, and write the id that
    it has now; None where nothing is it for certain.

    All that this rests on is read as of now. The row is changed only if nobody has done so since:
    two verbs may find it at the same time, and it may be reverted once more between.
    """
    for _ in range(LOOKS):
        if node.kind != "volume":
            return None
        work.client.be_current()
        there = _seen(work, node)
        if there is None or there.global_id == node.global_id:
            return there
        work.client.check_cluster(there.global_id, f"{node.kind} {node.uuid}")
        if follow(work.mapping, node, there):
            work.log.line(
                "reverted_volume_found",
                volume=node.uuid,
                was=node.global_id,
                global_id=there.global_id,
            )
            return there
        now = work.mapping.node(node.uuid)
        if now is None or now.global_id is None:
            return None
        if now.global_id == there.global_id:
            return there
        if now.global_id == node.global_id:
            raise errors.Conflict(
                candidates.said(there),
                f"is that of another row in the mapping, and not of {node.uuid} alone",
                "run storpool-ovirt audit",
            )
        node = now
    raise restless(node)


def restless(node: mapping.Node) -> errors.Conflict:
    """Return the error for an object that is another one at each of so many looks."""
    return errors.Conflict(
        f"{node.kind} {node.uuid}", "gets another global id again and again", "try again"
    )


def follow(where: mapping.Mapping, node: mapping.Node, there: api.Volume) -> bool:
    """Write the global id that the volume of a row has now, if the row is as it was and no other
    row has that id; return whether it was written."""
    rows = where.session.rows(
        """
        UPDATE storpool_ovirt.node
        SET global_id = %s, first_id = coalesce(first_id, global_id), visible_id = %s
        WHERE uuid = %s AND global_id = %s AND visible_id IS NOT DISTINCT FROM %s
            AND NOT EXISTS (SELECT FROM storpool_ovirt.node WHERE global_id = %s)
        RETURNING 1
        """,
        there.global_id,
        there.serial or node.visible_id,
        node.uuid,
        node.global_id,
        node.visible_id,
        there.global_id,
    )
    return bool(rows)


def lasting_id(there: api.Volume) -> str:
    """Return the global id by which hosts know an object for as long as they can reach it by that.

    For an unnamed volume that was reverted, StorPool keeps the link /dev/storpool-byid/ of the id
    that is its name, and Vdsm compares what it is told with what it was told before. Where no name
    keeps the old id, that link is gone, and the present id is the only way.
    """
    return names.kept_id(there.name) or there.global_id


def note(work: tree.Work, node: mapping.Node, there: api.Volume) -> None:
    """Keep the visible id of a volume that has the row's global id, its tags and its name.

    It is for later: where it cannot be written now, the next verb does it.
    """
    if _is_news(node, there):
        with suppress(errors.DatabaseUnavailable):
            note_all(work.mapping, [(node, there)])


def note_all(where: mapping.Mapping, seen: Sequence[tuple[mapping.Node, api.Volume]]) -> None:
    """Keep the visible ids of these volumes, which have the global ids of their rows."""
    where.session.rows(
        """
        UPDATE storpool_ovirt.node AS node SET visible_id = seen.number
        FROM unnest(%s::uuid[], %s::text[], %s::bigint[]) AS seen (uuid, global_id, number)
        WHERE node.uuid = seen.uuid AND node.global_id = seen.global_id
        """,
        [node.uuid for node, _ in seen],
        [there.global_id for _, there in seen],
        [there.serial for _, there in seen],
    )


def news(
    nodes: Iterable[tuple[mapping.Node, api.Volume | None]], location: str
) -> list[tuple[mapping.Node, api.Volume]]:
    """Return those of these rows, with their volumes, whose visible ids are to be noted."""
    return [
        (node, there)
        for node, there in nodes
        if there is not None
        and there.global_id == node.global_id
        and _is_news(node, there)
        and not candidates.wrong_tags(there, node, location)
    ]


def _is_news(node: mapping.Node, there: api.Volume) -> bool:
    return (
        there.kind == node.kind == "volume"
        and there.serial > 0
        and there.serial != node.visible_id
        and there.name in _its_names(node)
    )


def addresses(node: mapping.Node) -> tuple[str, ...]:
    """Return where a row's volume may be: StorPool looks among the names for an id that nothing
    has."""
    ours, *ids = _its_names(node)
    return (*ids, ours)


def _its_names(node: mapping.Node) -> tuple[str, ...]:
    """Return what a row's volume may be called: as we named it, or, without a name, after an id
    that it has or had."""
    ids = (names.address(each) for each in (node.global_id, node.first_id) if each)
    return (names.object_name(node.uuid), *ids)


def _seen(work: tree.Work, node: mapping.Node) -> api.Volume | None:
    for address in addresses(node):
        with suppress(errors.NotFound):
            there = volumes.read(work.client, "volume", address)
            if is_its_volume(there, node, work.mapping.location):
                return there
    return None
