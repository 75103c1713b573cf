"""A new storage domain: where it can be, whether it is there already, and that it would work.

What is there is read from Engine's own tables: Engine's API shows no option of any domain. So one
that is there already is found again, whatever this was in the middle of when it was ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storpool_ovirt import errors, names, option_table, storpool_conf
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import as_engine, conf, engine_tables, gate, sealed_options
from storpool_ovirt.engine.engine_tables import DataCenter, Domain, Tables
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup.domain_options import Wanted
from storpool_ovirt.setup.domain_texts import Place

PRINTED, CREATED, THERE = "printed", "created", "there"
# Engine's own addition to what it was given (AddManagedBlockStorageDomainParameters).
ADDED_BY_ENGINE = "volume_backend_name"


@dataclass(frozen=True)
class Standing:
    """A domain that is there with the options that are wanted; `unsure` names those of them that
    nobody can compare here."""

    domain: Domain
    unsure: Sequence[str]


def place(
    tables: Tables, data_center: str | None, host: str | None, *, is_there: bool = False
) -> Place:
    """Return where a domain can be added; one that `is_there` needs no host that is up.

    Raises ConfigError for a data center or host that is not there or cannot have it, with what is
    to be done.
    """
    center = named_center(tables, data_center) if data_center is not None else None
    hosts = [each for each in tables.hosts if center is None or each.data_center == center.name]
    if host is None:
        up = [each for each in hosts if each.status == engine_tables.UP]
        # Of those the ones that told what they are: they can use the domain.
        best = [each for each in up if each.connector is not None] or up or (hosts * is_there)
        if not best and is_there:
            return _at("", center)
        if not best:
            where = f" in data center {center.name}" if center else ""
            raise errors.ConfigError(
                "--host", f"is missing, and no host{where} is up", "add one, or activate one"
            )
        return _at(best[0].name, center)
    if host not in [each.name for each in hosts]:
        raise errors.ConfigError(
            f"host {names.shown(host)}",
            f"is not in data center {center.name}" if center else "is not known to Engine",
            _one_of([each.name for each in hosts]),
        )
    return _at(host, center)


def standing(wanted: Wanted, tables: Tables, deadline: Deadline, root: str) -> Standing | None:
    """Return the domain of this name that has these options, None where there is none of this name.

    Raises Conflict naming each difference for one that has others, or is of another type.
    """
    if wanted.name in tables.other_domains:
        raise errors.Conflict(
            f"storage domain {wanted.name}",
            "is there, and is no managed block storage domain",
            "take another name",
        )
    found = next((each for each in tables.domains if each.name == wanted.name), None)
    if found is None:
        return None
    differing = list(_differences(wanted.options, _shown(found)))
    unsure = []
    try:
        sensitive = sealed_options.opened(found, deadline, root)
        differing += _sensitive_differences(wanted.sensitive, sensitive)
    except errors.ConfigError as error:
        if error.why != sealed_options.UNREAD:
            raise
        unsure = [f"its sensitive options cannot be compared ({error.advice})"]
    if differing:
        raise errors.Conflict(
            f"storage domain {wanted.name}",
            f"is there with other options: {'; '.join([*differing, *unsure])}",
            "take another name, or remove that domain: Engine changes no option of one",
        )
    return Standing(found, unsure)


def is_active(found: Domain, data_center: str) -> bool:
    """Return whether a domain is active in the data center of this name."""
    wanted = (data_center, engine_tables.ACTIVE)
    return wanted in [(each.data_center, each.status) for each in found.attachments]


def prove(wanted: Wanted, deadline: Deadline, root: str) -> Mapping[str, object]:
    """Return what Engine would get from `storage_stats`; raise ConfigError with the adapter's
    sentence where it would get none, and for an Engine that would not ask."""
    if not conf.is_enabled(root):
        raise errors.ConfigError(
            "managed block storage",
            "is not set up in this Engine, so it adds no such domain",
            "storpool-ovirt setup engine  says how",
        )
    answer = as_engine.storage_stats(wanted.all_options(), deadline, root)
    if answer.facts is None:
        raise errors.ConfigError(f"storage domain {wanted.name}", "would not work", answer.sentence)
    fault = answer.facts.get(names.BACKUP_FAULT)
    if fault:
        key = "sp_backup_on_delete"
        of_conf = f"{storpool_conf.BACKUP_KEY} in {storpool_conf.FILE}"
        raise errors.ConfigError(
            f"driver option {key}" if key in wanted.all_options() else of_conf,
            f"is wrong, and no disk of the domain could be deleted ({fault})",
            "give a location that is there, or none",
        )
    return answer.facts


def named_center(tables: Tables, name: str) -> DataCenter:
    """Return a data center that can have a managed block domain."""
    found = next((each for each in tables.data_centers if each.name == name), None)
    if found is None:
        raise errors.ConfigError(
            f"data center {names.shown(name)}",
            "is not known to Engine",
            _one_of([each.name for each in tables.data_centers]),
        )
    if tables.option("ManagedBlockDomainSupported", found.level) == "false":
        raise errors.ConfigError(
            f"data center {name}",
            f"takes no managed block storage at its level {found.level}",
            f"run  engine-config -s ManagedBlockDomainSupported=true --cver={found.level}  and"
            " restart ovirt-engine, or raise its level",
        )
    if not found.data_domains:
        raise errors.ConfigError(
            f"data center {name}",
            "has no active data domain of another type, without which Engine attaches none of ours",
            "add one on NFS, iSCSI or Fibre Channel first",
        )
    return found


def _at(host: str, center: DataCenter | None) -> Place:
    return Place(host, center.name, center.id) if center is not None else Place(host, "")


def _one_of(known: Sequence[str]) -> str:
    return f"Engine knows {', '.join(known)}" if known else "Engine has none yet"


def _shown(found: Domain) -> dict[str, object]:
    return {key: each for key, each in found.options.items() if key != ADDED_BY_ENGINE}


def _differences(wanted: Mapping[str, str], there: Mapping[str, object]) -> list[str]:
    found = []
    for key in sorted({*wanted, *there}):
        if key not in wanted:
            found.append(f"{names.shown(key)} is {_value(key, there[key])} there, none is wanted")
        elif key not in there:
            found.append(f"{key} is not there, {_value(key, wanted[key])} is wanted")
        elif not _is_same(key, wanted[key], there[key]):
            now, then = _value(key, there[key]), _value(key, wanted[key])
            found.append(f"{key} is {now} there, {then} is wanted")
    return found


def _sensitive_differences(wanted: Mapping[str, Secret], there: Mapping[str, Secret]) -> list[str]:
    found = [f"the sensitive option {key} is not there" for key in wanted if key not in there]
    found += [
        f"the sensitive option {names.shown(key)} is not wanted"
        for key in there
        if key not in wanted
    ]
    return found + [
        f"the sensitive option {key} differs"
        for key in wanted
        if key in there and there[key] != wanted[key]
    ]


def _is_same(key: str, wanted: str, there: object) -> bool:
    """Return whether two values mean the same to the adapter: 81 is "81"."""
    option = next((each for each in option_table.OPTIONS if each.name == key), None)
    if option is None or not isinstance(there, (str, int, float)):
        return wanted == there
    written = str(there).lower() if isinstance(there, bool) else str(there)
    try:
        return bool(option.parse(wanted) == option.parse(written))
    except ValueError:
        return wanted == written


def _value(key: str, value: object) -> str:
    return "***" if is_secret(key) else names.shown(str(value))


def is_secret(key: str) -> bool:
    """Return whether an option holds a secret, of whoever it is."""
    word = key.lower()
    if key == gate.TOKEN_FILE:
        return False
    return any(each in word for each in ("token", "password", "passwd", "secret", "keyring"))
