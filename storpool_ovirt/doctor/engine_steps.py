"""The steps that mend a storage domain: nobody can edit its options in Engine, but its database
has them."""

from __future__ import annotations

import re

from storpool_ovirt import errors, storpool_conf
from storpool_ovirt.doctor import engine_commands, engine_machine, engine_token
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Result
from storpool_ovirt.doctor.engine_commands import literal
from storpool_ovirt.engine import gate
from storpool_ovirt.engine.engine_tables import Domain, Tables

TOKEN_FILE = engine_machine.TOKEN_FILE
_LOG = f"{engine_machine.LOGS}/managedblock/storpool-adapter.log"
_TEMPLATE = "sp_template"
_AGAIN = "again"
# What the adapter's sentence is about, and what looks at that or mends it.
_REFUSALS = (
    (r"API's address (?P<it>[^ ]+) ", "getent ahosts {}"),
    (r"the StorPool API at (?P<it>[^ ]+) gave", "curl -m 5 http://{}/  (any answer is a way)"),
    (r"unauthorized", f"write the token of this cluster into {TOKEN_FILE}"),
    (r"cannot be read \(Permission", engine_token.MOVE),
    (r"the mapping database", "systemctl status postgresql"),
    (r"a library is missing", "do what it says"),
    (r"cannot be started|Permission denied|not found", _AGAIN),
)


def set_option(tables: Tables, domain: Domain, key: str, value: str) -> str:
    """Return the command that sets an option of a domain."""
    if not engine_commands.fits(key, value):
        return engine_commands.BY_HAND
    it = f"ARRAY[{literal(key)}], to_jsonb({literal(value)}::text)"
    return _changed(tables, domain, f"jsonb_set(driver_options, {it})")


def without_option(tables: Tables, domain: Domain, key: str) -> str:
    """Return the command that takes an option from a domain."""
    if not engine_commands.fits(key):
        return engine_commands.BY_HAND
    return _changed(tables, domain, f"driver_options - {literal(key)}")


def _changed(tables: Tables, domain: Domain, change: str, column: str = "driver_options") -> str:
    statement = f"UPDATE {tables.storage} SET {column} = {change}"  # noqa: S608  a person runs it
    return engine_machine.sql(f"{statement} WHERE storage_domain_id = {literal(domain.id)}")


def of_fault(tables: Tables, domain: Domain, fault: gate.Fault) -> Result:
    """Return what the gate has against a domain, with its step."""
    result = CRITICAL if fault.refuses else WARNING
    fix, action = fault.error.advice, None
    path = fault.error.what
    if fault.name == gate.OPEN:
        result = CRITICAL
        # StorPool's own services read storpool.conf, as whoever they are.
        fix = engine_token.closing(path)
        if path == domain.options.get(gate.TOKEN_FILE):
            fix, action = engine_token.step(path), engine_token.action(path)
    elif fault.name == gate.IN_ARGUMENTS:
        fix = (
            f"{engine_machine.SETUP} --token-file FILE, where FILE has the token alone, then"
            f" {set_option(tables, domain, gate.TOKEN_FILE, TOKEN_FILE)} and"
            f" {_without_token(tables, domain)}"
        )
    elif fault.key in domain.options:
        fix = without_option(tables, domain, fault.key)
    return Result(result, str(fault.error), fault.risk, fix, domain.name, action)


def _without_token(tables: Tables, domain: Domain) -> str:
    if gate.TOKEN in domain.options:
        return without_option(tables, domain, gate.TOKEN)
    return _changed(tables, domain, "NULL", "driver_sensitive_options")


def of_wrong_option(tables: Tables, domain: Domain, error: errors.ConfigError) -> Result:
    """Return an option with which no verb works, with its step."""
    key = error.what.partition("driver option ")[2].rstrip(")").strip('"')
    fix = error.advice
    if key in domain.options and key != gate.TOKEN_FILE:
        fix = _correct(key, domain) + (fix and f": {fix}")
        if error.why == "is not known":
            fix = without_option(tables, domain, key)
    return Result(CRITICAL, str(error), engine_machine.NO_VERB, fix, domain.name)


def of_backup(domain: Domain, fault: str) -> Result:
    """Return that a domain's disks cannot be copied before a delete, with the step."""
    key, conf_key = "sp_backup_on_delete", storpool_conf.BACKUP_KEY
    fix = (
        _correct(key, domain)
        if key in domain.options
        else f"correct {conf_key} in {storpool_conf.FILE}"
    )
    return Result(
        WARNING,
        f"{key} is wrong: {fault}",
        "no disk of it can be deleted: each is to be copied there before",
        f"{fix}: a location that is there, or none",
        domain.name,
    )


def _correct(key: str, domain: Domain) -> str:
    return engine_commands.command("correct {} of {} in Engine's database", key, domain.name)


def _again() -> str:
    """Return what puts the programs that Engine starts in their places again."""
    return engine_machine.again()


def of_refusal(domain: Domain, said: str) -> str:
    """Return the step for what a verb said, as far as its words tell it; else where more is."""
    if "template" in said:
        return f"{_correct(_TEMPLATE, domain)}: there is no such template"
    for pattern, step in _REFUSALS:
        found = re.search(pattern, said)
        if found:
            if "it" in found.groupdict():
                return engine_commands.command(step, found["it"])
            return _again() if step == _AGAIN else step
    return f"tail {_LOG}"
