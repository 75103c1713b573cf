"""storpool-vm-door: what the hook asks root for, so that user vdsm need not have the cluster's token.

The hook reads Vdsm's XML and finds the StorPool disks as user vdsm; with root's /etc/storpool.conf this program does
for them what Vdsm's point asks for, and answers with one line: `done`, or `refused` with one sentence, exit code 2.
User vdsm may run it through sudo (etc/sudoers.d/storpool-ovirt), so everything that comes from there is taken for
hostile: docs/security.md tells what it can and cannot be made to do.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from storpool_ovirt import config, door, doorway, log, streams, threshold, vm_points, vm_request
from storpool_ovirt.deadline import enforced

PROGRAM = "storpool-vm-door"
LOG_FILE = f"{threshold.LOG_FOLDER}/vm-door.log"
# Less than the hook waits: its sentence shall be ours.
DEADLINE_SECONDS = 38.0


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as the VM waits for it."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, root: str = "") -> int:
    """Do what is asked on stdin; return the exit code, 0 or 2.

    `root` is the folder that stands for the host's `/`; nobody can say so from outside the process.
    """
    gc.disable()  # as in the hook
    visit = threshold.entered(sys.argv if argv is None else argv)
    journal = log.Log(PROGRAM, root + LOG_FILE)
    answer = streams.Answer(journal.descriptor)
    _, reason = door.guarded(lambda: _run(visit, root, journal), journal, LOG_FILE, threshold.ANSWER_SECONDS)
    if not reason:
        door.delivered(answer, doorway.DONE.decode().strip(), journal)
        return 0
    journal.line("refused", reason=reason)
    door.delivered(answer, doorway.REFUSED.decode() + reason, journal)
    return doorway.REFUSED_CODE


def _run(visit: threshold.Visit, root: str, journal: log.Log) -> None:
    threshold.check(PROGRAM, visit, "storpool-vm-hook")
    request = vm_request.read(threshold.request(b"\n", vm_request.BYTES_MAX), list(vm_points.POINTS))
    journal.correlation_id = request.vm
    began = time.monotonic()
    journal.line("asked", by=visit.user, point=request.point,
                 disks=",".join(global_id for global_id, _ in request.disks))  # fmt: skip
    deadline = threshold.WhileAsked(DEADLINE_SECONDS)
    with enforced(deadline, "the disks to be this host's alone", threshold.LAST_SECONDS):
        host = config.host(root, environment=False)
        vm_points.act(request.point, request.disks, host, root, deadline, journal)
    journal.line("done", seconds=f"{time.monotonic() - began:.3f}")
