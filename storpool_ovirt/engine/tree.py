"""A disk's tree, as the verbs meet it: the tools of one verb, and the rows of the nodes that it
names.

What the verbs do is in `disks.py`, what a delete takes is in `removal.py`.
"""

from __future__ import annotations

import time

from storpool_ovirt import config, errors, names
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.plans import Owner
from storpool_ovirt.engine import changes, mapping
from storpool_ovirt.light import TYPE_CHECKING, dataclass
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Callable

    from storpool_ovirt.cluster import attachments
    from storpool_ovirt.engine.operations import Operation

# StorPool said a clear no: the call that raised one of these has changed nothing.
REFUSALS = (
    errors.Conflict,
    errors.NotFound,
    errors.NoSpace,
    errors.Rejected,
    errors.WrongCluster,
    errors.InputError,
    errors.InUse,
)


@dataclass(frozen=True)
class Work:
    """What a verb works with; `root` is the folder that stands for `/`. `is_told`: an administrator
    gave the domain's options for it, so no other ones count."""

    domain: config.Domain
    client: api.Client
    mapping: mapping.Mapping
    log: Log
    root: str
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    is_told: bool = False


def known(work: Work, uuid: str) -> mapping.Node:
    """Return the row of this id, whatever its state; raise NotFound when there is none."""
    return mapping.there(work.mapping.node(uuid), uuid)


def asked_for(work: Work, uuid: str, host: str | None) -> tuple[mapping.Node, bool]:
    """Return the row of this id as `known` does, and whether an administrator has said anything of
    any VM; note for which host it was asked for."""
    from storpool_ovirt.engine import host_notes

    found, says_of_vms = host_notes.noted(work.mapping, uuid, host, work.domain.api.cluster_id)
    return mapping.there(found, uuid), says_of_vms


def checked(work: Work, node: mapping.Node) -> mapping.Node:
    """Return the row of an object that exists; raise NotFound or Conflict where it does not."""
    if node.state == mapping.PLANNED:
        raise errors.Conflict(
            f"{node.kind} {node.uuid}", "was never finished", "repeat what made it, or delete it"
        )
    if node.state in (mapping.DELETING, mapping.REMOVED):
        raise errors.NotFound(
            node.kind, node.uuid, "any more: it was deleted, or a delete of it has begun"
        )
    work.client.check_cluster(global_id(node), f"{node.kind} {node.uuid}")
    return node


def check_volume(node: mapping.Node, what: str) -> None:
    """Raise Conflict for a node that is no volume; `what` is what only a volume can."""
    if node.kind != "volume":
        raise errors.Conflict(f"{node.kind} {node.uuid}", f"cannot {what}", "only a volume can")


def global_id(node: mapping.Node) -> str:
    """Return the global id of a node's object; raise Conflict when none was ever seen."""
    if node.global_id is None:
        raise errors.Conflict(
            f"{node.kind} {node.uuid}", "has no object in StorPool yet", "repeat what made it"
        )
    return node.global_id


def found_as(node: mapping.Node, there: api.Volume) -> mapping.Node:
    """Return a row with the global id that its object has, which may be another one since a
    revert."""
    return node._replace(global_id=there.global_id)


def target(node: mapping.Node) -> attachments.Target:
    """Return how `attachments` names the node's object."""
    from storpool_ovirt.cluster import attachments

    return attachments.Target(global_id(node), names.object_name(node.uuid), node.kind)


def owner(work: Work, node: mapping.Node) -> Owner:
    """Return the name and the tags of the node's object: what makes it ours."""
    tags = names.tags(node.uuid, work.mapping.location, node.root)
    return Owner(names.object_name(node.uuid), tags)


def is_known(nodes: Sequence[mapping.Node], operation: Operation, named: str | None = None) -> bool:
    """Return whether Engine knows what an operation made, all the same.

    Whoever names an object, or has described it to a host, knows it; a disk is known by whoever
    knows anything of it. What is only reserved is known to nobody.
    """
    if named is not None and operation.node in (named, operation.disk):
        return True
    own = [node for node in nodes if node.uuid == operation.node]
    return any(node.connected for node in own) or (
        operation.node == operation.disk
        and any(node.uuid != operation.disk and not node.reserved for node in nodes)
    )


def silent_take_back(work: Work, change: changes.Change) -> None:
    """Take an intent back after a failure, which stays the one that is raised.

    What cannot be undone stays an intent.
    """
    journal = work.mapping.journal
    try:
        # An earlier try whose answer never came may still take effect, whatever StorPool said to a
        # later one.
        (journal.give_up if work.client.tally.unanswered else journal.take_back)(change)
    except Exception as error:
        work.log.line("undo_failed", reason=error)
