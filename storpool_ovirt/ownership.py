"""Whose an object is: asked by every verb before it changes anything, and by what puts right or removes.

Ours is what a row or an intent of ours names and what says so itself, both: it is of that kind, it carries our tags
(`names.tags`), and it has the global id of the row, or, where that is not known yet, the name that only we give.
Whatever was handed to somebody else (other tags), was put in its place by hand (another id) or was made of it (another
kind) is left alone, and nothing is forgotten because of it: the row stays until a person has decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from storpool_ovirt import api, candidates, errors, mapping, names, trees, volumes

# From so many nodes on, two lists cost less than a read for each, also in a large cluster.
LIST_FROM = 12


def proved(engine: trees.Engine, node: mapping.Node) -> api.Volume:
    """Return a node's object as StorPool has it now.

    Raises NotFound when there is none, Foreign when it is another owner's, Conflict when another object has taken its
    place, WrongCluster when it lives elsewhere, or may; nothing of it may be changed then, and no row goes.
    """
    global_id = trees.global_id(node)
    check_clusters(engine, [node])
    try:
        there = volumes.read(engine.client, node.kind, names.address(global_id))
    except errors.NotFound:
        _check_not_replaced(engine, node)
        _check_is_its_cluster(engine, node)
        raise
    return _checked(engine, node, there)


def proved_all(engine: trees.Engine, nodes: Sequence[mapping.Node]) -> list[tuple[mapping.Node, str]]:
    """Return those of these nodes whose object is there, with its global id; raise as `proved` does for any of them.

    An intent whose result is not known is looked for by its name; where that is another owner's, nothing is there.
    """
    check_clusters(engine, nodes)
    known = [node for node in nodes if node.global_id is not None]
    listed = _listed(engine, known) if len(known) >= LIST_FROM else {}
    found = [(node, _there(engine, node, listed)) for node in nodes if node.state != mapping.REMOVED]
    return [(node, global_id) for node, global_id in found if global_id is not None]


def check_clusters(engine: trees.Engine, nodes: Sequence[mapping.Node]) -> None:
    """Raise WrongCluster when one of these lives in another cluster than the pinned one; ask nobody."""
    for node in nodes:
        if node.global_id is not None:
            engine.client.check_cluster(node.global_id, f"{node.kind} {node.uuid}")


def is_gone(engine: trees.Engine, node: mapping.Node) -> bool:
    """Tell whether a node's object is not there any more: not where another's, or another one, is in its place."""
    try:
        proved(engine, node)
    except errors.NotFound:
        return True
    except errors.Conflict as error:
        engine.log.line("not_ours", node=node.uuid, reason=error)
    return False


def check(engine: trees.Engine, there: api.Volume, node: mapping.Node) -> None:
    """Raise Foreign unless an object says itself that it is this node of this Engine."""
    strange = sorted(candidates.wrong_tags(there, node, engine.mapping.location))
    if strange:
        other = candidates.owner(there, engine.mapping.location)
        raise errors.Foreign(
            candidates.said(there),
            f"does not carry our tags ({', '.join(strange)})",
            f"it belongs to {other} and is left alone" if other else
            f"it is left alone until storpool-ovirt mend {node.uuid} puts it right, if it is this Engine's",
        )  # fmt: skip


def _checked(engine: trees.Engine, node: mapping.Node, there: api.Volume) -> api.Volume:
    if there.dying:
        raise errors.NotFound(node.kind, node.uuid, "any more: StorPool is about to drop it")
    if there.global_id != node.global_id:
        raise _replaced(node, there)  # its name is the id that ours had: what StorPool falls back to after a revert
    check(engine, there, node)
    return there


def _check_not_replaced(engine: trees.Engine, node: mapping.Node) -> None:
    """Raise Conflict when a node's object lives on as something else, as after a freeze, a revert or a restore by hand.

    To take it for gone would forget a row whose data is there.
    """
    other = "snapshot" if node.kind == "volume" else "volume"
    name = names.object_name(node.uuid)
    for kind, address in ((other, names.address(trees.global_id(node))), (node.kind, name), (other, name)):
        try:
            there = volumes.read(engine.client, kind, address)
        except errors.NotFound:
            continue
        if not there.dying and not candidates.owner(there, engine.mapping.location):
            raise _replaced(node, there)


def _check_is_its_cluster(engine: trees.Engine, node: mapping.Node) -> None:
    """Raise WrongCluster unless it is a node's own cluster that does not have its object.

    A domain that is not pinned may have another address since the row was written: another cluster has nothing of
    ours, and all of it lives.  So the cluster in the global id is asked by its id, as a pinned domain always does;
    where it does not answer to that, this API has to show something else of it.
    """
    if engine.domain.api.cluster_id is not None:
        return
    cluster = names.cluster_of(trees.global_id(node))
    there = engine.client.pinned_to(cluster)
    before = there.calls
    try:
        volumes.read(there, node.kind, names.address(trees.global_id(node)))
    except errors.NotFound:
        return
    except errors.WrongCluster:
        if cluster in clusters_shown(engine):
            return
    finally:
        engine.client.calls += there.calls - before
    raise errors.WrongCluster(
        f"{node.kind} {node.uuid}",
        f"lives in StorPool cluster {cluster}, and the API at {engine.client.address} does not prove to be that one's",
        "correct sp_api_http_host; with sp_cluster_id the domain is pinned to its cluster",
    )


def clusters_shown(engine: trees.Engine) -> set[str]:
    """Return the ids of the clusters whose volumes and snapshots this API shows, as of now."""
    engine.client.be_current()
    return {names.cluster_of(each.global_id) for each in (*engine.client.volumes(), *engine.client.snapshots())}


def _replaced(node: mapping.Node, there: api.Volume) -> errors.Conflict:
    return errors.Conflict(
        f"{node.kind} {node.uuid} (~{node.global_id})",
        f"is not there, but {candidates.said(there)} is in its place",
        f"was it reverted, restored or frozen by hand? storpool-ovirt mend {node.uuid} puts it right",
    )


def _listed(engine: trees.Engine, nodes: Sequence[mapping.Node]) -> dict[tuple[str, str | None], api.Volume]:
    kinds = {node.kind for node in nodes}
    found = engine.client.volumes() if "volume" in kinds else []
    found = [*found, *(engine.client.snapshots() if "snapshot" in kinds else [])]
    return {(each.kind, each.global_id): each for each in found}


def _there(engine: trees.Engine, node: mapping.Node, listed: dict[tuple[str, str | None], api.Volume]) -> str | None:
    if node.global_id is None:
        return _planned(engine, node)
    try:
        there = listed.get((node.kind, node.global_id))
        if there is None:  # not in the list, or there is none: asked for by its id
            return proved(engine, node).global_id
        return _checked(engine, node, there).global_id
    except errors.NotFound:
        return None


def _planned(engine: trees.Engine, node: mapping.Node) -> str | None:
    """Return the global id of what an intent has made, as far as anything of its name is ours."""
    try:
        there = volumes.read(engine.client, node.kind, names.object_name(node.uuid))
        check(engine, there, node)
    except errors.NotFound:
        return None
    except errors.Foreign as error:
        # The name is another owner's: the intent was never carried out, and nothing of it is there to delete.
        engine.log.line("intent_dropped", node=node.uuid, reason=error)
        return None
    engine.client.check_cluster(there.global_id, f"{node.kind} {node.uuid}")
    return there.global_id
