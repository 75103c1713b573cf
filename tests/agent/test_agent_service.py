"""The service: it goes on by itself whatever hangs, fails or comes back, and ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stage import GIB, LIMIT_SECONDS, Stage, until

from ovirt_demo import children
from rigs import host_files
from storpool_ovirt import errors
from storpool_ovirt.agent import guests, service

CTRL_S = b"\x13"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Give the socket that systemd would have."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(LIMIT_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def until_told(told: socket.socket, word: str) -> str:
    """Read what systemd is told until a word comes."""
    for _ in range(100):
        said = told.recv(4096).decode()
        if word in said:
            return said
    raise AssertionError(word)


def test_disks_grow_and_guests_are_looked_at(host: Stage) -> None:
    """Growth is found by looking, where no udev tells of it."""
    vm = host.vm(1, host.device(1, GIB))
    with host.serving():
        until(lambda: vm.asked > 2, "its guest to be asked")
        host.device(1, 2 * GIB)
        until(lambda: vm.shown["vda"] == 2 * GIB, "the growth")
        later = host.vm(2, host.device(2, 5 * GIB))
        until(lambda: later.shown["vda"] == 5 * GIB, "a VM that came later")
    assert len(host.lines("disk_grown")) == 2
    assert len(host.lines("started")) == len(host.lines("stopped")) == 1


def test_what_is_switched_off_is_not_done(host: Stage) -> None:
    """Neither of them without the other one's being touched."""
    vm = host.vm(1, host.device(1, 2 * GIB))
    with host.serving(grow=False):
        until(lambda: vm.asked > 2, "its guest to be asked")
    assert vm.grown == []
    vm.asked = 0
    with host.serving(thaw=False):
        until(lambda: vm.grown, "the growth")
        listed = host.hypervisor.listed
        until(lambda: host.hypervisor.listed > listed + 3, "more rounds")
    assert vm.asked == 0


def test_who_has_no_disk_of_ours_is_left_alone(host: Stage) -> None:
    """Nor is a guest without an agent asked."""
    (host.root / "dev/mapper/image").write_bytes(b"x" * 4096)
    others = [host.vm(1, "/dev/mapper/image"), host.vm(2, host.device(2, GIB), agent=False)]
    with host.serving():
        until(lambda: host.hypervisor.listed > 5, "some rounds")
    assert [each.asked for each in others] == [0, 0]


def test_a_vm_that_hangs_holds_up_no_other(host: Stage) -> None:
    """Not its own list, not growth, not thaw; and it goes on when it answers again."""
    wedged = [host.vm(each, host.device(each, 2 * GIB)) for each in (1, 2)]
    over = threading.Event()
    for each in wedged:
        each.hangs = over
    vm = host.vm(3, host.device(3, GIB))
    with host.serving(stuck_seconds=0.2):
        until(lambda: vm.asked > 2, "the other guest to be asked")
        host.device(3, 3 * GIB)
        # Two that hang take both lanes for growth: spare ones come with the next word to systemd
        until(lambda: vm.shown["vda"] == 3 * GIB, "the other one's growth")
        asked = vm.asked
        until(lambda: vm.asked > asked + 2, "the other guest to be asked on")
        over.set()
        until(lambda: all(each.grown for each in wedged), "them all to grow in the end")


def test_two_hundred_vms_of_which_one_hangs(host: Stage) -> None:
    """All others grow; all guests are asked, in their turn, and no faster than a host can bear."""
    vms = [host.vm(each, host.device(each, 2 * GIB)) for each in range(200)]
    over = threading.Event()
    vms[7].hangs = over
    others = [each for each in vms if each is not vms[7]]
    begun = time.monotonic()
    with host.serving(period=1.0):
        until(lambda: all(each.grown for each in others), "199 disks to grow")
        until(lambda: all(each.asked for each in others), "199 guests to be asked")
        until(lambda: vms[0].asked > 1, "the first to be asked again")
        spent = time.monotonic() - begun
        over.set()
        until(lambda: len(host.lines("disk_grown")) == 200, "the one that hung, too")
    assert sum(each.asked for each in vms) <= 200 + guests.ASKS_PER_SECOND * (spent + 10)


def test_libvirt_goes_and_comes_back(host: Stage, told: socket.socket) -> None:
    """It is said once, to the log and to systemd; all goes on when it answers."""
    vm = host.vm(1, host.device(1, GIB))
    with host.serving():
        until_told(told, "READY=1")
        until(lambda: vm.asked, "its guest to be asked")
        host.hypervisor.fails = errors.LibvirtUnavailable("Connection refused")
        until(lambda: host.lines("libvirt_away"), "the line that says so")
        assert "STATUS=waits for libvirt: Connection refused" in until_told(told, "waits for")
        host.hypervisor.fails = None
        host.device(1, 2 * GIB)
        until(lambda: vm.grown, "the growth after it")
        assert "looks after 1 VMs" in until_told(told, "looks after")
    until_told(told, "STOPPING=1")
    assert len(host.lines("libvirt_away")) == len(host.lines("libvirt_back")) == 1


def test_before_libvirt_has_answered_no_vm_is_counted(
    host: Stage, told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd is told that it starts, and how many VMs there are as soon as that is known."""
    monkeypatch.setattr(service, "NOTIFY_SECONDS", 10 * LIMIT_SECONDS)
    host.vm(1, host.device(1, GIB))
    host.hypervisor.hangs = threading.Event()
    with host.serving():
        assert "STATUS=starts" in until_told(told, "STATUS=")
        host.hypervisor.hangs.set()
        assert "looks after 1 VMs" in until_told(told, "looks after")


def test_libvirt_hangs(host: Stage, told: socket.socket) -> None:
    """systemd's watchdog is fed all the same: a restart would not help; it can be ended."""
    host.hypervisor.hangs = threading.Event()
    with host.serving(stuck_seconds=0.1):
        said = until_told(told, "does not answer")
        assert "WATCHDOG=1" in said
        host.hypervisor.hangs.set()
        until_told(told, "looks after")
        host.hypervisor.hangs = threading.Event()
    host.hypervisor.hangs.set()


def test_a_vm_that_goes_between_two_calls(host: Stage) -> None:
    """VMs that come and go all the time are no failure worth a line."""
    with host.serving():
        for number in range(60):
            vm = host.vm(number % 5, host.device(number % 5, 2 * GIB), run=number)
            host.hypervisor.vms.pop(f"00000000-0000-0000-0000-{number * 3 % 5:012}", None)
            host.hypervisor.vms[vm.domain.uuid] = vm
            time.sleep(0.01)
    assert not host.lines("turn_failed")
    assert not host.lines("trace")


def agent(root: Path, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """Start the program itself on a host that is a folder."""
    return subprocess.Popen(
        [children.find("storpool-vm-agent"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "STORPOOL_OVIRT_ROOT": str(root), **more},
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Wait for its end; return its exit code and what it said."""
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    return process.returncode, out, err


def test_the_program_waits_for_libvirt_and_ends_at_once(host: Stage, told: socket.socket) -> None:
    """Without libvirt it is up, says what it waits for, and ends at SIGTERM with 0."""
    host_files.conf(
        host.root, f"SP_OVIRT_AGENT_LIBVIRT=qemu+unix:///system?socket={host.root}/none\n"
    )
    process = agent(host.root, NOTIFY_SOCKET=os.environ["NOTIFY_SOCKET"])
    try:
        until_told(told, "READY=1")
        until_told(told, "STATUS=waits for ")
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert ended(process) == (0, b"", b"")
        assert time.monotonic() - begun < 5
    finally:
        process.kill()
        process.wait()
    assert host.lines("stopped")


def by_hand(root: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the program on a terminal; return it and the terminal's other end."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [children.find("storpool-vm-agent")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": "/usr/bin:/bin", "STORPOOL_OVIRT_ROOT": str(root)},
    )
    os.close(theirs)
    return process, ours


def all_of(terminal: int) -> str:
    """Return what a program that has ended wrote: it comes in parts, and an error is the end."""
    parts = []
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 1 << 16):
            parts.append(part)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("is_stopped", [False, True])
def test_started_by_hand_it_writes_to_the_terminal_too(host: Stage, is_stopped: bool) -> None:
    """The same lines as to the log, also of a key that nobody reads; a terminal that is stopped
    (Ctrl-S) holds up nothing."""
    host_files.conf(
        host.root,
        "SP_OVIRT_VMTAG=x\nSP_OVIRT_AGENTS_PERIOD=1\n"
        f"SP_OVIRT_AGENT_LIBVIRT=qemu+unix:///system?socket={host.root}/none\n",
    )
    process, terminal = by_hand(host.root)
    try:
        if is_stopped:
            os.write(terminal, CTRL_S)
        until(lambda: host.lines("libvirt_away"), "the line that libvirt is away")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
        if not is_stopped:
            assert all_of(terminal).splitlines() == host.lines()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    unknown = host.lines("unknown_option")
    assert ["do you mean SP_OVIRT_VM_TAG?" in each for each in unknown] == [True, False]
    assert "key=SP_OVIRT_AGENTS_PERIOD" in unknown[1]


@pytest.mark.parametrize(
    ("conf", "arguments", "said"),
    [
        ("SP_OVIRT_AGENT_THAW=perhaps\n", (), b"SP_OVIRT_AGENT_THAW"),
        ("SP_OVIRT_AGENT_WHAT=1\n", (), b"is not known"),
        ("", ("--now",), b"takes no arguments"),
    ],
)
def test_wrong_settings_and_a_wrong_use(
    host: Stage, conf: str, arguments: tuple[str, ...], said: bytes
) -> None:
    """One sentence, and 2: a restart would not mend it."""
    host_files.conf(host.root, conf)
    code, out, err = ended(agent(host.root, *arguments))
    assert (code, out) == (2, b"")
    assert said in err
    assert err.count(b"\n") == 1
