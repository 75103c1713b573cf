"""storpool-vm-door by the real sudo: what user vdsm gets done by root, and what nobody gets."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rigs.bad_requests import damaged
from rigs.door_stage import LIMIT_SECONDS, SHIPPED, DoorStage, Volume
from rigs.vdsm_user import USER
from storpool_ovirt.host import vm_door, vm_hook
from storpool_ovirt.privilege import sudo_request

README = Path(__file__).parents[2] / "README.md"
CHANGES = (
    "VolumeUpdate",
    "VolumeDelete",
    "SnapshotDelete",
    "VolumesReassignWait",
    "VolumesReassign",
)


def changes(doors: DoorStage) -> list[str]:
    """Return what was asked of the cluster that changes a volume or who has it."""
    return [
        call["query"] for call in doors.cluster.calls() if call["query"].split("/")[0] in CHANGES
    ]


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Check that the hook refused, and return its sentence."""
    assert done.returncode == 2, done
    assert done.stderr.startswith("StorPool: ")
    assert done.stderr.count("\n") == 1
    return done.stderr[len("StorPool: ") : -1]


def test_a_start_without_the_token(doors: DoorStage) -> None:
    """T53: Vdsm's user cannot read storpool.conf, and the VM's disks are this host's alone before
    it starts."""
    volumes = [Volume(doors.cluster, [1, 2]) for _ in range(2)]
    done = doors.start(*volumes)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [doors.clients(volume) for volume in volumes] == [{1}, {1}]
    [way] = doors.lines(doors.log)
    assert way == "way by=root"
    said = doors.lines(doors.door_log)
    ids = ",".join(volume.global_id for volume in volumes)
    assert said[0] == f"asked by={USER} point=before_vm_start disks={ids}"
    assert sum(line.startswith("taken ") for line in said) == 2
    assert f"disks_alone disks={ids} client=1 left_alone=-" in said
    assert said[-1].startswith("done seconds=")


def test_a_plug_and_a_migration(doors: DoorStage) -> None:
    """T45, T80: the other points go the same way, and a refusal is told in root's words."""
    volume = Volume(doors.cluster, [1, 2])
    assert doors.start(volume, point="before_disk_hotplug").returncode == 0
    assert doors.clients(volume) == {1}
    assert doors.start(volume, point="before_vm_migrate_source").returncode == 0
    gone = [{"volume": volume.name, "detach": "all", "force": True}]
    doors.cluster.api("VolumesReassignWait", {"reassign": gone})
    assert "was taken from client 1, on which its VM runs" in refused(
        doors.start(volume, point="before_vm_migrate_source")
    )


def test_what_root_refuses_is_not_tried_again(doors: DoorStage) -> None:
    """Where root says no, the hook does not do it itself, though it could read the token."""
    doors.conf.chmod(0o644)
    volume = Volume(doors.cluster, [2])
    doors.cluster.clear_calls()
    assert "is not attached to client 1 any more" in refused(doors.start(volume))
    assert changes(doors) == []
    assert doors.clients(volume) == {2}
    [line] = doors.lines(doors.log)
    assert line.startswith("refused ")


def test_without_the_door_the_acl_does(doors: DoorStage) -> None:
    """Where sudo does not allow it, or no door is there, a readable storpool.conf does, and the log
    says so."""
    doors.conf.chmod(0o644)
    volume = Volume(doors.cluster, [1, 2])
    doors.forbid()
    assert doors.start(volume).returncode == 0
    assert doors.clients(volume) == {1}
    lines = doors.lines(doors.log)
    assert lines[0] == 'way by=itself why="sudo: a password is required"'
    assert lines[-1].startswith("disks_alone ")
    assert doors.lines(doors.door_log) == []
    doors.allow()
    doors.door.unlink()
    assert doors.start(volume).returncode == 0
    assert doors.lines(doors.log)[0] == f'way by=itself why="{doors.door} is not there"'


def test_neither_way(doors: DoorStage) -> None:
    """T53: with neither, the VM does not start, and one sentence names both ways to mend that."""
    doors.forbid()
    volume = Volume(doors.cluster, [1, 2])
    sentence = refused(doors.start(volume))
    assert f"{doors.conf} cannot be read (Permission denied)" in sentence
    assert "root cannot be asked (sudo: a password is required)" in sentence
    assert "etc/sudoers.d/storpool-ovirt" in sentence
    assert f"make it readable for user {USER}" in sentence
    assert doors.clients(volume) == {1, 2}


def test_a_vms_custom_properties_do_not_get_to_root(doors: DoorStage, reachable: Path) -> None:
    """Vdsm gives them to the hook as its environment; the door gets none of them, also where
    sudoers keep some."""
    seen = doors.root / "environment.json"
    doors.have_door(
        f"import json, os, sys; open({str(seen)!r}, 'w').write(json.dumps([dict(os.environ),"
        " sys.path]))"
    )
    library = reachable / "theirs"
    library.mkdir()
    ran = reachable / "ran"
    ran.mkdir()
    ran.chmod(0o777)
    evil = f"import os, pathlib; pathlib.Path({str(ran)!r}, 'as-' + str(os.getuid())).touch()\n"
    for name in ("sitecustomize", "usercustomize", "gc", "json"):
        (library / f"{name}.py").write_text(
            evil if name != "json" else evil + "raise ImportError\n"
        )
    (library / "json.py").unlink()
    properties = {
        "PYTHONPATH": str(library),
        "PYTHONHOME_X": "x",
        "PYTHONSTARTUP": str(library / "gc.py"),
        "LD_AUDIT_X": "x",
        "LD_LIBRARY_PATH": str(library),
        "SP_API_HTTP_HOST": "192.0.2.1",
        "SP_AUTH_TOKEN": "9" * 19,
        "HOME": str(library),
        "STORPOOL_CONF": "x",
        "BASH_ENV": "x",
        "ENV": "x",
        "IFS": "/",
        "SUDO_ASKPASS": "/bin/true",
        "GLIBC_TUNABLES": "x",
        "GCONV_PATH": str(library),
        "HOSTALIASES": "/etc/shadow",
        "RES_OPTIONS": "x",
        "LOCALDOMAIN": "x",
        "TZ": "x",
        "LC_ALL": "C",
        "TERM": "x",
        "DISPLAY": ":1",
        "XAUTHORITY": "/x",
        "PATH": f"{library}:/usr/bin:/bin",
    }
    names = " ".join(sorted({*properties, "LC_*"} - {"PATH", "HOME"}))
    for before in (
        "",
        f'Defaults env_keep += "{names}"\nDefaults setenv\n',
        f"Defaults:{USER} !env_reset\n",
    ):
        doors.allow(before=before)
        volume = Volume(doors.cluster, [1, 2])
        done = doors.start(volume, **properties)
        assert done.returncode == 0, done
        assert doors.clients(volume) == {1}
        environment, path = json.loads(seen.read_text())
        allowed = {
            "SUDO_COMMAND",
            "SUDO_USER",
            "SUDO_UID",
            "SUDO_GID",
            "USER",
            "LOGNAME",
            "HOME",
            "MAIL",
            "SHELL",
        }
        allowed |= {"TERM", "LC_CTYPE"}  # the latter Python gives to itself (PEP 538)
        assert set(environment) - allowed == {"PATH"}
        assert environment["PATH"] == "/usr/sbin:/usr/bin:/sbin:/bin"
        assert (environment["HOME"], environment["TERM"]) == ("/root", "unknown")
        assert str(library) not in path
        seen.unlink()
    # Vdsm's own user is whom they do reach: the test would not see that they reach root otherwise.
    assert {each.name for each in ran.iterdir()} == {f"as-{doors.programs.user.pw_uid}"}


def test_a_vm_cannot_name_another_host(doors: DoorStage, reachable: Path) -> None:
    """STORPOOL_OVIRT_ROOT as a custom property would have the hook look where no disk is: the VM
    does not start."""
    other = reachable / "other"
    (other / "etc").mkdir(parents=True, exist_ok=True)
    volume = Volume(doors.cluster, [1, 2])
    for name in (
        str(other),
        f"{doors.root}/usr",
        "/usr",
        f"{doors.root}/usr/libexec/vdsm/hooks",
        "relative",
        "..",
    ):
        sentence = refused(doors.start(volume, STORPOOL_OVIRT_ROOT=name))
        assert "STORPOOL_OVIRT_ROOT in the environment" in sentence
        assert "custom properties" in sentence
    assert doors.clients(volume) == {1, 2}


@pytest.mark.parametrize(
    "name", ["PYTHONPATH", "PYTHONINSPECT", "LD_PRELOAD", "STORPOOL_OVIRT_ROOT", "SP_AUTH_TOKEN"]
)
def test_an_environment_that_got_through(doors: DoorStage, name: str) -> None:
    """Where something else than our sudoers starts it with these, it refuses: they may have had
    their effect."""
    value = str(doors.root) if name != "PYTHONINSPECT" else ""
    volume = Volume(doors.cluster, [1, 2])
    done = subprocess.run(
        [doors.door],
        env={name: value},
        input=_request(volume),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 2
    assert done.stdout.startswith(
        f"refused storpool-vm-door was started with {name} in its environment"
    )
    assert doors.clients(volume) == {1, 2}


def test_sudo_allows_the_door_alone(doors: DoorStage) -> None:
    """No argument, no variable, no other program, no other user, no shell."""
    door = str(doors.door)
    for command in (
        [door, "--help"],
        [door, "--version"],
        [door, ""],
        ["PYTHONPATH=/x", door],
        ["-E", door],
        ["--preserve-env=PATH", door],
        ["-u", "daemon", door],
        ["-g", "daemon", door],
        ["-s"],
        ["-i"],
        ["/bin/true"],
        [f"{door}/../storpool-vm-door2"],
        ["-R", "/", door],
        ["-D", "/tmp", door],
        ["-C", "10", door],
        [sys.executable],
        ["-e", str(doors.conf)],
    ):
        done = doors.run(sudo_request.SUDO, "-n", *command)
        assert done.returncode == 1, command
        assert done.stdout == ""
        assert "sudo" in done.stderr
    assert doors.lines(doors.door_log) == []
    assert doors.run(sudo_request.SUDO, "-n", "-l", door).returncode == 0
    assert doors.run(sudo_request.SUDO, "-n", "-l", "/bin/true").returncode == 1
    assert doors.run(sudo_request.SUDO, "-n", door, stdin="\n").stdout.startswith(
        "refused the document of the request"
    )


def test_by_hand(doors: DoorStage) -> None:
    """Without sudo the door says what it is for: it needs root's rights, and takes no arguments."""
    done = doors.run("env", "-i", str(doors.door), stdin="{}\n")
    assert (done.returncode, done.stdout.split(":")[0]) == (
        2,
        "refused storpool-vm-door needs root's rights",
    )
    told = subprocess.run(
        [doors.door, "x"],
        env={},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_SECONDS,
    )
    assert (told.returncode, told.stdout.split(":")[0]) == (
        2,
        "refused storpool-vm-door takes no arguments",
    )


def test_who_it_is_needs_no_rights(doors: DoorStage) -> None:
    """Without sudo, as any user: help is told, no log is opened, and stdin is not read."""
    for door in (doors.door, doors.fence_door):
        told = doors.run("env", "-i", str(door), "--help", stdin="action=monitor\n\n")
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.startswith(f"{door.name}: ")
    assert doors.lines(doors.door_log) == doors.lines(doors.fence_log) == []


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
    """Whole processes, by seeded damage: one line each, no trace, and nothing but this volume is
    ever taken."""
    dice = random.Random(7)
    volume, other = Volume(doors.cluster, [1, 2]), Volume(doors.cluster, [2], virt="pve")
    good = _request(volume).encode()
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
    sentence = refused(doors.start(volume))
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
    sentence = refused(doors.start(volume))
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
    """The sudoers file is one that visudo takes, names the program that the hook asks, and is what
    README installs."""
    done = subprocess.run(
        ["visudo", "-c", "-f", SHIPPED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert f'{sudo_request.DOOR} ""' in SHIPPED.read_text()
    readme = README.read_text()
    for door in (sudo_request.DOOR, sudo_request.FENCE_DOOR):
        assert f"{door} " in SHIPPED.read_text()
    assert (
        "ln -s /opt/storpool-ovirt/bin/storpool-{vm,fence}-door /usr/libexec/storpool-ovirt/"
        in readme
    )
    assert "etc/sudoers.d/storpool-ovirt /etc/sudoers.d/storpool-ovirt" in readme


def _request(*volumes: Volume) -> str:
    request = {
        "point": "before_vm_start",
        "vm": "-",
        "disks": [volume.disk() for volume in volumes],
    }
    return json.dumps(request) + "\n"
