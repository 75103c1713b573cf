"""devices.py: what hosts see: folders, links, data, sizes; on loop devices and on plain files."""

from __future__ import annotations

import fcntl
import os
import platform
import stat
import struct
from pathlib import Path

import pytest
from device_rig import BLOCK, MIB, SIZE, DeviceRig, V, W, aligned, opened, put

from rigs import mounts
from storpool_simulator.devices import devices

BLKGETSIZE64 = 0x80081272


# hosts' folders and links


def test_every_host_has_its_storpool_conf(rig: DeviceRig) -> None:
    """storpool.conf has the cluster's keys, SP_OURID in the section of the node's name, and is
    private [spconfig]."""
    conf = rig.folder / "host2" / "etc" / "storpool.conf"
    lines = conf.read_text().splitlines()
    section = lines.index(f"[{platform.node()}]")
    assert set(lines[1:section]) >= {
        "SP_API_HTTP_HOST=127.0.0.1",
        "SP_API_HTTP_PORT=8123",
        "SP_AUTH_TOKEN=1234567890",
        "SP_CLUSTER_ID=d.n",
        "SP_CLUSTER_NAME=demo",
    }
    assert lines[section + 1 :] == ["SP_OURID=2"]
    assert conf.stat().st_mode & 0o007 == 0


def test_the_device_is_there_when_show_returns(rig: DeviceRig) -> None:
    """After an attach the link by id exists without polling, and leads to something that reads
    zeros [pve] (T27)."""
    link = rig.show(1)
    assert link.is_symlink()
    with link.open("rb") as device:
        assert device.read() == bytes(SIZE)
    assert not rig.by_id(2).exists()


def test_loop_kind_gives_block_devices(loop: DeviceRig) -> None:
    """As root a host sees a real block device of the volume's size in sectors of 512 bytes [kb]
    [sptypes]."""
    link = loop.show(1, size=5 * 512)
    assert stat.S_ISBLK(link.stat().st_mode)
    assert size_of(link) == 5 * 512


def test_a_named_object_has_a_link_by_name_too(rig: DeviceRig) -> None:
    """/dev/storpool has the name, /dev/storpool-byid always the global id [kb] [brick-c]."""
    rig.show(1, name="os--volume-1")
    assert rig.by_name(1, "os--volume-1").resolve() == rig.by_id(1).resolve()
    rig.show(1, W)
    assert sorted(link.name for link in rig.by_name(1, "x").parent.iterdir()) == ["os--volume-1"]


def test_a_rename_moves_the_link_and_leaves_an_open_device_alone(rig: DeviceRig) -> None:
    """The link by name follows the name, the device stays the same [inf]."""
    link = rig.show(1, name="old")
    with opened(link) as fd:
        target = link.resolve()
        rig.show(1, name="new")
        assert link.resolve() == target == rig.by_name(1, "new").resolve()
        assert not rig.by_name(1, "old").is_symlink()
        rig.show(1)
        assert not rig.by_name(1, "new").is_symlink()
        os.pwrite(fd, b"still here", 0)
        os.fsync(fd)
    assert rig.files.path(V).read_bytes()[:10] == b"still here"


def test_two_objects_may_swap_their_names(rig: DeviceRig) -> None:
    """A name that has gone to another object is not taken away with the object that had it before
    [inf]."""
    rig.show(1, V, name="a")
    rig.show(1, W, name="a")
    rig.show(1, V, name="b")
    assert rig.by_name(1, "a").resolve() == rig.by_id(1, W).resolve()
    assert rig.by_name(1, "b").resolve() == rig.by_id(1, V).resolve()
    rig.devices.hide(1, V, cut=False)
    assert [link.name for link in rig.by_name(1, "a").parent.iterdir()] == ["a"]


@pytest.mark.parametrize("name", [".", "..", "#x:y-z.1", "x" * 199])
def test_every_name_that_storpool_allows_can_be_shown(rig: DeviceRig, name: str) -> None:
    """The pattern of names allows things that a folder cannot hold: those have the link by id alone
    [sptypes]."""
    rig.show(1, name=name)
    assert rig.by_id(1).exists()
    rig.devices.hide(1, V, cut=False)
    assert list(rig.by_name(1, "x").parent.iterdir()) == []


def test_showing_twice_is_one_device(rig: DeviceRig) -> None:
    """A repeated attach with the same rights is a success that changes nothing [brick-c] (T11)."""
    target = rig.show(1, name="a").resolve()
    assert rig.show(1, name="a").resolve() == target


def test_hide_takes_device_and_links_away_and_may_be_repeated(rig: DeviceRig) -> None:
    """After a detach no link is left; a detach of what is not attached is a success [cinder] (T16,
    T36)."""
    rig.show(1, name="a")
    rig.show(2, name="a")
    rig.devices.hide(1, V, cut=False)
    rig.devices.hide(1, V, cut=False)
    assert not rig.by_id(1).is_symlink()
    assert not rig.by_name(1, "a").is_symlink()
    assert rig.by_id(2).exists()


def test_a_client_without_a_folder_is_refused(rig: DeviceRig) -> None:
    """A device can only be shown to a host that was given."""
    rig.files.create(V, SIZE)
    with pytest.raises(devices.DeviceError, match="client 9"):
        rig.devices.show(9, devices.Node(V, None, rig.files.path(V), SIZE, read_only=False))


# reading and writing


def test_what_was_written_is_in_the_volume_after_a_detach(rig: DeviceRig) -> None:
    """A detach of a closed device loses nothing, whichever host reads next [kb]."""
    put(rig.show(1), b"w" * MIB)
    rig.devices.hide(1, V, cut=False)
    with rig.show(2).open("rb") as device:
        assert device.read(MIB) == b"w" * MIB
    assert rig.files.path(V).stat().st_size == SIZE


def test_two_hosts_see_each_others_writes(rig: DeviceRig) -> None:
    """What one host has written past its cache, the other reads: the basis of live migration
    [addon] [pve]."""
    direct = os.O_DIRECT if rig.kind == "loop" else 0
    with (
        opened(rig.show(1), os.O_RDWR | direct) as one,
        opened(rig.show(2), os.O_RDWR | direct) as two,
    ):
        for turn in range(20):
            writer, reader = (one, two) if turn % 2 else (two, one)
            content = struct.pack("<Q", turn) * (BLOCK // 8)
            os.pwrite(writer, aligned(content), turn % 3 * BLOCK)
            memory = aligned(bytes(BLOCK))
            os.preadv(reader, [memory], turn % 3 * BLOCK)
            assert memory[:] == content


def test_a_new_volume_on_a_used_device_reads_zeros(rig: DeviceRig) -> None:
    """A new volume reads zeros also where a deleted one was, through every cache (T27, T31)."""
    for _ in range(3):
        link = rig.show(1)
        with link.open("r+b") as device:
            assert device.read() == bytes(SIZE)
            device.seek(0)
            device.write(b"secret" * 1000)
        rig.devices.hide(1, V, cut=False)
        rig.files.remove(V)


def test_read_only_refuses_writes(rig: DeviceRig) -> None:
    """An attachment with rights ro cannot be written, buffered or direct, and can be read
    [sptypes]."""
    link = rig.show(1, read_only=True)
    if rig.kind == "file" and os.geteuid() == 0:
        assert (
            link.stat().st_mode & 0o222 == 0
        )  # modes do not bind root: a listed limit of plain files
        return
    for flags in (os.O_WRONLY, os.O_RDWR | os.O_DIRECT):
        with pytest.raises(PermissionError), opened(link, flags) as fd:
            os.pwrite(fd, aligned(b"x" * BLOCK), 0)
    assert rig.files.path(V).read_bytes() == bytes(SIZE)
    with opened(link, os.O_RDONLY) as fd:
        assert os.pread(fd, 10, 0) == bytes(10)


def test_rights_change_in_place(rig: DeviceRig) -> None:
    """ro to rw and back needs no new device, and an open one goes on [addon]."""
    link = rig.show(1, read_only=True)
    target = link.resolve()
    with opened(link, os.O_RDONLY) as fd:
        assert rig.show(1, read_only=False).resolve() == target
        with opened(link) as writer:
            os.pwrite(writer, b"now", 0)
            os.fsync(writer)
        assert os.pread(fd, 3, 0) == b"now"
        assert rig.show(1, read_only=True).resolve() == target
        assert os.pread(fd, 3, 0) == b"now"
    if rig.kind == "loop":
        with pytest.raises(PermissionError), opened(link) as writer:
            os.pwrite(writer, b"no more", 0)
    assert rig.files.path(V).read_bytes()[:3] == b"now"


def test_read_only_is_for_one_host_alone(loop: DeviceRig) -> None:
    """Each attachment has rights of its own [sptypes]."""
    loop.show(1, read_only=True)
    put(loop.show(2), b"rw")
    with loop.by_id(1).open("rb") as device:
        assert device.read(2) == b"rw"


def test_discard_gives_space_back(loop: DeviceRig) -> None:
    """Volumes are thin: a discarded range takes no space and reads zeros [kb]."""
    link = loop.show(1)
    put(link, b"d" * SIZE)
    assert loop.files.stored_bytes(V) >= SIZE
    mounts.run("blkdiscard", link)
    assert loop.files.stored_bytes(V) == 0
    with link.open("rb") as device:
        assert device.read() == bytes(SIZE)


def test_a_full_disk_below_is_an_error_and_not_a_success(loop: DeviceRig, tmp_path: Path) -> None:
    """When the data file cannot take a write, the writer is told so."""
    small = tmp_path / "small"
    small.mkdir()
    mounts.run("mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", small)
    try:
        data = small / "data"
        data.touch()
        os.truncate(data, SIZE)
        loop.devices.show(1, devices.Node(V, None, data, SIZE, read_only=False))
        with (
            opened(loop.by_id(1), os.O_RDWR | os.O_DIRECT) as fd,
            pytest.raises(OSError, match=r"space|Input/output"),
        ):
            os.pwrite(fd, aligned(b"f" * (4 * MIB)), 0)
        loop.devices.hide(1, V, cut=True)
    finally:
        mounts.run("umount", small)


# sizes


def size_of(path: Path) -> int:
    """What the device itself says."""
    if not stat.S_ISBLK(path.stat().st_mode):
        return path.stat().st_size
    with opened(path, os.O_RDONLY) as fd:
        (size,) = struct.unpack("Q", fcntl.ioctl(fd, BLKGETSIZE64, bytes(8)))
    return int(size)


def test_growing_is_seen_by_all_open_devices(rig: DeviceRig) -> None:
    """A resize has reached every attached device when it returns, open ones too, and the new part
    is usable (T38)."""
    links = [rig.show(1), rig.show(2)]
    with opened(links[0]) as fd:
        rig.files.resize(V, 2 * SIZE)
        rig.devices.resize(V, 2 * SIZE)
        assert [size_of(link) for link in links] == [2 * SIZE, 2 * SIZE]
        os.pwrite(fd, b"end", 2 * SIZE - 3)
        os.fsync(fd)
    assert rig.files.path(V).read_bytes()[-3:] == b"end"


def test_shrinking_keeps_later_growth_empty(rig: DeviceRig) -> None:
    """What a shrink cut off does not come back when the volume grows again (T27)."""
    link = rig.show(1)
    put(link, b"s" * SIZE)
    for size in (MIB, SIZE):
        rig.files.resize(V, size)
        rig.devices.resize(V, size)
        assert size_of(link) == size
    with link.open("rb") as device:
        assert device.read() == b"s" * MIB + bytes(SIZE - MIB)


def test_a_size_that_was_missed_is_taken_over_when_shown(rig: DeviceRig) -> None:
    """A simulator killed between the growth of the data and of the device heals when it starts
    again (D3)."""
    link = rig.show(1)
    rig.files.resize(V, 2 * SIZE)
    rig.show(1, size=2 * SIZE)
    assert size_of(link) == 2 * SIZE


def test_resize_of_something_that_is_not_attached_succeeds(rig: DeviceRig) -> None:
    """A volume without attachments needs no device to follow."""
    rig.devices.resize(W, MIB)
