"""The kernel's word of a new size, and the word to systemd: both may be missing."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from storpool_ovirt.agent import systemd, udev

RESIZE = b"change@/devices/virtual/block/sp-5\0ACTION=change\0SUBSYSTEM=block\0RESIZE=1\0SEQNUM=7\0"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (RESIZE, True),
        (RESIZE.replace(b"RESIZE=1", b"RESIZE=0"), False),
        (RESIZE.replace(b"change\0", b"add\0"), False),
        (RESIZE.replace(b"block\0", b"net\0"), False),
        (b"change@/devices\0XRESIZE=1\0", False),
        (b"", False),
        (b"\xff\0\xfe", False),
        (b"libudev\0\xfe\xed\xca\xfe", False),
    ],
)
def test_which_messages_count(message: bytes, expected: bool) -> None:
    """Only a change of a block device that says RESIZE=1."""
    assert udev.is_resize(message) is expected


def test_all_that_has_come_is_read() -> None:
    """One among many is enough; without any there is nothing to do."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        uevents = udev.Uevents(here)
        assert not uevents.resized()
        for message in (b"add@/x\0ACTION=add\0", RESIZE, b"add@/y\0ACTION=add\0"):
            there.send(message)
        assert uevents.resized()
        assert not uevents.resized()


def test_lost_messages_may_have_been_any() -> None:
    """When the kernel could not keep them, a look is due."""

    class Overrun:
        """A socket that lost messages, and then has none."""

        told = iter([OSError(errno.ENOBUFS, "lost"), BlockingIOError()])

        def setblocking(self, blocking: bool) -> None:
            """It is as it is."""

        def recv(self, _size: int) -> bytes:
            """Raise what is next."""
            raise next(self.told)

    assert udev.Uevents(Overrun()).resized()  # type: ignore[arg-type]


def test_the_real_one() -> None:
    """Where the kernel gives messages at all, there are none of a new size in a quiet moment; where
    it does not, the agent goes without."""
    uevents = udev.opened()
    if uevents is not None:
        assert uevents.fileno() > 2
        uevents.resized()
        uevents.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a datagram to the socket that it names, also one without a file."""
    name = f"\0agent-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        systemd.notify("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_systemd_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, or one that nobody has: no failure."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.notify("READY=1")
