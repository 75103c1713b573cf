"""What checks of Engine's machine have in common: where Engine has its things, as whom and with
what it starts a program."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from storpool_ovirt import errors, installation
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.doctor import asking, checks
from storpool_ovirt.doctor.checks import Result, Site
from storpool_ovirt.engine import as_engine, conf, engine_tables
from storpool_ovirt.setup import run, steps
from storpool_ovirt.setup import site as setup_site
from storpool_ovirt.setup import token as setup_token

_T = TypeVar("_T")

USER = as_engine.USER
SETUP = "storpool-ovirt setup engine"
USR = "/usr/share/ovirt-engine"
ADAPTERS = as_engine.LATER_FOLDER
LOGS = "/var/log/ovirt-engine"
# Where `storpool-ovirt setup engine` puts it: engine-backup keeps what is in this folder.
TOKEN_FILE = setup_token.FILE
_RELEASE_KEY = "PACKAGE_VERSION"  # in the file of Engine's defaults
NO_VERB = "no disk can be made, connected, snapshotted or deleted; VMs that run go on"


def tables(site: Site) -> engine_tables.Tables:
    """Return what Engine's own database has; raise one of our errors where it cannot be read."""
    address = conf.own_database(site.root)
    site.hide(address.password.reveal())
    return engine_tables.read(address, limit(site))


def limit(site: Site) -> Deadline:
    """Return the time that a check has for one thing that it waits for."""
    return Deadline(max(site.left() - asking.RESERVE_SECONDS, asking.RESERVE_SECONDS))


def release(site: Site) -> str:
    """Return the release of Engine's package, empty where its files do not tell it."""
    return conf.values(site.root).get(_RELEASE_KEY, "")


def started(site: Site, folder: str, command: Sequence[str]) -> asking.Answer:
    """Start a program as Engine's user, in a folder.

    A shell does it: that this user may not start it is an answer then, with exit code 126 or 127.
    """
    return asking.ask(site, ["/bin/sh", "-c", 'exec "$0" "$@"', *command], asking.As(USER, folder))


def closed_folder(site: Site, path: str) -> str:
    """Return the first folder on the way to a file that Engine's user may not pass, or nothing."""
    for way in (path, os.path.realpath(path)):
        parts = os.path.dirname(way).split("/")
        for count in range(2, len(parts) + 1):
            folder = "/".join(parts[:count])
            if asking.ask(site, ["test", "-x", folder], asking.As(USER)).code:
                return folder
    return ""


def opening(folder: str) -> str:
    """Return the step that lets Engine's user pass a folder: a command for our own alone."""
    if folder != os.path.dirname(TOKEN_FILE):
        return f"let user {USER} pass the folder {shlex.quote(folder)}, whose mode others decide on"
    return f"chown root:{USER} {folder} && chmod 0750 {folder}"


def for_each(
    things: Iterable[_T], look: Callable[[_T], Iterable[Result]], name: Callable[[_T], str]
) -> Iterator[Result]:
    """Yield what is found of each thing: one that cannot be looked at hides no other."""
    for each in things:
        try:
            yield from look(each)
        except (asking.Unasked, errors.Error) as error:
            yield checks.unknown(str(error), subject=name(each))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            yield checks.unknown(f"it cannot be looked at ({why})", subject=name(each))


def program(name: str) -> str:
    """Return the path of a program of this installation."""
    return installation.program(name, os.path.realpath(sys.argv[0]))


def sql(statement: str) -> str:
    """Return the command, for a person, that runs a statement in Engine's own database."""
    return f"{USR}/dbscripts/engine-psql.sh -c {shlex.quote(statement)}"


def installed(packages: str, pip: str) -> str:
    """Return the command that is right for this kind of installation."""
    return packages if installation.is_packaged() else pip


def again() -> str:
    """Return the command that puts our programs, whole, in their places again."""
    return installed(installation.mend(installation.ENGINE), SETUP)


def by_setup(step: str, root: str) -> str:  # noqa: ARG001  setup finds it out
    """Do one step of `storpool-ovirt setup engine`, and return what is so then."""
    row = run.one(setup_site.Site(setup_site.ENGINE), step)
    if row.found.state in (steps.FAILED, steps.NEEDS_YOU):
        raise errors.Conflict(row.title, f"could not be done ({row.found.what})", row.found.do)
    return row.found.what


def done(answer: asking.Answer, what: str) -> str:
    """Return what a tool said; raise Conflict where it failed."""
    if answer.code:
        raise errors.Conflict(what, f"could not be done ({answer.said})", "see what it says")
    return answer.said
