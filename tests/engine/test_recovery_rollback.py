"""What a database that is older than the cluster means for verbs and reconcile: restored, rolled
back, promoted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from rigs import recovery_rig
from rigs.disk_rig import Fault
from rigs.recovery_rig import CLONE, DISK, GIB, Rig
from storpool_ovirt import errors
from storpool_ovirt.engine import recovery

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

TIMELINE = "SELECT lpad(to_hex(timeline_id), 8, '0') FROM pg_control_checkpoint()"
HOUR = recovery.FRESH_SECONDS / 3600


def test_an_image_brings_back_an_entry_of_a_disk_that_is_in_use(rig: Rig) -> None:
    """T72: while the cluster has objects that nobody explains, reconcile deletes nothing; a person
    names the disk."""
    rig.die_when_made("create", DISK, GIB)
    image = rig.save()
    rig.verb("create", DISK, GIB)
    rig.verb("connection", DISK)
    snapshot = rig.verb("snapshot", DISK)
    rig.put_back(image)
    rig.age(24 * 30)
    rig.reconcile()
    assert rig.uuids() == {DISK, snapshot}
    rig.keep(DISK)
    rig.rebuild()
    rig.verb("connection", DISK)
    assert rig.audit() == []
    assert rig.uuids() == {DISK, snapshot}


def test_nothing_is_deleted_that_something_stands_on(rig: Rig) -> None:
    """An object from which another was made has been used: reconcile leaves it to a person, who can
    remove it."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.die_when_made("snapshot", DISK)
    made = {"name": "by-hand", "parent": f"~{rig.global_id(snapshot)}", "tags": {}}
    rig.api("VolumeCreate", made)
    rig.reconcile()
    assert rig.uuids() == {DISK, snapshot}
    (finding,) = rig.audit()
    assert f"--remove {snapshot}" in finding.mend
    rig.remove(snapshot)
    assert rig.uuids() == {DISK}


def test_what_stands_alone_is_deleted(rig: Rig) -> None:
    """T72: a snapshot whose id nobody learnt and that nobody has used since goes with reconcile."""
    rig.verb("create", DISK, GIB)
    rig.verb("snapshot", DISK)
    rig.die_when_made("snapshot", DISK)
    assert len(rig.reconcile().done) == 1
    assert len(rig.uuids()) == 2
    assert rig.audit() == []


def go_on_after_a_lost_delete(rig: Rig) -> set[str]:
    """Let a delete of the disk be lost, the disk live on in a preview, and the database be that of
    before.

    Returns the ids of the objects.
    """
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    rig.verb("snapshot", DISK)
    rig.lose_delete("delete", DISK)
    backup = rig.save()
    rig.verb("connection", DISK)
    rig.verb("connection", rig.verb("preview", snapshot))
    rig.verb("remove", DISK)
    there = rig.uuids()
    rig.put_back(backup)
    return there


def test_a_restored_delete_deletes_nothing(rig: Rig) -> None:
    """An entry of a backup is no reason to delete: reconcile has nothing to do."""
    there = go_on_after_a_lost_delete(rig)
    rig.restored()
    assert rig.reconcile().done == []
    assert rig.uuids() == there


def test_a_delete_that_an_image_brings_back_deletes_nothing(rig: Rig) -> None:
    """The preview that nobody explains says that the delete was taken back long ago."""
    there = go_on_after_a_lost_delete(rig)
    rig.age(24 * 30)
    rig.reconcile()
    assert rig.uuids() == there


def test_a_restored_delete_is_over_after_a_rebuild(rig: Rig) -> None:
    """The way that is named leads on: rebuild, and the disk lives in its preview or can be deleted
    whole."""
    go_on_after_a_lost_delete(rig)
    rig.restored()
    rig.rebuild()
    rig.verb("delete", DISK)
    assert rig.uuids() == set()
    assert rig.see().rows == {}


@pytest.mark.parametrize("hours", [0.9 * HOUR, 1.1 * HOUR])
def test_a_verb_takes_back_only_what_is_fresh(rig: Rig, hours: float) -> None:
    """T71, T72: what is older than an hour a verb leaves, works all the same, and the audit names
    it."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.die_when_made("snapshot", DISK)
    rig.age(hours)
    rig.verb("extend", DISK, 2 * GIB)
    fresh = hours < HOUR
    assert (snapshot in rig.uuids()) is not fresh
    assert [finding.uuid for finding in rig.audit()] == ([] if fresh else [snapshot])


def test_an_old_preview_that_nobody_knows_is_not_the_disk(rig: Rig) -> None:
    """T72: it is left to the audit, and the VM's volume is the one before it."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.verb("snapshot", DISK)
    preview = rig.verb("preview", snapshot)
    rig.sql(
        "INSERT INTO storpool_ovirt.operation (correlation_id, verb, arguments, kind, disk, node,"
        " plan, state, process,"
        " incarnation, started_at, until) SELECT 'old', 'create_volume_from_snapshot', '{}',"
        " 'make', %s, %s,"
        """ '{"kind": "volume"}', 'done', '-:0:0', 'another server',"""
        " now() - interval '1 day', now()",
        DISK,
        preview,
    )
    rig.sql("UPDATE storpool_ovirt.operation SET incarnation = %s", incarnation(rig))
    rig.verb("extend", DISK, 2 * GIB)
    assert rig.active() == DISK
    assert preview in rig.uuids()
    assert preview in [finding.uuid for finding in rig.audit()]


def incarnation(rig: Rig) -> str:
    """Return this server's incarnation, as an entry has it that was written just now."""
    saved = rig.save()
    rig.die_when_made("create", CLONE, GIB)
    ((found,),) = rig.sql("SELECT incarnation FROM storpool_ovirt.operation WHERE node = %s", CLONE)
    rig.verb("delete", CLONE)
    rig.put_back(saved)
    return str(found)


@pytest.mark.parametrize("step", ["keep", "remove"])
def test_a_restored_entry_stays_named_until_a_person_decides(rig: Rig, step: str) -> None:
    """T72: whether Engine knows the object no backup can tell: neither verbs nor reconcile delete
    or forget it."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.die_when_made("snapshot", DISK)
    rig.restored()
    rig.verb("extend", DISK, 2 * GIB)
    rig.reconcile()
    (finding,) = rig.audit()
    assert finding.uuid == snapshot
    assert finding.action is None
    assert f"--keep {snapshot}" in finding.mend
    assert f"--remove {snapshot}" in finding.mend
    (rig.keep if step == "keep" else rig.remove)(snapshot)
    assert rig.audit() == []
    assert (snapshot in rig.uuids()) is (step == "keep")


def test_a_restored_growth_is_read_from_storpool(rig: Rig) -> None:
    """An old entry about a size does no harm: the volume tells what it has."""
    rig.verb("create", DISK, GIB)
    with pytest.raises(errors.ApiUnavailable):
        rig.verb(
            "extend", DISK, 4 * GIB, fault=Fault("reset_before", query="VolumeUpdate", times=50)
        )
    backup = rig.save()
    rig.verb("extend", DISK, 2 * GIB)
    rig.put_back(backup)
    rig.restored()
    rig.verb("connection", DISK)
    rig.reconcile()
    assert rig.see().rows[DISK][4] == 2 * GIB
    assert rig.audit() == []


def test_the_journal_outlives_a_crash_of_the_server(rig: Rig) -> None:
    """Whatever the server does for others: a commit of ours is on its disk when we are told so."""
    assert rig.sql("SHOW synchronous_commit") == [("off",)]
    with rig.engine("snapshot") as engine, rig.administrator() as administrator:
        for each in (engine, administrator):
            assert each.mapping.session.rows("SHOW synchronous_commit") == [("on",)]


def test_an_entry_names_the_timeline_that_it_was_written_in(rig: Rig) -> None:
    """A server that was promoted or restored has another one, so that its older entries prove
    nothing."""
    rig.die_when_made("create", DISK, GIB)
    ((written,),) = rig.sql("SELECT incarnation FROM storpool_ovirt.operation")
    assert written.split("/")[1].lower() == rig.sql(TIMELINE)[0][0]


def test_a_promoted_server_does_not_trust_older_entries(
    own_database: Database, tmp_path: Path
) -> None:
    """T72: a promoted server may lack what was written last, so what an entry told before is left
    to a person."""
    with recovery_rig.standing(tmp_path, own_database) as rig:
        rig.verb("create", DISK, GIB)
        snapshot = rig.die_when_made("snapshot", DISK)
        promote(own_database)
        rig.reconnect(own_database)
        rig.verb("extend", DISK, 2 * GIB)
        rig.reconcile()
        assert snapshot in rig.uuids()
        assert [finding.uuid for finding in rig.audit()] == [snapshot]


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
