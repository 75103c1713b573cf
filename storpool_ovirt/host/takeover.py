"""A start: a host makes the disks of a VM its own alone, before the guest runs.

StorPool does it in one atomic request (`force.only_here`). Whatever cannot be proved, before or
after it, is an error, and the VM must not start: docs/fencing.md has the reason for the order of
the steps. A plug is in `plug.py`.
"""

from __future__ import annotations

import itertools

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import (
    api,
    attachments,
    devices,
    force,
    held,
    several,
    sharing,
)
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.host import vm_disks, vm_policy
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST_PAUSE_SECONDS = 0.5


class StartResult(NamedTuple):
    """What a start or a plug did: what it made this host's own, and the global ids of the rest."""

    targets: Sequence[attachments.Target]
    left_alone: Sequence[str]


def take(
    client: api.Client,
    host: attachments.HostSide,
    disks: vm_disks.Pairs,
    openstack_prefix: str,
    wished: vm_policy.Wish = vm_policy.NOTHING,
) -> StartResult:
    """Make this host the only one that has these disks (each with its global id), read-write; all
    of them or none.

    The client must be current (`api.Client.be_current`). Shareable disks, snapshots and what is
    others' are left alone, but must be what the VM means too. The devices are here on return. The
    XML of a start is right about what is shareable, and so will be the mark (`sharing.py`) and, as
    far as they can be set, the tags that are `wished` for the VM. Raises
    Foreign, NotFound, ClientDown, DeviceMissing, Conflict before anything is changed; afterwards
    Conflict when somebody has one, DeadlineExceeded when a client that lost one has not learnt it
    in time.
    """
    vm_disks.check_each_once(disks)
    all_found = vm_disks.candidates(client, disks, openstack_prefix)
    single = [found for found in all_found if not found.is_wanted_shared]
    if single:
        check_up(client, host.client_id)
    before = _held_before(client, single)
    for found in single:
        if not found.proved:
            check_nobody_else(host.client_id, found.target, before)
    proved = [found for found in single if found.proved]
    for found in proved:
        check_here(host, found.target, before)
    for found in proved:
        sharing.unmark(client, found.there, host.log)
    targets = [found.target for found in proved]
    if targets:
        _take(client, host, targets, before)
    shared = [found for found in all_found if found.is_wanted_shared and found.proved]
    here = _changed_here(client, host, wished, shared)
    vm_policy.silent_follow(
        client,
        host,
        wished,
        alone=[found.there for found in proved],
        not_its=[found.there for found in here],
    )
    for found in here:
        sharing.silent_mark(client, found.there, host.log)
    return result(targets, disks)


def _changed_here(
    client: api.Client,
    host: attachments.HostSide,
    wished: vm_policy.Wish,
    shared: Sequence[vm_disks.Candidate],
) -> list[vm_disks.Candidate]:
    """Return which of the shareable disks do not say so yet, or say something of a VM, and are
    attached to this host: what is not, no VM of it has, and its tags are others' matter."""
    different = [
        found
        for found in shared
        if not names.is_shared(found.there.tags) or vm_policy.differs_apart(wished, found.there)
    ]
    if not different:
        return []
    attached = _held_before(client, different)
    return [
        found
        for found in different
        if any(each.client_id == host.client_id for each in attached.of(found.target))
    ]


def _held_before(client: api.Client, found: Sequence[vm_disks.Candidate]) -> held.Held:
    targets = [each.target for each in found]
    return held.Held(targets, client.attachments() if targets else ())


def result(targets: Sequence[attachments.Target], disks: vm_disks.Pairs) -> StartResult:
    """Return what was made this host's own, and what of these disks was not."""
    kept = {target.global_id for target in targets}
    taken = {disk.path for global_id, disk in disks if global_id in kept}
    return StartResult(targets, [global_id for global_id, disk in disks if disk.path not in taken])


def check_up(client: api.Client, client_id: int) -> None:
    """Raise NotFound when StorPool does not know this host's client, ClientDown when it has no
    contact with it."""
    word = force.status(client, client_id)
    if word is None:
        raise errors.NotFound(
            "client", str(client_id), f"in the StorPool cluster at {client.address}: check SP_OURID"
        )
    if word == api.DOWN:
        raise errors.ClientDown(client_id)


def check_nobody_else(client_id: int, target: attachments.Target, before: held.Held) -> None:
    """Raise Foreign when others have what may be anybody's."""
    others = sorted({each.client_id for each in before.of(target)} - {client_id})
    if others:
        raise errors.Foreign(
            str(target),
            f"is attached to {names.clients(others)} too, and neither its tags nor the VM tell"
            " whose it is",
            "detach it there, or mark the disk as shareable",
        )


def check_here(host: attachments.HostSide, target: attachments.Target, before: held.Held) -> None:
    """See that this host can use a volume before it is taken from anybody.

    It was attached here just now: where it is not any more, somebody took it, and may run the VM.
    """
    check_attached(host.client_id, target, before)
    devices.wait_for_device(host, target.global_id)


def check_attached(client_id: int, target: attachments.Target, now: held.Held) -> None:
    """Raise Conflict when a client does not have a volume any more; it must be certain that it has
    it."""
    if not any(each.client_id == client_id for each in now.certain(target)):
        raise errors.Conflict(
            str(target),
            f"is not attached to client {client_id} any more",
            "somebody took it: start the VM again",
        )


def _take(
    client: api.Client,
    host: attachments.HostSide,
    targets: Sequence[attachments.Target],
    before: held.Held,
) -> None:
    lost = [each for each in held.of(targets, before.all) if each.client_id != host.client_id]
    limit = host.deadline.within(host.limits.loser_seconds)  # StorPool may wait for them itself
    generation = _request(client, host, targets, lost)
    for each in lost:
        host.log.line(
            "taken",
            volume=each.name,
            global_id=each.global_id,
            client=each.client_id,
            by=host.client_id,
        )
    losers = {each.client_id for each in lost}
    if any(isinstance(each, api.RemoteClient) for each in losers):
        losers |= _take_elsewhere(client, targets)
    check_alone(client, host, targets)
    wait_for_clients(client, host, generation, losers, limit)
    for target in targets:
        devices.wait_for_device(host, target.global_id)


def _take_elsewhere(client: api.Client, targets: Sequence[attachments.Target]) -> set[int]:
    """Take what other clusters' clients still have, and return these: whether `detach: all` is
    meant for them too is not documented."""
    left = held.Held(targets, client.attachments())
    items = [
        force.torn_off(target, [each.client_id])
        for target in targets
        for each in left.of(target)
        if isinstance(each.client_id, api.RemoteClient)
    ]
    if items:
        client.reassign(items, force.NO_WAIT, force.some(targets), repeat=False)
    return {each.client_id for each in left.all if isinstance(each.client_id, api.RemoteClient)}


def _request(
    client: api.Client,
    host: attachments.HostSide,
    targets: Sequence[attachments.Target],
    lost: Sequence[api.Attachment],
) -> int:
    """Send the request until its effect is seen; return the cluster's generation, 0 where that was
    not in the answer.

    After a lost answer the list decides, and after an error too that may only mean that StorPool
    has waited for a client in vain. A client that has a volume now, and did not have it before,
    came after us and keeps it.
    """
    items = [force.only_here(target, host.client_id) for target in targets]
    patience = host.deadline.within(host.limits.retry_seconds)
    for attempt in itertools.count():
        try:
            return client.reassign(
                items, client.limits.attach_timeout_seconds, force.some(targets), repeat=False
            )
        except errors.ApiUnavailable:
            if patience.remaining() <= 0:
                raise
            client.pause(attempt)
            client.be_current()  # what is looked at must not be from before that request
        except errors.Rejected:
            if not lost:
                raise
            client.be_current()
            if not _is_alone(_held_now(client, targets), targets, host.client_id):
                raise
            return 0
        now = _held_now(client, targets)
        if _is_alone(now, targets, host.client_id):
            return 0
        _check_no_newcomer(now.all, lost, host.client_id)
        for target in targets:
            # Whether our request took effect or not, it is still here, but for somebody who came
            # after us.
            check_attached(host.client_id, target, now)
    raise AssertionError("unreachable: the loop has no end")


def _check_no_newcomer(
    now: Sequence[api.Attachment], lost: Sequence[api.Attachment], client_id: int
) -> None:
    for each in now:
        if each.client_id != client_id and not any(_is_one(each, one) for one in lost):
            raise errors.Conflict(
                f"volume {each.name}",
                f"was attached to client {each.client_id} while it was taken for this host",
                "the VM may run there: nothing more is taken",
            )


def _is_one(each: api.Attachment, other: api.Attachment) -> bool:
    """Return whether two lists show the same attachment: the name stays over a revert, and the id
    over a rename."""
    is_same_id = each.global_id is not None and each.global_id == other.global_id
    return each.client_id == other.client_id and (is_same_id or each.name == other.name)


def check_alone(
    client: api.Client, host: attachments.HostSide, targets: Sequence[attachments.Target]
) -> None:
    """Raise Conflict unless this host alone has these: the list is the truth, whatever was
    answered."""
    for _ in _looks(host, host.limits.list_seconds):
        now = _held_now(client, targets)
        if _is_alone(now, targets, host.client_id):
            return
    for target in targets:
        has = now.of(target)
        if not _is_alones(has, host.client_id):
            told = (
                ", ".join(f"client {each.client_id} ({each.access_mode})" for each in has)
                or "nobody"
            )
            raise errors.Conflict(
                str(target),
                f"should be client {host.client_id}'s alone, but those who have it are: {told}",
                "it was taken, and somebody attaches it too; see storpool-ovirt attachments",
            )


def wait_for_clients(
    client: api.Client,
    host: attachments.HostSide,
    generation: int,
    losers: set[int],
    limit: Deadline | None = None,
) -> None:
    """Wait until each client that runs knows of the change: one that hangs may believe that it
    still has the disks.

    StorPool may have waited for them itself; whether it does differs, so it is asked all the same.
    The `limit` is one that began before the request, else from now. Raises DeadlineExceeded when
    a loser does not. Other clients may have lost a disk in a start that was refused; the wait for
    them is short. Another cluster's clients are asked for there.
    """
    limit = limit or host.deadline.within(host.limits.loser_seconds)
    holders = several.clients_by_cluster(losers)
    for cluster_id in sorted(filter(None, holders)):
        _wait_in(client.of_hosts(cluster_id), host, 0, {*holders[cluster_id]}, limit)
    if client.has_several:
        client, generation = client.of_hosts(), 0  # that of the answer may be another cluster's
    _wait_in(client, host, generation, {*holders.get(None, ())}, limit)


def _wait_in(
    client: api.Client,
    host: attachments.HostSide,
    generation: int,
    losers: set[int],
    limit: Deadline,
) -> None:
    """Wait for losers of one cluster, the one that this client asks."""
    for waited in _polls(host, limit):
        # What comes later need not be waited for: in a busy cluster there is always something.
        late, generation = force.behind(client, generation)
        behind = several.of_cluster_of(losers, late)
        if not behind or (not behind & losers and waited >= host.limits.bystander_seconds):
            break
    if behind:
        host.log.line(
            "clients_behind", clients=",".join(map(str, sorted(behind))), generation=generation
        )
    if behind & losers:
        who = names.clients(behind & losers)
        raise errors.DeadlineExceeded(
            f"{who} to learn that disks were taken from it", host.limits.loser_seconds
        )


def _looks(host: attachments.HostSide, seconds: float) -> Iterator[float]:
    """Look at StorPool's lists, with growing pauses, for about so long: as `deadline.polls`."""
    return _polls(host, host.deadline.within(seconds))


def _polls(host: attachments.HostSide, limit: Deadline) -> Iterator[float]:
    return polls(limit, host.sleep, longest_seconds=LONGEST_PAUSE_SECONDS)


def _held_now(client: api.Client, targets: Sequence[attachments.Target]) -> held.Held:
    return held.Held(targets, client.attachments())


def _is_alone(now: held.Held, targets: Sequence[attachments.Target], client_id: int) -> bool:
    """Return whether each of these has exactly one attachment, of this client, read-write."""
    return len(now.all) == len(targets) and all(
        _is_alones(now.of(target), client_id) for target in targets
    )


def _is_alones(has: Sequence[api.Attachment], client_id: int) -> bool:
    return [(each.client_id, each.access_mode) for each in has] == [(client_id, "rw")]
