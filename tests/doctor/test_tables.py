"""The tables of checks: each check once, with an id that programs may rely on."""

from __future__ import annotations

import re

import pytest

from storpool_ovirt.doctor import checks, tables

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("place", [checks.ENGINE, checks.HOST])
def test_ids_are_of_one_kind_and_of_one_check(place: str) -> None:
    """Words with hyphens that begin with the place, none twice; each has a title and its time."""
    table = tables.of(place)
    ids = [each.id for each in table]
    assert len(set(ids)) == len(ids)
    for each in table:
        assert re.fullmatch(rf"{place}(-[a-z0-9]+)+", each.id)
        assert each.title
        assert 0 < each.seconds <= checks.CHECK_SECONDS
