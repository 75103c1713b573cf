"""managedvolume-helper-storpool: the program that Vdsm runs as root to attach and detach on its
host.

    managedvolume-helper-storpool attach < {"connection_info": {...}}
    managedvolume-helper-storpool detach < {"vol_id": ..., "connection_info": {...}, "path": ...,
                                            "attachment": {...}}
    managedvolume-helper-storpool connector_info FILE

Vdsm's roll-back of a failed attach sends detach without `vol_id` and `path`. FILE is Vdsm's own
storage/managedvolume.py: our package os_brick in Vdsm's folder asks with it what this host is. The
answer is exactly one JSON object on stdout (`{}` for detach) with exit code 0, or one sentence on
stderr with exit code 1 (oVirt's vdsm, managedvolume.py).
"""

from __future__ import annotations

import gc
import os
import sys
import time

from storpool_ovirt import config, documents, errors, names, program
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.light import TYPE_CHECKING, dataclass
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from storpool_ovirt.cluster import attachments
    from storpool_ovirt.limits import Limits

PROGRAM = "managedvolume-helper-storpool"
STDIN_MAX_BYTES = 1 << 20
USAGE = f"run it as Vdsm does: {PROGRAM} attach|detach, with JSON on stdin"
# Engine waits for all that a host is; of this part the database may take most.
CONNECTOR_INFO_SECONDS = 6.0
_AS_LOCAL = (names.VOLUME_TYPE_LOCAL, names.ADAPTER)


@dataclass(frozen=True)
class Connection:
    """What `connect_volume` printed for a volume, as far as a host needs it."""

    volume: str
    global_id: str
    access_mode: str


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as Vdsm waits for the process.

    Taking the interpreter apart costs as long as the work: everything is written and closed by now.
    """
    os._exit(main())


def main(argv: Sequence[str] | None = None, limits: Limits = LIMITS) -> int:
    """Attach or detach one volume and answer; return the exit code, 0 or 1."""
    # As in the adapter: a process that lives for a tenth of a second leaves nothing to collect
    gc.disable()
    arguments = list(sys.argv if argv is None else argv)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        return introduction.given(
            PROGRAM, arguments[1], __doc__, [introduction.log(config.HELPER_LOG)]
        )
    log = Log(PROGRAM, config.root() + config.HELPER_LOG)
    answer = program.Answer(log.descriptor)
    started = time.monotonic()
    payload, reason = program.guarded(lambda: _run(arguments, log, limits), log, config.HELPER_LOG)
    action = " ".join(arguments[1:2])
    if payload is None:
        took = f"{time.monotonic() - started:.3f}"
        log.line("helper_failed", action=action, reason=reason, seconds=took)
        program.delivered(answer, reason, log, error=True, action=action)
        return 1
    return int(not program.delivered(answer, payload, log, action=action))


def parse_connection(text: bytes) -> Connection:
    """Return the connection info out of any of the shapes in which Vdsm sends it; raise InputError
    when it is none."""
    try:
        request = documents.parse(text.decode(), "stdin", USAGE)
    except UnicodeDecodeError:
        raise errors.InputError("stdin", "is not JSON: it is not UTF-8", USAGE) from None
    info = request.get("connection_info") if isinstance(request, dict) else None
    data = info.get("data") if isinstance(info, dict) else None
    if not isinstance(info, dict) or not isinstance(data, dict):
        raise errors.InputError(
            "stdin",
            'has no "connection_info" with "data"',
            "Vdsm sends what connect_volume printed",
        )
    driver_type = info.get("driver_volume_type")
    # Other vendors' volumes have the type `local` too: only the adapter tells whose they are.
    if driver_type != names.VOLUME_TYPE and (driver_type, info.get("adapter")) != _AS_LOCAL:
        raise errors.InputError(
            "driver_volume_type",
            "is neither storpool nor local with the adapter storpool",
            "this helper attaches StorPool volumes only",
        )
    return Connection(
        names.uuid(_text(data, "volume"), "data.volume"),
        _checked(
            data,
            "global_id",
            names.GLOBAL_ID.fits(_text(data, "global_id")),
            "a StorPool global id",
        ),
        _checked(data, "access_mode", _text(data, "access_mode") in ("rw", "ro"), "rw or ro"),
    )


def _run(argv: Sequence[str], log: Log, limits: Limits) -> str:
    if argv[1:2] == ["connector_info"]:
        return _connector_info(argv[2:], log)
    action = argv[1] if len(argv) == 2 else None
    if action not in ("attach", "detach"):
        raise errors.InputError("the action", "is neither attach nor detach", USAGE)
    deadline = Deadline(limits.deadline_seconds)
    with enforced(deadline, f"{action} to end", limits.last_seconds):
        # Python has no `sys.stdin` where it was closed.
        with os.fdopen(0, "rb", closefd=False) as stdin:
            connection = parse_connection(stdin.read(STDIN_MAX_BYTES))
        root = config.root()
        host = config.host(root)
        log.hide(host.api.token.reveal())

        from storpool_ovirt.cluster import api, attachments

        client = api.Client(host.api, deadline, limits=limits)
        side = attachments.HostSide(host.client_id, root, deadline, log, limits=limits)
        kind = "volume" if connection.access_mode == "rw" else "snapshot"
        target = attachments.Target(
            connection.global_id, names.object_name(connection.volume), kind
        )
        if action == "detach":
            attachments.detach(client, side, target)
            return "{}"
        _sweep(side, connection.volume)
        path = attachments.attach(
            client,
            side,
            target,
            connection.access_mode,
            lambda: _clear_way(side, target, connection.volume),
        )
        return documents.written({"type": "block", "path": path})


def _connector_info(arguments: Sequence[str], log: Log) -> str:
    from storpool_ovirt.host import connector_info

    if len(arguments) != 1:
        raise errors.InputError(
            "connector_info", "takes one argument", "the path of Vdsm's storage/managedvolume.py"
        )
    deadline = Deadline(CONNECTOR_INFO_SECONDS)
    with enforced(deadline, "connector_info to end", 0.0):
        busy_seconds = CONNECTOR_INFO_SECONDS / 10
        return documents.written(connector_info.of(config.root(), arguments[0], log, busy_seconds))


def _clear_way(host: attachments.HostSide, target: attachments.Target, volume: str) -> None:
    """Remove the volume's own run links that lead nowhere: Vdsm would fail over them."""
    from storpool_ovirt.host import run_links

    try:
        removed = run_links.remove_dangling(host.root, volume, target.global_id)
    except errors.Unseen as error:
        # What is wrong with its links Vdsm will say.
        host.log.line("dangling_links_not_seen", target=target, reason=error)
        return
    for name in removed:
        host.log.line("dangling_link_removed", link=name, target=target, global_id=target.global_id)


def _sweep(host: attachments.HostSide, attached: str) -> None:
    """Remove the run links of other volumes that lost their devices, and never fail, nor take long.

    A Vdsm that decides by the link whether a volume is attached would refuse it before it asks us;
    the row that is left it takes for an old one then. The row itself stays: Vdsm may be using it
    at this moment.
    """
    from storpool_ovirt.cluster import attachments, devices
    from storpool_ovirt.host import run_links

    limit = host.deadline.within(host.limits.sweep_seconds)
    try:
        lost = run_links.dangling(host.root)
    except errors.Error as error:
        host.log.line("dangling_links_not_seen", reason=error)
        return
    for volume, global_id in lost.items():
        if volume == attached or limit.remaining() <= 0:
            continue
        try:
            # Under its lock no device comes: what dangles then is used by nobody.
            with devices.locked(host, attachments.Target(global_id, None), 0.0):
                removed = run_links.remove_dangling(host.root, volume, global_id)
        except errors.Error as error:
            host.log.line("dangling_link_stays", volume=volume, global_id=global_id, reason=error)
        else:
            for name in removed:
                host.log.line(
                    "dangling_link_removed", link=name, target=volume, global_id=global_id
                )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise errors.InputError(
            f"data.{key}", "is missing or not a text", "Vdsm sends what connect_volume printed"
        )
    return value


def _checked(data: Mapping[str, Any], key: str, valid: bool, what: str) -> str:
    if not valid:
        raise errors.InputError(
            f"data.{key}", f"is not {what}", "Vdsm sends what connect_volume printed"
        )
    return _text(data, key)
