"""What fence_storpool does: when a host counts as off, and what is taken from it."""

from __future__ import annotations

import time

from storpool_ovirt import config, errors, names, sentences, storpool_conf
from storpool_ovirt.cluster import api, force
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.fence import lost_host, request
from storpool_ovirt.light import TYPE_CHECKING, dataclass
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Callable

ON, FAILED, OFF = 0, 1, 2
DONE = 0
POLL_SECONDS = 0.5
METADATA = "metadata"


def carried_out(call: Call) -> tuple[int, str]:
    """Carry out an action but `metadata` with a host's own settings; return the exit code and what
    is told."""
    return ACTIONS[call.request.action](call)


@dataclass(frozen=True)
class Call:
    """What an action works with."""

    request: request.Request
    root: str
    site: config.HostSettings
    client: api.Client
    deadline: Deadline
    log: Log

    def host(self) -> lost_host.LostHost:
        """Return the host that is meant; raise InputError, NotFound or ConfigError."""
        name = self.request.name
        if self.request.plug:
            return self._agreed(lost_host.named(self.request.plug, self.root), name or "")
        if not name or name.isdigit():
            raise errors.InputError(
                "the host", "is not given", "set port to its client id or its name in storpool.conf"
            )
        return lost_host.named(name, self.root)

    def _agreed(self, host: lost_host.LostHost, name: str) -> lost_host.LostHost:
        """Refuse a port that is another host's than the one that the address names: one of them is
        a typing mistake."""
        client_id = names.client_id(storpool_conf.client_ids(self.root).get(name, ""))
        if client_id not in (None, host.client_id) and not host.here:
            raise errors.InputError(
                "the host",
                f"is {host} by its port and {name} (client {client_id}) by its address",
                "correct one of them in the host's power management",
            )
        return host


def _status(call: Call) -> tuple[int, str]:
    """On while it may write: an unknown state is not off."""
    host = call.host()
    seen = lost_host.look(call.client, host, call.site.openstack_prefix)
    if seen.ours or (seen.may_run and not call.request.even_if_it_runs):
        answers = "answers StorPool" if seen.may_run else "is down"
        disks = sentences.counted(len(seen.ours), "disk")
        return ON, f"Status: ON, {host} {answers} and has {disks} of oVirt's"
    force.check_all_known(seen)
    return OFF, f"Status: OFF, {host} has nothing of oVirt's" + (
        "" if seen.may_run else " and is down"
    )


def _off(call: Call) -> tuple[int, str]:
    host, even = call.host(), call.request.even_if_it_runs
    if host.here:
        raise errors.InputError(
            str(host), "is this host, and a host must not fence itself", "ask another one"
        )
    seen = _when_down(call, host)
    if seen.may_run and not even:
        raise lost_host.runs(host, seen, "or set the option even_if_it_runs=1 where that is safe")
    cleared = force.clear(call.client, seen, call.site.openstack_prefix, call.log)
    if cleared.now.may_run and not even:
        raise errors.Conflict(
            str(host), "came back while its disks were taken", "switch it off and try again"
        )
    return DONE, lost_host.summary(host, cleared) + lost_host.others(cleared.now)


def _on(call: Call) -> tuple[int, str]:
    """There is nothing to give back: a host attaches anew with each start of a VM."""
    host = call.host()
    if force.status(call.client, host.client_id) is None:
        raise errors.NotFound(
            "client", str(host.client_id), f"in the StorPool cluster at {call.client.address}"
        )
    return DONE, f"{host} may attach disks"


def _monitor(call: Call) -> tuple[int, str]:
    clients = sentences.counted(len(call.client.clients()), "client")
    return DONE, f"StorPool answers and knows {clients}"


def _list(call: Call) -> tuple[int, str]:
    known = storpool_conf.host_names(call.root)
    return DONE, "\n".join(
        f"{each.client_id},{known.get(each.client_id, '')}" for each in call.client.clients()
    )


def _when_down(call: Call, host: lost_host.LostHost) -> force.ClientView:
    """Look at the host once it is down, or when the time for that is over."""
    seen = lost_host.look(call.client, host, call.site.openstack_prefix)
    if call.request.even_if_it_runs or not seen.may_run:
        return seen
    for _ in polls(call.deadline.within(call.request.wait_seconds), time.sleep, POLL_SECONDS):
        if force.status(call.client, host.client_id) == api.DOWN:
            break
    return force.look(call.client, host.client_id, call.site.openstack_prefix)


ACTIONS: Mapping[str, Callable[[Call], tuple[int, str]]] = {
    "status": _status,
    "on": _on,
    "off": _off,
    "reboot": _off,
    "monitor": _monitor,
    "list": _list,
    METADATA: _monitor,
}
