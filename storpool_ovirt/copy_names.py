"""The name and the tags of a copy in another location: built and parsed here and nowhere else.

StorPool names the copy itself, after the volume: `<volume>@<number>`.
"""

from __future__ import annotations

from storpool_ovirt import names
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TAG = "ovirt-copy"  # one value for the copies that were made together
PREFIX = "ovirt-copy--"  # of its name while it is here again
_NUMBER = "@0123456789"  # as long as StorPool's


def tags(copy: str, location: str, disk: str | None, more: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of copies: ours, with the disk where all are of one, and those of an option.

    They have no id of their own, as one call gives all of them the same; their names have it.
    Raises InputError when they do not fit beside the name that StorPool gives a copy.
    """
    owner = {names.TAG_PLATFORM: names.PLATFORM, names.TAG_LOCATION: location, TAG: copy}
    found = {**more, **owner, **({names.TAG_ROOT: disk} if disk is not None else {})}
    return names.fitted(f"{names.object_name(names.NIL_UUID)}{_NUMBER}", found)


def uuid_of(name: str) -> str | None:
    """Return the id of the volume that a copy is of, by the name that StorPool gave it, there or in
    its list; None where that has none."""
    return names.uuid_of(name.partition("@")[0])


def name(remote_id: str) -> str:
    """Return the name of a copy, by its global id, while it is here again."""
    return f"{PREFIX}{remote_id}"
