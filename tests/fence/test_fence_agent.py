"""fence_storpool as Vdsm runs it: when a host counts as off, and that no exit code ever
misleads."""

from __future__ import annotations

from typing import Any

import pytest
from fence_words import EVEN, NOW, OFF, ON, UNKNOWN, ask, say, told, vdsm

from rigs.fence_stage import LOST, NAMES_AT_OTHER, OTHER, FenceStage, finished
from rigs.helper_stage import wait_for_call
from rigs.shared_stage import state, write, writes

# Status


@pytest.mark.parametrize("has", [True, False], ids=["disks", "none"])
@pytest.mark.parametrize(
    ("how", "options", "expected"),
    [
        ({"status": "down"}, (), {True: ON, False: OFF}),
        ({"status": "running"}, (), {True: ON, False: ON}),
        ({"behind": True}, (), {True: ON, False: ON}),
        ({"status": "running"}, (EVEN,), {True: ON, False: OFF}),
        ({"status": "down"}, (EVEN,), {True: ON, False: OFF}),
        ({"behind": True}, (EVEN,), {True: ON, False: OFF}),
    ],
    ids=["down", "ok", "updating", "even ok", "even down", "even updating"],
)
def test_status_is_off_only_where_it_cannot_write(
    scene: FenceStage,
    how: dict[str, Any],
    options: tuple[str, ...],
    expected: dict[bool, int],
    has: bool,
) -> None:
    """T54: on while it answers or has anything of oVirt's; another's volume does not count; nothing
    is changed."""
    scene.volume(LOST, ovirt=False)
    if has:
        scene.volume(LOST)
    scene.lose(**how)
    scene.stage.simulator.clear_calls()
    line = told(ask(scene, "status", *options), expected[has])
    assert line.startswith("Status: ON, " if expected[has] == ON else "Status: OFF, ")
    assert writes(scene.stage.simulator) == []


def test_a_snapshot_counts(scene: FenceStage) -> None:
    """T54: it is only read there, but it is attached: off means nothing at all."""
    scene.snapshot(scene.volume(), LOST)
    scene.lose()
    told(ask(scene, "status"), ON)


@pytest.mark.parametrize("kind", ["transient", "bad_gateway", "reset_before", "hang"])
@pytest.mark.parametrize("query", [None, "ClientsConfigDump", "AttachmentsList"])
def test_unknown_is_not_off(scene: FenceStage, kind: str, query: str | None) -> None:
    """T54: while the API does not answer the status is unknown, and it ends in time."""
    scene.lose()
    scene.stage.simulator.inject(kind, query=query, times=1000, seconds=300)
    with scene.asked(hasty=True) as process:
        told(finished(process, vdsm("status")), UNKNOWN)


@pytest.mark.parametrize("action", ["status", "off", "on", "reboot", "monitor", "list"])
def test_an_api_that_refuses_to_be_called(scene: FenceStage, action: str) -> None:
    """T54: no action succeeds, and no status is off."""
    scene.volume(LOST)
    scene.lose()
    with scene.away(), scene.asked(hasty=True) as process:
        assert "connection refused" in told(finished(process, vdsm(action, NOW)), UNKNOWN)
    assert len(scene.has(LOST)) == 1


# Off


@pytest.mark.parametrize("action", ["off", "reboot"])
def test_a_lost_host_is_cut_off(scene: FenceStage, action: str) -> None:
    """T46, T55: exit code 0 is the list's word: nothing of oVirt's is there, no write lands, and
    status is off."""
    disk, foreign = scene.volume(LOST), scene.volume(LOST, ovirt=False, name="kubernetes-pvc")
    with scene.writing(disk) as writer:
        writer.goes_on(succeeds=True)
        scene.lose()
        line = told(ask(scene, action, NOW), ON)
        before = scene.content(disk)
        for _ in range(20):
            writer.told()
        assert scene.content(disk) == before
    assert "no write of that host lands on this disk any more" in line
    assert scene.has(LOST) == {foreign}
    assert line.endswith('; left alone, as not oVirt\'s: "kubernetes-pvc"')
    assert "left_alone volume=kubernetes-pvc client=1" in scene.agent_log()
    told(ask(scene, "status"), OFF)
    assert f"taken volume=ovirt--{scene.uuid_of(disk)} global_id={disk}" in scene.agent_log()


@pytest.mark.parametrize("how", [{"status": "running"}, {"behind": True}], ids=["ok", "updating"])
def test_a_host_that_answers_is_not_cut_off(scene: FenceStage, how: dict[str, Any]) -> None:
    """T54: exit code 1 and one sentence with what to do; nothing is changed; status stays on."""
    scene.volume(LOST)
    scene.lose(**how)
    before = state(scene.stage.simulator)
    for action in ("off", "reboot"):
        line = told(ask(scene, action, NOW), UNKNOWN)
        assert "answers StorPool" in line
        assert "has 1 disk of oVirt's" in line
        assert "even_if_it_runs=1" in line
    assert state(scene.stage.simulator) == before
    told(ask(scene, "status"), ON)


def test_a_power_agent_beside_it_is_waited_for(scene: FenceStage) -> None:
    """T54: the host is being switched off at this moment: it is cut off as soon as StorPool says
    that it is down."""
    scene.volume(LOST)
    scene.stage.simulator.clear_calls()
    with scene.asked() as process:
        say(process, vdsm("off", "power_timeout=30"))
        wait_for_call(scene.stage, "ClientsConfigDump", times=2, answered=True)
        assert len(scene.has(LOST)) == 1
        scene.lose()
        told(finished(process), ON)
    assert scene.has(LOST) == set()


@pytest.mark.parametrize("value", ["1", "yes", "true", "TRUE", " 1 "])
def test_an_administrator_may_decide_otherwise(scene: FenceStage, value: str) -> None:
    """T54: with even_if_it_runs a host that answers is cut off at once, and counts as off while it
    has nothing."""
    disk = scene.volume(LOST)
    told(ask(scene, "off", f"even_if_it_runs={value}"), ON)
    assert scene.has(LOST) == set()
    told(ask(scene, "status", f"even_if_it_runs={value}"), OFF)
    told(ask(scene, "status"), ON)
    scene.attach(disk, LOST)
    told(ask(scene, "status", EVEN), ON)


@pytest.mark.parametrize("value", ["0", "no", "false", ""])
def test_no_is_no(scene: FenceStage, value: str) -> None:
    """T54: an option that says no, or nothing, decides nothing."""
    scene.volume(LOST)
    told(ask(scene, "off", NOW, f"even_if_it_runs={value}"), UNKNOWN)
    assert len(scene.has(LOST)) == 1


@pytest.mark.parametrize("options", [(NOW,), (EVEN,)])
@pytest.mark.parametrize("port", [str(OTHER), NAMES_AT_OTHER[OTHER]])
def test_a_host_does_not_fence_itself(
    scene: FenceStage, port: str, options: tuple[str, ...]
) -> None:
    """T57: whoever asks runs: by id, by name, and whatever the options say."""
    scene.volume(OTHER)
    for action in ("off", "reboot"):
        assert "must not fence itself" in told(ask(scene, action, *options, port=port), UNKNOWN)
    assert len(scene.has(OTHER)) == 1


def test_what_is_left_alone_is_told_in_one_line(scene: FenceStage) -> None:
    """T76: the first few are in the line, all of them in the log, each as what it is called."""
    left = [scene.volume(LOST, ovirt=False, name=f"pvc-{number}") for number in range(8)]
    scene.lose()
    line = told(ask(scene, "off", NOW), ON)
    assert line.endswith('"pvc-4" and 3 more')
    assert [f"left_alone volume=pvc-{number} " in scene.agent_log() for number in range(8)] == [
        True
    ] * 8
    assert scene.has(LOST) == set(left)


@pytest.mark.parametrize(
    "asked",
    [{"port": "1"}, {"port": NAMES_AT_OTHER[LOST]}, {"port": "spare"}, {"address": "spare"}],
)
@pytest.mark.parametrize("action", ["off", "reboot", "on"])
def test_a_client_that_is_two_hosts_is_nobody(
    scene: FenceStage, asked: dict[str, str], action: str
) -> None:
    """T57: two sections with one SP_OURID: refused by id, by either name, by port and by address;
    both are named."""
    conf = scene.stage.hosts[OTHER].local("/etc/storpool.conf.d/spare.conf")
    conf.write_text(f"[spare]\nSP_OURID={LOST}\n")
    scene.volume(LOST)
    scene.lose()
    try:
        line = told(ask(scene, action, NOW, EVEN, **asked), UNKNOWN)
    finally:
        conf.unlink()
    assert (
        f"client 1 is 2 hosts in /etc/storpool.conf, {NAMES_AT_OTHER[LOST]} and spare: nobody can"
        " tell" in line
    )
    assert len(scene.has(LOST)) == 1


def test_nobody_else_loses_anything(scene: FenceStage) -> None:
    """T57: the other hosts' disks, those that they share with the lost host, and the storage
    servers stay."""
    shared, beside = scene.volume(LOST, OTHER), scene.volume(OTHER)
    servers = scene.stage.simulator.api("ServersList")
    scene.lose()
    told(ask(scene, "off"), ON)
    assert (scene.has(LOST), scene.has(OTHER)) == (set(), {shared, beside})
    assert scene.stage.simulator.api("ServersList") == servers


def test_a_host_that_was_cut_off_starts_again(scene: FenceStage) -> None:
    """T56, T63: on gives nothing back and takes nothing; a disk that is attached anew works."""
    disk = scene.volume(LOST)
    scene.lose()
    told(ask(scene, "off"), ON)
    scene.stage.simulator.clear_calls()
    told(ask(scene, "on"), ON)
    assert writes(scene.stage.simulator) == []
    scene.lose(status="running")
    assert scene.has(LOST) == set()
    scene.attach(disk, LOST)
    write(scene.device(LOST, disk), b"back")
    assert scene.content(disk)[:4] == b"back"


FAULTS = [
    {"kind": "transient"},
    {"kind": "bad_gateway"},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "refuse", "seconds": 0.5},
    {"kind": "stop", "seconds": 0.5},
    {"kind": "error_200"},
]


@pytest.mark.parametrize("absent", ["ok", "error"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["kind"])
def test_one_fault_of_the_request_is_survived(
    scene: FenceStage, fault: dict[str, Any], absent: str
) -> None:
    """T55: success is what the list says, not the answer of the request."""
    scene.volume(LOST)
    scene.stage.simulator.set_switches(detach_absent=absent)
    scene.lose()
    scene.stage.simulator.inject(query="VolumesReassignWait", **fault)
    told(ask(scene, "off"), ON)
    assert scene.has(LOST) == set()


def test_an_answer_that_is_lost_for_good_is_no_success(scene: FenceStage) -> None:
    """T55: nobody could read it back: exit code 1, and the next try tells what is so."""
    scene.volume(LOST)
    scene.lose()
    with scene.away("stop", "VolumesReassignWait"), scene.asked(hasty=True) as process:
        told(finished(process, vdsm("off")), UNKNOWN)
    told(ask(scene, "off"), ON)


def test_an_attach_that_races_is_no_success(scene: FenceStage) -> None:
    """T55: what somebody attaches between list and request is found when it is read back."""
    scene.volume(LOST)
    late = scene.volume()
    scene.lose()
    scene.hold("VolumesReassignWait")
    with scene.asked() as process:
        say(process, vdsm("off"))
        wait_for_call(scene.stage, "VolumesReassignWait")
        scene.attach(late, LOST)
        scene.stage.simulator.clear_faults()
        assert "somebody attached it meanwhile" in told(finished(process), UNKNOWN)
    assert scene.has(LOST) == {late}


def test_a_host_that_comes_back_is_not_off(scene: FenceStage) -> None:
    """T54: its disks are gone, but it answers by the time that is read back: not done, as its
    status would be on."""
    scene.volume(LOST)
    scene.lose()
    scene.hold("VolumesReassignWait")
    with scene.asked() as process:
        say(process, vdsm("off"))
        wait_for_call(scene.stage, "VolumesReassignWait")
        scene.lose(status="running")
        scene.stage.simulator.clear_faults()
        assert "came back" in told(finished(process), UNKNOWN)
