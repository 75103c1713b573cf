"""The journal: which changes are under way, which died half-way, and whose answer Engine never got.

Before its first side effect an operation has one row: who (correlation id, verb, arguments,
process), what (the object with its planned name, tags, parent and size) and until when. The row
goes when Engine has the answer. So a row that is left, and whose process is gone, is a fact:
Engine believes that the verb failed (it takes an answer only from a process that ended with exit
code 0). `operations.py` draws the states of a row.
"""

from __future__ import annotations

from storpool_ovirt import documents, errors
from storpool_ovirt.engine import changes, intent, operations, process
from storpool_ovirt.engine.changes import Change, Part
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from storpool_ovirt.engine import database
    from storpool_ovirt.engine.intent import Intent
    from storpool_ovirt.engine.operations import Operation

# How long what was taken back is remembered: no request is under way for so long.
KEEP_DAYS = 1

# The server, its timeline and the table that a row was written in. A row that came back with a
# backup has other ones: what it tells is older than what Engine did since. (An image of the whole
# server has the same: see `recovery.py`.)
_SERVER = "(SELECT system_identifier FROM pg_control_system()) || '/'"
INCARNATION = f"""{_SERVER}
        || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
        || 'storpool_ovirt.operation'::regclass::oid"""
_NOTHING_CAME = "nothing came"
# What the next verb on a disk has to look at: what is open, and what was taken back and may still
# come.
PENDING = f"""
    (operation.state <> 'undone'
        OR operation.kind = 'make' AND operation.note <> '{_NOTHING_CAME}')"""
# What is dated later than this was written before the database's clock went back; rows that a
# rebuild made have the time of StorPool's clock, which may be a little ahead.
_SOON = "clock_timestamp() + interval '1 minute'"
# The fields of an `Operation`, in the order of the columns of `_SELECT`.
_FIELDS = operations.Operation._fields
_SELECT = f"""
    SELECT id, correlation_id, verb, arguments, kind, disk::text, node::text, plan, state, note,
        process,
        incarnation = {INCARNATION} AS proved,
        CASE WHEN isfinite(started_at)
            THEN greatest(0, extract(epoch FROM clock_timestamp() - started_at))::float
        END AS age_seconds,
        CASE WHEN isfinite(started_at) AND isfinite(until)
            THEN extract(epoch FROM until - greatest(started_at, clock_timestamp()))::float
        END AS left_seconds,
        started_at <= clock_timestamp() AS is_past,
        NOT EXISTS (SELECT FROM storpool_ovirt.operation WHERE started_at > {_SOON})
            AND NOT EXISTS (SELECT FROM storpool_ovirt.node WHERE created_at > {_SOON})
            AS is_clock_sound
    FROM storpool_ovirt.operation"""
_INSERT = f"""
    INSERT INTO storpool_ovirt.operation
        (correlation_id, verb, arguments, kind, disk, node, plan, state, process, incarnation,
        until)
    SELECT %s, %s, %s::text[], each.kind, each.disk, each.node, each.plan::jsonb, %s, %s,
        {INCARNATION}, clock_timestamp() + make_interval(secs => %s)
    FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::text[]) AS each (kind, disk, node, plan)"""


class Caller(NamedTuple):
    """Who runs this process: what Engine gave it, and the process itself."""

    correlation_id: str
    verb: str = "-"
    arguments: tuple[str, ...] = ()


class OwnOperation(NamedTuple):
    """The operation of this process; `others` are its entries on other disks, where it makes
    something of several."""

    id: int
    intent: Intent
    others: tuple[int, ...] = ()

    @property
    def ids(self) -> list[int]:
        """All of its entries."""
        return [self.id, *self.others]


class Journal:
    """The journal as one process keeps it: at most one operation of its own at a time."""

    def __init__(
        self, session: database.Session, caller: Caller, own: OwnOperation | None = None
    ) -> None:
        self._session = session
        self.caller = caller
        self.own = own

    def check(self, more: str = "NULL", *args: object) -> tuple[str, Any]:
        """Prove that entries can be written; return the server's own id (`pg_control_system`), and
        the value of the expression `more`, which may ask our tables: None where they are lacking.

        Our role may be forbidden to ask for what an entry has of the server. A copy of the whole
        server has the same id, a dump has not.
        """
        if self._session.lacks_tables:
            asked, more, args = _SERVER, "NULL", ()
        else:
            asked = INCARNATION
        [(incarnation, found)] = self._session.read(
            f"SELECT {asked} AS incarnation, {more} AS more", *args
        )
        return incarnation.partition("/")[0], found

    def begin(
        self,
        aim: Intent,
        change: Change | None = None,
        *,
        only_if_changed: bool = False,
        others: Sequence[Intent] = (),
        state: str = operations.RUNNING,
    ) -> bool:
        """Write what is about to be done, carry out `change` with it, and return whether it was
        written.

        `only_if_changed`: nothing is written when the change (with RETURNING) met no row. `others`
        are done together with it, on other disks: each has an entry, so that whoever comes after
        finds it there. `state`: DONE where the change is all that there is to do.
        """
        aims = (aim, *others)
        entries = Change(
            f"{_INSERT} {'WHERE EXISTS (SELECT FROM change)' if only_if_changed else ''}"
            " RETURNING node::text, id",
            (
                self.caller.correlation_id,
                self.caller.verb,
                list(self.caller.arguments),
                state,
                str(process.own()),
                self._session.deadline.remaining(),
                [each.kind for each in aims],
                [each.disk for each in aims],
                [each.node for each in aims],
                [documents.written(each.plan) for each in aims],
            ),
        )
        if change is not None:
            entries = entries.after(*change.parts, Part("change", change.sql, change.args))
        sql, args = entries.whole()
        ids = dict(self._session.rows(sql, *args))
        if not ids:
            return False
        own = ids.pop(aim.node)
        self.own = OwnOperation(own, aim, tuple(sorted(ids.values())))
        return True

    def begin_writing_over(self, change: Change) -> None:
        """Write that our operation only goes forward from here on, as all that it writes over has
        been copied, together with the rows of the copies."""
        begun = """
            UPDATE storpool_ovirt.operation SET plan = jsonb_set(plan, '{over,begun}', 'true')
            WHERE id = ANY (%s)"""
        self._with(change, begun, self.own.ids if self.own is not None else None)

    def finish(self, change: Change) -> None:
        """Write that our operation is done, together with its result in the mapping.

        Its answer is of its own disk alone: nothing is open on the others any more.
        """
        own = self.own
        if own is not None and own.others:
            change = change.after(changes.without_entries(own.others))
        done = "UPDATE storpool_ovirt.operation SET state = 'done' WHERE id = %s"
        self._with(change, done, own.id if own is not None else None)
        if own is not None:
            self.own = own._replace(others=())

    def give_up(self, change: Change) -> None:
        """Write that our operation is over without a result.

        A request of it may still take effect.
        """
        undone = "UPDATE storpool_ovirt.operation SET state = 'undone' WHERE id = ANY (%s)"
        self._with(change, undone, self.own.ids if self.own is not None else None)
        self.own = None

    def take_back(self, change: Change) -> None:
        """Forget our operation, which has had no effect, together with what was planned in the
        mapping."""
        self._with(change, changes.FORGET_ENTRIES, self.own.ids if self.own is not None else None)
        self.own = None

    def claim_again(self, note: str) -> None:
        """Write our operation once more, as one whose answer Engine did not get.

        For where nobody knows what became of its row.
        """
        own, self.own = self.own, None
        if own is not None:
            self.begin(own.intent)
            self.failed(operations.UNDELIVERED, note)

    def delivered(self) -> None:
        """Write that Engine has the answer.

        Nothing is open any more then, of earlier tries to make the same object neither.
        """
        if self.own is None:
            return
        # By now(), not by clock_timestamp(), which no index is asked for
        self._session.rows(
            """
            DELETE FROM storpool_ovirt.operation
            WHERE id = %s
                OR (%s AND node = %s)
                OR (state = 'undone' AND until < now() - make_interval(days => %s))
            """,
            self.own.id,
            self.own.intent.kind == intent.MAKE,
            self.own.intent.node,
            KEEP_DAYS,
        )
        self.own = None

    def failed(self, state: str, note: str) -> None:
        """Write how our operation ended, when it did not end well: FAILED or UNDELIVERED."""
        if self.own is not None:
            self._session.rows(
                "UPDATE storpool_ovirt.operation SET state = %s, note = %s WHERE id = ANY (%s)",
                state,
                note,
                self.own.ids,
            )

    def of_disk(self, disk: str) -> list[Operation]:
        """Return the operations of others that are open on a disk, or were taken back and may still
        come; oldest first."""
        own = self.own.ids if self.own else [0]
        return self._operations(
            f"WHERE disk = %s AND id <> ALL (%s) AND {PENDING} ORDER BY id", disk, own
        )

    def all(self) -> list[Operation]:
        """Return every row, oldest first."""
        return self._operations("ORDER BY id")

    def writing_over(self) -> list[Operation]:
        """Return what writes over the data of disks, and is not ended."""
        found = self._operations("WHERE plan ? 'over' AND state <> 'undone' ORDER BY id")
        return [each for each in found if each.writes_over and not each.has_done_its_work]

    def close(self, operation: Operation, change: Change, others: Sequence[Operation] = ()) -> None:
        """Forget an operation of another process, together with its result in the mapping, and
        with its entries on other disks."""
        self._session.rows(
            f"""
            WITH closed AS (DELETE FROM storpool_ovirt.operation WHERE id = ANY (%s))
            {change.sql}
            """,
            [each.id for each in (operation, *others)],
            *change.args,
        )

    def undo(self, operation: Operation, change: Change) -> None:
        """Write that another process' operation was taken back, together with what that means for
        the mapping."""
        self._session.rows(
            f"""
            WITH undone AS (UPDATE storpool_ovirt.operation SET state = 'undone' WHERE id = %s)
            {change.sql}
            """,
            operation.id,
            *change.args,
        )

    def nothing_came(self, operation: Operation) -> None:
        """Write that what was taken back has not taken effect.

        Only the audit needs the entry from now on.
        """
        self._session.rows(
            "UPDATE storpool_ovirt.operation SET note = %s WHERE id = %s",
            _NOTHING_CAME,
            operation.id,
        )

    def undo_disk(self, disk: str) -> None:
        """Write that whatever was open on a disk is over, as the disk is gone.

        What was to be made may still come.
        """
        own = self.own.id if self.own else 0
        self._session.rows(
            """
            WITH over AS (
                DELETE FROM storpool_ovirt.operation
                WHERE disk = %s AND id <> %s AND kind <> 'make'
            )
            UPDATE storpool_ovirt.operation SET state = 'undone'
            WHERE disk = %s AND id <> %s AND kind = 'make'
            """,
            disk,
            own,
            disk,
            own,
        )

    def deleted(self, uuid: str) -> None:
        """Forget the deletes of an object that is gone.

        Engine asks for one again because it got no answer.
        """
        for operation in self._operations("WHERE node = %s AND kind = 'drop'", uuid):
            if not operation.is_alive():
                self.close(operation, changes.unchanged())

    def _with(self, change: Change, entry: str, own: int | list[int] | None) -> None:
        """Write a change together with what becomes of our entry, where there is one."""
        if own is not None:
            change = change.after(Part("entry", entry, (own,)))
        sql, args = change.whole()
        self._session.rows(sql, *args)

    def _operations(self, where: str, *args: object) -> list[Operation]:
        return [self._read(*row) for row in self._session.rows(f"{_SELECT} {where}", *args)]

    def _read(self, *row: Any) -> Operation:
        """Return the operation of a row; raise DatabaseUnavailable for one that no program of ours
        can have written, as what it tells is unknown then."""
        found = dict(zip(_FIELDS, row))
        number, disk = found["id"], found["disk"]
        if found["age_seconds"] is None or found["left_seconds"] is None:
            raise self._changed(number, disk, "its times cannot")
        try:
            found["plan"] = intent.parse(found["plan"])
            found["process"] = process.parse(found["process"])
        except ValueError as error:
            raise self._changed(number, disk, "its plan, or its process, cannot") from error
        return operations.Operation(**{**found, "arguments": tuple(found["arguments"])})

    def _changed(self, number: int, disk: str, what_cannot: str) -> errors.DatabaseUnavailable:
        return errors.DatabaseUnavailable(
            str(self._session.address),
            f"entry {number} of its table storpool_ovirt.operation, on disk {disk}, was changed by"
            f" others: {what_cannot} be read",
        )
