"""An administrator's word on a disk or a VM: checked whole before anything is changed, written to
the mapping, then to the volumes.

The row comes first: who dies in between has said it, and `policy sync` does the rest. What fails is
taken back, volumes and row, so that a VM is not left with half of its disks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from storpool_ovirt import errors, names
from storpool_ovirt.admin import policy_disks, policy_targets
from storpool_ovirt.admin.policy_disks import Standing
from storpool_ovirt.admin.policy_targets import Target
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import ownership, policies, tree
from storpool_ovirt.policy import levels, values

OPTION = {values.QOS: "--qos", values.VC: "--vc-policy"}
_MIXED = "VolumeCare ignores a VM whose disks have several"


def put(work: tree.Work, target: Target, said: Mapping[str, str | None]) -> list[str]:
    """Have an administrator say this of a disk or of all disks of a VM, by field; None takes back
    what was said before. Return what was done, a line for each disk.

    Raises InputError, Conflict and what the mapping and the API raise; nothing has changed then,
    or it was taken back.
    """
    with held(work, target.disks or (target.id,)):
        before = policy_disks.rows(work)
        after = {**before, (target.scope, target.id): _row(before, target, said)}
        found = policy_disks.together(look(work, target.disks, after))
        _check_class(found, said.get(values.QOS))
        _check_room(found, said)
        mixed = _mixed(work, target, found, after) if values.VC in said else {}
        if mixed and said[values.VC] is not None:
            raise _leaves_mixed(target, found, mixed, shown(said[values.VC] or ""))
        _write(work, target, said)
        try:
            follow(work, found, said)
        except errors.Error:
            _silent_write(work, target, _as_before(before, target, said))
            raise
    lines = [line for each in found for line in _told(each, target, said)]
    if not found:
        lines = [f"{target}: nothing is said of it any more; no disk has to be changed"]
    vms = sorted({each.vm for each in found if each.vm})
    return [
        *lines,
        *(f"VM {vm} has disks with several policies now: {_MIXED}" for vm in vms if mixed),
    ]


def look(work: tree.Work, disks: Sequence[str], rows: policy_disks.Rows) -> list[Standing]:
    """Return how these disks stand by these rows, read as of now; raise where one of their volumes
    is not there, or not ours."""
    sources = policy_disks.sources(work, disks, rows)
    found = []
    for disk in disks:
        node = policy_disks.active(work.mapping.tree(disk))
        if node is None:
            raise errors.Conflict(
                f"disk {disk}",
                "has no volume now that its VM could write",
                "storpool-ovirt audit tells what became of it",
            )
        found.append(policy_disks.standing(sources, node, ownership.proved(work, node)))
    return found


def follow(
    work: tree.Work,
    found: Sequence[Standing],
    fields: Mapping[str, object],
    vms: Mapping[str, str] | None = None,
) -> list[Standing]:
    """Have volumes be what is said of these fields; return which were changed. `vms` is the VM
    that a disk is to name, by its id.

    Where one fails those before it are put back, and its error is raised.
    """
    tried: list[tuple[Standing, dict[str, str]]] = []
    changed = []
    try:
        for each in found:
            said = each.said(fields)
            vm = (each.vm_tag, vms[each.disk]) if vms and each.disk in vms else None
            wanted = levels.changes(each.there.name, each.there.tags, said, vm).tags
            if not wanted:
                continue
            tried.append((each, wanted))
            if volumes.change(
                work.client,
                each.there,
                tags=lambda now, said=said, vm=vm: (
                    levels.changes(now.name, now.tags, said, vm).tags
                ),
            ):
                changed.append(each)
                _log(work, each, fields)
    except errors.Error:
        for each, wanted in reversed(tried):
            _silent_put_back(work, each, wanted)
        raise
    return changed


@contextmanager
def held(work: tree.Work, disks: Sequence[str]) -> Iterator[None]:
    """Hold these disks until the end of the block. Raises Locked."""
    work.mapping.lock_all(disks)
    try:
        work.client.be_current()
        yield
    finally:
        # The connection's end unlocks too, and an error of the block is the one that is raised.
        with suppress(errors.Error):
            work.mapping.session.unlock_all()


def _row(before: policy_disks.Rows, target: Target, said: Mapping[str, str | None]) -> policies.Row:
    known = before.get((target.scope, target.id))
    fields = {
        field: said[field] if field in said else known and known.of(field)
        for field in values.FIELDS
    }
    return policies.Row(target.scope, target.id, fields[values.QOS], fields[values.VC])


def _as_before(
    before: policy_disks.Rows, target: Target, said: Mapping[str, str | None]
) -> dict[str, str | None]:
    known = before.get((target.scope, target.id))
    return {field: known and known.of(field) for field in said}


def _write(work: tree.Work, target: Target, said: Mapping[str, str | None]) -> None:
    """Write what is said; a field that says nothing any more is cleared."""
    values_given = {field: value for field, value in said.items() if value is not None}
    gone = [field for field, value in said.items() if value is None]
    with work.mapping.session.transaction():
        if values_given:
            work.mapping.write(policies.set_to(target.scope, target.id, values_given))
        if gone:
            work.mapping.write(policies.cleared(target.scope, target.id, gone))


def _silent_write(work: tree.Work, target: Target, said: Mapping[str, str | None]) -> None:
    try:
        _write(work, target, said)
    except errors.Error as error:
        work.log.line("policy_not_put_back", target=target.id, reason=error)


def _silent_put_back(work: tree.Work, each: Standing, wrote: Mapping[str, str]) -> None:
    """Give a volume the tags that it had, but for what somebody else wrote meanwhile: a host whose
    VM starts waits for nobody here."""
    had = each.there.tags

    def ours(now: api.Volume) -> dict[str, str]:
        is_ours = {key: now.tags.get(key, "") == value for key, value in wrote.items()}
        return {key: had.get(key, "") for key, still in is_ours.items() if still}

    try:
        volumes.change(work.client, each.there, tags=ours)
    except errors.Error as error:
        work.log.line("policy_not_put_back", volume=each.there.name, reason=error)


def _check_class(found: Sequence[Standing], value: str | None) -> None:
    """Raise InputError for a class that the storage domain of one of the disks does not have."""
    for each in found:
        fault = values.class_fault(value or "", each.domain.classes)
        if fault:
            raise errors.InputError(f"{OPTION[values.QOS]} {value}", fault)


def _check_room(found: Sequence[Standing], said: Mapping[str, str | None]) -> None:
    """Raise InputError where what is to be set, or the note of who says it, has no room beside a
    volume's own tags and its VM, which it may have later: a start would throw the policy out for
    that. The same where it would throw the other field's value out."""
    for each in found:
        left_out = each.beside_its_vm(said).left_out
        lost = [key for key in values.TAG.values() if key in left_out and each.there.tags.get(key)]
        for field, value in said.items():
            if value is not None and (values.TAG[field] in left_out or lost):
                beside = f" and {lost[0]}" if lost and lost[0] != values.TAG[field] else ""
                raise errors.InputError(
                    f"{OPTION[field]} {shown(value)}",
                    "has no room, with the note of what the disk has of its own, beside the name"
                    f" and the tags{beside} of the volume of disk {each.disk}",
                    f"StorPool takes {names.NAME_AND_TAGS_MAX_BYTES - 1} bytes of name and tags:"
                    " give a shorter one"
                    + (", or commit or undo the preview" if each.node.uuid != each.disk else ""),
                )


def _mixed(
    work: tree.Work, target: Target, found: Sequence[Standing], rows: policy_disks.Rows
) -> Mapping[str, levels.Decision]:
    """Return which policies of VolumeCare's the disks of a VM would have, where these are several;
    nothing where they have one, or no VM is known."""
    vms = {each.vm for each in found if each.vm}
    if len(vms) != 1:
        return {}
    [vm] = vms
    others = [each for each in policy_targets.disks_of_vm(work, vm) if each not in target.disks]
    wanted = {each.disk: each.decision(values.VC) for each in found if each.vm}
    for each in look(work, others, rows) if target.scope == policies.DISK else ():
        if each.vm:
            wanted[each.disk] = levels.Decision(each.value(values.VC), "")
    return wanted if len({each.value for each in wanted.values()}) > 1 else {}


def _leaves_mixed(
    target: Target, found: Sequence[Standing], wanted: Mapping[str, levels.Decision], policy: str
) -> errors.Conflict:
    if target.scope == policies.DISK:
        vm = next(f"{each.vm} ({each.vm_name})" if each.vm_name else each.vm for each in found)
        others = sorted({shown(each.value) for disk, each in wanted.items() if disk != target.id})
        return errors.Conflict(
            str(target),
            f"is one of {len(wanted)} disks of VM {vm}, of which others have {' and '.join(others)}"
            f" and not {policy}: {_MIXED}",
            f"storpool-ovirt policy set {found[0].vm} --vc-policy {policy} gives it to all of them",
        )
    [single, *_] = sorted(disk for disk, each in wanted.items() if each.level == "admin_disk")
    return errors.Conflict(
        str(target),
        f"has the disk {single}, which has a policy of its own: {_MIXED}",
        f"storpool-ovirt policy clear {single} --vc-policy first",
    )


def _told(each: Standing, target: Target, said: Mapping[str, str | None]) -> Iterator[str]:
    name = f" ({each.alias})" if each.alias else ""
    by_this = "admin_disk" if target.scope == policies.DISK else "admin_vm"
    for field in said:
        key, had, wanted = values.TAG[field], each.value(field), each.wanted(said)
        gets = wanted.tags.get(key, had)
        what = f"{key} {shown(gets)}" + (f", it had {shown(had)}" if gets != had else ", as before")
        level = each.decision(field).level
        why = f" (by {LEVELS[level]})" if level != by_this else ""
        if key in wanted.left_out:
            why = f" (no room for {shown(each.decision(field).value)}, by {LEVELS[level]})"
        yield f"disk {each.disk}{name}: {what}{why}"


LEVELS = {
    "admin_disk": "an administrator, on the disk",
    "admin_vm": "an administrator, on its VM",
    "property_disk": "its VM's property, for this disk",
    "property_vm": "its VM's property, for all",
    "source": "its own, of its making",
    "domain": "its domain's default",
    levels.NOBODY: "nobody",
}


def shown(value: str) -> str:
    """Return a value for people."""
    if not value:
        return "none"
    return value if names.POLICY_VALUE.fits(value) else names.shown(value)


def _log(work: tree.Work, each: Standing, fields: Mapping[str, object]) -> None:
    said = {field: each.decision(field).value or "-" for field in fields}
    work.log.line("policy_written", volume=each.there.name, disk=each.disk, **said)
