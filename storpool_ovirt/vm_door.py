"""storpool-vm-door: what the hook asks root for, so that user vdsm need not have the cluster's token.

The hook reads Vdsm's XML and finds the StorPool disks as user vdsm; with root's /etc/storpool.conf this program does
for them what Vdsm's point asks for, and answers with one line: `done`, or `refused` with one sentence, exit code 2.
User vdsm may run it through sudo (etc/sudoers.d/storpool-ovirt), so everything that comes from there is taken for
hostile: docs/security.md tells what it can and cannot be made to do.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from storpool_ovirt import config, door, doorway, errors, log, streams, vm_points, vm_request
from storpool_ovirt.deadline import Deadline, enforced

PROGRAM = "storpool-vm-door"
# A folder of root's: nothing of root's is written in a folder of user vdsm's.
LOG_FILE = "/var/log/storpool-ovirt/vm-door.log"
# Less than the hook waits: its sentence shall be ours.
DEADLINE_SECONDS = 38.0
LAST_SECONDS = 0.5
# The hook writes at once; who does not is not waited for.
REQUEST_SECONDS = 5.0
# Whoever started us may not read: the answer of a program of root's is not waited for either.
ANSWER_SECONDS = 2

# What has taken effect before any line of ours: there sudo's env_reset is off, and nothing can be mended from here.
_INHERITED = ("PYTHON", "LD_", "STORPOOL_", "SP_")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as the VM waits for it."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, root: str = "") -> int:
    """Do what is asked on stdin; return the exit code, 0 or 2.

    `root` is the folder that stands for the host's `/`; nobody can say so from outside the process.
    """
    gc.disable()  # as in the hook
    os.chdir("/")
    os.umask(0o077)
    arguments = list(sys.argv if argv is None else argv)
    inherited = dict(os.environ)
    os.environ.clear()
    os.environ["PATH"] = _PATH
    journal = log.Log(PROGRAM, root + LOG_FILE)
    answer = streams.Answer(journal.descriptor)
    _, reason = door.guarded(lambda: _run(arguments, inherited, root, journal), journal, LOG_FILE)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(ANSWER_SECONDS)
    if not reason:
        door.delivered(answer, doorway.DONE.decode().strip(), journal)
        return 0
    journal.line("refused", reason=reason)
    door.delivered(answer, doorway.REFUSED.decode() + reason, journal)
    return doorway.REFUSED_CODE


class _WhileAsked(Deadline):
    """A limit that is over, too, when the hook that asked is not there any more: its VM does not start.

    Each call of StorPool's API asks how much time is left, so after that moment none is made.
    """

    def left(self, what: str) -> float:
        poll = select.poll()
        poll.register(0, 0)
        if any(events & select.POLLHUP for _, events in poll.poll(0)):
            raise errors.Conflict("the hook that asked root", "has ended meanwhile", "nothing more was done")
        return super().left(what)


def _run(arguments: Sequence[str], inherited: dict[str, str], root: str, journal: log.Log) -> None:
    _check_start(arguments, inherited)
    with enforced(Deadline(REQUEST_SECONDS), "the hook's request", LAST_SECONDS):
        request = vm_request.read(_line(), list(vm_points.POINTS))
    journal.correlation_id = request.vm
    began = time.monotonic()
    journal.line("asked", by=inherited.get("SUDO_USER", "-"), point=request.point,
                 disks=",".join(global_id for global_id, _ in request.disks))  # fmt: skip
    deadline = _WhileAsked(DEADLINE_SECONDS)
    with enforced(deadline, "the disks to be this host's alone", LAST_SECONDS):
        host = config.host(root, environment=False)
        vm_points.act(request.point, request.disks, host, root, deadline, journal)
    journal.line("done", seconds=f"{time.monotonic() - began:.3f}")


def _check_start(arguments: Sequence[str], inherited: dict[str, str]) -> None:
    names = sorted(name for name in inherited if name.startswith(_INHERITED))
    if names:
        raise errors.InputError(
            PROGRAM, f"was started with {', '.join(names[:5])} in its environment",
            "have env_reset for it in sudoers, see etc/sudoers.d/storpool-ovirt",
        )  # fmt: skip
    if len(arguments) != 1:
        raise errors.InputError(PROGRAM, "takes no arguments", "storpool-vm-hook starts it")
    if os.geteuid() != 0:
        raise errors.InputError(PROGRAM, "needs root's rights", "storpool-vm-hook starts it through sudo")


def _line() -> bytes:
    """Read stdin up to the end of the first line, or to one byte more than a request may have."""
    data = b""
    while b"\n" not in data and len(data) <= vm_request.BYTES_MAX:
        more = os.read(0, vm_request.BYTES_MAX + 1 - len(data))
        if not more:
            break
        data += more
    return data
