"""Why a disk has the QoS class and the policy of VolumeCare's that it has: the levels, the one that
decides, and what StorPool's services make of it; for people, and as facts for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storpool_ovirt.admin import policy_changes, policy_disks, policy_targets
from storpool_ovirt.admin.policy_changes import LEVELS, shown
from storpool_ovirt.admin.policy_disks import Standing
from storpool_ovirt.admin.policy_targets import Target
from storpool_ovirt.engine import policies, tree
from storpool_ovirt.policy import levels, values

_TITLE = {values.QOS: "QoS class", values.VC: "VolumeCare's policy"}
_SYNC = "storpool-ovirt policy sync"


@dataclass(frozen=True)
class Explanation:
    """The disks that were asked for, and all disks of their VMs."""

    target: Target
    disks: Sequence[Standing]
    members: Mapping[str, Sequence[Standing]]


def look(work: tree.Work, target: Target) -> Explanation:
    """Read it. Raises what the mapping and the API raise, and Conflict for a disk without a
    volume."""
    rows = policy_disks.rows(work)
    work.client.be_current()
    found = policy_changes.look(work, target.disks, rows)
    members = {}
    for vm in {each.vm for each in found if each.vm}:
        others = {*policy_targets.disks_of_vm(work, vm)} - {*target.disks}
        beside = policy_changes.look(work, sorted(others), rows)
        members[vm] = [*(each for each in found if each.vm == vm), *beside]
    return Explanation(target, found, members)


def text(found: Explanation) -> Iterator[str]:
    """Yield the lines."""
    if found.target.scope == policies.VM:
        yield f"{found.target}: {len(found.disks)} disks"
    for each in found.disks:
        yield _head(each)
        for field in values.FIELDS:
            yield from _field(found, each, field)


def document(found: Explanation) -> dict[str, Any]:
    """Return the facts."""
    return {
        "target": {
            "kind": found.target.scope,
            "id": found.target.id,
            "name": found.target.name or None,
        },
        "disks": [
            {
                "disk": each.disk,
                "name": each.alias or None,
                "volume": each.node.uuid,
                "global_id": each.there.global_id,
                "vm": each.vm or None,
                "vm_name": each.vm_name or None,
                "vm_told_by": "engine" if each.is_told else "tag",
                "shareable": each.is_shared,
                **{field: _facts(found, each, field) for field in values.FIELDS},
            }
            for each in found.disks
        ],
    }


def _facts(found: Explanation, each: Standing, field: str) -> dict[str, Any]:
    decides = each.decision(field)
    return {
        "value": decides.value,
        "level": decides.level,
        "levels": {
            level: None if value == levels.UNKNOWN else value
            for level, value in each.by_level[field]._asdict().items()
        },
        "unknown": [
            level
            for level, value in each.by_level[field]._asdict().items()
            if value == levels.UNKNOWN
        ],
        "fault": each.faults.get(field),
        "storpool": each.value(field),
        "no_room": values.TAG[field] in each.wanted().left_out,
        "service": _service(found, each, field),
    }


def _head(each: Standing) -> str:
    name = f" ({each.alias})" if each.alias else ""
    volume = f", volume {each.node.uuid}" if each.node.uuid != each.disk else ""
    vm = f", of VM {each.vm}" if each.vm else ""
    vm += f" ({each.vm_name})" if each.vm_name else ""
    if each.is_shared:
        vm = ", which several VMs may have"
    told = "" if each.is_told else "; Engine's database cannot be asked, or does not have it"
    return f"disk {each.disk}{name}{volume}{vm}{told}"


def _field(found: Explanation, each: Standing, field: str) -> Iterator[str]:
    decides = each.decision(field)
    yield f"  {_TITLE[field]}: {shown(decides.value)}, by {LEVELS[decides.level]}"
    for level, value in each.by_level[field]._asdict().items():
        said = "says nothing"
        if value == levels.UNKNOWN:
            said = "makes no sense" if field in each.faults else "not known"
        elif value is not None:
            said = shown(value)
        who = LEVELS[level]
        if level == "domain":
            who = f"the default of {each.domain}, for new disks"
        mark = "->" if level == decides.level else "  "
        yield f"    {mark} {who}: {said}"
    if field in each.faults:
        yield f"       {each.faults[field]}"
    has = f"{values.TAG[field]} {shown(each.value(field))}"
    yield f"    StorPool has {has}{_differs(found, each, field)}"
    yield f"    {_service(found, each, field)}"


def _differs(found: Explanation, each: Standing, field: str) -> str:
    wanted = each.wanted()
    if values.TAG[field] in wanted.left_out:
        return (
            ": there is no room for another one, with the note of what it has of its own, beside"
            " the tags of its volume"
        )
    if field == values.VC and each.decision(field).is_by_property and each.vm:
        short = policy_disks.without_room(found.members.get(each.vm, ()))
        if short:
            return ": not all disks of its VM have room for another one, so none of them gets it"
    return f": {_SYNC} {each.disk} writes it" if values.TAG[field] in wanted.tags else ""


def _service(found: Explanation, each: Standing, field: str) -> str:
    return _of_qos(each) if field == values.QOS else _of_volumecare(found, each)


def _of_qos(each: Standing) -> str:
    value, template, classes = each.value(values.QOS), each.there.template, each.domain.classes
    fault = values.class_fault(value, classes)
    if fault:
        return f"storpool_qos: sets no limits, and says nothing: {value} {fault}"
    if value and not classes:
        return (
            f"storpool_qos: sets the limits of {value} within a minute, if it has such a class:"
            " sp_qos_classes does not tell which there are"
        )
    if value:
        more = f"; its template {template} is a class too" if template in classes else ""
        return f"storpool_qos: sets the limits of {value} within a minute{more}"
    if template in classes:
        return f"storpool_qos: sets the limits of {template}, which is the name of its template"
    return f"storpool_qos: leaves it alone, unless its template {template or '-'} is a class"


def _of_volumecare(found: Explanation, each: Standing) -> str:
    value = each.value(values.VC)
    how = f"by {value}, if it has such a policy" if value else "by what it has for the template"
    if value == values.NO:
        how = "not at all"
    if not each.tagged_vm:
        return f"VolumeCare: takes it alone, {how}, as its volume names no VM"
    together = found.members.get(each.tagged_vm, ())
    if policy_disks.is_mixed(together):
        told = sorted({shown(one.value(values.VC)) for one in together})
        return f"VolumeCare: ignores the VM, as its disks have {' and '.join(told)}"
    return f"VolumeCare: takes the VM's disks at one moment, {how}"
