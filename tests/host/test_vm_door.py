"""storpool-vm-door by the real sudo: what user vdsm gets done by root, and what nobody gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from door_words import changes, only_refusal, request_for

from rigs.door_stage import LIMIT_SECONDS, DoorStage, Volume
from rigs.shared_stage import new_id
from rigs.vdsm_user import USER
from storpool_ovirt.privilege import sudo_request


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
    assert "was taken from client 1, on which its VM runs" in only_refusal(
        doors.start(volume, point="before_vm_migrate_source")
    )


def test_an_unplug_asks_root_too(doors: DoorStage) -> None:
    """T53, T78: the tag is written and taken away by root, who believes a VM's id only by its form;
    what another host has is left."""
    vm, other = new_id(), new_id()
    here, both = Volume(doors.cluster, [1]), Volume(doors.cluster, [1])

    def named(volume: Volume) -> str:
        listed = doors.cluster.api("VolumesList")
        [tags] = [each["tags"] for each in listed if each["name"] == volume.name]
        return str(tags.get("cvm", ""))

    assert doors.start(here, both, vmId=vm).returncode == 0
    assert [named(here), named(both)] == [vm, vm]
    doors.cluster.api("VolumesReassignWait", {"reassign": [{"volume": both.name, "rw": [2]}]})
    for volume, who in ((here, other), (both, vm)):
        assert doors.start(volume, point="after_disk_hotunplug", vmId=who).returncode == 0
    assert [named(here), named(both)] == [vm, vm]
    assert doors.start(here, point="after_disk_hotunplug", vmId=vm).returncode == 0
    assert [named(here), named(both)] == ["", vm]
    assert doors.clients(here) == {1}


def test_what_root_refuses_is_not_tried_again(doors: DoorStage) -> None:
    """Where root says no, the hook does not do it itself, though it could read the token."""
    doors.conf.chmod(0o644)
    volume = Volume(doors.cluster, [2])
    doors.cluster.clear_calls()
    assert "is not attached to client 1 any more" in only_refusal(doors.start(volume))
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
    sentence = only_refusal(doors.start(volume))
    assert f"{doors.conf} cannot be read (Permission denied)" in sentence
    assert "root cannot be asked (sudo: a password is required)" in sentence
    assert "storpool-ovirt setup host" in sentence
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
        allowed = set(
            "SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID USER LOGNAME HOME MAIL SHELL".split()
        )
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
        sentence = only_refusal(doors.start(volume, STORPOOL_OVIRT_ROOT=name))
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
        input=request_for(volume),
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
