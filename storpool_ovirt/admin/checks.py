"""What reconcile and mend ask before each change: whose an object is, whether it is gone, whether
this is its cluster.

Everything is read at that moment, and from a cluster that answers of now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from storpool_ovirt import errors, names
from storpool_ovirt.admin import died, survey
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import (
    candidates,
    intent,
    mapping,
    ownership,
    reverts,
    settlement,
    tree,
)
from storpool_ovirt.engine.operations import Operation

NOTHING = "nothing to do any more"


def gone(work: tree.Work, node: mapping.Node) -> None:
    """Raise Conflict when StorPool's lists have anything that may be the object of a row: under its
    global id, its name or its tags, whoever has it now. A person decides then.

    Raises WrongCluster when it lives in another cluster.
    """
    ownership.check_not_moved(work, node)
    found = candidates.of(candidates.living(work.client), node, work.mapping.location).best
    if found:
        raise _lives_on(node, found)


def not_moved(work: tree.Work, nodes: Sequence[mapping.Node]) -> None:
    """Raise Conflict when the object of one of these rows lives on under another global id, as when
    it was restored by hand, and nothing tells for certain that it is the same."""
    things = candidates.living(work.client)
    for node in nodes:
        found = candidates.of(things, node, work.mapping.location)
        is_known = any(
            reverts.is_its_volume(each, node, work.mapping.location) for each in found.best
        )
        if node.global_id is not None and found.mapped is None and found.best and not is_known:
            raise _lives_on(node, found.best)


def _lives_on(node: mapping.Node, found: Sequence[api.Volume]) -> errors.Conflict:
    return errors.Conflict(
        f"{node.kind} {node.uuid} (~{node.global_id})",
        f"lives on as {candidates.those(found)}, it seems",
        f"storpool-ovirt mend {node.uuid} puts it right; if that is another object, take our"
        " name or tags from it",
    )


def clusters(work: tree.Work, disk: str, left: Sequence[Operation]) -> None:
    """Raise WrongCluster unless this API serves the cluster of a disk: else "does not exist" means
    nothing."""
    served = ownership.clusters_asked(work, lambda: ownership.clusters_shown(work))
    if work.client.has_several:  # what was made in one that has left the name space may be here
        served |= ownership.clusters_shown(work)
    known = {names.cluster_of(node.global_id) for node in work.mapping.tree(disk) if node.global_id}
    known |= {each.plan.cluster for each in left if each.plan.cluster}
    for cluster in sorted(known - served):
        raise errors.WrongCluster(
            f"disk {disk}",
            f"lives in StorPool cluster {cluster}, and this API shows none of it",
            "give the options of its storage domain with --options",
        )


def explained(work: tree.Work, operation: Operation) -> None:
    """Raise Conflict when the cluster tells that it is younger than the entry: then a person
    decides what may go."""
    if operation.kind == intent.GROW:
        return
    view = survey.look(work)
    # What a restore out of the trash has made is kept: backups of it say nothing
    is_made = operation.kind == intent.MAKE and operation.plan.placeholder is None
    there = settlement.made(work, operation) if is_made else None
    if view.unmapped or (there is not None and not died.is_alone(view, there)):
        raise errors.Conflict(
            f"disk {operation.disk}",
            "is not touched while there are objects that nobody explains",
            "was the database restored? run storpool-ovirt audit, and rebuild first",
        )


def ours(work: tree.Work, there: api.Volume, uuid: str) -> None:
    """Raise Foreign when an object without a row does not carry our tags, or not the name that goes
    with them."""
    if not uuid or not names.is_ours(there.tags, uuid, work.mapping.location):
        raise errors.Foreign(
            candidates.said(there),
            f"does not carry the tags of this Engine (location {work.mapping.location})",
            "it is another owner's and is left alone",
        )
    if not candidates.is_named(there):
        raise errors.Foreign(
            candidates.said(there),
            f"carries the tags of {uuid}, but no verb made it: others keep it, and it is left"
            " alone",
            "delete it with the StorPool CLI, if it is not needed",
        )


def read(work: tree.Work, address: str) -> api.Volume:
    """Return a volume or a snapshot by `~globalId`; raise NotFound when there is none, or it is
    being deleted."""
    there = volumes.read_any(work.client, address)
    if there.dying:
        raise errors.NotFound(there.kind, address, "any more: StorPool is about to drop it")
    return there


@contextmanager
def held(work: tree.Work, disk: str) -> Iterator[None]:
    """Hold a disk until the end of the block. Raises Locked."""
    work.mapping.lock(disk)
    try:
        work.client.be_current()  # each precondition is read as of now
        yield
    except BaseException:
        # The first failure is the one that is raised; the connection's end unlocks too.
        with suppress(errors.Error):
            work.mapping.session.unlock(disk)
        raise
    work.mapping.session.unlock(disk)
