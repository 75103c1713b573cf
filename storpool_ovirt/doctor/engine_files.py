"""Files of Engine's machine: storpool.conf, StorPool's token, logs; who can read and write them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from functools import partial

from storpool_ovirt import errors, names, presence, rights, storpool_conf, text
from storpool_ovirt.doctor import asking, checks, engine_machine, engine_token
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Action, Check, Result, Site
from storpool_ovirt.doctor.engine_commands import command
from storpool_ovirt.engine import gate
from storpool_ovirt.engine.engine_tables import UP, Domain

FOLDER = f"{engine_machine.LOGS}/managedblock"
_KEPT = ("/etc/ovirt-engine/", "/var/lib/ovirt-engine/")  # by engine-backup (its scope `files`)
_VDSM = "vdsm"
_HOST = "sp_api_http_host"
_SHOWN_MAX = 5
_NAMELESS = "storpool-ovirt fence-host and audit do not know it by its name at 3 a.m."
_MISLED = "nobody can tell which host is meant: fence-host and the fence agent refuse it"


def log_folder(site: Site) -> Iterator[Result]:
    """Look whether Engine's user can write its log where people look for it."""
    user, folder = engine_machine.USER, site.path(FOLDER)
    make = ("install", "-d", "-m", "0700", "-o", user, "-g", user, folder)
    fix = " ".join(make)
    what = f"make {folder}, for user {user} alone"
    action = Action(what, partial(engine_machine.by_setup, "log-folder"))
    risk = "what verbs did is in the system's log alone: journalctl -t storpool-adapter"
    if not presence.named(folder):
        yield Result(WARNING, f"{folder} is missing", risk, fix, action=action)
        return
    facts = os.lstat(folder)
    if not stat.S_ISDIR(facts.st_mode):
        fix = f"mv {folder} {folder}.old && {fix}"
        yield Result(WARNING, f"{folder} is no folder", risk, fix)
        return
    owner = asking.known(user).pw_uid
    names_there = [name for name in presence.listed(folder) if name.endswith(".log")]
    others = [name for name in names_there if _is_others(f"{folder}/{name}", owner)]
    if facts.st_uid != owner:
        yield Result(WARNING, f"{folder} is not user {user}'s", risk, fix)
    elif others:
        shown = ", ".join(others[:_SHOWN_MAX])
        fix = " && ".join(_owning(f"{folder}/{name}") for name in others[:_SHOWN_MAX])
        yield Result(WARNING, f"in {folder} {shown} is not user {user}'s", risk, fix)
    else:
        yield checks.ok(f"{folder} is user {user}'s")


def _is_others(path: str, owner: int) -> bool:
    """Return whether a log is not of the folder's owner, so that nothing is appended to it."""
    facts = os.lstat(path)
    return facts.st_uid != owner or not _is_alone(facts)


def _is_alone(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1


def _owning(path: str) -> str:
    """Return the command that gives a log to Engine's user; who has the folder may have put
    something else in its place, which is taken away."""
    if _is_alone(os.lstat(path)):
        return command(f"chown -h {engine_machine.USER}:{engine_machine.USER} {{}}", path)
    return command("rm {}", path)


def conf(site: Site) -> Iterator[Result]:
    """Read storpool.conf by StorPool's rules, and let Engine's user try to read it."""
    needs = [each.name for each in _ours(site) if _needs_conf(each)]
    result = CRITICAL if needs else WARNING
    risk = f"in {', '.join(needs)} {engine_machine.NO_VERB}" if needs else "commands miss it"
    file = site.path(storpool_conf.FILE)
    if not storpool_conf.is_there(site.root):
        if needs:
            fix = "copy it from a host, then: " + engine_token.closing(file)
            yield Result(result, f"{file} is not there", risk, fix)
        else:
            yield checks.ok(f"{file} is not there, and no domain needs it")
        return
    try:
        keys = storpool_conf.read(site.root)
    except errors.ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        yield Result(result, str(error), risk, f"correct {error.what}")
        return
    site.hide(keys.get(gate.TOKEN_KEY, ""))
    closed = [path for path in _files(site) if not asking.can_read(site, path, engine_machine.USER)]
    for path in closed:
        cause = f"user {engine_machine.USER} cannot read {path}"
        yield Result(result, cause, risk, engine_token.closing(path), path)
    if not closed:
        yield checks.ok(f"{file} can be read, by user {engine_machine.USER} too")


def _ours(site: Site) -> list[Domain]:
    return engine_machine.tables(site).ours


def _needs_conf(domain: Domain) -> bool:
    """Return whether a domain's address or token is nowhere but in storpool.conf."""
    given = domain.options
    has_token = given.get(gate.TOKEN) or given.get(gate.TOKEN_FILE) or domain.sealed is not None
    return not (given.get(_HOST) and has_token)


def _files(site: Site) -> list[str]:
    """Return the files of storpool.conf that there are."""
    folder = site.path(storpool_conf.FOLDER)
    listed = [f"{folder}/{name}" for name in presence.listed(folder) if name.endswith(".conf")]
    return [path for path in (site.path(storpool_conf.FILE), *listed) if presence.there(path)]


def token(site: Site) -> Iterator[Result]:
    """Let users try to read each file that has the token: Engine's must, all others must not."""
    of_domains = _token_files(_ours(site))
    files = {path: path in of_domains for path in (*of_domains, *_files_with_token(site))}
    asking.known(engine_machine.USER)
    yield from engine_machine.for_each(
        files, lambda path: _reach(site, path, files[path]), lambda path: path
    )
    if not files:
        yield checks.ok("no file here has the token")


def _token_files(domains: list[Domain]) -> list[str]:
    """Return the token files of domains, each once."""
    given = [
        str(each.options[gate.TOKEN_FILE]) for each in domains if gate.TOKEN_FILE in each.options
    ]
    return sorted({path for path in given if path.startswith("/") and "\0" not in path})


def _files_with_token(site: Site) -> list[str]:
    return [path for path in _files(site) if _has_token(path)]


def _has_token(path: str) -> bool:
    content = text.decoded(rights.read(path), path, damaged=True)
    return any(gate.TOKEN_KEY in keys for keys in storpool_conf.parse(content, path).values())


def _reach(site: Site, path: str, is_domains: bool) -> list[Result]:
    fix = engine_token.step(path) if is_domains else engine_token.closing(path)
    if not presence.there(path):
        cause = f"{path} is not there: domains have it as {gate.TOKEN_FILE}"
        return [Result(CRITICAL, cause, engine_machine.NO_VERB, engine_token.MOVE, path)]
    found = []
    # StorPool's own services read storpool.conf, as whoever they are.
    action = engine_token.action(path) if is_domains else None
    if is_domains and not asking.can_read(site, path, engine_machine.USER):
        cause = f"user {engine_machine.USER} cannot read {path}"
        closed = engine_machine.closed_folder(site, path)
        if closed:
            cause = f"{cause}, as it may not pass the folder {closed}"
            opened = engine_machine.opening(closed)
            return [Result(CRITICAL, cause, engine_machine.NO_VERB, opened, path)]
        found.append(Result(CRITICAL, cause, engine_machine.NO_VERB, fix, path, action))
    open_to = [f"user {_VDSM}"] if _is_user(_VDSM) and asking.can_read(site, path, _VDSM) else []
    if gate.is_open_to_all(path):
        open_to = ["every local user"]
    if open_to:
        cause = f"{path} can be read by {open_to[0]}"
        found.append(Result(CRITICAL, cause, gate.WHO_HAS_IT, fix, path, action))
    return found or [checks.ok("few can read it", path)]


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def backup(site: Site) -> Iterator[Result]:
    """Look whether engine-backup keeps the file of each domain's token."""
    ours = _ours(site)
    files = _token_files(ours)
    if any(not each.options.get(gate.TOKEN_FILE) and _needs_conf(each) for each in ours):
        files.append(storpool_conf.FILE)
    for path in files:
        if path.startswith(_KEPT):
            yield checks.ok("engine-backup keeps it", path)
        else:
            yield Result(
                WARNING,
                f"engine-backup does not keep {path}, from which the token comes",
                "on a machine that is restored from a backup no verb works until somebody has"
                " written it again",
                engine_token.MOVE,
                path,
            )
    if not files:
        yield checks.ok("no domain has its token from a file")


def client_ids(site: Site) -> Iterator[Result]:
    """Look whether each host's section tells who it is, and no two tell the same."""
    if not storpool_conf.is_there(site.root):
        yield checks.ok(
            f"{site.path(storpool_conf.FILE)} is not there: hosts are told by client id"
        )
        return
    ids = storpool_conf.client_ids(site.root)
    found = [*_twice(ids), *_wrong(ids), *_missing(site, ids)]
    yield from found or [checks.ok(f"{len(ids)} hosts are known, each by an id of its own")]


def _twice(ids: Mapping[str, str]) -> Iterator[Result]:
    for client_id in sorted({names.client_id(each) or 0 for each in ids.values()} - {0}):
        try:
            storpool_conf.section_of(client_id, ids)
        except errors.ConfigError as error:
            risk = f"{_MISLED}; hosts that have one id share their disks, and two write to them"
            fix = f"{error.advice}, on those hosts too"
            yield Result(CRITICAL, f"{error.what} {error.why}", risk, fix, str(client_id))


def _wrong(ids: Mapping[str, str]) -> Iterator[Result]:
    for name, our_id in sorted(ids.items()):
        if names.client_id(our_id) is None:
            cause = f"SP_OURID of {name} is {names.shown(our_id)}"
            fix = f"give 1 to {names.CLIENT_ID_MAX} in {storpool_conf.FILE}"
            yield Result(WARNING, cause, _MISLED, fix, name)


def _missing(site: Site, ids: Mapping[str, str]) -> Iterator[Result]:
    """Yield hosts without a section, where others have one: somebody wanted them to be known."""
    if not ids:
        return
    tables = engine_machine.tables(site)
    for host in tables.hosts:
        own = names.host_of(host.connector)
        if host.status == UP and own is not None and own not in ids:
            cause = f"{storpool_conf.FILE} has no section [{own}] that tells its client id"
            fix = f"copy the section [{own}] of that host's own {storpool_conf.FILE}"
            yield Result(WARNING, cause, _NAMELESS, fix, host.name)


CHECKS = (
    Check("engine-log-folder", "verbs can write their log", log_folder),
    Check("engine-storpool-conf", "storpool.conf can be read", conf),
    Check("engine-client-ids", "each host's client id is its own", client_ids),
    Check("engine-token", "few can read the token, and Engine can", token),
    Check("engine-token-backup", "engine-backup keeps the token", backup),
)
