"""vdsm_database.py: Vdsm's database read and changed as the user who owns it, whatever is in its
place."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_ovirt import errors
from storpool_ovirt.host import vdsm_database
from storpool_ovirt.limits import LIMITS

USER = 54321
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can take another user's rights"
)
TABLE = (
    "CREATE TABLE volumes (vol_id TEXT PRIMARY KEY, path TEXT, connection_info TEXT, attachment"
    " TEXT)"
)
ROW = (b"v", b"p", b"{}", None)


@pytest.fixture
def file() -> Iterator[Path]:
    """Give where the database would be, in a folder that is another user's where that can be made.

    Not below pytest's folders, which are root's alone.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        file = Path(f"{folder}{vdsm_database.FILE}")
        file.parent.mkdir(parents=True)
        own(file.parent)
        yield file


def own(path: Path) -> None:
    """Give a file to the user, where that is possible."""
    if os.geteuid() == 0:
        os.chown(path, USER, USER, follow_symlinks=False)


def made(file: Path, *statements: str) -> None:
    """Make a database with one row and these further things."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(TABLE)
        connection.execute("INSERT INTO volumes VALUES ('v', 'p', '{}', NULL)")
        for statement in statements:
            connection.execute(statement)
    own(file)


def root(file: Path) -> str:
    """Return the folder that stands for this host's /."""
    return str(file)[: -len(vdsm_database.FILE)]


@contextlib.contextmanager
def unusable(match: str = "") -> Iterator[None]:
    """Check that the block ends soon with one sentence about the database."""
    began = time.monotonic()
    with pytest.raises(errors.InputError, match="cannot be used") as raised:
        yield
    assert time.monotonic() - began < 2 * LIMITS.busy_seconds + 5
    assert match in str(raised.value)


def test_rows_are_read_and_one_is_removed(file: Path) -> None:
    """All columns as stored; what is not exactly the same row stays; without a database there is
    nothing."""
    assert vdsm_database.rows(root(file)) == []
    vdsm_database.remove(root(file), ROW)
    assert not file.exists()
    made(file, "INSERT INTO volumes VALUES ('w', CAST(x'ff00' AS TEXT), 7, x'01')")
    assert vdsm_database.rows(root(file)) == [ROW, (b"w", b"\xff\0", b"7", b"\1")]
    vdsm_database.remove(root(file), (b"v", b"other", b"{}", None))
    vdsm_database.remove(root(file), (b"w", b"\xff\0", b"7", None))
    assert vdsm_database.rows(root(file)) == [ROW]


def test_reading_changes_nothing(file: Path) -> None:
    """Not a byte, and nothing is left beside it."""
    made(file)
    before = (file.read_bytes(), file.stat().st_mtime_ns, sorted(file.parent.iterdir()))
    assert vdsm_database.rows(root(file)) == [ROW]
    assert (file.read_bytes(), file.stat().st_mtime_ns, sorted(file.parent.iterdir())) == before


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_what_a_crash_left_is_brought_to_an_end(file: Path, journal: str) -> None:
    """A host that lost its power in the midst of Vdsm's writing: the rows are those of before, or
    of after."""
    made(file, f"PRAGMA journal_mode = {journal}")
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            connection = sqlite3.connect(file, isolation_level=None)
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("BEGIN")
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
                " INSERT INTO volumes SELECT i, hex(zeroblob(500)), '', '' FROM n"
            )
            if journal == "wal":
                connection.execute("DELETE FROM volumes WHERE vol_id != 'v'")
                connection.execute("COMMIT")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    left = {path.name for path in file.parent.iterdir()} - {file.name}
    assert left, "the crash left something to bring to an end"
    for name in left:
        own(file.parent / name)
    assert vdsm_database.rows(root(file)) == [ROW]


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("what", ["fifo", "folder", "device", "huge"])
def test_what_would_be_waited_for_is_told_at_once(file: Path, suffix: str, what: str) -> None:
    """A FIFO, a folder, a device or a file without end in the place of the database or of what lies
    beside it."""
    if suffix:
        made(file)
    path = Path(f"{file}{suffix}")
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, vdsm_database.MAX_BYTES + 1)
    own(path)
    with unusable("managedvolume.db"):
        vdsm_database.rows(root(file))
    with unusable():
        vdsm_database.remove(root(file), ROW)


def check_refused(file: Path) -> None:
    """Check that the rights of the owner do not reach what is there."""
    with unusable("Permission denied"):
        vdsm_database.rows(root(file))
    with unusable("Permission denied"):
        vdsm_database.remove(root(file), ROW)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i, i, i FROM n"
NAMES = "vol_id, path, connection_info, attachment"


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE volumes", f"CREATE VIEW volumes ({NAMES}) AS {ENDLESS}"],
        ["ALTER TABLE volumes RENAME TO real", "CREATE VIEW volumes AS SELECT * FROM real"],
        ["DROP TABLE volumes"],
        [
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20001)"
            " INSERT INTO volumes SELECT i, i, i, i FROM n"
        ],
    ],
    ids=["an endless view", "a view", "no table", "rows without end"],
)
def test_a_hostile_schema_is_told(file: Path, statements: list[str]) -> None:
    """Nothing but the one table is read: no view, and no more rows than a host can have."""
    made(file, *statements)
    with unusable():
        vdsm_database.rows(root(file))


def test_a_trigger_is_not_carried_out(file: Path) -> None:
    """A row that is removed removes no other."""
    made(
        file,
        "INSERT INTO volumes VALUES ('w', 'p', '{}', NULL)",
        "CREATE TRIGGER more AFTER DELETE ON volumes BEGIN DELETE FROM volumes; END",
    )
    with unusable():
        vdsm_database.remove(root(file), ROW)
    assert len(vdsm_database.rows(root(file))) == 2


def test_a_trigger_on_a_change_is_not_carried_out(file: Path) -> None:
    """A row that is described anew removes none, and is not changed."""
    made(file, "CREATE TRIGGER more AFTER UPDATE ON volumes BEGIN DELETE FROM volumes; END")
    before = vdsm_database.rows(root(file))
    with unusable():
        vdsm_database.redescribe(root(file), [(ROW, b"{}")])
    assert vdsm_database.rows(root(file)) == before != []


@needs_root
def test_root_has_no_more_rights_there_than_the_owner(file: Path) -> None:
    """A link to a database, or a folder, that the owner may not read is refused, and nothing is
    made of root's."""
    secret = Path(root(file), "secret")
    secret.mkdir(mode=0o700)
    made(secret / "a.db")
    (secret / "a.db").chmod(0o600)
    os.chown(secret / "a.db", 0, 0)
    before = (secret / "a.db").read_bytes()
    file.symlink_to(secret / "a.db")
    own(file)
    check_refused(file)
    file.unlink()
    file.parent.rmdir()
    file.parent.symlink_to(secret)
    os.link(secret / "a.db", secret / file.name)
    own(file.parent)
    check_refused(file)
    assert (secret / "a.db").read_bytes() == before
    assert sorted(path.name for path in secret.iterdir()) == ["a.db", file.name]


@needs_root
def test_a_journal_is_the_owners(file: Path) -> None:
    """What SQLite leaves beside the database Vdsm can go on with."""
    made(file, "PRAGMA journal_mode = wal")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM volumes").fetchone() == (1,)
        for path in file.parent.iterdir():
            own(path)
        vdsm_database.remove(root(file), ROW)
    assert {path.stat().st_uid for path in file.parent.iterdir()} == {USER}
    assert vdsm_database.rows(root(file)) == []
    assert {path.stat().st_uid for path in file.parent.iterdir()} == {USER}
