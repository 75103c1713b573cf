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
import sys

from storpool_ovirt import config, errors, program
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.fence import actions, options, request
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log
from storpool_ovirt.privilege import sudo_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

PROGRAM = "fence_storpool"
LOG_FILE = "/var/log/vdsm/storpool-fence.log"
STDIN_MAX_BYTES = 1 << 16
# As in ClusterLabs' fence-agents; where more is given, something is to be done, and no help is it.
ABOUT_ITSELF = {
    "-h": "--help",
    "--help": "--help",
    "-V": "--version",
    "--version": "--version",
}


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
    code, said = done or (actions.FAILED, reason)
    if code == actions.FAILED:
        log.line("fence_failed", reason=said)
    program.delivered(answer, said, log, error=code == actions.FAILED)
    return code


def _options() -> str:
    """Return what help says of the options and the actions."""
    flags = dict.fromkeys(options.mixed(each) for each in options.OPTIONS if each.flags)
    return (
        f"options: {'; '.join(flags)}\nactions: {', '.join(actions.ACTIONS)}\n"
        f"What each means: {PROGRAM} -o metadata"
    )


def _answer(arguments: Sequence[str], log: Log, limits: Limits) -> tuple[int, str]:
    deadline = Deadline(limits.deadline_seconds)
    with enforced(deadline, f"{PROGRAM} to end", limits.last_seconds):
        given = request.of_arguments(arguments) if arguments else request.of_lines(_stdin())
        wanted = request.parsed(given, actions.ACTIONS)
        if wanted.action == actions.METADATA:
            from storpool_ovirt.fence import metadata  # no fence waits for what writes XML

            return actions.DONE, metadata.document(PROGRAM, actions.ACTIONS)
        root = config.root()
        asked = _asked(wanted, root, deadline)
        if not isinstance(asked, str):
            log.line("way", by="root")
            return asked
        site = sudo_request.own_settings(root, asked, sudo_request.FENCE_DOOR, environment=True)
        if os.geteuid() != 0:
            log.line("way", by="itself", why=asked)
        log.hide(site.api.token.reveal())
        client = api.Client(site.api, deadline, limits=limits)
        return actions.carried_out(actions.Call(wanted, root, site, client, deadline, log))


def _asked(wanted: request.Request, root: str, deadline: Deadline) -> tuple[int, str] | str:
    """Have root carry it out and return exit code and words; or return why root is not to be
    asked."""
    if os.geteuid() == 0:
        return "it is root's already"
    return sudo_request.fence(request.written(wanted), wanted.even_if_it_runs, root, deadline)


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
    return data.decode("utf-8", "replace").removeprefix("\ufeff")
