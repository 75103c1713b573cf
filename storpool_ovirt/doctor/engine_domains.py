"""The storage domains on StorPool: what Engine has of each, and whether the verb works with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from storpool_ovirt import config, errors, names, option_table, presence, sizes, text
from storpool_ovirt.cluster import api
from storpool_ovirt.doctor import asking, checks, engine_machine, engine_steps, run
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Check, Result, Site
from storpool_ovirt.doctor.engine_commands import command
from storpool_ovirt.engine import adapter, as_engine, conf, fullness, gate, sealed_options
from storpool_ovirt.engine.engine_tables import Domain, Tables
from storpool_ovirt.setup.domain import is_secret

NONE_YET = "Engine has no storage domain of ours yet"
# What a verb's own limit leaves of this check's time: its start, its end, and ours.
STATS_RESERVE_SECONDS = 1.5
# Verbs at a time: each is a process of Python's, and Engine needs this machine too.
AT_ONCE = 4
_SHOWN_MAX = 5
_DEADLINE = "sp_deadline"


class Served(NamedTuple):
    """A domain of ours with all of its options, those that are sensitive too."""

    domain: Domain
    options: Mapping[str, object]


def _served(site: Site, domain: Domain) -> Served:
    """Return a domain with its options as Engine gives them to the verb; raise ConfigError."""
    limit = engine_machine.limit(site)
    opened = sealed_options.opened(domain, limit, site.root)
    sealed = {key: value.reveal() for key, value in opened.items()}
    plain = [str(value) for key, value in domain.options.items() if is_secret(key)]
    site.hide(*sealed.values(), *plain)
    return Served(domain, {**domain.options, **sealed})


def adapters(site: Site) -> Iterator[Result]:
    """Compare the adapters that domains ask for with the programs that are there."""
    tables = engine_machine.tables(site)
    look = partial(_of_adapter, site, tables)
    found = [*engine_machine.for_each(tables.domains, look, _name)]
    yield from found or [checks.ok(NONE_YET)]


def _name(domain: Domain) -> str:
    return domain.name


def _of_adapter(site: Site, tables: Tables, domain: Domain) -> Iterator[Result]:
    """Yield how it is with a domain's adapter; nothing for one of Engine's own cinderlib client."""
    asked = domain.options.get(names.ADAPTER_KEY)
    if domain.adapter == names.ADAPTER:
        yield checks.ok(f"its adapter is {domain.adapter}", domain.name)
        return
    if asked is None:
        if domain.mistake:
            yield _mistaken(tables, domain, domain.mistake)
        return
    file = site.path(f"{engine_machine.ADAPTERS}/{asked}-adapter")
    if _is_there(file):
        yield checks.ok(f"it is of another adapter, {file}", domain.name)
        return
    cause = f"its adapter {names.shown(str(asked))} is not there: {file}"
    yield _mistaken(tables, domain, domain.mistake or cause)


def _is_there(file: str) -> bool:
    """Return whether a program is there; one whose name nobody can look at is not."""
    try:
        return "\0" not in file and presence.there(file)
    except errors.Unseen:
        return False


def _mistaken(tables: Tables, domain: Domain, cause: str) -> Result:
    risk = f"nothing of ours serves this domain: in it {engine_machine.NO_VERB}"
    fix = engine_steps.set_option(tables, domain, names.ADAPTER_KEY, names.ADAPTER)
    return Result(CRITICAL, cause, risk, fix, domain.name)


def options(site: Site) -> Iterator[Result]:
    """Read the options as the adapter does, and look at them as the gate does."""
    tables = engine_machine.tables(site)
    ours = tables.ours
    if not ours:
        yield checks.ok(NONE_YET)
    yield from engine_machine.for_each(ours, partial(_of_options, site, tables), _name)


def _of_options(site: Site, tables: Tables, domain: Domain) -> Iterator[Result]:
    try:
        served = _served(site, domain)
    except errors.ConfigError as error:
        yield checks.unknown(str(error), "run this as root", domain.name)
        return
    faults = list(gate.faults(served.options, site.root))
    found = [engine_steps.of_fault(tables, domain, each) for each in faults]
    try:
        config.domain(served.options, site.root)
    except errors.ConfigError as error:
        found.append(engine_steps.of_wrong_option(tables, domain, error))
    yield from found or [checks.ok("all of its options are known and can be read", domain.name)]


def stats(site: Site) -> Iterator[Result]:
    """Run what Engine runs before it adds a domain, with what it has of each."""
    tables = engine_machine.tables(site)
    ours = tables.ours
    if not ours:
        yield checks.ok(NONE_YET)
        return
    asking.known(engine_machine.USER)
    for at in range(0, len(ours), AT_ONCE):
        rest = ours[at:]
        left = site.left() - run.LAST_SECONDS
        if left < STATS_RESERVE_SECONDS:
            yield _unreached(rest)
            return
        # Side by side, each in a process of its own: root takes other users' rights to read files.
        table = [Check("", "", partial(_stats_of, domain)) for domain in rest[:AT_ONCE]]
        limit = left if len(rest) <= AT_ONCE else max(left / 2, STATS_RESERVE_SECONDS)
        for finding in run.examined(site, table, limit):
            yield finding.result


def _unreached(domains: list[Domain]) -> Result:
    shown = ", ".join(each.name for each in domains[:_SHOWN_MAX])
    more = f" and {len(domains) - _SHOWN_MAX} more" if len(domains) > _SHOWN_MAX else ""
    cause = f"there was no time for {len(domains)} more domains: {shown}{more}"
    return checks.unknown(cause, "run this again when this machine has less to do")


def _stats_of(domain: Domain, site: Site) -> Iterator[Result]:
    site.hide(conf.database(site.root).password.reveal())
    try:
        served = _served(site, domain)
    except errors.ConfigError as error:
        yield checks.unknown(str(error), "run this as root", domain.name)
        return
    given = {**served.options, _DEADLINE: _deadline(site, served.options)}
    limit = engine_machine.limit(site)
    try:
        answer = as_engine.storage_stats(given, limit, site.root, f"doctor-{os.getpid()}")
    except errors.DeadlineExceeded as error:
        yield checks.unknown(str(error), "run this again", domain.name)
        return
    except errors.ConfigError as error:
        answer = as_engine.Answer(None, str(error))
    if answer.facts is None:
        yield _refused(site, domain, answer.sentence)
    else:
        yield worked(domain.name, answer.facts)
        fault = answer.facts.get(names.BACKUP_FAULT)
        if fault:
            yield engine_steps.of_backup(domain, str(fault))


def worked(domain: str, facts: Mapping[str, Any]) -> Result:
    """Return that the verb works with a domain, or a warning where what it tells is that hardly any
    room is left."""
    free, total = facts.get("free_capacity_gb"), facts.get("total_capacity_gb")
    if isinstance(free, int) and isinstance(total, int):
        name = str(facts.get("template"))
        template = api.Template(name, total * sizes.GIB, free * sizes.GIB)
        if fullness.is_nearly_full(template):
            return Result(
                WARNING,
                f"template {name} is nearly full: {fullness.said(template)}",
                "VMs that write stop when nothing is left",
                "storpool-ovirt trash purge --oldest N frees what was deleted first:"
                " storpool-ovirt trash list; else add drives to StorPool",
                domain,
            )
    default = facts.get(names.POLICY_DEFAULT)
    more = f"; new disks get {default}, by storpool-ovirt policy default" if default else ""
    return checks.ok(f"storage_stats works: {_capacity(facts)}{more}", domain)


def _refused(site: Site, domain: Domain, said: str) -> Result:
    """Return why a verb does not work: what is before it first, as far as there is time for it."""
    try:
        said, step = _before(site, domain, said)
    except asking.Unasked:
        step = ""
    step = step or engine_steps.of_refusal(domain, said)
    return Result(CRITICAL, said, engine_machine.NO_VERB, step, domain.name)


def _before(site: Site, domain: Domain, said: str) -> tuple[str, str]:
    """Return what to say of a verb, and the step for what it needs first; else no step."""
    link = site.path(f"{engine_machine.ADAPTERS}/{adapter.PROGRAM}")
    folder = site.path(engine_machine.ADAPTERS)
    if engine_machine.started(site, folder, [link, "--version"]).code:
        cause = f"user {engine_machine.USER} cannot start {link}"
        return cause, "waits for engine-adapter: mend what that tells"
    token = str(domain.options.get(gate.TOKEN_FILE) or "")
    closed = engine_machine.closed_folder(site, token) if token and token in said else ""
    return said, engine_machine.opening(closed) if closed else ""


def _deadline(site: Site, given: Mapping[str, object]) -> str:
    """Return a limit with which the verb ends, with a sentence, before this check does."""
    own = text.decimal(str(given.get(_DEADLINE) or "")) or option_table.DEADLINE_SECONDS
    return f"{max(1.0, min(own, site.left() - STATS_RESERVE_SECONDS)):.1f}"


def _capacity(facts: Mapping[str, Any]) -> str:
    free, total = facts.get("free_capacity_gb"), facts.get("total_capacity_gb")
    if "unknown" in (free, total):
        return "without a template no capacity is told"
    return f"{free} of {total} GiB are free in template {facts.get('template')}"


def data_centers(site: Site) -> Iterator[Result]:
    """Look for another domain in each data center that has one of ours."""
    tables = engine_machine.tables(site)
    used = {each.data_center_id for domain in tables.ours for each in domain.attachments}
    for center in tables.data_centers:
        if center.id not in used:
            continue
        if center.data_domains:
            cause = f"it has the data domain {center.data_domains[0]} too"
            yield checks.ok(cause, center.name)
        else:
            yield Result(
                WARNING,
                "no active domain in it can be master: managed block domains cannot",
                "Engine does not bring the data center up, and no disk can be copied into it or"
                " out of it, as each copy needs a lease there",
                command("add an NFS or iSCSI data domain to the data center {}", center.name),
                center.name,
            )
    if not used:
        yield checks.ok("no domain of ours is in a data center yet")


CHECKS = (
    Check("engine-domain-adapter", "each domain names an adapter that is there", adapters),
    Check("engine-domain-options", "each option is known, and right", options),
    Check("engine-domain-stats", "the verb that Engine runs works with each domain", stats),
    Check("engine-data-center", "a data center has more than managed block domains", data_centers),
)
