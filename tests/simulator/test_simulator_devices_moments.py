"""devices.py: snapshots, reverts, holds and delays under programs that write."""

from __future__ import annotations

import os
import struct
import threading
import time

import pytest
from device_rig import (
    BLOCK,
    LIMIT_SECONDS,
    MIB,
    SIZE,
    DeviceRig,
    V,
    W,
    Writer,
    aligned,
    opened,
    put,
)

from rigs.clock import wait_until
from storpool_simulator.devices import devices


def test_a_snapshot_under_a_running_writer_is_a_point_in_time(loop: DeviceRig) -> None:
    """A snapshot holds a prefix of what the writer wrote, and the writer sees no error (T47)."""
    put(loop.show(1), b"f" * SIZE)  # so that a copy takes longer than the writer's turn
    with Writer(loop.show(1)) as writer:
        for number in range(10):
            before = writer.count
            with loop.devices.quiesce([V]):
                loop.files.copy(V, f"d.n.s{number}", SIZE)
            assert loop.files.path(f"d.n.s{number}").exists()
            assert Writer.is_point_in_time(loop.files.path(f"d.n.s{number}"))
            wait_until(lambda before=before: writer.count > before, "the writer to go on")  # type: ignore[misc]
    assert writer.problem is None


def test_a_group_snapshot_is_one_point_in_time(loop: DeviceRig) -> None:
    """Volumes held together give one instant: what was written second is never there without the
    first (T47)."""
    one, two = loop.show(1, V), loop.show(1, W)
    stop = threading.Event()
    turns = [0]

    def write() -> None:
        with (
            opened(one, os.O_RDWR | os.O_DIRECT) as first,
            opened(two, os.O_RDWR | os.O_DIRECT) as second,
        ):
            while not stop.is_set():
                turns[0] += 1
                memory = aligned(struct.pack("<Q", turns[0]) * (BLOCK // 8))
                os.pwrite(first, memory, 0)
                os.pwrite(second, memory, 0)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            before = turns[0]
            wait_until(lambda before=before: turns[0] > before, "the writer to go on")  # type: ignore[misc]
            with loop.devices.quiesce([V, W]):
                loop.files.copy(V, "d.n.sv", SIZE)
                loop.files.copy(W, "d.n.sw", SIZE)
            numbers = [
                struct.unpack_from("<Q", loop.files.path(copy).read_bytes())[0]
                for copy in ("d.n.sv", "d.n.sw")
            ]
            assert numbers[0] - numbers[1] in {0, 1}
    finally:
        stop.set()
        thread.join(LIMIT_SECONDS)


def test_a_revert_under_an_open_device_keeps_the_device(rig: DeviceRig) -> None:
    """After a revert the same open device reads the old content [kb]."""
    direct = os.O_DIRECT if rig.kind == "loop" else 0
    with opened(rig.show(1), os.O_RDWR | direct) as fd:
        os.pwrite(fd, aligned(b"1" * BLOCK), 0)
        rig.files.copy(V, W, SIZE)
        os.pwrite(fd, aligned(b"2" * BLOCK), 0)
        os.pwrite(fd, aligned(b"2" * BLOCK), 8 * MIB)
        with rig.devices.quiesce([V]):
            rig.files.overwrite(W, V, SIZE)
        memory = aligned(bytes(2 * BLOCK))
        os.preadv(fd, [memory], 0)
        assert memory[:] == b"1" * BLOCK + bytes(BLOCK)
        os.preadv(fd, [memory], 8 * MIB)
        assert memory[:] == bytes(2 * BLOCK)


def test_a_held_volume_does_not_hold_others_or_its_readers(loop: DeviceRig) -> None:
    """While one volume is copied, its reads and everything on other volumes go on."""
    with (
        opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as held,
        opened(loop.show(1, W), os.O_RDWR | os.O_DIRECT) as free,
    ):
        done = threading.Event()

        def write() -> None:
            os.pwrite(held, aligned(b"h" * BLOCK), 0)
            done.set()

        threads = [threading.Thread(target=write) for _ in range(100)]
        with loop.devices.quiesce([V]):
            for thread in threads:
                thread.start()
            for turn in range(100):
                os.pwrite(free, aligned(b"f" * BLOCK), turn * BLOCK)
                os.preadv(held, [aligned(bytes(BLOCK))], BLOCK)
            loop.show(2, "d.n.x")
            assert not done.is_set()
            assert loop.files.path(V).read_bytes()[:1] == b"\0"
        for thread in threads:
            thread.join(LIMIT_SECONDS)
        assert done.is_set()
    assert loop.files.path(V).read_bytes()[:BLOCK] == b"h" * BLOCK


def test_holds_may_overlap(loop: DeviceRig) -> None:
    """A volume that is held twice goes on when both have ended."""
    with opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as fd:
        thread = threading.Thread(target=os.pwrite, args=(fd, aligned(b"o" * BLOCK), 0))
        with loop.devices.quiesce([V, W]):
            with loop.devices.quiesce([V]):
                thread.start()
            os.preadv(fd, [aligned(bytes(BLOCK))], 0)
            assert loop.files.path(V).read_bytes()[:1] == b"\0"
        thread.join(LIMIT_SECONDS)
        assert loop.files.path(V).read_bytes()[:1] == b"o"


def test_a_held_writer_can_be_cut_off(loop: DeviceRig) -> None:
    """A write that waits when its host is forced off fails, and does not land when the hold ends
    (T80)."""
    with opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as fd:
        problems: list[OSError] = []

        def write() -> None:
            try:
                os.pwrite(fd, aligned(b"x" * BLOCK), 0)
            except OSError as problem:
                problems.append(problem)

        thread = threading.Thread(target=write)
        with loop.devices.quiesce([V]):
            thread.start()
            loop.devices.hide(1, V, cut=True)
            thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
        assert len(problems) == 1
    assert loop.files.path(V).read_bytes() == bytes(SIZE)


def test_a_host_can_be_made_slow(loop: DeviceRig) -> None:
    """A drill may delay every read and write of one host; others are as fast as before."""
    loop.devices.delay(1, 0.2)
    with (
        opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as slow,
        opened(loop.show(2), os.O_RDWR | os.O_DIRECT) as quick,
    ):
        before = time.monotonic()
        os.pwrite(slow, aligned(b"s" * BLOCK), 0)
        assert time.monotonic() - before >= 0.2
        loop.devices.delay(1, 0)
        assert loop.files.path(V).read_bytes()[:1] == b"s"
        loop.devices.delay(1, 3600)
        os.preadv(quick, [aligned(bytes(BLOCK))], 0)
        thread = threading.Thread(target=os.pwrite, args=(slow, aligned(b"t" * BLOCK), 0))
        thread.start()
        os.preadv(quick, [aligned(bytes(BLOCK))], 0)
        assert thread.is_alive()
        loop.devices.delay(1, 0)
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
    assert loop.files.path(V).read_bytes()[:1] == b"t"


def test_a_slow_host_can_be_cut_off_at_once(loop: DeviceRig) -> None:
    """What is on its long way when its host is forced off fails at once and never lands (T80)."""
    loop.devices.delay(1, 3600)
    with opened(loop.show(1)) as fd:
        os.pwrite(
            fd, b"late" * BLOCK, 0
        )  # whole pages: for a part of one the kernel would read it first
        loop.devices.hide(1, V, cut=True)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(fd)
    assert loop.files.path(V).read_bytes() == bytes(SIZE)


def test_plain_files_cannot_be_delayed(file: DeviceRig) -> None:
    """What a kind cannot do it says."""
    with pytest.raises(devices.DeviceError, match="plain files"):
        file.devices.delay(1, 1.0)
