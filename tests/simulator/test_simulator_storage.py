"""The simulator's data files: sparse, copied as a whole or not at all, never showing what was there
before."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from storpool_simulator.devices import storage

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
A, B = "d.n.a", "d.n.b"


@pytest.fixture
def files(tmp_path: Path) -> storage.Storage:
    """Data files in a folder of their own."""
    return storage.Storage(tmp_path / "data")


def fill(files: storage.Storage, global_id: str, at: int, content: bytes) -> None:
    """Write as a host does."""
    with files.path(global_id).open("r+b") as file:
        file.seek(at)
        file.write(content)


def read(files: storage.Storage, global_id: str) -> bytes:
    """All of it."""
    return files.path(global_id).read_bytes()


def test_new_volume_reads_zeros_and_takes_no_space(files: storage.Storage) -> None:
    """A new volume reads zeros everywhere and is thin [kb]."""
    files.create(A, 16 * MIB)
    assert read(files, A) == bytes(16 * MIB)
    assert files.stored_bytes(A) == 0


def test_new_volume_never_shows_what_a_deleted_one_held(files: storage.Storage) -> None:
    """New volumes never expose old data, not even where a file of the same id was left (T27)."""
    files.create(A, MIB)
    fill(files, A, 0, b"secret" * 1000)
    files.remove(A)
    files.create(A, MIB)
    assert read(files, A) == bytes(MIB)
    fill(files, A, 0, b"secret" * 1000)
    files.create(A, 2 * MIB)
    assert read(files, A) == bytes(2 * MIB)


def test_data_files_are_private(files: storage.Storage) -> None:
    """What guests wrote is readable for the simulator's own user only."""
    files.create(A, MIB)
    files.copy(A, B, MIB)
    assert {path.stat().st_mode & 0o777 for path in (files.path(A), files.path(B))} == {0o600}


def test_copy_has_the_content_and_keeps_holes(files: storage.Storage) -> None:
    """A snapshot or clone has the bytes of its source and takes space only for what was written."""
    files.create(A, 64 * MIB)
    fill(files, A, 5 * MIB, b"x" * MIB)
    fill(files, A, 63 * MIB, b"y" * MIB)
    files.copy(A, B, 64 * MIB)
    assert read(files, B) == read(files, A)
    assert files.stored_bytes(B) <= 3 * MIB


def test_copy_does_not_follow_its_source(files: storage.Storage) -> None:
    """After a copy, writing to either side does not show on the other."""
    files.create(A, MIB)
    fill(files, A, 0, b"before")
    files.copy(A, B, MIB)
    fill(files, A, 0, b"source")
    fill(files, B, 100, b"target")
    assert read(files, B)[:6] == b"before"
    assert read(files, A)[100:106] == bytes(6)


@pytest.mark.parametrize("size", [512, MIB - 512, MIB, MIB + 512, 4 * MIB])
def test_copy_is_cut_or_grown_with_zeros(files: storage.Storage, size: int) -> None:
    """A clone of another size has the data of its source up to the smaller size, then zeros
    (T6)."""
    files.create(A, MIB)
    fill(files, A, 0, b"z" * MIB)
    files.copy(A, B, size)
    assert read(files, B) == (b"z" * MIB + bytes(4 * MIB))[:size]


def test_copy_that_fails_leaves_nothing(files: storage.Storage) -> None:
    """A copy appears whole or not at all: one that fails leaves no target and no unfinished file
    (T3)."""
    files.create(A, MIB)
    with pytest.raises(OSError, match="File too large"):
        files.copy(A, B, 1 << 62)
    assert list(files.ids()) == [A]
    assert list(files.path(B).parent.iterdir()) == [files.path(A)]


def test_what_never_held_data_has_no_file(files: storage.Storage) -> None:
    """It takes nothing, a copy of it has no file either, another length changes nothing; a file
    comes when somebody is to write, and is not made anew when it is there."""
    assert (files.file_bytes(A), files.stored_bytes(A)) == (None, 0)
    files.copy(A, B, MIB)
    files.resize(A, 2 * MIB)
    files.overwrite(A, B, MIB)
    files.remove(A)
    assert files.sizes() == {}
    files.ensure(A, MIB)
    fill(files, A, 0, b"data")
    files.ensure(A, MIB)
    assert (read(files, A), files.sizes()) == (b"data" + bytes(MIB - 4), {A: MIB})
    files.copy(B, A, 2 * MIB)
    assert (read(files, A), files.sizes()) == (bytes(2 * MIB), {A: 2 * MIB})


@pytest.mark.parametrize("size", [MIB // 2, MIB, 3 * MIB])
def test_overwrite_with_what_never_held_data(files: storage.Storage, size: int) -> None:
    """A revert to it makes the target read zeros in the same inode; one from it makes a file."""
    files.create(B, MIB)
    fill(files, B, 0, b"old" * 1000)
    inode = files.path(B).stat().st_ino
    files.overwrite(A, B, size)
    assert (files.path(B).stat().st_ino, read(files, B)) == (inode, bytes(size))
    fill(files, B, 0, b"new")
    files.overwrite(B, A, size)
    assert read(files, A) == b"new" + bytes(size - 3)


@pytest.mark.parametrize("size", [MIB // 2, MIB, 3 * MIB])
def test_overwrite_replaces_the_content_in_the_same_inode(
    files: storage.Storage, size: int
) -> None:
    """A revert replaces the content in place, so devices over the file stay attached [kb]."""
    files.create(A, MIB)
    fill(files, A, 0, b"new" * 1000)
    files.create(B, 2 * MIB)
    fill(files, B, MIB // 4, b"old" * 500_000)
    inode = files.path(B).stat().st_ino
    files.overwrite(A, B, size)
    assert files.path(B).stat().st_ino == inode
    assert read(files, B) == (read(files, A) + bytes(3 * MIB))[:size]


def test_overwrite_frees_what_the_source_does_not_hold(files: storage.Storage) -> None:
    """Where the source has a hole, the target has one afterwards."""
    files.create(A, 16 * MIB)
    files.create(B, 16 * MIB)
    fill(files, B, 0, b"old" * (4 * MIB))
    files.overwrite(A, B, 16 * MIB)
    assert read(files, B) == bytes(16 * MIB)
    assert files.stored_bytes(B) == 0


def test_resize_grows_with_zeros_also_after_a_shrink(files: storage.Storage) -> None:
    """Growing gives zeros, and what a shrink cut off does not come back (T20, T27)."""
    files.create(A, MIB)
    fill(files, A, 0, b"d" * MIB)
    files.resize(A, 4096)
    files.resize(A, MIB)
    assert read(files, A) == b"d" * 4096 + bytes(MIB - 4096)


def test_a_file_that_is_attached_read_only_can_still_be_changed(files: storage.Storage) -> None:
    """The mode that tells a host it may not write does not stop the cluster's own revert and
    resize."""
    files.create(A, MIB)
    files.create(B, MIB)
    fill(files, A, 0, b"abc")
    files.path(B).chmod(0o400)
    files.overwrite(A, B, MIB)
    files.resize(B, 2 * MIB)
    assert read(files, B)[:3] == b"abc"
    assert files.path(B).stat().st_mode & 0o777 == 0o400


def test_remove_of_an_absent_file_succeeds(files: storage.Storage) -> None:
    """Removing what is not there is fine (T7)."""
    files.remove(A)
    files.create(A, MIB)
    files.remove(A)
    files.remove(A)
    assert not files.path(A).exists()


def test_ids_are_those_of_finished_files(files: storage.Storage) -> None:
    """What a killed run left unfinished is not listed, and is gone after the next start."""
    files.create(A, MIB)
    unfinished = files.path("~" + B)
    unfinished.write_bytes(b"half")
    assert list(files.ids()) == [A]
    again = storage.Storage(files.path(A).parent)
    assert not unfinished.exists()
    assert list(again.ids()) == [A]


def test_zero_works_where_holes_are_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without holes the zeros are written."""
    monkeypatch.setattr(storage, "PUNCH_HOLE", 0x80)  # a mode that no kernel offers
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 * MIB))
    fd = os.open(path, os.O_RDWR)
    try:
        storage.zero(fd, 10, 2 * MIB)
    finally:
        os.close(fd)
    assert path.read_bytes() == b"x" * 10 + bytes(2 * MIB) + b"x" * (MIB - 10)


def test_copy_shares_data_where_the_file_system_can(files: storage.Storage) -> None:
    """Snapshots and clones share data without copying it (XFS, Btrfs)."""
    files.create(A, MIB)
    files.create(B, MIB)
    fill(files, A, 0, b"s" * MIB)
    with files.path(A).open("rb") as source, files.path(B).open("r+b") as target:
        try:
            fcntl.ioctl(target, storage.FICLONE, source.fileno())
        except OSError:
            pytest.skip("this file system cannot share data between files")
    files.copy(A, B, MIB)
    assert read(files, B) == b"s" * MIB
