"""What doctor writes for others: whole, with its mode, over nothing of anybody's."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_ovirt import errors
from storpool_ovirt.doctor import result_file

pytestmark = pytest.mark.fast
OURS = '{"program": "storpool-ovirt doctor 1.0"}\n'
USER = 54321  # in no list of users
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that only this user can write in."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def refusal(path: Path) -> str:
    """Return why a file is not written: before anybody waits, and then, in the same words."""
    with pytest.raises(errors.ConfigError) as before:
        result_file.check(str(path))
    with pytest.raises(errors.ConfigError) as then:
        result_file.write(str(path), OURS, 0o644)
    assert str(before.value) == str(then.value)
    return str(then.value)


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_file_is_there_with_its_mode_and_alone(place: Path, mode: int) -> None:
    """Whatever the umask: a new one, and the one after it; nothing else is left."""
    path = place / "doctor.json"
    old = os.umask(0o077)
    try:
        for content in (OURS, OURS * 2):
            result_file.check(str(path))
            result_file.write(str(path), content, mode)
            assert path.read_text() == content
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(old)
    assert [*place.iterdir()] == [path]


def test_who_reads_the_old_one_reads_it_to_its_end(place: Path) -> None:
    """The new one takes the name, the old one is not touched."""
    path = place / "doctor.json"
    result_file.write(str(path), OURS, 0o644)
    with path.open() as reading:
        result_file.write(str(path), OURS * 100, 0o644)
        assert reading.read() == OURS


def test_what_is_anybodys_stays(place: Path) -> None:
    """A link, also one that leads nowhere, a second name, a FIFO, a folder, a file that is none of
    doctor's: refused, and as it was."""
    theirs = place / "theirs"
    theirs.write_text("precious")
    for name in ("link", "dangling"):
        (place / name).symlink_to(theirs if name == "link" else place / "nowhere")
    os.link(theirs, place / "hard")
    os.mkfifo(place / "fifo")
    (place / "folder").mkdir()
    before = sorted((each.name, each.lstat().st_ino) for each in place.iterdir())
    for name in ("link", "dangling", "hard", "fifo", "folder"):
        assert "is there, and is no plain file: name another file" in refusal(place / name), name
    (place / "hard").unlink()
    before = [each for each in before if each[0] != "hard"]
    assert "is no file of doctor's" in refusal(theirs)
    assert theirs.read_text() == "precious"
    assert before == sorted((each.name, each.lstat().st_ino) for each in place.iterdir())


def test_a_folder_that_is_not_there(place: Path) -> None:
    """Is not made: it is a mistyped path, or a package that is missing."""
    assert "cannot be written (No such file or directory)" in refusal(place / "no" / "x.json")
    assert [*place.iterdir()] == []
    (place / "plain").touch()
    assert "is no name of a file in a folder" in refusal(place / "plain" / "x.json")


@needs_root
def test_in_a_users_folder_it_is_that_users(place: Path) -> None:
    """Root writes there with that user's rights: what that user could not replace is not
    replaced."""
    place.chmod(0o755)
    theirs = place / "theirs"
    theirs.mkdir()
    os.chown(theirs, USER, USER)
    result_file.write(str(theirs / "x.json"), OURS, 0o644)
    assert (theirs / "x.json").stat().st_uid == USER
    other = theirs / "root.json"
    other.write_text(OURS)
    assert "is another user's file" in refusal(other)
    (theirs / "away").symlink_to(place)
    assert "cannot be written (Permission denied)" in _written(theirs / "away" / "y.json")
    assert not (place / "y.json").exists()


def _written(path: Path) -> str:
    with pytest.raises(errors.ConfigError) as refused:
        result_file.write(str(path), OURS, 0o644)
    return str(refused.value)


@needs_root
def test_in_roots_folder_a_users_file_stays(place: Path) -> None:
    """Root would write it for that user, who would own what support gets: refused."""
    for mode in (0o755, 0o1777):
        place.chmod(mode)
        path = place / "x.html"
        path.write_text(OURS)
        os.chown(path, USER, USER)
        assert "is another user's file" in refusal(path)


@needs_root
def test_a_disk_that_is_full_leaves_the_old_one(place: Path) -> None:
    """And no half of the new one beside it."""
    path = place / "doctor.json"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        result_file.write(str(path), OURS, 0o644)
        assert os.strerror(errno.ENOSPC) in _written_much(path)
        assert path.read_text() == OURS
        assert [*place.iterdir()] == [path]
    finally:
        subprocess.run(["umount", place], check=True)


def _written_much(path: Path) -> str:
    with pytest.raises(errors.ConfigError) as refused:
        result_file.write(str(path), OURS * 10000, 0o644)
    return str(refused.value)
