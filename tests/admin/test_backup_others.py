"""copies_seen.py, backup.py: copies of a domain whose cluster is not asked now, of a disk whose row
was lost, and what a dry run leaves as it was."""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING

import click
import pytest

from rigs import backup_yard, trash_yard
from rigs.backup_yard import SIZE_BYTES, BackupYard
from rigs.yard import DISK, FOREIGN, OTHER, OTHER_CLUSTER
from storpool_ovirt.admin import backup, backup_restore, dry_run
from storpool_ovirt.admin.commands import backup as command
from storpool_ovirt.engine import backups, copies, copies_seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from storpool_ovirt.engine import tree

WEEK = 7 * 86400


@pytest.fixture
def yard(module_database: Database, tmp_path: Path) -> Iterator[BackupYard]:
    """A yard with a far side, which keeps dates."""
    with backup_yard.opened(module_database, tmp_path) as opened:
        opened.sides.take_dates(3600)
        yield opened


def copied(yard: BackupYard) -> copies.Copy:
    """Make a disk that has data, and a copy that is there."""
    yard.disk(DISK, b"data")
    return yard.waited(yard.backup(DISK))[0].row


def age(yard: BackupYard) -> None:
    """Have all copies be older than a week."""
    yard.sql("UPDATE storpool_ovirt.backup SET made_at = made_at - interval '8 days'")


@pytest.mark.parametrize("is_pinned", [True, False])
@pytest.mark.parametrize("state", [copies.BEGUN, copies.SENT, copies.THERE, copies.GIVEN_UP])
def test_a_copy_of_another_clusters_disk_is_left_alone(
    yard: BackupYard, state: str, is_pinned: bool
) -> None:
    """F63: domains share the table, and a location of theirs may have the name of one of ours: what
    that does not have is neither lost nor forgotten."""
    row = copied(yard)._replace(state=state, made_at=1.0, copy=OTHER)
    row = row._replace(volume=f"{OTHER_CLUSTER}.v")
    known = {"remote_id": f"{OTHER_CLUSTER}.c", "base_id": f"{OTHER_CLUSTER}.b"}
    nothing = {"remote_id": None, "base_id": None}
    row = row._replace(**(nothing if state == copies.BEGUN else known))
    yard.forget_database()
    if not is_pinned:
        yard._variant["pinned"] = False
    with yard.administrator() as work:
        work.mapping.write(copies.written([row]))
    found = {each.row.volume: each for each in yard.copies()}
    assert found[row.volume].state == copies_seen.ELSEWHERE
    assert "--options" in found[row.volume].note
    assert found[row.volume].row.state == state
    yard.expire(WEEK)
    assert [each.state for each in rows(yard) if each.volume == row.volume] == [state]
    assert [each for each in yard.report().findings if each.kind == "copy"] == []


def rows(yard: BackupYard) -> list[copies.Copy]:
    """Return the table."""
    with yard.administrator() as work:
        return copies.all_of(work.mapping)


def test_the_newest_copy_of_a_disk_without_a_row_stays(yard: BackupYard) -> None:
    """F63: a database that came back from a backup lacks the disks that were made since; the tags
    of their volumes say that they live."""
    row = copied(yard)
    yard.sql("DELETE FROM storpool_ovirt.node WHERE root = %s", DISK)
    age(yard)
    done = yard.expire(WEEK)
    assert (done.rows, [each.remote_id for each in done.kept]) == ((), [row.remote_id])


def test_all_volumes_of_the_newest_moment_stay(yard: BackupYard) -> None:
    """F63: a delete copies the volume of a preview too, and the disk may stay all the same."""
    row = copied(yard)
    with yard.administrator() as work:
        first = copies.of(work.mapping, DISK)[0]
        work.mapping.write(copies.forgotten([first]))
        both = [
            first._replace(node=each, remote_id=f"loc.a.{each[0]}") for each in (OTHER, FOREIGN)
        ]
        work.mapping.write(copies.written([*both, first._replace(copy=OTHER, made_at=1.0)]))
        rows = copies.of(work.mapping, DISK)
        seen = [copies_seen.Seen(each, copies.THERE) for each in rows]
        done = backup.give_up_old(work, seen, -WEEK, lambda _: None)
    assert {each.node for each in done.kept} == {OTHER, FOREIGN}
    assert [each.remote_id for each in done.rows] == [row.remote_id]


def test_where_a_newer_one_is_made_first_the_newest_goes(yard: BackupYard) -> None:
    """T72: a dry run of a copy with --keep tells what goes then."""
    row = copied(yard)
    age(yard)
    with yard.administrator() as work:
        told: list[copies.Copy] = []
        backup.give_up_old(work, backup.look(work), WEEK, told.append, spare_newest=False)
    assert [each.remote_id for each in told] == [row.remote_id]


def test_a_rehearsed_restore_does_not_wait_for_data(yard: BackupYard) -> None:
    """T72: what was fetched and is still on its way is told as that, at once, and the location is
    not asked again and again."""
    row = copied(yard)
    yard.verb("create", OTHER, SIZE_BYTES)
    trash_yard.noted(yard)  # the look at the disk would write that, as any meeting does
    yard.sides.slow(100)
    said: list[str] = []
    with yard.administrator() as work:
        backups.fetch(work, row, None)
        yard.simulator.calls.clear()
        dry_run.played(
            work,
            said.append,
            lambda tried: backup_restore.restore(tried, f"~{row.remote_id}", OTHER),
        )
    assert said == ["  then: it waits for what is under way, and what follows depends on that"]
    asked = collections.Counter(each.query for each in yard.simulator.calls.list())
    assert max(asked.values()) <= dry_run.WAITS_MAX + 2


def test_a_rehearsed_copy_goes_to_its_end(yard: BackupYard) -> None:
    """T72: of a VM with two disks: one call, with the body that is sent then, and the rows of both
    copies; nothing is begun, and no row stays."""
    for disk in (DISK, OTHER):
        yard.disk(disk, b"z" * 4096, vm=backup_yard.VM)
    said: list[str] = []

    def act(tried: tree.Work) -> list[copies.Copy]:
        return backup.make(tried, backup.target(tried, backup_yard.VM), backup_yard.TO)

    with yard.administrator() as work:
        foreseen = dry_run.played(work, said.append, act)
        assert copies.all_of(work.mapping) == []
        yard.simulator.calls.clear()
        made = act(work)
    assert foreseen is not None
    known = {(each.disk, each.state) for each in made}
    assert {(each.disk, each.state) for each in foreseen} == known
    (sent,) = [each for each in yard.simulator.calls.list() if each.query == "VolumesGroupBackup"]
    assert len(said) == 2
    told = json.loads(said[0].partition("VolumesGroupBackup ")[2])
    assert sorted(told["volumes"]) == sorted(sent.body["volumes"])
    assert {**told, "volumes": [], "tags": {}} == {**sent.body, "volumes": [], "tags": {}}
    assert told["tags"].keys() == sent.body["tags"].keys()


def test_a_retention_of_nothing_is_refused() -> None:
    """0 means "off" in options, and would give up all copies of disks that are gone."""
    with pytest.raises(click.UsageError, match="would keep nothing"):
        command._seconds("0")
    assert command._seconds("7d") == WEEK
