"""members.py: which disks are of one moment: those of one running VM, and no others."""

from __future__ import annotations

import dataclasses
import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest
from moment_ground import (
    KEY,
    OTHER_KEY,
    OTHER_VM,
    VM,
    X,
    Y,
    Z,
    all_moments,
    calls,
    log,
    marks,
    plug,
    reserved,
    snapshot,
    tag,
)

from rigs import http_peers, reverts, several_yard
from rigs.disk_model import GIB
from rigs.disk_rig import TEMPLATE
from rigs.several_yard import ONE, TWO
from rigs.yard import FOREIGN
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import identity
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.yard import Yard
    from storpool_ovirt.engine import tree

ALONE = ["KV", "Volume", "VolumeSnapshot"]  # what a snapshot of one volume costs


def alone(yard: Yard, why: str, disk: str = X, key: str = KEY) -> str:
    """Snapshot a disk, and see that it was taken alone, and that the log says why."""
    yard.queries()
    made = snapshot(yard, disk, key)
    assert calls(yard)[-1] == "VolumeSnapshot"
    assert marks(yard, made) == {""}
    line = log(yard)[-1]
    assert (line["snapshot"], line["consistency"]) == (made, "disk")
    assert why in line["why"]
    return made


def test_a_disk_without_a_tag_costs_what_it_did(yard: Yard) -> None:
    """A disk that was plugged without the hook; calls and statements are those of a domain where
    the option is off."""
    plug(yard, X, Y)
    tag(yard, X, "")
    counted = []
    for on in (True, False):
        yard.queries()
        with yard.engine("create_snapshot", X, correlation_id=KEY) as work:
            disks.snapshot(_with(work, group_snapshot=on), X)
            work.mapping.journal.delivered()
            counted.append((work.client.tally.calls, work.mapping.session.statements))
        assert calls(yard) == ALONE
    assert counted[0] == counted[1]
    assert [line["why"] for line in log(yard)] == [
        "it has no tag cvm",
        "sp_group_snapshot is off",
    ]
    alone(yard, "the only disk", Y)


def test_off_is_one_after_the_other(yard: Yard) -> None:
    """sp_group_snapshot=false: each disk at a moment of its own (T78 is of domains where it is
    on)."""
    plug(yard, X, Y)
    for disk in (X, Y):
        with yard.engine("create_snapshot", disk, correlation_id=KEY) as work:
            disks.snapshot(_with(work, group_snapshot=False), disk)
            work.mapping.journal.delivered()
    assert calls(yard) == ALONE * 2
    assert all_moments(yard) == []


def test_a_correlation_id_that_is_no_uuid_is_anybodys(yard: Yard) -> None:
    """A client's own word, which it may use for all that it does."""
    plug(yard, X, Y)
    snapshot(yard, X, "backup")
    assert calls(yard) == ALONE
    alone(yard, "the correlation id is no UUID", key="backup")


def test_a_disk_that_is_not_attached_is_written_by_nobody(yard: Yard) -> None:
    """The VM is down: the order of its snapshots does not matter."""
    plug(yard, X, Y)
    yard.detach(1, yard.verb("connection", X)["data"])
    alone(yard, "not attached")


def test_a_disk_on_two_hosts_is_alone(yard: Yard) -> None:
    """A migration is under way, or it is shared."""
    plug(yard, X, Y)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": names.object_name(X), "rw": [1, 2]}]})
    alone(yard, "client 1, client 2")


def test_a_disk_that_is_read_only_is_alone(yard: Yard) -> None:
    """Nobody writes it."""
    plug(yard, X, Y)
    name = names.object_name(X)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": name, "ro": [1]}]})
    alone(yard, "read-only")


def test_a_shareable_disk_is_alone(yard: Yard) -> None:
    """Several VMs write it; with its VM's others it is no moment of theirs."""
    plug(yard, X, Y, Z)
    yard.ask(f"VolumeUpdate/{names.object_name(X)}", {"tags": {names.TAG_SHARED: "1"}})
    alone(yard, "shareable")
    snapshot(yard, Y)
    assert all_moments(yard)[-1].volumes == (Y, Z)


def test_a_stale_tag_is_not_enough(yard: Yard) -> None:
    """A disk that was moved cold to another VM on another host, and one that is not attached any
    more: both still have the tag."""
    plug(yard, X, Y)
    plug(yard, Z, client_id=2)
    snapshot(yard, X)
    assert all_moments(yard)[-1].volumes == (X, Y)


def test_other_vms_of_the_host_are_left_alone(yard: Yard) -> None:
    """Under one correlation id too, as Engine exports several VMs: each has its own moment
    (T78)."""
    more = [f"7000000{number}-0000-4000-8000-0000000000dd" for number in (1, 2)]
    plug(yard, X, Y)
    plug(yard, *more, vm=OTHER_VM)
    made = [snapshot(yard, disk) for disk in (X, more[1], Y, more[0])]
    assert [(each.vm, set(each.volumes)) for each in all_moments(yard)] == [
        (VM, {X, Y}),
        (OTHER_VM, set(more)),
    ]
    assert len(marks(yard, *made)) == 2
    assert reserved(yard) == set()


def test_what_others_have_on_the_host_is_left_alone(yard: Yard) -> None:
    """A volume of another Engine with the same tag, attached to the same host."""
    plug(yard, X, Y)
    yard.ask(f"VolumeUpdate/ovirt--{FOREIGN}", {"tags": {names.TAG_VM: VM}})
    yard.hold(f"ovirt--{FOREIGN}", 1)
    before = yard.see().foreign
    snapshot(yard, X)
    assert all_moments(yard)[-1].volumes == (X, Y)
    assert yard.see().foreign == before


def test_a_disk_of_the_vm_that_others_have_taken_fails_all(yard: Yard) -> None:
    """It carries another Engine's tags by now: it is not left out without a word."""
    plug(yard, X, Y)
    yard.ask(f"VolumeUpdate/{names.object_name(Y)}", {"tags": {names.TAG_LOCATION: "ffffffff"}})
    with pytest.raises(errors.Foreign):
        snapshot(yard, X)
    assert yard.uuids() == {X}


class _Going(http_peers.Handler):
    """Answer as a StorPool that is about to drop a volume: `facts` are the simulator, the volume's
    id, and whether its global id still leads to it."""

    def serve(self) -> None:
        """Pass on; the volume is told as one that dies."""
        simulator, disk, global_id, is_there = self.server.facts
        asks_for_it = self.path.endswith((f"/~{global_id}", f"/{names.object_name(disk)}"))
        if self.path.endswith(f"/~{global_id}") and not is_there:
            self.path = self.path.replace(global_id, "none.b.1")
        status, content = self.pass_on(simulator.host, simulator.port, self.read_body(), 10.0)
        told = json.loads(content)
        if asks_for_it and status == http.client.OK:
            told["data"][0]["deleted"] = True
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())


@pytest.mark.parametrize("is_there", [True, False])
def test_a_disk_of_the_vm_that_is_about_to_go_fails_all(yard: Yard, is_there: bool) -> None:
    """Nobody can snapshot it, and Engine will ask for that: found by its id or by its name alone,
    it is not left out without a word (T78)."""
    plug(yard, X, Y, Z)
    facts = (yard.simulator, Y, yard.global_id(Y), is_there)
    with http_peers.serving(_Going, facts) as yard.port, pytest.raises(errors.NotFound):
        snapshot(yard, X)
    yard.port = None
    with pytest.raises(errors.Conflict, match="has failed"):
        snapshot(yard, Z)
    assert yard.uuids() == {X, Y, Z}


def test_a_disk_of_the_vm_that_another_engine_made_again_fails_all(yard: Yard) -> None:
    """Its own volume is gone, and one of its name has the VM's tag: Engine will ask for it all the
    same (T78, T76)."""
    plug(yard, X, Y)
    taken_by_another(yard, Y, VM)
    with pytest.raises(errors.NotFound):
        snapshot(yard, X)
    assert yard.uuids() == {X}


def test_what_is_gone_and_names_no_vm_is_none_of_this_one(yard: Yard) -> None:
    """A disk of another VM on the host was deleted by hand, and its name is somebody else's now:
    that fails no snapshot (T78)."""
    plug(yard, X, Y, Z)
    taken_by_another(yard, Z, OTHER_VM)
    snapshot(yard, X)
    assert all_moments(yard)[-1].volumes == (X, Y)


def taken_by_another(yard: Yard, disk: str, vm: str) -> None:
    """Have another Engine's volume have the name of a disk, on the same host, by hand."""
    name = names.object_name(disk)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": name, "detach": "all"}]})
    yard.ask(f"VolumeDelete/{name}", {})
    tags = {**yard.tags(disk), names.TAG_LOCATION: "ffffffff", names.TAG_VM: vm}
    yard.ask("VolumeCreate", {"name": name, "size": GIB, "template": TEMPLATE, "tags": tags})
    yard.hold(name, 1)


@pytest.mark.parametrize("disk", [X, Y])
def test_a_disk_that_was_reverted_has_its_place(yard: Yard, disk: str) -> None:
    """StorPool has given it another global id."""
    plug(yard, X, Y)
    for each in (X, Y):
        yard.verb("snapshot", each)  # so that their visible ids are known
    yard.detach(1, yard.verb("connection", disk)["data"])
    reverts.revert(yard, f"~{yard.global_id(disk)}")
    yard.attach(1, yard.verb("connection", disk)["data"])
    snapshot(yard, X)
    assert all_moments(yard)[-1].volumes == (X, Y)


def test_a_disk_that_was_renamed_has_its_place(yard: Yard) -> None:
    """A name says nothing where the global id is the row's."""
    plug(yard, X, Y)
    yard.ask(f"VolumeUpdate/{names.object_name(Y)}", {"rename": "by-hand"})
    snapshot(yard, X)
    assert all_moments(yard)[-1].volumes == (X, Y)


@pytest.mark.parametrize("most", [12, 13])
def test_very_many_are_read_by_one_list(
    yard: Yard, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others each by itself, several at once."""
    monkeypatch.setattr(identity, "READ_ALONE_MAX", most)
    more = [f"700000{number:02}-0000-4000-8000-0000000000dd" for number in range(13)]
    plug(yard, X, *more)
    snapshot(yard, X)
    looks = ["VolumesList"] if most < len(more) else ["Volume"] * len(more)
    assert calls(yard) == ["KV", "Volume", "AttachmentsList", *looks, "VolumesGroupSnapshot"]
    assert len({snapshot(yard, disk) for disk in more}) == 13
    assert calls(yard) == []


def test_a_preview_is_the_disks_volume(yard: Yard) -> None:
    """What the VM writes is snapshotted, under the id that Engine names."""
    plug(yard, X, Y)
    preview = yard.verb("preview", yard.verb("snapshot", Y))
    yard.detach(1, yard.verb("connection", Y)["data"])
    yard.attach(1, yard.verb("connection", preview)["data"])
    tag(yard, Y, "")
    tag(yard, preview, VM)
    snapshot(yard, X)
    assert all_moments(yard)[-1].volumes == (X, preview)
    yard.queries()
    claimed = snapshot(yard, preview)
    assert calls(yard) == []
    assert claimed in yard.uuids()


def test_what_died_on_a_member_is_put_right_first(yard: Yard) -> None:
    """T78, T71: also on a disk that Engine does not ask for this time."""
    plug(yard, X, Y)
    left = yard.die_made("snapshot", Y)
    snapshot(yard, X)
    assert left not in yard.uuids()
    assert yard.see().pending == []
    assert all_moments(yard)[-1].volumes == (X, Y)


def test_a_member_that_has_grown_is_as_large_in_its_snapshot(yard: Yard) -> None:
    """By hand, behind the mapping."""
    plug(yard, X, Y)
    yard.ask(f"VolumeUpdate/{names.object_name(Y)}", {"size": 3 * GIB})
    snapshot(yard, X)
    assert yard.see().rows[snapshot(yard, Y)].size_bytes == 3 * GIB


def test_disks_of_two_clusters_are_two_moments(module_database: Database, tmp_path: Path) -> None:
    """One that was moved is told in the log, as not all are of one moment then."""
    with several_yard.opened(module_database, tmp_path) as yard:
        for disk in (X, Y, Z):
            yard.verb("create", disk, GIB)
            yard.attach(disk, ONE, 1)
            core = yard.pair.one
            core.post(f"VolumeUpdate/{names.object_name(disk)}", {"tags": _tags(yard, disk)})
        yard.move(Z, TWO)
        with yard.work("create_snapshot") as work:
            journal = work.mapping.journal
            journal.caller = journal.caller._replace(correlation_id=OTHER_KEY)
            disks.snapshot(work, X)
            journal.delivered()
        lines = (tmp_path / "test.log").read_text() if (tmp_path / "test.log").exists() else ""
        lines = lines or (yard.pair.one.folder / "test.log").read_text()
        assert "consistency=part" in lines
        assert f"disk {Z} is in cluster {TWO}" in lines


def _tags(yard: several_yard.SeveralYard, disk: str) -> dict[str, str]:
    with yard.work() as work:
        return {**names.tags(disk, work.mapping.location, disk), names.TAG_VM: VM}


def _with(work: tree.Work, **options: Any) -> tree.Work:
    return dataclasses.replace(work, domain=dataclasses.replace(work.domain, **options))
