"""moments.py: the rows of snapshots that were made at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_ovirt.engine import moments
from storpool_ovirt.engine.journal import INCARNATION

if TYPE_CHECKING:
    from rigs.yard import Yard

ROW = """
    INSERT INTO storpool_ovirt.moment
        (mark, key, vm, client, state, volumes, incarnation, made_at)
    VALUES ('00ff', 'c', 'v', 7, 'made', ARRAY[%s]::uuid[], %s, clock_timestamp() - %s::interval)
"""
DISK = "11111111-1111-4111-8111-111111111111"


def test_all_are_read_oldest_first(yard: Yard) -> None:
    """A row that came back with a backup is told from one of now, and an age that cannot be is
    none."""
    with yard.engine() as work:
        work.mapping.session.rows(ROW, DISK, "elsewhere", "1 hour")
        work.mapping.session.rows(
            "UPDATE storpool_ovirt.moment SET made_at = 'infinity' WHERE key = 'c'"
        )
        [(incarnation,)] = work.mapping.session.rows(f"SELECT {INCARNATION}")
        work.mapping.session.rows(ROW, DISK, incarnation, "9 seconds")
        first, second = moments.all(work.mapping.session).values()
    assert (first.age_seconds, first.proved) == (None, False)
    assert (second.mark, second.key, second.action, second.vm) == ("00ff", "c", "", "v")
    assert (second.client, second.state, second.volumes) == (7, moments.MADE, (DISK,))
    assert 9 <= (second.age_seconds or 0) < 3600
    assert second.proved
