"""fence_storpool: a fence agent that takes everything of oVirt's from a lost host, as Vdsm and
Pacemaker run it.

    agent=fence_storpool              one option a line on stdin, later ones win, unknown ones are
    action=status|on|off|reboot|...   ignored, lines with # are comments;
    port=HOST                         or  fence_storpool -o ACTION [-n HOST]
    port=CLIENT|HOST

The rules are those of ClusterLabs' FenceAgentAPI and of oVirt's vdsm (API.py, fenceNode, which runs
it as user vdsm on another host): the exit code of status is 0 for on, 2 for off, 1 for unknown; of
the others 0 for done, 1 for not. "Off" means that the host cannot write to oVirt's disks: nothing
here switches a machine off. Logins and passwords are ignored.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, NoReturn

from storpool_ovirt import config, errors, names, program, storpool_conf, text
from storpool_ovirt.cluster import api, force
from storpool_ovirt.deadline import Deadline, enforced, polls
from storpool_ovirt.fence import lost_host, metadata
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log
from storpool_ovirt.privilege import sudo_request

PROGRAM = "fence_storpool"
LOG_FILE = "/var/log/vdsm/storpool-fence.log"
ON, FAILED, OFF = 0, 1, 2
DONE = 0
STDIN_MAX_BYTES = 1 << 16
# A power agent that runs beside this one needs a moment, and StorPool one more to see that the host
# is gone.
POWER_TIMEOUT_SECONDS, POWER_TIMEOUT_MAX_SECONDS = 20.0, 30.0
POLL_SECONDS = 0.5
_USAGE = f"give -o ACTION and -n HOST, see {PROGRAM} -o metadata"
# As in ClusterLabs' fence-agents; where more is given, something is to be done, and no help is it.
ABOUT_ITSELF = {
    "-h": "--help",
    "--help": "--help",
    "-V": "--version",
    "--version": "--version",
}
# A short one may have its value right behind it.
_FLAG = re.compile(r"--[a-z][a-z_-]{0,30}\Z|-[A-Za-z]")
TRUTHS = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}


@dataclass(frozen=True)
class Request:
    """What is asked: `plug` is a client id or a host's name, `name` one that is only ever a
    name."""

    action: str
    plug: str | None
    name: str | None
    even_if_it_runs: bool
    wait_seconds: float


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, whatever the interpreter would say after
    that."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, limits: Limits = LIMITS) -> int:
    """Carry out one action; return the exit code: 2 only ever says that a host's status is off."""
    arguments = list(sys.argv if argv is None else argv)[1:]
    asked = ABOUT_ITSELF.get(*arguments) if len(arguments) == 1 else None
    if asked:
        from storpool_ovirt import introduction

        return introduction.given(PROGRAM, asked, __doc__, [_options(), introduction.log(LOG_FILE)])
    log = Log(PROGRAM, config.root() + LOG_FILE)
    log.correlation_id = f"fence-{os.getpid()}"
    answer = program.Answer(log.descriptor)
    done, reason = program.guarded(lambda: _answer(arguments, log, limits), log, LOG_FILE)
    code, said = done or (FAILED, reason)
    if code == FAILED:
        log.line("fence_failed", reason=said)
    program.delivered(answer, said, log, error=code == FAILED)
    return code


def parse(given: Mapping[str, str | None]) -> Request:
    """Return what the options ask for; raise InputError for an action, a host or a value that
    cannot be meant."""
    action = (given.get("action") or given.get("option") or "").lower()
    if action not in ACTIONS:
        raise errors.InputError(
            f"the action {names.shown(action, 20)}",
            "is not known",
            f"give one of {', '.join(ACTIONS)}",
        )
    plugs = {value for value in (given.get("port"), given.get("plug")) if value}
    if len(plugs) > 1:
        raise errors.InputError("port and plug", "name two hosts", "give one of them")
    name = given.get("nodename") or given.get("ipaddr") or given.get("ip")
    return Request(
        action, next(iter(plugs), None), name, _even_if_it_runs(given), _wait_seconds(given)
    )


def options(given: str) -> dict[str, str | None]:
    """Return the known options in the lines of stdin, later ones win; None for one without `=`.

    Everything but the end of a line belongs to its value: a password may hold any other character.
    """
    lines = (line.strip(text.BLANKS) for line in text.lines(given))
    parts = [line.partition("=") for line in lines if line and line[0] != "#"]
    named = (
        (key.strip(text.BLANKS).lower(), equals, value.strip(text.BLANKS))
        for key, equals, value in parts
    )
    found = {key: value if equals else None for key, equals, value in named}
    return {key: value for key, value in found.items() if key in OPTIONS}


def _options() -> str:
    """Return what help says of the options and the actions."""
    mixed = dict.fromkeys(each.flags for each in metadata.PARAMETERS if each.flags)
    return (
        f"options: {'; '.join(mixed)}\nactions: {', '.join(ACTIONS)}\n"
        f"What each means: {PROGRAM} -o metadata"
    )


def _answer(arguments: Sequence[str], log: Log, limits: Limits) -> tuple[int, str]:
    deadline = Deadline(limits.deadline_seconds)
    with enforced(deadline, f"{PROGRAM} to end", limits.last_seconds):
        request = parse(_from_arguments(arguments) if arguments else options(_stdin()))
        if request.action == "metadata":
            return DONE, metadata.document(PROGRAM)
        root = config.root()
        asked = _asked(request, root, deadline)
        if not isinstance(asked, str):
            log.line("way", by="root")
            return asked
        site = sudo_request.own_settings(root, asked, sudo_request.FENCE_DOOR, environment=True)
        if os.geteuid() != 0:
            log.line("way", by="itself", why=asked)
        log.hide(site.api.token.reveal())
        client = api.Client(site.api, deadline, limits=limits)
        return carried_out(Call(request, root, site, client, deadline, log))


def carried_out(call: Call) -> tuple[int, str]:
    """Carry out an action but `metadata` with a host's own settings; return the exit code and what
    is told."""
    return ACTIONS[call.request.action](call)


def written(request: Request) -> bytes:
    """Return a request as lines of options, with an empty one at the end; raise InputError for what
    no line can be."""
    given = {
        "action": request.action,
        "plug": request.plug,
        "nodename": request.name,
        "even_if_it_runs": str(int(request.even_if_it_runs)),
        "power_timeout": f"{request.wait_seconds:g}",
    }
    for value in given.values():
        if value and not value.isprintable():
            raise errors.InputError(
                "the host", f"has no such name ({names.shown(value)})", "give a name or a client id"
            )
    return "".join(f"{key}={value}\n" for key, value in given.items() if value).encode() + b"\n"


def _asked(request: Request, root: str, deadline: Deadline) -> tuple[int, str] | str:
    """Have root carry it out and return exit code and words; or return why root is not to be
    asked."""
    if os.geteuid() == 0:
        return "it is root's already"
    return sudo_request.fence(written(request), request.even_if_it_runs, root, deadline)


@dataclass(frozen=True)
class Call:
    """What an action works with."""

    request: Request
    root: str
    site: config.Host
    client: api.Client
    deadline: Deadline
    log: Log

    def host(self) -> lost_host.Host:
        """Return the host that is meant; raise InputError, NotFound or ConfigError."""
        name = self.request.name
        if self.request.plug:
            return self._agreed(lost_host.named(self.request.plug, self.root), name or "")
        if not name or name.isdigit():
            raise errors.InputError(
                "the host", "is not given", "set port to its client id or its name in storpool.conf"
            )
        return lost_host.named(name, self.root)

    def _agreed(self, host: lost_host.Host, name: str) -> lost_host.Host:
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
        return ON, f"Status: ON, {host} {answers} and has {len(seen.ours)} disks of oVirt's"
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
    return DONE, f"StorPool answers and knows {len(call.client.clients())} clients"


def _list(call: Call) -> tuple[int, str]:
    known = storpool_conf.host_names(call.root)
    return DONE, "\n".join(
        f"{each.client_id},{known.get(each.client_id, '')}" for each in call.client.clients()
    )


ACTIONS: Mapping[str, Callable[[Call], tuple[int, str]]] = {
    "status": _status,
    "on": _on,
    "off": _off,
    "reboot": _off,
    "monitor": _monitor,
    "list": _list,
    "metadata": _monitor,
}
OPTIONS = (
    "action",
    "option",
    "port",
    "plug",
    "nodename",
    "ipaddr",
    "ip",
    "even_if_it_runs",
    "power_timeout",
)
FLAGS = {
    "-o": "action",
    "--action": "action",
    "-n": "plug",
    "--plug": "plug",
    "--power-timeout": "power_timeout",
    "--even-if-it-runs": "even_if_it_runs",
}


def _when_down(call: Call, host: lost_host.Host) -> force.Seen:
    """Look at the host once it is down, or when the time for that is over."""
    seen = lost_host.look(call.client, host, call.site.openstack_prefix)
    if call.request.even_if_it_runs or not seen.may_run:
        return seen
    for _ in polls(call.deadline.within(call.request.wait_seconds), time.sleep, POLL_SECONDS):
        if force.status(call.client, host.client_id) == api.DOWN:
            break
    return force.look(call.client, host.client_id, call.site.openstack_prefix)


def _even_if_it_runs(given: Mapping[str, str | None]) -> bool:
    value = given.get("even_if_it_runs", "")
    if value == "":
        return False
    if value is None or value.lower() not in TRUTHS:
        raise errors.InputError("even_if_it_runs", "is neither 1 nor 0", "give one of them")
    return TRUTHS[value.lower()]


def _wait_seconds(given: Mapping[str, str | None]) -> float:
    value = given.get("power_timeout")
    seconds = text.decimal(value) if value else POWER_TIMEOUT_SECONDS
    if seconds is None or seconds > POWER_TIMEOUT_MAX_SECONDS:
        raise errors.InputError(
            "power_timeout", "is out of range", f"give 0 to {POWER_TIMEOUT_MAX_SECONDS:g} seconds"
        )
    return seconds


def _from_arguments(arguments: Sequence[str]) -> dict[str, str | None]:
    rest = list(arguments)
    given: dict[str, str | None] = {}
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag not in FLAGS or not (equals or rest):
            raise errors.InputError(
                _shown_flag(flag), "has no value" if flag in FLAGS else "is not known", _USAGE
            )
        given[FLAGS[flag]] = value if equals else rest.pop(0)
    return given


def _shown_flag(given: str) -> str:
    """Return the words for an argument: its name at most, as what follows, or stands alone, may be
    a password."""
    name = _FLAG.match(given)
    return f"the argument {name[0]}" if name else "an argument"


def _stdin() -> str:
    try:
        with open(0, "rb", closefd=False) as file:
            data = file.read(STDIN_MAX_BYTES + 1)
    except OSError as error:
        raise errors.InputError(
            "stdin", f"cannot be read ({error.strerror})", "give an option a line"
        ) from error
    if len(data) > STDIN_MAX_BYTES:
        raise errors.InputError(
            "stdin", f"has more than {STDIN_MAX_BYTES} bytes", "give an option a line"
        )
    return data.decode("utf-8-sig", "replace")
