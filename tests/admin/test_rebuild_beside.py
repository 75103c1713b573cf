"""rebuild.py beside what is there: an older backup, another location, and what is never taken
in."""

from __future__ import annotations

import itertools

import pytest

from rigs import deaths
from rigs.disk_model import GIB
from rigs.disk_rig import OTHERS_LOCATION, Death, Fault
from rigs.rebuilding import back_up, check_equal, flow, lose, restore, rows
from rigs.tag_updates import with_both
from rigs.yard import CLONE, DISK, FOREIGN, OTHER, Yard
from storpool_ovirt import errors, names
from storpool_ovirt.admin import rebuild, survey

pytestmark = pytest.mark.usefixtures("a_disk")


# A backup that is older than the cluster


def test_what_a_restored_backup_lacks_is_taken_in(yard: Yard) -> None:
    """T85, T62: snapshots, previews and disks that were made since are there again, as they
    were."""
    back_up(yard)
    flow(yard)
    before = rows(yard)
    restore(yard)
    yard.reconcile()
    yard.rebuild()
    check_equal(yard, before)
    assert yard.report().findings == ()


def test_what_a_restored_backup_has_too_much_is_a_ghost(yard: Yard) -> None:
    """T85: rows of what was deleted since stay, and the audit tells which; a person decides."""
    snapshot = yard.verb("snapshot", DISK)
    yard.verb("create", OTHER, GIB)
    back_up(yard)
    yard.verb("delete", OTHER)
    yard.verb("remove", snapshot)
    restore(yard)
    yard.rebuild()
    assert {each.uuid: each.kind for each in yard.report().findings} == {
        OTHER: "ghost",
        snapshot: "ghost",
    }
    for uuid in (OTHER, snapshot):
        yard.verb("delete", uuid)
    assert yard.report().findings == ()


def test_the_last_of_the_previews_since_a_backup_is_the_active_one(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T85, T62: in the order of their making, whatever their ids are; the first replaced what was
    active."""
    first, last = "b" + CLONE[1:], "a" + CLONE[1:]
    snapshot = yard.verb("snapshot", DISK)
    before = yard.verb("preview", snapshot)
    back_up(yard)
    monkeypatch.setattr(names, "random_uuid", iter((first, last)).__next__)
    yard.verb("preview", snapshot)
    yard.verb("preview", snapshot)
    wanted = rows(yard)
    assert (wanted[first]["replaced"], wanted[DISK]["active"]) == (before, last)
    restore(yard)
    yard.rebuild()
    check_equal(yard, wanted)


def test_a_volume_that_a_host_has_attached_stays_the_active_one(yard: Yard) -> None:
    """T85: a left-over that the backup does not know is no reason to take the VM's volume for
    another."""
    snapshot = yard.verb("snapshot", DISK)
    yard.shut(DISK)
    back_up(yard)
    yard.verb("preview", snapshot)
    yard.verb("connection", DISK)
    restore(yard)
    yard.rebuild()
    assert rows(yard)[DISK]["active"] == DISK


# Locations


def test_without_the_old_location_the_locations_there_are_are_named(yard: Yard) -> None:
    """T85: a new database has a new location, and nothing of that is in the cluster."""
    yard.verb("create", OTHER, GIB)
    lost = lose(yard)
    with pytest.raises(
        errors.Conflict, match=rf"has no object in this cluster.*{lost} \(2 disks\)"
    ) as failure:
        yard.rebuild()
    assert f"{OTHERS_LOCATION} (1 disk)" in str(failure.value)
    assert "--location" in str(failure.value)


def test_a_wrong_location_changes_nothing(yard: Yard) -> None:
    """T76, T85: a location that nothing carries is not taken."""
    lose(yard)
    with yard.engine() as engine:
        assert engine.mapping.location, "the tables are made by the first question"
        before = yard.world()
    with pytest.raises(errors.Conflict, match="location deadbeef has no object"):
        yard.rebuild("deadbeef")
    assert yard.world() == before


@with_both
def test_disks_that_were_made_since_the_loss_are_kept(yard: Yard) -> None:
    """T85, T79: they get the old location's tag, and all is one Engine's again."""
    snapshot, _ = flow(yard)
    before = rows(yard)
    lost = lose(yard)
    new = "a" + DISK[1:]
    yard.verb("create", new, GIB)
    made = yard.verb("snapshot", new)
    yard.rebuild(lost)
    check_equal(yard, {**before, **{uuid: rows(yard)[uuid] for uuid in (new, made)}})
    assert {thing.tags["ovirt-loc"] for thing in yard.see().things.values()} == {lost}
    assert yard.report().findings == ()
    yard.verb("remove", snapshot)
    yard.verb("delete", new)


@with_both
def test_a_merge_that_dies_anywhere_is_ended_by_the_next(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T85: wherever it stops, running it again ends the same."""
    monkeypatch.setattr(deaths, "_MORTAL", deaths._MORTAL | {rebuild.__file__})
    flow(yard)
    before = rows(yard)
    lost = lose(yard)
    new = "a" + DISK[1:]
    yard.verb("create", new, GIB)
    for lines in itertools.count(1, 3):
        try:
            yard.rebuild(lost, Fault("death", lines=lines))
        except Death:
            continue
        break
    check_equal(yard, {**before, new: rows(yard)[new]})
    assert yard.report().findings == ()


@with_both
def test_what_died_under_the_new_location_is_found_after_a_merge(yard: Yard) -> None:
    """T71, T85: the object of an open entry gets the old location too, so the repeated verb knows
    it for ours."""
    lost = lose(yard)
    with yard.engine() as engine:
        yard.location = engine.mapping.location
    yard.die_made("create", OTHER, GIB)
    yard.rebuild(lost)
    yard.verb("create", OTHER, GIB)
    assert yard.see().things[f"ovirt--{OTHER}"].tags["ovirt-loc"] == lost
    assert yard.report().findings == ()


# What is never taken in


def test_what_a_dead_verb_made_is_not_taken_in(yard: Yard) -> None:
    """T72: Engine does not know it, and the audit tells it as a leak."""
    yard.die_planned("clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    yard.by_hand(CLONE)
    (why,) = yard.plan_of_rebuild().left_out
    assert why.startswith(f"{CLONE}: an operation that died made it")
    yard.rebuild()
    assert CLONE not in rows(yard)
    assert [each.kind for each in yard.report().findings] == ["leak"]


def test_two_objects_of_one_id_are_not_taken_in(yard: Yard) -> None:
    """T61, T85: which of the two is the disk, a person decides: the row stays."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"rename": "mine"})
    yard.by_hand(DISK)
    (why,) = yard.plan_of_rebuild().left_out
    assert why.startswith(f"{DISK}: the mapping has {yard.address(DISK)} for it")
    assert why.endswith(f"storpool-ovirt mend {DISK}")
    before = rows(yard)
    assert yard.rebuild() == 0
    assert rows(yard) == before


def test_an_object_whose_tags_name_no_id_is_not_taken_in(yard: Yard) -> None:
    """A tag that somebody set by hand is no id of oVirt."""
    address = yard.by_hand("disk7")
    assert yard.plan_of_rebuild().left_out == (f"{address}: its tags name no id of oVirt",)


def test_what_another_engine_has_is_never_taken_in(yard: Yard) -> None:
    """T76, T85: the cluster is shared, and its object is left as it is."""
    before = yard.see().foreign
    yard.rebuild(lose(yard))
    assert FOREIGN not in rows(yard)
    assert yard.see().foreign == before


def test_an_object_that_vanishes_meanwhile_is_not_taken_in(yard: Yard) -> None:
    """T85: a row without an object would be a ghost."""
    yard.verb("create", OTHER, GIB)
    lost = lose(yard)
    with yard.engine("rebuild") as engine:
        plan = rebuild.plan(survey.look(engine), lost)
        yard.ask(f"VolumeDelete/ovirt--{OTHER}", {})
        assert rebuild.carry_out(engine, plan) == 1
        yard.location = lost
    assert set(rows(yard)) == {DISK}


def test_a_verb_that_runs_meanwhile_has_written_its_row(yard: Yard) -> None:
    """T71, T85: the row that is there first stays."""
    yard.verb("create", OTHER, GIB)
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", OTHER)
    with yard.engine("rebuild") as engine:
        plan = rebuild.plan(survey.look(engine))
        yard.verb("create", OTHER, GIB, fault=Fault("transient", "VolumeCreate"))
        before = rows(yard)
        assert rebuild.carry_out(engine, plan) == 0
    assert rows(yard) == before


HANDED = {"virt": "cs", "ovirt-loc": "", "ovirt-uuid": ""}


def another_location(yard: Yard) -> str:
    """Return a location that is not this Engine's: what a test before has made it, the database
    keeps."""
    return "0badcafe" if yard.location != "0badcafe" else "0badf00d"


@with_both
def test_what_is_handed_over_meanwhile_keeps_its_tags_and_gets_no_row(yard: Yard) -> None:
    """T76, T85: between the look and the step both became another platform's, and the administrator
    reads it."""
    found, lost = yard.by_hand(CLONE), another_location(yard)
    yard.ask(f"VolumeUpdate/{found}", {"tags": {"ovirt-loc": lost}})
    yard.verb("create", OTHER, GIB)
    mapped, said = yard.address(OTHER), list[str]()
    with yard.engine("rebuild") as engine:
        plan = rebuild.plan(survey.look(engine), lost)
        assert mapped[1:] in {each.global_id for each in plan.retagged}
        for address in (found, mapped):
            yard.ask(f"VolumeUpdate/{address}", {"tags": HANDED})
        assert rebuild.carry_out(engine, plan, said.append) == 0
        yard.location = engine.mapping.location
    assert [yard.ask(f"Volume/{address}")[0]["tags"] for address in (found, mapped)] == [
        {"virt": "cs"}
    ] * 2
    assert CLONE not in rows(yard)
    assert sorted(line.partition(": ")[2] for line in said) == [
        "it has got other tags meanwhile, so it gets no row",
        "it has got other tags or another name meanwhile, and keeps them",
    ]


@with_both
def test_tags_that_others_write_meanwhile_stay_beside_the_location(yard: Yard) -> None:
    """What StorPool lists at that moment is sent along, not what the look found."""
    lost = another_location(yard)
    yard.ask(f"VolumeUpdate/{yard.by_hand(CLONE)}", {"tags": {"ovirt-loc": lost}})
    tags = yard.tags(DISK)
    with yard.engine("rebuild") as engine:
        plan = rebuild.plan(survey.look(engine), lost)
        yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {**tags, "backup": "daily"}})
        rebuild.carry_out(engine, plan)
        yard.location = engine.mapping.location
    [now] = yard.ask(f"Volume/ovirt--{DISK}")
    assert now["tags"] == {**tags, "ovirt-loc": lost, "backup": "daily"}
