"""The VM, the QoS class and VolumeCare's policy of a disk go where the disk's active volume goes.

A preview's volume takes them from the one that it replaces, and gives them back when it is deleted.
It is made with the class and the policy. Then the VM and the policy are taken from the other one,
and last it is written which VM has it: whatever dies in between, no disk is in a VM twice, and the
VM's next start writes what is missing. At an undo the one before it gets class and policy before
the preview's volume goes, and its VM when that is gone. The same where another volume becomes the
active one and nothing goes, as Engine names it. So at no moment the values are nowhere. Nothing of
it fails a verb.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.engine import mapping, tree
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple, contextmanager, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storpool_ovirt.cluster import api
    from storpool_ovirt.cluster.plans import Plan


# On one volume of a disk at most, beside the VM. The class may be on several, and so is the mark:
# where a value is taken from the active one, the others still tell whose theirs is.
_OF_THE_ACTIVE = (names.TAG_POLICY,)


class Replaced(NamedTuple):
    """A volume that another one is about to replace, or has replaced, as its row and StorPool have
    it; `there` is None where it cannot be asked for."""

    node: mapping.Node
    there: api.Volume | None


def silent_look(work: tree.Work, node: mapping.Node | None) -> Replaced | None:
    """Return the volume of a row as it is now; None where there is none."""
    from storpool_ovirt.engine import ownership

    if node is None or node.state == mapping.REMOVED:
        return None
    try:
        return Replaced(node, ownership.proved(_brief(work), node))
    except errors.Error as error:
        work.log.line("policy_unknown", volume=node.uuid, reason=error)
        return Replaced(node, None)


def previewed(work: tree.Work, plan: Plan, replaced: Replaced | None) -> Plan:
    """Return a preview's plan with what is said of its disk, as far as it has room for it beside
    the VM that it gets later, and with the domain's free tags and limits."""
    there = replaced.there if replaced is not None else None
    if there is not None and not names.has_policy(there.tags) and not work.domain.has_policy:
        return plan
    from storpool_ovirt.engine import disk_policy

    if there is None:
        return disk_policy.planned(work, plan, disk_policy.of_domain(work))
    return disk_policy.moved(work, plan, there.tags)


def silent_move(work: tree.Work, source: Replaced, target: mapping.Node, plan: Plan) -> None:
    """Have the volume of `target`, made by this plan, be the VM's in place of `source`."""
    there, key = source.there, work.domain.vm_tag
    if there is None:
        return
    # What the other one has no room for stays here, so that it comes back with an undo
    gets = plan.policy.tags
    gone = [key, *(each for each in _OF_THE_ACTIVE if gets.get(each) == there.tags.get(each))]
    if not any(there.tags.get(each) for each in gone):
        return
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.engine import ownership

    brief = _brief(work)
    seen: dict[str, str] = {}

    def cleared(now: api.Volume) -> dict[str, str]:
        seen.update(now.tags)
        return {each: "" for each in gone if now.tags.get(each)}

    try:
        is_changed = volumes.change(brief.client, there, tags=cleared)
        vm = names.vm_of(seen, key)
        if is_changed and vm:
            _log_vm(work, there, "")
        if vm:
            _name(brief, ownership.proved(brief, target), vm)
    except errors.Error as error:
        work.log.line("vm_not_tagged", volume=target.uuid, reason=error)


def silent_give(work: tree.Work, node: mapping.Node, going: api.Volume) -> bool:
    """Have the volume of `node`, which is about to be its disk's active one again, have the class
    and the policy of the one that is `going`; return whether it was changed."""
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.engine import ownership

    if not names.has_policy(going.tags):
        return False
    brief = _brief(work)
    try:
        there = ownership.proved(brief, node)
        key = work.domain.vm_tag
        changed = volumes.change(brief.client, there, tags=lambda now: _given(going, now, key))
    except errors.Error as error:
        work.log.line("policy_not_moved", volume=node.uuid, reason=error)
        return False
    if changed:
        work.log.line("policy_moved", volume=node.uuid, global_id=there.global_id)
    return changed


def activate(work: tree.Work, node: mapping.Node) -> None:
    """Write that a volume is its disk's active one, and have it be what the one before it was."""
    from storpool_ovirt.engine import changes

    root = work.mapping.node(node.root)
    with switched(work, node, root.active if root is not None else None):
        work.mapping.write(changes.activated(node.root, node.uuid))


@contextmanager
def switched(work: tree.Work, node: mapping.Node, other: str | None) -> Iterator[None]:
    """Have the volume of `node`, which becomes its disk's active one inside in place of `other`,
    which stays, be what that one was.

    Class and policy come before, and go from the other one after it. Its VM goes from that before:
    wherever this dies, no VM has the disk twice, and the VM's next start names it.
    """
    before = work.mapping.node(other) if other not in (None, node.uuid) else None
    # One that an undo which died was to delete may be there, and stay
    may_stay = before is not None and before.state in (mapping.LIVE, mapping.DELETING)
    staying = silent_look(work, before if may_stay else None)
    there = staying.there if staying is not None else None
    if there is None or not (names.has_policy(there.tags) or of(work, there)):
        yield
        return
    silent_give(work, node, there)
    if _silent_clear(work, there, lambda key: key == work.domain.vm_tag):
        _log_vm(work, there, "")
    yield
    now = silent_look(work, node)
    has = now.there.tags if now is not None and now.there is not None else {}
    _silent_clear(
        work, there, lambda key: key in _OF_THE_ACTIVE and has.get(key) == there.tags.get(key)
    )


def silent_take_back(work: tree.Work, node: mapping.Node, staying: api.Volume) -> None:
    """Take from the volume of `node` again what the one that was to go has, and is still there."""
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.engine import ownership

    has = {each: staying.tags[each] for each in _OF_THE_ACTIVE if staying.tags.get(each)}
    if not has:
        return

    def taken(now: api.Volume) -> dict[str, str]:
        return {key: "" for key, value in has.items() if now.tags.get(key) == value}

    brief = _brief(work)
    try:
        there = ownership.proved(brief, node)
        volumes.change(brief.client, there, tags=taken)
    except errors.Error as error:
        work.log.line("policy_not_moved", volume=node.uuid, reason=error)


def silent_name(work: tree.Work, node: mapping.Node, vm: str) -> None:
    """Have the volume of a node name this VM."""
    from storpool_ovirt.engine import ownership

    brief = _brief(work)
    try:
        _name(brief, ownership.proved(brief, node), vm)
    except errors.Error as error:
        work.log.line("vm_not_tagged", volume=node.uuid, vm=vm, reason=error)


def of(work: tree.Work, there: api.Volume) -> str:
    """Return the VM that a volume names; "" where it names none."""
    return names.vm_of(there.tags, work.domain.vm_tag)


def _silent_clear(work: tree.Work, there: api.Volume, goes: Callable[[str], bool]) -> bool:
    """Take those tags from a volume; return whether it had any."""
    from storpool_ovirt.cluster import volumes

    def cleared(now: api.Volume) -> dict[str, str]:
        keys = (work.domain.vm_tag, *_OF_THE_ACTIVE)
        return {key: "" for key in keys if now.tags.get(key) and goes(key)}

    try:
        return volumes.change(_brief(work).client, there, tags=cleared)
    except errors.Error as error:
        work.log.line("policy_not_moved", volume=there.name, reason=error)
        return False


def _given(going: api.Volume, now: api.Volume, vm_key: str) -> dict[str, str]:
    """Return the tags that change so that a volume has what the one that is going has, and, of
    what that one had no room for beside its VM, what it has kept itself."""
    from storpool_ovirt.policy import levels, marks, values

    its, own = marks.parsed(going.tags), marks.parsed(now.tags)
    has = {tag: going.tags.get(tag, "") for tag in values.TAG.values()}
    kept = {tag: now.tags.get(tag) or value for tag, value in has.items()}
    moved = {**kept, vm_key: names.NIL_UUID, names.TAG_MARK: marks.written(own)}
    left_out = levels.moved(moved, vm_key, (going.name, going.tags)).left_out
    origins = {}
    for field, tag in values.TAG.items():
        origins[field] = its.of(field)
        # Else somebody has said another thing of it meanwhile
        if tag in left_out and not its.of(field).by and has[tag] in ("", own.of(field).base):
            has[tag], origins[field] = kept[tag], own.of(field)
    found = {**has, names.TAG_MARK: marks.written(marks.Mark(**origins))}
    return levels.moved(found, "", (now.name, now.tags)).tags


def _name(work: tree.Work, there: api.Volume, vm: str) -> None:
    """Have a volume name a VM, also where something less important has to go for it."""
    from storpool_ovirt.cluster import volumes
    from storpool_ovirt.policy import levels

    key = work.domain.vm_tag
    left_out: list[str] = []

    def named(now: api.Volume) -> dict[str, str]:
        found = levels.changes(now.name, now.tags, {}, (key, vm))
        left_out[:] = found.left_out
        return found.tags

    if volumes.change(work.client, there, tags=named):
        _log_vm(work, there, vm)
    if left_out:
        work.log.line("tags_left_out", name=there.name, tags=",".join(left_out))


def _log_vm(work: tree.Work, there: api.Volume, vm: str) -> None:
    work.log.line("vm_tagged", volume=there.name, global_id=there.global_id, vm=vm or "-")


def _brief(work: tree.Work) -> tree.Work:
    """Return the tools of a verb with a limit of their own, as the verb is done already."""
    from storpool_ovirt.cluster import vm_tags

    limit = work.mapping.session.deadline.within(vm_tags.SECONDS)
    return replace(work, client=work.client.limited(limit))
