"""What checks of Engine's machine have in common: where Engine has its things, as whom and with
what it starts a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from storpool_ovirt import errors, installation, presence
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.doctor import asking
from storpool_ovirt.doctor.checks import Site
from storpool_ovirt.engine import client_file, conf, dispatcher, engine_tables

USER = "ovirt"  # who runs Engine, and so each verb (ovirt-engine.spec.in)
USR = "/usr/share/ovirt-engine"
ADAPTERS = f"{USR}/{dispatcher.ADAPTERS}"
LOGS = "/var/log/ovirt-engine"
# What Engine's own launcher puts into its environment (ovirt-engine.py.in of the releases)
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "en_US.UTF-8",
    "LC_ALL": "en_US.UTF-8",
}
_RELEASE_KEY = "PACKAGE_VERSION"  # in the file of Engine's defaults
NO_VERB = "no disk can be made, connected, snapshotted or deleted; VMs that run go on"
WHO_HAS_IT = "who has the token can read, change and delete every volume of the StorPool cluster"


def tables(site: Site) -> engine_tables.Tables:
    """Return what Engine's own database has; raise one of our errors where it cannot be read."""
    address = conf.own_database(site.root)
    site.hide(address.password.reveal())
    return engine_tables.read(address, limit(site))


def limit(site: Site) -> Deadline:
    """Return the time that a check has for one thing that it waits for."""
    return Deadline(max(site.left() - asking.RESERVE_SECONDS, asking.RESERVE_SECONDS))


def is_released(site: Site) -> bool:
    """Return whether the Engine of this machine starts its cinderlib client for each verb, as
    those up to 4.5.7 do."""
    return presence.named(site.path(f"{client_file.FOLDER}/{client_file.OF_THE_SAME_PACKAGE}"))


def release(site: Site) -> str:
    """Return the release of Engine's package, empty where its files do not tell it."""
    return conf.values(site.root).get(_RELEASE_KEY, "")


def started(
    site: Site, folder: str, command: Sequence[str], seconds: float = asking.TOOL_SECONDS
) -> asking.Answer:
    """Start a program as Engine does, by its user and with its environment, in a folder.

    A shell does it: that this user may not start it is an answer then, with exit code 126 or 127.
    """
    there = {**ENVIRONMENT, "ENGINE_LOG": site.path(LOGS)}
    how = asking.As(USER, folder, there)
    return asking.ask(site, ["/bin/sh", "-c", 'exec "$0" "$@"', *command], how, seconds)


def program(name: str) -> str:
    """Return the path of a program of this installation."""
    return installation.program(name, os.path.realpath(sys.argv[0]))


def sql(statement: str) -> str:
    """Return the command, for a person, that runs a statement in Engine's own database."""
    return f'{USR}/dbscripts/engine-psql.sh -c "{statement}"'


def installed(packages: str, pip: str) -> str:
    """Return the command that is right for this kind of installation."""
    return packages if installation.is_packaged() else pip


def done(answer: asking.Answer, what: str) -> str:
    """Return what a tool said; raise Conflict where it failed."""
    if answer.code:
        raise errors.Conflict(what, f"could not be done ({answer.said})", "see what it says")
    return answer.said
