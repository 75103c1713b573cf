"""reserved.py: a snapshot that was made with those of other disks, and that no verb gave to Engine,
is told and deleted once its moment is over, and only where nobody can know it."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import pytest
from one_finding import check, only

from rigs import deaths, engine_database, moment_rows
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.moment_rows import KEY, VM
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import findings, mend, reconcile, reserved_steps
from storpool_ovirt.engine import moments, settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovirt_demo.database import Database

pytestmark = pytest.mark.usefixtures("a_disk")


@pytest.fixture
def spare(yard: Yard) -> moment_rows.Moment:
    """Give a moment of two disks, of which no verb asked for the second one's."""
    yard.verb("create", OTHER, GIB)
    return moment_rows.made(yard, [DISK, OTHER], claimed=[DISK])


@pytest.fixture
def engine_has(yard: Yard, module_database: Database) -> Callable[..., object]:
    """Have Engine's own database have these images, and no others."""
    return functools.partial(engine_database.with_images, module_database, yard.folder)


# What the audit says


def test_what_no_verb_asked_for_is_told(yard: Yard, spare: moment_rows.Moment) -> None:
    """T78, T72: for information, as a disk that is left out of a snapshot in oVirt has one; with
    what it was made with and what a delete would free."""
    found = only(yard)
    check(
        found,
        findings.RESERVED,
        findings.INFO,
        findings.DISCARD,
        cause=f"with those of other disks of VM {VM} (request {KEY}), and no verb asked for it",
        mend=(
            "storpool-ovirt reconcile, or the VM's next snapshot of this disk with others, deletes"
            " it"
        ),
    )
    assert "without it at least " in found.cause
    assert found.uuid == spare.snapshots[OTHER]
    assert found.age_seconds == pytest.approx(1800, abs=30)


def test_where_the_vm_is_not_known_only_reconcile_deletes_it(
    yard: Yard, spare: moment_rows.Moment
) -> None:
    """T78: a VM's next snapshot looks for what its own moments left."""
    yard.sql("UPDATE storpool_ovirt.moment SET vm = '' WHERE id = %s", spare.number)
    assert only(yard).mend == "storpool-ovirt reconcile deletes it"


def test_a_moment_that_may_go_on_is_no_finding(yard: Yard, spare: moment_rows.Moment) -> None:
    """T78: as long as a verb may take the snapshot up, nothing is said of it and nothing done, with
    no grace period at all either."""
    moment_rows.aged(yard, spare, int(moments.CLAIM_SECONDS) - 30)
    assert yard.report().findings == ()
    assert yard.reconcile() == []


def test_a_moment_with_a_verb_at_work_is_no_finding(yard: Yard, spare: moment_rows.Moment) -> None:
    """T78: also of its other disks' snapshots, however long that takes."""
    with yard.holder(DISK):
        yard.sql(
            "UPDATE storpool_ovirt.operation SET kind = 'make', node = %s", spare.snapshots[DISK]
        )
        assert yard.report().findings == ()
    # The process is killed then
    assert findings.RESERVED in {each.kind for each in yard.report().findings}


def test_a_disk_that_is_being_changed_is_left_out(yard: Yard, spare: moment_rows.Moment) -> None:
    """T72: whatever its moment is like."""
    assert spare.snapshots
    with yard.holder(OTHER):
        assert yard.report().findings == ()


# What reconcile does


def test_it_is_deleted_with_its_row_and_nothing_else(yard: Yard, spare: moment_rows.Moment) -> None:
    """T78, T72: what a verb gave to Engine stays."""
    assert yard.reconcile() == ["deleted the snapshot"]
    left = {f"ovirt--{each}" for each in (DISK, OTHER, spare.snapshots[DISK])}
    assert set(yard.see().things) == left == yard.names_of_rows()
    assert yard.report().findings == ()
    assert yard.entries() == 0
    assert yard.forced() == []


def test_what_is_younger_than_the_grace_period_waits(yard: Yard, spare: moment_rows.Moment) -> None:
    """T72: at the look and at the step."""
    assert spare.snapshots
    assert reconcile.plan(yard.report(grace_seconds=7200)) == []
    todo = reconcile.plan(yard.report())
    assert yard.carry_out(todo, grace_seconds=7200) == [reconcile.NOTHING]
    assert len(yard.see().things) == 4


@pytest.mark.parametrize("meanwhile", ["claimed", "younger", "deleted", "disk deleted"])
def test_what_has_changed_since_the_look_is_left(
    yard: Yard, spare: moment_rows.Moment, meanwhile: str
) -> None:
    """T78, T72: everything is seen anew under the disk's lock, under which a verb takes it up."""
    todo = reconcile.plan(yard.report())
    uuid = spare.snapshots[OTHER]
    if meanwhile == "claimed":
        yard.sql("UPDATE storpool_ovirt.node SET reserved = false WHERE uuid = %s", uuid)
    elif meanwhile == "younger":
        moment_rows.aged(yard, spare, 1)
    else:
        yard.verb(
            "delete" if meanwhile == "disk deleted" else "remove",
            uuid if meanwhile == "deleted" else OTHER,
        )
    before = yard.world()
    assert yard.carry_out(todo) == [reconcile.NOTHING]
    assert yard.world() == before


DOUBTS = {
    "restored": "its row comes from a restored backup",
    "no moment": "its row comes from a restored backup",
    "asked for": "it was asked for by its id",
    "cloned": "it was asked for by its id",
    "attached": "a host has it attached",
    "retagged": "its tags were changed",
    "used": "something was made of it",
    "unmapped": "there are objects that nobody explains",
}


def doubt(yard: Yard, spare: moment_rows.Moment, why: str) -> None:
    """Have something say that somebody may know the snapshot."""
    uuid = spare.snapshots[OTHER]
    address = f"~{yard.global_id(uuid)}"
    if why == "restored":
        yard.restored()
    elif why == "no moment":
        yard.sql("DELETE FROM storpool_ovirt.moment")
        yard.sql("UPDATE storpool_ovirt.node SET created_at = now() - interval '1 h'")
    elif why == "asked for":
        yard.sql("UPDATE storpool_ovirt.node SET connected = true WHERE uuid = %s", uuid)
    elif why == "cloned":
        yard.sql("UPDATE storpool_ovirt.node SET source = %s WHERE uuid = %s", uuid, DISK)
    elif why == "attached":
        yard.ask("VolumesReassignWait", {"reassign": [{"snapshot": address, "ro": [2]}]})
    elif why == "retagged":
        yard.ask(f"SnapshotUpdate/{address}", {"tags": {"ovirt-root": DISK}})
    elif why == "used":
        body = {"name": "by-hand", "parent": address, "template": "hybrid", "tags": {}}
        yard.ask("VolumeCreate", body)
    else:
        yard.by_hand(CLONE)


@pytest.mark.parametrize("why", DOUBTS)
@pytest.mark.parametrize("when", ["before the look", "after it"])
def test_what_somebody_may_know_is_left_to_a_person(
    yard: Yard, spare: moment_rows.Moment, why: str, when: str
) -> None:
    """T78, T76, T85: a database that was restored may say of a snapshot that oVirt has that no verb
    gave it away; reconcile deletes nothing for that, also where it comes to light after the
    look."""
    todo = reconcile.plan(yard.report())
    doubt(yard, spare, why)
    before = yard.see().things
    if when == "after it":
        with pytest.raises(errors.Error):
            yard.carry_out(todo)
    else:
        found = next(each for each in yard.report().findings if each.kind == findings.RESERVED)
        assert (found.severity, found.action) == (findings.WARNING, None)
        assert DOUBTS[why] in found.cause
        assert f"reconcile --keep {spare.snapshots[OTHER]}" in found.mend
        reserved = [
            each for each in reconcile.plan(yard.report()) if each.kind == findings.RESERVED
        ]
        assert reserved == []
    assert yard.see().things.keys() == before.keys()


def test_what_engine_has_is_kept_and_noted(
    yard: Yard, spare: moment_rows.Moment, engine_has: Callable[..., object]
) -> None:
    """T78, T76: Engine's own database has the last word where it can be read."""
    engine_has(spare.snapshots[OTHER])
    found = only(yard)
    assert (found.severity, found.action and found.action.kind) == (findings.WARNING, findings.KEEP)
    assert yard.reconcile() == ["noted that oVirt has it"]
    assert len(yard.see().things) == 4
    assert yard.report().findings == ()


def test_what_engine_has_by_the_time_of_the_step_is_kept(
    yard: Yard, spare: moment_rows.Moment, engine_has: Callable[..., object]
) -> None:
    """T78: it is asked again before the delete."""
    todo = reconcile.plan(yard.report())
    engine_has(spare.snapshots[OTHER])
    with pytest.raises(errors.Conflict, match="Engine's own database has it"):
        yard.carry_out(todo)
    assert len(yard.see().things) == 4


OLD_SECONDS = int(settlement.FRESH_SECONDS) + 1


@pytest.mark.parametrize("told", ["nothing", "of another Engine"])
@pytest.mark.parametrize("when", ["before the look", "after it"])
def test_an_old_row_alone_deletes_nothing(
    yard: Yard,
    spare: moment_rows.Moment,
    engine_has: Callable[..., object],
    told: str,
    when: str,
) -> None:
    """T78, T72: an image of the server that was put back has the same marks of its own as before;
    a person says what oVirt lists where Engine's own database does not."""
    if told == "of another Engine":
        engine_has(DISK)
    todo = reconcile.plan(yard.report())
    moment_rows.aged(yard, spare, OLD_SECONDS)
    if when == "after it":
        with pytest.raises(errors.Conflict, match="it is old, and Engine's own database"):
            yard.carry_out(todo)
    else:
        found = only(yard)
        assert (found.severity, found.action) == (findings.WARNING, None)
        assert "it is old, and Engine's own database" in found.cause
        assert yard.reconcile() == []
    assert len(yard.see().things) == 4
    uuid = spare.snapshots[OTHER]
    assert yard.remove(uuid) == f"deleted the snapshot {uuid}"


def test_what_is_old_goes_on_the_word_of_engines_own_database(
    yard: Yard, spare: moment_rows.Moment, engine_has: Callable[..., object]
) -> None:
    """T78, T72: it has the volume, and not the snapshot."""
    engine_has(DISK, OTHER)
    moment_rows.aged(yard, spare, OLD_SECONDS)
    assert yard.reconcile() == ["deleted the snapshot"]
    assert f"ovirt--{spare.snapshots[OTHER]}" not in yard.see().things


# By name


def test_a_person_keeps_what_ovirt_lists(yard: Yard, spare: moment_rows.Moment) -> None:
    """T72: from then on it is like any other snapshot."""
    doubt(yard, spare, "restored")
    uuid = spare.snapshots[OTHER]
    assert yard.keep(uuid, dry_run=True) == f"would note that oVirt has snapshot {uuid}"
    assert len(yard.report().findings) == 1
    assert yard.keep(uuid) == f"noted that oVirt has it: snapshot {uuid}"
    assert yard.report().findings == ()
    with pytest.raises(errors.Conflict, match="oVirt may have it"):
        yard.remove(uuid)


def test_a_person_removes_what_ovirt_does_not_list(yard: Yard, spare: moment_rows.Moment) -> None:
    """T72: also where its row came with a backup."""
    doubt(yard, spare, "restored")
    uuid = spare.snapshots[OTHER]
    before = yard.world()
    assert yard.remove(uuid, dry_run=True).startswith(f"would delete snapshot {uuid}")
    assert yard.world() == before
    assert yard.remove(uuid) == f"deleted the snapshot {uuid}"
    assert f"ovirt--{uuid}" not in yard.see().things


def test_a_person_removes_nothing_of_a_moment_that_goes_on(
    yard: Yard, spare: moment_rows.Moment
) -> None:
    """T78: its verb may be on its way."""
    moment_rows.aged(yard, spare, 1)
    with pytest.raises(errors.Conflict, match="may still go on"):
        yard.remove(spare.snapshots[OTHER])


def test_a_person_removes_what_was_given_to_ovirt_only_where_engine_lacks_it(
    yard: Yard, spare: moment_rows.Moment, engine_has: Callable[..., object]
) -> None:
    """T76: after a rebuild nothing else tells; and the database of another Engine, which knows
    nothing of the disk, proves nothing."""
    uuid = spare.snapshots[DISK]
    engine_has()
    with pytest.raises(errors.Conflict, match="oVirt may have it"):
        yard.remove(uuid)
    engine_has(DISK, uuid)
    with pytest.raises(errors.Conflict, match="is in Engine's own database"):
        yard.remove(uuid)
    engine_has(DISK)
    assert yard.remove(uuid) == f"deleted the snapshot {uuid}"


def test_a_person_removes_nothing_that_was_cloned(yard: Yard, spare: moment_rows.Moment) -> None:
    """T78, T76: only who had the id could name it as a source."""
    doubt(yard, spare, "cloned")
    with pytest.raises(errors.Conflict, match=f"is what volume {DISK} was made of"):
        yard.remove(spare.snapshots[OTHER])
    assert len(yard.see().things) == 4


# The tag of a moment


@pytest.mark.parametrize("by", ["reconcile", "mend"])
def test_the_tag_of_its_moment_is_written_again(
    yard: Yard, spare: moment_rows.Moment, by: str
) -> None:
    """T79, T85: a rebuild needs it; no verb asks for it, so nothing is foreign without."""
    uuid = spare.snapshots[DISK]
    address = f"~{yard.global_id(uuid)}"
    yard.verb("connection", uuid)
    yard.ask(f"SnapshotUpdate/{address}", {"tags": {"ovirt-moment": "", "qc": "gold"}})
    found = next(each for each in yard.report().findings if each.kind == findings.TAGS)
    assert (found.uuid, found.cause) == (uuid, "somebody changed its tags (ovirt-moment)")
    yard.verb("connection", uuid)
    if by == "reconcile":
        assert yard.carry_out([found]) == ["wrote its tags"]
    else:
        with yard.administrator("mend") as work:
            assert mend.mend(work, uuid, None, False)[-1].startswith("1 mended")
    [there] = yard.ask(f"Snapshot/{address}")
    assert there["tags"]["ovirt-moment"] == spare.mark
    assert there["tags"]["qc"] == "gold"
    assert findings.TAGS not in {each.kind for each in yard.report().findings}


# Moments that died


def begun(yard: Yard, spare: moment_rows.Moment) -> None:
    """Have the process die that makes the snapshots of a moment."""
    yard.sql("DELETE FROM storpool_ovirt.node WHERE moment IS NOT NULL")
    for uuid in spare.snapshots.values():
        yard.ask(f"SnapshotDelete/ovirt--{uuid}", {})
    yard.sql("UPDATE storpool_ovirt.moment SET state = 'begun'")


def test_a_moment_that_died_is_ended(yard: Yard, spare: moment_rows.Moment) -> None:
    """T78, T72: once nothing is left of it."""
    begun(yard, spare)
    check(
        only(yard),
        findings.UNFINISHED,
        findings.INFO,
        findings.END,
        cause=f"the request {KEY} died while it made the snapshots of 2 disks",
        mend="reconcile notes that it failed",
    )
    todo = reconcile.plan(yard.report())
    assert yard.carry_out(todo, grace_seconds=7200) == [reconcile.NOTHING]
    assert yard.carry_out(todo) == ["noted that it failed"]
    assert yard.report().findings == ()
    assert yard.carry_out(todo) == [reconcile.NOTHING]


def test_a_moment_is_not_ended_while_anything_of_it_is_left(
    yard: Yard, spare: moment_rows.Moment
) -> None:
    """T78: what a host holds of it is told first; the moment stays as it is until then."""
    yard.sql("UPDATE storpool_ovirt.moment SET state = 'begun'")
    found = next(each for each in yard.report().findings if each.kind == findings.UNFINISHED)
    assert "takes its snapshots back, and then" in found.mend
    with pytest.raises(errors.Conflict, match="still has the row of snapshot"):
        yard.carry_out([found])
    assert yard.sql("SELECT state FROM storpool_ovirt.moment") == [("begun",)]
    assert len(spare.snapshots) == 2


# Being killed


def test_a_reconcile_that_dies_anywhere_and_runs_again_ends_well(
    yard: Yard, spare: moment_rows.Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T78: the next one finds what is left."""
    monkeypatch.setattr(deaths, "_MORTAL", deaths._MORTAL | {reserved_steps.__file__})
    for lines in itertools.count(1, 2):
        try:
            yard.reconcile(fault=Fault("death", lines=lines))
        except Death:
            assert lines < 5000
            continue
        break
    left = {f"ovirt--{each}" for each in (DISK, OTHER, spare.snapshots[DISK])}
    assert set(yard.see().things) == left == yard.names_of_rows()
    assert yard.report().findings == ()
