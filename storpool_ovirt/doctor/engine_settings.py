"""What Engine is set to: managed block storage and its limit, the fence agent, VM properties."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from storpool_ovirt import errors, names, option_values, text
from storpool_ovirt.doctor import asking, checks, engine_machine
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Check, Result, Site
from storpool_ovirt.doctor.engine_commands import command, fits
from storpool_ovirt.engine import stored_options
from storpool_ovirt.engine.engine_tables import GENERAL, Tables
from storpool_ovirt.setup import engine_config

RESTART = "systemctl restart ovirt-engine"
TIMER, SERVICE = "storpool-ovirt-audit.timer", "storpool-ovirt-audit.service"
_AGENT = "storpool"
_ALIASES = engine_config.List("CustomFenceAgentMapping", ",", "=")
_NO_UNIT = "No such file or directory"  # systemctl, of a unit
_MINUTES_MAX = 3000  # engine-config.properties
# What a loader or an interpreter takes from its environment, where hooks find VMs' properties.
_LOADED = re.compile(r"(?:LD_|PYTHON|STORPOOL_|SP_)\w*\Z|(?:BASH_ENV|ENV|PATH|IFS|SHELLOPTS)\Z")


def _set(key: str, value: str, version: str = GENERAL) -> str:
    """Return the command that gives a key of Engine's another value, in one version alone."""
    return command(f"engine-config -s {{}} --cver={{}} && {RESTART}", f"{key}={value}", version)


def supported(site: Site) -> Iterator[Result]:
    """Look whether Engine lets a managed block domain be attached to each data center."""
    key = "ManagedBlockDomainSupported"
    tables = engine_machine.tables(site)
    for center in tables.data_centers:
        value = tables.option(key, center.level)
        if value is not None and value.lower() == "true":
            yield checks.ok(f"{key} is true for its level {center.level}", center.name)
        else:
            told = "not set" if value is None else names.shown(value)
            yield Result(
                WARNING,
                f"{key} is {told} for its level {center.level}",
                "Engine refuses to attach a managed block domain to it",
                _set(key, "true", center.level),
                center.name,
            )
    if not tables.data_centers:
        yield checks.ok("there is no data center yet")


def time_out(site: Site) -> Iterator[Result]:
    """Look how long Engine waits for the end of a verb that has answered."""
    tables = engine_machine.tables(site)
    kind = "ManagedBlock" if tables.is_later else "Cinderlib"
    key = f"{kind}CommandTimeoutInMinutes"
    value = tables.option(key)
    if value is None:
        yield checks.unknown(f"Engine's database does not tell {key}")
    elif text.number(value, 1, _MINUTES_MAX) is None:
        yield Result(
            CRITICAL,
            f"{key} is {names.shown(value)}",
            "Engine takes a verb that did its work for one that failed, where its process does not"
            " end in the same moment: volumes are left, and disks are shown as illegal",
            _set(key, "2"),
        )
    else:
        yield checks.ok(f"{key} is {value}")


def fence_agent(site: Site) -> Iterator[Result]:
    """Look whether Engine knows the fence agent whole, or not at all."""
    tables = engine_machine.tables(site)
    found = {entry.list.key: _named(tables, entry) for entry in engine_config.FENCE_AGENT}
    wrong = _wrong_of_agent(tables, found)
    keys = " and ".join(found)
    if wrong:
        yield Result(
            WARNING,
            wrong,
            "a fence of a lost host by StorPool fails when it is needed, or Engine does not offer"
            " it, and its VMs do not start elsewhere",
            _agents_fix(tables),
        )
    elif any(found.values()):
        yield checks.ok(f"{keys} have it")
    else:
        yield checks.ok(f"the fence agent is not used: it is not in {keys}")


def _named(tables: Tables, entry: engine_config.Entry) -> list[str]:
    """Return what a list of Engine's has under the name of our entry."""
    listed = engine_config.entries(tables.option(entry.list.key) or "", entry.list)
    return [each for each in listed if engine_config.name_of(each, entry.list) == entry.name]


def _wrong_of_agent(tables: Tables, found: Mapping[str, list[str]]) -> str:
    missing = [key for key, each in found.items() if not each]
    if len(missing) == len(found):
        return ""
    if missing:
        has = ", ".join(key for key in found if key not in missing)
        return f"{has} has {_AGENT}, and {missing[0]} has not"
    for entry in engine_config.FENCE_AGENT:
        given = found[entry.list.key]
        if given != [entry.text]:
            shown = names.shown(entry.list.separator.join(given))
            return f"{entry.list.key} has {shown} in place of {entry.text}"
    aliases = engine_config.entries(tables.option(_ALIASES.key) or "", _ALIASES)
    if any(engine_config.name_of(each, _ALIASES) == _AGENT for each in aliases):
        return f"{_ALIASES.key} has {_AGENT}, which Engine then runs as another agent"
    return ""


def _agents_fix(tables: Tables) -> str:
    """Return the commands that merge our entries into the lists, which others share."""
    steps = []
    for entry in engine_config.FENCE_AGENT:
        key = entry.list.key
        value = tables.option(key) or ""
        if _named(tables, entry) != [entry.text]:
            value = engine_config.merged(engine_config.without(value, entry), entry)
        if not fits(f"{key}={value}"):
            return f"{engine_machine.SETUP} --fence-agent"
        steps.append(command("engine-config -s {} --cver={}", f"{key}={value}", GENERAL))
    return " && ".join([*steps, RESTART])


def properties(site: Site) -> Iterator[Result]:
    """Look for properties that users of the portal could have a hook's interpreter obey."""
    key = "UserDefinedVMProperties"
    tables = engine_machine.tables(site)
    found = {
        level: [name for name in _names(value) if _LOADED.match(name)]
        for level, value in tables.options.get(key, {}).items()
    }
    for level, bad in sorted(found.items()):
        if bad:
            again = f"engine-config -g {key} --cver={{}}; set it again without {{}}"
            yield Result(
                CRITICAL,
                f"{key} of level {level} allows {', '.join(bad)}",
                "who may edit a VM has hosts run any code as user vdsm, who is nearly root",
                command(again, level, ", ".join(bad)),
                level,
            )
    if not any(found.values()):
        yield checks.ok("no VM property has a name that a loader or an interpreter knows")


def _names(value: str) -> list[str]:
    return list(_patterns(value))


def _patterns(value: str) -> dict[str, str]:
    """Return the properties of a list, each with the pattern for what somebody gives: the last one,
    as Engine has it (CustomPropertiesUtils.java)."""
    of = engine_config.VM_PROPERTIES
    found: dict[str, str] = {}
    for each in engine_config.entries(value, of):
        name = engine_config.name_of(each, of)
        found[name] = each.partition(of.ends_name)[2].strip()
    return found


def vm_policy(site: Site) -> Iterator[Result]:
    """Look whether VMs can say their QoS class and their policy, wherever one is, or nowhere."""
    key = engine_config.VM_PROPERTIES.key
    tables = engine_machine.tables(site)
    ours = [entry.name for entry in engine_config.VM_POLICY]
    levels = {level: _patterns(value) for level, value in tables.options.get(key, {}).items()}
    if not any(name in found for found in levels.values() for name in ours):
        yield checks.ok(f"no VM says its QoS class or its policy: {key} has neither property")
        return
    used = {each.cluster_level for each in tables.hosts} & {*levels}
    wrong = [
        result
        for level, found in sorted(levels.items())
        for result in _wrong_of_policy(level, found, level in used, _classes(tables))
    ]
    yield from wrong or [checks.ok(f"{key} has {' and '.join(ours)}")]


def _wrong_of_policy(
    level: str, found: Mapping[str, str], is_used: bool, classes: Sequence[str]
) -> Iterator[Result]:
    """Yield what is wrong with these properties at a level, each with its pattern."""
    key, name = engine_config.VM_PROPERTIES.key, names.PROPERTY_QOS
    missing = [each.name for each in engine_config.VM_POLICY if each.name not in found]
    if missing and is_used:
        yield Result(
            WARNING,
            f"{key} of level {level} lacks {' and '.join(missing)}",
            "VMs of its clusters cannot say it",
            f"{engine_machine.SETUP} && {RESTART}",
            level,
        )
    refused = [each for each in classes if not _takes(found.get(name, ""), each)]
    if name in found and refused:
        again = f"engine-config -g {key} --cver={{}}; set it again with a pattern that takes {{}}"
        yield Result(
            WARNING,
            f"{name} of level {level} takes {names.shown(found[name])}, which is none of the"
            f" classes {', '.join(refused)} that domains have",
            "no VM can be given these",
            command(again, level, ", ".join(refused)),
            level,
        )


def _classes(tables: Tables) -> list[str]:
    """Return the QoS classes that there are by the options of our domains."""
    found: dict[str, None] = {}
    for domain in tables.ours:
        said = domain.options.get("sp_qos_classes")
        with suppress(ValueError):
            found.update(
                dict.fromkeys(option_values.classes(said if isinstance(said, str) else ""))
            )
    return list(found)


def _takes(pattern: str, value: str) -> bool:
    """Return whether Engine takes a value by this pattern; what is none here, may be one there."""
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return True


def audit_timer(site: Site) -> Iterator[Result]:
    """Ask systemd for the daily audit, and whether it finds what it needs."""
    answer = asking.ask(site, ["systemctl", "is-enabled", TIMER])
    if answer.code:
        if _word(answer) or _NO_UNIT in answer.err:
            yield checks.ok(f"no audit runs daily: {TIMER} is {_word(answer) or 'not there'}")
        else:
            yield checks.unknown(f"systemctl is-enabled {TIMER}: {answer.said}")
        return
    failed = asking.ask(site, ["systemctl", "is-failed", SERVICE])
    if failed.code and not _word(failed):
        yield checks.unknown(f"systemctl is-failed {SERVICE}: {failed.said}")
        return
    if failed.code == 0:
        yield Result(
            WARNING,
            "the last daily audit failed: it found something critical, or could not look",
            "what it found is not mended",
            f"journalctl -u {SERVICE}",
        )
        return
    started = asking.ask(site, ["systemctl", "show", "-p", "ExecStart", SERVICE])
    if started.code:
        yield checks.unknown(f"systemctl show {SERVICE}: {started.said}")
        return
    try:
        if "--options" not in started.out:
            stored_options.domain(site.root, site.hide)
    except errors.ConfigError as error:
        yield Result(
            WARNING,
            f"the daily audit has no --options, and {error}",
            "each of its runs fails, and nobody learns what is left over",
            f"systemctl edit {SERVICE}: ExecStart= and ExecStart=/usr/sbin/storpool-ovirt audit"
            " --options FILE",
        )
        return
    yield checks.ok(f"{TIMER} is enabled, and its last run did not fail")


def _word(answer: asking.Answer) -> str:
    return text.stripped(answer.out)


CHECKS = (
    Check("engine-attach-allowed", "Engine lets domains be attached", supported),
    Check("engine-time-out", "Engine waits for the end of verbs", time_out),
    Check("engine-fence-agent", "Engine knows the fence agent whole or not at all", fence_agent),
    Check("engine-vm-properties", "no VM property is code for a hook", properties),
    Check("engine-vm-policy", "VMs can say their QoS class and their policy", vm_policy),
    Check("engine-audit-timer", "the daily audit can look", audit_timer),
)
