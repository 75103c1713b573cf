"""fence-host while StorPool fails and others change things: success is what the list says, and
nothing else."""

from __future__ import annotations

import pytest
from fence_words import done

from rigs import refusals
from rigs.fence_stage import LIMIT_SECONDS, LOST, NAMES, FenceStage, finished
from rigs.helper_stage import wait_for_call
from storpool_ovirt.limits import LIMITS

# Faults

FAULTS = [
    {"kind": "transient"},
    {"kind": "bad_gateway"},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "delay", "seconds": 0.5},
    {"kind": "refuse", "seconds": 0.5},
    {"kind": "stop", "seconds": 0.5},
    {"kind": "error_200"},
    {"kind": "error_200", "name": "objectDoesNotExist"},
]


@pytest.mark.parametrize("absent", ["ok", "error"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.get("name") or fault["kind"])
def test_one_fault_of_the_request_is_survived(
    scene: FenceStage, fault: dict[str, object], absent: str
) -> None:
    """T55: whatever becomes of the request or its answer, success is what the list says."""
    disks = [scene.volume(LOST), scene.volume(LOST)]
    scene.stage.simulator.set_switches(detach_absent=absent, busy_error="invalidParam")
    scene.lose()
    scene.stage.simulator.inject(query="VolumesReassignWait", **fault)
    told = done(scene.fence("1"))
    assert scene.has(LOST) == set()
    assert all(any(f"(~{disk}, rw)" in line for line in told) for disk in disks)


@pytest.mark.parametrize(
    "query", ["ClientsConfigDump", "AttachmentsList", "VolumesList", "SnapshotsList"]
)
@pytest.mark.parametrize("kind", ["transient", "bad_gateway", "reset_after"])
def test_one_fault_of_a_question_is_survived(scene: FenceStage, kind: str, query: str) -> None:
    """T55: each question is asked again."""
    scene.volume(LOST)
    scene.lose()
    scene.stage.simulator.inject(kind, query=query)
    done(scene.fence("1"))
    assert scene.has(LOST) == set()


@pytest.mark.parametrize("kind", ["transient", "bad_gateway", "reset_before", "hang"])
@pytest.mark.parametrize("query", [None, "VolumesReassignWait"])
def test_an_api_that_is_away_is_told(scene: FenceStage, kind: str, query: str | None) -> None:
    """T54, T55: it ends in time with exit code 1 and the reason, and never says that the host is
    cut off."""
    scene.volume(LOST)
    scene.lose()
    scene.stage.simulator.inject(kind, query=query, times=1000, seconds=300)
    with scene.fencing("1", hasty=True) as process:
        assert "StorPool" in refusals.of_command(finished(process))
    scene.stage.simulator.clear_faults()
    assert len(scene.has(LOST)) == 1


def test_an_api_that_refuses_to_be_called_is_told(scene: FenceStage) -> None:
    """T54: the same for connects that are refused: nothing was asked, so nothing was taken."""
    scene.volume(LOST)
    scene.lose()
    with scene.away(), scene.fencing("1", hasty=True) as process:
        assert "connection refused" in refusals.of_command(finished(process))
    assert len(scene.has(LOST)) == 1


def test_an_answer_that_is_lost_for_good_is_no_success(scene: FenceStage) -> None:
    """T55: the disks may be gone, but as nobody could read that back it is a failure; the next run
    says what is so."""
    scene.volume(LOST)
    scene.lose()
    with (
        scene.away(query="VolumesReassignWait", kind="stop"),
        scene.fencing("1", hasty=True) as process,
    ):
        refusals.of_command(finished(process))
    assert "it had nothing" in done(scene.fence("1"))[-1]


def test_it_ends_within_a_minute() -> None:
    """T54: its own limit, and the last net below that."""
    assert LIMITS.deadline_seconds + LIMITS.last_seconds < LIMIT_SECONDS


# Others at the same time


def test_an_attach_that_races_is_told(scene: FenceStage) -> None:
    """T55: what somebody attaches between list and request is found when it is read back, and
    named."""
    scene.volume(LOST)
    late = scene.volume()
    scene.lose()
    scene.hold("VolumesReassignWait")
    with scene.fencing("1") as process:
        wait_for_call(scene.stage, "VolumesReassignWait")
        scene.attach(late, LOST)
        scene.stage.simulator.clear_faults()
        said = refusals.of_command(finished(process))
    assert (
        f"still has volume {scene.uuid_of(late)} (~{late}, rw): somebody attached it meanwhile, run"
        " it again" in said
    )
    assert scene.has(LOST) == {late}
    done(scene.fence("1"))
    assert scene.has(LOST) == set()


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_a_disk_that_goes_away_meanwhile_does_not_save_the_others(
    scene: FenceStage, absent: str
) -> None:
    """T55: one that is deleted, or detached, between list and request is told as gone, and the rest
    is taken."""
    stays, deleted, detached = (scene.volume(LOST) for _ in range(3))
    scene.stage.simulator.set_switches(detach_absent=absent)
    scene.lose()
    gone = scene.uuid_of(deleted)
    scene.hold("VolumesReassignWait")
    with scene.fencing("1") as process:
        wait_for_call(scene.stage, "VolumesReassignWait")
        for volume in (deleted, detached):
            scene.reassign({"volume": f"~{volume}", "detach": [LOST]})
        scene.stage.simulator.api(f"VolumeDelete/~{deleted}", {})
        scene.stage.simulator.clear_faults()
        told = done(finished(process))
    assert f"gone by itself: volume {gone} (~{deleted}, rw)" in told
    assert any(line.startswith("taken: ") and stays in line for line in told)
    assert scene.has(LOST) == set()


def test_a_host_that_comes_back_meanwhile_is_left_alone(scene: FenceStage) -> None:
    """T54: the request was refused, and before the next one the host answers again: nothing more is
    taken."""
    stays, gone = scene.volume(LOST), scene.volume(LOST)
    scene.lose()
    scene.hold("VolumesReassignWait")
    with scene.fencing("1") as process:
        wait_for_call(scene.stage, "VolumesReassignWait")
        scene.reassign({"volume": f"~{gone}", "detach": [LOST]})
        scene.stage.simulator.api(f"VolumeDelete/~{gone}", {})
        scene.lose(status="running")
        scene.stage.simulator.clear_faults()
        assert "answers StorPool again" in refusals.of_command(finished(process))
    assert scene.has(LOST) == {stays}


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_two_at_once_both_succeed(scene: FenceStage, absent: str) -> None:
    """T55: both say what is true, and everything is taken."""
    disks = [scene.volume(LOST) for _ in range(5)]
    scene.stage.simulator.set_switches(detach_absent=absent)
    scene.lose()
    with scene.fencing("1") as one, scene.fencing(NAMES[LOST]) as other:
        both = [done(finished(each)) for each in (one, other)]
    assert scene.has(LOST) == set()
    assert all(any(disk in line for line in both[0] + both[1]) for disk in disks)
