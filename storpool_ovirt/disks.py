"""oVirt's disks: what each of Engine's verbs means for the tree of volumes and snapshots that one disk is.

Any id may name any node of a tree, whatever Engine calls it; the id alone decides (a snapshot that was taken while a
preview was active is later named together with the disk's first id).  Order of every change: lock the disk, write the
intent, act, write the result.  A verb that is repeated finds the intent and finishes it.  The source of each rule is
Engine's own flows, told in docs/verbs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from storpool_ovirt import api, attachments, config, errors, log, mapping, names, storpool_conf, volumes

GIB = 1 << 30
ADAPTER = "storpool"
# StorPool said a clear no: the call that raised one of these has changed nothing.
_REFUSALS = (
    errors.Conflict, errors.NotFound, errors.NoSpace, errors.Rejected, errors.WrongCluster, errors.InputError,
    errors.InUse,
)  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """What a verb works with: the domain's settings, the cluster, the mapping, the log, and where `/` is."""

    domain: config.Domain
    client: api.Client
    mapping: mapping.Mapping
    log: log.Log
    root: str


def create(engine: Engine, uuid: str, size_bytes: int) -> None:
    """Make the empty volume of a new disk.  Repeated with the same size it is a success, with another a Conflict."""
    engine.mapping.lock(uuid)
    node = mapping.Node(uuid, "volume", uuid, None, size_bytes, mapping.PLANNED, active=uuid)
    _make_disk(engine, node, _plan(engine, node, template=engine.domain.template))


def clone(engine: Engine, source: str, uuid: str) -> None:
    """Make a new disk with the data that the volume or snapshot `source` has now."""
    engine.mapping.lock(uuid, shared=_known(engine, source).root)
    origin = _live(engine, source)
    node = mapping.Node(uuid, "volume", uuid, source, origin.size_bytes, mapping.PLANNED, active=uuid)
    _make_disk(engine, node, _plan(engine, node, origin, engine.domain.template))


def snapshot(engine: Engine, volume: str) -> str:
    """Freeze the volume as it is now and return the new snapshot's id."""
    engine.mapping.lock(_known(engine, volume).root)
    origin = _live(engine, volume)
    _check_volume(origin, "be snapshotted")
    node = mapping.Node(_new_uuid(), "snapshot", origin.root, volume, origin.size_bytes, mapping.PLANNED)
    engine.mapping.plan(node)
    with _forgotten_when_refused(engine, node):
        global_id = volumes.snapshot(engine.client, _global_id(origin), _plan(engine, node))
    engine.mapping.complete(node.uuid, global_id)
    engine.log.line("snapshot_created", snapshot=node.uuid, global_id=global_id, volume=volume)
    return node.uuid


def preview(engine: Engine, snapshot: str) -> str:
    """Make a volume from a snapshot for its disk, at least as large as the disk is now, and return its id.

    It becomes the disk's active volume until it is deleted (undo) or another takes its place.
    """
    root = _known(engine, snapshot).root
    engine.mapping.lock(root)
    origin = _live(engine, snapshot)
    tree = {node.uuid: node for node in engine.mapping.tree(root)}
    before = tree[root].active or root
    size_bytes = max(origin.size_bytes, tree[before].size_bytes if before in tree else 0)
    node = mapping.Node(_new_uuid(), "volume", root, snapshot, size_bytes, mapping.PLANNED, replaced=before)
    engine.mapping.plan(node)
    with _forgotten_when_refused(engine, node):
        global_id = _create_from(engine, node, _plan(engine, node, origin))
    engine.mapping.complete_preview(node.uuid, global_id, root)
    engine.log.line("volume_created", volume=node.uuid, global_id=global_id, snapshot=snapshot, disk=root)
    return node.uuid


def extend(engine: Engine, uuid: str, size_bytes: int) -> None:
    """Give the disk this size (bytes, absolute): the volume that is active where the disk itself is named.

    The same size is a success, a smaller one a Conflict.  Hosts that have it attached know the size on return.
    """
    engine.mapping.lock(_known(engine, uuid).root)
    named = _known(engine, uuid)
    node = _live(engine, named.active if named.uuid == named.root and named.active else uuid)
    _check_volume(node, "grow")
    if size_bytes < node.size_bytes:
        _check_growth(engine, node, size_bytes)
    # The intent first: what is made from this volume later is made as large as its row says, which must never be less
    # than the volume itself.
    engine.mapping.resize(node.uuid, size_bytes)
    try:
        generation = volumes.grow(engine.client, _global_id(node), size_bytes)
    except _REFUSALS:
        _silent_write(engine, engine.mapping.resize, node.uuid, node.size_bytes)
        raise
    engine.log.line("volume_extended", volume=node.uuid, global_id=node.global_id, size_bytes=size_bytes)
    if node.connected:
        _silent_wait(engine, node, generation)


def delete(engine: Engine, uuid: str) -> None:
    """Delete a node: the whole tree where `uuid` is a disk, else that volume or snapshot alone; unknown is a success.

    Raises InUse naming the hosts when a device is open anywhere in what is to go; everything is as before then.
    """
    tree = _locked_tree(engine, uuid)
    _delete_nodes(engine, tree, tree if tree and tree[0].root == uuid else [each for each in tree if each.uuid == uuid])


def remove(engine: Engine, uuid: str) -> None:
    """Delete one node, volume or snapshot, and nothing else of its tree; unknown is a success.

    A disk's own first volume goes only when another one is active; its id stays known, as the disk has it.
    """
    tree = _locked_tree(engine, uuid)
    named = [each for each in tree if each.uuid == uuid]
    for root in [each for each in named if each.root == uuid]:
        if root.active in (None, uuid):
            raise errors.Conflict(f"volume {uuid}", "is the active volume of its disk", "delete the disk itself")
    _delete_nodes(engine, tree, named, keep_root=True)


def connection(engine: Engine, uuid: str) -> dict[str, object]:
    """Return how a host reaches this node: the same for every host and for ever, as Vdsm compares it with what it has.

    Changes nothing in the cluster.  Raises NotFound when StorPool does not have it.
    """
    node = _live(engine, uuid)
    volumes.check(engine.client, node.kind, _global_id(node), _tags(engine, node))
    if node.kind == "volume":
        root = node if node.uuid == node.root else engine.mapping.node(node.root)
        if not node.connected or root is None or root.active != uuid:
            engine.mapping.connect(uuid, node.root)
    mode = "rw" if node.kind == "volume" else "ro"
    data = {"volume": uuid, "global_id": _global_id(node), "access_mode": mode}
    return {"adapter": ADAPTER, "driver_volume_type": "storpool", "data": data}


def stats(engine: Engine) -> dict[str, object]:
    """Return the domain's capacity as Engine reads it: whole GiB, at top level; proves that all parts work."""
    template = volumes.capacity(engine.client, engine.domain.template)
    if template is None:
        return {"total_capacity_gb": "unknown", "free_capacity_gb": "unknown"}
    return {
        "total_capacity_gb": template.capacity_bytes // GIB,
        "free_capacity_gb": template.free_bytes // GIB,
        "template": template.name,
    }


def _make_disk(engine: Engine, node: mapping.Node, plan: volumes.Plan) -> None:
    there = engine.mapping.plan(node)
    global_id = None
    if there is not None:
        _check_repeat(there, node)
        if there.state == mapping.LIVE:
            volumes.check(engine.client, "volume", _global_id(there), plan.tags)
            return
        try:
            global_id = volumes.find(engine.client, "volume", replace(plan, size_bytes=there.size_bytes))
        except errors.Foreign:
            _silent_write(engine, engine.mapping.forget, [node.uuid])
            raise
        if global_id is None and there.size_bytes != node.size_bytes:
            engine.mapping.resize(node.uuid, node.size_bytes)  # the source of a clone has grown since the first try
    if global_id is None:
        with _forgotten_when_refused(engine, node):
            global_id = _create_from(engine, node, plan)
    engine.mapping.complete(node.uuid, global_id)
    engine.log.line(
        "volume_created", volume=node.uuid, global_id=global_id, size_bytes=node.size_bytes, source=node.source or "-"
    )


def _create_from(engine: Engine, node: mapping.Node, plan: volumes.Plan) -> str:
    """Make a volume; where its origin is larger than the mapping knows (grown by hand), as large as that one is."""
    try:
        return volumes.create(engine.client, plan)
    except errors.Rejected:
        read = engine.client.snapshot if plan.parent else engine.client.volume
        origin = plan.parent or plan.base_on
        size_bytes = read(names.address(origin)).size_bytes if origin else 0
        if size_bytes <= (plan.size_bytes or 0):
            raise
    engine.mapping.resize(node.uuid, size_bytes)
    return volumes.create(engine.client, replace(plan, size_bytes=size_bytes))


def _check_repeat(there: mapping.Node, node: mapping.Node) -> None:
    """Raise Conflict unless the row that is there was written for the same create."""
    if there.state in (mapping.DELETING, mapping.REMOVED):
        raise errors.Conflict(f"volume {node.uuid}", "is being deleted", "an id cannot be used again")
    same_create = (there.kind, there.root, there.source) == (node.kind, node.root, node.source)
    if not same_create:
        what = f"from {there.source}" if there.source else "as an empty volume"
        raise errors.Conflict(f"{there.kind} {node.uuid}", f"was created {what}", "the same id cannot be used twice")
    if node.source is None and there.size_bytes != node.size_bytes:
        raise errors.Conflict(
            f"volume {node.uuid}",
            f"exists with {there.size_bytes} bytes in place of {node.size_bytes}",
            "the same id cannot be used for another size",
        )


@contextmanager
def _forgotten_when_refused(engine: Engine, node: mapping.Node) -> Iterator[None]:
    """Take the intent back when StorPool said a clear no; keep it when nobody knows what was made."""
    try:
        yield
    except _REFUSALS:
        _silent_write(engine, engine.mapping.forget, [node.uuid])
        raise


def _delete_nodes(
    engine: Engine, tree: list[mapping.Node], doomed: list[mapping.Node], keep_root: bool = False
) -> None:
    """Delete these objects of a tree, volumes before snapshots, and their rows; all or none where one is open."""
    if not doomed:
        return
    there = [(node, global_id) for node, global_id in _resolved(engine, doomed) if _is_there(engine, node, global_id)]
    if len(there) > 1:
        # None may go while another one's device is open, so all are let go in one atomic request first.
        _release(engine, there)
    gone = [node.uuid for node in doomed]
    left = {node.uuid for node in doomed if node.state in (mapping.PLANNED, mapping.LIVE)}
    engine.mapping.mark(sorted(left), mapping.DELETING)
    for node, global_id in sorted(there, key=lambda pair: pair[0].kind, reverse=True):
        try:
            _delete_object(engine, node, global_id)
        except _REFUSALS:
            _silent_write(engine, engine.mapping.mark, sorted(left), mapping.LIVE)
            raise
        left.discard(node.uuid)
    _activate_previous(engine, tree, gone)
    roots = [node.uuid for node in doomed if keep_root and node.uuid == node.root]
    if roots:
        engine.mapping.mark(roots, mapping.REMOVED)
    engine.mapping.forget([uuid for uuid in gone if uuid not in roots])


def _silent_write(engine: Engine, write: Callable[..., None], *args: object) -> None:
    """Undo in the mapping after a failure, which stays the one that is told; what cannot be undone stays an intent."""
    try:
        write(*args)
    except errors.Error as error:
        engine.log.line("undo_failed", reason=error)


def _silent_wait(engine: Engine, node: mapping.Node, generation: int) -> None:
    """Wait for hosts to see a new size: the volume has it already, so a host that does not come along fails nothing."""
    try:
        pending = attachments.wait_for_hosts(engine.client, generation, _target(node))
    except errors.Error as error:
        engine.log.line("size_pending", volume=node.uuid, reason=error)
    else:
        if pending:
            engine.log.line("size_pending", volume=node.uuid, clients=",".join(map(str, pending)))


def _delete_object(engine: Engine, node: mapping.Node, global_id: str) -> None:
    drop = volumes.delete if node.kind == "volume" else volumes.delete_snapshot
    try:
        drop(engine.client, global_id)
    except errors.InUse:
        _release(engine, [(node, global_id)])
        drop(engine.client, global_id)
    engine.log.line(f"{node.kind}_deleted", **{node.kind: node.uuid}, global_id=global_id, disk=node.root)


def _release(engine: Engine, objects: list[tuple[mapping.Node, str]]) -> None:
    targets = [attachments.Target(global_id, names.object_name(node.uuid), node.kind) for node, global_id in objects]
    for each in attachments.release(engine.client, targets, storpool_conf.host_names(engine.root)):
        engine.log.line("released", target=each.name, client=each.client_id, reason="delete")


def _resolved(engine: Engine, nodes: list[mapping.Node]) -> Iterator[tuple[mapping.Node, str]]:
    """Yield each node with the global id of its object; an intent whose result is not known is looked up by name."""
    for node in nodes:
        if node.state == mapping.REMOVED:
            continue
        global_id = node.global_id
        if global_id is None:
            plan = volumes.Plan(names.object_name(node.uuid), _tags(engine, node))
            try:
                global_id = volumes.find(engine.client, node.kind, plan)
            except errors.Foreign as error:
                # The name is another owner's: the intent was never carried out, and nothing of it is there to delete.
                engine.log.line("intent_dropped", node=node.uuid, reason=error)
        if global_id is not None:
            engine.client.check_cluster(global_id, f"{node.kind} {node.uuid}")
            yield node, global_id


def _is_there(engine: Engine, node: mapping.Node, global_id: str) -> bool:
    """Tell whether a volume still exists and is ours; a snapshot's delete itself tells, and takes no data with it."""
    if node.kind == "snapshot":
        return True
    try:
        volumes.check(engine.client, node.kind, global_id, _tags(engine, node))
    except errors.NotFound:
        return False
    return True


def _activate_previous(engine: Engine, tree: list[mapping.Node], gone: list[str]) -> None:
    """Where the active volume went, the one that it had replaced is active again."""
    nodes = {node.uuid: node for node in tree}
    root = nodes.get(tree[0].root)
    if root is None or root.uuid in gone or root.active not in gone:
        return
    active: str | None = root.active
    while active is not None and active in gone:
        active = nodes[active].replaced if active in nodes else None
    if active is None or active not in nodes:
        active = root.uuid
    engine.mapping.activate(root.uuid, active)


def _refuse_unmapped(engine: Engine, uuid: str) -> None:
    """Raise Conflict when the cluster has an object of this id that the mapping lacks: never lose it silently."""
    for read in (engine.client.volume, engine.client.snapshot):
        try:
            there = read(names.object_name(uuid))
        except errors.NotFound:
            continue
        raise errors.Conflict(
            f"{there.kind} {there.name} ({there.global_id})",
            "exists in StorPool but not in the mapping database",
            "was the database restored or replaced? nothing was deleted",
        )


def _locked_tree(engine: Engine, uuid: str) -> list[mapping.Node]:
    """Lock the disk that this node belongs to and return its tree; empty when there is no such node."""
    found = engine.mapping.node(uuid)
    if found is None:
        _refuse_unmapped(engine, uuid)
        return []
    engine.mapping.lock(found.root)
    return engine.mapping.tree(found.root)


def _check_growth(engine: Engine, node: mapping.Node, size_bytes: int) -> None:
    """Raise Conflict when the volume is larger; its row may name a size that an extend that died never gave it."""
    there = engine.client.volume(names.address(_global_id(node)))
    if size_bytes < there.size_bytes:
        raise errors.Conflict(
            f"volume {node.uuid}",
            f"has {there.size_bytes // GIB} GiB, {size_bytes // GIB} GiB would cut data off",
            "a volume cannot shrink",
        )


def _check_volume(node: mapping.Node, what: str) -> None:
    if node.kind != "volume":
        raise errors.Conflict(f"{node.kind} {node.uuid}", f"cannot {what}", "only a volume can")


def _known(engine: Engine, uuid: str) -> mapping.Node:
    node = engine.mapping.node(uuid)
    if node is None:
        raise errors.NotFound("disk, volume or snapshot", uuid, "in the mapping database")
    return node


def _live(engine: Engine, uuid: str) -> mapping.Node:
    """Return the row of an object that exists; raise NotFound or Conflict with the reason when it does not."""
    node = _known(engine, uuid)
    if node.state == mapping.PLANNED:
        raise errors.Conflict(f"{node.kind} {uuid}", "was never finished", "repeat what made it, or delete it")
    if node.state in (mapping.DELETING, mapping.REMOVED):
        raise errors.NotFound(node.kind, uuid, "any more: it was deleted, or a delete of it has begun")
    engine.client.check_cluster(_global_id(node), f"{node.kind} {uuid}")
    return node


def _global_id(node: mapping.Node) -> str:
    if node.global_id is None:
        raise errors.Conflict(f"{node.kind} {node.uuid}", "has no object in StorPool yet", "repeat what made it")
    return node.global_id


def _target(node: mapping.Node) -> attachments.Target:
    return attachments.Target(_global_id(node), names.object_name(node.uuid), node.kind)


def _tags(engine: Engine, node: mapping.Node) -> dict[str, str]:
    return names.tags(node.uuid, engine.mapping.location, node.root)


def _plan(
    engine: Engine, node: mapping.Node, origin: mapping.Node | None = None, template: str | None = None
) -> volumes.Plan:
    """Return what is to be made in the cluster for a row; a snapshot takes size and source from its volume."""
    if node.kind == "snapshot":
        return volumes.Plan(names.object_name(node.uuid), _tags(engine, node))
    source = _global_id(origin) if origin is not None else None
    from_snapshot = origin is not None and origin.kind == "snapshot"
    return volumes.Plan(
        names.object_name(node.uuid),
        _tags(engine, node),
        node.size_bytes,
        template,
        parent=source if from_snapshot else None,
        base_on=None if from_snapshot else source,
    )


def _new_uuid() -> str:
    import uuid

    return str(uuid.uuid4())
