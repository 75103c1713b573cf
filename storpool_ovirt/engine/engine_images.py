"""Which disks and snapshots Engine itself has, and in which storage domain, by its own database,
read only.

Each of oVirt's ids that our mapping has is the id of an image there, and each disk's that of a
group of images (oVirt's dbscripts, create_tables.sql: `images.image_guid`, `image_group_id`;
`image_storage_domain_map`). That is no interface, and may be out of reach: nothing is deleted on
its word, and what it has is kept.
"""

from __future__ import annotations

from storpool_ovirt.engine import engine_tables, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_UNKNOWN = "images_unknown"
_QUESTION = "SELECT image_guid::text FROM images WHERE image_guid = ANY (%s::uuid[])"
# One that is on its way from a domain to another is in neither yet.
_PLACES = """
    SELECT i.image_group_id::text, min(m.storage_domain_id::text)
    FROM images i JOIN image_storage_domain_map m ON m.image_id = i.image_guid
    WHERE i.image_group_id = ANY (%s::uuid[])
    GROUP BY 1 HAVING min(m.storage_domain_id::text) = max(m.storage_domain_id::text)
"""


def known(work: tree.Work, uuids: Collection[str]) -> frozenset[str] | None:
    """Return those of these ids that Engine's own database has; None where it cannot be read."""
    if not uuids:
        return frozenset()
    rows = engine_tables.silent_asked(work, _UNKNOWN, _QUESTION, sorted(uuids))
    return None if rows is None else frozenset(uuid for (uuid,) in rows)


def places(work: tree.Work, disks: Collection[str]) -> dict[str, str]:
    """Return Engine's ids of the storage domains that these disks are in, by the disks' ids; what
    Engine does not tell is left out."""
    if not disks:
        return {}
    return dict(engine_tables.silent_asked(work, _UNKNOWN, _PLACES, sorted(disks)) or ())
