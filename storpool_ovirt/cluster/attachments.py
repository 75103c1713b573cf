"""What lives on hosts: attachments, made and undone one volume at a time, and never by force.

StorPool's list is the truth. The helper on a host calls `attach` and `detach`; Engine's side only
`release`s what is closed before it deletes, and waits for hosts after it has grown a volume.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable

from storpool_ovirt import errors, names, presence, rights
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log

LOCK_FOLDER = "/run/storpool-ovirt"
# Each look at whether a device is closed by now is a request to StorPool.
CLOSE_PAUSE_SECONDS = 0.5
# The kernel counts a block device's size in these, whatever its sectors are
# (Documentation/ABI/stable/sysfs-block).
SYSFS_SECTOR_BYTES = 512


@dataclass(frozen=True)
class Target:
    """A volume or snapshot to attach or detach.

    `name` helps where older releases list no global ids.
    """

    global_id: str
    name: str | None
    kind: str = "volume"

    def __str__(self) -> str:
        return f"{self.kind} {self.name or names.address(self.global_id)}"


@dataclass(frozen=True)
class HostSide:
    """What an attach needs of the host: who it is, where its folders are, and its time."""

    client_id: int
    root: str
    deadline: Deadline
    log: Log
    sleep: Callable[[float], None] = time.sleep
    lock_folder: str = LOCK_FOLDER
    limits: Limits = LIMITS


def attach(
    client: api.Client,
    host: HostSide,
    target: Target,
    access_mode: str,
    clear_way: Callable[[], None] = lambda: None,
) -> str:
    """Attach to this host, wait for the device and return its path as this host sees it;
    `access_mode` is rw or ro.

    `clear_way` is called under the lock, before anything is attached. Attaching what is attached
    already, with the same mode, is a success. Raises NotFound (volume or client), Conflict
    (attached here with the other mode), DeviceMissing, Unseen (the device cannot be looked at),
    Locked; after a failure nothing of it is left.
    """
    path = names.device_path(target.global_id)
    with locked(host, target):
        before = _here(client, host, target)
        if before is not None:
            # It may have been so a moment ago: what was not here is undone, and may have any mode
            client.be_current()
            before = _here(client, host, target)
        if before is not None and before.access_mode != access_mode:
            raise errors.Conflict(
                str(target),
                f"is attached to client {host.client_id} with mode {before.access_mode}, not"
                f" {access_mode}",
                "detach it first",
            )
        clear_way()
        try:
            item = {target.kind: names.address(target.global_id), access_mode: [host.client_id]}
            client.reassign([item], client.limits.attach_timeout_seconds, str(target))
            wait_for_device(host, target.global_id)
        except (errors.DeviceMissing, errors.Unseen):
            # Also where it was attached before: Vdsm forgets what has no path, so it would stay
            # attached for ever.
            _silent_detach(client, host, target)
            raise
        except BaseException:
            # Whatever it is, a bug, a signal: Vdsm is told that it failed, so nothing of it may
            # stay.
            if before is None:
                _silent_detach(client, host, target)
            raise
        if before is None:
            host.log.line(
                "attached",
                target=target,
                global_id=target.global_id,
                client=host.client_id,
                mode=access_mode,
            )
    return path


def detach(client: api.Client, host: HostSide, target: Target) -> None:
    """Detach from this host; what is not attached or does not exist is a success.

    Raises InUse when the device is still open after a short wait: a detach may come for the host
    where the VM runs (a migration that failed), so it is never forced. Conflict when the device is
    here all the same afterwards: this is not the host that StorPool means; NotFound when it does
    not know this client.
    """
    with locked(host, target):
        detach_within(client, host, target, host.limits.close_seconds)


def detach_within(client: api.Client, host: HostSide, target: Target, close_seconds: float) -> None:
    """Detach as `detach` does, for a caller who holds `locked`; an open device has `close_seconds`
    to be closed."""
    done = _try_detach(client, host, target, close_seconds)
    # To StorPool it is a success also where nothing was attached, and where a wrong SP_OURID names
    # another host.
    if stays(host, target, host.limits.device_seconds if done else host.limits.gone_seconds):
        raise still_here(target)
    if done:
        host.log.line("detached", target=target, global_id=target.global_id, client=host.client_id)


def stays(host: HostSide, target: Target, seconds: float = 0.0) -> bool:
    """Tell whether this host has a device of an object, also after so many seconds.

    Raises Unseen.
    """
    path = host.root + names.device_path(target.global_id)
    return all(presence.there(path) for _ in polls(host.deadline.within(seconds), host.sleep))


def still_here(target: Target) -> errors.Conflict:
    """Return the error for a device of which StorPool says that it is not attached here."""
    return errors.Conflict(
        str(target),
        "has a device here though StorPool has it detached from this client",
        "check SP_OURID and the cluster",
    )


def wait_for_size(client: api.Client, host: HostSide, target: Target) -> int:
    """Wait until the device on this host is as large as the volume is in StorPool, and return its
    size in bytes.

    Raises NotFound when it is not attached here, Unseen when the device cannot be looked at,
    DeadlineExceeded when this host does not see the new size in time.
    """
    client.be_current()  # somebody else has just let it grow
    expected = client.volume(names.address(target.global_id)).size_bytes
    path = host.root + names.device_path(target.global_id)
    limit = host.deadline.within(host.limits.device_seconds)
    for _ in polls(limit, host.sleep):
        size = _device_size(path)
        if size >= expected:
            return size
    raise errors.DeadlineExceeded(f"{path} to grow from {size} to {expected} bytes", limit.seconds)


def release(
    client: api.Client, targets: Sequence[Target], host_names: Mapping[int, str]
) -> list[api.Attachment]:
    """Detach these from every host in one atomic request, if all are closed; return what was
    attached.

    Raises InUse naming the hosts when one is open; nothing has changed then.
    """
    found = _held(client, targets)
    left = found
    for last in (False, False, True):
        items = [
            detach_item(target, [each.client_id for each in held])
            for target, held in left.items()
            if held
        ]
        if not items:
            break
        try:
            client.reassign(
                items, client.limits.attach_timeout_seconds, ", ".join(map(str, targets))
            )
        except errors.InUse as error:
            raise errors.InUse(error.name, _named(error.holders, host_names)) from error
        except (errors.Rejected, errors.Conflict):
            # A host may have let go by itself, which StorPool may take for an error: the list
            # decides, as it is now.
            if last:
                raise
            client.be_current()
            left = _held(client, targets)
        else:
            break
    return [attachment for held in found.values() for attachment in held]


def _held(client: api.Client, targets: Sequence[Target]) -> dict[Target, list[api.Attachment]]:
    listed = client.attachments()
    return {
        target: [each for each in listed if each.is_of(target.global_id, target.name)]
        for target in targets
    }


def detach_closed(client: api.Client, target: Target) -> tuple[list[int], list[int]]:
    """Detach this from each host where it is closed; return the clients that let go, and those
    where it is open."""
    client.be_current()
    gone: list[int] = []
    still: list[int] = []
    for client_id in holders(client, target):
        try:
            item = detach_item(target, [client_id])
            client.reassign([item], client.limits.attach_timeout_seconds, str(target))
        except errors.InUse:
            still.append(client_id)
        except (errors.Rejected, errors.Conflict):
            client.be_current()
            if client_id in holders(client, target):
                raise
            gone.append(client_id)  # it has let go by itself
        else:
            gone.append(client_id)
    return gone, still


def holders(client: api.Client, target: Target) -> list[int]:
    """Return the clients that have this attached, open or closed."""
    return [
        each.client_id for each in client.attachments() if each.is_of(target.global_id, target.name)
    ]


def wait_for_device(host: HostSide, global_id: str) -> None:
    """Wait for the device node of an object on this host; raise DeviceMissing when it does not come
    in time.

    Unseen, at once, where nobody can tell whether it is there: waiting mends no folder.
    """
    path = host.root + names.device_path(global_id)
    for _ in polls(host.deadline.within(host.limits.device_seconds), host.sleep):
        if presence.there(path):
            return
    raise errors.DeviceMissing(path, host.limits.device_seconds)


def wait_for_hosts(client: api.Client, generation: int, target: Target) -> list[int]:
    """Wait until every running host that has this attached knows the configuration of `generation`.

    Returns the clients that are down and do not know it: they may have it attached. One question
    to all clients is enough where the running ones are up to date; only else it is asked who has
    the volume.
    """
    behind = _behind(client.clients(), generation)
    running = {each.client_id for each in behind if each.status != api.DOWN}
    if running:
        for client_id in sorted(running.intersection(holders(client, target))):
            client.client_wait(client_id)
    return sorted(each.client_id for each in behind if each.status == api.DOWN)


def detach_item(target: Target, client_ids: Sequence[int]) -> dict[str, object]:
    """Return the item of a reassign that detaches this from clients where it is closed
    (`storpool.sptypes`)."""
    return {
        target.kind: names.address(target.global_id),
        "detach": list(client_ids),
        "force": False,
    }


def _behind(clients: Sequence[api.ClientStatus], generation: int) -> list[api.ClientStatus]:
    return [each for each in clients if each.client_generation < generation]


def _try_detach(client: api.Client, host: HostSide, target: Target, close_seconds: float) -> bool:
    """Return whether there was anything to detach; wait a little for a device that is about to be
    closed."""
    item = detach_item(target, [host.client_id])
    still_open: errors.InUse | None = None
    for _ in polls(host.deadline.within(close_seconds), host.sleep, CLOSE_PAUSE_SECONDS):
        try:
            client.reassign([item], client.limits.attach_timeout_seconds, str(target))
        except errors.NotFound as missing:
            if missing.kind == "client":
                raise  # who this host is, is wrong: that tells nothing of the volume
            return False
        except errors.InUse as error:
            still_open = error
        except (errors.Rejected, errors.Conflict):
            # Whether a detach of what is not attached is an error is not documented: the list
            # decides, as it is now.
            client.be_current()
            if _here(client, host, target) is not None:
                raise
            return False
        else:
            return True
    holders = (still_open and still_open.holders) or (f"client {host.client_id}",)
    raise errors.InUse(str(target), holders) from still_open


def _silent_detach(client: api.Client, host: HostSide, target: Target) -> None:
    host.deadline.extend(host.limits.undo_seconds)
    try:
        undone = _try_detach(client, host, target, host.limits.close_seconds)
    except Exception as error:  # silent: the first failure is the one that is told
        host.log.line("attach_not_undone", target=target, client=host.client_id, reason=error)
    else:
        host.log.line("attach_undone", target=target, client=host.client_id, was_attached=undone)


def _here(client: api.Client, host: HostSide, target: Target) -> api.Attachment | None:
    for each in client.attachments():
        if each.client_id == host.client_id and each.is_of(target.global_id, target.name):
            return each
    return None


def _device_size(path: str) -> int:
    """Return the size of a device in bytes without opening it: an open device could not be detached
    meanwhile."""
    try:
        status = os.stat(path)
        if not stat.S_ISBLK(status.st_mode):
            return status.st_size
        device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        with open(f"/sys/dev/block/{device}/size", "rb") as file:
            return int(file.read()) * SYSFS_SECTOR_BYTES
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.NotFound("device", path, "on this host: attach the volume first") from error
    except OSError as error:
        raise presence.unseen(path, error) from error


@contextmanager
def locked(host: HostSide, target: Target, seconds: float | None = None) -> Iterator[None]:
    """Hold this volume against other attaches and detaches on this host: Vdsm itself has no lock.

    Raises Locked when another one does not end within `seconds` (the host's limit where none is
    given), ConfigError when there can be no lock.
    """
    seconds = host.limits.lock_seconds if seconds is None else seconds
    folder = host.root + host.lock_folder
    try:
        file = rights.private(folder, f"{target.global_id}.lock")
    except OSError as error:
        raise errors.ConfigError(
            f"the folder of locks {folder}", f"cannot be used ({error.strerror})"
        ) from error
    try:
        if not any(_taken(file) for _ in polls(host.deadline.within(seconds), host.sleep)):
            raise errors.Locked(f"{target} on this host", seconds)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    """Take the lock of an open file, and return whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _named(holders: Sequence[str], host_names: Mapping[int, str]) -> tuple[str, ...]:
    known = {
        f"client {client_id}": f"client {client_id} ({name})"
        for client_id, name in host_names.items()
    }
    return tuple(known.get(holder, holder) for holder in holders)
