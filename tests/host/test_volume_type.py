"""volume_type.py: no order of updates, downgrades, fences and questions leads to error 929.

All histories of one host and two volumes, as far as states differ; what a host really does at each
step is in test_connector_info.py and test_released_lives.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from storpool_ovirt import names
from storpool_ovirt.host import volume_type

RELEASED, MASTER = ("rbd", "iscsi", "lightos", "local"), ("rbd", "local", "storpool")
# One that nobody has made: os-brick's connectors are gone from it.
WITHOUT_LOCAL = ("rbd", "storpool")
STORPOOL, LOCAL = names.VOLUME_TYPE, names.VOLUME_TYPE_LOCAL
# What there is of a volume that has a row: a run link to its device; the device alone, which
# StorPool made again after a reboot; nothing, as another host took it by force.
LIVE, CLOSED, GONE = "live", "closed", "gone"
REFUSED, ATTACHED_ALREADY, MISMATCH = 2009, 927, 929

Row = tuple[str, str]


class State(NamedTuple):
    """A host and what Engine knows of it.

    `newer`: Vdsm's files were replaced since it was started. `asked`: Engine has asked the host
    since then, as it does before it takes the host for up (ovirt-engine-4.5.7,
    HostMonitoring.java: refreshVdsRunTimeInfo).
    """

    running: tuple[str, ...]
    files: tuple[str, ...]
    newer: bool
    asked: bool
    engine: str
    rows: tuple[Row | None, Row | None]


START = State(RELEASED, RELEASED, False, True, LOCAL, (None, None))


def put(state: State, volume: int, row: Row | None) -> State:
    """Return the state with another row for a volume."""
    rows = [*state.rows]
    rows[volume] = row
    return state._replace(rows=(rows[0], rows[1]))


def told(state: State) -> tuple[State, str]:
    """Have somebody ask the host; all rows have the type that it tells, then."""
    kinds = {row[0] for row in state.rows if row}
    kind = volume_type.of(state.files, kinds, state.newer)
    rows = [row and (kind, row[1]) for row in state.rows]
    return state._replace(rows=(rows[0], rows[1])), kind


def started(state: State) -> Iterator[State]:
    """Start Vdsm: its hook clears what has no device, or, where StorPool cannot be asked, does
    not."""
    fresh = state._replace(running=state.files, newer=False, asked=False)
    yield fresh
    rows = [None if row and row[1] == GONE else row for row in state.rows]
    yield fresh._replace(rows=(rows[0], rows[1]))


def rebooted(state: State) -> Iterator[State]:
    """Lose all run links, and start: the hook clears all rows then, or, where StorPool cannot be
    asked, those without a device."""
    rows = [row and (row[0], CLOSED if row[1] == LIVE else row[1]) for row in state.rows]
    without_links = state._replace(rows=(rows[0], rows[1]))
    yield from started(without_links)
    yield from started(state._replace(rows=(None, None)))


def attached(state: State, volume: int, kind: str) -> tuple[State, int]:
    """Attach a volume as Vdsm does (managedvolume.py); return the error, or 0."""
    row = state.rows[volume]
    if row and row[0] != kind:
        return state, MISMATCH
    if row and row[1] != GONE:
        return state, ATTACHED_ALREADY
    if kind not in state.running:
        return put(state, volume, None), REFUSED
    return put(state, volume, (kind, LIVE)), 0


def next_states(
    state: State, others_ask: bool, downgrades: bool, vdsms: Sequence[tuple[str, ...]]
) -> Iterator[State]:
    """Give each state in which this one may end; `others_ask`: not Engine alone asks the host (an
    agent of hosted engine does, an administrator)."""
    for files in vdsms:
        if downgrades or vdsms.index(files) > vdsms.index(state.files):
            yield state._replace(files=files, newer=True)
    yield from started(state)
    yield from rebooted(state)
    asked, kind = told(state)
    if others_ask:
        yield asked
    yield asked._replace(asked=True, engine=kind)
    for volume, row in enumerate(state.rows):
        yield attached(state, volume, state.engine)[0]
        if row:
            yield put(state, volume, None)  # detached
            yield put(state, volume, (row[0], GONE))


def reached(
    *,
    others_ask: bool = True,
    downgrades: bool = True,
    vdsms: Sequence[tuple[str, ...]] = (RELEASED, MASTER),
) -> set[State]:
    """Return all states that any history leads to, by these Vdsms, the oldest first."""
    found, new = {START}, [START]
    while new:
        for state in next_states(new.pop(), others_ask, downgrades, vdsms):
            if state not in found:
                found.add(state)
                new.append(state)
    return found


@pytest.fixture(scope="module")
def states() -> set[State]:
    """Give all states."""
    return reached()


def outcomes(states: set[State]) -> Iterator[tuple[State, Row | None, int]]:
    """Give what comes of each attach in each state: the state, the row of before, the error."""
    for state in states:
        for volume, row in enumerate(state.rows):
            yield state, row, attached(state, volume, state.engine)[1]


def test_no_attach_meets_a_row_of_the_other_type(states: set[State]) -> None:
    """T95: Engine asks a host after each start of Vdsm, before it sends anything there."""
    assert len(states) > 500
    wrong = [state for state, _, error in outcomes(states) if state.asked and error == MISMATCH]
    assert wrong == []


def test_a_host_that_was_asked_is_sent_what_it_takes(states: set[State]) -> None:
    """And nothing that Vdsm undoes (2009): but, perhaps, between an update of its files and the
    start that goes with it."""
    wrong = [state for state, _, error in outcomes(states) if state.asked and error == REFUSED]
    assert [state for state in wrong if not state.newer] == []


def test_already_attached_is_what_has_its_device(states: set[State]) -> None:
    """927 is as docs/host.md tells: with a device, after a reboot or because it is attached."""
    for _, row, error in outcomes(states):
        assert error != ATTACHED_ALREADY or (row is not None and row[1] in (LIVE, CLOSED))


def test_a_copy_of_engines_that_is_old_is_no_mismatch_after_updates() -> None:
    """Whoever asks, and whenever: if Engine sent something to a host that it has not asked since
    Vdsm's start, it would be taken too, as no row changes its type on the way up."""
    found = [*outcomes(reached(downgrades=False))]
    assert any(not state.asked for state, *_ in found)
    assert {error for *_, error in found} == {0, ATTACHED_ALREADY}


def test_a_copy_of_engines_that_is_old_is_no_mismatch_after_downgrades() -> None:
    """Vdsm does not take what it would say then, and undoes it; the rows follow when Engine
    asks."""
    found = [*outcomes(reached(others_ask=False))]
    assert {error for state, _, error in found if not state.asked} == {
        0,
        ATTACHED_ALREADY,
        REFUSED,
    }


def test_a_vdsm_without_local_is_sent_storpool() -> None:
    """T95: at once after its start, whatever rows were left; they follow, as on the way down."""
    states = reached(vdsms=(RELEASED, MASTER, WITHOUT_LOCAL))
    assert any(state.running is WITHOUT_LOCAL for state in states)
    found = [state for state, _, error in outcomes(states) if error in (REFUSED, MISMATCH)]
    assert [state for state in found if state.asked and not state.newer] == []


@pytest.mark.parametrize(
    "in_rows",
    [None, set(), {LOCAL}, {STORPOOL}, {LOCAL, STORPOOL}],
    ids=["unknown", "none", "local", "storpool", "both"],
)
@pytest.mark.parametrize("is_newer", [False, True])
@pytest.mark.parametrize("known", [None, RELEASED, MASTER, WITHOUT_LOCAL], ids=str)
def test_what_is_told_is_what_vdsm_takes(
    known: tuple[str, ...] | None, in_rows: set[str | None] | None, is_newer: bool
) -> None:
    """And where the rows are not known it is `local`, wherever that is taken."""
    kind = volume_type.of(known, in_rows, is_newer)
    if known is not None and not is_newer:
        assert kind in known
    if in_rows is None:
        assert kind == (STORPOOL if known is WITHOUT_LOCAL and not is_newer else LOCAL)
