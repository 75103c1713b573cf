"""storpool-fence-door: what the fence agent asks root for, so that user vdsm need not have the
cluster's token.

Vdsm runs the agent as user vdsm on a fence proxy. With root's /etc/storpool.conf this program
carries out what the agent was asked for, and answers with `answer` and the words, and with the
agent's exit code: 2 when a host's status is off, 0 for done, 1 for not, or unknown. It reads the
agent's own options, which are taken for hostile, up to an empty line. A host that runs is fenced
only where sudoers allow the argument `even-if-it-runs` too: docs/security.md.
"""

from __future__ import annotations

import os

from storpool_ovirt import config, errors
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import enforced
from storpool_ovirt.fence import actions, agent, request
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.limits import Limits
from storpool_ovirt.log import Log
from storpool_ovirt.privilege import root_door, sudo_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

PROGRAM = "storpool-fence-door"
LOG_FILE = f"{root_door.LOG_FOLDER}/fence-door.log"
# Less than the agent waits.
LIMITS = Limits(deadline_seconds=43.0, last_seconds=root_door.LAST_SECONDS)
OPTIONS_MAX_BYTES = 4 << 10  # of the few options that are left


def run() -> NoReturn:
    """Run the program: as `main`, and end at once."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, root: str = "", limits: Limits = LIMITS) -> int:
    """Carry out what is asked on stdin; return the agent's exit code.

    `root` is the folder that stands for the host's `/`; nobody can say so from outside the process.
    """
    return root_door.run(DOOR, argv, root, limits)


def _run(visit: root_door.Visit, root: str, log: Log, limits: Limits) -> tuple[int, str]:
    log.correlation_id = f"fence-{os.getpid()}"
    root_door.check(PROGRAM, visit, agent.PROGRAM, ((), (sudo_request.EVEN_IF_IT_RUNS,)))
    data = root_door.request(b"\n\n", OPTIONS_MAX_BYTES, limits)
    asked = _request(data, may_run=bool(visit.arguments))
    facts = {key: value for key, value in vars(asked).items() if value is not None}
    log.line("asked", by=visit.user, **facts)
    deadline = root_door.AskedDeadline(limits.deadline_seconds)
    with enforced(deadline, f"{PROGRAM} to end", limits.last_seconds):
        site = config.host(root, environment=False)
        log.hide(site.api.token.reveal())
        client = api.Client(site.api, deadline, limits=limits)
        return actions.carried_out(actions.Call(asked, root, site, client, deadline, log))


def _answer(done: tuple[int, str] | None, reason: str, log: Log) -> tuple[int, str]:
    code, said = done or (actions.FAILED, reason)
    log.line("answered", code=code, said=said)
    return code, sudo_request.ANSWER + said


def _request(data: bytes, *, may_run: bool) -> request.Request:
    """Return what the agent's options in `data` ask for, which may be anything; raise
    InputError."""
    if len(data) > OPTIONS_MAX_BYTES or data.find(b"\n\n") != len(data) - 2:
        raise errors.InputError(
            "the request to root",
            "is not options up to an empty line",
            "only fence_storpool makes such requests",
        )
    try:
        asked = request.parsed(request.of_lines(data.decode()), actions.ACTIONS)
    except UnicodeDecodeError:
        raise errors.InputError(
            "the request to root", "is not text", "only fence_storpool makes such requests"
        ) from None
    if asked.even_if_it_runs and not may_run:
        raise errors.InputError(
            "even_if_it_runs",
            f"is not given to {PROGRAM} as its argument",
            "sudoers have to allow that first",
        )
    return asked


DOOR = root_door.Door(PROGRAM, LOG_FILE, __doc__, _run, _answer)
