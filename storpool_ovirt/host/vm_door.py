"""storpool-vm-door: what the hook asks root for, so that user vdsm need not have the cluster's
token.

The hook reads Vdsm's XML and finds the StorPool disks as user vdsm; with root's /etc/storpool.conf
this program does for them what Vdsm's point asks for. It takes no arguments and reads one line of
JSON, which the hook writes. It answers with one line: `done` and exit code 0, or `refused` with one
sentence and exit code 2.

User vdsm may run it through sudo (our file for sudo), so everything that comes from
there is taken for hostile: docs/security.md has what it can and cannot be made to do.
"""

from __future__ import annotations

import gc
import os
import time

from storpool_ovirt import config
from storpool_ovirt.deadline import enforced
from storpool_ovirt.host import vm_points, vm_request
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.limits import Limits
from storpool_ovirt.log import Log
from storpool_ovirt.privilege import root_door, sudo_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

PROGRAM = "storpool-vm-door"
LOG_FILE = f"{root_door.LOG_FOLDER}/vm-door.log"
# Less than the hook waits: its sentence shall be ours.
LIMITS = Limits(deadline_seconds=38.0, last_seconds=root_door.LAST_SECONDS)


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as the VM waits for it."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, root: str = "", limits: Limits = LIMITS) -> int:
    """Do what is asked on stdin; return the exit code, 0 or 2.

    `root` is the folder that stands for the host's `/`; nobody can say so from outside the process.
    """
    gc.disable()  # as in the hook
    return root_door.run(DOOR, argv, root, limits)


def _run(visit: root_door.Visit, root: str, log: Log, limits: Limits) -> None:
    root_door.check(PROGRAM, visit, "storpool-vm-hook")
    request = vm_request.read(
        root_door.request(b"\n", vm_request.BYTES_MAX, limits), list(vm_points.POINTS)
    )
    log.correlation_id = request.vm
    began = time.monotonic()
    log.line(
        "asked",
        by=visit.user,
        point=request.point,
        disks=",".join(global_id for global_id, _ in request.disks),
    )
    deadline = root_door.AskedDeadline(limits.deadline_seconds)
    work = vm_points.Work(request.point, root, deadline, log, limits)
    with enforced(deadline, vm_points.ALONE, limits.last_seconds):
        host = config.host(root, environment=False)
        vm_points.act(work, request.disks, host, request.properties)
    log.line("done", seconds=f"{time.monotonic() - began:.3f}")


def _answer(_done: None, reason: str, log: Log) -> tuple[int, str]:
    if not reason:
        return 0, sudo_request.DONE.decode().strip()
    log.line("refused", reason=reason)
    return sudo_request.REFUSED_CODE, sudo_request.REFUSED.decode() + reason


DOOR = root_door.Door(PROGRAM, LOG_FILE, __doc__, _run, _answer)
