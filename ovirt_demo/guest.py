"""What a virtual machine does with its disk: hold the device open, write, find it again.

On a block device that is a real file system, made, mounted and frozen as a guest would do it. Where
an ordinary user has a plain file in place of a device, patterns are written into it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

MEGABYTES = 4  # of each piece that is written: enough to be seen, little enough to be quick
PIECE_BYTES = MEGABYTES << 20
NAME_BYTES = 64
COMMAND_LIMIT_SECONDS = 60.0
RELEASE_LIMIT_SECONDS = 60.0  # ours, for what another program copied: they end within seconds
LOOK_SECONDS = 0.01
QUICKLY = "nodiscard,lazy_itable_init=1,lazy_journal_init=1"
MAKE_FILE_SYSTEM = ("mkfs.ext4", "-q", "-F", "-E", QUICKLY)


class ToolFailed(Exception):
    """A command of the guest failed: which one, and what it said."""

    def __init__(self, command: list[str], said: str) -> None:
        super().__init__(f"{' '.join(command)} failed: {said.strip()}")


class Guest(Protocol):
    """A virtual machine, as far as its disk sees it."""

    makes: str  # what it does with a new disk, in words

    def prepare(self, device: Path) -> None:
        """Make a new disk usable."""

    def start(self, device: Path) -> None:
        """Open the device."""

    def write(self, name: str) -> str:
        """Write a piece of data down to the device; return its sha256."""
        ...

    def contents(self) -> dict[str, str]:
        """Return the sha256 of all pieces on the device by name."""
        ...

    def frozen(self) -> contextlib.AbstractContextManager[None]:
        """Give a time in which nothing is written, as a guest agent makes it for a snapshot."""
        ...

    def device_bytes(self) -> int:
        """Return how large the device is now."""
        ...

    def struggle(self) -> str:
        """Write once more where the disk may have been taken away, and stop.

        Returns what came of it, in words.
        """
        ...

    def stop(self) -> None:
        """Close the device; to stop a stopped one is fine."""


def suited_to(device: Path, folder: Path) -> Guest:
    """Return the guest for this kind of device; `folder` is its own."""
    block = stat.S_ISBLK(device.stat().st_mode)
    return FileSystem(folder) if block and shutil.which(MAKE_FILE_SYSTEM[0]) else Pattern()


class FileSystem:
    """A guest with a file system on its disk, mounted at `folder`."""

    makes = "mkfs.ext4, mount"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._device: Path | None = None

    def prepare(self, device: Path) -> None:
        """Make the file system."""
        _run(*MAKE_FILE_SYSTEM, str(device))

    def start(self, device: Path) -> None:
        """Mount the device."""
        self.folder.mkdir(exist_ok=True)
        _run("mount", str(device.resolve()), str(self.folder))
        self._device = device

    def write(self, name: str) -> str:
        """Write a file and have it on the device; return its sha256."""
        data = os.urandom(PIECE_BYTES)
        with (self.folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return hashlib.sha256(data).hexdigest()

    def contents(self) -> dict[str, str]:
        """Return the sha256 of all files by name."""
        files = (path for path in sorted(self.folder.iterdir()) if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the file system: all that was written is on the device, and nothing more comes."""
        _run("fsfreeze", "--freeze", str(self.folder))
        try:
            yield
        finally:
            _run("fsfreeze", "--unfreeze", str(self.folder))

    def device_bytes(self) -> int:
        """Return the size of the device, as the kernel says it."""
        with (self._device or self.folder).open("rb") as device:
            return device.seek(0, os.SEEK_END)

    def struggle(self) -> str:
        """Write a file, and unmount what is left; return what came of it."""
        try:
            self.write("struggle")
        except OSError as error:
            return str(error.strerror)
        finally:
            self.stop()
        return "and succeeds"

    def stop(self) -> None:
        """Unmount it: all that was written is on the device, and nothing holds it open."""
        if self._device is not None:
            _run("umount", str(self.folder))
            device, self._device = self._device, None
            _wait_until_free(device)


class Pattern:
    """A guest without a file system.

    It writes pieces one behind the other, each with its name in front, up to an empty one.
    """

    makes = "open the device"

    def __init__(self) -> None:
        self._device: BinaryIO | None = None

    def prepare(self, device: Path) -> None:
        """Check that the new disk reads zeros; nothing else is needed."""
        with device.open("rb") as opened:
            if any(opened.read(PIECE_BYTES)):
                raise ToolFailed(["read", str(device)], "a new disk does not read zeros")

    def start(self, device: Path) -> None:
        """Open the device."""
        self._device = device.open("r+b", buffering=0)

    def write(self, name: str) -> str:
        """Write a piece behind the last one, and have it on the device; return its sha256."""
        used = len(self.contents())
        piece = name.encode().ljust(NAME_BYTES, b"\0") + os.urandom(PIECE_BYTES - NAME_BYTES)
        device = self._opened()
        device.seek(used * PIECE_BYTES)
        device.write(piece)
        os.fsync(device.fileno())
        return hashlib.sha256(piece).hexdigest()

    def contents(self) -> dict[str, str]:
        """Return the sha256 of all pieces by name."""
        found: dict[str, str] = {}
        device = self._opened()
        device.seek(0)
        while (piece := device.read(PIECE_BYTES)) and (name := piece[:NAME_BYTES].rstrip(b"\0")):
            found[name.decode(errors="replace")] = hashlib.sha256(piece).hexdigest()
        return found

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Do nothing: each write was waited for, so none is on its way."""
        yield

    def device_bytes(self) -> int:
        """Return the size of the file."""
        return self._opened().seek(0, os.SEEK_END)

    def struggle(self) -> str:
        """Write at the beginning; return what came of it.

        A plain file that was taken away can be written, and nobody will ever read it.
        """
        try:
            device = self._opened()
            device.seek(0)
            device.write(b"struggle")
        except OSError as error:
            return str(error.strerror)
        finally:
            self.stop()
        return "to nobody"

    def stop(self) -> None:
        """Close the device."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def _opened(self) -> BinaryIO:
        if self._device is None:
            raise ToolFailed(["open"], "the guest is not running")
        return self._device


def _wait_until_free(device: Path) -> None:
    """Return when no file system is on the device any more, or when the host has no such device.

    Who makes a mount namespace gets a copy of all mounts. Until that goes, the file system lives
    on, and its last write is the mark that nothing has to be recovered. If the next host has it by
    then, that mark makes what it writes get lost.

    Raises ToolFailed after RELEASE_LIMIT_SECONDS.
    """
    deadline = time.monotonic() + RELEASE_LIMIT_SECONDS
    while _has_file_system(device):
        if time.monotonic() > deadline:
            reason = f"a mount namespace of another program has it after {RELEASE_LIMIT_SECONDS} s"
            raise ToolFailed(["umount", str(device)], reason)
        time.sleep(LOOK_SECONDS)


def _has_file_system(device: Path) -> bool:
    """Return whether a file system is mounted from the device, in whatever namespace."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _run(*command: str) -> None:
    result = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=COMMAND_LIMIT_SECONDS,
        start_new_session=True,
    )
    if result.returncode != 0:
        raise ToolFailed(list(command), result.stderr.decode(errors="replace"))
