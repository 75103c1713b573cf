"""moment_rows.py: the moments of a lost mapping come back from the tag of their snapshots, each as
one that Engine has."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from rigs import deaths, engine_database, moment_rows
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.moment_rows import VM
from rigs.rebuilding import lose
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt.admin import moment_rows as product
from storpool_ovirt.admin import rebuild, reconcile, snapshots, survey

if TYPE_CHECKING:
    from collections.abc import Collection

    from ovirt_demo.database import Database


@pytest.fixture
def group(yard: Yard) -> moment_rows.Moment:
    """Give a moment of two disks of one VM, of which no verb asked for the second one's."""
    for disk in (DISK, OTHER):
        yard.verb("create", disk, GIB)
        yard.ask(f"VolumeUpdate/{yard.address(disk)}", {"tags": {"cvm": VM}})
    return moment_rows.made(yard, [DISK, OTHER], claimed=[DISK])


def listed(yard: Yard) -> snapshots.Listing:
    """List the snapshots."""
    with yard.administrator("snapshots") as work:
        return snapshots.look(work)


def told(
    yard: Yard, database: Database, known: Collection[str] | None, here: bool = True
) -> list[str]:
    """Return what a rebuild says of moments where Engine's own database has these; None: it cannot
    be read."""
    own = engine_database.with_images(database, yard.folder, *(known or ()))
    if known is None:
        own.write_conf(yard.folder, PORT="1")
    location = yard.location
    with yard.administrator("rebuild", make=True) as work:
        plan = rebuild.plan(survey.look(work), location)
        return list(product.told(work, plan.moments, here))


def test_a_lost_moment_comes_back(yard: Yard, group: moment_rows.Moment) -> None:
    """T85, T78: with its snapshots, its volumes, its VM as the volumes have it now, and its time;
    each as one that Engine may know, so that nothing deletes it."""
    yard.rebuild(lose(yard))
    found = listed(yard)
    [moment] = found.groups
    assert (moment.consistency, moment.lacking, found.singles) == (snapshots.VM, (), ())
    assert (moment.moment.vm, moment.moment.mark, moment.moment.key) == (VM, group.mark, "")
    assert {each.uuid for each in moment.members if each.claimed} == set(group.snapshots.values())
    assert moment.moment.proved is False
    assert (yard.report().findings, yard.reconcile()) == ((), [])


def test_what_a_backup_lacks_joins_its_moment(yard: Yard, group: moment_rows.Moment) -> None:
    """T85: the row of one snapshot is from after the backup, the moment's is there."""
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", group.snapshots[DISK])
    yard.rebuild()
    [moment] = listed(yard).groups
    assert moment.moment.id == group.number
    assert [(each.uuid, each.claimed) for each in moment.members] == [
        (group.snapshots[DISK], True),
        (group.snapshots[OTHER], False),
    ]


def test_rows_that_an_older_program_rebuilt_join_theirs(
    yard: Yard, group: moment_rows.Moment
) -> None:
    """T85: it knows nothing of moments, and wrote the rows without."""
    yard.sql("UPDATE storpool_ovirt.node SET moment = NULL, reserved = false")
    yard.sql("DELETE FROM storpool_ovirt.moment")
    assert yard.rebuild() == 0
    [moment] = listed(yard).groups
    assert {each.uuid for each in moment.members} == set(group.snapshots.values())
    assert yard.plan_of_rebuild().moments == ()


def test_a_healthy_mapping_is_left_as_it_is(yard: Yard, group: moment_rows.Moment) -> None:
    """T85: what is reserved stays so."""
    assert group.snapshots
    before = yard.world()
    yard.rebuild()
    assert yard.world() == before


def test_disks_of_several_vms_now_leave_the_vm_open(yard: Yard, group: moment_rows.Moment) -> None:
    """T85: a disk was given to another VM since, so nothing tells for certain."""
    assert group.snapshots
    yard.ask(f"VolumeUpdate/{yard.address(OTHER)}", {"tags": {"cvm": CLONE}})
    yard.rebuild(lose(yard))
    assert listed(yard).groups[0].moment.vm == ""


def test_a_rebuild_says_what_comes_back(
    yard: Yard, group: moment_rows.Moment, module_database: Database
) -> None:
    """T85, T78: and names what Engine's own database does not have, where that can be read."""
    for table in ("node", "operation", "moment"):
        yard.sql(f"TRUNCATE storpool_ovirt.{table} CASCADE")
    back = "2 snapshots of 1 moment of several disks: each comes back as one that oVirt has"
    uuid = group.snapshots[OTHER]
    assert told(yard, module_database, [group.snapshots[DISK]]) == [
        back,
        f"oVirt does not have snapshot {uuid}: it takes space, and storpool-ovirt reconcile"
        f" --remove {uuid} deletes it, once it has its row",
    ]
    assert told(yard, module_database, group.snapshots.values()) == [back]
    for known, here in ((None, True), ([], False)):
        first, second = told(yard, module_database, known, here)
        assert (first, second[:33]) == (back, "whether oVirt has each of them is")


def test_nothing_is_said_where_there_is_no_moment(yard: Yard, module_database: Database) -> None:
    """T85: Engine's database is not asked then."""
    yard.verb("create", DISK, GIB)
    yard.verb("snapshot", DISK)
    yard.sql("TRUNCATE storpool_ovirt.node CASCADE")
    assert told(yard, module_database, None) == []


def test_a_rebuild_that_dies_anywhere_and_runs_again_ends_well(
    yard: Yard, group: moment_rows.Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T85: the next one completes it."""
    monkeypatch.setattr(deaths, "_MORTAL", deaths._MORTAL | {product.__file__, rebuild.__file__})
    location = lose(yard)
    for lines in itertools.count(1, 4):
        try:
            yard.rebuild(location, Fault("death", lines=lines))
        except Death:
            assert lines < 5000
            continue
        break
    [moment] = listed(yard).groups
    assert {each.uuid for each in moment.members} == set(group.snapshots.values())
    assert moment.lacking == ()
    assert reconcile.plan(yard.report()) == []
