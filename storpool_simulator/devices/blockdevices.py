"""Block devices that can be cut off.

Each attachment is a loop device over a file of our own FUSE server.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storpool_simulator.devices import fuse, fuseprotocol, loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOUNT = "block.fuse"
RESIZE_TRIES = 1000  # each is overtaken only while a write ends in just that moment


@dataclass(frozen=True)
class Wanted:
    """How a device is to be."""

    path: str
    """Its data file."""
    size_bytes: int
    read_only: bool


@dataclass
class _Attachment:
    client_id: int
    global_id: str
    file: fuse.File
    loop: loop.Loop

    @property
    def device(self) -> str:
        return str(self.loop.path)


class BlockDevices:
    """The loop devices and the files below them."""

    def __init__(self, state: Path) -> None:
        facts = state.stat()
        # No other state folder has this prefix, in whatever container its path is the same.
        self._prefix = f"storpool-simulator-{facts.st_dev:x}-{facts.st_ino:x}-"
        self._remove_leftovers(state / MOUNT)
        self.files = fuse.Server(state / MOUNT)
        self._serials = itertools.count(1)
        self._attached: dict[tuple[int, str], _Attachment] = {}
        self._locks: dict[tuple[int, str], threading.Lock] = {}

    def listed(self) -> list[dict[str, Any]]:
        """Return what is attached now: client, global id and device of each."""
        return [
            {"client": one.client_id, "global_id": one.global_id, "device": one.device}
            for one in list(self._attached.values())
        ]

    def show(self, client_id: int, global_id: str, wanted: Wanted) -> str:
        """Have this device with this size and these rights; return its path."""
        with self._changing(client_id, global_id):
            attached = self._attached.get((client_id, global_id))
            if attached is not None and not loop.is_over(attached.loop.path, attached.file.name):
                # An administrator has taken the loop device away (losetup -D).
                self.files.cut(attached.file)
                attached = None
            if attached is None:
                attached = self._attach(client_id, global_id, wanted)
                self._attached[(client_id, global_id)] = attached
            if attached.file.size_bytes != wanted.size_bytes:
                self._resize(attached, wanted.size_bytes)
            if attached.file.read_only != wanted.read_only:
                self._set_read_only(attached, wanted.read_only)
            return attached.device

    def hide(self, client_id: int, global_id: str, cut: bool) -> None:
        """End an attachment.

        `cut` throws away what has not been written out; without it, that is written out first.
        """
        with self._changing(client_id, global_id):
            attached = self._attached.get((client_id, global_id))
            if attached is None:
                return
            if not cut:
                # A full disk below is no error here: whoever wrote has got it.
                with contextlib.suppress(OSError):
                    loop.flush(attached.loop.path)
            # The file is cut, asked for or not: whoever opened it between the caller's look and
            # now must not reach the data either.
            self.files.cut(attached.file)
            del self._attached[(client_id, global_id)]
            if loop.is_over(attached.loop.path, attached.file.name):
                loop.drop_cache(attached.loop.path)
                loop.unmake(attached.loop)

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Give all devices of a volume the size that its data file has now."""
        for key in [key for key in list(self._attached) if key[1] == global_id]:
            with self._changing(*key):
                attached = self._attached.get(key)
                if attached is not None:
                    self._resize(attached, size_bytes)

    def end(self) -> None:
        """End all attachments."""
        for client_id, global_id in list(self._attached):
            self.hide(client_id, global_id, cut=True)

    @contextlib.contextmanager
    def _changing(self, client_id: int, global_id: str) -> Iterator[None]:
        with self._locks.setdefault((client_id, global_id), threading.Lock()):
            yield

    def _attach(self, client_id: int, global_id: str, wanted: Wanted) -> _Attachment:
        name = f"{self._prefix}{client_id}-{global_id}-{next(self._serials)}"
        # The file and the loop device are writable for read-only attachments too, so that rights
        # can change in place.
        data = os.open(wanted.path, os.O_RDWR | os.O_CLOEXEC)
        file = fuse.File(name, global_id, client_id, data, wanted.size_bytes, wanted.read_only)
        self.files.add(file)
        try:
            opened = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self.files.folder_fd)
            try:
                device = loop.make(opened)
            finally:
                os.close(opened)
        except OSError:
            self.files.cut(file)
            raise
        if wanted.read_only:
            loop.set_read_only(device.path, True)
        return _Attachment(client_id, global_id, file, device)

    def _resize(self, attached: _Attachment, size_bytes: int) -> None:
        self.files.change(attached.file, size_bytes, attached.file.read_only)
        # The kernel is made to ask for the size again, under the lock that writes take too. It
        # drops the answer to a stat that a write overtakes; then what is beyond the old size
        # could not be read.
        opened = os.open(attached.file.name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self.files.folder_fd)
        try:
            for _ in range(RESIZE_TRIES):
                if os.lseek(opened, 0, os.SEEK_END) == size_bytes:
                    break
                os.stat(attached.file.name, dir_fd=self.files.folder_fd)
        finally:
            os.close(opened)
        loop.follow_size(attached.loop.path)

    def _set_read_only(self, attached: _Attachment, read_only: bool) -> None:
        file, path = attached.file, attached.loop.path
        if read_only:
            loop.set_read_only(path, True)
            loop.flush(path)  # what was written while it was allowed
            self.files.change(file, file.size_bytes, True)
        else:
            self.files.change(file, file.size_bytes, False)
            loop.set_read_only(path, False)

    def _remove_leftovers(self, folder: Path) -> None:
        """Remove the loop devices of a process that was killed; its files went with it."""
        for path in loop.over_files(self._prefix):
            loop.drop_cache(path)
            loop.release(path)
        folder.mkdir(mode=0o700, exist_ok=True)
        # Nothing is mounted there, unless a process was killed in just that moment.
        with contextlib.suppress(OSError):
            fuseprotocol.unmount(folder)
