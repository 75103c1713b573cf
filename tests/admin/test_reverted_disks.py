"""Audit, reconcile, mend, rebuild and the listing after reverts that gave volumes other global
ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import reverts
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.yard import DISK, OTHER, Yard, opened_yard
from storpool_ovirt import errors
from storpool_ovirt.admin import listing, mend, reconcile, survey
from storpool_ovirt.cluster import identity
from storpool_ovirt.engine import records, removal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database


@pytest.fixture(params=reverts.IDENTITIES)
def switch(request: pytest.FixtureRequest) -> str:
    """Return which volumes get another id by a revert."""
    return str(request.param)


@pytest.fixture
def yard(module_database: Database, tmp_path: Path, switch: str) -> Iterator[Yard]:
    """Give an Engine with a disk that was connected, in a cluster of this switch."""
    with opened_yard(
        module_database, tmp_path, revert_identity=switch, preserved_id="true"
    ) as made:
        made.verb("create", DISK, GIB)
        yield made


@pytest.fixture(params=["named", "nameless"])
def has_name(request: pytest.FixtureRequest) -> bool:
    """Return whether the disk's volume has a name."""
    return bool(request.param == "named")


@pytest.fixture
def now(yard: Yard, has_name: bool) -> str:
    """Return the global id of the disk's volume, which was reverted since a verb met it."""
    if not has_name:
        reverts.nameless(yard)
    yard.verb("snapshot", DISK)
    yard.shut(DISK)
    return reverts.revert(yard, yard.address(DISK))


def kinds(yard: Yard) -> set[str]:
    """Return what the audit finds, but for a name that is missing."""
    return {each.kind for each in yard.report().findings if each.severity != "info"}


def test_the_audit_says_it_once_and_reconcile_heals_it(yard: Yard, now: str) -> None:
    """A drifted id is one warning with its step; nothing is taken for unmapped, a ghost, or
    another's."""
    moved = yard.address(DISK) != f"~{now}"
    before = yard.world()
    assert kinds(yard) == ({"another id"} if moved else set())
    assert yard.world()[:2] == before[:2]
    assert yard.reconcile() == ([f"wrote the global id ~{now} in the mapping"] if moved else [])
    assert yard.address(DISK) == f"~{now}"
    assert kinds(yard) == set()
    assert yard.reconcile() == []


def test_reconcile_that_is_killed_goes_on_the_next_time(yard: Yard, now: str) -> None:
    """Before each line of it: the row is as it was, or right."""
    first, lines, healed = yard.address(DISK), 0, False
    while not healed:
        lines += 3
        try:
            yard.reconcile(fault=Fault("death", lines=lines))
            healed = True
        except Death:
            assert yard.address(DISK) in (first, f"~{now}")
    assert yard.address(DISK) == f"~{now}"


def test_reconcile_finds_what_was_healed_meanwhile(yard: Yard, now: str) -> None:
    """Its step is read again under the disk's lock."""
    found = reconcile.plan(yard.report())
    yard.verb("connection", DISK)
    assert set(yard.carry_out(found)) <= {reconcile.NOTHING}
    assert yard.address(DISK) == f"~{now}"


def test_it_is_detached_where_it_is_closed(yard: Yard, now: str) -> None:
    """By its id of now, as StorPool has it attached; what is said names the client."""
    assert yard.address(DISK)
    assert "client 1" in yard.detach_closed(DISK)
    assert [each for each in yard.ask("AttachmentsList") if each["globalId"] == now] == []


def test_mend_follows_it_and_says_so(yard: Yard, now: str, has_name: bool) -> None:
    """The very volume needs no host to let go of it; only a name does that hosts do not need."""
    with yard.engine("mend") as work:
        if not has_name and yard.address(DISK) != f"~{now}":
            with pytest.raises(errors.Conflict, match="the id in its name"):
                mend.mend(work, DISK)
            yard.detach_closed(DISK)
        mend.mend(work, DISK)
    assert yard.address(DISK) == f"~{now}"
    assert kinds(yard) == set()
    assert yard.verb("connection", DISK)["data"]["global_id"] == now


def test_a_disk_whose_delete_died_is_settled(yard: Yard, now: str) -> None:
    """T71: the object of a row in the middle of a delete may have another id too."""
    yard.detach_closed(DISK)
    first = yard.address(DISK)
    yard.die_planned("delete", DISK)
    again = reverts.revert(yard, f"~{now}")
    yard.age(3600)
    yard.reconcile()
    assert first != f"~{again}" or again == now
    yard.verb("delete", DISK)
    assert (yard.see().things, yard.see().rows) == ({}, {})


def test_a_lost_mapping_is_rebuilt_with_the_ids_of_now(yard: Yard, switch: str) -> None:
    """Present id, first id and visible id come from StorPool, and what was made of what, too."""
    snapshot = yard.verb("snapshot", DISK)
    yard.verb("connection", DISK)
    first = yard.address(DISK)
    preview = yard.verb("preview", snapshot)
    for _ in range(2):
        now = reverts.revert(yard, f"~{yard.global_id(DISK)}")
    rows = {uuid: row._replace(global_id=None) for uuid, row in yard.see().rows.items()}
    yard.sql("DELETE FROM storpool_ovirt.node")
    yard.rebuild()
    assert yard.address(DISK) == f"~{now}"
    rebuilt = {uuid: row._replace(global_id=None) for uuid, row in yard.see().rows.items()}
    assert {uuid: (row.root, row.source) for uuid, row in rebuilt.items()} == {
        uuid: (row.root, row.source) for uuid, row in rows.items()
    }
    told = yard.sql("SELECT visible_id, first_id FROM storpool_ovirt.node WHERE uuid = %s", DISK)
    number = yard.ask(f"Volume/~{now}")[0]["visibleVolumeId"]
    assert told == [(number, first[1:] if switch == "all" else None)]
    assert preview in rebuilt


def test_what_was_reverted_since_it_was_looked_at_is_deleted(yard: Yard, has_name: bool) -> None:
    """StorPool says of the id that it had that nothing is there: it is not taken for gone."""
    if not has_name:
        reverts.nameless(yard)
    with yard.administrator() as work:
        there = work.client.volume(yard.address(DISK))
        now = reverts.revert(yard, yard.address(DISK))
        removal.drop_unused(work, there)
        left = {each.global_id for each in work.client.volumes()}
    assert not left & {there.global_id, now}


@pytest.mark.parametrize(
    ("is_alone", "most"), [(False, 128), (True, 128), (True, 0)], ids=["all", "one", "one of many"]
)
def test_the_listing_knows_whose_it_is(
    yard: Yard, now: str, is_alone: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`storpool-ovirt attachments` joins by the id of now, and no link of before is a stray; also
    where only this disk is looked at, object by object or, of very many, by the lists."""
    monkeypatch.setattr(identity, "READ_ALONE_MAX", most)
    with yard.engine() as work:
        with work.mapping.session.snapshot():
            every = records.of_disk(work.mapping, DISK) if is_alone else records.each(work.mapping)
            rows = list(every)
        known = listing.MappingSide(
            {each.node.uuid: each for each in rows},
            {},
            location=work.mapping.location,
            of_one_disk=is_alone,
        )
        told = listing.look(work.client, known, yard.root(1))
    assert [(each.thing.uuid, each.thing.global_id) for each in told.entries] == [(DISK, now)]
    assert is_alone or told.strays == ()


def test_rows_that_no_verb_met_are_noted_by_reconcile(yard: Yard) -> None:
    """After an upgrade all rows lack the visible id; one reconciliation has them all."""
    yard.verb("create", OTHER, GIB)
    with yard.administrator() as work:
        view = survey.look(work)
        reconcile.note_visible_ids(work, view)
        before = work.mapping.session.statements
        view = survey.look(work)
        read = work.mapping.session.statements - before
        reconcile.note_visible_ids(work, view)
        assert work.mapping.session.statements == before + read
    numbers = {
        each["name"]: each["visibleVolumeId"]
        for each in yard.ask("VolumesList")
        if each["name"] in (f"ovirt--{DISK}", f"ovirt--{OTHER}")
    }
    rows = yard.sql("SELECT 'ovirt--' || uuid, visible_id FROM storpool_ovirt.node")
    assert dict(rows) == numbers
