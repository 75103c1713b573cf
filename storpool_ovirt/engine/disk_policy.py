"""What a new disk gets by policy: its QoS class, VolumeCare's policy, free tags, limits.

Nothing of it fails a verb: what StorPool has no room for is left out, and what cannot be asked for
counts as not said; both are lines of the log.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Limits, Plan
from storpool_ovirt.engine import mapping, policies, tree
from storpool_ovirt.light import TYPE_CHECKING, replace
from storpool_ovirt.policy import budget, levels, values

if TYPE_CHECKING:
    from collections.abc import Mapping


def of_clone(work: tree.Work, said: mapping.Said, source: Mapping[str, str]) -> dict[str, str]:
    """Return what a new disk gets, by field, that is made of another one or of nothing: by what an
    administrator has said of the other one and of the domain, and by the other one's tags."""
    disk = policies.named(said, policies.DISK)
    domain = policies.defaults(work.domain, policies.named(said, policies.DOMAIN))
    own = {} if disk is None else {field: disk.of(field) for field in values.FIELDS}
    return of_new(domain, source, own)


def of_new(
    domain: Mapping[str, str],
    source: Mapping[str, str],
    of_source: Mapping[str, str | None] | None = None,
) -> dict[str, str]:
    """Return what a new disk gets, by field: what is said of the disk that it is made of, or what
    that has of its own by its tags, else what the domain gives."""
    found = {}
    for field in values.FIELDS:
        own = (of_source or {}).get(field)
        if own is None:
            own = levels.own(source, field)
        decision = levels.decided(levels.Levels(source=own, domain=domain.get(field)))
        if decision.value:
            found[field] = decision.value
    return found


def of_domain(work: tree.Work) -> dict[str, str]:
    """Return what the domain gives a new disk, by field."""
    row = policies.of(work.mapping, policies.DOMAIN, work.domain.key)
    return policies.defaults(work.domain, row)


def planned(work: tree.Work, plan: Plan, found: Mapping[str, str]) -> Plan:
    """Return a plan of a volume with these values, and with the domain's free tags and limits: a
    class has limits of its own."""
    return _with(work, plan, {values.TAG[field]: value for field, value in found.items()})


def moved(work: tree.Work, plan: Plan, tags: Mapping[str, str]) -> Plan:
    """Return a plan of a volume with what another one with these tags has by policy, and who gave
    it, as far as there is room for it beside the VM of that one."""
    key = work.domain.vm_tag
    found = levels.moved(tags, key, (plan.name, plan.tags))
    if found.left_out:
        work.log.line("tags_left_out", name=plan.name, tags=",".join(found.left_out))
    return _with(work, plan, {each: found.tags[each] for each in found.tags if each != key})


def _with(work: tree.Work, plan: Plan, policy: Mapping[str, str]) -> Plan:
    domain = work.domain
    tags, left_out = budget.made(plan.name, plan.tags, policy, domain.tags, domain.vm_tag)
    if left_out:
        work.log.line("tags_left_out", name=plan.name, tags=",".join(left_out))
    own = {**plan.policy.tags, **tags}
    limits = limits_of(work, tags)
    return replace(plan, policy=replace(plan.policy, tags=own, limits=limits))


def limits_of(work: tree.Work, tags: Mapping[str, str]) -> Limits:
    """Return the domain's limits for a volume with these tags: none beside a class, which has
    limits of its own."""
    if tags.get(names.TAG_QOS_CLASS):
        return Limits()
    return Limits(work.domain.iops, work.domain.bandwidth_mib)


def silent_tags(work: tree.Work, uuid: str) -> Mapping[str, str]:
    """Return the tags of a disk's active volume, by its id; none where it is not there, or not
    ours, or cannot be asked for."""
    from storpool_ovirt.cluster import vm_tags

    limit = work.mapping.session.deadline.within(vm_tags.SECONDS)
    try:
        there = volumes.read(work.client.limited(limit), "volume", names.object_name(uuid))
    except errors.NotFound:
        return {}
    except errors.Error as error:
        work.log.line("policy_unknown", volume=uuid, reason=error)
        return {}
    return there.tags if names.is_ours(there.tags, uuid, work.mapping.location) else {}
