"""Files whose reads and writes pass through this process: it can cut, hold and delay them.

This speaks the kernel's FUSE protocol on /dev/fuse itself. The Python libraries for it either
cannot answer a request later than the next one (fusepy, python-fuse) or need a compiler and a
system's libfuse3 (pyfuse3), and a held volume must not block the others.

One thread serves. All others may cut, hold, release and resize at any time; when such a call
returns, no request that it forbids is under way. Code of this process must never wait for a file of
its own from the serving thread.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable

from storpool_simulator.devices import fuseprotocol as protocol
from storpool_simulator.devices import storage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# What reading a request gives when the kernel has taken it back.
_TAKEN_BACK = frozenset({errno.ENOENT, errno.EINTR, errno.EAGAIN})


@dataclass
class File:
    """One file of the server: a window on a data file that can be closed at any time."""

    name: str
    volume: str
    """Holds name the volume, not the file: one volume may have several files."""
    group: int
    """Delays name a group of files."""
    fd: int
    size_bytes: int
    read_only: bool
    node_id: int = 0
    open_count: int = 0


@dataclass(order=True)
class _Late:
    due: float
    order: int
    request: _Request = field(compare=False)


@dataclass
class _Request:
    opcode: int
    unique: int
    file: File
    body: bytes | memoryview


class Server:
    """The connection to the kernel, and the files behind it.

    `folder_fd` opens the root folder. The mount is taken out of the tree at once, so that nobody
    else comes by it and no other mount namespace keeps a copy. It ends with the last user, even if
    this process is killed.
    """

    def __init__(self, folder: Path) -> None:
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            protocol.mount(folder, self._fuse)
        except OSError:
            os.close(self._fuse)
            raise
        self.folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        protocol.unmount(folder)
        self._lock = threading.Lock()
        self._timer = threading.Condition(self._lock)
        self._files: dict[int, File] = {}
        self._by_name: dict[str, File] = {}
        self._last_node_id = protocol.ROOT
        self._held: dict[str, int] = {}
        self._parked: list[_Request] = []
        self._delays: dict[int, float] = {}
        self._late: list[_Late] = []
        self._late_count = 0
        self._buffer = bytearray(protocol.LONGEST_REQUEST)
        self._view = memoryview(self._buffer)
        self._reading = memoryview(bytearray(protocol.MOST_BYTES))

    # What other threads ask for.

    def add(self, file: File) -> None:
        """Offer a file from now on.

        Its name is new, and its descriptor is the server's from here on.
        """
        with self._lock:
            self._last_node_id += 1
            file.node_id = self._last_node_id
            self._files[file.node_id] = self._by_name[file.name] = file

    def cut(self, file: File) -> None:
        """Let every read and write of this file fail from now on, those that wait too.

        Its data is out of reach.
        """
        with self._lock:
            if file.fd < 0:
                return
            os.close(file.fd)
            file.fd = -1
            waiting = [request for request in self._parked if request.file is file]
            self._parked = [request for request in self._parked if request.file is not file]
            for request in waiting:
                self._perform(request)
            self._hurry(lambda request: request.file is file)
            self._forget_if_unused(file)

    def change(self, file: File, size_bytes: int, read_only: bool) -> None:
        """Set what the file claims to be."""
        with self._lock:
            file.size_bytes = size_bytes
            file.read_only = read_only

    def hold(self, volumes: Iterable[str]) -> None:
        """Let writes to these volumes wait from now on; those under way are done. Reads go on."""
        with self._lock:
            for volume in volumes:
                self._held[volume] = self._held.get(volume, 0) + 1

    def release(self, volumes: Iterable[str]) -> None:
        """Take back one `hold`.

        When it was the last, what waited is done in the order in which it came.
        """
        with self._lock:
            for volume in volumes:
                self._held[volume] -= 1
                if not self._held[volume]:
                    del self._held[volume]
            ready = [request for request in self._parked if request.file.volume not in self._held]
            self._parked = [
                request for request in self._parked if request.file.volume in self._held
            ]
            for request in ready:
                self._perform(request)

    def delay(self, group: int, seconds: float) -> None:
        """Let every read and write of this group of files take so many seconds longer.

        0 ends that, also for those under way.
        """
        with self._lock:
            self._delays.pop(group, None)
            if seconds > 0:
                self._delays[group] = seconds
            else:
                self._hurry(lambda request: request.file.group == group)

    # What the kernel asks for.

    def serve(self) -> None:
        """Answer the kernel until it has let go of the mount."""
        threading.Thread(target=self._serve_late, name="fuse-late", daemon=True).start()
        protocol.serve_storage()
        while True:
            try:
                length = os.readv(self._fuse, [self._buffer])
            except OSError as problem:
                if problem.errno == errno.ENODEV:
                    return
                if problem.errno in _TAKEN_BACK:
                    continue
                raise
            with self._lock:
                self._take(length)

    def _take(self, length: int) -> None:
        _, opcode, unique, node_id, *_ = protocol.HEADER_IN.unpack_from(self._buffer)
        body = self._view[protocol.HEADER_IN.size : length]
        file = self._files.get(node_id)
        if opcode in protocol.MOVES_DATA and file is not None:
            self._take_data(_Request(opcode, unique, file, body))
        elif opcode not in protocol.UNANSWERED:
            try:
                answer = self._answer(opcode, node_id, file, body)
            except OSError as problem:
                self._reply(unique, problem.errno or errno.EIO)
            else:
                self._reply(unique, 0, answer)

    def _take_data(self, request: _Request) -> None:
        delay = self._delays.get(request.file.group)
        if delay is not None and request.file.fd >= 0:
            request.body = bytes(request.body)  # the buffer is used again at once
            self._late_count += 1
            heapq.heappush(self._late, _Late(time.monotonic() + delay, self._late_count, request))
            self._timer.notify()
        else:
            self._park_or_perform(request)

    def _park_or_perform(self, request: _Request) -> None:
        held = request.file.volume in self._held and request.file.fd >= 0
        if held and request.opcode in protocol.CHANGES_DATA:
            request.body = bytes(request.body)
            self._parked.append(request)
        else:
            self._perform(request)

    def _hurry(self, chosen: Callable[[_Request], bool]) -> None:
        hurried = sorted(late for late in self._late if chosen(late.request))
        self._late = [late for late in self._late if not chosen(late.request)]
        heapq.heapify(self._late)
        for late in hurried:
            self._park_or_perform(late.request)

    def _serve_late(self) -> None:
        with self._lock:
            while True:
                now = time.monotonic()
                while self._late and self._late[0].due <= now:
                    self._park_or_perform(heapq.heappop(self._late).request)
                self._timer.wait(self._late[0].due - now if self._late else None)

    def _perform(self, request: _Request) -> None:
        try:
            answer = _DATA[request.opcode](self, request.file, request.body)
        except OSError as problem:
            self._reply(request.unique, problem.errno or errno.EIO)
        else:
            self._reply(request.unique, 0, answer)

    def _read(self, file: File, body: bytes | memoryview) -> memoryview:
        _, offset, size = protocol.READ_IN.unpack_from(body)
        if file.fd < 0:
            raise OSError(errno.EIO, "cut off")
        size = min(size, protocol.MOST_BYTES, max(file.size_bytes - offset, 0))
        target = self._reading[:size]
        got = os.preadv(file.fd, [target], offset)
        if got < size:  # the data file is about to grow
            target[got:] = bytes(size - got)
        return target

    def _write(self, file: File, body: bytes | memoryview) -> bytes:
        _, offset, size, *_ = protocol.WRITE_IN.unpack_from(body)
        _refuse_change(file, offset, size)
        data = memoryview(body)[protocol.WRITE_IN.size : protocol.WRITE_IN.size + size]
        written = os.pwrite(file.fd, data, offset)
        # The loop driver takes a short write for a full one, so that no error would show.
        while written < size:
            written += os.pwrite(file.fd, data[written:], offset + written)
        return protocol.WRITE_OUT.pack(size, 0)

    def _fallocate(self, file: File, body: bytes | memoryview) -> bytes:
        _, offset, length, _, _ = protocol.FALLOCATE_IN.unpack_from(body)
        _refuse_change(file, offset, length)
        # Discard and write-zeroes are all that a loop device asks for, and a hole serves both.
        storage.zero(file.fd, offset, length)
        return b""

    def _answer(self, opcode: int, node_id: int, file: File | None, body: memoryview) -> bytes:
        if opcode == protocol.INIT:
            return protocol.init(body)
        if opcode == protocol.STATFS:
            return protocol.statfs()
        if opcode == protocol.LOOKUP:
            return self._look_up(bytes(body).rstrip(b"\0").decode())
        if file is not None:
            return self._answer_about(file, opcode)
        if node_id != protocol.ROOT:
            raise OSError(errno.ENOENT, "nothing of that kind is here")
        if opcode == protocol.GETATTR:
            return protocol.attributes(node_id, None)
        raise OSError(errno.ENOSYS, "nothing of that kind is here")

    def _look_up(self, name: str) -> bytes:
        found = self._by_name.get(name)
        if found is None:
            raise OSError(errno.ENOENT, "no such file")
        return protocol.entry(found.node_id, found.size_bytes)

    def _answer_about(self, file: File, opcode: int) -> bytes:
        if opcode == protocol.GETATTR:
            return protocol.attributes(file.node_id, file.size_bytes)
        if opcode == protocol.OPEN:
            file.open_count += 1
            return protocol.opened()
        if opcode == protocol.RELEASE:
            file.open_count -= 1
            self._forget_if_unused(file)
        elif opcode not in {protocol.FLUSH, protocol.FSYNC}:
            raise OSError(errno.ENOSYS, "not offered")
        # A flush is done: what was written is in the page cache of the data file, which is as far
        # as the module storage promises.
        return b""

    def _forget_if_unused(self, file: File) -> None:
        if not file.open_count and file.fd < 0:
            del self._files[file.node_id]
            del self._by_name[file.name]

    def _reply(self, unique: int, number: int, answer: bytes | memoryview = b"") -> None:
        length = protocol.HEADER_OUT.size + len(answer)
        header = protocol.HEADER_OUT.pack(length, -number, unique)
        with contextlib.suppress(FileNotFoundError):  # the request was taken back
            os.writev(self._fuse, [header, answer])


_DATA: dict[int, Callable[[Server, File, bytes | memoryview], bytes | memoryview]] = {
    protocol.READ: Server._read,
    protocol.WRITE: Server._write,
    protocol.FALLOCATE: Server._fallocate,
}


def _refuse_change(file: File, offset: int, length: int) -> None:
    if file.fd < 0:
        raise OSError(errno.EIO, "cut off")
    if file.read_only:
        raise OSError(errno.EROFS, "attached read-only")
    if offset + length > file.size_bytes:
        raise OSError(errno.ENOSPC, "beyond the end")
