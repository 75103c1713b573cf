"""audit and reconcile on what Engine's own verbs leave of a VM's moment, also where they die."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rigs import shared_stage
from rigs.admin_site import AdminSite, told
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.moment_rows import KEY, VM
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt.admin import findings, snapshots
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from collections.abc import Sequence

VMS = (CLONE, DISK, OTHER)


@pytest.fixture
def running(yard: Yard) -> Yard:
    """Give a VM with three disks that runs on a host."""
    for disk in VMS:
        yard.verb("create", disk, GIB)
        yard.attach(1, yard.verb("connection", disk)["data"])
        yard.ask(f"VolumeUpdate/{yard.address(disk)}", {"tags": {"cvm": VM}})
    return yard


def snapshot(yard: Yard, disk: str, key: str = KEY, fault: Fault | None = None) -> str:
    """Run Engine's verb for one disk, and take its answer."""
    return str(yard.verb("snapshot", disk, correlation_id=key, fault=fault))


def later(yard: Yard) -> None:
    """Let half an hour go by: what is older goes on the word of Engine's own database alone."""
    yard.sql("UPDATE storpool_ovirt.moment SET made_at = made_at - interval '30 minutes'")


def kinds(yard: Yard) -> list[str]:
    """Return the kinds of what the audit finds."""
    return [each.kind for each in yard.report().findings]


def check_whole(yard: Yard, made: Sequence[str]) -> None:
    """Check that the disks and these snapshots are there, and nothing else."""
    names = {f"ovirt--{each}" for each in (*VMS, *made)}
    assert set(yard.see().things) == names == yard.names_of_rows()
    assert (kinds(yard), yard.see().pending) == ([], [])


def test_a_whole_snapshot_is_no_finding(running: Yard) -> None:
    """T78: every disk's verb has taken its own; it is listed as one moment."""
    made = [snapshot(running, disk) for disk in VMS]
    assert kinds(running) == []
    later(running)
    check_whole(running, made)
    with running.administrator("snapshots") as work:
        [group] = snapshots.look(work).groups
    assert (group.consistency, group.moment.vm) == (snapshots.VM, VM)
    assert [(each.uuid, each.claimed) for each in group.members] == [(each, True) for each in made]


def test_a_disk_that_was_left_out_is_mended(running: Yard) -> None:
    """T78: nothing is found while the verbs may still come, what was left out after that, and
    reconcile deletes just that."""
    made = [snapshot(running, disk) for disk in VMS[:2]]
    assert (kinds(running), running.reconcile()) == ([], [])
    later(running)
    assert kinds(running) == [findings.RESERVED]
    assert running.reconcile() == ["deleted the snapshot"]
    check_whole(running, made)


def test_the_next_snapshot_takes_away_what_reconcile_would(running: Yard) -> None:
    """T78: whichever comes first."""
    first = snapshot(running, DISK)
    later(running)
    assert kinds(running) == [findings.RESERVED] * 2
    key = str(uuid.uuid4())
    made = [snapshot(running, disk, key) for disk in VMS]
    later(running)
    check_whole(running, [first, *made])


def test_an_answer_that_nobody_read_and_what_it_reserved_go(running: Yard) -> None:
    """T78, T72: Engine knows of none of them."""
    with running.engine("create_snapshot", DISK, correlation_id=KEY) as work:
        disks.snapshot(work, DISK)
    later(running)
    assert sorted(kinds(running)) == [findings.RESERVED] * 2 + [findings.UNDELIVERED]
    running.reconcile()
    check_whole(running, [])


@pytest.mark.parametrize("claims", [0, 1])
def test_whatever_a_verb_that_dies_leaves_is_mended(running: Yard, claims: int) -> None:
    """T78, T71: the first verb of a moment or one that takes its snapshot up, killed at any line:
    what Engine has is kept, all else goes, and the moment is ended."""
    for lines in itertools.count(1, 19):
        key = str(uuid.uuid4())
        made = [snapshot(running, disk, key) for disk in VMS[:claims]]
        try:
            made.append(snapshot(running, OTHER, key, Fault("death", lines=lines)))
        except Death:
            assert lines < 5000
            is_over = False
        else:
            is_over = True
        later(running)
        running.reconcile()
        check_whole(running, made)
        assert {state for (state,) in running.sql("SELECT state FROM storpool_ovirt.moment")} <= {
            "made",
            "failed",
        }
        for each in made:
            running.verb("remove", each)
        if is_over:
            break


def test_a_leftover_whose_delete_died_is_forgotten(running: Yard) -> None:
    """T78: the VM's next snapshot deletes it, and may be killed before its row is gone."""
    made = [snapshot(running, disk) for disk in VMS[:2]]
    later(running)
    [(left,)] = running.sql("SELECT uuid::text FROM storpool_ovirt.node WHERE reserved")
    running.ask(f"SnapshotDelete/ovirt--{left}", {})
    [found] = running.report().findings
    assert (found.kind, found.severity) == (findings.GHOST, findings.INFO)
    assert running.reconcile() == ["forgot its row"]
    check_whole(running, made)


@pytest.mark.parametrize("why", ["restored", "renamed"])
def test_a_missing_one_that_somebody_may_know_is_an_ordinary_ghost(running: Yard, why: str) -> None:
    """T78, T76: nothing forgets its row."""
    snapshot(running, DISK)
    later(running)
    rows = running.sql("SELECT uuid::text FROM storpool_ovirt.node WHERE reserved ORDER BY 1")
    for (left,) in rows:
        if why == "restored":
            running.ask(f"SnapshotDelete/ovirt--{left}", {})
            continue
        # Restored by hand: its tags are on another one
        [there] = running.ask(f"Snapshot/ovirt--{left}")
        running.ask(f"SnapshotDelete/ovirt--{left}", {})
        body = {"name": f"by-hand-{left}", "tags": there["tags"]}
        running.ask(f"VolumeSnapshot/ovirt--{DISK}", body)
    if why == "restored":
        running.restored()
    found = [each for each in running.report().findings if each.kind == findings.GHOST]
    assert [(each.severity, each.action) for each in found] == [(findings.WARNING, None)] * 2
    running.reconcile()
    assert len(running.sql("SELECT 1 FROM storpool_ovirt.node WHERE reserved")) == 2


# The commands, with Engine's own program


def test_the_commands_tell_and_mend_it(site: AdminSite) -> None:
    """T78: as an administrator sees it: the moment in the list, the disk that was left out in the
    audit, with exit code 0, and gone after reconcile."""
    engine, simulator = site.stage.engine, site.stage.simulator
    disks_of = [shared_stage.make_disk(engine) for _ in range(3)]
    for disk in disks_of:
        shared_stage.attach(site.stage, 1, disk)
        there = shared_stage.volumes(simulator)[disk]
        body = {"tags": {**there["tags"], "cvm": VM}}
        shared_stage.post(simulator, f"VolumeUpdate/~{there['globalId']}", body)
    key = str(uuid.uuid4())
    made = [engine.run("create_snapshot", disk, correlation_id=key).guid() for disk in disks_of[:2]]
    [group] = listed(site)["groups"]
    assert (group["vm"], group["consistency"], group["correlation_id"]) == (VM, "vm", key)
    assert {each["snapshot"] for each in group["members"] if each["claimed"]} == set(made)
    assert [each["disk"] for each in group["members"] if not each["claimed"]] == disks_of[2:]
    title = told(site.run("snapshots", "--vm", VM), 0)[3]
    assert title.startswith(f"VM {VM}, ")
    assert title.endswith("3 disks at one moment, 2 given to oVirt")
    assert told(site.run("audit"), 0)[-1] == "OK: mapping, cluster and hosts agree"
    later_sql = "UPDATE storpool_ovirt.moment SET made_at = made_at - interval '30 minutes'"
    shared_stage.sql(site.stage.database, f"{later_sql} RETURNING 1")
    assert told(site.run("audit"), 0)[-1] == "INFO: 0 critical, 0 warning, 1 info"
    assert told(site.run("reconcile"), 0)[-2:] == [
        "  done: deleted the snapshot",
        "1 mended, 0 not",
    ]
    assert told(site.run("audit"), 0)[-1] == "OK: mapping, cluster and hosts agree"
    [group] = listed(site)["groups"]
    assert (group["consistency"], group["lacking"]) == ("left", disks_of[2:])


def listed(site: AdminSite) -> dict[str, Any]:
    """Return the list of snapshots as programs read it."""
    found: dict[str, Any] = json.loads("\n".join(told(site.run("snapshots", "--json"), 0)))
    return found
