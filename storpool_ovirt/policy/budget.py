"""The room that StorPool leaves for tags, and who goes without where it is too little.

A name and its tags have less than 200 bytes together. What says whose an object is comes first,
then its VM, its QoS class, VolumeCare's policy, who gave these, and last the free tags of an
option. Tags of others are left alone.
"""

from __future__ import annotations

from storpool_ovirt import names
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.policy import marks, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What a disk may have later that has nothing of it yet: its VM by this id, and the shortest mark.
_ANY_VM = names.NIL_UUID
_ANY_MARK = marks.written(marks.Mark(marks.Origin(marks.PROPERTY, None)))


def fitting(
    name: str, tags: Mapping[str, str], wanted: Mapping[str, str], mark: marks.Mark
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which tags of an object change so that it has those wanted, the most important first,
    and the mark, as far as there is room; and the keys of those without.

    One that goes keeps its key's bytes: StorPool may keep an empty tag.
    """
    ours = (*wanted, names.TAG_MARK)
    found = {key: "" if key in ours else value for key, value in tags.items()}
    left_out = []
    for key, value in wanted.items():
        if value and not _put(name, found, key, value):
            left_out.append(key)
    forms = [marks.written(each) for each in mark.forms()]
    if forms[0] and not any(_put(name, found, names.TAG_MARK, each) for each in forms):
        left_out.append(names.TAG_MARK)
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
    mark = marks.parsed(policy)
    wanted = {key: value for key, value in policy.items() if key != names.TAG_MARK}
    found, left_out = fitting(name, owner, wanted, mark)
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


def _put(name: str, found: dict[str, str], key: str, value: str) -> bool:
    """Give an object this tag, if there is room for it; return whether there was."""
    if not names.has_room(name, {**found, key: value}):
        return False
    found[key] = value
    return True
