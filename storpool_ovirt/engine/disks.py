"""oVirt's disks: what each of Engine's verbs means for the tree of volumes and snapshots that one
disk is.

Any id may name any node of a tree, whatever Engine calls it; the id alone decides (a snapshot that
was taken while a preview was active is later named together with the disk's first id). Order of
every change: lock the disk, write the intent, act, write the result. A verb that is repeated finds
the intent and finishes it. The source of each rule is Engine's own flows, told in docs/verbs.md.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, sizes
from storpool_ovirt.engine import mapping, tree
from storpool_ovirt.light import TYPE_CHECKING

# Engine waits for each verb: what only some of them need is loaded by those.
if TYPE_CHECKING:
    from collections.abc import Mapping

    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import claim

STATS_SECONDS = 8.0


def create(work: tree.Work, uuid: str, size_bytes: int) -> None:
    """Make the empty volume of a new disk.

    Repeated with the same size it is a success, with another a Conflict.
    """
    from storpool_ovirt.engine import creation

    said = work.mapping.held_new(uuid, work.domain.key)
    node = creation.new_disk(uuid, size_bytes)
    plan = creation.plan(work, node, template=work.domain.template)
    creation.make_disk(work, node, creation.with_policy(work, plan, said))


def clone(work: tree.Work, source: str, uuid: str) -> None:
    """Make a new disk with the data that the volume or snapshot `source` has now."""
    from storpool_ovirt.engine import creation

    row, said = _locked_source(work, source, uuid)
    origin, there = _as_it_is(work, tree.checked(work, row))
    node = creation.new_disk(uuid, origin.size_bytes, source)
    plan = creation.plan(work, node, origin, work.domain.template)
    tags = _source_tags(work, origin, there)
    creation.make_disk(work, node, creation.with_policy(work, plan, said, tags))


def snapshot(work: tree.Work, volume: str, begun: claim.Claim | None = None) -> str:
    """Freeze the volume as it is now, with the other disks of its running VM at the same moment
    (`snapshots.py`), and return the new snapshot's id; `begun` is how far it has come without
    StorPool."""
    from storpool_ovirt.engine import snapshots

    return snapshots.taken(work, volume, begun)


def preview(work: tree.Work, snapshot: str) -> str:
    """Make a volume from a snapshot for its disk, at least as large as the disk is now, and return
    its id.

    It becomes the disk's active volume until it is deleted (undo) or another takes its place.
    """
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.engine import creation, recovery, vm_tag

    found, nodes = recovery.locked_with_tree(work, snapshot)
    origin, _ = _as_it_is(work, tree.checked(work, found))
    root = origin.root
    before = (nodes[root].active if root in nodes else None) or root
    size_bytes = max(origin.size_bytes, nodes[before].size_bytes if before in nodes else 0)
    node = creation.new_preview(origin, size_bytes, before)
    replaced = vm_tag.silent_look(work, nodes.get(before))
    plan = vm_tag.previewed(work, creation.plan(work, node, origin), replaced)
    with creation.begun(work, node, plan):
        global_id = volumes.create(work.client, plan)
    work.mapping.complete_preview(node.uuid, global_id, root)
    work.log.line(
        "volume_created", volume=node.uuid, global_id=global_id, snapshot=snapshot, disk=root
    )
    if replaced is not None:
        vm_tag.silent_move(work, replaced, node._replace(global_id=global_id), plan)
    return node.uuid


def extend(work: tree.Work, uuid: str, size_bytes: int) -> None:
    """Give the disk this size (bytes, absolute): the volume that is active where the disk itself is
    named.

    The same size is a success, a smaller one a Conflict. Hosts that have it attached know the size
    on return.
    """
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.engine import ownership, recovery

    node, nodes = recovery.locked_with_tree(work, uuid)
    if node.uuid == node.root and node.active not in (None, uuid):
        node = mapping.there(nodes.get(str(node.active)), str(node.active))
    tree.checked(work, node)
    tree.check_volume(node, "grow")
    _check_growth(node, node.size_bytes, size_bytes)
    there = ownership.proved_now(work, node)
    _check_growth(node, there.size_bytes, size_bytes)
    node = tree.found_as(node, there)
    work.mapping.begin_growth(node, size_bytes)
    try:
        generation = volumes.grow(work.client, there.global_id, size_bytes)
    except tree.REFUSALS:
        from storpool_ovirt.engine import changes

        tree.silent_take_back(work, changes.unchanged())
        raise
    work.mapping.complete_growth(node.uuid, size_bytes)
    work.log.line(
        "volume_extended", volume=node.uuid, global_id=node.global_id, size_bytes=size_bytes
    )
    if node.connected:
        _silent_wait(work, node, generation)


def delete(work: tree.Work, uuid: str, *, at_once: bool = False) -> None:
    """Delete a node: the whole tree where `uuid` is a disk, else that volume or snapshot alone;
    unknown is a success.

    The trash keeps a disk, or a snapshot, for as long as the domain says, unless it is to go
    `at_once`; an undone preview is never kept. Of a disk the domain may want a copy in another
    location before; without it nothing is deleted.

    Raises InUse naming the hosts when a device is open anywhere in what is to go, and Conflict for
    a disk too many in a short time (`brake.py`); everything is as before then.
    """
    from storpool_ovirt.engine import recovery, removal

    nodes = recovery.locked_tree(work, uuid, whole=True)
    is_whole = bool(nodes) and nodes[0].root == uuid
    if is_whole and work.domain.max_deletes and not at_once:
        from storpool_ovirt.engine import brake

        brake.check(work, uuid)
    doomed = nodes if is_whole else [each for each in nodes if each.uuid == uuid]
    keep_seconds = 0
    if is_whole and not at_once:
        keep_seconds = work.domain.delete_delay_seconds
    elif any(each.kind == "snapshot" for each in doomed):
        keep_seconds = work.domain.snapshot_delete_delay_seconds
    copy_to = work.domain.backup_on_delete if is_whole and not at_once else None
    removal.delete_nodes(work, uuid, nodes, doomed, keep_seconds, copy_to=copy_to)


def remove(work: tree.Work, uuid: str) -> None:
    """Delete one node, volume or snapshot, and nothing else of its tree; unknown is a success.

    The volume that the disk's VM writes is not among them: only `delete` takes it. Of a disk's own
    first volume the id stays known, as the disk has it. The trash keeps it for as long as the
    domain says of snapshots.
    """
    from storpool_ovirt.engine import recovery, removal

    nodes = recovery.locked_tree(work, uuid)
    named = [each for each in nodes if each.uuid == uuid and each.state != mapping.REMOVED]
    if named and uuid in {each.active or each.uuid for each in nodes if each.uuid == each.root}:
        raise errors.Conflict(
            f"volume {uuid}", "is the active volume of its disk", "delete the disk itself"
        )
    keep_seconds = work.domain.snapshot_delete_delay_seconds
    removal.delete_nodes(work, uuid, nodes, named, keep_seconds)


def connect(work: tree.Work, uuid: str, connector: object) -> dict[str, object]:
    """Return `connection` of the type that this host's Vdsm takes, and note which host asked:
    `storpool-ovirt attachments` tells from it what is likely.

    `connector` is what the host told Engine of itself (oVirt's `connector_info`): null, or without
    its name, too. A plug may follow, for which the mark that a disk is shareable is brought up to
    date, and what was said of the VM is written to a disk that is new to it. Raises InputError,
    before anything is noted, for a host whose Vdsm takes no volume of ours.
    """
    volume_type = names.volume_type_of(connector)
    host = names.host_of(connector)
    node, says_of_vms = tree.asked_for(work, uuid, host)
    there = _described(work, node)
    if node.connected:
        from storpool_ovirt.engine import shareable

        shareable.follow(work, node, there, host)
    if says_of_vms and node.kind == "volume" and not names.vm_of(there.tags, work.domain.vm_tag):
        from storpool_ovirt.engine import arrivals

        arrivals.silent_follow(work, node, there)
    return {**_connection(uuid, there), "driver_volume_type": volume_type}


def connection(work: tree.Work, uuid: str) -> dict[str, object]:
    """Return how a host reaches this node: the same for ever, as Vdsm compares it with what it has,
    and for every host but for the type that `connect` puts in.

    Changes nothing in the cluster. Raises NotFound when StorPool does not have it.
    """
    return _connection(uuid, _described(work, tree.known(work, uuid)))


def stats(work: tree.Work) -> dict[str, object]:
    """Return the domain's capacity as Engine reads it: whole GiB, at top level; proves that all
    parts work."""
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.engine import claims, placement

    database, said = work.mapping.check(work.domain.key)
    # While a domain is added somebody waits who can correct its address; a failover is known by the
    # next time.
    work.client.give_up_after(STATS_SECONDS)
    template = volumes.capacity(work.client, work.domain.template)
    placement.check(
        work,
        lambda uuid: create(work, uuid, sizes.GIB),
        lambda uuid: delete(work, uuid, at_once=True),
    )
    claims.note(work, database)
    more = {**_backup_fault(work), **_policy_default(said)}
    if template is None:
        return {"total_capacity_gb": "unknown", "free_capacity_gb": "unknown", **more}
    return {
        "total_capacity_gb": template.capacity_bytes // sizes.GIB,
        "free_capacity_gb": template.free_bytes // sizes.GIB,
        "template": template.name,
        **more,
    }


def _backup_fault(work: tree.Work) -> dict[str, object]:
    """Return what is wrong with the location that the domain copies to before a delete; nothing
    else needs it, so all other verbs, this one too, do without."""
    copy_to = work.domain.backup_on_delete
    if copy_to is None:
        return {}
    from storpool_ovirt.cluster import remote

    try:
        remote.check_location(work.client, copy_to.location)
    except (errors.NotFound, errors.Rejected) as error:
        work.log.line("backup_location_unknown", location=copy_to.location, reason=error)
        return {names.BACKUP_FAULT: str(error)}
    return {}


def _policy_default(said: mapping.Said) -> dict[str, object]:
    """Return what new disks get by an administrator's word, in place of what the domain's options
    say, where he has said anything."""
    if not said:
        return {}
    from storpool_ovirt.engine import policies

    return {names.POLICY_DEFAULT: str(policies.named(said, policies.DOMAIN))}


def _described(work: tree.Work, node: mapping.Node) -> api.Volume:
    """Return a node's object, of which the mapping knows from now on that a host may have it.

    Where one may have had it before, a volume is read as of now: a mark of a moment ago counts
    (`shareable.py`), and a revert by hand may have given it another global id, while the one of
    before leads nowhere.
    """
    from storpool_ovirt.engine import ownership, recovery

    uuid, was_connected = node.uuid, node.connected
    if node.pending and recovery.has_to_settle(work, node):
        node = recovery.locked(work, uuid)
    tree.checked(work, node)
    if was_connected and node.kind == "volume":
        work.client.be_current()
    there = ownership.proved(work, node)
    if node.kind == "volume":
        root = node if node.uuid == node.root else work.mapping.node(node.root)
        if not node.connected or root is None or root.active != uuid:
            now = tree.checked(work, mapping.there(_connected(work, node, root), uuid))
            if now.global_id != there.global_id:  # another volume came out of the trash meanwhile
                there = ownership.proved(work, now)
    return there


def _connected(
    work: tree.Work, node: mapping.Node, root: mapping.Node | None
) -> mapping.Node | None:
    """Write that a volume is in use, and its disk's active one; return its row as it was.

    It is another one than we know where a preview, or its undo, has failed in Engine's eyes.
    """
    if root is None or root.active in (None, node.uuid):
        return work.mapping.connect(node.uuid, node.root)
    from storpool_ovirt.engine import vm_tag

    with vm_tag.switched(work, node, root.active):
        return work.mapping.connect(node.uuid, node.root)


def _connection(uuid: str, there: api.Volume) -> dict[str, object]:
    mode = "rw" if there.kind == "volume" else "ro"
    from storpool_ovirt.engine import reverts

    data = {"volume": uuid, "global_id": reverts.lasting_id(there), "access_mode": mode}
    return {names.ADAPTER_KEY: names.ADAPTER, "driver_volume_type": names.VOLUME_TYPE, "data": data}


def _locked_source(work: tree.Work, source: str, uuid: str) -> tuple[mapping.Node, mapping.Said]:
    """Hold what is cloned against changes only, so that many clones of it run at once, and the new
    disk whole; return its row, with the active volume of its disk, and what an administrator has
    said of that and of the domain."""
    found, said = work.mapping.held_source(source, uuid, work.domain.key)
    origin = mapping.there(found, source)
    if not origin.pending:
        return origin, said
    from storpool_ovirt.engine import recovery

    origin = recovery.settled(work, source)
    disk = work.mapping.node(origin.root)
    return origin._replace(active=disk.active if disk is not None else None), said


def _as_it_is(work: tree.Work, origin: mapping.Node) -> tuple[mapping.Node, api.Volume]:
    """Return the row of what is copied with its object's global id of now, and as large as a copy
    of it has to be, as it may have been grown by hand; and the object."""
    from storpool_ovirt.engine import ownership

    there = ownership.proved_now(work, origin)
    size_bytes = max(origin.size_bytes, there.size_bytes)
    return tree.found_as(origin, there)._replace(size_bytes=size_bytes), there


def _source_tags(work: tree.Work, origin: mapping.Node, there: api.Volume) -> Mapping[str, str]:
    """Return the tags of the volume whose disk is cloned: a snapshot has none of a policy's. Who
    gave a preview its class the volume before it tells, where the preview has no room for that."""
    if there.kind == "volume":
        uuid, tags = origin.uuid, there.tags
    else:
        uuid = origin.active or origin.root
        tags = _silent_tags(work, uuid)
    if uuid == origin.root or not _lacks_mark(tags):
        return tags
    before = _silent_tags(work, origin.root)
    is_its = before.get(names.TAG_QOS_CLASS) == tags[names.TAG_QOS_CLASS]
    mark = names.mark(before) if is_its else ""
    return {**tags, names.TAG_MARK: mark} if mark else tags


def _silent_tags(work: tree.Work, uuid: str) -> Mapping[str, str]:
    from storpool_ovirt.engine import disk_policy

    return disk_policy.silent_tags(work, uuid)


def _lacks_mark(tags: Mapping[str, str]) -> bool:
    return bool(tags.get(names.TAG_QOS_CLASS)) and not names.mark(tags)


def _silent_wait(work: tree.Work, node: mapping.Node, generation: int) -> None:
    """Wait for hosts to see a new size: the volume has it already, so a host that does not come
    along fails nothing."""
    from storpool_ovirt.cluster import attachments

    try:
        pending = attachments.wait_for_hosts(work.client, generation, tree.target(node))
    except errors.Error as error:
        work.log.line("size_pending", volume=node.uuid, reason=error)
    else:
        if pending:
            work.log.line("size_pending", volume=node.uuid, clients=",".join(map(str, pending)))


def _check_growth(node: mapping.Node, has_bytes: int, size_bytes: int) -> None:
    if size_bytes < has_bytes:
        raise errors.Conflict(
            f"volume {node.uuid}",
            f"has {has_bytes / sizes.GIB:g} GiB, {size_bytes // sizes.GIB} GiB would cut data off",
            "a volume cannot shrink",
        )
