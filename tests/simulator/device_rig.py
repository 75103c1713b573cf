"""What the tests of the simulator's devices share: three hosts, their folders, and who writes
there."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs.clock import wait_until
from storpool_simulator.devices import devices, storage

if TYPE_CHECKING:
    from collections.abc import Iterator


MIB = 1 << 20


SIZE = 16 * MIB


V, W = "d.n.v", "d.n.w"


BLOCK = 4096


CONFIG = devices.HostConfig("127.0.0.1", 8123, "1234567890", "d.n", "demo")


LIMIT_SECONDS = 20.0


class DeviceRig:
    """Three hosts, their folders, and the data files behind them."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder
        self.kind = kind
        self.files = storage.Storage(folder / "state" / "data")
        self.devices = self.again()

    def again(self) -> devices.Devices:
        """Start Devices, as every run of the API does."""
        hosts = {number: self.folder / f"host{number}" for number in (1, 2, 3)}
        self.devices = devices.Devices(self.kind, self.folder / "state", hosts)
        self.devices.start(CONFIG)
        return self.devices

    def show(
        self,
        client_id: int,
        global_id: str = V,
        name: str | None = None,
        read_only: bool = False,
        size: int = SIZE,
    ) -> Path:
        """Attach, and create before when needed; answers the link by id."""
        if not self.files.path(global_id).exists():
            self.files.create(global_id, size)
        node = devices.Node(global_id, name, self.files.path(global_id), size, read_only)
        self.devices.show(client_id, node)
        return self.by_id(client_id, global_id)

    def by_id(self, client_id: int, global_id: str = V) -> Path:
        """The link that every attachment has."""
        return self.folder / f"host{client_id}" / "dev" / "storpool-byid" / global_id

    def by_name(self, client_id: int, name: str) -> Path:
        """The link that a named one has."""
        return self.folder / f"host{client_id}" / "dev" / "storpool" / name

    def digest(self, global_id: str = V) -> str:
        """What the data is now."""
        return hashlib.sha256(self.files.path(global_id).read_bytes()).hexdigest()


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    """A descriptor for a while."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def put(path: Path, content: bytes) -> None:
    """Write as one writes to a device: without cutting a plain file short."""
    with path.open("r+b") as device:
        device.write(content)


def aligned(content: bytes) -> mmap.mmap:
    """Memory as O_DIRECT wants it."""
    memory = mmap.mmap(-1, (len(content) + BLOCK - 1) // BLOCK * BLOCK)
    memory[: len(content)] = content
    return memory


def loop_obstacle(folder: Path) -> str | None:
    """Why there are no loop devices here."""
    try:
        devices.Devices("loop", folder, {})
    except devices.DeviceError as problem:
        return str(problem)
    return None


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[DeviceRig]:
    """Loop devices."""
    obstacle = loop_obstacle(tmp_path / "state")
    if obstacle:
        pytest.skip(obstacle)
    rig = DeviceRig("loop", tmp_path)
    try:
        yield rig
    finally:
        rig.devices.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DeviceRig]:
    """Plain files."""
    rig = DeviceRig("file", tmp_path)
    try:
        yield rig
    finally:
        rig.devices.close()


@pytest.fixture(params=["loop", "file"])
def rig(request: pytest.FixtureRequest) -> DeviceRig:
    """Both kinds, one after the other."""
    chosen: DeviceRig = request.getfixturevalue(request.param)
    return chosen


# points in time


class Writer:
    """Writes a growing number to block 0, 1, ... in order, each write done before the next."""

    BLOCKS = 8

    def __init__(self, path: Path, direct: bool = True) -> None:
        self.count = 0
        self._flags = os.O_RDWR | (os.O_DIRECT if direct else 0)
        self.problem: OSError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(path,))

    def __enter__(self) -> Writer:
        self._thread.start()
        wait_until(lambda: self.count > 20, "the writer to be at work")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive()

    def _write(self, path: Path) -> None:
        memory = aligned(bytes(BLOCK))
        try:
            with opened(path, self._flags) as fd:
                while not self._stop.is_set():
                    memory[:] = struct.pack("<Q", self.count + 1) * (BLOCK // 8)
                    for block in range(self.BLOCKS):
                        os.pwrite(fd, memory, block * MIB)
                    self.count += 1
        except OSError as problem:
            self.problem = problem

    @classmethod
    def is_point_in_time(cls, path: Path) -> bool:
        """Is this what a power failure could have left?"""
        content = path.read_bytes()
        whole = [content[block * MIB : block * MIB + BLOCK] for block in range(cls.BLOCKS)]
        numbers = [struct.unpack_from("<Q", block)[0] for block in whole]
        torn = any(block != block[:8] * (BLOCK // 8) for block in whole)
        return (
            not torn and numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1
        )
