"""The name and the tags of what is in the trash: built and parsed here and nowhere else.

The name has the id of the trash's own entry, as the id of the object may be used again. The tags
are those of its owner, and one that tells what a lost row does not.
"""

from __future__ import annotations

from storpool_ovirt import names, text
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "ovirt-trash--"
# Until when it is kept, in seconds since 1970, and with which of these marks behind it: a volume's,
# that of the volume that the VM wrote, or that of what a volume had before its data were written
# over, where nothing was deleted.
TAG = "ovirt-trash"
_VOLUME, _ACTIVE, _SAFETY = ".v", ".a", ".o"
END_MAX = (1 << 33) - 1  # in the year 2242; ten digits


def name(entry: str) -> str:
    """Return the name of what is in the trash as the entry of this id."""
    return f"{PREFIX}{entry}"


def entry_of(name: str) -> str | None:
    """Return the id in a name that `name` made; None for any other name."""
    entry = name[len(PREFIX) :]
    return entry if name.startswith(PREFIX) and names.UUID.fits(entry) else None


def mark(
    ends_at: int, *, is_volume: bool = False, is_active: bool = False, is_safety: bool = False
) -> str:
    """Return the tag's value for what is in the trash until `ends_at`, in seconds since 1970: a
    snapshot of a disk, or what was a volume, also the one that its VM wrote, or what that had
    before its data were written over."""
    if is_safety:
        return f"{ends_at}{_SAFETY}"
    return f"{ends_at}{_ACTIVE if is_active else _VOLUME if is_volume else ''}"


def mark_of(tags: Mapping[str, str]) -> tuple[int, bool, bool] | None:
    """Return until when something is in the trash, whether it was a volume, and whether that was
    the one that its VM wrote; None for tags that do not say that it is there."""
    said = tags.get(TAG, "")
    is_active = said.endswith((_ACTIVE, _SAFETY))
    is_volume = is_active or said.endswith(_VOLUME)
    ends_at = text.number(said[:-2] if is_volume else said, 0, END_MAX)
    return None if ends_at is None else (ends_at, is_volume, is_active)


def is_safety_copy(tags: Mapping[str, str]) -> bool:
    """Return whether tags say of what is in the trash that nothing was deleted: its volume's data
    were written over."""
    return tags.get(TAG, "").endswith(_SAFETY)


def tags(
    name: str, owner: Mapping[str, str], mark: str, others: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags of what is in the trash: those of its owner, its mark, and of the others
    those that fit beside its name.

    What an object in the trash must not have (its VM, a policy of VolumeCare's) the caller leaves
    out of the others.
    """
    found = names.fitted(name, {**owner, TAG: mark})
    if names.UUID.fits(found.get(names.TAG_ROOT, "")):
        found[names.TAG_ROOT] = names.short_uuid(found[names.TAG_ROOT])
    for key, value in others.items():
        if key not in found and names.fits(name, {**found, key: value}):
            found[key] = value
    return found
