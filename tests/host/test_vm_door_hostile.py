"""root_door.py: what a hostile user, a damaged request, silence and a kill get by the door."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from door_words import changes, only_refusal, request_for

from rigs.bad_requests import damaged
from rigs.door_stage import LIMIT_SECONDS, SHIPPED, DoorStage, Volume
from storpool_ovirt.host import vm_door, vm_hook
from storpool_ovirt.privilege import sudo_request


def test_what_a_hostile_user_gets_by_the_door(doors: DoorStage) -> None:
    """T76: whatever it asks for, only volumes of oVirt's that this host has already are taken."""
    here, elsewhere, nowhere = (Volume(doors.cluster, clients) for clients in ([1, 2], [2], []))
    other = Volume(doors.cluster, [1, 2], virt="pve")
    nobodys = Volume(doors.cluster, [1, 2], virt="")
    snapshot = doors.cluster.api(f"VolumeSnapshot/{here.name}", {"name": f"s-{here.id}"})[
        "snapshotGlobalId"
    ]
    before = doors.state()
    link = f"/run/vdsm/managedvolumes/{here.id}_{here.id}"
    for disks, words in (
        ([elsewhere.disk()], "is not attached to client 1 any more"),
        ([nowhere.disk()], "is not attached to client 1 any more"),
        ([nobodys.disk()], "neither its tags nor the VM tell whose it is"),
        ([nobodys.disk(serial=None)], "neither its tags nor the VM tell whose it is"),
        ([elsewhere.disk(path=link)], "is the disk"),
        ([other.disk(path=link)], "is the disk"),
        ([here.disk(), elsewhere.disk()], "is not attached to client 1 any more"),
        ([here.disk(), here.disk()], "is two disks of this VM"),
        ([here.disk(global_id="no.such.one")], "there is no volume or snapshot"),
        ([{**here.disk(), "detach": "all"}], "does not have exactly the keys"),
        ([here.disk(global_id=here.name)], "is not a global id"),
        ([here.disk(path="/etc/shadow")], "is not the path of a device"),
        ([], "is not a list of 1 to"),
    ):
        code, answer = doors.ask(*disks)
        assert code == 2
        assert answer.startswith("refused ")
        assert words in answer
    for disks in ([other.disk()], [here.disk(shareable=True)], [here.disk(global_id=snapshot)]):
        assert doors.ask(*disks) == (0, "done")
    assert doors.ask(elsewhere.disk(), point="before_vm_migrate_source")[0] == 2
    for point in ("before_vm_destroy", "after_vm_start", "../before_vm_start", ""):
        assert doors.ask(here.disk(), point=point)[0] == 2
    kept, held = doors.state()
    assert (_without_marks(kept), held) == (_without_marks(before[0]), before[1])


def test_what_it_can_do_all_the_same(doors: DoorStage) -> None:
    """docs/security.md owns up to it: what Vdsm's helper has attached here before, others lose."""
    volume = Volume(doors.cluster, [1, 2])
    assert doors.ask(volume.disk()) == (0, "done")
    assert doors.clients(volume) == {1}


def _without_marks(objects: Any) -> Any:
    """Leave the tags out that a start may leave on a volume of its VM."""
    return [(name, global_id, size) for name, global_id, size, _ in objects]


def test_damaged_requests(doors: DoorStage) -> None:
    """Whole processes, by seeded damage, also of what the VM says: one line each, no trace, and
    nothing but this volume is ever taken, or says anything else."""
    dice = random.Random(7)
    volume, other = Volume(doors.cluster, [1, 2]), Volume(doors.cluster, [2], virt="pve")
    properties = {"sp_qos": f"gold,{volume.id}:silver", "sp_vc_policy": "daily"}
    request = {**json.loads(request_for(volume)), "properties": properties}
    good = f"{json.dumps(request)}\n".encode()
    before = doors.state()
    for _ in range(30):
        done = subprocess.run(
            [doors.door],
            env={},
            input=damaged(dice, good),
            capture_output=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
        assert done.returncode in (0, 2), done
        assert done.stderr == b""
        assert done.stdout.count(b"\n") == 1
        assert b"internal error" not in done.stdout
    kept, held = doors.state()
    assert _without_marks(kept) == _without_marks(before[0])
    untouched = [
        [each for each in found if each[1] != volume.global_id] for found in (kept, before[0])
    ]
    assert untouched[0] == untouched[1]
    assert {each for each in held if each[0] != volume.global_id} == {
        each for each in before[1] if each[0] != volume.global_id
    }
    assert doors.clients(other) == {2}


def test_a_request_without_end(doors: DoorStage) -> None:
    """More than a request may have is not read, one that never comes is not waited for."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"head -c 100000000 /dev/zero | exec {doors.door}"],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert "the document of the request to root has more than" in done.stdout
    doors.have_door(asked_seconds=0.3, last_seconds=0.1)
    began = time.monotonic()
    with subprocess.Popen(
        [doors.door], env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        out = process.stdout.readline() if process.stdout else ""
        assert process.wait(timeout=LIMIT_SECONDS) == 2
    assert "the request to root" in out
    assert time.monotonic() - began < 10


def test_an_answer_that_nobody_takes(doors: DoorStage) -> None:
    """Root's process does not wait for a reader who never comes: a full pipe ends it by its
    alarm."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    # As hostile as one who starts it can be: the alarm is ignored and blocked before.
    ignored = f"trap '' ALRM; exec {doors.door}"
    done = subprocess.run(
        ["/bin/sh", "-c", ignored],
        env={},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == -signal.SIGALRM
    os.close(reading)
    os.close(writing)


def test_a_hook_that_was_killed(doors: DoorStage) -> None:
    """T52: when the hook has ended, its VM does not start, and root takes nothing from anybody any
    more."""
    volume = Volume(doors.cluster, [1, 2])
    doors.cluster.clear_calls()
    doors.cluster.inject("delay", query="Volume", seconds=2.0)
    hook = doors.starting(volume)
    doors.wait_for_line(doors.door_log, "asked ")
    hook.kill()
    hook.communicate(timeout=LIMIT_SECONDS)
    doors.wait_for_line(doors.door_log, "the program that asked root has ended meanwhile")
    assert changes(doors) == []
    assert doors.clients(volume) == {1, 2}


def test_the_time_is_roots_too(doors: DoorStage) -> None:
    """T73: with an API that hangs root ends within its own limit, before the hook does, and its
    sentence is told."""
    roots, hooks = vm_door.LIMITS, vm_hook.LIMITS
    assert roots.asked_seconds < roots.deadline_seconds
    assert roots.deadline_seconds + roots.last_seconds < hooks.deadline_seconds
    doors.have_door(deadline_seconds=1.5)
    volume = Volume(doors.cluster, [1, 2])
    doors.cluster.inject("hang", times=100)
    began = time.monotonic()
    sentence = only_refusal(doors.start(volume))
    doors.cluster.clear_faults()
    assert time.monotonic() - began < 15
    assert "1.5 s" in sentence or "StorPool API at" in sentence
    assert doors.clients(volume) == {1, 2}


def test_a_door_that_dies(doors: DoorStage) -> None:
    """A door without an answer may have taken the disks: the VM does not start, and nobody does it
    a second time."""
    doors.conf.chmod(0o644)
    volume = Volume(doors.cluster, [1, 2])
    doors.have_door("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    sentence = only_refusal(doors.start(volume))
    assert "ended with code" in sentence
    assert "no answer" in sentence
    assert doors.clients(volume) == {1, 2}


def test_roots_log_is_in_roots_folder(doors: DoorStage) -> None:
    """Nothing that the door writes is where user vdsm could have put a link."""
    secret = doors.root / "secret"
    secret.write_text("kept\n")
    doors.log.symlink_to(secret)
    (doors.log.parent / Path(vm_door.LOG_FILE).name).symlink_to(secret)
    assert doors.start(Volume(doors.cluster, [1, 2])).returncode == 0
    assert secret.read_text() == "kept\n"
    assert secret.stat().st_uid == 0
    assert doors.door_log.stat().st_uid == 0
    assert not doors.door_log.stat().st_mode & 0o007
    doors.log.unlink()


def test_what_is_shipped(doors: DoorStage) -> None:
    """The sudoers file is one that visudo takes, and names the programs that are asked."""
    done = subprocess.run(
        ["visudo", "-c", "-f", SHIPPED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert f'{sudo_request.DOOR} ""' in SHIPPED.read_text()
    for door in (sudo_request.DOOR, sudo_request.FENCE_DOOR):
        assert f"{door} " in SHIPPED.read_text()
