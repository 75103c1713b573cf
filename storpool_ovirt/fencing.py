"""One writer: disks are taken away from other hosts, or from a lost one.  The only place that ever sends `force`.

A start of a VM is the one moment at which its disks may have no other host: Engine starts a VM elsewhere after a host
was lost, and nobody takes the disk from that host (docs/fencing.md).  StorPool does it in one atomic request: an item
with `detach: "all"`, `rw: [me]` and `force` makes this host the only one (`storpool.sptypes.VolumeReassignDesc`; so do
StorPool's plugin for Proxmox VE and its patches for Nova at a start).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storpool_ovirt import api, attachments, errors, log, names

# A client that runs learns in milliseconds that a disk was taken from it; one that hangs is soon said to be down.
BEHIND_SECONDS = 10.0
DOWN = "down"
# An object may go away between a list and the next request: so often it is looked again.
LOOKS = 3
SHOWN = 3  # objects that an error names


@dataclass(frozen=True)
class Held:
    """An object of oVirt's that a client has: `uuid` is oVirt's id for it, `access_mode` rw or ro."""

    target: attachments.Target
    uuid: str
    access_mode: str

    def __str__(self) -> str:
        return f"{self.target.kind} {self.uuid} ({names.address(self.target.global_id)}, {self.access_mode})"


@dataclass(frozen=True)
class Seen:
    """What a client has at one moment: oVirt's objects, and the names of others'.

    `status` is StorPool's word for the client (`storpool.sptypes.ClientConfigStatus`), None where it knows no such one.
    """

    client_id: int
    status: str | None
    ours: tuple[Held, ...]
    others: tuple[str, ...]

    @property
    def may_run(self) -> bool:
        """Whether VMs may run on that host: only what StorPool says to be down is taken for down."""
        return self.status != DOWN


@dataclass(frozen=True)
class Cleared:
    """What `clear` did: what it took, what was let go of by others meanwhile, and how the client is now."""

    taken: tuple[Held, ...]
    vanished: tuple[Held, ...]
    now: Seen


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
        _tear_off(client, client_id, targets)
    left = [each for each in _held(client, targets) if each.client_id == client_id]
    if left:
        raise errors.Conflict(
            f"client {client_id}", f"still has {', '.join(each.name for each in left)}", "run it again"
        )


def status(client: api.Client, client_id: int) -> str | None:
    """Return StorPool's word for how a client is, None for one that it does not know."""
    return next((each.status for each in client.clients() if each.client_id == client_id), None)


def look(client: api.Client, client_id: int, openstack_prefix: str) -> Seen:
    """Tell how a client is and what it has; changes nothing.

    Its status is read first, so what a client attaches that has just come up is in the list.
    """
    word = status(client, client_id)
    for attempt in range(LOOKS):
        listed = [each for each in client.attachments() if each.client_id == client_id]
        objects = [*client.volumes(), *client.snapshots()] if listed else []
        found = {**{each.name: each for each in objects}, **{names.address(each.global_id): each for each in objects}}
        pairs = [(each, found.get(names.address(each.global_id) if each.global_id else each.name)) for each in listed]
        if all(there for _, there in pairs) or attempt == LOOKS - 1:
            break  # else it was renamed or deleted between the two lists
    held = [(each, there, _owner(there, openstack_prefix)) for each, there in pairs]
    ours = [
        Held(attachments.Target(there.global_id, there.name, there.kind), uuid, each.access_mode)
        for each, there, uuid in held
        if there and uuid
    ]
    return Seen(client_id, word, tuple(ours), tuple(each.name for each, _, uuid in held if not uuid))


def clear(client: api.Client, seen: Seen, openstack_prefix: str, journal: log.Log) -> Cleared:
    """Take everything of oVirt's from a client by force, shareable disks too; what is others' stays.

    `seen` is the look on which it was decided.  One request for all; where that is refused, as one has just been
    deleted or detached, one for each.  On return the list, not an answer, says that nothing of oVirt's is there.
    Raises Conflict when something is: it was attached meanwhile, or StorPool refuses, or the client was down and runs.
    """
    client_id, now = seen.client_id, seen
    taken: list[Held] = []
    refused: errors.Error | None = None
    for attempt in range(LOOKS):
        if not now.ours or now.may_run > seen.may_run:
            break
        batches = [[each] for each in now.ours] if attempt else [list(now.ours)]
        refused = _tear_off_all(client, client_id, batches, journal, taken)
        now = look(client, client_id, openstack_prefix)
        if refused is None:
            break
    if now.ours:
        came_back = now.may_run > seen.may_run
        why = f"StorPool refused to take it ({refused})" if refused else "somebody attached it meanwhile"
        advice = "it answers StorPool again: look at that host before you try again" if came_back else "run it again"
        raise errors.Conflict(f"client {client_id}", f"still has {_some(now.ours)}", f"{why}, {advice}")
    return Cleared(tuple(taken), tuple(each for each in seen.ours if each not in taken), now)


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


def _tear_off(client: api.Client, client_id: int, targets: Sequence[attachments.Target]) -> None:
    items = [{each.kind: names.address(each.global_id), "detach": [client_id], "force": True} for each in targets]
    client.reassign(items, attachments.ATTACH_TIMEOUT_SECONDS, _some([each.name or each for each in targets]))


def _some(things: Sequence[object]) -> str:
    return ", ".join(map(str, things[:SHOWN])) + (" ..." if len(things) > SHOWN else "")


def _tear_off_all(
    client: api.Client, client_id: int, batches: Sequence[Sequence[Held]], journal: log.Log, taken: list[Held]
) -> errors.Error | None:
    """Take these, a request for each batch; return the last refusal: only the list tells whether it matters."""
    refused = None
    for batch in batches:
        try:
            _tear_off(client, client_id, [each.target for each in batch])
        except (errors.NotFound, errors.Rejected, errors.Conflict, errors.InUse) as error:
            refused = error
            continue
        taken += batch
        for each in batch:
            facts = {"volume": each.target.name, "global_id": each.target.global_id, "uuid": each.uuid}
            journal.line("taken", **facts, client=client_id)
    return refused


def _owner(there: api.Volume | None, openstack_prefix: str) -> str | None:
    """Return oVirt's id for it; None for others', for what is in no list, and for a snapshot that is being deleted."""
    if there is None or there.dying:
        return None
    return names.ovirt_id(there.name, there.tags, openstack_prefix)


def _only_here(target: attachments.Target, client_id: int) -> dict[str, object]:
    return {target.kind: names.address(target.global_id), "rw": [client_id], "detach": "all", "force": True}


def _held(client: api.Client, targets: Sequence[attachments.Target]) -> list[api.Attachment]:
    listed = client.attachments()
    return [each for each in listed if any(each.is_of(target.global_id, target.name) for target in targets)]


def _check_up(client: api.Client, client_id: int) -> None:
    word = status(client, client_id)
    if word is None:
        raise errors.NotFound("client", str(client_id), f"in the StorPool cluster at {client.address}: check SP_OURID")
    if word == DOWN:
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
    newest = 0
    while True:
        clients = client.clients()
        # What comes later need not be waited for: in a busy cluster there is always something.
        newest = newest or max((each.client_generation for each in clients), default=0)
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
