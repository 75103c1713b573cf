"""What reconcile and mend ask before each change: whose an object is, whether it is gone, whether this is its cluster.

Everything is read at that moment, and from a cluster that answers of now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from storpool_ovirt import (
    api,
    candidates,
    errors,
    journal,
    leftovers,
    mapping,
    names,
    ownership,
    recovery,
    trees,
    truths,
)


def gone(engine: trees.Engine, node: mapping.Node) -> None:
    """Raise Conflict when the object of a row lives under another global id: by hand it was reverted or restored."""
    found = candidates.of(truths.living(engine), node, engine.mapping.location).best
    if found:
        raise _lives_on(node, found)


def not_moved(engine: trees.Engine, nodes: Sequence[mapping.Node]) -> None:
    """Raise Conflict when one of these lives under another global id, as `gone` does."""
    things = truths.living(engine)
    for node in nodes:
        found = candidates.of(things, node, engine.mapping.location)
        if node.global_id is not None and found.mapped is None and found.best:
            raise _lives_on(node, found.best)


def _lives_on(node: mapping.Node, found: Sequence[api.Volume]) -> errors.Conflict:
    return errors.Conflict(
        f"{node.kind} {node.uuid} (~{node.global_id})", f"lives on as {candidates.those(found)}, it seems",
        f"storpool-ovirt mend {node.uuid} puts it right; if that is another object, take our name or tags from it",
    )  # fmt: skip


def clusters(engine: trees.Engine, disk: str, operations: Sequence[journal.Operation]) -> None:
    """Raise WrongCluster unless this API serves the cluster of a disk: else "does not exist" means nothing."""
    pinned = engine.domain.api.cluster_id
    served = {pinned} if pinned else ownership.clusters_shown(engine)
    known = {names.cluster_of(node.global_id) for node in engine.mapping.tree(disk) if node.global_id}
    known |= {str(each.plan["cluster"]) for each in operations if each.plan.get("cluster")}
    for cluster in sorted(known - served):
        raise errors.WrongCluster(
            f"disk {disk}", f"lives in StorPool cluster {cluster}, and this API shows none of it",
            "give the options of its storage domain with --options",
        )  # fmt: skip


def explained(engine: trees.Engine, operation: journal.Operation) -> None:
    """Raise Conflict when the cluster tells that it is younger than the entry: then a person decides what may go."""
    if operation.kind == journal.GROW:
        return
    view = truths.look(engine)
    there = recovery.made(engine, operation) if operation.kind == journal.MAKE else None
    if view.unmapped or (there is not None and not leftovers.is_alone(view, there)):
        raise errors.Conflict(
            f"disk {operation.disk}", "is not touched while there are objects that nobody explains",
            "was the database restored? run storpool-ovirt audit, and rebuild first",
        )  # fmt: skip


def ours(engine: trees.Engine, there: api.Volume, uuid: str) -> None:
    """Raise Foreign when an object without a row does not carry our tags, or not the name that goes with them."""
    if not uuid or not names.is_ours(there.tags, uuid, engine.mapping.location):
        raise errors.Foreign(
            candidates.said(there),
            f"does not carry the tags of this Engine (location {engine.mapping.location})",
            "it is another owner's and is left alone",
        )
    if not candidates.is_named(there):
        raise errors.Foreign(
            candidates.said(there), f"carries the tags of {uuid}, but no verb made it: others keep it, and it is left"
            " alone", "delete it with the StorPool CLI, if it is not needed",
        )  # fmt: skip


def read(engine: trees.Engine, address: str) -> api.Volume:
    """Return a volume or a snapshot by `~globalId`; raise NotFound when there is none, or it is being deleted."""
    try:
        there = engine.client.volume(address)
    except errors.NotFound:
        there = engine.client.snapshot(address)
    if there.dying:
        raise errors.NotFound(there.kind, address, "any more: StorPool is about to drop it")
    return there


@contextmanager
def held(engine: trees.Engine, disk: str) -> Iterator[None]:
    """Hold a disk until the end of the block.  Raises Locked."""
    engine.mapping.lock(disk)
    try:
        engine.client.be_current()  # each precondition is read as of now
        yield
    except BaseException:
        with suppress(errors.Error):  # the first failure is the one that is told; the connection's end unlocks too
            engine.mapping.session.unlock(disk)
        raise
    engine.mapping.session.unlock(disk)
