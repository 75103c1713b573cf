"""The guest with a file system, on a loop device of the test's own; root alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovirt_demo import guest
from rigs import mounts

SIZE_BYTES = 64 << 20
SHORT_SECONDS = 0.5
LONG_SECONDS = 60


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a data file, which two hosts can have on a loop device each."""
    tools = ("losetup", "unshare", guest.MAKE_FILE_SYSTEM[0])
    if os.geteuid() or not Path("/dev/loop-control").exists() or not all(map(shutil.which, tools)):
        pytest.skip(f"loop devices need root and /dev/loop-control, and here {', '.join(tools)}")
    file = tmp_path / "data"
    with file.open("wb") as made:
        made.truncate(SIZE_BYTES)
    return file


@contextlib.contextmanager
def attached(data: Path, link: Path) -> Iterator[Path]:
    """Have a loop device over the data file, without a page cache of its own below it; give the
    link to it."""
    made = subprocess.run(
        ["losetup", "--find", "--show", "--direct-io=on", data],
        check=True,
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
    )
    device = made.stdout.strip()
    link.symlink_to(device)
    try:
        yield link
    finally:
        mounts.run("losetup", "--detach", device)


@contextlib.contextmanager
def copied_mounts() -> Iterator[subprocess.Popen[str]]:
    """Have another program with a mount namespace of its own, until it reads a line."""
    with mounts.namespace("true") as child:
        if child is None:
            pytest.skip("this machine allows no mount namespace")
        yield child


def test_a_stopped_guest_has_the_disk_in_no_namespace(tmp_path: Path, data: Path) -> None:
    """A copy of its mount that went later would undo what the next host has written since."""
    with contextlib.ExitStack() as closing:
        first, second, third = (
            closing.enter_context(attached(data, tmp_path / f"link{number}")) for number in range(3)
        )
        source = guest.FileSystem(tmp_path / "source")
        source.prepare(first)
        source.start(first)
        written = {"letter": source.write("letter")}
        with copied_mounts() as child:
            stopping = threading.Thread(target=source.stop)
            stopping.start()
            stopping.join(SHORT_SECONDS)
            stopped_early = not stopping.is_alive()
            if not stopped_early:
                mounts.end(child)
                stopping.join(LONG_SECONDS)
            destination = guest.FileSystem(tmp_path / "destination")
            destination.start(second)
            closing.callback(destination.stop)
            mounts.end(child)
            written["postcard"] = destination.write("postcard")
        # The destination's host hangs: nothing is unmounted there.
        rescuer = guest.FileSystem(tmp_path / "rescuer")
        rescuer.start(third)
        closing.callback(rescuer.stop)
        assert rescuer.contents() == written
        assert not stopped_early


def test_a_copy_that_stays_is_told(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait has a limit; to go on would lose what is written next."""
    monkeypatch.setattr(guest, "RELEASE_LIMIT_SECONDS", SHORT_SECONDS)
    with attached(data, tmp_path / "link") as link:
        machine = guest.FileSystem(tmp_path / "mnt")
        machine.prepare(link)
        machine.start(link)
        with copied_mounts():
            with pytest.raises(guest.ToolFailed, match="a mount namespace of another program"):
                machine.stop()
            machine.stop()


def test_a_device_that_was_taken_away_is_not_waited_for(tmp_path: Path, data: Path) -> None:
    """Whoever still has it mounted writes to nobody."""
    with attached(data, tmp_path / "link") as link:
        machine = guest.FileSystem(tmp_path / "mnt")
        machine.prepare(link)
        machine.start(link)
        with copied_mounts() as child:
            link.unlink()
            machine.stop()
            assert child.poll() is None
