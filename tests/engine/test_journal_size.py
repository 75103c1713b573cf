"""journal.py and moments.py: what is left over costs the verbs after it nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from storpool_ovirt.engine import mapping

DISK = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
KEY = "0ddba115-1c76-4d1e-9d53-6d2f7c9d1a10"
LEFT_OVER = 20_000
FILL = """
    INSERT INTO storpool_ovirt.operation
        (correlation_id, verb, arguments, kind, disk, node, plan, state, process, incarnation,
        until)
    SELECT 'x', 'create_volume', '{}', 'make', id, id,
        jsonb_build_object('tags', jsonb_build_object('ovirt-moment', id)),
        CASE WHEN number %% 2 = 0 THEN 'failed' ELSE 'undone' END, '-:0:0', '', clock_timestamp()
    FROM (SELECT number, gen_random_uuid() AS id FROM generate_series(1, %s) AS number) AS each
"""
# How many rows of the journal this transaction has read one after the other.
READ = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'operation'"


@pytest.fixture
def there(database: Database) -> Iterator[mapping.Mapping]:
    """Give the mapping of an Engine whose verbs have left much."""
    from storpool_ovirt.engine import journal, mapping

    caller = journal.Caller("corr-1", "create_volume")
    with mapping.opened(database_url.parse(database.url), Deadline(60), caller) as opened:
        opened.session.rows(FILL, LEFT_OVER)
        opened.session.rows("ANALYZE storpool_ovirt.operation")
        yield opened


def test_the_end_of_a_verb_reads_none_of_it(there: mapping.Mapping) -> None:
    """Neither the intent, the result, nor that Engine has the answer."""
    from storpool_ovirt.engine import mapping

    node = mapping.Node(DISK, "volume", DISK, None, 1 << 30, mapping.PLANNED, active=DISK)
    with there.session.transaction():
        there.plan(node, {})
        there.complete(DISK, "a.b.c")
        there.journal.delivered()
        assert there.session.rows(READ) == [(0,)]
    assert there.session.rows("SELECT count(*) FROM storpool_ovirt.operation") == [(LEFT_OVER,)]


def test_a_claim_reads_none_of_it(there: mapping.Mapping) -> None:
    """A guest may be frozen meanwhile: what is open of a moment is found by its mark."""
    from storpool_ovirt.engine import mapping, moments

    records.adopt(
        there, [(mapping.Node(DISK, "volume", DISK, None, 1 << 30, mapping.LIVE, "a.b.c"), 0)]
    )
    moment = moments.thought_of(KEY, "vm", (DISK,))
    moments.remember_failure(there.session, moment, "no")
    with there.session.transaction():
        found = moments.held_place(there, KEY, DISK)
        assert found is not None
        assert found[1] is not None
        assert there.session.rows(READ) == [(0,)]
