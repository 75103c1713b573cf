"""storpool-vm-hook: the program that Vdsm runs before a VM starts, before a disk is plugged, before
a VM leaves, and after a disk was unplugged.

It is linked into Vdsm's folders hooks/before_vm_start and hooks/before_disk_hotplug, runs as user
vdsm, and makes this host the only one that has the VM's StorPool disks; shareable ones, and other
vendors', are left alone. A start takes them by force, a plug only from hosts that are down. Linked
into hooks/before_vm_migrate_source it only looks: a VM whose disk was taken away, and that has not
noticed, must not open it anew on another host. It never runs for a migration's destination, where
two hosts have a disk by right. Linked into hooks/after_disk_hotunplug it takes the tag that names
the VM off the disk. A start and a plug also tag the disks as the VM's custom properties sp_qos and
sp_vc_policy say.

It takes no arguments: the VM's XML is in the file that Vdsm names in the environment variable
_hook_domxml. The exit code is 0 when all is done. Where it cannot be sure, Vdsm's work ends there:
exit code 2 and one sentence, last on stderr (oVirt's vdsm, common/hooks.py). After an unplug there
is nothing left to refuse: exit code 1, and Vdsm's other hooks run.
"""

from __future__ import annotations

import gc
import os
import sys
import time

from storpool_ovirt import config, errors, names, program
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.host import device_paths, domain_xml, vm_points
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.limits import Limits
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from storpool_ovirt.host import vm_request

PROGRAM = "storpool-vm-hook"
LOG_FILE = "/var/log/vdsm/storpool-hook.log"
# Vdsm has no limit: the VM would stay "waiting for launch" as long as we hang.  A process that was
# stopped in between takes nothing when it goes on after its time.
LIMITS = Limits(deadline_seconds=40.0, last_seconds=1.0)
XML_MAX_BYTES = 16 << 20
XML_VARIABLE = "_hook_domxml"
HOOKS_FOLDER = "/usr/libexec/vdsm/hooks"
REFUSED = 2  # Vdsm runs no other hook after this one, and does not go on
FAILED = 1  # Vdsm writes it into its log, and goes on


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as the VM waits for it."""
    os._exit(main())


def main(argv: Sequence[str] | None = None, limits: Limits = LIMITS) -> int:
    """Do what is to be done at this point of Vdsm's; return the exit code, 0 or 2."""
    # As in the helper: nothing of a process that lives for a tenth of a second is worth collecting
    gc.disable()
    arguments = list(sys.argv if argv is None else argv)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        return introduction.given(PROGRAM, arguments[1], __doc__, [introduction.log(LOG_FILE)])
    root = _root(arguments[0])
    log = Log(PROGRAM, root + LOG_FILE)
    answer = program.Answer(log.descriptor)
    program.close_stdin()
    log.correlation_id = os.environ.get("vmId", "-")  # noqa: SIM112  Vdsm's name
    started = time.monotonic()
    _, reason = program.guarded(lambda: _run(arguments, root, log, limits), log, LOG_FILE)
    if not reason:
        return 0
    code = failure_code(_folder(arguments))
    what = "refused" if code == REFUSED else "not_done"
    log.line(what, reason=reason, seconds=f"{time.monotonic() - started:.3f}")
    program.delivered(answer, f"StorPool: {reason}", log, error=True)
    return code


def failure_code(point: str) -> int:
    """Return the exit code for what could not be done at a point, or at what is none of ours."""
    found = vm_points.POINTS.get(point)
    return REFUSED if found is None or found.refuses else FAILED


def handle(work: vm_points.Work, document: bytes) -> None:
    """Do what is to be done at a point of Vdsm's for the VM in `document`; nothing is asked when no
    disk is StorPool's.

    Raises what domain_xml, device_paths, config and `vm_points.act` raise: then Vdsm must not go
    on.
    """
    disks = _storpools(document, vm_points.POINTS[work.point].root, work.root)
    if not disks:
        return

    from storpool_ovirt.host import vm_request
    from storpool_ovirt.privilege import sudo_request

    properties = vm_request.properties(os.environ)
    vm = work.log.correlation_id
    closed = _asked(vm_request.Request(work.point, vm, disks, properties), work)
    if not closed:
        work.log.line("way", by="root")
        return
    # The environment holds a VM's custom properties too: none of them may say where the API is.
    host = sudo_request.own_settings(work.root, closed, sudo_request.DOOR, environment=False)
    work.log.line("way", by="itself", why=closed)
    vm_points.act(work, disks, host, properties)


def _asked(request: vm_request.Request, work: vm_points.Work) -> str:
    """Have root do it and return ""; or return why it is not to be asked."""
    if os.geteuid() == 0:
        return "it is root's already"

    from storpool_ovirt.host import vm_request
    from storpool_ovirt.privilege import sudo_request

    return sudo_request.ask(vm_request.write(request), work.root, work.deadline)


def _root(program: str) -> str:
    """Return the folder that stands for the host's `/`: that which is named, where this hook is
    linked in it.

    A VM's custom properties are in the environment too.
    """
    root = config.root()
    return root if program.startswith(f"{root}{HOOKS_FOLDER}/") else ""


def _run(argv: Sequence[str], root: str, log: Log, limits: Limits) -> None:
    point = _point(argv)
    if config.root() != root:
        raise errors.InputError(
            f"{config.ROOT_VARIABLE} in the environment",
            "names a folder in which this hook is not linked",
            "take it out of the VM's custom properties",
        )
    work = vm_points.Work(point, root, Deadline(limits.deadline_seconds), log, limits)
    with enforced(work.deadline, vm_points.ALONE, limits.last_seconds):
        handle(work, _document())


def _storpools(document: bytes, expected: str, root: str) -> list[tuple[str, domain_xml.Disk]]:
    """Return the disks that lead to objects of StorPool, each with its global id; one whose device
    has several is there with each."""
    found = []
    for disk in domain_xml.disks(document, expected):
        # Files of other storage are not even looked at: theirs may be a server that does not
        # answer.
        if device_paths.may_be_ours(disk.path):
            found += [(each, disk) for each in device_paths.global_ids(disk.path, root)]
    return found


def _point(argv: Sequence[str]) -> str:
    """Return the point whose folder we are linked into; raise InputError at any other one."""
    folder = _folder(argv)
    if folder not in vm_points.POINTS or len(argv) != 1:
        raise errors.InputError(
            PROGRAM,
            f"was not started as one of Vdsm's hooks {', '.join(vm_points.POINTS)}",
            "link it into those folders of Vdsm only, and let Vdsm run it"
            f" ({names.shown(argv[0], 120)})",
        )
    return folder


def _folder(argv: Sequence[str]) -> str:
    return os.path.basename(os.path.dirname(argv[0]))


def _document() -> bytes:
    path = os.environ.get(XML_VARIABLE)
    if not path:
        raise errors.InputError(
            f"the environment variable {XML_VARIABLE}", "is not set", "let Vdsm run this hook"
        )
    try:
        with open(path, "rb") as file:
            document = file.read(XML_MAX_BYTES + 1)
    except OSError as error:
        raise errors.InputError(
            path, f"cannot be read ({error.strerror})", "let Vdsm run this hook"
        ) from error
    if len(document) > XML_MAX_BYTES:
        raise errors.InputError(
            path, f"has more than {XML_MAX_BYTES} bytes", "it is no domain of libvirt's"
        )
    return document
