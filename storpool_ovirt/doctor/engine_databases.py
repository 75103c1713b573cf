"""Engine's two databases: whether managed block storage is on, and whether both can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from storpool_ovirt import errors, names
from storpool_ovirt.doctor import checks, engine_machine
from storpool_ovirt.doctor.checks import CRITICAL, Check, Result, Site
from storpool_ovirt.engine import conf, database, database_url

RECONFIGURE = "engine-setup --reconfigure-optional-components"
_NO_ENGINE = "Engine itself does not work without it"


def enabled(site: Site) -> Iterator[Result]:
    """Read the key by which Engine allows managed block storage at all, as Engine does."""
    released = conf.is_released(site.root)
    key = f"{conf.RELEASED_PREFIX if released else conf.LATER_PREFIX}{conf.ENABLE}"
    value = conf.values(site.root).get(key, "")
    if conf.is_enabled(site.root):
        yield checks.ok(f"{key} is {value}")
        return
    what = "Cinderlib" if released else "managed block storage"
    told = f"is {names.shown(value)}" if value else "is not set"
    yield Result(
        CRITICAL,
        f"{key} {told} in {site.path(conf.FOLDER)}: Engine refuses managed block storage",
        f"no domain can be added; in those that are there {engine_machine.NO_VERB}",
        f"{RECONFIGURE}, and yes to {what}; it restarts Engine",
    )


def mapping(site: Site) -> Iterator[Result]:
    """Connect with what Engine gives to each verb."""
    yield _reached(site, conf.database, engine_machine.NO_VERB, RECONFIGURE)


def own(site: Site) -> Iterator[Result]:
    """Connect as Engine does."""
    yield _reached(site, conf.own_database, _NO_ENGINE, "engine-setup")


def _reached(
    site: Site, told: Callable[[str], database_url.Database], risk: str, setup: str
) -> Result:
    """Return whether a database can be reached that Engine's files tell."""
    try:
        address = told(site.root)
    except errors.ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return Result(CRITICAL, str(error), risk, setup)
    site.hide(address.password.reveal())
    fix = f"systemctl status postgresql; is {address} right in {site.path(conf.FOLDER)}?"
    try:
        [[version]] = database.ask(address, engine_machine.limit(site), "SHOW server_version")
    except errors.Unavailable as error:
        return Result(CRITICAL, str(error), risk, fix)
    return checks.ok(f"{address} answers: PostgreSQL {version}")


CHECKS = (
    Check("engine-database-enabled", "Engine allows managed block storage", enabled),
    Check("engine-database", "Engine's own database can be reached", own),
    Check("engine-mapping-database", "the mapping database can be reached", mapping),
)
