"""The way to StorPool's API from Engine's machine, and whether all clocks tell one time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Callable, NamedTuple

from storpool_ovirt import config, errors
from storpool_ovirt.cluster import wire
from storpool_ovirt.doctor import checks, engine_machine, knocking
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Check, Result, Site
from storpool_ovirt.doctor.engine_commands import command
from storpool_ovirt.engine import conf, database, database_url, gate

# An address that is there answers in milliseconds; a lost packet is sent again after a second.
ADDRESS_SECONDS = 2.5
# A name server that does not answer in this time is as good as silent.
NAME_SECONDS = 3.0
# Of a database: one that does not answer is another check's.
CLOCK_SECONDS = 2.0
# HTTP tells whole seconds, and an answer takes a moment; what is more is a clock that is wrong.
_SKEW_MAX = 3.0
_AT_ONCE = 16
_NO_API = "no domain, nor storpool.conf, tells an address of an API"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_AGES = (
    "ages that storpool-ovirt audit tells are wrong, and what an operation that died left may be"
    " put right too early or too late"
)


class Api(NamedTuple):
    """Where an API is, and whose it is in words."""

    host: str
    port: int
    whose: str


def _apis(site: Site) -> list[Api]:
    """Return each API that a domain of ours has, or storpool.conf where there is no domain."""
    domains = engine_machine.tables(site).ours
    found: dict[tuple[str, int], Api] = {}
    for name, options in [(each.name, each.options) for each in domains] or [("", {})]:
        # The token is not needed for that, and may be where this check does not look.
        given = {key: value for key, value in options.items() if key != gate.TOKEN_FILE}
        try:
            api = config.domain({**given, gate.TOKEN: "unknown"}, site.root).api
        except errors.ConfigError:
            continue  # engine-domain-options tells why
        found.setdefault((api.host, api.port), Api(api.host, api.port, name))
    return list(found.values())


def addresses(site: Site) -> Iterator[Result]:
    """Try each address of each API's name."""
    apis = _apis(site)
    yield from engine_machine.for_each(
        apis, lambda api: [_tried(api)], lambda api: f"{api.host}:{api.port}"
    )
    if not apis:
        yield checks.ok(_NO_API)


def _tried(api: Api) -> Result:
    where = f"{api.host}:{api.port}"
    try:
        found = wire.resolved(api.host.strip("[]"), api.port, NAME_SECONDS)
    except wire.UnknownName as error:
        cause = f"the name {api.host} cannot be resolved: {error}"
        fix = command("getent ahosts {}; correct the DNS, or /etc/hosts", api.host)
        return Result(CRITICAL, cause, engine_machine.NO_VERB, fix, where)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        failures = [each for each in pool.map(_failure, found) if each]
    if not failures:
        count = "its address answers" if len(found) == 1 else f"all {len(found)} addresses answer"
        return checks.ok(count, where)
    told = "; ".join(failures)
    fix = command(
        "curl -m 5 {}; is that right, and does StorPool's management run?", f"http://{where}/"
    )
    if len(failures) == len(found):
        return Result(CRITICAL, f"no address answers: {told}", engine_machine.NO_VERB, fix, where)
    fix = command("getent ahosts {}; take what is dead out of the DNS, or of /etc/hosts", api.host)
    cause = f"{len(failures)} of {len(found)} addresses do not answer: {told}"
    risk = f"each verb may wait {wire.CONNECT_SECONDS:g} s for each of them"
    return Result(WARNING, cause, risk, fix, where)


def _failure(place: tuple[int, Any]) -> str:
    """Return why an address does not take a connection, or nothing."""
    why = knocking.refusal(place, ADDRESS_SECONDS)
    return f"{place[1][0]} ({why})".lower() if why else ""


def clocks(site: Site) -> Iterator[Result]:
    """Ask the databases what time it is."""
    yield _compared("Engine's own database", partial(_database_time, site, conf.own_database))
    yield _compared("the mapping database", partial(_database_time, site, conf.database))


def api_clocks(site: Site) -> Iterator[Result]:
    """Ask each API what time it is."""
    apis = _apis(site)
    for api in apis:
        yield _compared(f"the API at {api.host}:{api.port}", partial(_api_time, api))
    if not apis:
        yield checks.ok(_NO_API)


def _compared(name: str, tell: Callable[[], float]) -> Result:
    """Return how far a clock is from this machine's, beyond what the way to it may take."""
    before = time.time()
    try:
        there = tell()
    except (errors.Error, OSError, http.client.HTTPException, ValueError) as error:
        return checks.unknown(f"it did not tell its time: {error}", subject=name)
    after = time.time()
    ahead = max(0.0, there - after) or min(0.0, there - before)
    if abs(ahead) <= _SKEW_MAX:
        return checks.ok("its clock and this machine's tell one time", name)
    how = "ahead of" if ahead > 0 else "behind"
    cause = f"its clock is {abs(ahead):.0f} s {how} this machine's"
    fix = "chronyc tracking, here and there; where it is wrong: chronyc makestep"
    return Result(WARNING, cause, _AGES, fix, name)


def _database_time(site: Site, told: Callable[[str], database_url.Database]) -> float:
    address = told(site.root)
    site.hide(address.password.reveal())
    [[now]] = database.ask(address, engine_machine.limit(site).within(CLOCK_SECONDS), _NOW)
    return float(now)


def _api_time(api: Api) -> float:
    """Return the time that an API's answer has: any answer, so nobody needs the token for it."""
    host = api.host.strip("[]")
    for family, address in wire.resolved(host, api.port, NAME_SECONDS):
        connection = http.client.HTTPConnection(host, api.port)
        connection.sock = socket.socket(family, socket.SOCK_STREAM)
        with contextlib.closing(connection):
            connection.sock.settimeout(ADDRESS_SECONDS)
            try:
                connection.sock.connect(address)
            except OSError:
                continue
            connection.request("GET", "/")
            date = connection.getresponse().getheader("Date")
            if not date:
                raise errors.ConfigError(f"the API at {api.host}", "has no Date in its answer")
            return parsedate_to_datetime(date).timestamp()
    raise errors.ConfigError(f"the API at {api.host}", "has no address that answers")


CHECKS = (
    Check("engine-api-addresses", "each address of StorPool's API answers", addresses),
    Check("engine-clocks", "Engine and its databases tell one time", clocks),
    Check("engine-api-clock", "Engine and StorPool tell one time", api_clocks),
)
