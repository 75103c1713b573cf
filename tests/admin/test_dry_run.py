"""dry_run.py: what a dry run tells is what is sent then, call by call, and until then nothing is
changed."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from rigs import disk_rig
from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors, log
from storpool_ovirt.admin import checks, dry_run, mend, rebuild, reconcile, share_mark, survey
from storpool_ovirt.cluster import foreseen, requests, volumes
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.engine import claims, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Act = Callable[[tree.Work], object]

pytestmark = pytest.mark.usefixtures("a_disk")

MARK = "  would send: "

Sent = list[tuple[str, Any]]


def sent(yard: Yard) -> Sent:
    """Return the calls since the last look that were to change something, with their bodies; the
    barrier is none of them, and what a claim says is of its moment."""
    records = yard.simulator.calls.list()
    yard.simulator.calls.clear()
    return [
        _call(each.path, each.body)
        for each in records
        if each.method == "POST"
        and not (each.path.endswith("KV/Create/storpool-ovirt"))
        and not (each.query == "KV/Set" and "barrier" in each.body["set"])
    ]


def told(said: list[str]) -> Sent:
    """Return the calls that a dry run told."""
    calls = [each[len(MARK) :].split(" ", 2) for each in said if each.startswith(MARK)]
    assert {verb for verb, *_ in calls} <= {"POST"}
    return [
        _call(path, json.loads(body[0]) if body else None)
        for _, path, *body in calls
        if path != "KV/Create/storpool-ovirt"
    ]


def _call(path: str, body: Any) -> tuple[str, Any]:
    path = path.removeprefix("/ctrl/1.0/")
    return path, None if path.startswith("KV/") else body or None


def rehearsed(yard: Yard, act: Act) -> list[str]:
    """Rehearse; return what was told, and see that nothing is different."""
    before, entries = yard.see(), yard.entries()
    location, version = yard.sql("SELECT location, version FROM storpool_ovirt.meta")[0]
    sent(yard)
    said: list[str] = []
    with yard.administrator() as work:
        dry_run.played(work, said.append, act)
    assert sent(yard) == []
    assert (yard.see(), yard.entries()) == (before, entries)
    assert yard.sql("SELECT location, version FROM storpool_ovirt.meta") == [(location, version)]
    return said


def done(yard: Yard, act: Act) -> list[str]:
    """Do the same in earnest; return the calls."""
    sent(yard)
    with yard.administrator() as work:
        act(work)
    return sent(yard)


def mends(yard: Yard) -> Act:
    """Return reconcile's steps for what the audit finds."""
    found = reconcile.plan(yard.report())
    assert found

    def act(work: tree.Work) -> object:
        return [
            reconcile.carry_out(work, each.action, 0.0) for each in found if each.action is not None
        ]

    return act


def a_leak(yard: Yard) -> Act:
    """A clone whose verb died is to be deleted."""
    yard.die_made("clone", DISK, CLONE)
    return mends(yard)


def a_delete_half_done(yard: Yard) -> Act:
    """A disk whose delete died between its objects is to be deleted."""
    yard.verb("snapshot", DISK)
    yard.die_when(lambda: f"ovirt--{DISK}" not in yard.see().things, "delete", DISK)
    return mends(yard)


def a_late_clone(yard: Yard) -> Act:
    """What came after it was taken back is to be deleted."""
    yard.die_when(lambda: CLONE in yard.see().rows, "clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    yard.by_hand(CLONE)
    return mends(yard)


def lost_tags(yard: Yard) -> Act:
    """Tags are to be written again."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"ovirt-uuid": ""}})
    return mends(yard)


def an_unmapped_object(yard: Yard) -> Act:
    """An object that an administrator names is to go."""
    address = yard.by_hand(OTHER)
    return lambda work: reconcile.remove(work, address, 0.0)


def a_closed_device(yard: Yard) -> Act:
    """A disk is to be detached."""
    yard.hold(yard.address(DISK))
    return lambda work: reconcile.detach(work, DISK)


def a_restored_disk(yard: Yard) -> Act:
    """A volume that was restored by hand is to be its disk's."""
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"VolumeDelete/{yard.address(DISK)}", {})
    body = {"name": "by-hand", "parent": yard.address(snapshot), "size": 2 * GIB, "tags": {}}
    address = f"~{yard.ask('VolumeCreate', body)['globalId']}"
    return lambda work: mend.mend(work, DISK, address)


def a_lost_mapping(yard: Yard) -> Act:
    """The mapping of another location is to be made again, and what it has retagged."""
    yard.verb("create", OTHER, GIB)
    yard.ask(f"VolumeUpdate/{yard.address(OTHER)}", {"tags": {"ovirt-loc": "0badcafe"}})
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", DISK)
    yard.sql("UPDATE storpool_ovirt.meta SET location = '0badcafe'")
    old = yard.location

    def act(work: tree.Work) -> object:
        return rebuild.carry_out(work, rebuild.plan(survey.look(work), old))

    return act


def a_claim(_yard: Yard) -> Act:
    """This Engine is to be the one that has the disks."""
    return claims.take


def a_mark(_yard: Yard) -> Act:
    """A disk is to be marked as shareable."""

    def act(work: tree.Work) -> object:
        there = work.client.volume(f"ovirt--{DISK}")
        return share_mark.mark(work.client, there, DISK, work.log, False)

    return act


@pytest.mark.parametrize(
    "scene",
    [
        a_leak,
        a_delete_half_done,
        a_late_clone,
        lost_tags,
        an_unmapped_object,
        a_closed_device,
        a_restored_disk,
        a_lost_mapping,
        a_claim,
        a_mark,
    ],
)
def test_what_is_said_is_what_is_sent_then(yard: Yard, scene: Callable[[Yard], Act]) -> None:
    """T72: the same calls in the same order; nothing of them before, in the cluster or in the
    database."""
    act = scene(yard)
    said = rehearsed(yard, act)
    assert told(said)
    assert told(said) == done(yard, act)


def test_bodies_are_told(yard: Yard) -> None:
    """Tags, size and name as they would be sent."""
    act = a_restored_disk(yard)
    [update, database] = rehearsed(yard, act)
    assert f'"rename": "ovirt--{DISK}"' in update
    assert '"virt": "ovirt"' in update
    assert database == "  would write to the mapping database"


def test_what_would_be_refused_is_lineswith_what_was_sent_before(yard: Yard) -> None:
    """A leak that a host has attached stays: the call, StorPool's word, and the refusal."""
    made = yard.die_made("clone", DISK, CLONE)
    yard.hold(f"ovirt--{made}")
    act = mends(yard)
    said: list[str] = []
    with yard.administrator() as work, pytest.raises(errors.Conflict, match="client 2"):
        dry_run.played(work, said.append, act)
    assert said[-1].startswith(f"  would send: POST VolumeDelete/~{yard.global_id(CLONE)}")
    assert said[-1].endswith("is attached to client 2)")
    assert "refused: busy" in said[-1]
    with pytest.raises(errors.Conflict, match="client 2"):
        yard.carry_out(reconcile.plan(yard.report()))


def test_the_title_stands_above_what_is_told(yard: Yard) -> None:
    """Where nothing would be changed there is none."""
    act = a_leak(yard)
    said: list[str] = []
    with yard.administrator() as work:
        dry_run.played(work, said.append, act, "would mend it")
        assert said[0] == "would mend it"
        assert said[1].startswith("  would send: ")
        said.clear()
        dry_run.played(work, said.append, lambda _: None, "would mend it")
    assert said == []


def test_nothing_is_logged_of_what_did_not_happen(yard: Yard, tmp_path: Path) -> None:
    """The log tells changes of the world."""
    act = a_leak(yard)
    path = tmp_path / "log"
    with yard.administrator() as work:
        logging = dataclasses.replace(work, log=log.Log("test", str(path)))
        dry_run.played(logging, [].append, act)
        assert path.read_text() == ""
        act(logging)
    assert "deleted" in path.read_text()


def test_a_rehearsal_ends_at_an_answer_that_nobody_has(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows is not made up."""
    monkeypatch.delattr("storpool_ovirt.cluster.foreseen.World._volumeRevert")
    snapshot = yard.verb("snapshot", DISK)
    ids = yard.global_id(DISK), yard.global_id(snapshot)
    said = rehearsed(yard, lambda work: volumes.revert(work.client, *ids))
    assert told(said) == [(f"VolumeRevert/~{ids[0]}", {"toSnapshot": f"~{ids[1]}"})]
    assert said[1] == "  then: what follows depends on the answer to that"


# What is made is there for what comes after it


def test_what_would_be_made_can_be_read_and_deleted(yard: Yard) -> None:
    """A snapshot, a volume from it, names that are taken, a group, and a revert."""
    volume_id = yard.global_id(DISK)

    def act(work: tree.Work) -> None:
        client = work.client
        made = client.volume_snapshot(f"~{volume_id}", {"name": "s", "tags": {"a": "b"}})
        there = client.snapshot("s")
        assert (there.global_id, there.tags, there.made_from) == (made, {"a": "b"}, volume_id)
        assert made in {each.global_id for each in client.snapshots()}
        copy = client.volume_create({"name": "v", "parent": f"~{made}", "tags": {}})
        assert client.volume(f"~{copy}").size_bytes == GIB
        with pytest.raises(errors.Exists):
            client.volume_create({"name": "s", "parent": f"~{made}", "tags": {}})
        client.volume_update("v", {"rename": "w", "size": 2 * GIB})
        assert client.volume("w").size_bytes == 2 * GIB
        with pytest.raises(errors.NotFound):
            client.volume("v")
        assert client.volume_revert("w", "s") == copy
        client.volume_delete("w")
        client.snapshot_delete(f"~{made}")
        for read in (client.volume, client.snapshot):
            for address in ("v", "w", "s", f"~{made}", f"~{copy}"):
                with pytest.raises(errors.NotFound):
                    read(address)
        body = {"volumes": [{"volume": f"~{volume_id}", "name": "g", "tags": {}}]}
        group = client.group_snapshot(body, "g")
        assert client.snapshot("g").global_id == group[volume_id]
        assert client.snapshot("g") in client.snapshots()

    said = rehearsed(yard, act)
    assert [each[len(MARK) :].split()[1].split("/")[0] for each in said] == [
        *("VolumeSnapshot", "VolumeCreate", "VolumeCreate"),
        *("VolumeUpdate", "VolumeRevert", "VolumeDelete", "SnapshotDelete"),
        "VolumesGroupSnapshot",
    ]
    assert "(refused: objectExists: snapshot 's' exists)" in said[2]


def test_attachments_follow(yard: Yard) -> None:
    """Attached to one host, taken from it, and then it may be deleted."""
    address = yard.by_hand(OTHER)

    def act(work: tree.Work) -> None:
        client = work.client
        client.reassign([{"volume": address, "rw": [1]}], 1, OTHER)
        [held] = [each for each in client.attachments() if each.address == address]
        assert (held.address, held.client_id, held.access_mode) == (address, 1, "rw")
        with pytest.raises(errors.InUse):
            client.volume_delete(address)
        client.reassign([{"volume": address, "detach": [1], "force": False}], 1, OTHER)
        assert address not in {each.address for each in client.attachments()}
        client.volume_delete(address)

    assert len(rehearsed(yard, act)) == 4


@pytest.mark.parametrize("count", [1, 900])
def test_long_lists_are_changed_as_short_ones(yard: Yard, count: int) -> None:
    """A list that is read piece by piece lacks what is deleted, and has what is made."""
    for number in range(count):
        yard.ask("VolumeCreate", _body(f"other{number}"))
    volume_id = yard.global_id(DISK)

    def act(work: tree.Work) -> None:
        before = {each.name for each in work.client.volumes()}
        work.client.volume_delete("other0")
        work.client.volume_create({"name": "new", "baseOn": f"~{volume_id}", "tags": {}})
        assert {each.name for each in work.client.volumes()} == before - {"other0"} | {"new"}

    rehearsed(yard, act)


def _body(name: str) -> dict[str, Any]:
    return {"name": name, "size": GIB, "template": disk_rig.TEMPLATE, "tags": {}}


def test_what_a_call_means_is_known_of_all_that_a_repair_sends() -> None:
    """A rehearsal of a repair goes to its end: each call that changes something is foreseen."""
    changing = [method for method in requests.REQUESTS if not requests.reads(method)]
    known = {method for method in changing if hasattr(foreseen.World, f"_{method}")}
    assert known >= {
        *("volumeCreate", "volumeUpdate", "volumeDelete", "volumeRevert"),
        *("snapshotCreate", "snapshotCreateGroup", "snapshotUpdate", "snapshotDelete"),
        *("volumesReassignWait", "kvsCreate", "kvsUpdate"),
    }


def test_a_statement_that_fails_fails_alone(yard: Yard) -> None:
    """T72: as in earnest: what was caught is over, a disk that another one holds is told as that,
    and no lock stays."""
    said: list[str] = []

    def act(work: tree.Work) -> None:
        session = work.mapping.session
        with checks.held(work, DISK):
            with pytest.raises(errors.DatabaseUnavailable, match="division"), session.transaction():
                session.rows("DELETE FROM storpool_ovirt.node")
                session.rows("SELECT 1/0")
            assert work.mapping.node(DISK) is not None
        with yard.administrator("holder") as other:
            other.mapping.lock(DISK)
            session.rows("SET LOCAL lock_timeout = 100")
            work.mapping.lock(DISK)

    with yard.administrator() as work:
        with pytest.raises(errors.Locked, match="another operation works on disk"):
            dry_run.played(work, said.append, act)
        held = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert work.mapping.session.rows(held) == [(0,)]
    assert said == []


def test_a_wait_that_only_time_ends_is_told(yard: Yard) -> None:
    """T72: it neither takes that time nor asks again and again."""
    said: list[str] = []

    def act(work: tree.Work) -> None:
        for _ in polls(Deadline(60), work.sleep):
            work.client.volume(f"ovirt--{DISK}")

    sent(yard)
    with yard.administrator() as work:
        dry_run.played(work, said.append, act)
    assert said == ["  then: it waits for what is under way, and what follows depends on that"]
    assert len(yard.simulator.calls.list()) <= dry_run.WAITS_MAX + 1


def test_it_is_lineswhen_nothing_is_locked_any_more(yard: Yard) -> None:
    """T72: who reads may be slow: a pager, or a pipe that is full."""
    lines: list[str] = []

    def act(work: tree.Work) -> None:
        with checks.held(work, DISK):
            work.mapping.session.rows("UPDATE storpool_ovirt.node SET size_bytes = size_bytes")

    def say(line: str) -> None:
        yard.sql("SELECT 1 FROM storpool_ovirt.node FOR UPDATE NOWAIT")
        lines.append(line)

    with yard.administrator() as work:
        dry_run.played(work, say, act)
    assert lines == ["  would write to the mapping database"]
