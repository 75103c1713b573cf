"""Beside VolumeCare and storpool_qos: all that an Engine and an administrator do goes on, and what
these made is theirs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rigs import players
from rigs.disk_model import GIB
from rigs.disk_rig import TOKEN
from rigs.rebuilding import lose, rows
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import audit, survey
from storpool_simulator.players import notes, reverts, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VM = "vm7"  # a preview has no room for a longer one beside its own tags
TAGS = {"cvm": VM, "vc-policy": "hourly", "qc": "silver"}


@pytest.fixture(params=["own", "none", "copied"])
def beside(yard: Yard, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Yard]:
    """Give a yard with both players, and a VM of two disks, of which one is attached."""
    yard.simulator.switches.set({"volumecare_tags": request.param, "linger": "0"})
    yard.verb("create", DISK, GIB)
    yard.verb("create", OTHER, GIB)
    for disk in (DISK, OTHER):
        tag(yard, disk)
    yard.shut(DISK, 1, declared_open=True)
    players.begin(yard.simulator, tmp_path, TOKEN)
    yield yard


def tag(yard: Yard, uuid: str, **tags: str) -> None:
    """Write the tags of the VM to a volume, as an administrator does by hand."""
    yard.ask(f"VolumeUpdate/{yard.address(uuid)}", {"tags": {**TAGS, **tags}})


def way(yard: Yard) -> wire.Api:
    """Return VolumeCare's way to the cluster."""
    return wire.Api(yard.simulator.host, yard.simulator.port, TOKEN, "a test")


def theirs(yard: Yard) -> set[str]:
    """Return the snapshots of VolumeCare's that are there."""
    noted = {one for backup in notes.read(way(yard)).backups for one in backup.map.values()}
    listed = {f"~{one['globalId']}" for one in yard.ask("SnapshotsList") if not one["deleted"]}
    return noted & listed


def all_is_well(yard: Yard) -> None:
    """Audit: nothing but what others keep, for information, and nothing to reconcile."""
    report = yard.report()
    assert {each.kind for each in report.findings} == {"kept by others"}, report.findings
    assert report.severity == "info"
    before = yard.world()
    assert yard.reconcile() == []
    assert [row for row in yard.world()[2:] if row] == [row for row in before[2:] if row]


def hour(yard: Yard) -> None:
    """Let an hour pass: VolumeCare takes what is due."""
    yard.simulator.advance(players.HOUR)


def stop(yard: Yard) -> None:
    """Stop the VM: its disk is closed and detached."""
    yard.declared[1].clear()
    yard.declare(1)
    yard.detach(1, yard.verb("connection", DISK)["data"])


def test_a_life_beside_both(beside: Yard) -> None:
    """T76: snapshots, preview, undo, clone, growth, removal and delete between the backups of a
    VM: each works, nothing is forced, and the backups stay until their date."""
    yard = beside
    snapshot = yard.verb("snapshot", DISK)
    hour(yard)
    all_is_well(yard)
    first = theirs(yard)
    assert len(first) == 4
    stop(yard)
    second = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", snapshot)
    tag(yard, DISK, cvm="")
    tag(yard, preview)
    hour(yard)
    all_is_well(yard)
    yard.verb("delete", preview)
    tag(yard, DISK)
    yard.verb("clone", DISK, CLONE)
    yard.verb("extend", OTHER, 2 * GIB)
    all_is_well(yard)
    hour(yard)
    yard.verb("remove", snapshot)
    yard.verb("remove", second)
    all_is_well(yard)
    kept = theirs(yard)
    assert first < kept
    yard.verb("delete", CLONE)
    yard.verb("delete", OTHER)
    all_is_well(yard)
    assert kept == theirs(yard)
    assert yard.forced() == []
    yard.simulator.advance((players.KEPT_HOURS + 1) * players.HOUR)
    assert not kept & theirs(yard)


def test_what_is_told_of_their_snapshots(beside: Yard) -> None:
    """T76: of each disk one line, for information: how much they hold, and when they go."""
    yard = beside
    hour(yard)
    found = {each.disk: each for each in yard.report().findings}
    assert set(found) == {DISK, OTHER}
    assert {each.severity for each in found.values()} == {"info"}
    listed = {f"~{one['globalId']}": one for one in yard.ask("SnapshotsList")}
    for disk, each in found.items():
        mine = {
            one for one in theirs(yard) if listed[one]["createdFromGlobalId"] == _gid(yard, disk)
        }
        assert len(mine) == 2
        assert all(address in each.what for address in mine)
        last = max(listed[address]["targetDeleteDate"] for address in mine)
        assert time.strftime("the last at %Y-%m-%dT%H:%M:%SZ", time.gmtime(last)) in each.cause
        assert "without them at least 0 GiB were free" in each.cause


def _gid(yard: Yard, disk: str) -> str:
    return str(yard.see().rows[disk].global_id)


def test_nobody_removes_them_by_name(beside: Yard) -> None:
    """T76: what an administrator names with `reconcile --remove` is refused, whatever tags it
    has."""
    yard = beside
    before = yard.world()
    for address in theirs(yard):
        for target in (address, address[1:]):
            with pytest.raises(errors.Error):
                yard.remove(target)
    assert yard.world() == before


def test_leaks_go_beside_them(beside: Yard) -> None:
    """T72, T76: what a dead verb left is told from what VolumeCare made at the same hour."""
    yard = beside
    hour(yard)
    leak = yard.die_made("clone", DISK, CLONE)
    stray = yard.die_made("snapshot", OTHER)
    kept = theirs(yard)
    assert len(yard.reconcile()) == 2
    all_is_well(yard)
    assert not {f"ovirt--{leak}", f"ovirt--{stray}"} & set(yard.see().things)
    assert theirs(yard) == kept


def test_a_leak_that_volumecare_has_taken_up_is_for_a_person(beside: Yard) -> None:
    """T72, T76: a clone has its source's policy at once, so VolumeCare snapshots one that nobody
    knows. Only where the snapshot has our tags, copied, it is certainly not somebody's."""
    yard = beside
    leak = yard.die_made("clone", DISK, CLONE)
    hour(yard)
    kept, [found] = theirs(yard), [each for each in yard.report().findings if each.kind == "leak"]
    done = yard.reconcile()
    if found.mend == "storpool-ovirt reconcile deletes it":
        assert len(done) == 1
        assert f"ovirt--{leak}" not in yard.see().things
    else:
        assert found.mend.startswith("does oVirt list it?")
        assert done == []
        assert f"ovirt--{leak}" in yard.see().things
    assert theirs(yard) == kept


def test_a_rebuild_beside_them(beside: Yard) -> None:
    """T76, T85: the rows come back as they were, without a row for anything of VolumeCare's."""
    yard = beside
    yard.verb("snapshot", DISK)
    hour(yard)
    before, kept = rows(yard), theirs(yard)
    lost = lose(yard)
    yard.rebuild(lost)
    assert {uuid: row["global_id"] for uuid, row in rows(yard).items()} == {
        uuid: row["global_id"] for uuid, row in before.items()
    }
    assert theirs(yard) == kept
    all_is_well(yard)


def test_limits_are_storpool_qos_s(beside: Yard) -> None:
    """A class is a tag: no verb takes it away, and each new limit comes from the next pass."""
    yard = beside
    for disk, tier, iops in (
        (DISK, "silver", players.IOPS),
        (DISK, "gold", players.HIGH_IOPS),
        (OTHER, "silver", players.IOPS),
    ):
        tag(yard, disk, qc=tier)
        yard.verb("extend", disk, (2 + (tier == "gold")) * GIB)
        yard.simulator.advance(60)
        (view,) = yard.ask(f"Volume/{yard.address(disk)}")
        assert (view["iops"], view["tags"]["qc"]) == (iops, tier)
    all_is_well(yard)


def test_a_vm_is_taken_back(beside: Yard) -> None:
    """T76: `storpool_vcctl revert` while rows are there: refused while the VM runs, and then both
    disks are as they were; the audit tells the size, and the rows lead to the disks."""
    yard = beside
    snapshot = yard.verb("snapshot", DISK)
    (backup,) = notes.read(way(yard)).backups
    with pytest.raises(reverts.RevertError, match="client 1"):
        reverts.revert(way(yard), f"cvm={VM}", backup.create_ts)
    stop(yard)
    yard.verb("extend", OTHER, 2 * GIB)
    done = reverts.revert(way(yard), f"cvm={VM}", backup.create_ts)
    assert len(done) == 2
    assert set(backup.map) == {DISK, OTHER}
    yard.shut(DISK)
    yard.shut(OTHER)
    preview = yard.verb("preview", snapshot)
    yard.verb("delete", preview)
    yard.verb("extend", DISK, 2 * GIB)
    assert {each.kind for each in yard.report().findings} <= {"kept by others", "size drift"}
    assert set(yard.see().rows) >= {DISK, OTHER, snapshot}


@pytest.mark.parametrize("identity", ["unnamed", "all", "keep"])
def test_a_vm_is_taken_back_again_and_again(yard: Yard, tmp_path: Path, identity: str) -> None:
    """T76: whatever global ids the reverts give, each verb finds its disk, VolumeCare its VM, and
    the audit tells the backups of both, from before and after."""
    yard.simulator.switches.set(
        {"revert_identity": identity, "preserved_id": "true", "linger": "0"}
    )
    for disk in (DISK, OTHER):
        yard.verb("create", disk, GIB)
        tag(yard, disk)
    players.begin(yard.simulator, tmp_path, TOKEN)
    snapshot = yard.verb("snapshot", DISK)
    first = {disk: _gid(yard, disk) for disk in (DISK, OTHER)}
    for number in range(3):
        backup = notes.read(way(yard)).of(f"cvm={VM}")[number]
        reverts.revert(way(yard), f"cvm={VM}", backup.create_ts)
        hour(yard)
        assert set(yard.see().rows) == {DISK, OTHER, snapshot}
        yard.verb("delete", yard.verb("preview", snapshot))
        yard.verb("extend", OTHER, (2 + number) * GIB)
        yard.verb("remove", yard.verb("snapshot", OTHER))
    yard.reconcile()
    all_is_well(yard)
    assert (first == {disk: _gid(yard, disk) for disk in (DISK, OTHER)}) == (identity != "all")
    told = {each.disk: each.what for each in yard.report().findings}
    assert all(any(address in what for what in told.values()) for address in theirs(yard))
    yard.verb("delete", OTHER)
    assert set(yard.see().rows) == {DISK, snapshot}


def test_they_are_told_of_an_older_release(beside: Yard) -> None:
    """T76: where StorPool does not tell of what a snapshot was made, it is known by the volume that
    stands on it; where it cannot tell the space, nothing is told of it."""
    yard = beside
    with yard.administrator("audit") as work:
        whole = survey.look(work)
        yard.simulator.faults.add("error_200", query="SnapshotsSpace", times=50)
        spaceless = survey.look(work)
        yard.simulator.faults.clear()
    assert whole.freed
    assert spaceless.freed == {}
    assert all("free" not in each.cause for each in audit.report(spaceless).findings)
    things = {key: each._replace(made_from=None) for key, each in whole.things.items()}
    older = replace(whole, things=things)
    assert {each.disk for each in audit.report(older).findings} == {DISK, OTHER}
    assert {each.kind for each in audit.report(older).findings} == {"kept by others"}
