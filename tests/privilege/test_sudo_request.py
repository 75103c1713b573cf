"""sudo_request.py: the hook's way to root, with programs in sudo's place that end in each way that
a program can end."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Callable

import pytest

from rigs.clock import wait_until
from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.privilege import sudo_request

Sudo = Callable[[str], None]
REQUEST = b'{"a":"b"}\n'


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A host with a door."""
    door = Path(f"{tmp_path}{sudo_request.DOOR}")
    door.parent.mkdir(parents=True)
    door.touch()
    return str(tmp_path)


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sudo:
    """Have a shell's script in the place of sudo."""

    def have(script: str) -> None:
        program = tmp_path / "sudo"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sudo_request, "SUDO", str(program))

    return have


def ask(root: str, request: bytes = REQUEST, seconds: float = 20.0) -> str:
    """Ask root."""
    return sudo_request.ask(request, root, Deadline(seconds))


def test_done(root: str, sudo: Sudo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door is started without questions and arguments, gets the request and nothing of our
    environment."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    sudo(
        f'read line; echo "$line" >{tmp_path}/in; printf "%s\\n" "$*" >{tmp_path}/argv; env'
        f" >{tmp_path}/env; echo done"
    )
    assert ask(root) == ""
    assert (tmp_path / "in").read_bytes() == REQUEST
    assert (tmp_path / "argv").read_text() == f"-n -- {root}{sudo_request.DOOR}\n"
    given = {each.partition("=")[0] for each in (tmp_path / "env").read_text().splitlines()}
    assert given - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "LANG"}


def test_no_door(tmp_path: Path, sudo: Sudo) -> None:
    """Where no door was installed sudo is not even started: its refusal would be a line in a host's
    log each time."""
    sudo(f"touch {tmp_path}/started; exit 1")
    assert "storpool-vm-door is not there" in ask(str(tmp_path))
    assert not (tmp_path / "started").exists()


def test_no_sudo(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sudo the door is closed, and no descriptor is left open."""
    monkeypatch.setattr(sudo_request, "SUDO", f"{root}/none")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert "cannot be run (No such file or directory)" in ask(root)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_sudo_refuses(root: str, sudo: Sudo) -> None:
    """Its words are told; it may not even have read the request, however long that is."""
    sudo("exec <&-; echo 'sudo: a password is required' >&2; exit 1")
    assert ask(root, b"x" * (1 << 20)) == "sudo: a password is required"
    sudo("exit 1")
    assert ask(root) == "sudo refused it without a word"


def test_sudo_refuses_only_what_goes_further(root: str, sudo: Sudo) -> None:
    """A fence of a host that runs is a line of its own in sudoers: where only that is missing, that
    is what is told."""
    Path(f"{root}{sudo_request.FENCE_DOOR}").touch()
    for allowed, closed in (
        (0, sudo_request.NOT_THOUGH_IT_RUNS),
        (1, "sudo: a password is required"),
    ):
        sudo(f'[ "$2" = -l ] && exit {allowed}; echo "sudo: a password is required" >&2; exit 1')
        assert sudo_request.fence(b"action=off\n\n", True, root, Deadline(20)) == closed
        assert (
            sudo_request.fence(b"action=off\n\n", False, root, Deadline(20))
            == "sudo: a password is required"
        )


def test_root_refuses(root: str, sudo: Sudo) -> None:
    """Its sentence is ours."""
    sudo("echo 'refused volume x is not attached to client 1 any more'; exit 2")
    with pytest.raises(errors.Error, match=r"^volume x is not attached to client 1 any more$"):
        ask(root)


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        "echo done; exit 1",
        "echo done; exit 2",
        "echo nearly; exit 0",
        "printf done; exit 0",
        "echo done; echo done; exit 0",
        "echo refused x; exit 0",
        "echo refused x; exit 1",
        "printf 'refused x'; exit 2",
        "exit 2",
        "exit 3",
        "exit 127",
        "kill -9 $$",
        "kill -11 $$",
        "echo x; exit 1",
        "head -c 1000000 /dev/zero; exit 0",
    ],
)
def test_no_answer_is_no_yes(root: str, sudo: Sudo, script: str) -> None:
    """Whatever else comes back says neither that it was done nor that it was not begun: the VM does
    not start."""
    sudo(f"read line; {script}")
    with pytest.raises(errors.Conflict, match="and no answer"):
        ask(root)


def test_a_door_that_hangs(root: str, sudo: Sudo, tmp_path: Path) -> None:
    """It is waited for as long as the hook has; then it sees that nobody is there any more."""
    sudo(
        f"read line; read more; echo gone >{tmp_path}/seen.part; mv {tmp_path}/seen.part"
        f" {tmp_path}/seen"
    )
    began = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match="root to answer"):
        ask(root, seconds=0.5)
    assert time.monotonic() - began < 5
    wait_until((tmp_path / "seen").exists, "the end of its stdin")


def test_signals_are_as_a_program_expects_them(root: str, sudo: Sudo, tmp_path: Path) -> None:
    """What this process ignores or blocks is neither ignored nor blocked in what root runs."""
    sudo(f"read line; grep -E '^Sig(Blk|Ign)' /proc/self/status >{tmp_path}/signals; echo done")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGTERM])
    try:
        assert ask(root) == ""
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    blocked, ignored = (
        int(each.split()[1], 16) for each in (tmp_path / "signals").read_text().splitlines()
    )
    assert blocked == 0
    assert not ignored & 1 << (signal.SIGPIPE - 1)
