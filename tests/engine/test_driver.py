"""driver.py: psycopg2's extension module without its package, and with it, whoever comes first."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt.engine import database_url

if TYPE_CHECKING:
    from ovirt_demo.database import Database

LIMIT_SECONDS = 60
# One value of each type that a statement of ours returns or may come to return.
VALUES = """
    SELECT NULL, true, 7::integer, 7000000000::bigint, 1.5::float8, 2.50::numeric, 'ä'::text,
        '5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10'::uuid, ARRAY['a', NULL, 'b"c'], ARRAY[1, NULL],
        ARRAY[true, false], ARRAY['5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10']::uuid[],
        '{"a": [1, 2.5, null, "ü"]}'::jsonb, '[1]'::json, ARRAY['{"b": 1}', NULL]::jsonb[],
        'null'::jsonb, '2026-01-02 03:04:05.6+00'::timestamptz, now() - now(),
        %s, %s, %s, %s, %s, %s, %s::text[], %s::bigint[], %s::text[]
"""
PASSED = (None, True, 5, -1.5, "it's \"\\ % ü", "", ["a", None, "b'"], [1, None], [])
BY_DRIVER = """
from storpool_ovirt.engine import driver
connection = driver.connected(**parameters)
"""
BY_PACKAGE = """
import psycopg2
connection = psycopg2.connect(**parameters)
"""
PRINT = f"""
connection.autocommit = True
cursor = connection.cursor()
cursor.execute({VALUES!r}, {PASSED!r})
print(cursor.fetchone())
"""


def run(database: Database, code: str) -> str:
    """Run code in a process of its own, which knows the `parameters` of a connection; return what
    it prints."""
    address = database_url.parse(database.url)
    parameters = {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "password": address.password.reveal(),
        "dbname": address.name,
    }
    head = f"import json, sys\nparameters = json.loads({json.dumps(json.dumps(parameters))})\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_values_are_what_the_package_makes_of_them(database: Database) -> None:
    """Either way the same Python values go in and come out."""
    found = run(database, BY_DRIVER + PRINT)
    assert found == run(database, BY_PACKAGE + PRINT)
    assert "{'a': [1, 2.5, None, 'ü']}" in found


def test_it_loads_nothing_that_it_does_not_need(database: Database) -> None:
    """Engine waits for each verb: neither the package's start, nor what OpenSSL before 1.1 needed
    of Python, is paid for; afterwards those modules are there for whoever wants them."""
    code = """
cursor = driver.cursor(connection)
cursor.execute("SELECT ARRAY['a'], 1.5::float8, %s", ("b",))
unwanted = {"ssl", "datetime", "decimal", "socket", "psycopg2.extensions"}
print(cursor.fetchone(), sorted(unwanted & {*sys.modules}))
import datetime, ssl, socket
print(datetime.datetime(2026, 1, 2).isoformat(), ssl.CERT_REQUIRED.name)
cursor.execute("SELECT '2026-01-02'::date, '2026-01-02 03:04:05+00'::timestamptz")
date, moment = cursor.fetchone()
print(isinstance(date, datetime.date), moment.timestamp() == 1767323045)
"""
    found = run(database, BY_DRIVER + code)
    assert found.splitlines() == [
        "(['a'], 1.5, 'b') []",
        "2026-01-02T00:00:00 CERT_REQUIRED",
        "True True",
    ]


@pytest.mark.parametrize("code", [BY_DRIVER + BY_PACKAGE, BY_PACKAGE + BY_DRIVER])
def test_there_is_one_psycopg2_whoever_comes_first(database: Database, code: str) -> None:
    """Admin's commands, tests and cinderlib import the package: its classes are the driver's, and
    what it can beyond them works."""
    more = """
import psycopg2, psycopg2.errors, psycopg2.extensions
from psycopg2 import extras, sql
assert type(psycopg2) is type(sys)
assert psycopg2._psycopg is driver.load() is sys.modules["psycopg2._psycopg"]
assert isinstance(connection, psycopg2.extensions.connection)
cursor = connection.cursor(cursor_factory=extras.NamedTupleCursor)
cursor.execute(sql.SQL("SELECT %s AS a, %s::jsonb AS b"), ((1, 2)[0], extras.Json({"c": 1})))
print(cursor.fetchone())
cursor.execute("SELECT 1 WHERE 1 IN %s", ((1, 2),))
print(cursor.fetchone()[0])
try:
    cursor.execute("SELECT * FROM nowhere")
except psycopg2.errors.UndefinedTable as error:
    print(isinstance(error, driver.load().Error), error.pgcode in driver.NOT_MADE)
"""
    assert run(database, code + more).splitlines() == ["Record(a=1, b={'c': 1})", "1", "True True"]


def test_a_connection_does_not_show_its_password(database: Database) -> None:
    """T24: neither what it was made of nor how it is printed has any of it."""
    shown = run(database, f"{BY_DRIVER}\nprint(connection.dsn, connection)")
    assert "password=" in shown
    assert database.login.password not in shown
