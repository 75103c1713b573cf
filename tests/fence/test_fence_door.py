"""storpool-fence-door by the real sudo: the fence agent as user vdsm, who has no token, and what
else he gets by it."""

from __future__ import annotations

import random
import subprocess

import pytest

from rigs.bad_requests import BAD_TEXTS
from rigs.door_stage import LIMIT_SECONDS, DoorStage, Volume
from rigs.vdsm_user import USER
from storpool_ovirt.fence import door, options
from storpool_ovirt.limits import LIMITS


def test_the_agent_without_the_token(doors: DoorStage) -> None:
    """T46: a proxy whose user cannot read storpool.conf says what a host has, and takes it when
    that host is down."""
    volume = Volume(doors.cluster, [1, 2])
    assert "knows" in doors.fence(action="monitor").stdout
    assert doors.fence(action="list").stdout.splitlines()[0].startswith("1,")
    on = doors.fence(action="status", port="2")
    assert (on.returncode, on.stdout.startswith("Status: ON, ")) == (0, True)
    refused = doors.fence(action="off", port="2", power_timeout="0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "answers StorPool" in refused.stderr
    assert doors.clients(volume) == {1, 2}
    doors.cluster.set_client(2, status="down")
    done = doors.fence(action="off", port="2")
    assert done.returncode == 0, done
    assert doors.clients(volume) == {1}
    off = doors.fence(action="status", port="2")
    assert (off.returncode, off.stdout.startswith("Status: OFF, ")) == (2, True)
    assert all(
        line in ("way by=root",) or line.startswith("fence_failed")
        for line in doors.lines(doors.agent_log)
    )
    said = doors.lines(doors.fence_log)
    assert any(line.startswith(f"asked by={USER} action=off plug=2 ") for line in said)


def test_a_host_that_runs(doors: DoorStage) -> None:
    """T57: sudoers say whether user vdsm may have a running host's disks taken; as shipped they do
    not."""
    volume = Volume(doors.cluster, [1, 2])
    refused = doors.fence(action="off", port="2", even_if_it_runs="1")
    assert refused.returncode == 1
    assert (
        "sudoers does not allow even_if_it_runs: add STORPOOL_FENCE_RUNNING to the last line"
        in refused.stderr
    )
    direct = doors.run(
        "sudo", "-n", str(doors.fence_door), stdin="action=off\nport=2\neven_if_it_runs=1\n\n"
    )
    assert direct.returncode == 1
    assert "even_if_it_runs is not given to storpool-fence-door as its argument" in direct.stdout
    assert doors.clients(volume) == {1, 2}
    doors.allow(running=True)
    assert doors.fence(action="off", port="2", even_if_it_runs="1").returncode == 0
    assert doors.clients(volume) == {1}


def test_the_other_way_and_neither(doors: DoorStage) -> None:
    """Without the door the agent reads what it may; with neither it fails, never with "off", and
    names both ways."""
    doors.forbid()
    refused = doors.fence(action="status", port="2")
    assert refused.returncode == 1
    assert (
        f"{doors.conf} cannot be read (Permission denied) and root cannot be asked"
        in refused.stderr
    )
    doors.conf.chmod(0o644)
    assert doors.fence(action="monitor").returncode == 0
    assert doors.lines(doors.agent_log)[-1] == 'way by=itself why="sudo: a password is required"'


def test_no_answer_is_unknown(doors: DoorStage) -> None:
    """T54: a door that dies says nothing about the host: exit code 1, whatever its own code was."""
    doors.conf.chmod(0o644)
    for ends in (
        "os._exit(2)",
        "os._exit(0)",
        "os.kill(os.getpid(), 9)",
        "os.write(1, b'answer Status: OFF'); os._exit(2)",
    ):
        doors.have_door(f"import os\n{ends}")
        done = doors.fence(action="status", port="2")
        assert (done.returncode, done.stdout) == (1, ""), ends
        assert "no answer" in done.stderr


def test_the_time_is_roots_too() -> None:
    """Root ends before the agent gives up."""
    roots = door.LIMITS
    assert roots.deadline_seconds + roots.last_seconds < LIMITS.deadline_seconds
    assert roots.deadline_seconds > options.POWER_TIMEOUT_MAX_SECONDS


def test_sudo_allows_the_agents_door_alone(doors: DoorStage) -> None:
    """T57: no other argument; and by no words is a host fenced that runs, or the proxy itself."""
    volume = Volume(doors.cluster, [1, 2])
    door = str(doors.fence_door)
    for command in (
        [door, "even-if-it-runs"],
        [door, "even-if-it-runs", "x"],
        [door, "-o", "off"],
        [door, "--help"],
        [door, "--version"],
        [door, ""],
    ):
        done = doors.run("sudo", "-n", *command, stdin="action=off\nport=2\neven_if_it_runs=1\n\n")
        assert (done.returncode, done.stdout) == (1, ""), command
    assert doors.clients(volume) == {1, 2}
    doors.cluster.set_client(2, status="down")
    own = doors.run("sudo", "-n", door, stdin="action=off\nport=1\n\n")
    assert "must not fence itself" in own.stdout
    assert doors.clients(volume) == {1, 2}


def test_damaged_requests(doors: DoorStage) -> None:
    """Whole processes, with seeded damage: an answer each, no trace, no host that runs is
    fenced."""
    dice = random.Random(3)
    volume = Volume(doors.cluster, [1, 2])
    before = doors.state()
    for _ in range(25):
        words = [
            each.encode("utf-8", "surrogateescape")
            for each in dice.sample([*BAD_TEXTS[:8], "2", "off", "1"], 3)
            if not any("\ud800" <= c <= "\udfff" for c in each)
        ]
        lines = [
            b"action=" + dice.choice([b"off", b"status", b"reboot", *words]),
            b"port=" + dice.choice([b"2", *words]),
        ]
        lines += [
            dice.choice(
                [b"even_if_it_runs=1", b"even_if_it_runs=0", b"power_timeout=0", b"\xff", *words]
            )
        ]
        data = b"\n".join(lines) + dice.choice(
            [b"\n\n", b"\npower_timeout=0\n\n", b"\n", b"\n\nx", b"x" * 70_000]
        )
        done = subprocess.run(
            [doors.fence_door],
            env={},
            input=data,
            capture_output=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
        assert done.returncode in (0, 1), (data, done)
        assert done.stdout.startswith(b"answer ")
        assert done.stderr == b""
        assert b"internal error" not in done.stdout, (data, done)
    assert doors.state() == before
    assert doors.clients(volume) == {1, 2}


@pytest.mark.parametrize("name", ["PYTHONPATH", "LD_PRELOAD", "STORPOOL_OVIRT_ROOT"])
def test_an_environment_that_got_through(doors: DoorStage, name: str) -> None:
    """As root's other door, it refuses to work with what may have had its effect already."""
    done = subprocess.run(
        [doors.fence_door],
        env={name: str(doors.root)},
        input="action=monitor\n\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 1
    assert done.stdout.startswith(
        f"answer storpool-fence-door was started with {name} in its environment"
    )
