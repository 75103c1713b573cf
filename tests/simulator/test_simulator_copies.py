"""Copies between clusters on their way: slow, cut, resumed, given up, over a restart."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from clusters_rig import opened_trio
from copies_rig import (
    MIB,
    MIB_SECONDS,
    SLOW,
    backed_up,
    backing_up,
    checksum,
    fetched,
    recovering,
    remote_ids,
    slow,
)
from simulator_fixtures import LIMIT_SECONDS, TOKEN, Caller, content, fill, opened_peer, refused

from storpool_simulator.model import copies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clusters_rig import Trio
    from simulator_fixtures import Peer


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Two clusters here, one elsewhere."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as clusters:
        yield clusters


def on_its_way(trio: Trio, data: bytes = b"then", size: int = 2 * MIB) -> str:
    """A backup of a volume `v`, which takes its time; returns its id."""
    slow(trio)
    trio.one.create("v", size=size)
    fill(trio.one, "v", data)
    return backed_up(trio.one)


def test_a_cut_copy_waits_and_goes_on(trio: Trio) -> None:
    """While the bridge is down nothing comes; what had come need not come again."""
    remote_id = on_its_way(trio, b"x" * 2 * MIB)
    trio.one.simulator.advance(MIB_SECONDS)
    trio.cut("far")
    trio.one.simulator.advance(100 * MIB_SECONDS)
    assert recovering(trio.far) == {remote_id}
    trio.heal("far")
    trio.one.simulator.advance(MIB_SECONDS - 1)
    assert recovering(trio.far) == {remote_id}
    trio.one.simulator.advance(1)
    assert recovering(trio.far) == set()
    assert checksum(trio.far, f"~{remote_id}") == checksum(trio.one, "v")


def test_a_bridge_that_is_deregistered_cuts_too(trio: Trio) -> None:
    """A copy waits until it is registered again."""
    remote_id = on_its_way(trio)
    (bridge,) = [
        one for one in trio.far.get("RemoteBridgesList")["remoteBridges"] if one["remote"] == "one"
    ]
    trio.far.post("RemoteBridgeRemove", {"ip": bridge["ip"]})
    trio.one.simulator.advance(3600)
    assert recovering(trio.far) == {remote_id}
    again = {key: bridge[key] for key in ("ip", "publicKey", "remote")}
    trio.far.post("RemoteBridgeAdd", again)
    trio.one.simulator.advance(3600)
    assert recovering(trio.far) == set()


def test_the_speed_of_a_bridge_counts_from_when_it_is_set(trio: Trio) -> None:
    """Half of the copy at one speed, half at another."""
    remote_id = on_its_way(trio, b"x" * 2 * MIB)
    trio.one.simulator.advance(MIB_SECONDS)
    slow(trio, seconds_per_gib=SLOW * 10)
    trio.one.simulator.advance(10 * MIB_SECONDS - 1)
    assert recovering(trio.far) == {remote_id}
    trio.one.simulator.advance(1)
    assert recovering(trio.far) == set()


@pytest.mark.parametrize("kind", ["backup", "fetch"])
def test_a_cut_copy_is_given_up_by_a_switch(trio: Trio, kind: str) -> None:
    """`cut_copy=fail`: the snapshot that was promised is never there, and the way is free to try
    again."""
    trio.switch(cut_copy="fail")
    remote_id = on_its_way(trio)
    here, there = (trio.far, trio.one) if kind == "backup" else (trio.one, trio.far)
    if kind == "fetch":
        trio.one.simulator.advance(MIB_SECONDS)
        fetched(trio.one, remote_id)
    trio.cut("far")
    assert recovering(here) == set()
    assert f"~{remote_id}" not in here.names()
    assert backing_up(trio.one) == set()
    trio.heal("far")
    assert there.simulator.cluster.catalog.copies.rows == {}
    remote_id = backed_up(trio.one) if kind == "backup" else fetched(trio.one, remote_id)[1:]
    trio.one.simulator.advance(MIB_SECONDS)
    assert content(here, f"~{remote_id}", 4) == b"then"


def test_a_copy_that_was_given_up_stays_below_its_children(trio: Trio) -> None:
    """What was read over the bridge is there, the rest never comes: it recovers for ever, is of no
    use, and is deleted as others are."""
    trio.switch(cut_copy="fail")
    remote_id = on_its_way(trio)
    trio.one.simulator.advance(MIB_SECONDS)
    key = fetched(trio.one, remote_id)
    trio.one.post("VolumeCreate", {"name": "child", "parent": key})
    trio.cut("far")
    trio.heal("far")
    trio.one.simulator.advance(3600)
    assert recovering(trio.one) == {remote_id}
    assert content(trio.one, "child", 4) == b"then"
    trio.one.post(f"SnapshotDelete/{key}")
    trio.one.get("VolumesList")
    assert recovering(trio.one) == set()


@pytest.mark.parametrize(("switch", "bases"), [("remove", 0), ("keep", 1)])
def test_the_base_of_a_backup_goes_or_stays(trio: Trio, switch: str, bases: int) -> None:
    """`backup_base`: the snapshot that was made for it is deleted once it is there, or stays."""
    trio.switch(backup_base=switch)
    remote_id = on_its_way(trio)
    (base,) = trio.one.get("SnapshotsList")
    assert (base["autoName"], base["backup"], base["onVolume"]) == (True, False, "v")
    trio.one.simulator.advance(3600)
    trio.one.get("VolumesList")
    assert len(trio.one.get("SnapshotsList")) == bases
    assert trio.far.shot(f"~{remote_id}")["backupOfGlobalId"] == base["globalId"]


@pytest.mark.parametrize("switch", ["remove", "keep"])
def test_a_second_backup_brings_what_is_new(trio: Trio, switch: str) -> None:
    """It stands on the first one, which has the rest; so it takes less time."""
    trio.switch(backup_base=switch)
    first = on_its_way(trio, b"x" * 4 * MIB, size=8 * MIB)
    trio.one.simulator.advance(4 * MIB_SECONDS)
    fill(trio.one, "v", b"x" * 4 * MIB + b"y" * MIB)
    second = backed_up(trio.one)
    trio.one.simulator.advance(MIB_SECONDS)
    shot = trio.far.shot(f"~{second}")
    assert shot["recoveringFromRemote"] is False
    assert shot["parentVolumeId"] == trio.far.shot(f"~{first}")["visibleVolumeId"]
    assert checksum(trio.far, f"~{second}") == checksum(trio.one, "v")


def test_the_volume_may_go_at_once(trio: Trio) -> None:
    """Backup, then delete [addon]: the data come all the same, from the base."""
    remote_id = on_its_way(trio)
    before = checksum(trio.one, "v")
    trio.one.post("VolumeDelete/v")
    trio.one.simulator.advance(3600)
    assert checksum(trio.far, f"~{remote_id}") == before
    (seen,) = trio.one.get("SnapshotsRemoteList")["snapshots"]
    assert (seen["name"], seen.get("onVolume")) == ("v", None)


def test_copies_outlive_a_restart(tmp_path: Path) -> None:
    """They go on where they were, at the speed that the bridge had; a cut bridge is up again."""
    with opened_trio(tmp_path) as trio:
        remote_id = on_its_way(trio, b"x" * 2 * MIB)
        before = checksum(trio.one, "v")
        trio.one.simulator.advance(MIB_SECONDS)
        trio.cut("far")
    with opened_trio(tmp_path) as trio:
        assert recovering(trio.far) == {remote_id}
        assert len(backing_up(trio.one)) == 1
        trio.one.simulator.advance(MIB_SECONDS - 1)
        assert recovering(trio.far) == {remote_id}
        trio.one.simulator.advance(1)
        assert remote_ids(trio.one) == {remote_id}
        assert checksum(trio.far, f"~{remote_id}") == before


def test_a_fetch_outlives_a_restart(tmp_path: Path) -> None:
    """It has no data yet, whatever the snapshot has that it is a copy of."""
    with opened_trio(tmp_path) as trio:
        remote_id = on_its_way(trio)
        trio.one.simulator.advance(MIB_SECONDS)
        fetched(trio.one, remote_id)
    with opened_trio(tmp_path) as trio:
        assert recovering(trio.one) == {remote_id}
        trio.one.simulator.advance(MIB_SECONDS)
        assert content(trio.one, f"~{remote_id}", 4) == b"then"


def test_half_of_a_backup_is_mended_at_a_start(tmp_path: Path) -> None:
    """A death between the writes of two clusters leaves no copy without a source, and no base for
    a backup that nobody makes: neither was promised to anyone."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        on_its_way(trio)
        far, one = trio.far.simulator.cluster, trio.one.simulator.cluster
        (copy,) = far.catalog.copies
        with far.change():
            far.catalog.copies.drop(copy.global_id)
            far.catalog.entries.drop(copy.global_id)
        assert len(one.catalog.exports.rows) == 1
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        trio.one.get("VolumesList")
        assert trio.one.get("ExportsList") == {"exports": []}
        assert trio.one.get("SnapshotsList") == []
        slow(trio)
        backed_up(trio.one)
        one = trio.one.simulator.cluster
        with one.change():
            (export,) = one.catalog.exports
            one.catalog.exports.drop(export.key)
            one.catalog.entries.drop(export.global_id)
    with opened_trio(tmp_path) as trio:
        assert trio.far.get("SnapshotsList") == []
        assert copies.recovering(trio.far.simulator.cluster) == 0


def test_a_killed_simulator_goes_on_with_its_copies(tmp_path: Path) -> None:
    """SIGKILL at once after the reply: the backup that was promised is made."""
    command = [sys.executable, "-m", "storpool_simulator", "--token", TOKEN, "--devices", "file"]
    command += ["--state", str(tmp_path), "--cluster-id", "loc.a", "--cluster-name", "one"]
    command += ["--cluster", "far=rem.c", "--switch", "linger=0"]

    with contextlib.ExitStack() as stack:

        def started() -> tuple[subprocess.Popen[str], Peer, Peer]:
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline())
            places = (facts, facts["clusters"]["far"])
            one, far = (Caller(place["host"], place["port"]) for place in places)
            return process, cast("Peer", one), cast("Peer", far)

        process, one, _ = started()
        one.control("POST", "bridges/far", {"secondsPerGiB": 1e7})
        one.create("v", size=MIB)
        remote_id = backed_up(one)
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_SECONDS)
        _, one, far = started()
        assert recovering(far) == {remote_id}
        one.control("POST", "clock", {"advance": 1e5})
        (shot,) = far.get("SnapshotsList")
        assert (shot["globalId"], shot["recoveringFromRemote"]) == (remote_id, False)
        assert remote_ids(one) == {remote_id}


def test_time_passes_for_all_clusters(trio: Trio) -> None:
    """A clock that is set forward at one control port is set forward in all."""
    before = [peer.control("GET", "clock")["now"] for peer in (trio.one, trio.two, trio.far)]
    trio.two.control("POST", "clock", {"advance": 60})
    after = [peer.control("GET", "clock")["now"] for peer in (trio.one, trio.two, trio.far)]
    assert after == [now + 60 for now in before]


def test_numbers_are_given_out_once(tmp_path: Path) -> None:
    """Also by clusters of two locations whose last parts are the same: a backup's visible id is
    nobody else's where it goes."""
    places = {"two": "loc.c", "far": "rem.c", "farther": "pol.c"}
    with opened_peer(tmp_path, cluster_id="loc.a", cluster_name="one", clusters=places) as one:
        given = {"one": one.simulator, **one.simulator.others}
        numbers = [
            Caller(each.host, each.port).create("v", size=MIB).split(".")[-1]
            for each in given.values()
        ]
    assert len(set(numbers)) == len(numbers)


def test_a_base_that_is_being_deleted_is_held_over_a_restart(tmp_path: Path) -> None:
    """It goes when the backup has come, not when its cluster is read before the other one."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        remote_id = on_its_way(trio)
        before = checksum(trio.one, "v")
        (base,) = trio.one.get("SnapshotsList")
        trio.one.post(f"SnapshotDelete/~{base['globalId']}")
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        assert recovering(trio.far) == {remote_id}
        trio.one.simulator.advance(MIB_SECONDS)
        assert checksum(trio.far, f"~{remote_id}") == before
        assert trio.one.get("SnapshotsList") == []


def test_a_copy_of_what_is_given_up_is_given_up_too(trio: Trio) -> None:
    """A backup that the other side has exported before it has come, and that we fetch: when it is
    ended, nothing is left that would end with no data."""
    remote_id = on_its_way(trio)
    trio.far.post("SnapshotExport", {"snapshot": f"~{remote_id}", "location": "loc"})
    fetched(trio.one, remote_id)
    (base,) = backing_up(trio.one)
    trio.one.post("SnapshotUnexport", {"snapshot": f"~{base}", "location": "rem", "force": True})
    assert (recovering(trio.one), recovering(trio.far)) == (set(), set())
    trio.one.simulator.advance(3600)
    assert remote_id not in {one["globalId"] for one in trio.one.get("SnapshotsList")}


def test_a_copy_that_has_its_data_outlives_its_source(tmp_path: Path) -> None:
    """Also over a restart: what was read over the bridge is not given up."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        remote_id = on_its_way(trio)
        before = checksum(trio.one, "v")
        trio.far.post("SnapshotExport", {"snapshot": f"~{remote_id}", "location": "loc"})
        key = fetched(trio.one, remote_id)
        trio.one.post("VolumeCreate", {"name": "child", "parent": key})
        (base,) = backing_up(trio.one)
        ended = {"snapshot": f"~{base}", "location": "rem", "force": True}
        trio.one.post("SnapshotUnexport", ended)
        assert trio.far.get("SnapshotsList") == []
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        trio.one.simulator.advance(MIB_SECONDS)
        assert recovering(trio.one) == set()
        assert checksum(trio.one, key) == before


def test_what_has_failed_stays_over_a_restart(tmp_path: Path) -> None:
    """A snapshot that recovers for ever does so also when nobody stands on it any more, and its
    base is gone."""
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        first = on_its_way(trio)
        (base,) = backing_up(trio.one)
        second = backed_up(trio.one)
        trio.one.post(
            "SnapshotUnexport", {"snapshot": f"~{base}", "location": "rem", "force": True}
        )
        trio.one.simulator.advance(3600)
        trio.far.post(f"SnapshotDelete/~{second}")
        assert recovering(trio.far) == {first}
    with opened_trio(tmp_path, switches={"linger": "0"}) as trio:
        assert recovering(trio.far) == {first}
        trio.far.post(f"SnapshotDelete/~{first}")
        assert trio.far.get("SnapshotsList") == []


def test_what_is_still_coming_does_not_move(trio: Trio) -> None:
    """A copy on its way is not left behind without its snapshot: a volume that stands on it moves
    when it has come."""
    remote_id = on_its_way(trio)
    trio.one.simulator.advance(MIB_SECONDS)
    key = fetched(trio.one, remote_id)
    trio.one.post("VolumeCreate", {"name": "child", "parent": key})
    error = refused(trio.one, "VolumeMoveToRemote/child", {"cluster": "two"})
    assert error.name == "busy"
    trio.one.simulator.advance(MIB_SECONDS)
    trio.one.post("VolumeMoveToRemote/child", {"cluster": "two"})
    assert content(trio.two, key, 4) == b"then"


def test_clusters_tell_one_time_after_a_death(tmp_path: Path) -> None:
    """Time that had passed for one of them when the process died has passed for all."""
    with opened_trio(tmp_path) as trio:
        now = trio.one.control("GET", "clock")["now"]
        trio.one.simulator.cluster.pass_time(60)
    with opened_trio(tmp_path) as trio:
        after = [peer.control("GET", "clock")["now"] for peer in (trio.one, trio.two, trio.far)]
        assert after == [now + 60] * 3


def test_the_base_of_what_has_failed_is_let_go_at_a_start(tmp_path: Path) -> None:
    """A death between the two writes that end a backup on which another one stands: the other
    cluster knows that it has failed, ours does not yet."""
    with opened_trio(tmp_path) as trio:
        first = on_its_way(trio)
        far = trio.far.simulator.cluster
        with far.change():
            far.catalog.copies.put(replace(far.catalog.copies.rows[first], failed=True))
        assert len(backing_up(trio.one)) == 1
    with opened_trio(tmp_path) as trio:
        assert backing_up(trio.one) == set()
        assert recovering(trio.far) == {first}


def test_what_is_given_up_while_it_is_being_deleted_goes(trio: Trio) -> None:
    """Nothing is to come any more, so nothing holds it: what stands on it has the data."""
    trio.switch(cut_copy="fail")
    remote_id = on_its_way(trio)
    trio.one.simulator.advance(MIB_SECONDS)
    key = fetched(trio.one, remote_id)
    trio.one.post("VolumeCreate", {"name": "child", "parent": key})
    trio.one.post(f"SnapshotDelete/{key}")
    assert recovering(trio.one) == {remote_id}
    trio.cut("far")
    assert trio.one.get("SnapshotsList") == []
    assert content(trio.one, "child", 4) == b"then"
