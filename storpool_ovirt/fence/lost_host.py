"""A lost host: everything of oVirt's is taken from it, for an administrator or a fence agent
(docs/fencing.md).

No database is asked: the tags and the name of an object say whose it is.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, sentences, storpool_conf
from storpool_ovirt.cluster import api, force
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple, dataclass
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KNOWN_SHOWN = 12  # hosts or clients that an error names
LEFT_SHOWN = 5  # others' objects that the agent's one line names; the log has all


@dataclass(frozen=True)
class LostHost:
    """A host that is to be fenced: its client id, its name in storpool.conf, and how it was given.

    `here`: it is the machine that this runs on.
    """

    client_id: int
    name: str | None
    given: str
    here: bool = False

    def __str__(self) -> str:
        return f"client {self.client_id}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True)
class Orders:
    """How a host is to be fenced: `twice` names it again, to be fenced although it runs.

    `dry_run`: nothing is changed.
    """

    twice: str | None = None
    dry_run: bool = False


class Report(NamedTuple):
    """What a fence did, a line each; the last one sums up.

    `refused`: a dry run that would be refused.
    """

    lines: Sequence[str]
    refused: bool = False


def named(given: str, root: str = "") -> LostHost:
    """Return the host that a client id, or a section of storpool.conf, means; digits are always a
    client id.

    Raises NotFound, naming the hosts that are known, InputError; ConfigError when storpool.conf
    cannot be read, and when two of its sections are this client.
    """
    ids = storpool_conf.client_ids(root)
    if given.isascii() and given.isdigit():
        client_id = _client_id(given, f"the client id {names.shown(given, 20)}")
    elif given in ids:
        client_id = _client_id(ids[given], f"SP_OURID of {given} in {storpool_conf.FILE}")
    else:
        raise _unknown(given, ids, root)
    section = storpool_conf.section_of(client_id, ids)
    here = names.client_id(storpool_conf.read(root).get("SP_OURID", ""))
    return LostHost(client_id, section, given, client_id == here)


def _unknown(given: str, ids: Mapping[str, str], root: str) -> errors.Error:
    if not storpool_conf.is_there(root):
        return errors.ConfigError(
            f"{storpool_conf.FILE}, which tells who host {names.shown(given)} is,",
            "is missing",
            "give a client id",
        )
    hosts = [f"{name} (client {our_id})" for name, our_id in sorted(ids.items())]
    return errors.NotFound(
        "host",
        names.shown(given),
        f"with SP_OURID in a section of {storpool_conf.FILE}: give a client id"
        + (f", or one of {force.some(hosts, KNOWN_SHOWN)}" if hosts else ""),
    )


def fence(
    client: api.Client, host: LostHost, openstack_prefix: str, orders: Orders, log: Log
) -> Report:
    """Take everything of oVirt's from a lost host and return what it did.

    Raises InputError when `orders.twice` names something else, NotFound for a client that the
    cluster does not know. Raises Conflict while the host may run or is this machine, unless told
    twice, and when it has something afterwards. Only in that last case something has changed.
    """
    if orders.twice is not None and orders.twice != host.given:
        raise errors.InputError(
            f"--even-if-it-runs {names.shown(orders.twice)}",
            f"does not repeat {names.shown(host.given)}",
            "give the same host twice, or leave the option out",
        )
    seen = look(client, host, openstack_prefix)
    if orders.dry_run:
        return _plan(host, seen, orders)
    if orders.twice is None:
        advice = f"tell it twice, with --even-if-it-runs {host.given}"
        if host.here:
            raise errors.Conflict(
                str(host),
                "is this very machine, and its own VMs would lose their disks",
                f"nothing was taken; fence it from another machine, or {advice}",
            )
        if seen.may_run:
            raise runs(host, seen, f"or {advice}")
    cleared = force.clear(client, seen, openstack_prefix, log)
    lines = [f"taken: {each}" for each in cleared.taken]
    lines += [f"gone by itself: {each}" for each in cleared.vanished]
    return Report([*lines, *_left_alone(cleared.now), summary(host, cleared)])


def look(client: api.Client, host: LostHost, openstack_prefix: str) -> force.ClientView:
    """Return how a host is and what it has attached.

    Raises NotFound, naming the clients that there are, for an unknown one.
    """
    seen = force.look(client, host.client_id, openstack_prefix)
    if seen.status is None and not seen.ours and not seen.others:
        known = (
            force.some([str(each.client_id) for each in client.clients()], KNOWN_SHOWN) or "none"
        )
        where = f"in the StorPool cluster at {client.address}: it knows {known}"
        raise errors.NotFound("client", str(host).partition(" ")[2], where)
    return seen


def runs(host: LostHost, seen: force.ClientView, otherwise: str) -> errors.Conflict:
    """Return the refusal for a host that may run; `otherwise` is what to do when it cannot be
    switched off."""
    return errors.Conflict(
        str(host),
        f"answers StorPool (its configuration is {seen.status or 'not listed'}) and has"
        f" {sentences.counted(len(seen.ours), 'disk')} of oVirt's, which VMs may be writing there",
        f"nothing was taken; switch the host off and try again, {otherwise}",
    )


def summary(host: LostHost, cleared: force.ForcedSet) -> str:
    """Return one sentence with what is certain now, and what is not."""
    disks = len(cleared.taken) + len(cleared.vanished)
    state = "answers StorPool" if cleared.now.may_run else "is down"
    these = "this disk" if disks == 1 else f"these {disks} disks"
    what = f"no write of that host lands on {these} any more" if disks else "it had nothing"
    return (
        f"{host} has nothing of oVirt's now: {what}; the host {state}, it was not switched off,"
        " and its disks of other storage are not covered"
    )


def _left_alone(seen: force.ClientView) -> list[str]:
    """Return a line for each object that the host has and that is not oVirt's."""
    return [f"left alone: {names.shown(name, 200)}, which is not oVirt's" for name in seen.others]


def others(seen: force.ClientView) -> str:
    """Return what is said, at the end of a sentence, of the objects that the host has and that are
    not oVirt's."""
    shown = force.some([names.shown(name) for name in seen.others], LEFT_SHOWN)
    return f"; left alone, as not oVirt's: {shown}" if shown else ""


def _plan(host: LostHost, seen: force.ClientView, orders: Orders) -> Report:
    why = "it is this very machine" if host.here else "it answers StorPool" if seen.may_run else ""
    refused = bool(why) and orders.twice is None
    would = f"would be refused: {why}" if refused else "would be done"
    lines = [f"would take: {each}" for each in seen.ours]
    disks = sentences.counted(len(seen.ours), "disk")
    last = f"{host} has {disks} of oVirt's; nothing was changed; {would}"
    return Report([*lines, *_left_alone(seen), last], refused)


def _client_id(given: str, what: str) -> int:
    client_id = names.client_id(given)
    if client_id is None:
        raise errors.InputError(what, "is not a client id", f"give 1 to {names.CLIENT_ID_MAX}")
    return client_id
