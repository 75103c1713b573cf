"""Which disks and snapshots Engine itself has, by its own database, read only.

Each of oVirt's ids that our mapping has is the id of an image there (oVirt's dbscripts,
create_tables.sql: `images.image_guid`). That is no interface, and may be out of reach: nothing is
deleted on its word, and what it has is kept.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.engine import database, engine_tables, tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_QUESTION = "SELECT image_guid::text FROM images WHERE image_guid = ANY (%s::uuid[])"


def known(work: tree.Work, uuids: Collection[str]) -> frozenset[str] | None:
    """Return those of these ids that Engine's own database has; None where it cannot be read."""
    if not uuids:
        return frozenset()
    try:
        limit = work.mapping.session.deadline.within(engine_tables.READ_SECONDS)
        rows = database.ask_engine(work.root, work.log, limit, _QUESTION, sorted(uuids))
    except errors.Error as error:
        work.log.line("images_unknown", reason=error)
        return None
    return frozenset(uuid for (uuid,) in rows)
