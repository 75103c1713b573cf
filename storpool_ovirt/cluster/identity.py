"""Whether two things that were seen are one object of StorPool's.

A global id belongs to one object for ever, but an object may get another one: VolumeRevert replaces
a volume without a name by a new one (python-storpool 76ce668), and for others "it may change" too
(pve-storpool 7d8e8b0). What stays is the visible id. The old id becomes the name of an unnamed
volume, `~old`, and StorPool looks for an id that nothing has among the names; the first id of a
volume is its `preservedGlobalId` in newer releases. So who has an id that leads nowhere has lost
sight of the object, and it may live on.

It is found again by its name, its tags and what StorPool itself says of its past, all of them: a
name and tags can be given to anything by anybody. Nothing here changes anything.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api
from storpool_ovirt.light import TYPE_CHECKING, contextmanager, dataclass, field, suppress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# So many objects are read by a call for each, some of them at once; of more, StorPool's list is
# read. Ours: more disks than VMs have, and few enough that a start keeps its limit where each call
# takes a second.
READ_ALONE_MAX = 128


@dataclass(frozen=True)
class Known:
    """What is known of an object from when it was made or last seen.

    `name` is the one it should have, `tags` are those that say whose it is. `visible_id` is 0 and
    `first_id` None where they were never seen.
    """

    kind: str
    global_id: str
    name: str | None
    tags: Mapping[str, str] = field(default_factory=dict)
    visible_id: int = 0
    first_id: str | None = None

    @property
    def ids(self) -> frozenset[str]:
        """The global ids that it has had, as far as they are known."""
        return frozenset(filter(None, (self.global_id, self.first_id)))


class Verdict:
    """What something that was found is to something that is known: one of these texts."""

    SAME = "the same, under the same global id"
    DRIFTED = "the same, under another global id"
    UNPROVED = "perhaps the same"
    OTHER = "another object"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the reason for any but SAME, fit to follow "it"."""

    verdict: str
    why: str = ""

    @property
    def is_same(self) -> bool:
        """Whether it is proved to be the same object."""
        return self.verdict in (Verdict.SAME, Verdict.DRIFTED)


def ids_of(there: api.Volume) -> tuple[str, ...]:
    """Return the global ids that lead, or led, to an object by its own word: that of now first."""
    found = (there.global_id, names.kept_id(there.name), there.first_id)
    return tuple(dict.fromkeys(filter(None, found)))


def judge(known: Known, there: api.Volume) -> Judgement:
    """Return what an object that was found under a known one's id or name is to it.

    Name, tags and StorPool's own word (the visible id, the first id, or `~old` as its name) have to
    agree, and nothing may speak against it.
    """
    if there.kind != known.kind:
        return Judgement(Verdict.OTHER, f"is a {there.kind}")
    if there.global_id == known.global_id:
        return Judgement(Verdict.SAME)
    against = _against(known, there)
    if against:
        return Judgement(Verdict.OTHER, against)
    missing = _missing(known, there)
    if missing:
        return Judgement(Verdict.UNPROVED, missing)
    return Judgement(Verdict.DRIFTED, f"was ~{known.global_id}, and got another id by a revert")


def by_address(listed: Sequence[api.Volume]) -> dict[str, api.Volume]:
    """Return objects by all that StorPool's lists call them: their names, and `~globalId`."""
    return {
        **{each.name: each for each in listed},
        **{names.address(each.global_id): each for each in listed},
    }


@contextmanager
def each_or_listed(
    client: api.Client, wanted: Iterable[tuple[str, str]], kinds: Iterable[str] = ()
) -> Iterator[Mapping[str, api.Volume] | None]:
    """Have objects, each a kind with an address, read ahead: each by its own call in the block;
    None is given for that.

    Of very many StorPool's lists of their `kinds` are read in place of that, and what these have of
    them is given, by address: where a call takes a second, the time of a start would not suffice.
    """
    alone = list(wanted)
    if len(alone) <= READ_ALONE_MAX:
        with client.ahead(alone):
            yield None
        return
    addresses = {address for _, address in alone}

    def if_wanted(each: api.Volume) -> api.Volume | None:
        own = (each.name, names.address(each.global_id))
        return None if addresses.isdisjoint(own) else each

    yield by_address(client.all_as(if_wanted, kinds or {kind for kind, _ in alone}))


def of_attachments(client: api.Client, listed: Sequence[api.Attachment]) -> dict[str, api.Volume]:
    """Return what is attached, by the address of each attachment; what is not there is left out."""
    # A volume may be attached read-only too.
    likely = {each.address: "snapshot" if each.access_mode == "ro" else "volume" for each in listed}
    wanted = ((kind, address) for address, kind in likely.items())
    with each_or_listed(client, wanted, ("volume", "snapshot")) as there:
        if there is not None:
            return dict(there)
        found = {address: _either(client, kind, address) for address, kind in likely.items()}
    return {address: there for address, there in found.items() if there is not None}


def _either(client: api.Client, likely: str, address: str) -> api.Volume | None:
    for kind in (likely, "snapshot" if likely == "volume" else "volume"):
        with suppress(errors.NotFound):
            return _read(client, kind, address)
    return None


def find(client: api.Client, known: Known) -> api.Volume:
    """Return an object as it is now, by its id, or else by its name: two calls only where the id
    leads nowhere.

    Raises NotFound when it is not there, Conflict when something that is not proved to be it has
    its name.
    """
    try:
        return _read(client, known.kind, names.address(known.global_id))
    except errors.NotFound:
        if known.name is None or names.kept_id(known.name):
            raise
        there = _read(client, known.kind, known.name)
    found = judge(known, there)
    if found.is_same:
        return there
    raise errors.Conflict(
        f"{known.kind} {known.name} (~{known.global_id})",
        f"is not there, and ~{there.global_id}, which has its name, {found.why}",
        "nothing was changed; see storpool-ovirt audit",
    )


def are_one(client: api.Client, kind: str, one: str, other: str) -> bool:
    """Return whether two global ids are those of one object, by its own word; raise NotFound where
    neither leads anywhere."""
    if one == other:
        return True
    try:
        there = _read(client, kind, names.address(one))
    except errors.NotFound:
        one, other = other, one
        there = _read(client, kind, names.address(one))
    if other in ids_of(there):
        return True
    try:
        return _read(client, kind, names.address(other)).global_id == there.global_id
    except errors.NotFound:
        return False


def with_present_sources(
    snapshots: Sequence[api.Volume], listed: Sequence[api.Volume]
) -> list[api.Volume]:
    """Return these snapshots with the global id that their volume has now in place of the one that
    it had when they were made; `listed` are all volumes."""
    present = {each.global_id for each in listed}
    if all(each.made_from is None or each.made_from in present for each in snapshots):
        return [*snapshots]
    sources: dict[object, api.Volume] = {}
    for each in listed:
        sources.update(dict.fromkeys((each.serial, *ids_of(each)), each))

    def moved(thing: api.Volume) -> api.Volume:
        if thing.made_from is None or thing.made_from in present:
            return thing
        near = (sources.get(thing.made_from_serial), sources.get(thing.made_from))
        source = next((each for each in near if each and thing.was_made_of(each)), None)
        return thing if source is None else thing._replace(made_from=source.global_id)

    return [moved(each) for each in snapshots]


def attached_as(client: api.Client, client_id: int, known: Known) -> api.Volume | None:
    """Return how StorPool has now what a client has attached and was known by an id that leads
    nowhere; None for nothing.

    It is what StorPool says to have had that id, or what has the name, unless something speaks
    against it: this is for a detach of a closed device, where oVirt means its name, and where
    "nothing is attached" must be true.
    """
    client.be_current()
    here = [each for each in client.attachments() if each.client_id == client_id]
    meant = [each for each in here if each.may_be_of(known.global_id, known.name)]
    others = [each for each in here if each not in meant and names.uuid_of(each.name) is None]
    for there in all_read(client, known.kind, [each.address for each in (*meant, *others)]):
        is_named = known.name is not None and there.name == known.name
        if known.global_id in ids_of(there) or (is_named and not _is_denied(known, there)):
            return there
    return None


def all_read(client: api.Client, kind: str, addresses: Sequence[str]) -> Iterator[api.Volume]:
    """Yield the objects of a kind that have these addresses; what has gone meanwhile is left
    out."""
    with each_or_listed(client, ((kind, address) for address in addresses)) as there:
        if there is not None:
            yield from {each.global_id: each for each in there.values()}.values()
            return
        for address in addresses:
            with suppress(errors.NotFound):
                yield _read(client, kind, address)


def _is_denied(known: Known, there: api.Volume) -> bool:
    """Return whether an object says that it is not the known one; that tags are missing says
    nothing, as a revert by hand takes them."""
    if judge(known, there).verdict == Verdict.OTHER:
        return True
    return any(there.tags.get(key) for key in names.differing(known.tags, there.tags))


def _read(client: api.Client, kind: str, address: str) -> api.Volume:
    return client.volume(address) if kind == "volume" else client.snapshot(address)


def _against(known: Known, there: api.Volume) -> str:
    """Return what proves that they are two objects, "" for nothing."""
    if known.visible_id and there.serial and known.visible_id != there.serial:
        return f"has the visible id {there.serial}, not {known.visible_id}"
    if there.first_id is None or there.first_id in known.ids:
        return ""
    if known.first_id is not None or there.first_id == there.global_id:
        # What has its first id never had another one.
        return f"was ~{there.first_id} when it was made"
    return ""


def _missing(known: Known, there: api.Volume) -> str:
    """Return which of the three proofs is missing, "" for none."""
    is_kept = names.kept_id(there.name) in known.ids
    if not (is_kept or (known.name is not None and there.name == known.name)):
        return f"has the name {names.shown(there.name)}"
    wrong = sorted(names.differing(known.tags, there.tags))
    if wrong or not known.tags:
        return f"does not carry its tags ({', '.join(wrong) or 'none are known'})"
    is_told = known.visible_id and known.visible_id == there.serial
    if not (is_kept or is_told or there.first_id in known.ids):
        return "has its name and tags, but nothing of StorPool's tells that it is the same"
    return ""
