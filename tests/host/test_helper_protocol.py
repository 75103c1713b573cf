"""managedvolume-helper-storpool run as Vdsm runs it: bytes, exit codes and API calls of attach and
detach.

What fails half-way is in test_helper_protocol_faults.py, bad input in test_helper.py.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import children
from ovirt_demo.vdsm import HelperRun, Host
from rigs import refusals, shared_stage
from rigs.helper_stage import (
    Info,
    answered,
    attach,
    detach,
    device,
    info_of,
    on_hosts,
    snapshot_info,
    wait_for_call,
)
from rigs.stage_fixtures import Stage, opened

# What Vdsm gets


def test_attach_and_detach_answer_one_document(shared: Stage) -> None:
    """4.3, 4.4: exactly the bytes that Vdsm reads, a device that is there with its size, and few
    API calls."""
    disk = shared_stage.make_disk(shared.engine)
    info = shared_stage.connection_info(shared, disk)
    assert info == info_of(disk, info["data"]["global_id"], "rw"), (
        "what the other tests here take for it"
    )
    shared_stage.queries(shared.simulator)
    path = f"/dev/storpool-byid/{info['data']['global_id']}"
    assert (
        answered(attach(shared.host1, info)) == f'{{"type": "block", "path": "{path}"}}\n'.encode()
    )
    assert shared_stage.queries(shared.simulator) == ["AttachmentsList", "VolumesReassignWait"]
    with device(shared.host1, info).open("rb") as node:
        assert node.seek(0, os.SEEK_END) == shared_stage.GIB
    assert on_hosts(shared, info) == {(1, "rw")}
    shared_stage.queries(shared.simulator)
    assert answered(detach(shared.host1, info)) == b"{}\n"
    assert shared_stage.queries(shared.simulator) == ["VolumesReassignWait"]
    assert not device(shared.host1, info).exists()
    assert on_hosts(shared, info) == set()


def test_attach_twice(shared: Stage, info: Info) -> None:
    """T11: what is attached here already is a success with the same answer, and one attachment."""
    first = answered(attach(shared.host1, info))
    assert answered(attach(shared.host1, info)) == first
    assert on_hosts(shared, info) == {(1, "rw")}


def test_the_path_is_the_same_everywhere_and_always(shared: Stage, info: Info) -> None:
    """T34: the path depends on the volume alone; a detach takes one host's attachment and leaves
    the other (T69)."""
    answers = {answered(attach(host, info)) for host in (shared.host1, shared.host2)}
    assert on_hosts(shared, info) == {(1, "rw"), (2, "rw")}
    shared_stage.write(device(shared.host1, info), b"both see it")
    assert shared_stage.read(device(shared.host2, info), 11) == b"both see it"
    answered(detach(shared.host1, info))
    assert on_hosts(shared, info) == {(2, "rw")}
    answers.add(answered(attach(shared.host1, info)))
    assert len(answers) == 1


@pytest.mark.parametrize(
    "shape", ["row", "row of a failed attach", "roll-back", "roll-back without attachment"]
)
def test_the_shapes_of_a_detach(shared: Stage, info: Info, shape: str) -> None:
    """4.3, 4.4: Vdsm's row, with and without its parts, and its roll-back, which has neither vol_id
    nor path."""
    path = json.loads(answered(attach(shared.host1, info)))["path"]
    sent: dict[str, dict[str, Any]] = {
        "row": {
            "vol_id": info["data"]["volume"],
            "path": path,
            "attachment": {"type": "block", "path": path},
        },
        "row of a failed attach": {"vol_id": info["data"]["volume"]},
        "roll-back": {"attachment": {"type": "block", "path": path}},
        "roll-back without attachment": {},
    }
    assert (
        answered(shared.host1.helper("detach", {"connection_info": info, **sent[shape]})) == b"{}\n"
    )
    assert on_hosts(shared, info) == set()


def test_a_snapshot_is_attached_read_only(shared: Stage, info: Info) -> None:
    """A snapshot has a device that reads its data and takes no writes."""
    answered(attach(shared.host1, info))
    shared_stage.write(device(shared.host1, info), b"before")
    frozen = snapshot_info(shared, info)
    shared_stage.write(device(shared.host1, info), b"after!")
    answered(attach(shared.host2, frozen))
    assert on_hosts(shared, frozen) == {(2, "ro")}
    node = device(shared.host2, frozen)
    assert shared_stage.read(node, 6) == b"before"
    if stat.S_ISBLK(node.stat().st_mode):
        with pytest.raises(OSError, match=r"not permitted|Read-only|Permission denied"):
            shared_stage.write(node, b"never!")
    assert answered(detach(shared.host2, frozen)) == b"{}\n"


def test_another_mode_is_refused(shared: Stage, info: Info) -> None:
    """T12: what is here read-write does not become read-only by an attach, nor the other way
    round."""
    frozen = snapshot_info(shared, info)
    for there, wanted in ((info, "ro"), (frozen, "rw")):
        answered(attach(shared.host1, there))
        before = on_hosts(shared, there)
        other = {**there, "data": {**there["data"], "access_mode": wanted}}
        assert "mode" in refusals.of_helper(attach(shared.host1, other))
        assert on_hosts(shared, there) == before
        assert device(shared.host1, there).exists()


def test_an_unknown_volume_is_refused(shared: Stage, info: Info) -> None:
    """T14: a volume or snapshot that StorPool has not is one sentence, and no attachment or link of
    it is left."""
    before = shared_stage.attached(shared.simulator)
    for mode in ("rw", "ro"):
        data = {"volume": shared_stage.new_id(), "global_id": "sim.a.zzzz", "access_mode": mode}
        sentence = refusals.of_helper(attach(shared.host1, {**info, "data": data}))
        assert "there is no" in sentence
        assert data["volume"] in sentence
    assert shared_stage.attached(shared.simulator) == before
    assert not shared.host1.local("/dev/storpool-byid/sim.a.zzzz").is_symlink()


def test_a_host_that_storpool_does_not_know_is_refused(
    shared: Stage, info: Info, tmp_path: Path
) -> None:
    """T14: a wrong SP_OURID is told as such, and the volume is attached nowhere."""
    (tmp_path / "etc").mkdir()
    conf = shared.host1.local("/etc/storpool.conf").read_text().replace("SP_OURID=1", "SP_OURID=99")
    (tmp_path / "etc" / "storpool.conf").write_text(conf)
    stranger = Host(tmp_path, shared.host1.helper_path)
    assert "SP_OURID" in refusals.of_helper(attach(stranger, info))
    assert on_hosts(shared, info) == set()


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_detach_of_what_is_not_attached(shared: Stage, info: Info, absent: str) -> None:
    """T16, T36: not attached here, attached elsewhere, no such volume: `{}`, and other hosts keep
    what they have."""
    shared.simulator.set_switches(detach_absent=absent)
    assert answered(detach(shared.host1, info)) == b"{}\n"
    answered(attach(shared.host2, info))
    assert answered(detach(shared.host1, info)) == b"{}\n"
    assert on_hosts(shared, info) == {(2, "rw")}
    shared.simulator.clear_calls()
    unknown = {
        **info,
        "data": {"volume": shared_stage.new_id(), "global_id": "sim.a.zzzz", "access_mode": "rw"},
    }
    assert answered(detach(shared.host1, unknown)) == b"{}\n"


def test_detach_after_the_volume_was_deleted(shared: Stage, info: Info) -> None:
    """T16: Engine has deleted the disk meanwhile: nothing is left to detach."""
    answered(attach(shared.host1, info))
    shared_stage.post(
        shared.simulator,
        f"MultiCluster/VolumeDelete/~{info['data']['global_id']}",
        {"onAttached": "detach"},
    )
    assert answered(detach(shared.host1, info)) == b"{}\n"


# Never by force


def forced(stage: Stage) -> list[Any]:
    """List the calls that carried force."""
    return [call for call in stage.simulator.calls() if "'force': True" in str(call["body"])]


@pytest.mark.parametrize("busy_error", ["busy", "invalidParam"])
def test_an_open_device_is_refused_and_stays(
    shared: Stage, hasty: Host, info: Info, busy_error: str
) -> None:
    """D6, 3.8 f: a detach comes where the VM runs: the device stays, works, and no call ever
    carried force."""
    shared.simulator.set_switches(busy_error=busy_error)
    answered(attach(shared.host1, info))
    node = device(shared.host1, info)
    with opened(node):
        assert "is open at client 1" in refusals.of_helper(detach(hasty, info))
        shared_stage.write(node, b"still here")
        assert shared_stage.read(node, 10) == b"still here"
    assert on_hosts(shared, info) == {(1, "rw")}
    assert forced(shared) == []
    assert answered(detach(hasty, info)) == b"{}\n"


def test_a_device_that_is_closed_a_moment_later_is_detached(shared: Stage, info: Info) -> None:
    """4.4: the VM has just ended and its process is about to go: the detach waits a little for
    it."""
    answered(attach(shared.host1, info))
    shared.simulator.clear_calls()
    holder = os.open(device(shared.host1, info), os.O_RDONLY)

    def close_after_the_first_refusal() -> None:
        wait_for_call(shared, "VolumesReassignWait", answered=True)
        os.close(holder)

    run, _ = shared_stage.at_once(lambda: detach(shared.host1, info), close_after_the_first_refusal)
    assert run is not None
    assert answered(run) == b"{}\n"
    assert on_hosts(shared, info) == set()
    assert forced(shared) == []


# Many at once


def test_eight_attaches_of_one_volume_at_once(shared: Stage, info: Info) -> None:
    """8.21: Vdsm has no lock: all eight say the same path, and there is one attachment."""
    answers = shared_stage.at_once(*[lambda: answered(attach(shared.host1, info))] * 8)
    assert {*answers} == {answers[0]}
    assert device(shared.host1, info).exists()
    assert on_hosts(shared, info) == {(1, "rw")}


def test_attach_and_detach_of_one_volume_take_turns(shared: Stage, info: Info) -> None:
    """8.10: on one host the changes of one volume never overlap, and none of them fails."""
    shared.simulator.inject("delay", query="VolumesReassignWait", seconds=0.2, times=6)
    jobs = [lambda: attach(shared.host1, info), lambda: detach(shared.host1, info)] * 3
    for run in shared_stage.at_once(*jobs):
        answered(run)
    moments = [
        call["at"] for call in shared.simulator.calls() if call["query"] == "VolumesReassignWait"
    ]
    assert len(moments) == 6
    assert all(after - before >= 0.2 for before, after in zip(moments, moments[1:]))
    assert (on_hosts(shared, info) == {(1, "rw")}) == device(shared.host1, info).exists()


def test_different_volumes_do_not_wait_for_each_other(shared: Stage, info: Info) -> None:
    """The lock is one for each volume: a slow attach of one does not hold up another, nor that of
    its snapshot."""
    other = snapshot_info(shared, info)
    shared.simulator.clear_calls()
    shared.simulator.inject("delay", query="VolumesReassignWait", seconds=60)

    def meanwhile() -> HelperRun:
        wait_for_call(shared, "VolumesReassignWait")
        try:
            return attach(shared.host1, other)
        finally:
            shared.simulator.clear_faults()

    slow, quick = shared_stage.at_once(lambda: attach(shared.host1, info), meanwhile)
    answered(slow)
    answered(quick)
    assert quick.seconds < slow.seconds


def test_the_lock_of_a_dead_process_holds_nobody_up(shared: Stage, info: Info) -> None:
    """A helper that was killed in the middle leaves its lock file behind and no lock."""
    shared.simulator.inject("hang", query="VolumesReassignWait", seconds=60)
    program = children.find("managedvolume-helper-storpool")
    with subprocess.Popen(
        [program, "attach"], stdin=subprocess.PIPE, env=shared.host1.environment
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps({"connection_info": info}).encode())
        process.stdin.close()
        wait_for_call(shared, "VolumesReassignWait")
        process.kill()
    shared.simulator.clear_faults()
    assert [*shared.host1.root.glob(f"run/storpool-ovirt/{info['data']['global_id']}*")]
    run = attach(shared.host1, info)
    answered(run)
    assert run.seconds < 5


# Log and secrets


def test_each_change_is_one_line_in_the_log_and_nothing_secret(
    shared: Stage, hasty: Host, info: Info
) -> None:
    """T75: one line for an attach that changed something, none for its repetition, one for a
    failure; no token."""
    log = shared.host1.local("/var/log/vdsm/storpool-helper.log")
    log.parent.mkdir(parents=True)
    attach_twice = [attach(shared.host1, info), attach(shared.host1, info)]
    with opened(device(shared.host1, info)):
        failed = detach(hasty, info)
    detached = detach(shared.host1, info)
    lines = log.read_text().splitlines()
    events = [line.split()[3] for line in lines]
    assert events == ["attached", "helper_failed", "detached"]
    assert all(info["data"]["volume"] in line for line in lines)
    for text in (
        log.read_bytes(),
        *(run.stdout + run.stderr for run in (*attach_twice, failed, detached)),
    ):
        assert shared.simulator.token.encode() not in text
