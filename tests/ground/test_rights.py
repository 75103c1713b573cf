"""rights.py: what root does where another user can replace things is done with that user's
rights."""

from __future__ import annotations

import ast
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cinder_driver
import storpool_ovirt
from storpool_ovirt import rights

USER = 54321  # in no list of users
OTHER = 54322
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can take another user's rights"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that others can look into, in one that all can write in."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def owned(path: Path, uid: int = USER, mode: int = 0o755) -> Path:
    """Give a folder, made when missing, to a user."""
    path.mkdir(exist_ok=True)
    path.chmod(mode)
    os.chown(path, uid, uid)
    return path


def ids() -> tuple[int, int, list[int], set[Any]]:
    """Return what this process may do, and which signals it does not take."""
    return os.geteuid(), os.getegid(), os.getgroups(), signal.pthread_sigmask(signal.SIG_BLOCK, [])


@needs_root
def test_the_first_who_is_not_root_decides(place: Path) -> None:
    """Whoever owns a folder on the way has all below it in hand, whomever that belongs to."""
    assert rights.holder(str(place / "missing" / "deeper")) is None
    theirs = owned(place / "theirs")
    (theirs / "roots").mkdir()
    owned(theirs / "others", OTHER)
    for path in (theirs, theirs / "missing", theirs / "roots" / "x", theirs / "others" / "x"):
        assert rights.holder(str(path)) == rights.User(USER, rights.NOBODY), path
    (place / "file").touch()
    os.chown(place / "file", OTHER, OTHER)
    assert rights.holder(str(place / "file")) == rights.User(OTHER, rights.NOBODY)
    assert rights.holder(f"{place}/theirs/../file/x/..") == rights.User(USER, rights.NOBODY)


@needs_root
def test_a_link_that_only_root_can_replace_is_followed(place: Path) -> None:
    """Its target decides, relative or absolute; a loop ends; a link of a user's is that user's."""
    owned(place / "theirs")
    (place / "absolute").symlink_to(place / "theirs")
    (place / "relative").symlink_to("sub/../theirs")
    (place / "sub").mkdir()
    (place / "loop").symlink_to("loop")
    (place / "plain").symlink_to("/etc/passwd")
    for name in ("absolute/x", "relative", "absolute"):
        assert rights.holder(str(place / name)) == rights.User(USER, rights.NOBODY), name
    assert rights.holder(str(place / "loop")) is None
    assert rights.holder(str(place / "plain")) is None
    os.lchown(place / "plain", USER, USER)
    assert rights.holder(str(place / "plain")) == rights.User(USER, rights.NOBODY)


@needs_root
@pytest.mark.parametrize(("mode", "gid"), [(0o777, 0), (0o775, 7), (0o757, 0)])
def test_a_folder_that_others_can_write_in_is_anybodys(place: Path, mode: int, gid: int) -> None:
    """Nobody in particular decides, so nobody's rights are taken; root's own group is root."""
    (place / "open").mkdir()
    os.chown(place / "open", 0, gid)
    (place / "open").chmod(mode)
    (place / "open" / "file").touch()
    for path in ("open", "open/file", "open/missing"):
        assert rights.holder(str(place / path)) == rights.ANYBODY, path
    (place / "open").chmod(0o775)
    os.chown(place / "open", 0, 0)
    assert rights.holder(str(place / "open" / "file")) is None


@needs_root
def test_a_folder_that_lists_further_users_is_anybodys(place: Path) -> None:
    """An access control list shows as bits of the group, which is root's."""
    entries = [
        (1, 7, -1),
        (2, 7, USER),
        (4, 5, -1),
        (16, 7, -1),
        (32, 5, -1),
    ]  # linux/posix_acl.h: tag, bits, id
    listed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(place, "system.posix_acl_access", listed)
    except OSError:
        pytest.skip("needs a file system with access control lists")
    assert rights.holder(str(place / "file")) == rights.ANYBODY


@needs_root
def test_in_a_sticky_folder_what_is_roots_is_roots(place: Path) -> None:
    """As in /tmp: what is missing anybody can make, a hard link anybody can have made."""
    sticky = place / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "mine").mkdir()
    (sticky / "file").touch()
    (sticky / "theirs").touch()
    os.chown(sticky / "theirs", USER, USER)
    assert rights.holder(str(sticky / "mine" / "x")) is None
    assert rights.holder(str(sticky / "file")) is None
    assert rights.holder(str(sticky / "theirs")) == rights.User(USER, rights.NOBODY)
    assert rights.holder(str(sticky / "missing")) == rights.ANYBODY
    os.link(sticky / "file", sticky / "second")
    assert rights.holder(str(sticky / "second")) == rights.ANYBODY


@needs_root
def test_a_user_has_the_group_that_the_list_of_users_tells(place: Path) -> None:
    """Never that of the folder, which root may have given it: it could be root's."""
    owned(place / "theirs", 1)
    os.chown(place / "theirs", 1, 0)
    assert rights.holder(str(place / "theirs")) == rights.User(1, 1), (
        "the user daemon has group 1 everywhere"
    )


@needs_root
def test_rights_are_taken_and_given_back(place: Path) -> None:
    """User, group and all other groups; also after an error; and what is taken twice is taken
    once."""
    before = ids()
    with rights.taken(rights.User(USER, OTHER)):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (USER, OTHER, [])
        with rights.taken(rights.User(OTHER, OTHER)):
            assert os.geteuid() == USER
        with pytest.raises(PermissionError):
            (place / "x").touch()
        (owned_file := Path(tempfile.gettempdir()) / f"rights-{os.getpid()}").touch()
    assert owned_file.stat().st_uid == USER
    owned_file.unlink()
    assert ids() == before
    with pytest.raises(ZeroDivisionError), rights.taken(rights.User(USER, USER)):
        raise ZeroDivisionError
    assert ids() == before
    with rights.taken(None):
        assert ids() == before


@needs_root
def test_rights_that_cannot_be_had_are_an_error() -> None:
    """In a user namespace that knows no other user nothing is done, and nothing has changed."""
    code = """
import os
from storpool_ovirt import rights
print(rights.holder("/"))
try:
    with rights.taken(rights.User(54321, 54321)):
        print("done")
except OSError:
    print("refused")
print(os.geteuid(), os.getegid())
"""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("needs unshare (util-linux) and user namespaces")
    assert done.stdout.split() == ["None", "refused", "0", "0"], done.stderr


def test_whoever_is_not_root_has_their_own_rights() -> None:
    """Nothing is taken, whatever the path."""
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(rights.__file__).parent.parent)!r})
from storpool_ovirt import rights
os.geteuid() or os.setuid(65534)
assert rights.of("/tmp/x/y") is None
with rights.taken(rights.User(1, 1)):
    assert os.geteuid() == os.getuid() != 1
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr


# Who opens files, makes or removes some by themselves, and why that needs no other user's rights.
ALONE = {
    "engine_token": "a descriptor that rights.py opened, in a folder of root's alone",
    "rights": "the place for it",
    "program": "/dev/null",
    "console": "/dev/null",
    "openers": "/proc and /sys",
    "placing": "with the rights of whoever could replace what is there",
    "process": "/proc",
    "processes": "/proc",
    "child": "/proc",
    "run": "/dev/null",
    "asking": "memory",
    "dispatcher": "/proc",
    "client_file": "in a folder that it refuses where another user can replace it",
    "diversion": "opens that folder, to lock it",
    "devices": "/sys",
    "agent": "its own stdin",
    "vm_hook": "runs as user vdsm, whose file it is",
    "vdsm_rows": "in a folder that run_links opened",
    "run_links": "in a folder that it opened with the rights of whoever could replace it",
    "__main__": "with rights taken",
    "result_file": "with rights taken",
    "__init__": "Vdsm's own code, by Vdsm's own Python, which has no rights.py",
}
TOUCHING = set(
    (
        "open makedirs mkdir mkfifo mknod unlink rmdir symlink hardlink_to symlink_to chown fchown "
        "lchown chmod truncate utime rmtree read_text read_bytes write_text write_bytes touch"
    ).split()
)
PRODUCT = [
    path
    for package in (storpool_ovirt, cinder_driver)
    for path in sorted(Path(package.__file__ or "").parent.rglob("*.py"))
]


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_files_are_opened_in_one_place(path: Path) -> None:
    """Whoever reads or makes a file does it through rights.py, or stands in the list above with a
    reason."""
    calls = [
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    named = {
        call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls
    }
    assert not named & TOUCHING or path.stem in ALONE, named & TOUCHING


def bad_files(folder: Path, secret: Path) -> dict[str, Path]:
    """Make all that may be in the place of a file."""
    made = {
        name: folder / name for name in ("link", "dangling", "fifo", "socket", "folder", "hard")
    }
    made["link"].symlink_to(secret)
    made["dangling"].symlink_to(folder / "nowhere")
    os.mkfifo(made["fifo"])
    socket.socket(socket.AF_UNIX).bind(str(made["socket"]))
    made["folder"].mkdir()
    os.link(secret, made["hard"])
    return made


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_only_a_plain_file_is_opened(place: Path) -> None:
    """Links, FIFOs, sockets, folders and second names of other files are errors, at once, and
    nothing is written."""
    secret = place / "secret"
    secret.write_text("secret")
    for name, path in bad_files(place, secret).items():
        began = time.monotonic()
        with pytest.raises(OSError, match=r"Errno"):
            rights.appended(str(path))
        assert time.monotonic() - began < 1, name
        if name in ("fifo", "socket", "folder", "dangling"):
            with pytest.raises(OSError, match=r"Errno"):
                rights.read(str(path))
    assert secret.read_text() == "secret"
    assert not (place / "nowhere").exists()
    assert rights.read(str(place / "link")) == b"secret"


def test_a_file_is_read_up_to_a_limit(place: Path) -> None:
    """What is larger is refused without being read whole."""
    (place / "file").write_bytes(b"x" * 10)
    assert rights.read(str(place / "file"), 10) == b"x" * 10
    with pytest.raises(OSError, match="it has more than 9 bytes"):
        rights.read(str(place / "file"), 9)
    with (place / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has more than 1048576 bytes"):
        rights.read(str(place / "file"))
    with pytest.raises(OSError, match="not a regular file"):
        rights.read("/dev/zero")


@needs_root
def test_root_reads_and_writes_for_another_user_what_that_user_may(place: Path) -> None:
    """A link to what only root may read is refused, one to the user's own file is followed; a new
    log is the user's."""
    theirs = owned(place / "theirs")
    secret = place / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    (theirs / "link").symlink_to(secret)
    (theirs / "folder").symlink_to("/etc")
    with pytest.raises(PermissionError):
        rights.read(str(theirs / "link"))
    for name in ("link", "folder/storpool-test.log"):
        with pytest.raises(OSError, match=r"Errno"):
            rights.appended(str(theirs / name))
    assert not Path("/etc/storpool-test.log").exists()
    os.close(rights.appended(str(theirs / "log")))
    facts = (theirs / "log").stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (USER, 0o640)
    (theirs / "again").symlink_to(theirs / "log")
    assert rights.read(str(theirs / "again")) == b""


def test_a_private_file_is_in_a_folder_of_ones_own(place: Path) -> None:
    """Folder and file are made for this user alone; what others made, or can write in, is
    refused."""
    file = rights.private(str(place / "a" / "locks"), "x.lock")
    os.close(file)
    assert stat.S_IMODE((place / "a" / "locks").stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "a" / "locks" / "x.lock").stat().st_mode) == 0o600
    (place / "a" / "locks").chmod(0o770)
    with pytest.raises(PermissionError, match="others can write in it"):
        rights.private(str(place / "a" / "locks"), "x.lock")
    (place / "link").symlink_to(place / "a")
    with pytest.raises(OSError, match=r"Errno"):
        rights.private(str(place / "link"), "x.lock")


@needs_root
def test_roots_private_files_in_another_users_folder_are_that_users(place: Path) -> None:
    """A host that is a folder of a user's: nothing of root's can be led elsewhere."""
    theirs = owned(place / "theirs")
    os.close(rights.private(str(theirs / "run" / "locks"), "x.lock"))
    assert (theirs / "run" / "locks" / "x.lock").stat().st_uid == USER
    (theirs / "etc").symlink_to("/etc")
    with pytest.raises(PermissionError):
        rights.private(str(theirs / "etc" / "locks"), "x.lock")
    assert not Path("/etc/locks").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks at who can replace a path")
def test_a_working_folder_that_is_gone_is_no_missing_file(tmp_path: Path) -> None:
    """T24: a full path does not ask for it, and to a relative one it is the reason."""
    gone, file = tmp_path / "gone", tmp_path / "file"
    gone.mkdir()
    file.write_bytes(b"content")
    program = """
import os, sys
from storpool_ovirt import rights
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
print(rights.read(sys.argv[2]))
try:
    rights.read("file")
except FileNotFoundError:
    print("taken for missing")
except OSError as error:
    print(error.strerror)
"""
    command = [sys.executable, "-c", program, str(gone), str(file)]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    told = "the folder that this was started in is gone: give a full path"
    assert said.stdout == f"b'content'\n{told}\n", said.stderr
