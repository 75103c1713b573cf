"""Moments: snapshots of several disks of one VM, made at one time (rows of the table `moment`).

begun -> made     all snapshots exist; one was answered, the others are `reserved`
   `---> failed   none is to be used: later verbs of the same action fail as well

Engine asks for the disks one after the other. The first verb makes all snapshots, each later one
claims the row that is reserved for its disk. What nobody claimed was never known to Engine.
"""

from __future__ import annotations

import os

from storpool_ovirt import names, option_table
from storpool_ovirt.engine import database, holds, locks, mapping
from storpool_ovirt.engine.changes import Change, Part
from storpool_ovirt.engine.journal import INCARNATION, PENDING
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

BEGUN, MADE, FAILED = "begun", "made", "failed"
# How long a reserved snapshot may be claimed, and how long a failure is that of the same action:
# Engine asks for one disk right after the other.
CLAIM_SECONDS = 60.0
KEEP_DAYS = 1  # what is left of a moment without snapshots, for people

_COLUMNS = f"""
    moment.id, mark, key, action, vm, client, moment.state, volumes::text[], told::text[],
    moment.note,
    CASE WHEN isfinite(made_at)
        THEN greatest(0, extract(epoch FROM clock_timestamp() - made_at))::float
    END AS age_seconds,
    moment.incarnation = {INCARNATION} AS proved"""
# What verbs of it have begun, and of which Engine may not have the answer.
_OPEN = f"""
    EXISTS (
        SELECT FROM storpool_ovirt.operation
        WHERE plan->'tags'->>'{names.TAG_MOMENT}' = mark AND {PENDING}
    )"""
# All of its snapshots are there, but for those of volumes that were deleted since.
WHOLE = """NOT EXISTS (
        SELECT FROM storpool_ovirt.node AS volume
        WHERE volume.uuid = ANY (volumes) AND NOT EXISTS (
            SELECT FROM storpool_ovirt.node AS taken
            WHERE taken.moment = moment.id AND taken.source = volume.uuid
                AND taken.state = 'live'
        )
    )"""
# Nothing is left of it, and people had time to look at how it ended.
FORGOTTEN = f"""
    made_at < clock_timestamp() - make_interval(days => {KEEP_DAYS})
    AND NOT EXISTS (SELECT FROM storpool_ovirt.node AS made WHERE made.moment = moment.id)"""
_MARK_BYTES = 8
# Of which Engine knows how it ended: the one that is told so now, and those of the verbs before,
# whose snapshots are not reserved (any more). Asked for again they are of another action.
_TOLD = """
    told || %s::uuid || ARRAY(
        SELECT source FROM storpool_ovirt.node WHERE node.moment = moment.id AND NOT reserved
    )"""
_NODE_FIELDS = len(mapping.Node._fields)
# The row of a volume, and with it its place in the newest moment of a key.
_PLACE = f"""
    SELECT node.*, made.*, taken.*
    FROM ({mapping.SELECT_NODE} WHERE uuid = %s) AS node
    LEFT JOIN LATERAL (
        SELECT {_COLUMNS},
            NOT {_OPEN} AND {WHOLE} AS is_whole
        FROM storpool_ovirt.moment
        WHERE key = %s AND %s::uuid = ANY (volumes)
        ORDER BY id DESC
        LIMIT 1
    ) AS made ON true
    LEFT JOIN LATERAL (
        {mapping.SELECT_NODE} WHERE node.moment = made.id AND node.source = %s
    ) AS taken ON true
    """


class Moment(NamedTuple):
    """One row. `key` is the correlation id, `action` the id that Engine gave the action, or "".

    `volumes` are those whose snapshots it has, or was to have; `told` are those of a failed one of
    which Engine was told so. `proved`: it was written in this very database, and did not come back
    with a backup. The age is since it was begun, made, last claimed from, or Engine was told of its
    failure last; None where others have changed the time.
    """

    id: int
    mark: str
    key: str
    action: str
    vm: str
    client: int | None
    state: str
    volumes: tuple[str, ...]
    told: tuple[str, ...]
    note: str
    age_seconds: float | None
    proved: bool

    def is_of(self, action: str) -> bool:
        """Return whether it is of the action that goes on now, whose verbs have its key.

        Where Engine's own id of the action is not known, the time has to tell: a client may use the
        same correlation id again. A moment has none where a verb of it failed early.
        """
        if action and self.action:
            return action == self.action
        # One that was only begun is as old as the verb that was to make it
        limit = CLAIM_SECONDS + (option_table.DEADLINE_SECONDS if self.state == BEGUN else 0)
        is_young = self.age_seconds is not None and self.age_seconds <= limit
        return is_young and (bool(action) or names.UUID.fits(self.key))


class Place(NamedTuple):
    """The snapshot of one volume in a moment: `snapshot` is its row, None where that is gone.

    `is_whole`: all of the moment's snapshots are there, and none of its verbs has anything open.
    """

    moment: Moment
    snapshot: mapping.Node | None
    is_whole: bool

    def has_to_say(self, volume: str) -> bool:
        """Return whether it has anything to say to the verb of this volume yet: a snapshot that
        nobody claimed, or that it failed."""
        if self.moment.state != MADE:
            return volume not in self.moment.told
        return self.snapshot is not None and self.snapshot.reserved

    @property
    def was_asked(self) -> bool:
        """Whether a verb has asked for its snapshot already: who asks again begins another
        action."""
        return self.snapshot is not None and not self.snapshot.reserved

    @property
    def is_usable(self) -> bool:
        """Whether its snapshots may be claimed.

        Engine's verbs come one after the other: where an earlier one did not end well, Engine knows
        nothing of it.
        """
        return self.moment.state == MADE and self.is_whole and self.moment.proved


def thought_of(key: str, vm: str, volumes: tuple[str, ...], **facts: Any) -> Moment:
    """Return a moment that has no row yet."""
    made = Moment(
        id=0,
        mark=os.urandom(_MARK_BYTES).hex(),
        key=key,
        action="",
        vm=vm,
        client=None,
        state=BEGUN,
        volumes=volumes,
        told=(),
        note="",
        age_seconds=0.0,
        proved=True,
    )
    return made._replace(**facts)


def all(session: database.Session) -> dict[int, Moment]:  # noqa: A001  moments.all, as journal.all
    """Return every row by its number, oldest first."""
    rows = session.rows(f"SELECT {_COLUMNS} FROM storpool_ovirt.moment ORDER BY id")
    return {moment.id: moment for moment in map(_read, rows)}


def place(there: mapping.Mapping, key: str, volume: str) -> tuple[mapping.Node, Place | None]:
    """Return the row of a volume, and its place in the newest moment of this key, if there is one.

    Raises NotFound.
    """
    rows = there.session.rows(_PLACE, *_place_args(key, volume))
    if not rows:
        raise mapping.missing(volume)
    return _placed(rows[0])


def held_place(
    there: mapping.Mapping, key: str, volume: str
) -> tuple[mapping.Node, Place | None] | None:
    """Hold the disk of a volume until the connection ends, and return as `place` does how it is
    then; None where there is no such volume. Raises Locked."""
    hold = holds.of_node(volume)
    while True:
        held, rows = locks.read(there.session, hold, _PLACE, *_place_args(key, volume))
        if not rows:
            return None
        node, found = _placed(rows[0])
        if node.root in held:
            return node, found
        hold = holds.of(node.root)  # it was made while we waited


def failed(session: database.Session, moment: Moment, volume: str) -> Moment | None:
    """Return the newest moment of the same key, and VM or one of its volumes, that did not come
    about; None where there is none, or where Engine was told so of `volume` already."""
    rows = session.rows(
        f"""
        SELECT {_COLUMNS} FROM storpool_ovirt.moment
        WHERE key = %s AND moment.state <> 'made' AND (vm = %s OR volumes && %s::uuid[])
            AND %s::uuid <> ALL (told)
        ORDER BY id DESC
        LIMIT 1
        """,
        moment.key,
        moment.vm,
        list(moment.volumes),
        volume,
    )
    return next(map(_read, rows), None)


def refuse(session: database.Session, moment: Moment, volume: str, why: str) -> None:
    """Write that a moment has failed, and that Engine is told so of this volume."""
    session.rows(
        f"""
        UPDATE storpool_ovirt.moment SET
            note = CASE state WHEN 'failed' THEN note ELSE %s END,
            state = 'failed', told = {_TOLD}, made_at = clock_timestamp()
        WHERE id = %s
        """,
        why,
        volume,
        moment.id,
    )


def remember_failure(session: database.Session, moment: Moment, why: str) -> None:
    """Write that what was asked for has failed, and that Engine is told so of the first of its
    volumes.

    It was begun, and has a row then, or not; or another verb has made it, and this one could not
    come to claim its part. An older one that has Engine's id of its action may be of this action,
    or not: it fails as well.
    """
    volume = moment.volumes[0]
    fails = f"""
        UPDATE storpool_ovirt.moment
        SET state = 'failed', note = %s, told = {_TOLD}, made_at = clock_timestamp()
        WHERE"""
    unclaimed = """
        state = 'made' AND key = %s AND EXISTS (
            SELECT FROM storpool_ovirt.node
            WHERE node.moment = moment.id AND source = %s AND reserved
        )"""
    young = f"made_at > clock_timestamp() - make_interval(secs => {CLAIM_SECONDS})"
    session.rows(
        f"""
        WITH known AS (
            {fails} mark = %s OR {unclaimed} AND {young}
            RETURNING 1
        ), older AS (
            {fails} {unclaimed} AND action <> '' AND NOT {young}
        ), over AS (
            DELETE FROM storpool_ovirt.moment WHERE {FORGOTTEN}
        )
        INSERT INTO storpool_ovirt.moment
            (mark, key, action, vm, client, state, volumes, told, note, incarnation)
        SELECT %s, %s, %s, %s, %s, 'failed', %s::uuid[], %s::uuid[], %s, {INCARNATION}
        WHERE NOT EXISTS (SELECT FROM known)
        """,
        why,
        volume,
        moment.mark,
        moment.key,
        volume,
        why,
        volume,
        moment.key,
        volume,
        moment.mark,
        moment.key,
        moment.action,
        moment.vm,
        moment.client,
        list(moment.volumes),
        [volume],
        why,
    )


def begun(
    moment: Moment,
    snapshots: Sequence[mapping.Node],
    correlation_id: str,
    condition: tuple[str, tuple[object, ...]] = ("true", ()),
) -> Change:
    """Return the change: a moment is about to be, with these snapshots; the first is answered, the
    others are reserved. It has RETURNING: nothing is written unless a condition, SQL with its
    arguments, is met."""
    sql, args = condition
    row = Part(
        "made",
        f"""
        INSERT INTO storpool_ovirt.moment
            (mark, key, action, vm, client, state, volumes, note, incarnation)
        SELECT %s, %s, %s, %s, %s::integer, 'begun', %s::uuid[], %s, {INCARNATION}
        WHERE {sql}
        RETURNING id
        """,
        (
            moment.mark,
            moment.key,
            moment.action,
            moment.vm,
            moment.client,
            list(moment.volumes),
            moment.note,
            *args,
        ),
    )
    return Change(
        """
        INSERT INTO storpool_ovirt.node
            (uuid, kind, root, source, size_bytes, state, correlation_id, moment, reserved)
        SELECT uuid, 'snapshot', root, source, size_bytes, 'planned', %s, made.id, uuid <> %s
        FROM made, unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[])
            AS each (uuid, root, source, size_bytes)
        RETURNING 1
        """,
        (
            correlation_id,
            snapshots[0].uuid,
            [each.uuid for each in snapshots],
            [each.root for each in snapshots],
            [each.source for each in snapshots],
            [each.size_bytes for each in snapshots],
        ),
        (row,),
    )


def made(mark: str, snapshots: Sequence[str], global_ids: Sequence[str]) -> Change:
    """Return the change: all snapshots of a moment exist, each under its global id."""
    state = """
        UPDATE storpool_ovirt.moment SET state = 'made', made_at = clock_timestamp()
        WHERE mark = %s
    """
    return Change(
        """
        UPDATE storpool_ovirt.node SET state = 'live', global_id = each.global_id
        FROM unnest(%s::uuid[], %s::text[]) AS each (uuid, global_id)
        WHERE node.uuid = each.uuid
        """,
        (list(snapshots), list(global_ids)),
        (Part("made", state, (mark,)),),
    )


def claimed(snapshot: mapping.Node) -> Change:
    """Return the change: a verb answers this reserved snapshot, and others may follow. It has
    RETURNING."""
    goes_on = """
        UPDATE storpool_ovirt.moment SET made_at = clock_timestamp() WHERE id = %s
    """
    return Change(
        """
        UPDATE storpool_ovirt.node SET reserved = false
        WHERE uuid = %s AND reserved AND state = 'live'
        RETURNING 1
        """,
        (snapshot.uuid,),
        (Part("goes_on", goes_on, (snapshot.moment,)),),
    )


def _read(row: Sequence[Any]) -> Moment:
    moment = Moment(*row)
    return moment._replace(volumes=tuple(moment.volumes), told=tuple(moment.told))


def _place_args(key: str, volume: str) -> tuple[str, ...]:
    return volume, key, volume, volume


def _placed(row: Sequence[Any]) -> tuple[mapping.Node, Place | None]:
    node, rest = mapping.Node(*row[:_NODE_FIELDS]), row[_NODE_FIELDS:]
    if rest[0] is None:
        return node, None
    fields = len(Moment._fields)
    snapshot = mapping.Node(*rest[fields + 1 :]) if rest[fields + 1] is not None else None
    return node, Place(_read(rest[:fields]), snapshot, rest[fields])
