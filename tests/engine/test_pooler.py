"""database.py behind PgBouncer: locks that may hold nothing are refused before anything is done."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")

LIMIT_SECONDS = 20
# With this the pooler takes the settings of our connections without a word, and drops them.
DEAF = "ignore_startup_parameters = options, extra_float_digits\n"


@contextlib.contextmanager
def pooled(database: Database, folder: Path, mode: str, more: str = DEAF) -> Iterator[str]:
    """Run PgBouncer before the database; give the URL that leads through it."""
    address = database_url.parse(database.url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{address.name} = host={address.host} port={address.port}"
        f" dbname={address.name} user={address.user}"
        f" password={address.password.reveal()}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port"
        f" = {port}\nauth_type = any\nunix_socket_dir =\npool_mode = {mode}\ndefault_pool_size ="
        f" 1\nmin_pool_size = 0\n{more}"
    )
    folder.chmod(0o755)
    settings.chmod(0o644)
    for parent in folder.parents[:2]:
        parent.chmod(0o755)
    assert PROGRAM is not None
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen([PROGRAM, *as_user, str(settings)], stderr=subprocess.DEVNULL) as pooler:
        try:
            _wait_for(port, pooler)
            yield database.url.replace(f"@{address.host}:{address.port}/", f"@127.0.0.1:{port}/")
        finally:
            pooler.kill()


def _wait_for(port: int, pooler: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        assert pooler.poll() is None, "pgbouncer has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < end, "pgbouncer never listened"
        threading.Event().wait(0.05)


@pytest.mark.parametrize("mode", ["transaction", "statement", "session"])
@pytest.mark.parametrize("first", [True, False])
def test_a_pooler_is_noticed_and_refused(
    database: Database, tmp_path: Path, mode: str, first: bool
) -> None:
    """T19: through a pooler a lock may be another process'; the first statement tells, and nothing
    is done or made."""
    from storpool_ovirt.engine import database as sessions

    if not first:
        with sessions.opened(database_url.parse(database.url), Deadline(LIMIT_SECONDS)):
            pass
    with (
        pooled(database, tmp_path, mode) as url,
        pytest.raises(errors.DatabaseUnavailable, match="connection pooler such as PgBouncer"),
        sessions.opened(database_url.parse(url), Deadline(LIMIT_SECONDS)),
    ):
        pass
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('storpool_ovirt.meta') IS NOT NULL")
        assert cursor.fetchone() == (not first,)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_verbs_first_question_holds_nothing_through_a_pooler(
    database: Database, tmp_path: Path, mode: str
) -> None:
    """T19: it would lock a disk in a server process that outlives the verb: it is refused before
    that."""
    from storpool_ovirt.engine import database as sessions
    from storpool_ovirt.engine import journal, mapping

    disk = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
    with sessions.opened(database_url.parse(database.url), Deadline(LIMIT_SECONDS)) as direct:
        caller = journal.Caller("corr-1", "extend_volume")
        with (
            pooled(database, tmp_path, mode) as url,
            pytest.raises(errors.DatabaseUnavailable, match="connection pooler such as PgBouncer"),
            mapping.opened(database_url.parse(url), Deadline(LIMIT_SECONDS), caller) as there,
        ):
            try:
                there.lock(disk)
            finally:
                assert direct.try_lock(disk)


def test_a_pooler_that_refuses_our_settings_is_told_as_what_it_is(
    database: Database, tmp_path: Path
) -> None:
    """PgBouncer as it is installed refuses our connections' settings: the sentence says what to do
    all the same."""
    from storpool_ovirt.engine import database as sessions

    with (
        pooled(database, tmp_path, "transaction", more="") as url,
        pytest.raises(
            errors.DatabaseUnavailable, match="give Engine the address of PostgreSQL itself"
        ),
        sessions.opened(database_url.parse(url), Deadline(LIMIT_SECONDS)),
    ):
        pass


def test_behind_a_pooler_two_verbs_would_hold_one_lock(database: Database, tmp_path: Path) -> None:
    """T19: why it is refused: in transaction mode two connections take the same lock, as one
    process serves both."""
    import psycopg2

    with pooled(database, tmp_path, "transaction") as url:
        address = database_url.parse(url)
        with contextlib.ExitStack() as stack:
            answers = []
            for _ in range(2):
                connection = psycopg2.connect(
                    host=address.host,
                    port=address.port,
                    user=address.user,
                    dbname=address.name,
                    password=address.password.reveal(),
                )
                stack.enter_context(contextlib.closing(connection))
                connection.autocommit = True
                cursor = connection.cursor()
                cursor.execute("SELECT pg_try_advisory_lock(7), pg_backend_pid()")
                answers.append(cursor.fetchone())
            assert answers[0] == answers[1]
            assert answers[0][0] is True
