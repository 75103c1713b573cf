"""Whose an object is: asked by every verb before it changes anything, and by what puts right or
removes.

Ours is what a row or an intent of ours names and what says so itself, both: it is of that kind, it
carries our tags (`names.tags`), and it has the global id of the row, or, where that is not known
yet, the name that only we give. Whatever was handed to somebody else (other tags), was put in its
place by hand (another id) or was made of it (another kind) is left alone, and nothing is forgotten
because of it: the row stays until a person has decided.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import candidates, mapping, reverts, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Callable

# From so many nodes on, two lists cost less than a read for each, also in a large cluster.
LIST_FROM = 12


def proved(work: tree.Work, node: mapping.Node) -> api.Volume:
    """Return a node's object as StorPool has it now; its global id is the one to address it by, as
    the row may have been of before a revert.

    Raises NotFound when there is none, Foreign when it is another owner's, Conflict when another
    object has taken its place, WrongCluster when it lives elsewhere, or may; nothing of it may be
    changed then, and no row goes.
    """
    global_id = tree.global_id(node)
    check_clusters(work, [node])
    try:
        there = volumes.read(work.client, node.kind, names.address(global_id))
    except errors.NotFound:
        found = reverts.found_again(work, node)
        if found is not None:
            return found
        _check_not_replaced(work, node)
        check_is_its_cluster(work, node)
        raise
    return checked(work, node, there)


def proved_now(work: tree.Work, node: mapping.Node) -> api.Volume:
    """Return what is about to be changed or copied, ours as of now: it may have been handed over a
    moment ago."""
    work.client.be_current()
    return proved(work, node)


def proved_all(
    work: tree.Work, nodes: Sequence[mapping.Node]
) -> list[tuple[mapping.Node, api.Volume]]:
    """Return those of these nodes whose object is there, with it; raise as `proved` does for any of
    them.

    An intent whose result is not known is looked for by its name; where that is another owner's,
    nothing is there.
    """
    check_clusters(work, nodes)
    known = [node for node in nodes if node.global_id is not None]
    listed = _listed(work, known) if len(known) >= LIST_FROM else {}
    found = [(node, _there(work, node, listed)) for node in nodes if node.state != mapping.REMOVED]
    return [(node, there) for node, there in found if there is not None]


def check_clusters(work: tree.Work, nodes: Sequence[mapping.Node]) -> None:
    """Raise WrongCluster when one of these lives in another cluster than the pinned one; ask
    nobody."""
    for node in nodes:
        if node.global_id is not None:
            work.client.check_cluster(node.global_id, f"{node.kind} {node.uuid}")


def is_gone(work: tree.Work, node: mapping.Node) -> bool:
    """Return whether a node's object is not there any more: neither under its global id nor, as
    another one, in its place.

    Tags alone do not count: copies with our tags are made by whoever copies a volume, and a row
    that such a copy keeps would let a person take the copy for the object.
    """
    try:
        proved(work, node)
    except errors.NotFound:
        return True
    except errors.Conflict as error:
        work.log.line("not_ours", node=node.uuid, reason=error)
    return False


def check(work: tree.Work, there: api.Volume, node: mapping.Node) -> None:
    """Raise Foreign unless an object says itself that it is this node of this Engine."""
    strange = sorted(candidates.wrong_tags(there, node, work.mapping.location))
    if strange:
        other = candidates.owner(there, work.mapping.location)
        raise errors.Foreign(
            candidates.said(there),
            f"does not carry our tags ({', '.join(strange)})",
            (
                f"it belongs to {other} and is left alone"
                if other
                else (
                    f"it is left alone until storpool-ovirt mend {node.uuid} puts it right, if it"
                    " is this Engine's"
                )
            ),
        )


def clusters_shown(work: tree.Work) -> set[str]:
    """Return the ids of the clusters whose volumes and snapshots this API shows, as of now."""
    work.client.be_current()
    return {
        names.cluster_of(each.global_id)
        for each in (*work.client.volumes(), *work.client.snapshots())
    }


def clusters_asked(work: tree.Work, shown: Callable[[], Iterable[str]]) -> frozenset[str]:
    """Return the ids of the clusters that this API is asked for.

    A pinned domain asks that one, and some of what it shows may have come from others; one of
    several asks all of them; else those tell of which something is `shown`.
    """
    pinned = work.domain.api.cluster_id
    asked = {pinned} if pinned else set()
    if work.client.has_several:
        asked |= work.client.clusters()
    return frozenset(asked or shown())


def checked(work: tree.Work, node: mapping.Node, there: api.Volume) -> api.Volume:
    """Return what was read as a node's object, if it is that; raise as `proved` does."""
    if there.dying or there.global_id != node.global_id or reverts.is_another(there, node):
        # Found by its name, which is the id that ours had; or that id is of another one by now.
        found = reverts.found_again(work, node)
        if found is not None:
            return found
        if there.dying:
            raise errors.NotFound(node.kind, node.uuid, "any more: StorPool is about to drop it")
        raise _replaced(node, there)
    check(work, there, node)
    reverts.note(work, node, there)
    return there


def _check_not_replaced(work: tree.Work, node: mapping.Node) -> None:
    """Raise Conflict when a node's object lives on as something else, as after a freeze, a revert
    or a restore by hand.

    To take it for gone would forget a row whose data is there.
    """
    other = "snapshot" if node.kind == "volume" else "volume"
    name = names.object_name(node.uuid)
    for kind, address in (
        (other, names.address(tree.global_id(node))),
        (node.kind, name),
        (other, name),
    ):
        try:
            there = volumes.read(work.client, kind, address)
        except errors.NotFound:
            continue
        if not there.dying and not candidates.owner(there, work.mapping.location):
            raise _replaced(node, there)


def check_is_its_cluster(work: tree.Work, node: mapping.Node) -> None:
    """Raise WrongCluster unless it is a node's own cluster that does not have its object.

    A domain that is not pinned may have another address since the row was written: another cluster
    has nothing of ours, and all of it lives. So the cluster in the global id is asked by its id,
    as a pinned domain always does; where it does not answer to that, this API has to show something
    else of it.
    """
    check_not_moved(work, node)
    if work.client.has_several:
        _check_is_in_space(work, node)
        return
    if work.domain.api.cluster_id is not None:
        return
    cluster = names.cluster_of(tree.global_id(node))
    try:
        if not _has(work, cluster, node):
            return
    except errors.WrongCluster:
        if cluster in clusters_shown(work):
            return
    raise errors.WrongCluster(
        f"{node.kind} {node.uuid}",
        f"lives in StorPool cluster {cluster}, and the API at {work.client.address} does not prove"
        " to be that one's",
        "correct sp_api_http_host; with sp_cluster_id the domain is pinned to its cluster",
    )


def _check_is_in_space(work: tree.Work, node: mapping.Node) -> None:
    """Raise WrongCluster where an object was made in none of the clusters that were asked."""
    cluster, known = names.cluster_of(tree.global_id(node)), work.client.clusters()
    if known and cluster not in known:
        raise errors.WrongCluster(
            f"{node.kind} {node.uuid}",
            f"was made in StorPool cluster {cluster}, which is none of {', '.join(sorted(known))}",
            "use the storage domain of that cluster; storpool-ovirt: give its options with"
            " --options",
        )


def check_not_moved(work: tree.Work, node: mapping.Node) -> None:
    """Raise WrongCluster where somebody moved a node's object to another cluster of the name space:
    a domain of one cluster does not see it there."""
    if work.client.has_several:
        return  # what it asks, it asks of all
    denied: set[str] = set()  # it was shown there by an answer of a moment ago
    while True:
        where = work.client.elsewhere(node.kind, names.address(tree.global_id(node)))
        if where is None or where in denied:
            return
        if _has(work, where, node):
            raise errors.WrongCluster(
                f"{node.kind} {node.uuid}",
                f"lives in StorPool cluster {where}, and the domain has no sp_multicluster",
                "move it back, or add the domain with sp_multicluster",
            )
        denied.add(where)


def _has(work: tree.Work, cluster: str, node: mapping.Node) -> bool:
    """Return whether a cluster has a node's object as of now, by its id.

    Raises WrongCluster where the cluster of that id cannot be asked.
    """
    there = work.client.pinned_to(cluster)
    try:
        volumes.read(there, node.kind, names.address(tree.global_id(node)))
        there.be_current()  # what it still had may be an answer of a moment ago
        volumes.read(there, node.kind, names.address(tree.global_id(node)))
    except errors.NotFound:
        return False
    return True


def _replaced(node: mapping.Node, there: api.Volume) -> errors.Conflict:
    return errors.Conflict(
        f"{node.kind} {node.uuid} (~{node.global_id})",
        f"is not there, but {candidates.said(there)} is in its place",
        f"was it reverted, restored or frozen by hand? storpool-ovirt mend {node.uuid} puts it"
        " right",
    )


def _listed(
    work: tree.Work, nodes: Sequence[mapping.Node]
) -> dict[tuple[str, str | None], api.Volume]:
    kinds = {node.kind for node in nodes}
    found = work.client.volumes() if "volume" in kinds else []
    found = [*found, *(work.client.snapshots() if "snapshot" in kinds else [])]
    return {(each.kind, each.global_id): each for each in found}


def _there(
    work: tree.Work, node: mapping.Node, listed: dict[tuple[str, str | None], api.Volume]
) -> api.Volume | None:
    if node.global_id is None:
        return _planned(work, node)
    try:
        there = listed.get((node.kind, node.global_id))
        if there is None:  # not in the list, or there is none: asked for by its id
            return proved(work, node)
        return checked(work, node, there)
    except errors.NotFound:
        return None


def _planned(work: tree.Work, node: mapping.Node) -> api.Volume | None:
    """Return what an intent has made, as far as anything of its name is ours."""
    try:
        there = volumes.read(work.client, node.kind, names.object_name(node.uuid))
        check(work, there, node)
    except errors.NotFound:
        return None
    except errors.Foreign as error:
        # The name is another owner's: the intent was never carried out, and nothing of it is there
        # to delete.
        work.log.line("intent_dropped", node=node.uuid, reason=error)
        return None
    work.client.check_cluster(there.global_id, f"{node.kind} {node.uuid}")
    return there
