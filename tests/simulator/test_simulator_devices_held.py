"""devices.py: who holds a device, and how a holder is cut off."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import subprocess
from pathlib import Path

import pytest
from device_rig import BLOCK, MIB, SIZE, DeviceRig, V, aligned, opened, put

from rigs import mounts
from rigs.clock import wait_until
from storpool_simulator.devices import devices

# who holds it


def test_a_closed_device_has_no_holders(rig: DeviceRig) -> None:
    """A device that nobody has open may be detached without force [kb] (T36)."""
    rig.show(1)
    assert rig.devices.holders(1, V) == ()
    assert rig.devices.holders(2, V) == ()


def test_an_open_descriptor_is_seen_on_its_own_host_only(rig: DeviceRig) -> None:
    """A process that has the device open holds it, on the host whose device it opened [brick-c]."""
    rig.show(2)
    with opened(rig.show(1), os.O_RDONLY):
        (holder,) = rig.devices.holders(1, V)
        assert holder.startswith(f"pid {os.getpid()} ")
        assert rig.devices.holders(2, V) == ()
    assert rig.devices.holders(1, V) == ()


def test_another_process_is_seen(rig: DeviceRig) -> None:
    """The holder is named by its process id and its program."""
    with (
        rig.show(1).open("rb") as device,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=device) as child,
    ):
        device.close()
        wait_until(
            lambda: rig.devices.holders(1, V) == (f"pid {child.pid} cat",), "cat as the only holder"
        )
        assert child.stdin is not None
        child.stdin.close()
    assert rig.devices.holders(1, V) == ()


def test_a_memory_map_holds_it(rig: DeviceRig) -> None:
    """A map keeps a device in use after its descriptor was closed."""
    with opened(rig.show(1)) as fd:
        memory = mmap.mmap(fd, BLOCK)
    memory.close() if rig.devices.holders(1, V) == () else None
    assert not memory.closed, "the map was not seen"
    memory.close()
    assert rig.devices.holders(1, V) == ()


def test_a_mount_holds_it(loop: DeviceRig, tmp_path: Path) -> None:
    """A mounted file system holds the device, though no process has it open [kb]."""
    link = loop.show(1)
    point = tmp_path / "mnt"
    with mounts.mounted(link, point):
        assert loop.devices.holders(1, V) == (f"mounted at {point}",)
    # Another program's mount namespace may have a copy of the mount until it ends.
    wait_until(lambda: loop.devices.holders(1, V) == (), "the last copy of the mount to be gone")


def test_a_mount_in_another_namespace_holds_it(loop: DeviceRig, tmp_path: Path) -> None:
    """A host that is a mount namespace of its own hides its mounts from the rest of the machine,
    but not from this."""
    link = loop.show(1)
    point = tmp_path / "mnt"
    with mounts.mounted_elsewhere(link, point):
        assert not os.path.ismount(point)
        assert loop.devices.holders(1, V) == (f"mounted at {point}",)
    wait_until(lambda: loop.devices.holders(1, V) == (), "the namespace to be gone")


def test_a_loop_device_over_a_plain_file_holds_it(file: DeviceRig, loop: DeviceRig) -> None:
    """Root may use a plain file through a loop device of his own, which no process has open."""
    link = file.show(1)
    made = subprocess.run(
        ["losetup", "-f", "--show", link], check=True, capture_output=True, text=True
    )
    try:
        assert file.devices.holders(1, V) == (
            f"loop device {made.stdout.strip().rpartition('/')[2]}",
        )
    finally:
        mounts.run("losetup", "-d", made.stdout.strip())


# cutting off


def test_a_direct_writer_is_cut_off(loop: DeviceRig) -> None:
    """After a forced detach, I/O on the old device fails, the data is as it was, the other host
    goes on [inf] (T80)."""
    with (
        opened(loop.show(1), os.O_RDWR | os.O_DIRECT) as old,
        opened(loop.show(2), os.O_RDWR | os.O_DIRECT) as new,
    ):
        os.pwrite(old, aligned(b"o" * BLOCK), 0)
        loop.devices.hide(1, V, cut=True)
        before = loop.digest()
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                os.pwrite(old, aligned(b"late" * 1024), 0)
            with pytest.raises(OSError, match="Input/output"):
                os.preadv(old, [aligned(bytes(BLOCK))], 0)
        assert loop.digest() == before
        os.pwrite(new, aligned(b"n" * BLOCK), BLOCK)
        assert loop.files.path(V).read_bytes()[: 2 * BLOCK] == b"o" * BLOCK + b"n" * BLOCK


def test_dirty_pages_never_land_after_a_cut(loop: DeviceRig) -> None:
    """What a cut host has in its cache is lost, and its cached reads fail too (T80)."""
    with opened(loop.show(1)) as fd:
        os.pwrite(fd, b"clean", 8 * MIB)
        os.fsync(fd)
        with loop.devices.quiesce([V]):  # so that the kernel does not write out early
            os.pwrite(fd, b"dirty" * BLOCK, 0)
            before = loop.digest()
            loop.devices.hide(1, V, cut=True)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(fd)
        for offset in (0, 8 * MIB):
            with pytest.raises(OSError, match="Input/output"):
                os.pread(fd, 10, offset)
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"again", 0)
            os.fsync(fd)
    assert loop.digest() == before


def test_a_mounted_file_system_is_cut_off(loop: DeviceRig, tmp_path: Path) -> None:
    """A mounted file system whose volume is detached by force fails, and nothing of it lands any
    more (T31, T80)."""
    link = loop.show(1)
    point = tmp_path / "mnt"
    with mounts.mounted(link, point):
        (point / "first").write_bytes(b"f" * MIB)
        os.sync()
        (point / "second").write_bytes(b"s" * MIB)
        loop.devices.hide(1, V, cut=True)
        before = loop.digest()
        with (
            pytest.raises(OSError, match=r"Input/output|Read-only"),
            (point / "third").open("wb") as third,
        ):
            third.write(b"t" * MIB)
            os.fsync(third.fileno())
        os.sync()
    assert loop.digest() == before
    with loop.show(1).open("rb") as device:
        assert device.read() == loop.files.path(V).read_bytes()


def test_the_device_of_a_cut_holder_never_becomes_another_volume(loop: DeviceRig) -> None:
    """While someone still holds the old device open, its node serves nobody else (T31)."""
    with opened(loop.show(1)) as fd:
        old = loop.by_id(1).resolve()
        loop.devices.hide(1, V, cut=True)
        for number in range(20):
            assert loop.show(1, f"d.n.{number}").resolve() != old
        assert loop.show(1).resolve() != old
        with pytest.raises(OSError, match="Input/output"):
            os.pread(fd, 1, 0)


def test_who_slips_in_before_a_plain_detach_reaches_nothing_either(rig: DeviceRig) -> None:
    """A device that is opened between the look and the detach is dead as well (T31)."""
    with opened(rig.show(1)) as fd:
        os.pwrite(fd, b"in time", 0)
        rig.devices.hide(1, V, cut=False)
        before = rig.digest()
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"too late", 0)
            os.fsync(fd)
        assert rig.digest() == before
    assert rig.files.path(V).read_bytes()[:7] == b"in time"


def test_a_plain_file_holder_is_left_with_a_dead_inode(file: DeviceRig) -> None:
    """Kind file: after a cut the old holder writes to an inode that is nobody's; the other host's
    path has the data."""
    with opened(file.show(1)) as old:
        os.pwrite(old, b"before", 0)
        other = file.show(2)
        file.devices.hide(1, V, cut=True)
        os.pwrite(old, b"after!", 0)
    other.open("r+b").close()
    assert other.read_bytes()[:6] == b"before"
    with other.open("r+b") as device:
        device.write(b"other!")
    assert file.files.path(V).read_bytes()[:6] == b"other!"


def test_plain_files_refuse_a_cut_while_another_host_has_it_open(file: DeviceRig) -> None:
    """Kind file: a cut that would disturb another host's open device is refused before anything has
    changed."""
    with opened(file.show(1)) as one, opened(file.show(2)):
        with pytest.raises(devices.DeviceError, match="client 1 while client 2"):
            file.devices.hide(1, V, cut=True)
        assert file.by_id(1).exists()
        os.pwrite(one, b"same", 0)
        assert file.by_id(2).read_bytes()[:4] == b"same"


def test_several_hosts_can_be_cut_off_together(rig: DeviceRig) -> None:
    """One request may force several hosts off at once, plain files included [addon]."""
    with opened(rig.show(1)) as one, opened(rig.show(3)) as three:
        rig.show(2)
        rig.devices.hide_all([(1, V), (3, V)], cut=True)
        for fd in (one, three):
            with contextlib.suppress(OSError):
                os.pwrite(fd, b"late", 0)
                os.fsync(fd)
        with rig.by_id(2).open("rb") as device:
            assert device.read() == bytes(SIZE)
    assert rig.digest() == hashlib.sha256(bytes(SIZE)).hexdigest()


def test_reattaching_after_a_cut_works_while_the_old_holder_lives(rig: DeviceRig) -> None:
    """A host that was forced off may have the volume again; the old descriptor stays dead (T56)."""
    with opened(rig.show(1)) as old:
        rig.devices.hide(1, V, cut=True)
        put(rig.show(1), b"again")
        with contextlib.suppress(OSError):
            os.pwrite(old, b"zombi", 0)
            os.fsync(old)
        with rig.by_id(1).open("rb") as device:
            assert device.read(5) == b"again"
