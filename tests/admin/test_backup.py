"""backup.py, backups.py, copies_seen.py: copies in another location are of one moment, are found
again, and are told as they are."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from rigs import backup_yard, far_cluster
from rigs.backup_yard import TO, VM, BackupYard
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, OTHER
from storpool_ovirt import errors, option_values
from storpool_ovirt.admin import backup
from storpool_ovirt.engine import copies, copies_seen
from storpool_ovirt.option_values import CopyTo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

MIB = 1 << 20
NOBODY = "a0000000-0000-4000-8000-000000000000"


@pytest.fixture(params=["given", "none"])
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[BackupYard]:
    """A yard with a far side; bases may have the tags of their copies, or none."""
    with backup_yard.opened(module_database, tmp_path, backup_base_tags=request.param) as opened:
        yield opened


def test_a_disk_is_copied(yard: BackupYard) -> None:
    """F62: what it holds at the moment of the call, with our tags and those that are asked for."""
    yard.disk(DISK, b"then" * 1000)
    was = yard.checksum(f"ovirt--{DISK}")
    yard.sides.slow()
    [row] = yard.backup(DISK, CopyTo(far_cluster.LOCATION, (("del", "y"),)))
    yard.write(DISK, b"later")
    assert [each.state for each in yard.copies()] == [copies_seen.ON_THE_WAY]
    [seen] = yard.waited([row])
    assert (seen.state, seen.row.state) == (copies.THERE, copies.THERE)
    assert yard.far_checksum(row.remote_id) == was
    tags = yard.sides.far.client().snapshot(f"~{row.remote_id}").tags
    assert tags == {
        "virt": "ovirt",
        "ovirt-loc": yard.location,
        "ovirt-copy": row.copy,
        "ovirt-root": DISK,
        "del": "y",
    }
    assert yard.copies() == [seen]
    assert yard.report().findings == ()


def test_the_disks_of_a_vm_are_copied_at_one_moment(yard: BackupYard) -> None:
    """F62: all that carry its tag, by one call."""
    for uuid in (DISK, CLONE):
        yard.disk(uuid, uuid.encode(), vm=VM)
    yard.disk(OTHER)
    yard.queries()
    rows = yard.backup(VM)
    assert yard.queries().count("POST VolumesGroupBackup") == 1
    assert {row.disk for row in rows} == {DISK, CLONE}
    assert {row.vm for row in rows} == {VM}
    assert len({row.copy for row in rows}) == 1
    for each in yard.waited(rows):
        assert yard.far_checksum(each.row.remote_id) == yard.checksum(f"ovirt--{each.row.disk}")


def test_the_active_volume_is_copied(yard: BackupYard) -> None:
    """F62: of a disk in a preview that is the preview's, whatever id of the disk is named."""
    yard.disk(DISK, b"old")
    snapshot = yard.verb("snapshot", DISK)
    yard.write(DISK, b"new")
    preview = yard.verb("preview", snapshot)
    for named in (DISK, snapshot, preview):
        [row] = yard.backup(named)
        assert (row.disk, row.node) == (DISK, preview)
        [seen] = yard.waited([row])
        assert yard.far_checksum(seen.row.remote_id) == yard.checksum(f"ovirt--{snapshot}")


def test_what_is_nothing_is_refused(yard: BackupYard) -> None:
    """An id of nothing, a location that there is not: nothing is made or written."""
    yard.disk(DISK)
    with pytest.raises(errors.NotFound, match="no disk has this id"):
        yard.backup(NOBODY)
    with pytest.raises(errors.NotFound, match="it knows rem"):
        yard.backup(DISK, CopyTo("nowhere"))
    assert yard.copies() == []
    assert yard.there() == {}


def test_a_copy_goes_on_over_a_cut(yard: BackupYard) -> None:
    """F62: the bridge is cut in the middle; the copy is told as one that cannot be seen or is on
    its way, and ends when the bridge is there again."""
    yard.disk(DISK, b"x" * 4 * MIB)
    yard.sides.slow()
    [row] = yard.backup(DISK)
    yard.simulator.advance(2 * far_cluster.MIB_SECONDS)
    yard.sides.cut()
    yard.simulator.advance(1000)
    [seen] = yard.copies()
    assert seen.state == copies_seen.ON_THE_WAY  # the base here says so
    assert yard.there().keys() == {row.remote_id}
    yard.sides.heal()
    [seen] = yard.waited([row])
    assert seen.state == copies.THERE
    assert yard.far_checksum(row.remote_id) == yard.checksum(f"ovirt--{DISK}")


def test_a_copy_that_was_given_up_is_told(yard: BackupYard) -> None:
    """F62: where StorPool gives a copy up at a cut, a wait for it fails, and the list tells it, as
    soon as the far side can be asked; until then nothing is said of it."""
    yard.sides.switch(cut_copy="fail")
    yard.disk(DISK, b"x" * 4 * MIB)
    yard.sides.slow()
    [row] = yard.backup(DISK)
    yard.sides.cut()
    yard.simulator.advance(10)
    [seen] = yard.copies()
    assert (seen.state, seen.row.state) == (copies_seen.UNSEEN, copies.SENT)
    yard.sides.heal()
    with pytest.raises(errors.Conflict, match="given up on its way"):
        yard.waited([row])
    [seen] = yard.copies(DISK)
    assert seen.state == copies.LOST


def test_a_wait_ends_and_the_copy_goes_on(yard: BackupYard) -> None:
    """F62: a command whose time is over tells how far it has come."""
    yard.disk(DISK, b"x" * 4 * MIB)
    yard.sides.slow(10_000)
    [row] = yard.backup(DISK)
    [seen] = yard.waited([row])
    assert seen.state == copies_seen.ON_THE_WAY
    yard.simulator.advance(40_000)
    assert [each.state for each in yard.copies()] == [copies.THERE]


@pytest.mark.parametrize("switch", ["schema", "listed"])
def test_a_reverted_volume_is_copied(yard: BackupYard, switch: str) -> None:
    """It has another global id by now."""
    yard.sides.switch(revert_identity="all", group_backup_key=switch)
    yard.disk(DISK, b"old")
    snapshot = yard.verb("snapshot", DISK)
    yard.write(DISK, b"new")
    yard.revert(f"ovirt--{DISK}", f"ovirt--{snapshot}")
    [seen] = yard.waited(yard.backup(DISK))
    assert yard.far_checksum(seen.row.remote_id) == yard.checksum(f"ovirt--{snapshot}")


def test_an_answer_that_is_lost_makes_no_second_copy(yard: BackupYard) -> None:
    """T71: the copy is found again by its tag."""
    yard.disk(DISK, b"data")
    [row] = yard.backup(DISK, fault=Fault("reset_after", "VolumesGroupBackup"))
    assert yard.there().keys() == {row.remote_id}
    assert [each.state for each in yard.waited([row])] == [copies.THERE]


def test_a_request_that_got_lost_is_sent_again(yard: BackupYard) -> None:
    """T71: it had no effect."""
    yard.disk(DISK, b"data")
    [row] = yard.backup(DISK, fault=Fault("reset_before", "VolumesGroupBackup", times=2))
    assert yard.there().keys() == {row.remote_id}


def test_a_lost_table_is_made_again(yard: BackupYard) -> None:
    """T85: from the tags and the names of the copies, with the moments at which they were made."""
    for uuid in (DISK, CLONE):
        yard.disk(uuid, b"data", vm=VM)
    alone = yard.waited(yard.backup(DISK))
    together = yard.waited(yard.backup(VM))
    before = {each.row.remote_id: each for each in (*alone, *together)}
    yard.forget_database()
    found = {each.row.remote_id: each for each in yard.copies()}
    assert found.keys() == before.keys()
    for remote_id, each in found.items():
        row, was = each.row, before[remote_id].row
        assert (row.copy, row.disk, row.node, row.location, row.size_bytes, each.state) == (
            was.copy,
            was.disk,
            was.node,
            was.location,
            was.size_bytes,
            copies.THERE,
        )
        assert row.made_at == pytest.approx(yard.simulator.cluster.now(), abs=60)


@pytest.mark.parametrize("given", ["rem", "rem:tag", "rem:tag del=y", "rem:tag a=b tag c=d", " x "])
def test_where_copies_go_is_read(given: str) -> None:
    """A location, and tags."""
    found = option_values.copy_to(given.strip())
    assert found.location == given.strip().partition(":")[0]
    assert dict(found.tags) == dict(
        word.split("=") for word in given.partition(":")[2].split() if "=" in word
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "names no location"), ("a b", "names no location"), ("rem:del=y", "is not known"),
        ("rem:tag del", "is none like"), ("rem:tag virt=x", "another meaning"),
        ("rem:tag ovirt-uuid=x", "another meaning"), ("rem:tag a=ö", "is none"),
        (f"rem:tag a={'x' * 100}", "too many tags"), ("rem:tag cvm=x", "another meaning"),
    ],
)  # fmt: skip
def test_what_is_no_place_for_copies_is_refused(given: str, why: str) -> None:
    """With one sentence."""
    with pytest.raises(ValueError, match=why):
        option_values.copy_to(given)


# retention


def test_old_copies_are_given_up(yard: BackupYard) -> None:
    """F63: their location deletes them at its date, which is read there; the newest copy of a disk
    that is there stays."""
    yard.sides.take_dates(3600)
    yard.disk(DISK, b"data")
    first = yard.waited(yard.backup(DISK))[0].row
    second = yard.waited(yard.backup(DISK))[0].row
    assert yard.expire(3600) == ((), (), "")
    yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '8 days'")
    seen = yard.expire(7 * 86400, dry_run=True)
    assert ([row.copy for row in seen.rows], len(seen.kept)) == ([first.copy], 1)
    done = yard.expire(7 * 86400)
    assert [row.remote_id for row in done.rows] == [first.remote_id]
    assert [row.remote_id for row in done.kept] == [second.remote_id]
    assert done.failed == ""
    now = yard.simulator.cluster.now()
    assert done.rows[0].goes_at == pytest.approx(now + 3600, abs=60)
    states = {each.row.remote_id: each.state for each in yard.copies()}
    assert states == {first.remote_id: copies.GIVEN_UP, second.remote_id: copies.THERE}
    yard.simulator.advance(3700)
    assert [each.row.remote_id for each in yard.copies()] == [second.remote_id]
    assert yard.there().keys() == {second.remote_id}


def test_a_location_that_ignores_dates_is_found_out(yard: BackupYard) -> None:
    """F63: it ignores them without a word; that is read there, told, and nothing more is given
    up."""
    yard.disk(DISK, b"data")
    rows = [yard.waited(yard.backup(DISK))[0].row for _ in range(3)]
    yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '8 days'")
    done = yard.expire(7 * 86400)
    assert done.rows == ()
    assert "ignores dates" in done.failed
    states = [(each.row.remote_id, each.state, each.note[:20]) for each in yard.copies()]
    assert states == [
        (rows[0].remote_id, copies.GIVEN_UP, "its location ignores"),
        (rows[1].remote_id, copies.THERE, ""),
        (rows[2].remote_id, copies.THERE, ""),
    ]


def test_copies_of_a_disk_that_is_gone_are_given_up_too(yard: BackupYard) -> None:
    """F63: there is no newest one to keep."""
    yard.sides.take_dates()
    yard.disk(DISK, b"data")
    row = yard.waited(yard.backup(DISK))[0].row
    yard.verb("delete", DISK)
    yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '8 days'")
    assert [each.remote_id for each in yard.expire(86400).rows] == [row.remote_id]


@pytest.mark.parametrize("off", [-9 * 86400, 9 * 86400])
def test_the_clock_of_the_administrators_machine_tells_no_age(yard: BackupYard, off: float) -> None:
    """F63: neither what is young is given up as old, nor what is old kept as young."""
    yard.sides.take_dates()
    yard.disk(DISK, b"data")
    old = yard.waited(yard.backup(DISK))[0].row
    yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '8 days'")
    yard.waited(yard.backup(DISK))
    yard.verb("delete", DISK)
    with yard.administrator("backup-expire") as work:
        there = dataclasses.replace(work, now=lambda: time.time() + off)
        done = backup.give_up_old(there, backup.look(there), 7 * 86400)
    assert [each.remote_id for each in done.rows] == [old.remote_id]


def test_a_domain_says_where_copies_go() -> None:
    """F62: the option is read as the command's word is."""
    assert option_values.copy_to("rem") == TO
