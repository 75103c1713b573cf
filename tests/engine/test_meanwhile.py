"""meanwhile.py: what a verb needs is loaded while its database server works, and no more."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url
from storpool_ovirt.engine.verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database

LIMIT_SECONDS = 20


def steps(done: list[int], last: Exception | None = None) -> Iterator[None]:
    """Note each step; fail at the third, if that is wanted."""
    for number in range(100):
        if last is not None and number == 2:
            raise last
        done.append(number)
        yield


def test_steps_are_made_while_the_server_works(database: Database) -> None:
    """While it takes the connection, and while it answers."""
    from storpool_ovirt.engine import database as sessions

    done: list[int] = []
    address = database_url.parse(database.url)
    with sessions.opened(
        address, Deadline(LIMIT_SECONDS), at_once=False, meanwhile=steps(done)
    ) as session:
        connected = len(done)
        assert connected
        assert session.read("SELECT 7") == [(7,)]
    assert len(done) > connected


@pytest.mark.parametrize("error", [ValueError("source code with null bytes"), KeyError("name")])
def test_a_file_that_cannot_be_loaded_is_not_the_databases_trouble(
    database: Database, error: Exception
) -> None:
    """T73: it is left to whoever needs it, and the connection is as good as before."""
    from storpool_ovirt.engine import database as sessions

    address = database_url.parse(database.url)
    meanwhile = steps([], error)
    with sessions.opened(address, Deadline(LIMIT_SECONDS), meanwhile=meanwhile) as session:
        assert session.rows("SELECT 7") == [(7,)]
    assert next(meanwhile, "it came that far") == "it came that far"


@pytest.mark.parametrize(
    "error", [errors.DeadlineExceeded("the verb to end", 1), ImportError("no module named x")]
)
def test_what_fails_meanwhile_is_told_as_itself(database: Database, error: Exception) -> None:
    """T73: the alarm may ring there, a library may be broken: neither is the database's fault."""
    from storpool_ovirt.engine import database as sessions

    address = database_url.parse(database.url)
    with (
        pytest.raises(type(error)) as raised,
        sessions.opened(address, Deadline(LIMIT_SECONDS), meanwhile=steps([], error)),
    ):
        pass
    assert raised.value is error


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.does])
def test_each_verb_has_what_it_may_load(verb: str) -> None:
    """All of it can be loaded, in any verb; the claim of a snapshot needs nothing that asks
    StorPool."""
    code = f"""
import sys
from storpool_ovirt.engine import meanwhile
print(len([*meanwhile.loaded({verb!r})]), "storpool_ovirt.cluster.api" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, asks = done.stdout.split()
    assert int(count) > 0
    assert (asks == "True") == (verb != "create_snapshot")
