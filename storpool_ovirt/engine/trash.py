"""The trash, as our table has it: what was deleted and is kept for a while.

Each entry is one object of a disk that Engine deleted, a snapshot in StorPool by now, with a name
and tags of its own (`trash_names.name`, `trash_names.TAG`) and a date at which StorPool deletes it
by itself. Rows of disks know nothing of it: they are gone, and Engine may use their ids again. So
an entry has an id of its own, and what one delete took is known by its deletion's.
"""

from __future__ import annotations

from storpool_ovirt.engine.changes import Change, Part
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storpool_ovirt.cluster.words import Words
    from storpool_ovirt.engine import mapping

_SELECT = """
    SELECT entry::text, deletion::text, disk::text, node::text, kind, global_id, source::text,
        size_bytes, active, template, tags,
        coalesce(extract(epoch FROM created_at), 0)::float,
        coalesce(extract(epoch FROM deleted_at), 0)::float,
        coalesce(extract(epoch FROM ends_at), 0)::float,
        correlation_id
    FROM storpool_ovirt.trash"""
# The end of an entry that is about to be deleted: nobody misses its object.
PURGED_AT = 0.0
_ORDER = "ORDER BY deleted_at, deletion, created_at, entry"
# Ours: the server sends so many at a time. More make it no faster.
PIECE_ROWS = 5000
_CURSOR = "storpool_ovirt_trash"


class Entry(NamedTuple):
    """One row. Times are in seconds since 1970, by the clock of Engine's database.

    `deletion` is the same for what one delete took; `disk` and `node` are the ids that the object
    had in oVirt, of which there may be others by now. `kind` is what it was: in StorPool it is a
    snapshot now, with the id `global_id`. `active`: the VM wrote this volume. `tags` are all that
    the object had. At `ends_at` StorPool deletes it by itself; 0: it is about to be deleted now.
    What a volume had before its data were written over (at `deleted_at`) is `is_safety`.
    """

    entry: str
    deletion: str
    disk: str
    node: str
    kind: str
    global_id: str
    source: str | None
    size_bytes: int
    active: bool
    template: str
    tags: Mapping[str, str]
    created_at: float
    deleted_at: float
    ends_at: float
    correlation_id: str

    @property
    def is_safety(self) -> bool:
        """Whether nothing was deleted: it is a copy of a volume that was written over, and belongs
        to no deletion but itself."""
        return self.deletion == self.entry


class Moved(NamedTuple):
    """What has come into the trash: which entry a node is now, and what its row does not tell."""

    entry: str
    node: str
    global_id: str
    template: str
    tags: Mapping[str, str]


# Of which many rows say the same, or StorPool's lists do
_IDS = ("entry", "deletion", "disk", "node", "global_id")
_OTHERS = ("kind", "size_bytes", "template")


def entries(where: mapping.Mapping, words: Words | None = None) -> list[Entry]:
    """Return all of the trash, what was deleted first at the front.

    `words`: the texts of StorPool's lists and of these, so that each is held once, and no more of
    the server's answer than is read at a time. It is for the inside of a transaction then.
    """
    return _read(where, "") if words is None else list(_each(where, words))


def ends(where: mapping.Mapping, words: Words) -> dict[str, tuple[str, float]]:
    """Return of all of the trash, by the entries' ids, of which disk each is and when it ends."""
    rows = where.session.rows(
        "SELECT entry::text, disk::text, coalesce(extract(epoch FROM ends_at), 0)::float"
        " FROM storpool_ovirt.trash"
    )
    shared, other = words.ids.setdefault, words.others.setdefault
    return {
        shared(entry, entry): (shared(disk, disk), other(ends_at, ends_at))
        for entry, disk, ends_at in rows
    }


def ids(where: mapping.Mapping, words: Words) -> dict[str, str]:
    """Return of all of the trash the objects' global ids by the entries' own."""
    rows = where.session.rows("SELECT entry::text, global_id FROM storpool_ovirt.trash")
    shared = words.ids.setdefault
    return {shared(entry, entry): shared(global_id, global_id) for entry, global_id in rows}


def of(where: mapping.Mapping, uuid: str) -> list[Entry]:
    """Return what this id names: a disk, a node of one, a deletion or an entry. Of a disk's id that
    was used again there may be several deletions."""
    return _read(where, "WHERE %s IN (entry, deletion, disk, node)", uuid)


def expired(where: mapping.Mapping, by: float) -> list[Entry]:
    """Return the entries that have ended by then, in seconds since 1970: StorPool was to delete
    their objects by itself."""
    return _read(where, "WHERE ends_at <= to_timestamp(%s)", by)


def forgotten(uuids: Sequence[str]) -> Change:
    """Return the change: these entries are gone, or are no trash any more."""
    sql = "DELETE FROM storpool_ovirt.trash WHERE entry = ANY (%s::uuid[])"
    return Change(sql, (list(uuids),))


def purged(uuids: Sequence[str]) -> Change:
    """Return the change: these entries are about to be deleted, whenever they were to end."""
    sql = "UPDATE storpool_ovirt.trash SET ends_at = 'epoch' WHERE entry = ANY (%s::uuid[])"
    return Change(sql, (list(uuids),))


def kept(uuid: str, until: float) -> Change:
    """Return the change: this entry is kept until then, as before, as its object could not be
    deleted."""
    sql = "UPDATE storpool_ovirt.trash SET ends_at = to_timestamp(%s) WHERE entry = %s"
    return Change(sql, (until, uuid))


def written(found: Sequence[Entry]) -> Change:
    """Return the change: these are in the trash, since this moment where a row tells none. An entry
    that is there already stays as it is."""
    from storpool_ovirt import documents

    fields = [each._asdict() for each in found]
    for each in fields:
        each["tags"] = documents.written(dict(each["tags"]))
    return Change(
        """
        INSERT INTO storpool_ovirt.trash
            (entry, deletion, disk, node, kind, global_id, source, size_bytes, active, template,
            tags, created_at, deleted_at, ends_at, correlation_id)
        SELECT entry, deletion, disk, node, kind, global_id, source, size_bytes, active, template,
            tags::jsonb, to_timestamp(created_at),
            CASE WHEN deleted_at > 0 THEN to_timestamp(deleted_at) ELSE clock_timestamp() END,
            to_timestamp(ends_at), correlation_id
        FROM unnest(
            %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::uuid[],
            %s::bigint[], %s::boolean[], %s::text[], %s::text[], %s::float8[], %s::float8[],
            %s::float8[], %s::text[]
        ) AS found (entry, deletion, disk, node, kind, global_id, source, size_bytes, active,
            template, tags, created_at, deleted_at, ends_at, correlation_id)
        ON CONFLICT DO NOTHING
        """,
        tuple([each[name] for each in fields] for name in Entry._fields),
    )


def moved(deletion: str, ends_at: float, there: Sequence[Moved], correlation_id: str) -> Part:
    """Return the part that writes the entries of nodes whose rows go in the same statement.

    What the rows tell is taken from there; an entry that is there already stays as it is.
    """
    from storpool_ovirt import documents

    return Part(
        "trashed",
        """
        INSERT INTO storpool_ovirt.trash
            (entry, deletion, disk, node, kind, global_id, source, size_bytes, active, template,
            tags, created_at, ends_at, correlation_id)
        SELECT moved.entry, %s, node.root, node.uuid, node.kind, moved.global_id, node.source,
            node.size_bytes, coalesce(root.active, root.uuid) = node.uuid,
            moved.template, moved.tags::jsonb, node.created_at, to_timestamp(%s), %s
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[])
                AS moved (entry, node, global_id, template, tags)
            JOIN storpool_ovirt.node ON node.uuid = moved.node
            LEFT JOIN storpool_ovirt.node AS root ON root.uuid = node.root
        ON CONFLICT DO NOTHING
        """,
        (
            deletion,
            ends_at,
            correlation_id,
            [each.entry for each in there],
            [each.node for each in there],
            [each.global_id for each in there],
            [each.template for each in there],
            [documents.written(dict(each.tags)) for each in there],
        ),
    )


def _each(where: mapping.Mapping, words: Words) -> Iterator[Entry]:
    """Yield all of them, read some at a time."""
    rows = where.session.rows
    rows(f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {_SELECT} {_ORDER}")
    while piece := rows(f"FETCH FORWARD {PIECE_ROWS} FROM {_CURSOR}"):
        for row in piece:
            lean = words.leaned(Entry._make(row), _IDS, _OTHERS)
            yield lean._replace(tags=words.tags(dict(lean.tags)))
    rows(f"CLOSE {_CURSOR}")


def _read(where: mapping.Mapping, condition: str, *args: object) -> list[Entry]:
    rows = where.session.rows(f"{_SELECT} {condition} {_ORDER}", *args)
    return [Entry._make(row) for row in rows]
