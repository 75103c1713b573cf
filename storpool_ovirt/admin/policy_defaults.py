"""What an administrator says that new disks of a storage domain get, over the domain's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Callable

from storpool_ovirt import config, errors, names
from storpool_ovirt.admin import policy_domains
from storpool_ovirt.admin.policy_changes import OPTION, shown
from storpool_ovirt.engine import policies, stored_options, tree
from storpool_ovirt.policy import budget, values

_OPTION_OF_DOMAIN = {values.QOS: "sp_qos_class", values.VC: "sp_vc_policy"}


def of_domain(work: tree.Work, named: str | None, hide: Callable[[str], object]) -> tree.Work:
    """Return the tools with the domain of this name or id; without one as they are. Raises what
    `stored_options.named` raises."""
    if named is None:
        return work
    return replace(work, domain=stored_options.named(work.root, hide, named))


def put(work: tree.Work, named: str | None, said: Mapping[str, str | None]) -> list[str]:
    """Say it, where anything is said: of each field a value, or None to take back what was said.
    Return what new disks get then.

    Raises Conflict for a class where the domain's options limit its disks without one, and
    InputError for names that the volume of a preview has no room for, as the options' are refused.
    """
    key = work.domain.key
    given = {field: value for field, value in said.items() if value is not None}
    gone = [field for field, value in said.items() if value is None]
    if given.get(values.QOS) and _has_limits(work.domain):
        raise errors.Conflict(
            f"{OPTION[values.QOS]} {given[values.QOS]}",
            "is not set: the domain's options sp_iops and sp_bw limit its disks, and storpool_qos"
            " would set other limits each minute",
            "give single disks or VMs a class: storpool-ovirt policy set",
        )
    _check_room(work, given)
    with work.mapping.session.transaction():
        if given:
            work.mapping.write(policies.set_to(policies.DOMAIN, key, given))
        if gone:
            work.mapping.write(policies.cleared(policies.DOMAIN, key, gone))
    if said:
        told = {field: shown(value or "") for field, value in said.items()}
        work.log.line("policy_default", domain=key, **told)
    return _lines(work, named)


def listed(work: tree.Work) -> list[str]:
    """Return what was said of all domains."""
    rows = [each for each in policies.all_of(work.mapping) if each.scope == policies.DOMAIN]
    if not rows:
        return ["no domain has another default than its options say"]
    domains = policy_domains.look(work)
    return [f"new disks of {domains.called(each.id)} get {each}" for each in rows]


def _lines(work: tree.Work, named: str | None) -> list[str]:
    key = work.domain.key
    row = policies.of(work.mapping, policies.DOMAIN, key)
    gets = policies.defaults(work.domain, row)
    of_options = {values.QOS: work.domain.qos_class, values.VC: work.domain.vc_policy}
    lines = [f"new disks of {named or 'the domain'}, and of each other domain on {key}:"]
    for field in values.FIELDS:
        option = of_options[field]
        by_option = f"{_OPTION_OF_DOMAIN[field]} says {shown(option)}" if option is not None else ""
        is_said = row is not None and row.of(field) is not None
        why = "set by policy default" if is_said else by_option
        more = f", {by_option}" if is_said and by_option else ""
        value = shown(gets.get(field, ""))
        lines.append(f"  {values.TAG[field]} {value}" + (f": {why}{more}" if why else ""))
    return lines


def _check_room(work: tree.Work, given: Mapping[str, str]) -> None:
    row = policies.of(work.mapping, policies.DOMAIN, work.domain.key)
    before = {} if row is None else {field: row.of(field) for field in values.FIELDS}
    both = {**before, **given}
    said = policies.Row(policies.DOMAIN, work.domain.key, both.get(values.QOS), both.get(values.VC))
    gets = policies.defaults(work.domain, said)
    tags = {values.TAG[field]: value for field, value in gets.items()}
    left_out = budget.left_out_of_previews(tags, work.domain.vm_tag)
    for field, value in given.items():
        if value and left_out:
            raise errors.InputError(
                f"{OPTION[field]} {value}",
                f"leaves no room for {' and '.join(left_out)} on the volume of a preview beside the"
                f" VM ({names.NAME_AND_TAGS_MAX_BYTES - 1} bytes of name and tags)",
                "give class and policy shorter names",
            )


def _has_limits(domain: config.Domain) -> bool:
    return bool(domain.iops or domain.bandwidth_mib)
