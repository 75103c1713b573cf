"""What an audit finds of QoS classes and of VolumeCare's policies: what no service knows, what no
disk can hold, and what is not as the levels say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from storpool_ovirt import errors, names
from storpool_ovirt.admin import findings, policy_disks, policy_domains, policy_leftovers, survey
from storpool_ovirt.admin.findings import (
    CLASS,
    DEFAULT,
    INFO,
    MIXED,
    NOBODYS,
    POLICY,
    PROPERTY,
    ROOM,
    WARNING,
    Finding,
)
from storpool_ovirt.admin.policy_changes import LEVELS, shown
from storpool_ovirt.admin.policy_disks import Standing
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import engine_policies, mapping, policies, tree
from storpool_ovirt.policy import values

_SECOND_LOOKS = 20  # more disks that differ at once were not changed a moment ago
_SHOWN = 3


def look(work: tree.Work, view: survey.View) -> list[Finding]:
    """Return what is wrong. Engine's database is asked for what VMs' properties say; where that
    cannot be, what only it knows is left out. Raises what the mapping and the API raise."""
    rows = policy_disks.rows(work)
    by_property = engine_policies.with_properties(work)
    named = {*(by_property or ()), *(uuid for scope, uuid in rows if scope == policies.DISK)}
    vms = {uuid for scope, uuid in rows if scope == policies.VM}
    domains = policy_domains.look(work)
    lists = {each.domain.qos_classes for each in domains.known}
    members = _Members()
    # Most disks of most Engines have nothing but what their domain gives: little is kept of those
    some = []
    for node, there in _volumes(view):
        domain = domains.of(there.template)
        vm = names.vm_of(there.tags, domain.domain.vm_tag)
        members.add(vm, node.root, there)
        is_said = bool(names.mark(there.tags)) or node.root in named or vm in vms
        is_doubted = _may_be_anothers(view, there, domain.domain.vm_tag)
        if is_said or is_doubted or _may_be_unknown(there, (domain.classes, *lists)):
            some.append((node, there))
    roots = [node.root for node, _ in some]
    domains = policy_domains.placed(work, domains, roots)
    sources = policy_disks.sources(work, roots, rows, domains, ask=by_property is not None)
    found = [policy_disks.standing(sources, node, there) for node, there in some]
    gone = engine_policies.without(work, vms) if by_property is not None else ()
    return [
        *_of_domains(sources),
        *_of_nobody(rows, gone),
        *_of_classes(found),
        *_of_properties(found),
        *members.findings(),
        *_of_replaced(view, domains),
        *_of_names(view, found),
        *_of_levels(work, view, found, sources),
    ]


def _volumes(view: survey.View) -> Iterator[tuple[mapping.Node, api.Volume]]:
    """Yield the volumes that VMs write, of disks on which nobody works."""
    for nodes in _trees(view):
        node = policy_disks.active(nodes)
        there = view.things.get(node.global_id or "") if node is not None else None
        if node is None or there is None or there.kind != node.kind:
            continue
        if names.is_ours(there.tags, node.uuid, view.location):
            yield node, there


def _trees(view: survey.View) -> Iterator[Sequence[mapping.Node]]:
    """Yield the rows of the disks on which nobody works."""
    left_out = view.busy | {each.disk for each in view.operations if each.is_open}
    for root in {each.root for each in view.records.values()} - left_out:
        yield view.tree(root)


def _of_replaced(view: survey.View, domains: policy_domains.Domains) -> Iterator[Finding]:
    for node in (each for nodes in _trees(view) for each in policy_leftovers.replaced(nodes)):
        there = view.things.get(node.global_id or "")
        left = policy_leftovers.found(node, there, view.location, domains)
        if left is not None:
            yield findings.of_node(
                node,
                kind=POLICY,
                severity=WARNING,
                what=findings.named(node.kind, node.uuid, there),
                cause=(
                    f"it names VM {left.vm}, and another volume has replaced it: VolumeCare takes"
                    " both for disks of the VM, and ignores that where they have two policies"
                ),
                mend=(
                    f"storpool-ovirt policy sync {node.root} takes the name off, unless a host has"
                    " the volume"
                ),
            )


def _may_be_anothers(view: survey.View, there: api.Volume, vm_tag: str) -> bool:
    """Return whether VolumeCare takes a volume, and the VM that it takes it for may be wrong: a
    host has it and it names none, or no host has it and it names one."""
    care = there.tags.get(values.TAG[values.VC], "")
    if care in ("", values.NO) or names.is_shared(there.tags):
        return False
    is_held = bool(view.attachments_of(there.global_id, there.name))
    return is_held != bool(there.tags.get(vm_tag))


def _of_names(view: survey.View, found: Sequence[Standing]) -> Iterator[Finding]:
    for each in found:
        named = each.there.tags.get(each.vm_tag, "")
        if not each.is_told or each.is_shared or named == each.vm:
            continue
        if _may_be_anothers(view, each.there, each.vm_tag):
            has = f"VM {each.vm}" if each.vm else "no VM"
            takes = f"for a disk of VM {named}" if named else "alone"
            yield _finding(
                each,
                POLICY,
                WARNING,
                f"it names {f'VM {named}' if named else 'no VM'}, and {has} has it: VolumeCare"
                f" takes it {takes}",
                f"storpool-ovirt policy sync {each.disk} writes it",
            )


def _may_be_unknown(there: api.Volume, lists: Iterable[Sequence[str]]) -> bool:
    """Return whether a volume has a class that is not in each of these lists."""
    qos = there.tags.get(values.TAG[values.QOS], "")
    return any(values.class_fault(qos, each) for each in lists)


class _Members:
    """The disks of VMs, by what they have of VolumeCare's."""

    def __init__(self) -> None:
        self._disks: dict[str, dict[str, list[str]]] = {}

    def add(self, vm: str, disk: str, there: api.Volume) -> None:
        """Note the volume of a disk, which names this VM, or none."""
        if vm:
            value = there.tags.get(values.TAG[values.VC], "")
            self._disks.setdefault(vm, {}).setdefault(value, []).append(disk)

    def findings(self) -> Iterator[Finding]:
        """Yield the VMs with several policies."""
        for vm, by_value in self._disks.items():
            if len(by_value) > 1:
                yield _mixed(vm, by_value)


def _of_domains(sources: policy_disks.Sources) -> Iterator[Finding]:
    for (scope, key), row in sources.rows.items():
        if scope != policies.DOMAIN:
            continue
        yield Finding(
            kind=DEFAULT,
            severity=INFO,
            what=sources.domains.called(key),
            uuid="",
            disk="",
            cause=f"new disks get {row} by policy default, whatever its options say",
            mend="nothing has to be done: storpool-ovirt policy default DOMAIN --clear ends it",
        )


def _of_nobody(rows: policy_disks.Rows, gone: Iterable[str]) -> Iterator[Finding]:
    for vm in sorted(gone):
        yield Finding(
            kind=NOBODYS,
            severity=INFO,
            what=f"VM {vm}",
            uuid="",
            disk="",
            cause=(
                f"its disks get {rows[policies.VM, vm]} by policy set, and oVirt has no such VM:"
                " one that is imported with this id would get it"
            ),
            mend=f"storpool-ovirt policy clear {vm} takes it back",
        )


def _of_classes(found: Sequence[Standing]) -> Iterator[Finding]:
    for each in found:
        fault = values.class_fault(each.value(values.QOS), each.domain.classes)
        if fault:
            decides = each.decision(values.QOS)
            yield _finding(
                each,
                CLASS,
                WARNING,
                f"its QoS class {each.value(values.QOS)}, by {LEVELS[decides.level]}, {fault}:"
                " storpool_qos sets no limits for it, and says nothing",
                f"storpool-ovirt policy set {each.disk} --qos CLASS, or correct sp_qos_classes",
            )


def _of_properties(found: Sequence[Standing]) -> Iterator[Finding]:
    told: set[tuple[str, str]] = set()
    for each in found:
        for field, fault in each.faults.items():
            if (each.vm, field) in told:
                continue
            told.add((each.vm, field))
            name = f" ({each.vm_name})" if each.vm_name else ""
            yield Finding(
                kind=PROPERTY,
                severity=WARNING,
                what=f"VM {each.vm}{name}",
                uuid="",
                disk=each.disk,
                cause=fault,
                mend="correct it in oVirt (Edit VM, Custom Properties), or take it away there",
            )


def _mixed(vm: str, by_value: Mapping[str, Sequence[str]]) -> Finding:
    told = "; ".join(
        f"{shown(value)}: {', '.join(ids[:_SHOWN])}"
        + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
        for value, ids in sorted(by_value.items(), key=lambda pair: shown(pair[0]))
    )
    return Finding(
        kind=MIXED,
        severity=WARNING,
        what=f"VM {vm}",
        uuid="",
        disk=min(min(ids) for ids in by_value.values()),
        cause=(
            "its disks have several policies of VolumeCare's, which ignores such a VM and takes no"
            f" backups of it ({told})"
        ),
        mend=(
            f"storpool-ovirt policy explain {vm} tells why; storpool-ovirt policy set {vm}"
            " --vc-policy NAME gives all of them one"
        ),
    )


def _of_levels(
    work: tree.Work,
    view: survey.View,
    found: Sequence[Standing],
    sources: policy_disks.Sources,
) -> Iterator[Finding]:
    differing = [each for each in policy_disks.together(found) if _wrong(each)]
    for each in differing:
        now = each
        if len(differing) <= _SECOND_LOOKS:
            # It may have been changed since it was listed
            with suppress(errors.NotFound):
                there = work.client.volume(names.address(each.there.global_id))
                now = policy_disks.standing(sources, each.node, there)
            others = [one for one in found if one.vm == each.vm and one.disk != each.disk]
            now = policy_disks.together([*others, now])[-1]
        for field in _wrong(now):
            yield _differs(view, now, field)
    for each in found:
        left_out = each.beside_its_vm().left_out
        for field, tag in values.TAG.items():
            if tag in left_out:
                decides = each.decision(field)
                yield _finding(
                    each,
                    ROOM,
                    WARNING,
                    f"it is to have {tag} {shown(decides.value)}, by {LEVELS[decides.level]}, and"
                    " StorPool has no room for that and for the note of what it has of its own,"
                    " beside its other tags"
                    + (
                        ", so that no disk of its VM gets it"
                        if field == values.VC and decides.is_by_property
                        else ""
                    ),
                    "give a shorter name, or commit or undo the preview",
                )


def _wrong(each: Standing) -> list[str]:
    """Return the fields of which StorPool has another value than it should."""
    changed = each.wanted().tags
    return [field for field, tag in values.TAG.items() if tag in changed]


def _differs(view: survey.View, each: Standing, field: str) -> Finding:
    decides, tag = each.decision(field), values.TAG[field]
    is_held = bool(view.attachments_of(each.there.global_id, each.there.name))
    # A VM that is down gets its properties with its next start: so it is meant
    waits = decides.is_by_property and not is_held
    return _finding(
        each,
        POLICY,
        INFO if waits else WARNING,
        f"it has {tag} {shown(each.value(field))}, and is to have {shown(decides.value)}, by"
        f" {LEVELS[decides.level]}",
        f"storpool-ovirt policy sync {each.disk} writes it"
        + (", and so does the next start of its VM" if waits else ""),
    )


def _finding(each: Standing, kind: str, severity: str, cause: str, mend: str) -> Finding:
    node: mapping.Node = each.node
    return findings.of_node(
        node,
        kind=kind,
        severity=severity,
        what=findings.named(node.kind, node.uuid, each.there),
        cause=cause,
        mend=mend,
    )
