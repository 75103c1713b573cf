"""Whose an object of StorPool is: the one rule by which the driver knows what is not Cinder's.

Cinder's volumes carry no tag of an owner: the upstream driver's have no tags at all. So an object
that has Cinder's name is Cinder's, unless something says that it was handed to somebody else. Every
verb asks before it changes anything.
"""

from __future__ import annotations

import re

from cinder_driver import names
from storpool_ovirt import errors
from storpool_ovirt import names as storpool_names
from storpool_ovirt.cluster import api

# What no object of Cinder's has. By `virt` orchestrators know their own; the others are those of
# oVirt's adapter.
TAGS = (
    storpool_names.TAG_PLATFORM,
    storpool_names.TAG_UUID,
    storpool_names.TAG_LOCATION,
    storpool_names.TAG_ROOT,
)

# Also with something after it: who puts a disk aside by a longer name has not given it to Cinder.
_OVIRTS = re.compile(
    re.escape(storpool_names.NAME_PREFIX) + r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
)


def is_ovirts(there: api.Volume) -> bool:
    """Return whether an object is the adapter's: by its name, or by any of its tags.

    A revert by hand takes the tags.
    """
    if there.tags.get(storpool_names.TAG_PLATFORM) == storpool_names.PLATFORM:
        return True
    return _OVIRTS.match(there.name) is not None or any(tag in there.tags for tag in TAGS[1:])


def other_than_cinder(there: api.Volume, prefix: str) -> str | None:
    """Return why an object is not this Cinder's, None when nothing says so.

    `prefix` begins our names.
    """
    platform = there.tags.get(storpool_names.TAG_PLATFORM)
    if platform and platform != storpool_names.PLATFORM:
        is_plain = platform.isascii() and platform.isprintable()
        shown = platform if is_plain else storpool_names.shown(platform)
        return f"it belongs to {shown} (tag {storpool_names.TAG_PLATFORM})"
    if is_ovirts(there):
        tag = next((tag for tag in TAGS if tag in there.tags), None)
        return f"it belongs to ovirt ({f'tag {tag}' if tag else 'by its name'})"
    other = names.prefix_of(there.name)
    if other not in (None, prefix):
        return f"its name is that of another OpenStack (prefix {other}): rename it first"
    return None


def check(there: api.Volume, name: str, prefix: str) -> api.Volume:
    """Return what StorPool gave for `name` when it is Cinder's.

    Raises Foreign when it is somebody else's, Conflict when it has another name.
    """
    if there.name != name:
        why = f"has the name {storpool_names.shown(there.name)} in StorPool's answer"
        raise errors.Conflict(f"the {there.kind} {name}", why, "nothing was changed: try again")
    reason = other_than_cinder(there, prefix)
    if reason:
        raise errors.Foreign(
            f"{there.kind} {name} ({there.global_id})", f"is not Cinder's: {reason}", "left alone"
        )
    return there
