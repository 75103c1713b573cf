"""Force: what takes a disk away from a host whether it is open or not.

The only place that ever asks for it.

Three may: the start of a VM (`only_here`, for takeover.py), as Engine starts a VM elsewhere after a
host was lost and nobody takes the disk from that host; a plug, from hosts that are down
(`torn_off`, for plug.py); and who says that a host is lost (`clear`). An item with `detach:
"all"`, `rw: [me]` and `force` makes a host the only one at once
(`storpool.sptypes.VolumeReassignDesc`; StorPool's plugin for Proxmox VE and its patches for Nova do
so at a start). docs/fencing.md has the argument.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, identity
from storpool_ovirt.light import TYPE_CHECKING, dataclass
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Optional

    _Pairs = list[tuple[api.Attachment, Optional[api.Volume]]]

# How often it is looked again: an object may go away between a list and the next request.
LOOKS = 3
# How often more where no answer came, with growing pauses: a failover of the management service
# takes half a minute.
LOST_LOOKS = 6
# Whether a host that runs knows what it lost is looked at afterwards, as long as a person waits.
NO_WAIT = 0
SHOWN = 3  # objects that an error names


@dataclass(frozen=True)
class HeldObject:
    """An object of oVirt's that a client has attached.

    `uuid` is oVirt's id for it, `access_mode` is rw or ro.
    """

    target: attachments.Target
    uuid: str
    access_mode: str

    def is_one_with(self, other: HeldObject) -> bool:
        """Return whether two looks at a client show the same object: a revert between them gives it
        another id."""
        one, two = self.target, other.target
        is_named = one.name is not None and one.name == two.name
        return one.kind == two.kind and (one.global_id == two.global_id or is_named)

    def __str__(self) -> str:
        return (
            f"{self.target.kind} {self.uuid} ({names.address(self.target.global_id)},"
            f" {self.access_mode})"
        )


@dataclass(frozen=True)
class ClientView:
    """What a client has attached at one moment.

    `ours` are oVirt's objects, `others` the names of other owners', `unknown` the names of what is
    in no list.

    `status` is StorPool's word for the client (`storpool.sptypes.ClientConfigStatus`), None where
    it knows no such one.
    """

    client_id: int
    status: str | None
    ours: tuple[HeldObject, ...]
    others: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def may_run(self) -> bool:
        """Whether VMs may run on that host: only what StorPool says to be down is taken for
        down."""
        return self.status != api.DOWN


@dataclass(frozen=True)
class ForcedSet:
    """What `clear` did.

    `taken` is what it took by force, `vanished` what was detached meanwhile by others, `now` how
    the client is afterwards.
    """

    taken: tuple[HeldObject, ...]
    vanished: tuple[HeldObject, ...]
    now: ClientView


def status(client: api.Client, client_id: int) -> str | None:
    """Return StorPool's word for how a client of the own cluster is, None for one that it does not
    know."""
    listed = client.of_hosts().clients()
    return next((each.status for each in listed if each.client_id == client_id), None)


def look(client: api.Client, client_id: int, openstack_prefix: str) -> ClientView:
    """Return how a client is and what it has attached; change nothing.

    It is true for now: no answer of an instance that is behind is used. The status is read first,
    so the list has what a client attached that has just come up.
    """
    client.be_current()
    word = status(client, client_id)
    for attempt in range(LOOKS):
        listed = [each for each in client.attachments() if each.client_id == client_id]
        found = identity.of_attachments(client, listed)
        pairs = [(each, found.get(each.address)) for each in listed]
        if all(there for _, there in pairs) or attempt == LOOKS - 1:
            break
        # It was renamed or deleted since that list, or this is a moment behind.
        client.pause(attempt)
    if not all(there for _, there in pairs):
        pairs = _looked_everywhere(client, pairs)
    ours: list[HeldObject] = []
    others: list[str] = []
    unknown: list[str] = []
    for each, there in pairs:
        held = _held_as(each, there, openstack_prefix)
        if held is not None:
            ours.append(held)
        else:
            (others if there else unknown).append(each.name)
    return ClientView(client_id, word, tuple(ours), tuple(others), tuple(unknown))


def _looked_everywhere(client: api.Client, pairs: _Pairs) -> _Pairs:
    """Return these with what lives in other clusters of the name space: a client may have it over
    the bridge. Where they cannot be looked at nothing is different."""
    try:
        found = identity.by_address(client.all_of_space())
    except (errors.ApiUnavailable, errors.DeadlineExceeded):
        return pairs
    return [(each, there or found.get(each.address)) for each, there in pairs]


def check_all_known(seen: ClientView) -> None:
    """Raise Conflict when a client has something whose owner is not known."""
    if seen.unknown:
        raise errors.Conflict(
            f"client {seen.client_id}",
            f"has {some(seen.unknown)}, which is in no list of volumes and snapshots",
            "nobody can tell whose it is, run it again",
        )


def clear(client: api.Client, seen: ClientView, openstack_prefix: str, log: Log) -> ForcedSet:
    """Take everything of oVirt's from a client by force, shareable disks too; what is others'
    stays.

    `seen` is the look on which it was decided. One request for all; where that is refused, as one
    has just been deleted or detached, one for each. On return the list, not an answer, says that
    nothing of oVirt's is there. Raises Conflict when something is: it was attached meanwhile, or
    StorPool refuses, or the client was down and runs; also when nobody can tell whose something is,
    or a client that runs does not take over that it lost its disks.
    """
    client_id, now, generation = seen.client_id, seen, 0
    taken: list[HeldObject] = []
    refused: errors.Error | None = None
    for attempt in range(LOOKS + LOST_LOOKS):
        if not now.ours or now.may_run > seen.may_run:
            break
        if _is_lost(refused):
            client.pause(attempt)
        batches = (
            [[each] for each in now.ours] if refused and not _is_lost(refused) else [list(now.ours)]
        )
        refused, reached, sent = _tear_off_all(client, client_id, batches)
        generation = max(generation, reached)
        now = look(client, client_id, openstack_prefix)
        for each in sent:
            if not any(each.is_one_with(left) for left in now.ours):
                taken.append(each)
                log.line("taken", **_facts(each), client=client_id)
        if refused is None or (attempt >= LOOKS - 1 and not _is_lost(refused)):
            break
    _raise_if_left(seen, now, refused)
    check_all_known(now)
    for name in now.others:
        log.line("left_alone", volume=name, client=client_id)
    if seen.ours and now.may_run:
        _check_it_knows(client, client_id, generation)
    gone = (each for each in seen.ours if not any(each.is_one_with(one) for one in taken))
    return ForcedSet(tuple(taken), tuple(gone), now)


def _raise_if_left(seen: ClientView, now: ClientView, refused: errors.Error | None) -> None:
    """Raise what explains that something of oVirt's is still there."""
    if not now.ours:
        return
    came_back = now.may_run > seen.may_run
    if refused is not None and _is_lost(refused) and not came_back:
        raise refused
    why, advice = "somebody attached it meanwhile", "run it again"
    if refused is not None:
        why = f"StorPool refused to take it ({refused})"
    if came_back:
        advice = "it answers StorPool again: look at that host before you try again"
    raise errors.Conflict(
        f"client {seen.client_id}", f"still has {some(now.ours)}", f"{why}, {advice}"
    )


def only_here(target: attachments.Target, client_id: int) -> dict[str, object]:
    """Return the item of a reassign that makes a client the only one that has a volume, whoever has
    it open."""
    return {
        target.kind: names.address(target.global_id),
        "rw": [client_id],
        "detach": "all",
        "force": True,
    }


def torn_off(target: attachments.Target, client_ids: Sequence[int]) -> dict[str, object]:
    """Return the item of a reassign that takes an object from these clients, whether they have it
    open or not."""
    return {**attachments.detach_item(target, client_ids), "force": True}


def some(things: Sequence[object], shown: int = SHOWN) -> str:
    """Return the first few of these, for a sentence."""
    return ", ".join(map(str, things[:shown])) + (
        f" and {len(things) - shown} more" if len(things) > shown else ""
    )


def behind(client: api.Client, generation: int) -> tuple[set[int], int]:
    """Return those clients of `attachments.behind` that run, and that generation."""
    late, generation = attachments.behind(client, generation)
    return {each.client_id for each in late if each.status != api.DOWN}, generation


def _tear_off_all(
    client: api.Client, client_id: int, batches: Sequence[Sequence[HeldObject]]
) -> tuple[errors.Error | None, int, list[HeldObject]]:
    """Take these, a request for each batch; return the last refusal, the generation then, and what
    may be gone.

    Only the list shows what a refusal, or a lost answer, means. No request is sent again without a
    look: a VM that was started there meanwhile keeps its disks.
    """
    refused: errors.Error | None = None
    generation = 0
    sent: list[HeldObject] = []
    for batch in batches:
        targets = [each.target for each in batch]
        items = [torn_off(each, [client_id]) for each in targets]
        try:
            generation = client.reassign(items, NO_WAIT, some(targets), repeat=False)
        except (errors.NotFound, errors.Conflict, errors.InUse) as error:
            refused = error
            continue
        except errors.Rejected as error:
            # It may be done: StorPool may have waited in vain for the client that hangs.
            refused = error
        except errors.ApiUnavailable as error:
            if not error.ambiguous:
                raise
            refused = error
        sent += batch
    return refused, generation, sent


def _is_lost(refused: errors.Error | None) -> bool:
    """Return whether it is not known what became of a request."""
    return isinstance(refused, errors.ApiUnavailable)


def _facts(held: HeldObject) -> dict[str, object]:
    return {"volume": held.target.name, "global_id": held.target.global_id, "uuid": held.uuid}


def _check_it_knows(client: api.Client, client_id: int, generation: int) -> None:
    """Raise Conflict when a client that runs does not take over in time what was changed."""
    if client.has_several:
        client, generation = client.of_hosts(), 0  # that of an answer may be another cluster's
    for _ in client.looks(client.limits.known_seconds):
        late, generation = behind(client, generation)
        if client_id not in late:
            return
    raise errors.Conflict(
        f"client {client_id}",
        "runs, and does not take over that its disks were taken from it",
        "StorPool has them as detached; switch the host off before they are used elsewhere",
    )


def _held_as(
    each: api.Attachment, there: api.Volume | None, openstack_prefix: str
) -> HeldObject | None:
    """Return an object of oVirt's, None for others'.

    Where no list has the object, a name that only oVirt's have decides.
    """
    if there is None:
        uuid, global_id = names.uuid_of(each.name), each.global_id
        kind = "volume" if each.access_mode == "rw" else "snapshot"
        return (
            HeldObject(attachments.Target(global_id, each.name, kind), uuid, each.access_mode)
            if uuid and global_id
            else None
        )
    owner = _owner(there, openstack_prefix)
    return (
        HeldObject(
            attachments.Target(there.global_id, there.name, there.kind), owner, each.access_mode
        )
        if owner
        else None
    )


def _owner(there: api.Volume, openstack_prefix: str) -> str | None:
    """Return oVirt's id for it; None for others', and for a snapshot that is being deleted."""
    return None if there.dying else names.ovirt_id(there.name, there.tags, openstack_prefix)
