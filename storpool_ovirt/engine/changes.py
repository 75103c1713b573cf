"""Changes of the mapping: statements that are carried out together with an entry in the journal, in
one statement."""

from __future__ import annotations

from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORGET_ENTRIES = "DELETE FROM storpool_ovirt.operation WHERE id = ANY (%s)"


class Part(NamedTuple):
    """A statement that takes effect together with another one, which may read what it returns by
    its name."""

    name: str
    sql: str
    args: tuple[object, ...] = ()


class Change(NamedTuple):
    """A statement that changes rows, its arguments, and the parts that stand before it."""

    sql: str
    args: tuple[object, ...] = ()
    parts: tuple[Part, ...] = ()

    def after(self, *parts: Part) -> Change:
        """Return this change with these parts before its own."""
        return self._replace(parts=(*parts, *self.parts))

    def whole(self) -> tuple[str, tuple[object, ...]]:
        """Return the one statement that all of it is, and its arguments."""
        first = ", ".join(f"{part.name} AS ({part.sql})" for part in self.parts)
        args = [each for part in self.parts for each in part.args]
        return (f"WITH {first} {self.sql}" if first else self.sql), (*args, *self.args)


def completed(uuid: str, global_id: str) -> Change:
    """Return the change: the object exists under this global id."""
    return Change(
        """
        UPDATE storpool_ovirt.node SET state = 'live', global_id = %s
        WHERE uuid = %s
        """,
        (global_id, uuid),
    )


def replaced(uuid: str, global_id: str, visible_id: int | None) -> Change:
    """Return the change: another object is the one of this row from now on."""
    return Change(
        """
        UPDATE storpool_ovirt.node
        SET state = 'live', global_id = %s, visible_id = %s, first_id = NULL
        WHERE uuid = %s
        """,
        (global_id, visible_id, uuid),
    )


def preview_completed(uuid: str, global_id: str, root: str) -> Change:
    """Return the change: a preview volume exists, and is the one that its disk's VM writes."""
    return Change(
        """
        UPDATE storpool_ovirt.node SET
            state = CASE WHEN uuid = %s THEN 'live' ELSE state END,
            global_id = CASE WHEN uuid = %s THEN %s ELSE global_id END,
            active = CASE WHEN uuid = %s THEN %s ELSE active END
        WHERE uuid IN (%s, %s)
        """,
        (uuid, uuid, global_id, root, uuid, uuid, root),
    )


def resized(uuid: str, size_bytes: int) -> Change:
    """Return the change: the volume has this size."""
    return Change(
        """
        UPDATE storpool_ovirt.node SET size_bytes = %s
        WHERE uuid = %s
        """,
        (size_bytes, uuid),
    )


def activated(root: str, uuid: str) -> Change:
    """Return the change: this is the volume that the disk's VM writes."""
    return Change(
        """
        UPDATE storpool_ovirt.node SET active = %s
        WHERE uuid = %s
        """,
        (uuid, root),
    )


def connected(uuid: str, root: str) -> Change:
    """Return the change: the volume was described to a host, and is the one in use, if it is
    there."""
    return Change(
        """
        UPDATE storpool_ovirt.node SET
            connected = connected OR uuid = %s,
            active = CASE WHEN uuid = %s THEN %s ELSE active END
        WHERE uuid IN (%s, %s)
            AND EXISTS (SELECT FROM storpool_ovirt.node WHERE uuid = %s AND state = 'live')
        """,
        (uuid, root, uuid, uuid, root, uuid),
    )


def marked(uuids: Sequence[str], state: str) -> Change:
    """Return the change: these rows have this state.

    One that is only planned stays so when a delete is taken back.
    """
    return Change(
        """
        UPDATE storpool_ovirt.node SET
            state = CASE WHEN global_id IS NULL AND %s = 'live' THEN 'planned' ELSE %s END
        WHERE uuid = ANY (%s::uuid[])
        """,
        (state, state, list(uuids)),
    )


def forgotten(uuids: Sequence[str]) -> Change:
    """Return the change: these rows are gone."""
    return Change(
        """
        DELETE FROM storpool_ovirt.node
        WHERE uuid = ANY (%s::uuid[])
        """,
        (list(uuids),),
    )


def unsaid(uuids: Sequence[str]) -> Part:
    """Return the part: nothing is said any more of those of these that are disks, which go
    (`policies.py`)."""
    gone = "DELETE FROM storpool_ovirt.policy WHERE scope = 'disk' AND id = ANY (%s::text[])"
    return Part("unsaid", gone, (list(uuids),))


def unsaid_of_new(uuid: str) -> Part:
    """Return the part: nothing is said of a disk whose row is written, if there was none of its id:
    what was said is of an earlier disk, which a program deleted that does not know the table."""
    gone = """
        DELETE FROM storpool_ovirt.policy WHERE scope = 'disk' AND id = %s
            AND NOT EXISTS (SELECT FROM storpool_ovirt.node WHERE uuid = %s)"""
    return Part("unsaid", gone, (uuid, uuid))


def told(uuid: str) -> Change:
    """Return the change: Engine has the id of this snapshot."""
    return Change("UPDATE storpool_ovirt.node SET reserved = false WHERE uuid = %s", (uuid,))


def moment_died(number: int) -> Change:
    """Return the change: this moment was begun, and nothing is left of it."""
    return Change(
        """
        UPDATE storpool_ovirt.moment SET state = 'failed', note = 'its process died'
        WHERE id = %s AND state = 'begun'
            AND NOT EXISTS (SELECT FROM storpool_ovirt.node WHERE node.moment = moment.id)
        """,
        (number,),
    )


def without_entries(ids: Iterable[int]) -> Part:
    """Return the part: these entries of the journal are forgotten."""
    return Part("entries", FORGET_ENTRIES, (list(ids),))


def unchanged() -> Change:
    """Return the change that changes nothing: for an entry in the journal alone."""
    return Change("SELECT 1")
