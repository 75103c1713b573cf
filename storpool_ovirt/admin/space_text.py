"""The words of the account of space, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from storpool_ovirt import names, sentences
from storpool_ovirt.admin import columns, space, space_parts, space_roles, times
from storpool_ovirt.admin.findings import amount
from storpool_ovirt.admin.space import Seen, Sum, Tree
from storpool_ovirt.admin.space_roles import OF_A_DISK, Thing

NAME_MAX = 60  # ours, of a line: longer than each of ours
WORDS: Mapping[str, str] = {
    space_roles.DISK: "disks' volumes",
    space_roles.PREVIEW: "volumes of previews",
    space_roles.SNAPSHOT: "their snapshots",
    space_roles.RESERVED: "snapshots that oVirt was not given",
    space_roles.TRASH: "trash",
    space_roles.KEPT: "kept by others of our disks",
    space_roles.LEAVING: "what StorPool is about to drop",
    space_roles.MOVING: "copies of what is on its way to another cluster",
    space_roles.OTHER: "others' objects",
}
_ALWAYS = (space_roles.DISK, space_roles.SNAPSHOT, space_roles.TRASH, space_roles.OTHER)
MEANING = (
    "`stored` is what an object holds itself: each block counts once, so it adds up; `used` of a"
    " volume is all that it holds, with what it has from its snapshots; `frees` of a snapshot is"
    " what its delete alone frees: neighbours deleted together free more"
)


def lines(part: space_parts.Part) -> Iterator[str]:
    """Yield the lines of an account, or of a part of one."""
    yield from _head(part.seen)
    yield ""
    if isinstance(part, space_parts.All):
        yield from _all(part)
    elif isinstance(part, space_parts.Disk):
        yield from _disk(part)
    elif isinstance(part, space_parts.Vm):
        yield from _vm(part)
    elif isinstance(part, space_parts.Trash):
        yield from _trash(part)
    else:
        yield from _others(part)
    yield ""
    yield MEANING


def _head(seen: Seen) -> Iterator[str]:
    yield f"StorPool API {seen.api_address}, mapping {seen.database}, location {seen.location}"
    volumes, snapshots = seen.scans
    yield (
        f"volumes as of {times.stamp(volumes.at)} (StorPool took {volumes.seconds:.1f} s),"
        f" snapshots as of {times.stamp(snapshots.at)} ({snapshots.seconds:.1f} s): what is"
        " changed meanwhile may count twice or not at all"
    )
    if seen.unseen:
        yield sentences.counted(
            seen.unseen,
            "object of the mapping was not seen: deleted meanwhile, or see storpool-ovirt audit",
            "objects of the mapping were not seen: deleted meanwhile, or see storpool-ovirt audit",
        )
    if seen.elsewhere:
        yield sentences.counted(
            seen.elsewhere,
            "object lives in another cluster and is not counted: give the options of its domain",
            "objects live in other clusters and are not counted: give the options of their domain",
        )
    unmapped = sum(each.role in OF_A_DISK and not each.mapped for each in seen.things)
    if unmapped:
        yield sentences.counted(
            unmapped,
            "object of ours has no row in the mapping: made meanwhile, or see storpool-ovirt audit",
            "objects of ours have no row in the mapping: made meanwhile, or see storpool-ovirt"
            " audit",
        )


def _all(part: space_parts.All) -> Iterator[str]:
    seen = part.seen
    found = space.sums(seen.things)
    rows = [("", "objects", "size", "stored")]
    rows += [
        _row(WORDS[role], each) for role, each in found.items() if each.objects or role in _ALWAYS
    ]
    rows.append(_row("all", _added(found.values())))
    yield from _right(rows)
    yield ""
    yield (
        f"volumes hold {amount(seen.used_bytes)} in all; stored beyond that, for snapshots and"
        f" trash: {amount(seen.overhead_bytes)}"
        + (" (less than nothing: clones have blocks in common)" * (seen.overhead_bytes < 0))
    )
    yield from _templates(part)
    if part.largest:
        yield ""
        all_of = f"all {part.disks}" if len(part.largest) == part.disks else str(len(part.largest))
        of = "" if len(part.largest) == part.disks else f" of {part.disks}"
        yield f"{all_of} disks{of}, by what they store with their snapshots"
        yield from _trees(part.largest, part.names)


def _templates(part: space_parts.All) -> Iterator[str]:
    for each in space_parts.templates(part.seen):
        name = each["template"]
        stored = sum(has["stored_bytes"] for has in each["totals"].values())
        ours = f"{amount(stored)} stored, {amount(each['ours_stored_bytes'])} of it by our disks"
        if each["capacity_bytes"] is None:
            of = f"template {names.shown(name)}" if name else "without a template"
            yield f"{of}: {ours}{'; it is in another cluster' * bool(name)}"
            continue
        yield (
            f"template {name}: {ours}; {amount(each['free_bytes'])} free of"
            f" {amount(each['capacity_bytes'])}, its volumes' sizes are"
            f" {amount(each['provisioned_bytes'])} in all"
        )
    if part.seen.several:
        yield "what is free is told of one cluster, and what is stored of all"


def _trees(trees: Sequence[Tree], called: Mapping[str, str]) -> Iterator[str]:
    rows = []
    for each in trees:
        volume = each.volume
        snapshots = [one for one in each.own if one.kind == "snapshot"]
        rows.append(
            (
                f"  disk {each.disk}",
                "not seen" if volume is None else amount(volume.size_bytes),
                f"used {amount(each.used_bytes)}",
                f"stored {amount(each.stored_bytes)}",
                sentences.counted(len(snapshots), "snapshot"),
                f"all of it frees at least {amount(each.freed_bytes)}",
                *_besides(each),
                called.get(each.disk, ""),
            )
        )
    yield from columns.lines(rows)


def _besides(each: Tree) -> tuple[str, ...]:
    kept = sum(one.stored_bytes for one in each.kept)
    trash = sum(one.stored_bytes for one in each.trash)
    words = [f"kept by others {amount(kept)}"] * bool(each.kept)
    words += [f"trash {amount(trash)}"] * bool(each.trash)
    return (", ".join(words),)


def _disk(part: space_parts.Disk) -> Iterator[str]:
    yield from _trees([part.tree], part.names)
    nodes = (*part.tree.own, *part.tree.kept, *part.tree.trash)
    yield ""
    yield from _nodes(nodes, part.names)


def _nodes(things: Sequence[Thing], called: Mapping[str, str]) -> Iterator[str]:
    yield from columns.lines(
        [
            (
                f"  {each.role}",
                each.uuid or names.shown(each.called, NAME_MAX),
                f"~{each.global_id}",
                amount(each.size_bytes),
                f"stored {amount(each.stored_bytes)}",
                f"{'used' if each.kind == 'volume' else 'frees'} {amount(each.used_bytes)}",
                times.stamp(each.created_at) if each.created_at else "",
                f"goes {times.stamp(each.goes_at)}" if each.goes_at else "",
                each.owner or called.get(each.uuid, ""),
            )
            for each in things
        ]
    )


def _vm(part: space_parts.Vm) -> Iterator[str]:
    told = "by Engine" if part.source == space_parts.ENGINE else "by the tag of their volumes"
    stored = sum(each.stored_bytes for each in part.trees)
    name = f" {part.name}" if part.name else ""
    disks = sentences.counted(len(part.trees), "disk")
    yield f"VM {part.vm}{name}: {disks} ({told}), which store {amount(stored)}"
    yield from _trees(part.trees, part.names)


def _trash(part: space_parts.Trash) -> Iterator[str]:
    found = part.sum
    if not found.objects:
        yield "the trash is empty"
        return
    yield (
        f"{sentences.counted(found.objects, 'object')} in the trash, which store"
        f" {amount(found.stored_bytes)}; without all of it at least {amount(part.freed_bytes)} more"
        " were free"
    )
    yield from columns.lines(
        [
            (
                f"  disk {each.disk}",
                each.uuid,
                amount(each.size_bytes),
                f"stored {amount(each.stored_bytes)}",
                f"frees {amount(each.used_bytes)}",
                f"free from {times.stamp(each.goes_at)}"
                if each.goes_at
                else "WITHOUT A DATE: it stays",
            )
            for each in part.things
        ]
    )


def _others(part: space_parts.Others) -> Iterator[str]:
    if not part.owners:
        yield "there is nothing of others"
        return
    rows = [("", "objects", "size", "stored")]
    rows += [_row(owner or "nobody that tells", has) for owner, has in part.owners.items()]
    rows.append(_row("all", _added(part.owners.values())))
    yield from _right(rows)
    yield ""
    count = sum(each.objects for each in part.owners.values())
    yield f"{len(part.things)} of {count}, by what they store"
    yield from _nodes(part.things, {})


def _row(words: str, each: Sum) -> tuple[str, str, str, str]:
    return words, str(each.objects), amount(each.size_bytes), amount(each.stored_bytes)


def _added(found: Iterable[Sum]) -> Sum:
    total = Sum()
    for each in found:
        total = Sum(*(one + other for one, other in zip(total, each)))
    return total


def _right(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the rows with their numbers below each other."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    yield from columns.lines(
        [(row[0], *(each.rjust(width) for each, width in zip(row[1:], widths[1:]))) for row in rows]
    )
