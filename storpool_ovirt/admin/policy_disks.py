"""How disks stand with their QoS class and VolumeCare's policy: what each level says, which one
decides, and what StorPool has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from storpool_ovirt import config, names
from storpool_ovirt.admin import policy_domains
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import engine_policies, mapping, policies, tree
from storpool_ovirt.policy import levels, marks, properties, values

_ANY_VM = names.NIL_UUID
Rows = Mapping[tuple[str, str], policies.Row]


class Sources(NamedTuple):
    """What the levels are read from: administrators' rows by scope and id, Engine's word of the
    disks (None: it cannot be asked), and the storage domains."""

    rows: Rows
    told: Mapping[str, engine_policies.Disk] | None
    domains: policy_domains.Domains

    def said(self, scope: str, id: str, field: str) -> str | None:  # noqa: A002  a column's name
        """Return what an administrator says of a field, None for nothing."""
        row = self.rows.get((scope, id))
        return None if row is None else row.of(field)

    def defaults(self, domain: config.Domain) -> Mapping[str, str]:
        """Return what a domain gives new disks."""
        return policies.defaults(domain, self.rows.get((policies.DOMAIN, domain.key)))


@dataclass(frozen=True)
class Standing:
    """One disk, by the volume that its VM writes.

    `vm` is the VM's id, "" where it has none; `is_told`: Engine says so, and not a tag. `by_level`
    are by field, `UNKNOWN` in them is what nobody can tell now. `faults` are what is wrong with
    properties of the VM, by field. `domain` is the storage domain.
    """

    node: mapping.Node
    there: api.Volume
    alias: str
    vm: str
    vm_name: str
    is_told: bool
    is_shared: bool
    by_level: Mapping[str, levels.Levels]
    faults: Mapping[str, str]
    domain: policy_domains.Of

    @property
    def vm_tag(self) -> str:
        """The tag by which its volume names its VM."""
        return self.domain.domain.vm_tag

    @property
    def disk(self) -> str:
        """The disk's id."""
        return self.node.root

    @property
    def tagged_vm(self) -> str:
        """The VM that its volume names."""
        return names.vm_of(self.there.tags, self.vm_tag)

    def value(self, field: str) -> str:
        """Return what StorPool has of a field."""
        return self.there.tags.get(values.TAG[field], "")

    def said(self, fields: Iterable[str] = values.FIELDS) -> dict[str, levels.Said]:
        """Return what is said of these fields, as `levels.changes` takes it."""
        return {field: self._said(field) for field in fields}

    def decision(self, field: str) -> levels.Decision:
        """Return what the disk shall have, and which level says so."""
        each = self.by_level[field]
        origin = marks.parsed(self.there.tags).of(field)
        of_property = (each.property_disk, each.property_vm)
        if levels.UNKNOWN in of_property:
            above = levels.decided(each._replace(property_disk=None, property_vm=None))
            if above.level in ("admin_disk", "admin_vm"):
                return above
            if origin.by == marks.PROPERTY:
                return levels.Decision(self.value(field), "property_vm")
            each = each._replace(property_disk=None, property_vm=None)
        # What the domain gives is for new disks: one that has nothing of its own has had its making
        is_own_known = not origin.by or origin.base is not None
        return levels.decided(each._replace(domain=None) if is_own_known else each)

    def wanted(self, fields: Iterable[str] = values.FIELDS) -> levels.Changes:
        """Return which of its tags differ from what these fields shall be; its VM's stays."""
        return levels.changes(self.there.name, self.there.tags, self.said(fields))

    def beside_its_vm(self, fields: Iterable[str] = values.FIELDS) -> levels.Changes:
        """Return the same where its volume names its VM too, or the one that it may have later."""
        vm = None if self.is_shared else (self.vm_tag, self.there.tags.get(self.vm_tag) or _ANY_VM)
        return levels.changes(self.there.name, self.there.tags, self.said(fields), vm)

    def _said(self, field: str) -> levels.Said:
        each = self.by_level[field]
        by_property = each.property_vm if each.property_disk is None else each.property_disk
        origin = marks.parsed(self.there.tags).of(field)
        is_own_known = not origin.by or origin.base is not None
        base = levels.UNKNOWN if is_own_known else each.domain or ""
        return levels.Said(each.admin_disk, each.admin_vm, by_property, base)


def rows(work: tree.Work) -> dict[tuple[str, str], policies.Row]:
    """Return what administrators have said, by scope and id."""
    return {(each.scope, each.id): each for each in policies.all_of(work.mapping)}


def sources(
    work: tree.Work,
    disks: Collection[str],
    known: Rows | None = None,
    domains: policy_domains.Domains | None = None,
    *,
    ask: bool = True,
) -> Sources:
    """Return what the levels of these disks are read from; `known` are administrators' rows,
    `domains` the storage domains, where the caller has them.

    `ask`: Engine's database is asked for the disks.
    """
    return Sources(
        rows(work) if known is None else known,
        engine_policies.disks(work, disks) if ask else None,
        domains or policy_domains.look(work, disks),
    )


def standing(found: Sources, node: mapping.Node, there: api.Volume) -> Standing:
    """Return how the disk stands of whose tree this is the volume that is written."""
    told = (found.told or {}).get(node.root)
    is_shared = names.is_shared(there.tags) or (told is not None and told.is_shareable)
    domain = found.domains.of(there.template, node.root)
    defaults = found.defaults(domain.domain)
    vm, vm_name, said = names.vm_of(there.tags, domain.domain.vm_tag), "", None
    if told is not None:
        said = None if is_shared else told.vm
        vm, vm_name = (said.id, said.name) if said is not None else ("", "")
    faults: dict[str, str] = {}
    by_field = {}
    for field in values.FIELDS:
        of_disk: str | None = levels.UNKNOWN
        of_vm: str | None = levels.UNKNOWN
        if told is not None or is_shared:
            text = None if said is None else said.properties.get(properties.NAME[field])
            read, fault = properties.read(field, text, domain.classes)
            if fault:
                faults[field] = fault
            if read is not None:
                ids = (node.root, node.uuid)
                of_disk = read.of(*ids) if read.is_of(*ids) else None
                of_vm = read.every
        by_field[field] = levels.Levels(
            admin_disk=found.said(policies.DISK, node.root, field),
            admin_vm=found.said(policies.VM, vm, field) if vm and not is_shared else None,
            property_disk=of_disk,
            property_vm=of_vm,
            source=levels.base(there.tags, field),
            domain=defaults.get(field),
        )
    return Standing(
        node=node,
        there=there,
        alias=told.alias if told is not None else "",
        vm="" if is_shared else vm,
        vm_name=vm_name,
        is_told=told is not None,
        is_shared=is_shared,
        by_level=by_field,
        faults=faults,
        domain=domain,
    )


def without_room(found: Iterable[Standing]) -> set[str]:
    """Return the VMs of these disks of which one has no room for the policy of VolumeCare's that
    it is to have."""
    care = values.TAG[values.VC]
    return {each.vm for each in found if each.vm and care in each.beside_its_vm().left_out}


def together(found: Sequence[Standing]) -> list[Standing]:
    """Return how disks stand where all disks of a VM have to have room for the policy of
    VolumeCare's that its property gives: else none gets it, as with a start of the VM. VolumeCare
    ignores a VM with several."""
    short = without_room(found)
    return [_without_care(each) if each.vm in short else each for each in found]


def _without_care(each: Standing) -> Standing:
    """Return how a disk stands if the VM's property says nothing of VolumeCare's policy."""
    care = each.by_level[values.VC]
    of_property = {
        level: None
        for level in ("property_disk", "property_vm")
        if getattr(care, level) != levels.UNKNOWN
    }
    return replace(each, by_level={**each.by_level, values.VC: care._replace(**of_property)})


def active(nodes: Sequence[mapping.Node]) -> mapping.Node | None:
    """Return which of a disk's rows is the volume that its VM writes; None where that is not
    there."""
    root = next((each for each in nodes if each.uuid == each.root), None)
    if root is None:
        return None
    written = root.active or root.uuid
    found = next((each for each in nodes if each.uuid == written), None)
    return found if found is not None and found.state == mapping.LIVE else None


def is_mixed(found: Iterable[Standing]) -> bool:
    """Return whether these disks, all of one VM, have several policies of VolumeCare's, which
    ignores such a VM."""
    return len({each.value(values.VC) for each in found}) > 1
