"""The journal: which changes are under way, which died half-way, and whose answer Engine never got.

Before its first side effect an operation has one row: who (correlation id, verb, arguments,
process), what (the object with its planned name, tags, parent and size) and until when. The row
goes when Engine has the answer. So a row that is left, and whose process is gone, is a fact:
Engine believes that the verb failed (it takes an answer only from a process that ended with exit
code 0).

    running -> done -> (no row: the answer was delivered)
       |         `---> undelivered   nobody read the answer
       |-> failed                    Engine was told of a failure that may have taken effect
       `-> (no row: StorPool said a clear no)
    undone: another took it back; kept for a while, as a request under way may still take effect
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from storpool_ovirt import errors
from storpool_ovirt.engine import database

MAKE, GROW, DROP = "make", "grow", "drop"
RUNNING, FAILED, DONE, UNDELIVERED, UNDONE = "running", "failed", "done", "undelivered", "undone"
# What a process is said to be where /proc does not tell its machine, or its start.
UNTOLD, UNKNOWN_START = "-", "0"
# How long what was taken back is remembered: no request is under way for so long.
KEEP_DAYS = 1
_TEXTS = ("cluster", "kind", "api")  # of a plan
_PID_MAX = 1 << 22  # the kernel's, proc(5)

# The server, its timeline and the table that a row was written in. A row that came back with a
# backup has other ones: what it tells is older than what Engine did since. (An image of the whole
# server has the same: see `recovery.py`.)
_SERVER = "(SELECT system_identifier FROM pg_control_system()) || '/'"
_INCARNATION = (
    f"{_SERVER} || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' ||"
    " 'storpool_ovirt.operation'::regclass::oid"
)
# What the next verb on a disk has to look at: what is open, and what was taken back and may still
# come.
PENDING = (
    "(operation.state <> 'undone' OR operation.kind = 'make' AND operation.note <> 'nothing came')"
)
# What is dated later than this was written before the database's clock went back; rows that a
# rebuild made have the time of StorPool's clock, which may be a little ahead.
_SOON = "clock_timestamp() + interval '1 minute'"
_SELECT = (
    "SELECT id, correlation_id, verb, arguments, kind, disk::text, node::text, plan, state, note,"
    f" process, incarnation = {_INCARNATION}, greatest(0, extract(epoch FROM clock_timestamp() -"
    " started_at))::float, extract(epoch FROM until - greatest(started_at,"
    " clock_timestamp()))::float, started_at <= clock_timestamp(), NOT EXISTS (SELECT FROM"
    f" storpool_ovirt.operation WHERE started_at > {_SOON}) AND NOT EXISTS (SELECT FROM"
    f" storpool_ovirt.node WHERE created_at > {_SOON}) FROM storpool_ovirt.operation"
)


class Caller(NamedTuple):
    """Who runs this process: what Engine gave it, and the process itself."""

    correlation_id: str
    verb: str = "-"
    arguments: tuple[str, ...] = ()


class Intent(NamedTuple):
    """What is to be done: to MAKE, GROW or DROP a node of a disk; `plan` is what the journal tells
    of it."""

    kind: str
    disk: str
    node: str
    plan: Mapping[str, object]


class Own(NamedTuple):
    """The operation of this process."""

    id: int
    intent: Intent


class Change(NamedTuple):
    """A statement that changes the mapping, to be carried out together with an entry in the
    journal."""

    sql: str
    args: tuple[object, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One row. `left_seconds` is the time that its process still had; `proved`: written in this
    very database.

    Both ages are of the database's clock, which may go back: no age is negative, and none is longer
    left than it had. `is_past`: it is not dated in the future; `is_clock_sound`: nothing in the
    tables is.
    """

    id: int
    correlation_id: str
    verb: str
    arguments: tuple[str, ...]
    kind: str
    disk: str
    node: str
    plan: Mapping[str, object]
    state: str
    note: str
    process: str
    proved: bool
    age_seconds: float
    left_seconds: float
    is_past: bool
    is_clock_sound: bool

    def __str__(self) -> str:
        return f"{self.verb} (correlation id {self.correlation_id})"

    @property
    def is_open(self) -> bool:
        """Whether nobody has ended it yet."""
        return self.state != UNDONE

    def is_alive(self) -> bool:
        """Tell whether its process still runs: on this machine it is looked for, elsewhere its time
        decides."""
        machine, pid, started = self.process.split(":")
        here, own_pid, _ = process().split(":")
        if machine != here or machine == UNTOLD:
            return self.left_seconds > 0
        if pid == own_pid or not _runs(int(pid)):
            return (
                False  # our own process is at one operation at a time: what it left before is over
            )
        found = _started(pid)
        # Another user's process may be hidden (proc(5), hidepid): it is there, and nobody can tell
        # since when.
        return (
            found == started
            if found is not None and started != UNKNOWN_START
            else self.left_seconds > 0
        )

    def is_fresh(self, seconds: float) -> bool:
        """Tell whether it is certainly no older than this: an old one must not look new because a
        clock went back.

        The process tells too, as the time since this machine's start never goes back: an entry is
        no older than it.
        """
        if not self.is_clock_sound or self.age_seconds > seconds:
            return False
        machine, _, ticks = self.process.split(":")
        here = process()
        if machine != here.split(":")[0] or self.process == here:
            return True
        return (
            time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
            <= seconds
        )


class Journal:
    """The journal as one process keeps it: at most one operation of its own at a time."""

    def __init__(self, session: database.Session, caller: Caller, own: Own | None = None) -> None:
        self._session = session
        self.caller = caller
        self.own = own

    def check(self) -> str:
        """Prove that entries can be written: what they tell of the server, our role may be
        forbidden to ask.

        Returns the server's own id (`pg_control_system`): a copy of the whole server has the same,
        a dump has not.
        """
        asked = _INCARNATION if self._session.is_made else _SERVER
        told: str = self._session.rows(f"SELECT {asked}")[0][0]
        return told.partition("/")[0]

    def begin(
        self, intent: Intent, change: Change | None = None, *, only_if_changed: bool = False
    ) -> bool:
        """Write what is about to be done, and carry out `change` with it.

        False, and nothing is written, when it is `only_if_changed` and the change (with RETURNING)
        met no row.
        """
        first = f"WITH change AS ({change.sql}) " if change else ""
        where = " WHERE EXISTS (SELECT FROM change)" if only_if_changed else ""
        rows = self._session.rows(
            f"{first}INSERT INTO storpool_ovirt.operation (correlation_id, verb, arguments, kind,"
            " disk, node, plan, process, incarnation, until) SELECT %s, %s, %s::text[], %s,"
            f" %s::uuid, %s::uuid, %s::jsonb, %s, {_INCARNATION}, clock_timestamp() +"
            f" make_interval(secs => %s){where} RETURNING id",
            *(change.args if change else ()),
            self.caller.correlation_id,
            self.caller.verb,
            list(self.caller.arguments),
            intent.kind,
            intent.disk,
            intent.node,
            json.dumps(intent.plan),
            process(),
            self._session.deadline.remaining(),
        )
        if rows:
            self.own = Own(rows[0][0], intent)
        return bool(rows)

    def finish(self, change: Change) -> None:
        """Write that our operation is done, together with its result in the mapping."""
        self._with(change, "UPDATE storpool_ovirt.operation SET state = 'done' WHERE id = %s")

    def give_up(self, change: Change) -> None:
        """Write that our operation is over without a result, though a request of it may still take
        effect."""
        self._with(change, "UPDATE storpool_ovirt.operation SET state = 'undone' WHERE id = %s")
        self.own = None

    def take_back(self, change: Change) -> None:
        """Forget our operation, which has had no effect, together with what was planned in the
        mapping."""
        self._with(change, "DELETE FROM storpool_ovirt.operation WHERE id = %s")
        self.own = None

    def claim_again(self, note: str) -> None:
        """Write our operation once more as one whose answer Engine did not get: nobody knows what
        became of its row."""
        own, self.own = self.own, None
        if own is not None:
            self.begin(own.intent)
            self.failed(UNDELIVERED, note)

    def delivered(self) -> None:
        """Write that Engine has the answer: nothing is open any more, also of earlier tries to make
        the same object."""
        if self.own is None:
            return
        self._session.rows(
            "DELETE FROM storpool_ovirt.operation WHERE id = %s OR (%s AND node = %s)"
            " OR (state = 'undone' AND until < clock_timestamp() - make_interval(days => %s))",
            self.own.id,
            self.own.intent.kind == MAKE,
            self.own.intent.node,
            KEEP_DAYS,
        )
        self.own = None

    def failed(self, state: str, note: str) -> None:
        """Write how our operation ended, when it did not end well: FAILED or UNDELIVERED."""
        if self.own is not None:
            self._session.rows(
                "UPDATE storpool_ovirt.operation SET state = %s, note = %s WHERE id = %s",
                state,
                note,
                self.own.id,
            )

    def of_disk(self, disk: str) -> list[Operation]:
        """Return what is open on a disk, or was taken back and may still come, oldest first; but
        not our own."""
        own = self.own.id if self.own else 0
        return self._operations(
            f"WHERE disk = %s AND id <> %s AND {PENDING} ORDER BY id", disk, own
        )

    def all(self) -> list[Operation]:
        """Return every row, oldest first."""
        return self._operations("ORDER BY id")

    def close(self, operation: Operation, change: Change) -> None:
        """Forget an operation of another process, together with its result in the mapping."""
        self._session.rows(
            f"WITH closed AS (DELETE FROM storpool_ovirt.operation WHERE id = %s) {change.sql}",
            operation.id,
            *change.args,
        )

    def undo(self, operation: Operation, change: Change) -> None:
        """Write that another process' operation was taken back, together with what that means for
        the mapping."""
        self._session.rows(
            "WITH undone AS (UPDATE storpool_ovirt.operation SET state = 'undone' WHERE id = %s)"
            f" {change.sql}",
            operation.id,
            *change.args,
        )

    def nothing_came(self, operation: Operation) -> None:
        """Write that what was taken back has not taken effect after all: only the audit needs the
        entry from now on."""
        self._session.rows(
            "UPDATE storpool_ovirt.operation SET note = 'nothing came' WHERE id = %s", operation.id
        )

    def undo_disk(self, disk: str) -> None:
        """Write that whatever was open on a disk is over, as the disk is gone; what was to be made
        may still come."""
        own = self.own.id if self.own else 0
        self._session.rows(
            "WITH over AS (DELETE FROM storpool_ovirt.operation WHERE disk = %s AND id <> %s AND"
            " kind <> 'make') UPDATE storpool_ovirt.operation SET state = 'undone' WHERE disk = %s"
            " AND id <> %s AND kind = 'make'",
            disk,
            own,
            disk,
            own,
        )

    def deleted(self, uuid: str) -> None:
        """Forget the deletes of an object that is gone: Engine asks again because it got no
        answer."""
        for operation in self._operations("WHERE node = %s AND kind = 'drop'", uuid):
            if not operation.is_alive():
                self.close(operation, Change("SELECT 1"))

    def lock(self, disk: str, shared: bool = False) -> None:
        """Hold a disk (by its root's id) until the connection ends.

        Raises Locked, naming who holds it.
        """
        if not self._session.lock(disk, shared):
            raise errors.Locked(
                f"disk {disk}",
                min(database.LOCK_SECONDS, self._session.deadline.seconds),
                self._holder(disk),
            )

    def _holder(self, disk: str) -> str:
        key = database.lock_key(disk) & ((1 << 64) - 1)
        rows = self._session.rows(
            "SELECT verb, correlation_id, process, to_char(started_at AT TIME ZONE 'UTC',"
            " 'HH24:MI:SS') FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN"
            " storpool_ovirt.operation ON backend = pid AND started_at >= backend_start AND"
            " operation.state = 'running' WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND classid::bigint = %s AND objid::bigint = %s ORDER BY id DESC LIMIT 1",
            key >> 32,
            key & 0xFFFFFFFF,
        )
        if not rows:
            return ""
        verb, correlation_id, by, since = rows[0]
        return (
            f"{verb} with correlation id {correlation_id}, process {by.split(':')[1]}, since"
            f" {since} UTC"
        )

    def _with(self, change: Change, entry: str) -> None:
        if self.own is None:
            self._session.rows(change.sql, *change.args)
            return
        self._session.rows(f"WITH entry AS ({entry}) {change.sql}", self.own.id, *change.args)

    def _operations(self, where: str, *args: object) -> list[Operation]:
        rows = self._session.rows(f"{_SELECT} {where}", *args)
        found = [Operation(row[0], row[1], row[2], tuple(row[3]), *row[4:]) for row in rows]
        for each in found:
            self._check(each)
        return found

    def _check(self, operation: Operation) -> None:
        """Raise DatabaseUnavailable for an entry that no program of ours can have written: what it
        tells is unknown."""
        plan, parts = operation.plan, operation.process.split(":")
        texts = isinstance(plan, dict) and all(
            isinstance(plan.get(key, ""), (str, type(None))) for key in _TEXTS
        )
        numbers = len(parts) == 3 and all(
            each.isascii() and each.isdigit() and len(each) < 20 for each in parts[1:]
        )
        if not texts or not numbers or int(parts[1]) > _PID_MAX:
            raise errors.DatabaseUnavailable(
                str(self._session.address),
                f"entry {operation.id} of its table storpool_ovirt.operation, on disk"
                f" {operation.disk}, was changed by others: its plan, or its process, cannot be"
                " read",
            )


def process() -> str:
    """Return who this process is: the machine's boot and name space, the pid, and its start (a pid
    is used again).

    What /proc does not tell is put as UNTOLD and UNKNOWN_START.
    """
    pid = str(os.getpid())
    return f"{_machine()}:{pid}:{_started(pid) or UNKNOWN_START}"


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        space = os.readlink("/proc/self/ns/pid")[5:-1]
    except OSError:
        return UNTOLD
    return f"{boot}/{space}"


def _started(pid: str) -> str | None:
    """Return when a process was started, None where /proc does not tell it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # Field 22 of proc(5), counted behind the name in parentheses, which may hold anything.
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _runs(pid: int) -> bool:
    """Tell whether there is a process of this number, whoever may look at it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
