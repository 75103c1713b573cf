"""The creation of one object of a disk: what it is, the intent, the request and its result; once,
however often it is asked for."""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Plan, Policy
from storpool_ovirt.engine import changes, intent, mapping, tree
from storpool_ovirt.light import TYPE_CHECKING, contextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def new_disk(uuid: str, size_bytes: int, source: str | None = None) -> mapping.Node:
    """Return the row of a disk's own volume; `source` is the id of what it is cloned from."""
    return mapping.Node(
        uuid=uuid,
        kind="volume",
        root=uuid,
        source=source,
        size_bytes=size_bytes,
        state=mapping.PLANNED,
        active=uuid,
    )


def new_snapshot(origin: mapping.Node) -> mapping.Node:
    """Return the row of a snapshot of a volume, with an id of its own."""
    return mapping.Node(
        uuid=names.random_uuid(),
        kind="snapshot",
        root=origin.root,
        source=origin.uuid,
        size_bytes=origin.size_bytes,
        state=mapping.PLANNED,
    )


def new_preview(origin: mapping.Node, size_bytes: int, replaced: str) -> mapping.Node:
    """Return the row of a preview of a snapshot, with an id of its own; `replaced` is the volume
    that is active before it."""
    return mapping.Node(
        uuid=names.random_uuid(),
        kind="volume",
        root=origin.root,
        source=origin.uuid,
        size_bytes=size_bytes,
        state=mapping.PLANNED,
        replaced=replaced,
    )


def plan(
    work: tree.Work,
    node: mapping.Node,
    origin: mapping.Node | None = None,
    template: str | None = None,
) -> Plan:
    """Return what is to be made in the cluster for a row; a snapshot takes size and source from its
    volume."""
    if node.kind == "snapshot":
        return Plan(tree.owner(work, node))
    source = tree.global_id(origin) if origin is not None else None
    from_snapshot = origin is not None and origin.kind == "snapshot"
    return Plan(
        tree.owner(work, node),
        node.size_bytes,
        Policy(template=template),
        parent=source if from_snapshot else None,
        base_on=None if from_snapshot else source,
        # Engine chose a disk's id, and may use it again for another create; a preview's was chosen
        # for this plan.
        source_tag=names.TAG_SOURCE if node.uuid == node.root else "",
    )


def with_policy(
    work: tree.Work, plan: Plan, said: mapping.Said, source: Mapping[str, str] | None = None
) -> Plan:
    """Return a plan with what a new disk gets beside its owner's tags: by what an administrator has
    said of its domain, by the domain's options, and by the tags of the disk that it is made of."""
    has_its_own = names.has_policy(source or {})
    if not (said or has_its_own or work.domain.has_policy):
        return plan
    from storpool_ovirt.engine import disk_policy

    return disk_policy.planned(work, plan, disk_policy.of_clone(work, said, source or {}))


@contextmanager
def begun(work: tree.Work, node: mapping.Node, plan: Plan) -> Iterator[None]:
    """Write the intent to make what only this process knows the id of, for the request inside.

    Where StorPool says a clear no the intent is taken back; it stays where nobody knows what was
    made. Raises Conflict, with nothing written, for a snapshot too many.
    """
    if node.kind == "snapshot":
        most = work.domain.max_snapshots
        work.mapping.plan_snapshot(node, written(work, node, plan), most)
    else:
        work.mapping.plan(node, written(work, node, plan))
    with _forgotten_when_refused(work, node):
        yield


def make_disk(work: tree.Work, node: mapping.Node, plan: Plan) -> None:
    """Make a disk of this row and plan; where it is there already, check that it is the same one.

    Raises Conflict where the id was used for another one.
    """
    there = work.mapping.plan(node, written(work, node, plan))
    if there is None or not _is_repeated(work, node, plan, there):
        _make(work, node, plan)


def _is_repeated(work: tree.Work, node: mapping.Node, plan: Plan, there: mapping.Node) -> bool:
    """Return whether a disk whose row is there has been made, by the same create.

    False where what a dead operation left of it was put right, and the intent is written anew.
    Raises Conflict.
    """
    from storpool_ovirt.engine import ownership, recovery  # none but a repetition needs them

    claimed = there.pending and recovery.is_claimed(work, node.uuid)
    if there.pending:
        recovery.settle_disk(work, node.uuid, node.uuid, again=True)
        found = work.mapping.plan(node, written(work, node, plan))
        if found is None:
            return False
        there = found
    _check_repeat(there, node)
    ownership.proved(work, there)
    if claimed:
        work.mapping.begin_again(there, written(work, there, plan))
    return True


def _make(work: tree.Work, node: mapping.Node, plan: Plan) -> None:
    with _forgotten_when_refused(work, node):
        try:
            global_id = volumes.create(work.client, plan)
        except errors.Conflict:
            from storpool_ovirt.engine import recovery

            if not recovery.clear_late(work, node.uuid):
                raise
            global_id = volumes.create(work.client, plan)
    work.mapping.complete(node.uuid, global_id)
    work.log.line(
        "volume_created",
        volume=node.uuid,
        global_id=global_id,
        size_bytes=node.size_bytes,
        source=node.source or "-",
    )


def _check_repeat(there: mapping.Node, node: mapping.Node) -> None:
    """Raise Conflict unless the row that is there was written for the same create."""
    if there.state in (mapping.DELETING, mapping.REMOVED):
        raise errors.Conflict(
            f"volume {node.uuid}", "is being deleted", "an id cannot be used again"
        )
    same_create = (there.kind, there.root, there.source) == (node.kind, node.root, node.source)
    if not same_create:
        what = f"from {there.source}" if there.source else "as an empty volume"
        raise errors.Conflict(
            f"{there.kind} {node.uuid}", f"was created {what}", "the same id cannot be used twice"
        )
    if node.source is None and there.size_bytes != node.size_bytes:
        raise errors.Conflict(
            f"volume {node.uuid}",
            f"exists with {there.size_bytes} bytes in place of {node.size_bytes}",
            "the same id cannot be used for another size",
        )


@contextmanager
def _forgotten_when_refused(work: tree.Work, node: mapping.Node) -> Iterator[None]:
    """Take the intent back when StorPool said a clear no; keep it when nobody knows what was
    made."""
    try:
        yield
    except tree.REFUSALS:
        tree.silent_take_back(work, changes.forgotten([node.uuid]))
        raise


def written(work: tree.Work, node: mapping.Node, plan: Plan) -> Mapping[str, object]:
    """Return what the journal gets of what is to be made."""
    return intent.making(node.kind, plan, work.client.address, work.domain.api.cluster_id)
