"""The tags of a VM's volumes that follow their VM: which one it is, and what its properties say of
the QoS class and of VolumeCare's policy.

By the first a snapshot of a VM finds all of its disks, the others are for StorPool's services. A
host writes them where it makes a volume its own for a VM, in one request for each that differs.
Nothing depends on them that could not wait: a snapshot asks who has the volume as well. So whatever
goes wrong here is a line of the log, no start is refused for it, and the next start writes what is
missing. A volume that several VMs may have carries none of the VM's.

VolumeCare leaves a VM alone whose volumes have several policies. So where not all could be written,
those that were get their policy back, if the VM has one by that. Who dies between two requests
leaves several: its next start, `policy sync` and the audit see to that.
"""

from __future__ import annotations

from storpool_ovirt import config, errors, names, storpool_conf
from storpool_ovirt.cluster import api, attachments, vm_tags, volumes
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storpool_ovirt.log import Log
    from storpool_ovirt.policy import levels, properties

    Said = Mapping[str, levels.Said]
    Properties = Mapping[str, "properties.Property | None"]


class Wish(NamedTuple):
    """What the volumes of a VM shall say: which VM it is, and what its properties say of each
    field; one without an entry says nothing, one with None makes no sense."""

    tag: vm_tags.Tag = vm_tags.NONE
    properties: Mapping[str, properties.Property | None] = {}


NOTHING = Wish()


class _Step(NamedTuple):
    """What is to become of a volume: whether it is the VM's, what is said of it, and which of its
    tags change as it was read."""

    there: api.Volume
    is_its: bool
    said: Said
    changes: levels.Changes


class _Written(NamedTuple):
    """What became of steps: done, refused (or not tried), of a volume that is not the VM's any more
    or gone, and the one of which nobody knows, as its answer was lost."""

    done: list[_Step]
    refused: list[_Step]
    gone: list[_Step]
    lost: list[_Step]


def wish(log: Log, host: config.HostSettings, given: Mapping[str, str]) -> Wish:
    """Return what the VM of the log's lines, with these properties by their names, wishes; what
    cannot be used is a line of the log."""
    if not host.vm_tag:
        log.line("vm_tag_unusable", key=storpool_conf.VM_TAG_KEY)
    vm = log.correlation_id
    tag = vm_tags.Tag(host.vm_tag, vm) if names.UUID.fits(vm) else vm_tags.NONE
    return Wish(tag, _read(log, host.qos_classes, given) if given else {})


def silent_follow(
    client: api.Client,
    host: attachments.HostSide,
    wished: Wish,
    alone: Sequence[api.Volume] = (),
    not_its: Sequence[api.Volume] = (),
) -> None:
    """Have the volumes that are the VM's `alone` say what it wishes, and those that are `not_its`
    say nothing of it; one request for each that differs, none else.

    What leaves the VM comes first. Only what carries a mark of ours is written: no snapshot of a VM
    has anything else.
    """
    left = [(each, False) for each in not_its if may_differ(wished, each, is_its=False)]
    # What one of them says of the VM is for the others too
    has_mark = any(names.mark(each.tags) for each in alone)
    left += [(each, True) for each in alone if may_differ(wished, each, has_mark=has_mark)]
    steps = _planned(wished, left, host.log) if left else []
    if not steps:
        return
    written = _silent_written(client, host, wished.tag, steps)
    if written.refused or written.lost:
        _silent_one_policy(client, host, wished.tag, alone, written)


def may_differ(
    wished: Wish, there: api.Volume, is_its: bool = True, *, has_mark: bool = False
) -> bool:
    """Return whether a volume has to be looked at more closely; a look that costs next to
    nothing. `has_mark`: another one of the VM has a mark."""
    if not names.is_own_mark(there.name, there.tags):
        return False
    key, vm = wished.tag
    names_another = bool(key) and there.tags.get(key, "") != (vm if is_its else "")
    says_more = is_its and bool(wished.properties)
    return names_another or says_more or has_mark or bool(names.mark(there.tags))


def differs_apart(wished: Wish, there: api.Volume) -> bool:
    """Return whether a volume that is no VM's alone says something of one."""
    return may_differ(wished, there, is_its=False) and bool(
        _step(wished, there, is_its=False).changes.tags
    )


def _read(log: Log, classes: Sequence[str], given: Mapping[str, str]) -> Properties:
    from storpool_ovirt.policy import properties

    found = {}
    for field, name in properties.NAME.items():
        said, fault = properties.read(field, given.get(name), classes)
        if fault:
            log.line("property_unusable", property=name, reason=fault)
        if said != properties.ABSENT:
            found[field] = said
    return found


def _planned(wished: Wish, left: Sequence[tuple[api.Volume, bool]], log: Log) -> list[_Step]:
    """Return what is to be done about these volumes: each may be the VM's, or not."""
    from storpool_ovirt.policy import values

    of_vm = _by_administrator(wished.tag, [there for there, is_its in left if is_its])
    steps = [_step(wished, there, is_its, of_vm) for there, is_its in left]
    care = values.TAG[values.VC]
    if wished.properties.get(values.VC) and any(
        each.is_its and care in each.changes.left_out for each in steps
    ):
        # What not all of them can have, none gets: VolumeCare leaves a VM of two policies alone
        rest = {key: said for key, said in wished.properties.items() if key != values.VC}
        for each in steps:
            _tell_left_out(each, log)
        return _planned(wished._replace(properties=rest), left, log)
    for each in steps:
        _tell_left_out(each, log)
    return [each for each in steps if each.changes.tags]


def _by_administrator(tag: vm_tags.Tag, its: Sequence[api.Volume]) -> dict[str, str]:
    """Return what an administrator has said of the VM, by field, as its volumes tell it: one that
    came to the VM later has to have it too, else the VM has two policies. Where they tell several
    things nobody knows."""
    from storpool_ovirt.policy import marks, values

    found: dict[str, set[str]] = {}
    for there in its:
        mark = marks.parsed(there.tags)
        for field, key in values.TAG.items():
            if mark.of(field).by == marks.VM and there.tags.get(tag.key) == tag.vm:
                found.setdefault(field, set()).add(there.tags.get(key, ""))
    return {field: told.pop() for field, told in found.items() if len(told) == 1}


def _step(
    wished: Wish, there: api.Volume, is_its: bool, of_vm: Mapping[str, str] | None = None
) -> _Step:
    from storpool_ovirt.policy import levels, values

    admin_vm = of_vm or {}
    said = {
        field: _of_property(wished, field, there)._replace(
            admin_vm=admin_vm.get(field, levels.UNKNOWN)
        )
        if is_its
        else levels.Said(admin_vm=None, by_property=None)
        for field in values.FIELDS
    }
    changes = levels.changes(there.name, there.tags, said, _names(wished.tag, is_its))
    return _Step(there, is_its, said, changes)


def _of_property(wished: Wish, field: str, there: api.Volume) -> levels.Said:
    """Return what the VM's property says of a field of one of its volumes."""
    from storpool_ovirt.policy import levels

    if field not in wished.properties:
        return levels.Said(by_property=None)
    found = wished.properties[field]
    if found is None:
        return levels.Said()
    return levels.Said(by_property=found.of(*_ids(there)))


def _ids(there: api.Volume) -> list[str]:
    """Return by which ids oVirt knows a volume: its disk's, and its own."""
    own = there.tags.get(names.TAG_UUID) or names.uuid_of(there.name)
    return [each for each in (names.root_of(there.tags), own) if each]


def _names(tag: vm_tags.Tag, is_its: bool) -> tuple[str, str] | None:
    return (tag.key, tag.vm if is_its else "") if tag.key else None


def _changes_care(step: _Step) -> bool:
    return names.TAG_POLICY in step.changes.tags


def _care(step: _Step) -> str:
    return step.changes.tags[names.TAG_POLICY]


def _tell_left_out(step: _Step, log: Log) -> None:
    if step.changes.left_out:
        log.line("tags_left_out", name=step.there.name, tags=",".join(step.changes.left_out))


def _silent_written(
    client: api.Client, host: attachments.HostSide, tag: vm_tags.Tag, steps: Sequence[_Step]
) -> _Written:
    """Write what these volumes shall say; return what became of it."""
    brief = _brief(client, host)
    written = _Written([], [], [], [])
    for at, step in enumerate(steps):
        error = _silent_change(brief, step, tag, host.log)
        if isinstance(error, errors.Unavailable):
            written.lost.append(step)
            written.refused.extend(steps[at + 1 :])
            break
        if isinstance(error, (errors.NotFound, errors.Foreign)):
            written.gone.append(step)
        else:
            (written.done if error is None else written.refused).append(step)
    return written


def _silent_change(
    client: api.Client, step: _Step, tag: vm_tags.Tag, log: Log
) -> errors.Error | None:
    """Have a volume say it, by what its tags are now; return why it does not."""
    from storpool_ovirt.policy import levels

    there, vm = step.there, _names(tag, step.is_its)
    written: dict[str, str] = {}

    def changed(now: api.Volume) -> dict[str, str]:
        written.update(levels.changes(now.name, now.tags, step.said, vm).tags)
        return written

    try:
        is_changed = volumes.change(client, there, tags=changed)
    except errors.Error as error:
        log.line(
            "vm_not_tagged",
            volume=there.name,
            global_id=there.global_id,
            vm=(vm or ("", ""))[1] or "-",
            reason=error,
        )
        return error
    if is_changed:
        _tell(there, written, tag.key, log)
    return None


def _tell(there: api.Volume, written: Mapping[str, str], key: str, log: Log) -> None:
    about = {"volume": there.name, "global_id": there.global_id}
    if key in written:
        log.line("vm_tagged", **about, vm=written[key] or "-")
    policy = {
        word: written[tag] or "-"
        for word, tag in (("qos", names.TAG_QOS_CLASS), ("vc", names.TAG_POLICY))
        if tag in written
    }
    if policy:
        log.line("policy_set", **about, **policy)


def _silent_one_policy(
    client: api.Client,
    host: attachments.HostSide,
    tag: vm_tags.Tag,
    alone: Sequence[api.Volume],
    written: _Written,
) -> None:
    """See that the VM has one policy of VolumeCare's where not all could be written: what has the
    new one gets back what it had, if that makes them one."""
    brief = _brief(client, host)
    done = written.done + [each for each in written.lost if _silent_has_it(brief, each)]
    left = [each for each in (*written.refused, *written.lost) if each not in done]
    has = {each.global_id: each.tags for each in alone if names.is_own_mark(each.name, each.tags)}
    for step in written.gone:
        has.pop(step.there.global_id, None)
    for step in left:
        if tag.key and step.there.tags.get(tag.key) == tag.vm:  # also what is not its any more
            has[step.there.global_id] = step.there.tags
    before = {global_id: tags.get(names.TAG_POLICY, "") for global_id, tags in has.items()}
    back = [each for each in done if each.is_its and _changes_care(each)]
    after = {**before, **{each.there.global_id: _care(each) for each in back}}
    if len({*after.values()}) < 2:
        return
    if len({*before.values()}) < 2:
        _silent_undo(brief, back, host.log)
        return
    for step in left:  # it had several before, and what has the new one is right
        host.log.line("vm_of_two_policies", volume=step.there.name)


def _silent_has_it(client: api.Client, step: _Step) -> bool:
    """Return whether a volume has what was written without an answer."""
    try:
        client.be_current()
        now = volumes.read(client, "volume", names.address(step.there.global_id)).tags
    except errors.Error:
        return False
    return all(now.get(key, "") == value for key, value in step.changes.tags.items())


def _silent_undo(client: api.Client, steps: Sequence[_Step], log: Log) -> None:
    """Give these volumes VolumeCare's policy back that they had."""
    from storpool_ovirt.policy import levels, marks, values

    is_away = False
    for step in reversed(steps):
        by = marks.parsed(step.there.tags).vc.by
        before = step.there.tags.get(names.TAG_POLICY, "") if by == marks.PROPERTY else None
        of_vm = levels.UNKNOWN if by == marks.VM else None
        said = {values.VC: levels.Said(admin_vm=of_vm, by_property=before)}
        error = None
        if not is_away:
            error = _silent_change(client, step._replace(said=said), vm_tags.NONE, log)
            is_away = isinstance(error, errors.Unavailable)
        if is_away or (error and not isinstance(error, (errors.NotFound, errors.Foreign))):
            log.line("vm_of_two_policies", volume=step.there.name)


def _brief(client: api.Client, host: attachments.HostSide) -> api.Client:
    return client.limited(host.deadline.within(vm_tags.SECONDS))
