"""driver.py without a server: each Python, and psycopg2 2.8 as well as 2.9 (tox.ini)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from storpool_ovirt.engine import database_url, driver

LIMIT_SECONDS = 60
ROOT = database_url.__file__.rpartition("/storpool_ovirt/")[0]
# Nobody listens at port 1 of the loopback.
PARAMETERS = {"host": "127.0.0.1", "port": 1, "password": "it's", "dbname": "x", "user": "x"}


def run(code: str) -> list[str]:
    """Run code in a process of its own that has loaded nothing yet; return the lines that it
    prints."""
    paths = [ROOT, *(each for each in sys.path if "packages" in each)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys\nsys.path += {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_loads_nothing_that_it_does_not_need() -> None:
    """Engine waits for each verb: neither the package's start, nor what OpenSSL before 1.1 needed
    of Python, is paid for; afterwards those modules are there for whoever wants them."""
    code = f"""
from storpool_ovirt.engine import driver
try:
    driver.connected(**{PARAMETERS!r})
except driver.load().OperationalError as error:
    print(error.pgcode)
unwanted = {{"ssl", "datetime", "decimal", "re", "json", "socket", "psycopg2.extensions"}}
print(sorted(unwanted & {{*sys.modules}}))
import datetime, ssl, socket, decimal
print(datetime.datetime(2026, 1, 2).isoformat(), ssl.CERT_REQUIRED.name)
"""
    assert run(code) == ["None", "[]", "2026-01-02T00:00:00 CERT_REQUIRED"]


@pytest.mark.parametrize("is_first", [True, False])
def test_there_is_one_psycopg2_whoever_comes_first(is_first: bool) -> None:
    """Admin's commands, tests and cinderlib import the package: its classes are the driver's."""
    code = f"""
from storpool_ovirt.engine import driver
if {is_first}:
    driver.load()
import psycopg2, psycopg2.errors
from psycopg2 import extras, sql
assert type(psycopg2) is type(sys)
assert psycopg2._psycopg is driver.load() is sys.modules["psycopg2._psycopg"]
assert psycopg2.extensions.connection is driver.load().connection
assert issubclass(psycopg2.errors.UndefinedTable, driver.load().Error)
try:
    psycopg2.connect(**{PARAMETERS!r})
except driver.load().OperationalError:
    print(psycopg2.extensions.adapt((1, None)).getquoted())
"""
    assert run(code) == ["b'(1, NULL)'"]


def test_no_driver_is_an_import_error() -> None:
    """Whoever has no psycopg2 is told so by the module's name, at each try."""
    code = """
class Blind:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *more):
        return None if name.startswith("psycopg2") else self.finder.find_spec(name, *more)
sys.meta_path[:] = map(Blind, sys.meta_path)
from storpool_ovirt.engine import driver
for _ in range(2):
    try:
        driver.load()
    except ModuleNotFoundError as error:
        print(error.name, "psycopg2" in sys.modules)
"""
    assert run(code) == ["psycopg2 False"] * 2


@pytest.mark.parametrize(
    "password", ["a b", "it's", "back\\slash", "ü'\\ '", "sslmode=disable x", ""]
)
def test_any_password_is_passed_as_it_is(password: str) -> None:
    """What libpq reads between quotes is what went in."""
    text = driver.dsn(host="a,b", hostaddr=None, port=5432, password=password)
    assert driver.load().parse_dsn(text) == {"host": "a,b", "port": "5432", "password": password}
