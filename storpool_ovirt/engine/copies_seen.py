"""Copies in another location, as they are now: on their way, there, lost, or not to be seen from
here.

A bridge that is cut, or a location that takes no question of ours, proves nothing: what cannot be
seen stays as it was. What is missing is looked for twice.
"""

from __future__ import annotations

from storpool_ovirt import copy_names, errors, names
from storpool_ovirt.cluster import remote
from storpool_ovirt.deadline import polls
from storpool_ovirt.engine import copies, tree
from storpool_ovirt.engine.copies import BEGUN, GIVEN_UP, LOST, SENT, THERE, Copy
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Between two looks at copies that are on their way: they take minutes to hours.
POLL_SECONDS = 2.0
LONGEST_POLL_SECONDS = 30.0
# What a wait leaves of its command's time, to tell how far it has come.
TELL_SECONDS = 5.0
# For so long an answer that nobody saw may still come (`wire.py`'s request is shorter).
LATE_SECONDS = 3600.0

# How a copy was seen, beside the states of rows.
ON_THE_WAY, UNSEEN, UNLISTED, GONE = "on the way", "not seen", "not ours any more", "gone"
# Of a disk in a cluster that this domain does not ask: it has other locations, which may have the
# same names.
ELSEWHERE = "another cluster's"
# What says nothing about whether something is there.
_NO_ANSWER = (errors.ApiUnavailable, errors.Rejected, errors.WrongCluster)


class Seen(NamedTuple):
    """A row as it is now, and how its copy was seen: a state, or one of the words above; `note`
    tells why where that is not plain."""

    row: Copy
    state: str
    note: str = ""


def look(work: tree.Work, rows: Sequence[Copy]) -> list[Seen]:
    """Return how these copies are now, as far as that can be seen from here; change nothing.

    What is not there is looked for twice: a list may be of a moment ago.
    """
    if not rows:
        return []
    seen = _looked(work, rows)
    if any(each.state in (LOST, GONE) for each in seen):
        work.client.pause(0)
        seen = _looked(work, rows)
    return seen


def note(work: tree.Work, seen: Iterable[Seen], before: Sequence[Copy]) -> None:
    """Write what a look has found out, beside the rows as they were; what has gone as it was to is
    forgotten."""
    was = {(row.copy, row.node): row for row in before}
    gone = [each.row for each in seen if each.state == GONE]
    new = [each.row for each in seen if each.row != was.get((each.row.copy, each.row.node))]
    if gone:
        work.mapping.write(copies.forgotten(gone))
    if new:
        work.mapping.write(copies.changed([row for row in new if row not in gone]))


def wait(
    work: tree.Work, rows: Sequence[Copy], told: Callable[[Sequence[Seen]], None]
) -> list[Seen]:
    """Wait until all data of these copies are there, and return how they are at the end, which may
    be that of the command's time; `told` hears of each look.

    Raises Conflict where one was given up on its way.
    """
    deadline = work.mapping.session.deadline
    limit = deadline.within(max(0.0, deadline.remaining() - TELL_SECONDS))
    seen: list[Seen] = []
    for _ in polls(limit, work.sleep, POLL_SECONDS, LONGEST_POLL_SECONDS):
        seen = look(work, rows)
        note(work, seen, rows)
        rows = [each.row for each in seen]
        told(seen)
        for each in seen:
            if each.state in (LOST, GONE):
                raise lost(each.row)
        if all(each.state == THERE for each in seen):
            break
    return seen


def lost(row: Copy) -> errors.Conflict:
    """Return the error for a copy that never came."""
    return errors.Conflict(
        f"the copy of volume {row.node} in location {row.location}",
        "was given up on its way, and is not there",
        "see that the bridge between the locations works, and make another one",
    )


def found_again(work: tree.Work, rows: Sequence[Copy]) -> list[Copy] | None:
    """Return the rows of what an earlier request made, as far as its tag tells, there and here;
    None where there is nothing of it.

    Raises what the other side raises where nothing is found and it cannot be asked: it may have
    some.
    """
    copy, location = rows[0].copy, rows[0].location
    work.client.be_current()
    found = _by_node(
        rows,
        (
            (each.name, each.made_from, each.remote_id)
            for each in remote.listed(work.client)
            if each.tags.get(copy_names.TAG) == copy
        ),
    )
    unseen: errors.Error | None = None
    if len(found) < len(rows):
        try:
            there = remote.tagged(work.client, location, copy_names.TAG, copy)
        except _NO_ANSWER as error:
            unseen = error
        else:
            told = ((each.name, each.made_from, each.global_id) for each in there)
            found = {**_by_node(rows, told), **found}
    bases = _by_node(
        rows,
        (
            (each.name, each.made_from, each.global_id)
            for each in work.client.snapshots()
            if each.tags.get(copy_names.TAG) == copy and not each.dying
        ),
    )
    if not found and not bases:
        if unseen is not None:
            raise unseen
        return None
    return [
        row._replace(
            remote_id=row.remote_id or found.get(row.node),
            base_id=row.base_id or bases.get(row.node),
            state=SENT,
        )
        for row in rows
    ]


def _by_node(rows: Sequence[Copy], told: Iterable[tuple[str, str | None, str]]) -> dict[str, str]:
    """Return the ids of copies or bases by the node that each is of: by its name, or by the volume
    that it was made of."""
    nodes = {row.node for row in rows}
    by_volume = {row.volume: row.node for row in rows}
    found = {}
    for name, made_from, global_id in told:
        node = copy_names.uuid_of(name)
        if node not in nodes:
            node = by_volume.get(made_from or "")
        if node is not None:
            found[node] = global_id
    return found


def _looked(work: tree.Work, rows: Sequence[Copy]) -> list[Seen]:
    work.client.be_current()
    listed = {each.remote_id for each in remote.listed(work.client)}
    bases = {each.global_id for each in remote.exports(work.client) if each.is_base}
    unknown: dict[str, list[Copy]] = {}
    for row in rows:
        if row.remote_id is None:
            unknown.setdefault(row.copy, []).append(row)
    told = {copy: _identified(work, group) for copy, group in unknown.items()}
    seen = []
    for row in rows:
        known = told[row.copy][row.node] if row.remote_id is None else Seen(row, SENT)
        seen.append(_seen(work, known.row, listed, bases) if known.state == SENT else known)
    return _without_others(work, rows, seen)


def _without_others(work: tree.Work, rows: Sequence[Copy], seen: Sequence[Seen]) -> list[Seen]:
    """Return the same, but nothing is told of a copy that is missed here, and is of a cluster that
    is not asked: several domains share the table."""
    missed = (LOST, GONE, UNSEEN)
    if not any(each.state in missed for each in seen):
        return [*seen]
    from storpool_ovirt.engine import ownership

    asked = ownership.clusters_asked(work, lambda: ownership.clusters_shown(work))
    return [
        each
        if each.state not in missed or asked & _clusters(row)
        else Seen(
            row,
            ELSEWHERE,
            f"its disk lived in StorPool cluster {', '.join(sorted(_clusters(row)))}: give the"
            " options of that storage domain with --options",
        )
        for row, each in zip(rows, seen)
    ]


def _clusters(row: Copy) -> set[str]:
    """Return the clusters that a copy may have been made in."""
    ids = (row.volume, row.base_id, row.remote_id)
    return {names.cluster_of(each) for each in ids if each}


def _identified(work: tree.Work, rows: Sequence[Copy]) -> dict[str, Seen]:
    """Return, by node, how the copies of one moment are seen whose ids are not known: SENT where
    they are known now."""
    try:
        found = found_again(work, rows)
    except _NO_ANSWER as error:
        return {row.node: Seen(row, UNSEEN, str(error)) for row in rows}
    if found is None:
        begun = [row.made_at for row in rows if row.state == BEGUN]
        # Until then an answer to a request for a copy may be on its way
        is_late = bool(begun) and work.mapping.now() - max(begun) <= LATE_SECONDS
        state = UNSEEN if is_late else GONE if rows[0].state == BEGUN else LOST
        why = "nobody knows yet whether it was begun" if is_late else "it was never made"
        return {row.node: Seen(_as(row, state), state, why) for row in rows}
    return {row.node: Seen(row, SENT if row.remote_id is not None else ON_THE_WAY) for row in found}


def _seen(work: tree.Work, row: Copy, listed: set[str], bases: set[str]) -> Seen:
    if row.remote_id in listed:
        return Seen(_as(row, THERE), THERE)
    if row.base_id in bases:
        return Seen(_as(row, SENT), ON_THE_WAY)
    try:
        there = remote.state(work.client, row.location, str(row.remote_id))
    except errors.NotFound:
        state = GONE if row.state == GIVEN_UP else LOST
        return Seen(_as(row, state), state)
    except _NO_ANSWER as error:
        return Seen(row, UNSEEN, str(error))
    return _unlisted(row, there)


def _unlisted(row: Copy, there: remote.State) -> Seen:
    """Return how a copy is seen that its location has, and does not list for us."""
    if there.recovering:
        return Seen(_as(row, SENT), ON_THE_WAY)
    if row.state == GIVEN_UP or there.goes_at:
        why = "" if there.goes_at else "its location ignores dates, and keeps it for ever"
        return Seen(row._replace(state=GIVEN_UP, goes_at=there.goes_at), GIVEN_UP, why)
    return Seen(row, UNLISTED, "its location has it, and does not export it to us")


def _as(row: Copy, state: str) -> Copy:
    return row._replace(state=state) if state in (SENT, THERE, LOST) else row
