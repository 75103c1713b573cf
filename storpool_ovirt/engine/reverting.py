"""One volume gets the data of a snapshot and stays what it is: StorPool reverts it in place, what
that changes beside the data is put right, and what a volume stands on tells how far it has come.

StorPool may give a reverted volume another global id, the size of the snapshot and other limits
(`cluster/volumes.py`, `reverts.py`). `overwriting.py` decides which volumes, and when.
"""

from __future__ import annotations

from storpool_ovirt import names, trash_names
from storpool_ovirt.cluster import identity, volumes
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import mapping, reverts, tree
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storpool_ovirt.cluster import api

ON_SOURCE, ON_COPY, ELSEWHERE = "source", "copy", "elsewhere"


class Before(NamedTuple):
    """What a volume had, but for its data."""

    size_bytes: int
    tags: Mapping[str, str]


def stands_on(there: api.Volume, source: api.Volume) -> bool:
    """Return whether a volume stands on a snapshot, and on no other one that was made since."""
    return there.parent in (source.name, names.address(source.global_id))


def reverted(work: tree.Work, there: api.Volume, source: str) -> api.Volume:
    """Give a volume the data of a snapshot, and return it as it is then; not before each request
    for that is over."""
    asked_again = work.client.tally.asked_again
    now = volumes.revert(work.client, there.global_id, source)
    if work.client.tally.asked_again == asked_again:
        return now
    # The first of them must not come when its VM runs; what it has changed by then is read
    work.sleep(work.client.limits.request_seconds)
    return work.client.volume(names.address(now.global_id))


def put_right(
    work: tree.Work,
    node: mapping.Node,
    now: api.Volume,
    before: Before,
    source: str | None = None,
) -> None:
    """Have a volume the size and the tags that it had before it was reverted, and the row follow it
    to another global id.

    The tag that tells what it was made of names the snapshot now, so that nobody takes it for what
    it was; it goes where it has no room, or nobody knows (`source` is "").
    """
    if now.size_bytes < before.size_bytes:
        volumes.grow(work.client, now.global_id, before.size_bytes)
    wanted = dict(before.tags)
    if source is not None and node.uuid == node.root:
        wanted[names.TAG_SOURCE] = source
        if not source or not names.fits(now.name, wanted):
            del wanted[names.TAG_SOURCE]
    change = {key: "" for key in now.tags if key not in wanted}
    change.update({key: value for key, value in wanted.items() if now.tags.get(key) != value})
    if change:
        volumes.change(work.client, now, tags=change)
    if now.global_id != node.global_id:
        row = work.mapping.node(node.uuid)  # it may have had a third one meanwhile
        if row is not None and row.global_id != now.global_id:
            reverts.follow(work.mapping, row, now)


def silent_limit(work: tree.Work, there: api.Volume, before: Before) -> None:
    """Have a volume whose revert was left half-way the limits of the domain again; they keep no VM
    from starting."""
    from storpool_ovirt.engine import disk_policy

    try:
        volumes.limit(work.client, there.global_id, disk_policy.limits_of(work, before.tags))
    except tree.REFUSALS as error:
        work.log.line("not_limited", global_id=there.global_id, reason=error)


def stands(
    work: tree.Work, there: api.Volume, source: str, entry: str
) -> tuple[str, frozenset[str]]:
    """Return what a volume stands on, of the snapshot with the global id `source` and its copy in
    the trash, and the global ids of it and of the snapshots that somebody made of it since that
    copy: those of before tell of what it was before."""
    listed = identity.by_address(work.client.snapshots())
    copy = listed.get(trash_names.name(entry))
    own, name = [there.global_id], there.parent
    while name in listed:
        parent = listed.pop(name)
        if parent.global_id == source:
            return ON_SOURCE, frozenset(own)
        if parent.name == trash_names.name(entry):
            return ON_COPY, frozenset(own)
        if copy is None or _age(parent) < _age(copy) or not parent.was_made_of(there):
            break
        own.append(parent.global_id)
        name = parent.parent
    return ELSEWHERE, frozenset(own)


def _age(there: api.Volume) -> tuple[float, int]:
    return there.created_at, there.serial


def is_written(work: tree.Work, own: frozenset[str]) -> bool:
    """Return whether one of these stores data of its own, or is not listed: nobody can have been
    told of the disk meanwhile, but somebody may have attached it by hand. StorPool looks at all
    that it has for that."""

    def stored(each: api.Volume, own_bytes: int, _used: int) -> tuple[str, int] | None:
        return (each.global_id, own_bytes) if each.global_id in own else None

    kinds: Iterable[str] = ("volume", "snapshot") if len(own) > 1 else ("volume",)
    seen = [each for kind in kinds for each in work.client.scanned(kind, stored, Words()) if each]
    return {each for each, _ in seen} != own or any(own_bytes for _, own_bytes in seen)
