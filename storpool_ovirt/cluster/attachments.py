"""What lives on hosts: attachments, made and undone one volume at a time, and never by force.

StorPool's list is the truth. The helper on a host calls `attach` and `detach`; Engine's side only
`release`s what is closed before it deletes, and waits for hosts after it has grown a volume.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, devices, held, several
from storpool_ovirt.cluster.devices import HostSide, Target
from storpool_ovirt.deadline import polls
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Callable

__all__ = ["HostSide", "Target"]

# Each look at whether a device is closed by now is a request to StorPool.
CLOSE_PAUSE_SECONDS = 0.5


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
    with devices.locked(host, target):
        before = _here(client, host, target)
        if before is not None:
            # The list may be a moment old.  Whether it is attached here decides what an undo does,
            # and whether the mode fits.
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
            devices.wait_for_device(host, target.global_id)
        except (errors.DeviceMissing, errors.Unseen):
            # Also where it was attached before: Vdsm forgets what has no path, so it would stay
            # attached for ever.
            _silent_detach(client, host, target)
            raise
        except BaseException:
            # A bug or a signal too: Vdsm hears that it failed, so nothing of it may stay.
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
    with devices.locked(host, target):
        detach_within(client, host, target, host.limits.close_seconds)


def detach_within(client: api.Client, host: HostSide, target: Target, close_seconds: float) -> None:
    """Detach as `detach` does, for a caller who holds `locked`; an open device has `close_seconds`
    to be closed."""
    done, meant = _let_go(client, host, target, close_seconds)
    # StorPool calls it a success too where nothing was attached, and where a wrong SP_OURID names
    # another host.
    seconds = host.limits.device_seconds if done else host.limits.gone_seconds
    for each in meant:
        if devices.stays(host, each, seconds):
            raise devices.still_here(each)
    if done:
        host.log.line("detached", target=target, global_id=target.global_id, client=host.client_id)


def release(
    client: api.Client,
    targets: Sequence[Target],
    host_names: Mapping[int, str],
    check: Callable[[Sequence[api.Attachment]], None] = lambda _: None,
) -> list[api.Attachment]:
    """Detach these from every host in one atomic request, if all are closed; return what was
    attached. `check` is given that before anything is detached, and may raise.

    Raises InUse naming the hosts when one is open, Conflict when one has got another id just now;
    nothing has changed then.
    """
    found = _held(client, targets)
    if _drifted(found):
        client.be_current()  # that list may be of before a revert
        found = _held(client, targets)
    for target, each in _drifted(found):
        raise errors.Conflict(
            str(target),
            f"is attached to client {each.client_id} as ~{each.global_id}, not as"
            f" ~{target.global_id}",
            "it was reverted just now, or something else has its name: try again",
        )
    check([each for attached in found.values() for each in attached])
    left = found
    for last in (False, False, True):
        items = [
            detach_item(target, [each.client_id for each in attached])
            for target, attached in left.items()
            if attached
        ]
        if not items:
            break
        try:
            client.reassign(
                items, client.limits.attach_timeout_seconds, ", ".join(map(str, targets))
            )
        except errors.InUse as error:
            raise errors.InUse(error.name, _named(error.openers, host_names)) from error
        except (errors.Rejected, errors.Conflict):
            # A host may have detached it by itself, and StorPool may take that for an error: the
            # list of now decides.
            if last:
                raise
            client.be_current()
            left = _held(client, targets)
        else:
            break
    return [attachment for attached in found.values() for attachment in attached]


def _held(client: api.Client, targets: Sequence[Target]) -> dict[Target, list[api.Attachment]]:
    found = held.Held(targets, client.attachments())
    return {target: found.of(target) for target in targets}


def _drifted(
    found: Mapping[Target, Sequence[api.Attachment]],
) -> list[tuple[Target, api.Attachment]]:
    """Return what is attached under the name of one of these, and under another id."""
    return [
        (target, each)
        for target, attached in found.items()
        for each in attached
        if not each.is_of(target.global_id, target.name)
    ]


def detach_closed(client: api.Client, target: Target) -> tuple[list[int], list[int]]:
    """Detach this from each host where it is closed; return the clients that let go, and those
    where it is open."""
    client.be_current()
    gone: list[int] = []
    still: list[int] = []
    for client_id in clients_of(client, target):
        try:
            item = detach_item(target, [client_id])
            client.reassign([item], client.limits.attach_timeout_seconds, str(target))
        except errors.InUse:
            still.append(client_id)
        except (errors.Rejected, errors.Conflict):
            client.be_current()
            if client_id in clients_of(client, target):
                raise
            gone.append(client_id)  # it has let go by itself
        else:
            gone.append(client_id)
    return gone, still


def clients_of(client: api.Client, target: Target) -> list[int]:
    """Return the clients that have this attached, open or closed."""
    return [each.client_id for each in held.of([target], client.attachments())]


def wait_for_hosts(client: api.Client, generation: int, target: Target) -> list[int]:
    """Wait until every running host that has this attached knows the configuration of `generation`.

    Returns the clients that are down and do not know it: they may have it attached. Where the
    running clients are up to date, one question to all of them is enough; only else StorPool's list
    of attachments is read.
    """
    if not client.has_several:
        return _wait_within(client, generation, lambda: clients_of(client, target))
    pending: list[int] = []
    for cluster_id, there in several.clients_by_cluster(clients_of(client, target)).items():
        # The generation of an answer may be another cluster's: each is asked for its own of now.
        down = _wait_within(client.of_hosts(cluster_id), 0, [*map(int, there)].copy)
        pending += [each for each in there if int(each) in down]
    return pending


def _wait_within(
    client: api.Client, generation: int, holders: Callable[[], Iterable[int]]
) -> list[int]:
    late, _ = behind(client, generation)
    running = {each.client_id for each in late if each.status != api.DOWN}
    if running:
        for client_id in sorted(running.intersection(holders())):
            client.client_wait(client_id)
    return sorted(each.client_id for each in late if each.status == api.DOWN)


def behind(client: api.Client, generation: int) -> tuple[list[api.ClientStatus], int]:
    """Return the clients, also those that are down, that do not know the configuration of
    `generation`, and that generation.

    0 stands for the cluster's of now.
    """
    clients = client.clients()
    generation = generation or max((each.generation for each in clients), default=0)
    return [each for each in clients if each.client_generation < generation], generation


def detach_item(target: Target, client_ids: Sequence[int]) -> dict[str, object]:
    """Return the item of a reassign that detaches this from clients where it is closed
    (`storpool.sptypes`)."""
    return {
        target.kind: names.address(target.global_id),
        "detach": list(client_ids),
        "force": False,
    }


def _let_go(
    client: api.Client, host: HostSide, target: Target, close_seconds: float
) -> tuple[bool, list[Target]]:
    """Detach from this host; return whether there was anything to detach, and as what it was known.

    StorPool may know no such id although it is attached here: a revert gave it another one.
    """
    done = _try_detach(client, host, target, close_seconds)
    if done is not None:
        return done, [target]

    from storpool_ovirt.cluster import identity  # hardly any detach needs it

    uuid = names.uuid_of(target.name or "")
    tags = {names.TAG_PLATFORM: names.PLATFORM, names.TAG_UUID: uuid} if uuid else {}
    known = identity.Known(target.kind, target.global_id, target.name, tags)
    there = identity.attached_as(client, host.client_id, known)
    if there is None:
        return False, [target]
    host.log.line("has_another_id", target=target, global_id=target.global_id, now=there.global_id)
    now = Target(there.global_id, there.name, there.kind)
    return bool(_try_detach(client, host, now, close_seconds)), [target, now]


def _try_detach(
    client: api.Client, host: HostSide, target: Target, close_seconds: float
) -> bool | None:
    """Return whether there was anything to detach, None when StorPool knows no such object; wait a
    little for a device that is about to be closed."""
    item = detach_item(target, [host.client_id])
    still_open: errors.InUse | None = None
    for _ in polls(host.deadline.within(close_seconds), host.sleep, CLOSE_PAUSE_SECONDS):
        try:
            client.reassign([item], client.limits.attach_timeout_seconds, str(target))
        except errors.NotFound as missing:
            if missing.kind == "client":
                raise  # SP_OURID is wrong: that says nothing about the volume
            return None
        except errors.InUse as error:
            still_open = error
        except (errors.Rejected, errors.Conflict):
            # It is not documented whether StorPool takes a detach of what is not attached for an
            # error: the list of now decides.
            client.be_current()
            if _here(client, host, target) is not None:
                raise
            return False
        else:
            return True
    openers = (still_open and still_open.openers) or (f"client {host.client_id}",)
    raise errors.InUse(str(target), openers) from still_open


def _silent_detach(client: api.Client, host: HostSide, target: Target) -> None:
    host.deadline.extend(host.limits.undo_seconds)
    try:
        undone, _ = _let_go(client, host, target, host.limits.close_seconds)
    except Exception as error:  # silent: the first failure is the one that is raised
        host.log.line("attach_not_undone", target=target, client=host.client_id, reason=error)
    else:
        host.log.line("attach_undone", target=target, client=host.client_id, was_attached=undone)


def _here(client: api.Client, host: HostSide, target: Target) -> api.Attachment | None:
    found = held.of([target], client.attachments())
    return next((each for each in found if each.client_id == host.client_id), None)


def _named(openers: Sequence[str], host_names: Mapping[int, str]) -> tuple[str, ...]:
    known = {
        f"client {client_id}": f"client {client_id} ({name})"
        for client_id, name in host_names.items()
    }
    return tuple(known.get(opener, opener) for opener in openers)
