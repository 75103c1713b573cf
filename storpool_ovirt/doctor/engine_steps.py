"""The steps that mend a storage domain: nobody can edit its options in Engine, but its database
has them."""

from __future__ import annotations

import re
from functools import partial

from storpool_ovirt import errors
from storpool_ovirt.doctor import asking, checks, engine_machine
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Action, Result, Site
from storpool_ovirt.engine import gate
from storpool_ovirt.engine.engine_tables import Domain, Tables

TOKEN_FILE = engine_machine.TOKEN_FILE
_LOG = f"{engine_machine.LOGS}/managedblock/storpool-adapter.log"
_TEMPLATE = "sp_template"
# What the adapter's sentence is about, and what looks at that or mends it.
_REFUSALS = (
    (r"API's address (?P<it>[^ ]+) ", "getent ahosts {it}"),
    (r"the StorPool API at (?P<it>[^ ]+) gave", "curl -m 5 http://{it}/  (any answer is a way)"),
    (r"unauthorized", f"write the token of this cluster into {TOKEN_FILE}"),
    (r"(?P<it>/[^ ]+) .*cannot be read \(Permission", "chown root:ovirt {it} && chmod 0640 {it}"),
    (r"the mapping database", "systemctl status postgresql"),
    (r"a library is missing", "do what it says"),
    (r"cannot be started|Permission denied|not found", "{again}"),
)


def set_option(tables: Tables, domain: Domain, key: str, value: str) -> str:
    """Return the command that sets an option of a domain."""
    change = f"jsonb_set(driver_options, '{{{_quoted(key)}}}', to_jsonb('{_quoted(value)}'::text))"
    return _changed(tables, domain, change)


def without_option(tables: Tables, domain: Domain, key: str) -> str:
    """Return the command that takes an option from a domain."""
    return _changed(tables, domain, f"driver_options - '{_quoted(key)}'")


def _changed(tables: Tables, domain: Domain, change: str, column: str = "driver_options") -> str:
    table = "mb_storage" if tables.is_later else "cinder_storage"
    statement = f"UPDATE {table} SET {column} = {change}"  # noqa: S608  a person runs it
    return engine_machine.sql(f"{statement} WHERE storage_domain_id = '{domain.id}'")


def _quoted(given: str) -> str:
    """Return a text for SQL within double quotes of a shell."""
    return re.sub(r'(["$`\\])', r"\\\1", given.replace("'", "''"))


def of_fault(tables: Tables, domain: Domain, fault: gate.Fault) -> Result:
    """Return what the gate has against a domain, with its step."""
    result = CRITICAL if fault.refuses else WARNING
    fix, action = fault.error.advice, None
    path = fault.error.what
    if fault.name == gate.OPEN:
        result = CRITICAL
        fix = f"chown root:{engine_machine.USER} {path} && chmod 0640 {path}"
        # StorPool's own services read storpool.conf, as whoever they are.
        if path == domain.options.get(gate.TOKEN_FILE):
            action = Action(f"let only root and user ovirt read {path}", partial(close, path))
    elif fault.name == gate.IN_ARGUMENTS:
        fix = (
            f"write the token into {TOKEN_FILE} (root:ovirt, 0640), then"
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


def close(path: str, root: str) -> str:
    """Let only root and Engine's user read a file."""
    site = Site(checks.ENGINE, root)
    for command in (["chown", f"root:{engine_machine.USER}", path], ["chmod", "0640", path]):
        engine_machine.done(asking.ask(site, command), " ".join(command))
    if asking.ask(site, ["test", "-r", path], asking.As(engine_machine.USER)).code:
        why = f"still cannot be read by user {engine_machine.USER}"
        raise errors.Conflict(path, why, f"namei -l {path} shows what is in the way")
    return f"{path} is root's, and user {engine_machine.USER} can read it"


def of_wrong_option(tables: Tables, domain: Domain, error: errors.ConfigError) -> Result:
    """Return an option with which no verb works, with its step."""
    key = error.what.partition("driver option ")[2].rstrip(")").strip('"')
    fix = error.advice
    if key in domain.options and key != gate.TOKEN_FILE:
        fix = f"correct {key} of {domain.name} in Engine's database" + (fix and f": {fix}")
        if error.why == "is not known":
            fix = without_option(tables, domain, key)
    return Result(CRITICAL, str(error), engine_machine.NO_VERB, fix, domain.name)


def _again() -> str:
    """Return what puts the programs that Engine starts in their places again."""
    return engine_machine.again()


def of_refusal(domain: Domain, said: str) -> str:
    """Return the step for what a verb said, as far as its words tell it; else where more is."""
    if "template" in said:
        return (
            f"correct {_TEMPLATE} of {domain.name} in Engine's database: there is no such template"
        )
    for pattern, step in _REFUSALS:
        found = re.search(pattern, said)
        if found:
            return step.format(again=_again(), **found.groupdict())
    return f"tail {_LOG}"
