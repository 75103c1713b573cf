"""The rows of all disks at once, and rows for what was found in the cluster: for the commands of
administrators, which meet hundreds of thousands of them.

They are read piece by piece, and kept as small as they can be: each in one tuple, whose texts are
those of the objects that they name, and whose last part many of them have in common. Measured with
300,000: 72 MB in place of 190, and as much again that psycopg2 would hold of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import mapping
from storpool_ovirt.engine.journal import PENDING
from storpool_ovirt.engine.mapping import Node

# Ours: the server sends so many at a time. More make it no faster.
PIECE_ROWS = 5000
_CURSOR = "storpool_ovirt_rows"
# What the root of a disk has for its active volume is mostly itself: "" says so.
_COLUMNS = f"""
    uuid::text, root::text, source::text, size_bytes, global_id, visible_id,
    kind, state, connected, CASE active WHEN uuid THEN '' ELSE active::text END, replaced::text,
    EXISTS (SELECT FROM storpool_ovirt.operation WHERE disk = root AND {PENDING}),
    first_id, moment, reserved"""
_MADE = """
    correlation_id,
    CASE WHEN isfinite(created_at)
        THEN greatest(0, extract(epoch FROM clock_timestamp() - created_at))::float
    END"""
_OWN_FIELDS = 6  # of a record, before what is made of `_COLUMNS` for many


class Record(NamedTuple):
    """A row, and which request made it how long ago; the age is None where others have changed the
    time.

    `node` is the row as everybody else has it; `others` are those of its fields that are not here.
    `request` is a correlation id, as a number where it is a UUID.
    """

    uuid: str
    root: str
    source: str | None
    size_bytes: int
    global_id: str | None
    visible_id: int | None
    others: tuple[Any, ...]
    request: str | int
    age_seconds: float | None

    @property
    def node(self) -> Node:
        """The row."""
        kind, state, connected, active, replaced, *rest = self.others
        own = self.uuid, kind, self.root, self.source, self.size_bytes, state, self.global_id
        pending, first_id, moment, reserved = rest
        written = self.uuid if active == "" else active
        seen = self.visible_id, first_id, moment, reserved
        return Node._make((*own, connected, written, replaced, pending, *seen))

    @property
    def correlation_id(self) -> str:
        """Which request made it."""
        return _uuid(self.request) if isinstance(self.request, int) else self.request

    @property
    def kind(self) -> str:
        """The row's kind."""
        return str(self.others[0])

    @property
    def state(self) -> str:
        """The row's state."""
        return str(self.others[1])

    @property
    def first_id(self) -> str | None:
        """The global id that its object had before any revert, where that is known."""
        found: str | None = self.others[-3]
        return found

    @property
    def moment(self) -> int | None:
        """The moment that the row is of."""
        number: int | None = self.others[-2]
        return number

    @property
    def reserved(self) -> bool:
        """Whether no verb has told Engine its id yet."""
        return bool(self.others[-1])

    def has_same_row(self, other: Record) -> bool:
        """Return whether both are of the same row, with all that it has."""
        return self[: _OWN_FIELDS + 1] == other[: _OWN_FIELDS + 1]

    def found_as(self, global_id: str) -> Record:
        """Return it with the global id that its object has, which may be another one since a
        revert."""
        return self._replace(global_id=global_id)


def each(where: mapping.Mapping, words: Words | None = None) -> Iterator[Record]:
    """Yield the rows of all disks with what is known of their making, oldest first.

    It is for the inside of a transaction. Texts that are in `words` are used from there.
    """
    sql = f"SELECT {_COLUMNS}, {_MADE} FROM storpool_ovirt.node ORDER BY created_at, uuid"
    return _each(where, sql, Words() if words is None else words)


def of_disk(where: mapping.Mapping, uuid: str) -> list[Record]:
    """Return the rows of the disk that has this node, none where it has no row; as
    `each`, for the inside of a transaction."""
    there = "WHERE root = (SELECT root FROM storpool_ovirt.node WHERE uuid = %s)"
    sql = f"SELECT {_COLUMNS}, {_MADE} FROM storpool_ovirt.node {there} ORDER BY created_at, uuid"
    return list(_each(where, sql, Words(), uuid))


def each_row(where: mapping.Mapping, words: Words) -> Iterator[Record]:
    """Yield the same in any order, and without what is known of their making."""
    return _each(where, f"SELECT {_COLUMNS}, '', NULL FROM storpool_ovirt.node", words)


def all(where: mapping.Mapping) -> list[Record]:  # noqa: A001  records.all, as journal.all
    """Return what `each` yields."""
    with where.session.snapshot():
        return list(each(where))


def _each(where: mapping.Mapping, sql: str, words: Words, *args: object) -> Iterator[Record]:
    session, known, other = where.session, words.ids.setdefault, words.others.setdefault
    session.rows(f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {sql}", *args)
    while True:
        rows = session.rows(f"FETCH FORWARD {PIECE_ROWS} FROM {_CURSOR}")
        for uuid, root, source, size_bytes, global_id, visible_id, *more in rows:
            *others, correlation_id, age_seconds = more
            rest = tuple(others)
            yield Record(
                uuid=known(uuid, uuid),
                root=known(root, root),
                source=source and known(source, source),
                size_bytes=other(size_bytes, size_bytes),
                global_id=global_id and known(global_id, global_id),
                visible_id=visible_id,
                others=other(rest, rest),
                request=_packed(correlation_id),
                age_seconds=age_seconds,
            )
        if len(rows) < PIECE_ROWS:
            break
    session.rows(f"CLOSE {_CURSOR}")


def _packed(correlation_id: str) -> str | int:
    """Return a UUID as a number, which takes half the memory; any other text as it is."""
    try:
        number = int(correlation_id.replace("-", ""), 16)
    except ValueError:
        return correlation_id
    return number if _uuid(number) == correlation_id else correlation_id


def _uuid(number: int) -> str:
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def adopt(where: mapping.Mapping, rows: Sequence[tuple[Node, float]]) -> frozenset[str]:
    """Write the rows of objects that were found in the cluster, all of them in one statement, each
    with the time of its object's making; return the ids of those that were written.

    One is not where its id, or its object, has a row.
    """
    fields: Mapping[str, Sequence[object]] = {
        "uuid": [node.uuid for node, _ in rows],
        "kind": [node.kind for node, _ in rows],
        "root": [node.root for node, _ in rows],
        "source": [node.source for node, _ in rows],
        "size_bytes": [node.size_bytes for node, _ in rows],
        "state": [node.state for node, _ in rows],
        "global_id": [node.global_id for node, _ in rows],
        "connected": [node.connected for node, _ in rows],
        "active": [node.active for node, _ in rows],
        "replaced": [node.replaced for node, _ in rows],
        "created_at": [at for _, at in rows],
        "visible_id": [node.visible_id for node, _ in rows],
        "first_id": [node.first_id for node, _ in rows],
    }
    names = ", ".join(fields)
    written = where.session.rows(
        f"""
        INSERT INTO storpool_ovirt.node ({names}, correlation_id)
        SELECT {names.replace("created_at", "to_timestamp(created_at)")}, %s
        FROM unnest(
            %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::text[],
            %s::boolean[], %s::uuid[], %s::uuid[], %s::float8[], %s::bigint[], %s::text[]
        ) AS found ({names})
        ON CONFLICT DO NOTHING
        RETURNING uuid::text
        """,
        where.journal.caller.correlation_id,
        *fields.values(),
    )
    return frozenset(uuid for (uuid,) in written)


class Adopted(NamedTuple):
    """A moment that a tag tells of, and its snapshots; `made_at` in seconds since 1970."""

    mark: str
    vm: str
    uuids: Sequence[str]
    made_at: float


def adopt_moments(where: mapping.Mapping, groups: Sequence[Adopted]) -> None:
    """Write of which moments snapshots are; one is made where there is no row of it.

    Such a row proves nothing, and no request claims from it.
    """
    where.session.rows(
        """
        WITH given AS (
            SELECT * FROM unnest(%s::text[], %s::text[], %s::float8[]) AS each (mark, vm, made_at)
        ), part AS (
            SELECT * FROM unnest(%s::text[], %s::uuid[]) AS each (mark, uuid)
        ), there AS (
            SELECT DISTINCT ON (mark) mark, id FROM storpool_ovirt.moment
            WHERE mark = ANY (%s)
            ORDER BY mark, id
        ), source AS (
            SELECT mark,
                array_agg(source ORDER BY source) FILTER (WHERE source IS NOT NULL) AS volumes
            FROM part JOIN storpool_ovirt.node USING (uuid)
            GROUP BY mark
        ), made AS (
            INSERT INTO storpool_ovirt.moment
                (mark, key, vm, state, volumes, incarnation, made_at)
            SELECT mark, '', vm, 'made', coalesce(source.volumes, '{}'), '', to_timestamp(made_at)
            FROM given JOIN source USING (mark)
            WHERE NOT EXISTS (SELECT FROM there WHERE there.mark = given.mark)
            RETURNING mark, id
        ), known AS (
            SELECT mark, id FROM there UNION ALL SELECT mark, id FROM made
        )
        UPDATE storpool_ovirt.node SET moment = known.id
        FROM part JOIN known USING (mark)
        WHERE node.uuid = part.uuid AND moment IS NULL AND kind = 'snapshot'
        """,
        [each.mark for each in groups],
        [each.vm for each in groups],
        [each.made_at for each in groups],
        [each.mark for each in groups for _ in each.uuids],
        [uuid for each in groups for uuid in each.uuids],
        [each.mark for each in groups],
    )


def activate(where: mapping.Mapping, pairs: Sequence[tuple[str, str]]) -> None:
    """Write of disks, by the ids of their roots, which volume their VM writes."""
    where.session.rows(
        """
        UPDATE storpool_ovirt.node SET active = each.active
        FROM unnest(%s::uuid[], %s::uuid[]) AS each (root, active)
        WHERE uuid = each.root
        """,
        [root for root, _ in pairs],
        [uuid for _, uuid in pairs],
    )
