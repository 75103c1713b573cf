"""What a database that is older than the cluster means for verbs and reconcile: restored, rolled
back, promoted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, HOUR, Yard, opened_yard
from storpool_ovirt import errors
from storpool_ovirt.engine import settlement

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

TIMELINE = "SELECT lpad(to_hex(timeline_id), 8, '0') FROM pg_control_checkpoint()"
HOURS = settlement.FRESH_SECONDS / HOUR


def test_an_image_brings_back_an_entry_of_a_disk_that_is_in_use(yard: Yard) -> None:
    """T72: while the cluster has objects that nobody explains, reconcile deletes nothing; a person
    names the disk."""
    yard.die_made("create", DISK, GIB)
    image = yard.save()
    yard.verb("create", DISK, GIB)
    yard.verb("connection", DISK)
    snapshot = yard.verb("snapshot", DISK)
    yard.put_back(image)
    yard.age(24 * 30 * HOUR)
    yard.reconcile()
    assert yard.uuids() == {DISK, snapshot}
    yard.keep(DISK)
    yard.rebuild()
    yard.verb("connection", DISK)
    assert yard.report().findings == ()
    assert yard.uuids() == {DISK, snapshot}


def test_nothing_is_deleted_that_something_stands_on(yard: Yard) -> None:
    """An object from which another was made has been used: reconcile leaves it to a person, who can
    remove it."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    made = {"name": "by-hand", "parent": f"~{yard.global_id(snapshot)}", "tags": {}}
    yard.ask("VolumeCreate", made)
    yard.reconcile()
    assert yard.uuids() == {DISK, snapshot}
    (finding,) = yard.report().findings
    assert f"--remove {snapshot}" in finding.mend
    yard.remove(snapshot)
    assert yard.uuids() == {DISK}


def test_what_stands_alone_is_deleted(yard: Yard) -> None:
    """T72: a snapshot whose id nobody learnt and that nobody has used since goes with reconcile."""
    yard.verb("create", DISK, GIB)
    yard.verb("snapshot", DISK)
    yard.die_made("snapshot", DISK)
    assert len(yard.reconcile()) == 1
    assert len(yard.uuids()) == 2
    assert yard.report().findings == ()


def go_on_after_a_lost_delete(yard: Yard) -> set[str]:
    """Let a delete of the disk be lost, the disk live on in a preview, and the database be that of
    before.

    Returns the ids of the objects.
    """
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    yard.verb("snapshot", DISK)
    yard.lose_delete("delete", DISK)
    backup = yard.save()
    yard.verb("connection", DISK)
    yard.verb("connection", yard.verb("preview", snapshot))
    yard.verb("remove", DISK)
    there = yard.uuids()
    yard.put_back(backup)
    return there


def test_a_restored_delete_deletes_nothing(yard: Yard) -> None:
    """An entry of a backup is no reason to delete: reconcile has nothing to do."""
    there = go_on_after_a_lost_delete(yard)
    yard.restored()
    assert yard.reconcile() == []
    assert yard.uuids() == there


def test_a_delete_that_an_image_brings_back_deletes_nothing(yard: Yard) -> None:
    """The preview that nobody explains says that the delete was taken back long ago."""
    there = go_on_after_a_lost_delete(yard)
    yard.age(24 * 30 * HOUR)
    yard.reconcile()
    assert yard.uuids() == there


def test_a_restored_delete_is_over_after_a_rebuild(yard: Yard) -> None:
    """The way that is named leads on: rebuild, and the disk lives in its preview or can be deleted
    whole."""
    go_on_after_a_lost_delete(yard)
    yard.restored()
    yard.rebuild()
    yard.verb("delete", DISK)
    assert yard.uuids() == set()
    assert yard.see().rows == {}


@pytest.mark.parametrize("hours", [0.9 * HOURS, 1.1 * HOURS])
def test_a_verb_takes_back_only_what_is_fresh(yard: Yard, hours: float) -> None:
    """T71, T72: what is older than an hour a verb leaves, works all the same, and the audit names
    it."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    yard.age(hours * HOUR)
    yard.verb("extend", DISK, 2 * GIB)
    fresh = hours < HOURS
    assert (snapshot in yard.uuids()) is not fresh
    assert [finding.uuid for finding in yard.report().findings] == ([] if fresh else [snapshot])


def test_an_old_preview_that_nobody_knows_is_not_the_disk(yard: Yard) -> None:
    """T72: it is left to the audit, and the VM's volume is the one before it."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", snapshot)
    yard.sql(
        "INSERT INTO storpool_ovirt.operation (correlation_id, verb, arguments, kind, disk, node,"
        " plan, state, process,"
        " incarnation, started_at, until) SELECT 'old', 'create_volume_from_snapshot', '{}',"
        " 'make', %s, %s,"
        """ '{"kind": "volume"}', 'done', '-:0:0', 'another server',"""
        " now() - interval '1 day', now()",
        DISK,
        preview,
    )
    yard.sql("UPDATE storpool_ovirt.operation SET incarnation = %s", incarnation(yard))
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.active() == DISK
    assert preview in yard.uuids()
    assert preview in [finding.uuid for finding in yard.report().findings]


def incarnation(yard: Yard) -> str:
    """Return this server's incarnation, as an entry has it that was written just now."""
    saved = yard.save()
    yard.die_made("create", CLONE, GIB)
    ((found,),) = yard.sql(
        "SELECT incarnation FROM storpool_ovirt.operation WHERE node = %s", CLONE
    )
    yard.verb("delete", CLONE)
    yard.put_back(saved)
    return str(found)


@pytest.mark.parametrize("step", ["keep", "remove"])
def test_a_restored_entry_stays_named_until_a_person_decides(yard: Yard, step: str) -> None:
    """T72: whether Engine knows the object no backup can tell: neither verbs nor reconcile delete
    or forget it."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    yard.restored()
    yard.verb("extend", DISK, 2 * GIB)
    yard.reconcile()
    (finding,) = yard.report().findings
    assert finding.uuid == snapshot
    assert finding.action is None
    assert f"--keep {snapshot}" in finding.mend
    assert f"--remove {snapshot}" in finding.mend
    (yard.keep if step == "keep" else yard.remove)(snapshot)
    assert yard.report().findings == ()
    assert (snapshot in yard.uuids()) is (step == "keep")


def test_a_restored_growth_is_read_from_storpool(yard: Yard) -> None:
    """An old entry about a size does no harm: the volume tells what it has."""
    yard.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        yard.verb(
            "extend", DISK, 4 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )
    backup = yard.save()
    yard.verb("extend", DISK, 2 * GIB)
    yard.put_back(backup)
    yard.restored()
    yard.verb("connection", DISK)
    yard.reconcile()
    assert yard.see().rows[DISK].size_bytes == 2 * GIB
    assert yard.report().findings == ()


def test_the_journal_outlives_a_crash_of_the_server(yard: Yard) -> None:
    """Whatever the server does for others: a commit of ours is on its disk when we are told so."""
    assert yard.sql("SHOW synchronous_commit") == [("off",)]
    with yard.engine("snapshot") as engine, yard.administrator() as administrator:
        for each in (engine, administrator):
            assert each.mapping.session.rows("SHOW synchronous_commit") == [("on",)]


def test_an_entry_names_the_timeline_that_it_was_written_in(yard: Yard) -> None:
    """A server that was promoted or restored has another one, so that its older entries prove
    nothing."""
    yard.die_made("create", DISK, GIB)
    ((written,),) = yard.sql("SELECT incarnation FROM storpool_ovirt.operation")
    assert written.split("/")[1].lower() == yard.sql(TIMELINE)[0][0]


def test_a_promoted_server_does_not_trust_older_entries(
    own_database: Database, tmp_path: Path
) -> None:
    """T72: a promoted server may lack what was written last, so what an entry told before is left
    to a person."""
    with opened_yard(own_database, tmp_path) as yard:
        yard.verb("create", DISK, GIB)
        snapshot = yard.die_made("snapshot", DISK)
        promote(own_database)
        yard.reconnect(own_database)
        yard.verb("extend", DISK, 2 * GIB)
        yard.reconcile()
        assert snapshot in yard.uuids()
        assert [finding.uuid for finding in yard.report().findings] == [snapshot]


def promote(database: Database) -> None:
    """Let the server come up as after a recovery: on a timeline of its own."""
    process = database.server.process
    assert process is not None
    database.server.run("ALTER SYSTEM SET restore_command = 'false'")
    database.stop_server()
    signal = process.data / "recovery.signal"
    signal.touch()
    shutil.chown(signal, process.data.owner())
    database.start_server()
