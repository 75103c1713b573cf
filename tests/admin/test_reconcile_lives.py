"""reconcile after any history of verbs, deaths and failures: what Engine knows is whole, and there
is nothing else."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rigs import players
from rigs.disk_rig import Fault
from rigs.histories import History
from rigs.tag_updates import TAG_UPDATES
from rigs.yard import Yard, opened_yard

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database


MENDED = {
    "leak",
    "undelivered answer",
    "unfinished",
    "unmapped",
    "ghost",
    "tag drift",
    "size drift",
}
VERBS = tuple(
    "create clone snapshot snapshot preview preview extend remove delete connection attach"
    " pass".split()
)
steps = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.integers(0, 99),
        st.integers(1, 4),
        st.one_of(
            st.none(),
            st.builds(Fault, st.just("undelivered")),
            st.builds(Fault, st.just("death"), lines=st.integers(1, 90)),
            st.builds(
                Fault,
                st.sampled_from(["refuse", "error_200"]),
                st.sampled_from(
                    ["VolumeCreate", "VolumeSnapshot", "VolumeDelete", "VolumeUpdate", "Volume"]
                ),
            ),
        ),
    ),
    min_size=4,
    max_size=14,
)


def test_whatever_died_reconcile_leaves_what_engine_knows_and_nothing_else(
    module_database: Database, tmp_path: Path
) -> None:
    """T71, T72, T76, T82: after any history of verbs, deaths and failures, and for ever after
    that."""
    folders = itertools.count()

    @settings(max_examples=14, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(history=steps)
    def lives(history: list[tuple[str, int, int, Fault | None]]) -> None:
        number = next(folders)
        folder = tmp_path / str(number)
        folder.mkdir()
        switches = {
            "tag_update": TAG_UPDATES[number % 2],
            "volumecare_tags": players.SNAPSHOT_TAGS[number % 3],
        }
        with opened_yard(module_database, folder, **switches) as yard:
            engine = History(yard)
            engine.step("create", 0, 1, None)
            for each in history:
                engine.step(*each)
            check_mended(yard, engine.known)
            assert yard.see().foreign == engine.foreign

    lives()


def check_mended(yard: Yard, known: dict[str, int]) -> None:
    """Reconcile at most three times, and check that all is told right and that Engine has lost
    nothing."""
    for _ in range(3):
        if yard.report().findings:
            yard.reconcile()
    left = yard.report().findings
    assert [each for each in left if each.kind in MENDED] == []
    seen = yard.see()
    for uuid, size_bytes in known.items():
        assert seen.rows[uuid].state == "live", uuid
        assert (
            seen.things[f"ovirt--{uuid}"].size_bytes == seen.rows[uuid].size_bytes >= size_bytes
        ), uuid
    assert set(seen.things) == yard.names_of_rows()
    for uuid in {row.root for row in seen.rows.values()}:
        assert seen.rows[uuid].active in (uuid, *seen.rows), "the active volume is gone"
