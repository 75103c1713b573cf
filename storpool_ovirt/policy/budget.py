"""The room that StorPool leaves for tags, and who goes without where it is too little.

A name and its tags have less than 200 bytes together. What says whose an object is comes first,
then its VM, its QoS class and VolumeCare's policy, and last the free tags of an option. Tags of
others are left alone.

A value that is not the disk's own is there with the mark that says so, or not at all: nobody could
take it back. Where there is no room for both the disk keeps its own. Of two such values the one of
the stronger level stays; of two of one level VolumeCare's policy, which all disks of a VM have to
have, while a class is the disk's alone.
"""

from __future__ import annotations

from storpool_ovirt import names
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.policy import marks, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What a disk may have later that has nothing of it yet: its VM by this id, and the shortest mark.
_ANY_VM = names.NIL_UUID
_ANY_MARK = marks.written(marks.Mark(marks.Origin(marks.PROPERTY, None)))


def fitting(
    name: str, tags: Mapping[str, str], wanted: Mapping[str, str], mark: marks.Mark
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which tags of an object change so that it has those wanted, and the mark, as far as
    there is room; and the keys of those without.

    One that goes keeps its key's bytes: StorPool may keep an empty tag.
    """
    ours = tuple(dict.fromkeys((*wanted, *values.TAG.values(), *names.MARK_KEYS)))
    found = {key: "" if key in ours else value for key, value in tags.items()}
    left_out = [
        key
        for key, value in wanted.items()
        if key not in values.TAG.values() and value and not _put(name, found, key, value)
    ]
    for choice in _choices(wanted, mark):
        told = {**choice.tags, **_note(name, {**found, **choice.tags}, tags, choice.mark)}
        if names.has_room(name, {**found, **told}):
            break
    found.update(told)
    left_out += choice.left_out
    changed = {key: found[key] for key in ours if found.get(key, "") != tags.get(key, "")}
    return changed, tuple(left_out)


def made(
    name: str,
    owner: Mapping[str, str],
    policy: Mapping[str, str],
    free: Sequence[tuple[str, str]],
    vm_key: str,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the tags of services and people that a new volume gets beside its owner's, and the
    keys of those without room.

    Free ones leave room for what the volume may have later. The policy may have a mark.
    """
    wanted = {key: value for key, value in policy.items() if key not in names.MARK_KEYS}
    found, left_out = fitting(name, owner, wanted, marks.parsed(policy))
    later = {vm_key: _ANY_VM, names.TAG_MARK: _ANY_MARK, **dict.fromkeys(values.TAG.values(), "")}
    reserved = {**later, **owner, **found}  # all that may be there, and no more than can be
    for key, value in free:
        if key in reserved:
            continue
        if _put(name, reserved, key, value):
            found[key] = value
        else:
            left_out = (*left_out, key)
    return found, left_out


def left_out_of_previews(policy: Mapping[str, str], vm_key: str) -> tuple[str, ...]:
    """Return which of these tags the volume of a preview has no room for, beside its VM: it has
    the longest tags of ours."""
    uuid, root = names.random_uuid(), names.random_uuid()
    owner = names.tags(uuid, "0" * 8, root)
    wanted = {vm_key: _ANY_VM, **policy}
    return fitting(names.object_name(uuid), owner, wanted, marks.NONE)[1]


class _Choice(NamedTuple):
    """The tags that class and policy may have, where these come from, and the keys of those that
    are not as they are wanted."""

    tags: dict[str, str]
    mark: marks.Mark
    left_out: list[str]


def _choices(wanted: Mapping[str, str], mark: marks.Mark) -> Iterator[_Choice]:
    """Yield what class and policy may be, the best first; the last one has nothing."""
    said = [(wanted.get(tag, ""), mark.of(field)) for field, tag in values.TAG.items()]
    ways = [_ways(value, origin) for value, origin in said]
    strength = [marks.BY.index(each.by) if each.by else len(marks.BY) for each in mark]
    single = [(0, 1), (1, 0)] if strength[0] < strength[1] else [(1, 0), (0, 1)]
    for numbers in ((0, 0), *single, (1, 1), (0, 2), (1, 2), (2, 0), (2, 1), (2, 2)):
        chosen = [way[number] for way, number in zip(ways, numbers)]
        tags = {tag: value for tag, (value, _) in zip(values.TAG.values(), chosen) if value}
        lost = [tag for tag, way, one in zip(values.TAG.values(), ways, chosen) if one != way[0]]
        yield _Choice(tags, marks.Mark(*(origin for _, origin in chosen)), lost)


def _ways(value: str, origin: marks.Origin) -> tuple[tuple[str, marks.Origin], ...]:
    """Return what a field may be: as it is wanted, what the disk has of its own, nothing."""
    own = origin.base if origin.by else value
    return (value, origin), (own or "", marks.Origin()), ("", marks.Origin())


def _note(
    name: str, found: Mapping[str, str], tags: Mapping[str, str], mark: marks.Mark
) -> dict[str, str]:
    """Return the tag of a mark as it fits beside those found, else the shortest: what the object
    says already where that is the same."""
    key = names.mark_key(tags)
    forms = marks.forms(mark)
    if mark != marks.NONE and marks.parsed(tags) == mark:
        forms = (names.mark(tags), *forms)
    fitting = (each for each in forms if names.has_room(name, {**found, key: each}))
    note = next(fitting, forms[-1])
    return {key: note} if note else {}


def _put(name: str, found: dict[str, str], key: str, value: str) -> bool:
    """Give an object this tag, if there is room for it; return whether there was."""
    if not names.has_room(name, {**found, key: value}):
        return False
    found[key] = value
    return True
