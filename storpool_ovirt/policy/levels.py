"""Who decides what a disk shall be, and which of its tags change for it.

The first of these that says something decides: an administrator on the disk, an administrator on
its VM, the VM's property for this disk, the VM's property for all, what the disk was made from, its
domain. The last two are the disk's own value from its making on; the others may come and go
(`marks.py`).
"""

from __future__ import annotations

from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.policy import budget, marks, values

if TYPE_CHECKING:
    from collections.abc import Mapping

# What somebody says who cannot tell what a level says: whatever is there by that level stays, and
# where nothing is, it says nothing. No value has this character.
UNKNOWN = "?"
NOBODY = "nobody"  # what decides where no level says anything: there is none


class Levels(NamedTuple):
    """What each level says of one field, the strongest first."""

    admin_disk: str | None = None
    admin_vm: str | None = None
    property_disk: str | None = None
    property_vm: str | None = None
    source: str | None = None
    domain: str | None = None


class Decision(NamedTuple):
    """What a disk shall have, "" for none, and which level says so: a name of `Levels`, or
    NOBODY."""

    value: str
    level: str

    @property
    def is_by_property(self) -> bool:
        """Whether a property of its VM says so, for all disks or for this one."""
        return self.level in ("property_disk", "property_vm")


class Said(NamedTuple):
    """What is said of one field over a disk's own value, and what that is; of each UNKNOWN where
    it is not known, and None where nothing is said."""

    admin_disk: str | None = UNKNOWN
    admin_vm: str | None = UNKNOWN
    by_property: str | None = UNKNOWN
    base: str | None = UNKNOWN


class Changes(NamedTuple):
    """The tags of a volume that change, an empty value removes one; and of which it does not get
    what is wanted, as that, or who says it, has no room."""

    tags: dict[str, str]
    left_out: tuple[str, ...] = ()


def decided(levels: Levels) -> Decision:
    """Return what a disk shall have by these levels."""
    for level, value in zip(Levels._fields, levels):
        if value is not None:
            return Decision(value, level)
    return Decision("", NOBODY)


def own(tags: Mapping[str, str], field: str) -> str | None:
    """Return what a volume with these tags has of its own of a field, which is what is made of it
    gets too; None where that is nothing, or where nobody knows.

    What an administrator says of the disk itself counts as the disk's; what its VM says is the
    VM's.
    """
    if marks.parsed(tags).of(field).by == marks.ADMIN:
        return tags.get(values.TAG[field], "")
    return base(tags, field)


def base(tags: Mapping[str, str], field: str) -> str | None:
    """Return what a volume with these tags has of its own of a field, whatever is said of the disk
    beside; None where that is nothing, or where nobody knows."""
    origin = marks.parsed(tags).of(field)
    return (origin.base if origin.by else tags.get(values.TAG[field], "")) or None


def changes(
    name: str,
    tags: Mapping[str, str],
    said: Mapping[str, Said],
    vm: tuple[str, str] | None = None,
) -> Changes:
    """Return which tags of a volume of this name change by what is said of its fields, and by the
    VM that it is to name (the tag's key and value; "" names none; None: as it is).

    A field of which nothing is said stays as it is; but what is there by one VM is not another's.
    The result always fits beside the name: of what is left out the disk has its own.
    """
    mark = marks.parsed(tags)
    wanted = {} if vm is None else {vm[0]: vm[1]}
    is_anothers = vm is not None and tags.get(vm[0], "") not in ("", vm[1])
    origins = {}
    for field, tag in values.TAG.items():
        value, origin = tags.get(tag, ""), mark.of(field)
        wanted[tag], origins[field] = (
            _followed(value, origin, _of_vm(said[field], is_anothers))
            if field in said
            else (value, origin)
        )
    return Changes(*budget.fitting(name, tags, wanted, marks.Mark(**origins)))


def moved(tags: Mapping[str, str], vm_key: str, room: tuple[str, Mapping[str, str]]) -> Changes:
    """Return which tags a volume gets that takes the place of one with `tags`, as far as they fit:
    its VM (`vm_key` is empty where that is another's matter), its values, and who gave them. `room`
    are its own name and tags."""
    name, there = room
    wanted = {key: tags.get(key, "") for key in (vm_key, *values.TAG.values()) if key}
    return Changes(*budget.fitting(name, there, wanted, marks.parsed(tags)))


def _of_vm(said: Said, is_anothers: bool) -> Said:
    """Return what is said where the volume is to name another VM than it does: what that one's
    property or administrator has put there is not the new one's, also where nobody knows what is
    said of that."""
    if not is_anothers:
        return said
    admin_vm, by_property = (
        None if each == UNKNOWN else each for each in (said.admin_vm, said.by_property)
    )
    return said._replace(admin_vm=admin_vm, by_property=by_property)


def _followed(value: str, origin: marks.Origin, said: Said) -> tuple[str, marks.Origin]:
    """Return the value of a field that follows from what is said, and where it comes from then."""
    base = origin.base if origin.by else value
    if said.base not in (UNKNOWN, None):
        base = said.base
    above = ((marks.ADMIN, said.admin_disk), (marks.VM, said.admin_vm))
    for by, level in (*above, (marks.PROPERTY, said.by_property)):
        if level == UNKNOWN:
            if origin.by == by:
                return value, marks.Origin(by, base)
        elif level is not None:
            # A property that says what is so anyhow costs no mark, and is as good as none
            is_own = by == marks.PROPERTY and level == base
            return level, marks.Origin() if is_own else marks.Origin(by, base)
    return base or "", marks.Origin()
