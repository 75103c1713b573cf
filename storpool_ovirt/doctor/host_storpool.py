"""Whether this host is the StorPool client that it says it is: its settings, the API, its client
there, its clock."""

from __future__ import annotations

import contextlib
import email.utils
import os
import shlex
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from storpool_ovirt import config, errors, names, option_values, presence, storpool_conf, text
from storpool_ovirt.agent import options
from storpool_ovirt.cluster import api, wire
from storpool_ovirt.cluster.replies import Attachment
from storpool_ovirt.doctor import asking, checks, knocking
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.checks import Check, Result, Site

NO_WORK = "nothing can be attached here, and no VM with a disk of StorPool's starts"
OTHER_HOST = (
    "volumes are attached to another host than this one, and that one's are taken from it: VMs"
    " lose their disks"
)
SERVICE = "storpool_block"
_WRITE = "write SP_OURID="
_NOT_READ = "what it is to set is as if it were not given, and storpool-vm-agent may not start"
_NO_CHOICE = "each program talks to StorPool as if it were not given"
# An attach or a detach that is under way takes less, mostly.
SETTLE_SECONDS = 1.5
START = f"systemctl start {SERVICE}"
# A request that needs no token, as any answer has the time.
_TIME = "/ctrl/1.0/ServicesList"
SKEW_SECONDS = 5.0
ADDRESS_SECONDS = 1.0
RESOLVE_SECONDS = 3.0
_STATES = ("active", "reloading", "activating", "inactive", "failed", "deactivating")


def conf(site: Site) -> Iterator[Result]:
    """Read this host's own storpool.conf by the rules of StorPool's own reader, and look for keys
    that nobody reads."""
    try:
        found = host.own_settings(site)
    except errors.ConfigError as error:
        fix = _write() if error.what.startswith("SP_OURID") else error.advice
        yield Result(checks.CRITICAL, _told(site, error), NO_WORK, fix)
        return
    yield checks.ok(f"this host is client {found.client_id}, its API {_address(found)}")
    keys = storpool_conf.read(site.root, environment=False)
    transport = keys.get(storpool_conf.TRANSPORT_KEY, option_values.AUTO)
    if transport.lower() not in option_values.TRANSPORTS:
        cause = f"{storpool_conf.TRANSPORT_KEY} in {storpool_conf.FILE} is {names.shown(transport)}"
        fix = f"write {' or '.join(option_values.TRANSPORTS)}, or remove it"
        yield Result(checks.WARNING, cause, _NO_CHOICE, fix)
    unknown = options.unknown(keys)
    for key, advice in unknown.items():
        cause = f"{names.shown(key)} in {storpool_conf.FILE} is not known"
        yield Result(checks.WARNING, cause, _NOT_READ, f"correct or remove it: {advice}")


def _told(site: Site, error: errors.ConfigError) -> str:
    """Return the error, with the sections that there are where this host's is missing."""
    words = f"{error.what} {error.why}"
    if error.what != "SP_OURID":
        return words
    sections = ", ".join(sorted(storpool_conf.client_ids(site.root))) or "none"
    return f"{words}: this host is called {os.uname().nodename}, sections with one are: {sections}"


def _address(found: config.HostSettings) -> str:
    return f"{found.api.host}:{found.api.port}"


def our_id(site: Site) -> Iterator[Result]:
    """Look whether this host's id is its own: in its section, and in no other."""
    found = host.settings(site)
    node = os.uname().nodename
    ids = storpool_conf.client_ids(site.root)
    same = [
        each
        for each, written in ids.items()
        if names.client_id(written) == found.client_id and each != node
    ]
    if node not in ids:
        cause = f"SP_OURID stands before all sections of {storpool_conf.FILE}, not in [{node}]"
        risk = f"each host that reads a copy of this file is client {found.client_id}: {OTHER_HOST}"
        fix = f"move SP_OURID={found.client_id} into a section [{node}]"
        yield Result(checks.WARNING, cause, risk, fix)
    if same:
        cause = f"SP_OURID={found.client_id} is that of section {', '.join(same)} too"
        fix = "give each host its own SP_OURID, and remove sections of hosts that are gone"
        yield Result(checks.CRITICAL, cause, OTHER_HOST, fix)
    elif node in ids:
        yield checks.ok(f"section [{node}] alone has SP_OURID={found.client_id}")


def reached(site: Site) -> Iterator[Result]:
    """Ask the API something cheap with this host's own settings."""
    found = host.settings(site)
    try:
        host.client(site, found).clients()
    except errors.AddressUnknown as error:
        fix = "correct SP_API_HTTP_HOST, or the DNS"
        yield Result(checks.CRITICAL, str(error), NO_WORK, fix)
    except errors.Rejected as error:
        said = f"{error.name}: {error.descr}"
        cause = f"the API at {_address(found)} refuses {error.call}: {said}"
        fix = f"write SP_AUTH_TOKEN of this cluster into {storpool_conf.FILE}"
        yield Result(checks.CRITICAL, cause, NO_WORK, fix)
    except errors.DeadlineExceeded as error:
        cause = f"the API at {_address(found)} does not answer within {error.seconds:.0f} s"
        yield Result(checks.CRITICAL, cause, NO_WORK, _way(found))
    except (errors.Unavailable, errors.Error) as error:
        yield Result(checks.CRITICAL, str(error), NO_WORK, _way(found))
    else:
        yield checks.ok(f"the API at {_address(found)} answers and takes the token")


def _way(found: config.HostSettings) -> str:
    """Return the command that proves the way to the API by any answer."""
    return shlex.join(["curl", f"http://{_address(found)}/"])


def addresses(site: Site) -> Iterator[Result]:
    """Knock at each address of the API's name: a dead one delays every start of a VM."""
    found = host.settings(site)
    name = found.api.host
    known = wire.resolved(name.strip("[]"), found.api.port, RESOLVE_SECONDS)
    dead = [str(each[1][0]) for each in known if knocking.refusal(each, ADDRESS_SECONDS)]
    if not dead:
        yield checks.ok(f"all of {_listed(known)} take a connection")
        return
    result = checks.CRITICAL if len(dead) == len(known) else checks.WARNING
    cause = f"of {name}'s addresses {', '.join(dead)} takes no connection on port {found.api.port}"
    risk = f"each program of ours waits {wire.CONNECT_SECONDS:g} s for it before it takes another"
    fix = f"take it out of the DNS, or {storpool_conf.FILE}; or bring it back"
    yield Result(result, cause, NO_WORK if result == checks.CRITICAL else risk, fix)


def _listed(known: list[tuple[int, Any]]) -> str:
    """Return addresses as a sentence has them."""
    return ", ".join(str(address[0]) for _, address in known)


def client(site: Site) -> Iterator[Result]:
    """Ask the API whether it knows this host's client, and has contact with it."""
    found = host.settings(site)
    known = {each.client_id: each for each in host.client(site, found).clients()}
    mine = known.get(found.client_id)
    if mine is None:
        cause = f"StorPool knows no client {found.client_id}"
        yield Result(checks.CRITICAL, cause, NO_WORK, _write())
    elif mine.status == api.DOWN:
        cause = f"StorPool's client {found.client_id}, which this host says it is, is down"
        yield Result(checks.CRITICAL, cause, NO_WORK, START)
    else:
        yield checks.ok(f"client {found.client_id} is {mine.status}")


def identity(site: Site) -> Iterator[Result]:
    """Compare the devices that are here with what StorPool has attached to this host's client."""
    yield _matched(site)[0]


def attached(site: Site) -> tuple[int, list[Attachment]]:
    """Return this host's client, and all that StorPool has attached to any.

    Raises Silent while this host may be another client than it says: what is attached to that one
    is another host's, and in use there.
    """
    result, listed = _matched(site)
    if result.result in (checks.CRITICAL, checks.UNKNOWN):
        first = ": correct SP_OURID first" if result.fix.startswith(_WRITE) else ""
        raise asking.Silent(f"waits for host-storpool-identity{first}")
    return host.settings(site).client_id, listed


def _matched(site: Site) -> tuple[Result, list[Attachment]]:
    found = host.settings(site)
    asked = host.client(site, found)
    listed = asked.attachments()
    result = _compared(site, found, asked, listed)
    if result.result != checks.OK:
        # An attachment is listed before its device is here, and after that has gone.
        time.sleep(min(SETTLE_SECONDS, site.left() / 4))
        listed = asked.attachments()
        result = _compared(site, found, asked, listed)
    return result, listed


def _compared(
    site: Site, found: config.HostSettings, asked: api.Client, listed: list[Attachment]
) -> Result:
    # An unnamed volume that was reverted has a link by the id of before, too.
    kept = {names.kept_id(each.name) for each in listed}
    here = _devices(site) - (kept - {each.global_id for each in listed})
    if here and any(each.global_id is None for each in listed):
        return checks.unknown("this StorPool does not tell the global ids of what is attached")
    clients: dict[int, set[str]] = defaultdict(set)
    for each in listed:
        clients[each.client_id].add(each.global_id or "")
    mine = clients.pop(found.client_id, set())
    if here - mine:
        return _of_extra(here, mine, clients, found, asked)
    missing, who = sorted(mine - here), f"client {found.client_id}"
    if missing and not here:
        cause = (
            f"{missing[0]} is attached to {who}, and no device of StorPool's is here: {SERVICE}"
            " does not run, or SP_OURID is another host's"
        )
        return Result(checks.CRITICAL, cause, OTHER_HOST, f"systemctl status {SERVICE}")
    if missing:
        cause = f"{missing[0]} is attached to {who} and has no device here"
        fix = f"systemctl status {SERVICE}; ls -l {names.DEVICE_FOLDER}"
        return Result(checks.WARNING, cause, "who attaches it waits for its device and fails", fix)
    return checks.ok(f"{len(here)} devices are here, and attached to {who}")


def _of_extra(
    here: set[str],
    mine: set[str],
    others: Mapping[int, set[str]],
    found: config.HostSettings,
    asked: api.Client,
) -> Result:
    """Return what it is that devices are here which are not attached to this host's client.

    The client that this host is has all of them, or all but those that were just taken from it.
    """
    extra, who = sorted(here - mine)[0], f"client {found.client_id}"
    most = max((len(here & each) for each in others.values()), default=0)
    if most and most >= len(here & mine):
        likely = sorted(each for each, theirs in others.items() if len(here & theirs) == most)
        is_sure = most > len(here & mine) and [others[each] for each in likely] == [here]
        cause = f"{extra} has a device here and is attached to {names.clients(likely)}, not {who}"
        if not is_sure or len(here) == 1:
            cause += ": SP_OURID is another host's, or a VM that has it here was started elsewhere"
        return Result(checks.CRITICAL, cause, OTHER_HOST, _write(likely[0] if is_sure else None))
    if not here & mine and not _is_known(asked, extra):
        cause = f"{extra} has a device here, and the API at {_address(found)} does not know it"
        fix = f"write SP_API_HTTP_HOST of this host's cluster into {storpool_conf.FILE}"
        return Result(checks.CRITICAL, cause, OTHER_HOST, fix)
    cause = f"{extra} has a device here, and is not attached to {who}: it was taken from it"
    risk = "a VM that has it here writes to nothing"
    return Result(checks.WARNING, cause, risk, "see host-disk-taken")


def _is_known(asked: api.Client, global_id: str) -> bool:
    for ask in (asked.volume, asked.snapshot):
        with contextlib.suppress(errors.NotFound, errors.WrongCluster):
            ask(names.address(global_id))
            return True
    return False


def _write(client_id: int | None = None) -> str:
    """Return what is to be written where SP_OURID is wrong."""
    right = "N" if client_id is None else str(client_id)
    where = f"section [{os.uname().nodename}] of {storpool_conf.FILE}"
    return f"{_WRITE}{right} into {where}, {right} being what StorPool has this host as"


def _devices(site: Site) -> set[str]:
    folder = site.path(names.DEVICE_FOLDER)
    return {
        each
        for each in presence.listed(folder)
        if names.GLOBAL_ID.fits(each) and presence.there(f"{folder}/{each}")
    }


def cluster(site: Site) -> Iterator[Result]:
    """Compare the cluster of the volumes that Vdsm attached here with that behind the API."""
    found = host.settings(site)
    listed = host.client(site, found).attachments()
    keys = storpool_conf.read(site.root, environment=False)
    there = {names.cluster_of(each.global_id) for each in listed if each.global_id}
    told = keys.get("SP_CLUSTER_ID", "")
    there |= {told} if names.CLUSTER_ID.fits(told) else set()
    rows = [row for row in host.rows(site) if row.ours and row.global_id]
    foreign = [row for row in rows if names.cluster_of(row.global_id or "") not in there]
    if foreign and there:
        theirs = names.cluster_of(foreign[0].global_id or "")
        cause = (
            f"disk {foreign[0].vol_id} is of cluster {theirs}, and the API at {_address(found)} is"
            f" that of {', '.join(sorted(there))}"
        )
        risk = "it cannot be detached, and Engine and this host work with two clusters"
        fix = f"correct SP_API_HTTP_HOST in {storpool_conf.FILE}, or the domain's sp_api_http_host"
        yield Result(checks.CRITICAL, cause, risk, fix)
    elif (
        told
        and listed
        and told not in {names.cluster_of(e.global_id) for e in listed if e.global_id}
    ):
        cause = f"SP_CLUSTER_ID is {told}, and the API at {_address(found)} is of another cluster"
        fix = f"correct SP_API_HTTP_HOST in {storpool_conf.FILE}"
        yield Result(checks.CRITICAL, cause, NO_WORK, fix)
    else:
        yield checks.ok(f"cluster {', '.join(sorted(there)) or '(nothing is attached in it)'}")


def clock(site: Site) -> Iterator[Result]:
    """Compare this host's clock with that of the API's server."""
    found = host.settings(site)
    seconds = max(0.1, site.left() - host.LAST_SECONDS)
    before = time.time()
    answer = wire.Wire(found.api.host, found.api.port).request("GET", _TIME, None, {}, seconds)
    after = time.time()
    parts = email.utils.parsedate_tz(answer.date) if answer.date else None
    if parts is None:
        yield checks.ok(f"the API at {_address(found)} tells no time to compare with")
        return
    theirs = email.utils.mktime_tz(parts)
    ahead = max(before - theirs - 1, theirs - after, 0.0)  # it tells whole seconds
    if ahead <= SKEW_SECONDS:
        yield checks.ok("this host's clock is that of StorPool's API")
        return
    way = "ahead of" if before > theirs else "behind"
    cause = f"this host's clock is {ahead:.0f} s {way} that of StorPool's API"
    risk = (
        "logs of hosts, Engine and StorPool cannot be compared, and ages that audit tells are wrong"
    )
    yield Result(checks.WARNING, cause, risk, "chronyc makestep; systemctl enable --now chronyd")


def service(site: Site) -> Iterator[Result]:
    """Ask systemd whether StorPool's block service runs."""
    answer = asking.ask(site, ["systemctl", "is-active", SERVICE])
    state = text.stripped(answer.out)
    if state == "active":
        yield checks.ok(f"{SERVICE} is active")
    elif state in _STATES:
        yield Result(checks.CRITICAL, f"{SERVICE} is {state}", NO_WORK, START)
    else:
        yield checks.unknown(f"systemctl is-active {SERVICE}: {state or answer.said}")


def order(site: Site) -> Iterator[Result]:
    """Ask systemd whether vdsmd waits for StorPool at a boot."""
    answer = asking.ask(site, ["systemctl", "show", "--property=After", "vdsmd.service"])
    if answer.code != 0 or not answer.out.startswith("After="):
        yield checks.unknown(f"systemctl show vdsmd.service: {answer.said}")
    elif f"{SERVICE}.service" in answer.out.split("=", 1)[1].split():
        yield checks.ok(f"vdsmd starts after {SERVICE}")
    else:
        cause = f"vdsmd does not wait for {SERVICE} when the host starts"
        risk = "the boot hook may meet an API or devices that are not there yet, and leave old rows"
        fix = f"systemctl edit vdsmd, section [Unit]: After={SERVICE}.service"
        yield Result(checks.WARNING, cause, risk, fix)


CHECKS = host.masked(
    Check(
        "host-storpool-conf",
        "storpool.conf says who this host is, and nothing in it is misspelt",
        conf,
    ),
    Check("host-storpool-id", "this host's SP_OURID is its own", our_id),
    Check("host-storpool-api", "StorPool's API answers this host", reached),
    Check("host-storpool-addresses", "each address of the API answers", addresses),
    Check("host-storpool-client", "StorPool has contact with this host's client", client),
    Check("host-storpool-identity", "the client of that id is this very host", identity),
    Check("host-storpool-cluster", "host and volumes are of one cluster", cluster),
    Check("host-storpool-clock", "this host's clock is that of StorPool", clock),
    Check("host-storpool-service", "StorPool's block service runs", service),
    Check("host-storpool-order", "vdsmd starts after StorPool", order),
)
