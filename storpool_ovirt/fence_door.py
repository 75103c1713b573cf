"""storpool-fence-door: what the fence agent asks root for, so that user vdsm need not have the cluster's token.

Vdsm runs the agent as user vdsm on a fence proxy.  With root's /etc/storpool.conf this program carries out what the
agent was asked for, and answers with `answer`, the words and the agent's exit code.  It reads the agent's own options,
which are taken for hostile, up to an empty line.  A host that runs is fenced only where sudoers allow the argument
`even-if-it-runs` too: docs/security.md.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from storpool_ovirt import config, door, doorway, errors, fence_agent, log, streams, threshold
from storpool_ovirt.deadline import enforced

PROGRAM = "storpool-fence-door"
LOG_FILE = f"{threshold.LOG_FOLDER}/fence-door.log"
# Less than the agent waits.
DEADLINE_SECONDS = 43.0
OPTIONS_MAX_BYTES = 4 << 10  # of the few options that are left


def run() -> NoReturn:
    """Run the program: as `main`, and end at once."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, root: str = "") -> int:
    """Carry out what is asked on stdin; return the agent's exit code.

    `root` is the folder that stands for the host's `/`; nobody can say so from outside the process.
    """
    visit = threshold.entered(sys.argv if argv is None else argv)
    journal = log.Log(PROGRAM, root + LOG_FILE)
    journal.correlation_id = f"fence-{os.getpid()}"
    answer = streams.Answer(journal.descriptor)
    done, reason = door.guarded(lambda: _run(visit, root, journal), journal, LOG_FILE, threshold.ANSWER_SECONDS)
    code, said = done or (fence_agent.FAILED, reason)
    journal.line("answered", code=code, said=said)
    door.delivered(answer, doorway.ANSWER + said, journal)
    return code


def _run(visit: threshold.Visit, root: str, journal: log.Log) -> tuple[int, str]:
    threshold.check(PROGRAM, visit, fence_agent.PROGRAM, ((), (doorway.EVEN_IF_IT_RUNS,)))
    request = _request(threshold.request(b"\n\n", OPTIONS_MAX_BYTES), may_run=bool(visit.arguments))
    facts = {key: value for key, value in dataclasses.asdict(request).items() if value is not None}
    journal.line("asked", by=visit.user, **facts)
    deadline = threshold.WhileAsked(DEADLINE_SECONDS)
    with enforced(deadline, f"{PROGRAM} to end", threshold.LAST_SECONDS):
        site = config.host(root, environment=False)
        return fence_agent.carried_out(request, root, site, deadline, journal)


def _request(data: bytes, *, may_run: bool) -> fence_agent.Request:
    """Return what the agent's options in `data` ask for, which may be anything; raise InputError."""
    if len(data) > OPTIONS_MAX_BYTES or data.find(b"\n\n") != len(data) - 2:
        raise errors.InputError(
            "the request to root", "is not options up to an empty line", "only fence_storpool makes such requests"
        )
    try:
        request = fence_agent.parse(fence_agent.options(data.decode()))
    except UnicodeDecodeError:
        raise errors.InputError(
            "the request to root", "is not text", "only fence_storpool makes such requests"
        ) from None
    if request.even_if_it_runs and not may_run:
        raise errors.InputError(
            "even_if_it_runs", f"is not given to {PROGRAM} as its argument", "sudoers have to allow that first"
        )
    return request
