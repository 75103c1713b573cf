"""The options of the storage domains as this machine has them: what nobody tells a command is in
storpool.conf, or in Engine's own database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, TypeVar

from storpool_ovirt import config, errors, names, presence
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import conf

if TYPE_CHECKING:
    from storpool_ovirt.engine.engine_tables import Domain

_ADVICE = "give --options FILE with the driver options of the one that is meant"
_TOKENS = ("sp_auth_token", "sp_auth_token_file")
_DELAYS = ("delete_delay_seconds", "snapshot_delete_delay_seconds")
_T = TypeVar("_T", config.Domain, config.Api)
Hide = Callable[[str], object]


class Stored(NamedTuple):
    """A storage domain of ours that Engine has: its id and its name there, and what its options
    say."""

    id: str
    name: str
    domain: config.Domain


class Meant(NamedTuple):
    """What a command goes by to which nobody gave a domain's options; `unread` is why those of
    Engine's domains are not known, "" where they are."""

    domain: config.Domain
    unread: str = ""


def meant(root: str, hide: Hide) -> Meant:
    """Return what the domains say that Engine has on the cluster that storpool.conf names, as far
    as they agree, as the verbs go by these; else what storpool.conf says, as `domain` has it. Of
    the delays the longest counts, storpool.conf's among them: a domain whose options are wrong, or
    name the API otherwise, is not among these.

    `hide` is called with each secret, before it is used. Raises what `domain` does.
    """
    given = domain(root, hide)
    if not presence.named(root + conf.FOLDER):
        return Meant(given, "this is not Engine's machine")
    from storpool_ovirt.engine import engine_tables  # needs the database's library

    try:
        if not conf.tells_own_database(root):
            return Meant(given)  # as in a demo: there is none to be asked
        hide(conf.own_database(root).password.reveal())
        known = beside(given, Deadline(engine_tables.READ_SECONDS), root)
    except errors.Error as error:
        return Meant(given, str(error))
    domains = [each.domain for each in known]
    return Meant(replace(agreed(given, domains), **_longest([given, *domains])))


def agreed(given: config.Domain, known: Sequence[config.Domain]) -> config.Domain:
    """Return what these domains say: each option in which all of them agree, of the delays the
    longest, and of all others what `given` has. The token is that of `given`."""
    if not known:
        return given
    api = _same(given.api, [each.api for each in known])
    api = replace(api, token=given.api.token)
    return replace(_same(given, known), api=api, **_longest(known))


def _longest(domains: Sequence[config.Domain]) -> dict[str, Any]:
    return {key: max(getattr(each, key) for each in domains) for key in _DELAYS}


def _same(given: _T, known: Sequence[_T]) -> _T:
    first = known[0]
    told = {each.name: getattr(first, each.name) for each in fields(first)}
    return replace(
        given,
        **{
            key: value
            for key, value in told.items()
            if all(getattr(each, key) == value for each in known)
        },
    )


def domain(root: str, hide: Hide) -> config.Domain:
    """Return what storpool.conf says; where that says too little, what Engine's domains say.

    `hide` is called with each secret, before it is used. Raises ConfigError where neither says
    enough, or the domains are on several clusters, and the errors of Engine's database.
    """
    try:
        return config.domain({}, root)
    except errors.ConfigError:
        found = _of_engine(root, hide)
        if found is None:
            raise
        return found


def known(root: str, hide: Hide) -> list[tuple[str, config.Domain]]:
    """Return the domains of ours that Engine has here, with their names; those whose options are
    wrong are left out, and without an Engine there is none.

    `hide` is called with each secret, before it is used. Raises the errors of Engine's database.
    """
    if not presence.named(root + conf.FOLDER):
        return []
    found = []
    for each, options in _options(root, hide):
        with suppress(errors.ConfigError):
            found.append((each.name, config.domain(options, root)))
    return found


def beside(given: config.Domain, deadline: Deadline, root: str = "") -> list[Stored]:
    """Return the domains of ours that Engine has here on the cluster of this one; those whose
    options are wrong are left out.

    Each has this one's token: their own may be sealed, and is not read. Raises ConfigError where
    this is not Engine's machine, and the errors of its database.
    """
    from storpool_ovirt.engine import engine_tables  # needs the database's library

    token = {"sp_auth_token": given.api.token.reveal()}
    found = []
    for each in engine_tables.of_this_machine(deadline, root).ours:
        told = {key: value for key, value in each.options.items() if key not in _TOKENS}
        with suppress(errors.ConfigError):
            there = config.domain({**told, **token}, root)
            if is_same(there.api, given.api):
                found.append(Stored(each.id, each.name, there))
    return found


def named(root: str, hide: Hide, name: str) -> config.Domain:
    """Return what a domain of Engine's says that has this name or id.

    `hide` is called with each secret, before it is used. Raises NotFound where there is none of
    ours, ConfigError for options that are wrong, and the errors of Engine's database.
    """
    known = []
    for each, options in _options(root, hide):
        known.append(each.name)
        if name in (each.name, each.id) or name.lower() == each.id:
            return config.domain(options, root)
    there = f"of StorPool's in Engine, which has {', '.join(known)}" if known else "of StorPool's"
    raise errors.NotFound("storage domain", names.shown(name), there)


def _of_engine(root: str, hide: Hide) -> config.Domain | None:
    """Return what the domains say, None where there is no Engine, or it has no domain of ours."""
    if not presence.named(root + conf.FOLDER):
        return None
    found: list[tuple[str, config.Domain]] = []
    failed: list[errors.ConfigError] = []
    for each, options in _options(root, hide):
        try:
            found.append((each.name, config.domain(options, root)))
        except errors.ConfigError as error:
            failed.append(error)
    if not found:
        if failed:
            raise failed[0]
        return None
    clusters = {(one.api.host, one.api.port, one.api.cluster_id) for _, one in found}
    if len(clusters) > 1:
        told = " and ".join(name for name, _ in found)
        raise errors.ConfigError(
            f"the storage domains {told}", "are on several StorPool clusters", _ADVICE
        )
    return found[0][1]


def is_same(one: config.Api, other: config.Api) -> bool:
    """Return whether two domains are on one cluster, as far as their options tell."""
    if one.cluster_id and other.cluster_id:
        return one.cluster_id == other.cluster_id
    return one.address == other.address


def _options(root: str, hide: Hide) -> Iterator[tuple[Domain, dict[str, object]]]:
    """Yield each domain of ours with all of its options."""
    from storpool_ovirt.engine import engine_tables, sealed_options  # they need the database's

    deadline = Deadline(engine_tables.READ_SECONDS)
    hide(conf.own_database(root).password.reveal())
    for each in engine_tables.of_this_machine(deadline, root).ours:
        sealed = sealed_options.opened(each, deadline, root)
        plain = {key: secret.reveal() for key, secret in sealed.items()}
        for secret in plain.values():
            hide(secret)
        yield each, {**each.options, **plain}
