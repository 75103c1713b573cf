"""One writer: disks are taken away from other hosts, or from a lost one.  The only place that ever sends `force`.

A start of a VM is the one moment at which its disks may have no other host: Engine starts a VM elsewhere after a host
was lost, and nobody takes the disk from that host (docs/fencing.md).  StorPool does it in one atomic request: an item
with `detach: "all"`, `rw: [me]` and `force` makes this host the only one (`storpool.sptypes.VolumeReassignDesc`; so do
StorPool's plugin for Proxmox VE and its patches for Nova at a start).
"""

from __future__ import annotations

from collections.abc import Sequence

from storpool_ovirt import api, attachments, errors, names

# A client that runs learns in milliseconds that a disk was taken from it; one that hangs is soon said to be down.
BEHIND_SECONDS = 10.0
DOWN = "down"


def take(client: api.Client, host: attachments.HostSide, targets: Sequence[attachments.Target]) -> list[api.Attachment]:
    """Make this host the only one that has these volumes, read-write, and return what others had until then.

    All or nothing; the devices are here on return.  Raises ClientDown or DeviceMissing before anything is taken when
    it is seen that this host could not use them; Conflict when somebody has one afterwards, DeadlineExceeded when a
    running client has not learnt in time that it lost one, DeviceMissing where a device was attached only now.
    """
    _check_up(client, host.client_id)
    before = _held(client, targets)
    for target in targets:
        if any(each.client_id == host.client_id and each.is_of(target.global_id, target.name) for each in before):
            attachments.wait_for_device(host, target.global_id)
    others = [each for each in before if each.client_id != host.client_id]
    items = [_only_here(target, host.client_id) for target in targets]
    client.reassign(items, attachments.ATTACH_TIMEOUT_SECONDS, ", ".join(map(str, targets)))
    _check_alone(client, host.client_id, targets)
    for each in others:
        host.log.line("taken", volume=each.name, global_id=each.global_id, client=each.client_id, by=host.client_id)
    _wait_for_losers(client, host, sorted({each.client_id for each in others}))
    for target in targets:
        attachments.wait_for_device(host, target.global_id)
    return others


def expel(client: api.Client, client_id: int, targets: Sequence[attachments.Target]) -> None:
    """Take these from a client by force, open or not, all in one request; none of them is there any more on return.

    Raises Conflict when one is.
    """
    if targets:
        items = [{each.kind: names.address(each.global_id), "detach": [client_id], "force": True} for each in targets]
        client.reassign(items, attachments.ATTACH_TIMEOUT_SECONDS, f"everything of client {client_id}")
    left = [each for each in _held(client, targets) if each.client_id == client_id]
    if left:
        raise errors.Conflict(
            f"client {client_id}", f"still has {', '.join(each.name for each in left)}", "run it again"
        )


def target(client: api.Client, global_id: str, uuid: str | None, openstack_prefix: str) -> attachments.Target | None:
    """Return the volume of a VM that may be taken from others; None for a snapshot, and for what is not oVirt's.

    `uuid` is the id that oVirt has for it.  Raises Foreign when it was made for something else, NotFound.
    """
    try:
        there = client.volume(names.address(global_id))
    except errors.NotFound:
        if client.snapshot(names.address(global_id)).dying:
            raise
        return None  # nobody can write to it
    made_for = names.ovirt_id(there.name, there.tags, openstack_prefix)
    if uuid is not None and made_for != uuid:
        whose = f"was made for {made_for}" if made_for else "carries no tags of oVirt"
        raise errors.Foreign(
            f"{there.kind} {there.name} (~{there.global_id})", f"is the disk {uuid} of this VM but {whose}",
            "nothing was taken from anybody, see storpool-ovirt audit",
        )  # fmt: skip
    return attachments.Target(global_id, there.name) if made_for is not None else None


def _only_here(target: attachments.Target, client_id: int) -> dict[str, object]:
    return {target.kind: names.address(target.global_id), "rw": [client_id], "detach": "all", "force": True}


def _held(client: api.Client, targets: Sequence[attachments.Target]) -> list[api.Attachment]:
    listed = client.attachments()
    return [each for each in listed if any(each.is_of(target.global_id, target.name) for target in targets)]


def _check_up(client: api.Client, client_id: int) -> None:
    status = next((each.status for each in client.clients() if each.client_id == client_id), None)
    if status is None:
        raise errors.NotFound("client", str(client_id), f"in the StorPool cluster at {client.address}: check SP_OURID")
    if status == DOWN:
        raise errors.ClientDown(client_id)


def _check_alone(client: api.Client, client_id: int, targets: Sequence[attachments.Target]) -> None:
    """Read back who has what: the list is the truth, whatever was answered."""
    held = _held(client, targets)
    for target in targets:
        has = [(each.client_id, each.access_mode) for each in held if each.is_of(target.global_id, target.name)]
        if has != [(client_id, "rw")]:
            told = ", ".join(f"client {number} ({mode})" for number, mode in has) or "nobody"
            raise errors.Conflict(
                str(target),
                f"should be client {client_id}'s alone, but {told} has it",
                "somebody attaches it too",
            )


def _wait_for_losers(client: api.Client, host: attachments.HostSide, losers: Sequence[int]) -> None:
    """Wait until each client that lost something knows it, or is down: a client that hangs may believe otherwise."""
    if not losers:
        return
    waiting = host.deadline.within(BEHIND_SECONDS)
    while True:
        clients = client.clients()
        newest = max((each.client_generation for each in clients), default=0)
        behind = [
            each.client_id for each in clients
            if each.client_id in losers and each.status != DOWN and each.client_generation < newest
        ]  # fmt: skip
        if not behind:
            return
        if waiting.remaining() <= 0:
            who = ", ".join(f"client {client_id}" for client_id in behind)
            raise errors.DeadlineExceeded(f"{who} to learn that its disks were taken away", waiting.seconds)
        host.sleep(attachments.POLL_SECONDS)
