"""A verb as Engine starts it: what the stand-in Engine gets from it, we get too."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import engine_database, engine_machine
from rigs.clock import wait_until
from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import as_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.stage_fixtures import Stage


@pytest.fixture(params=engine_database.RELEASES)
def site(
    request: Any, shared: Stage, tmp_path: Path, database: Database
) -> Iterator[engine_machine.EngineMachine]:
    """Give an Engine of each kind."""
    yield engine_machine.made(shared, tmp_path, database, request.param)


def asked(site: engine_machine.EngineMachine, **options: str) -> as_engine.Answer:
    """Ask with the options of the stage's domain, and these."""
    given = {**site.engine.options, **options}
    return as_engine.storage_stats(given, Deadline(60), str(site.root))


def test_what_engine_gets_is_what_we_get(site: engine_machine.EngineMachine) -> None:
    """The same facts that the stand-in Engine reads, by the file that it starts."""
    answer = asked(site)
    assert answer.facts == site.engine.run("storage_stats", "true").map()
    assert as_engine.program("storpool", str(site.root)).path == str(site.engine.program)


def test_why_not_is_the_adapters_sentence(site: engine_machine.EngineMachine) -> None:
    """A template that is not there: the sentence that Engine writes to its log, without prefix."""
    answer = asked(site, sp_template="missing")
    assert answer.facts is None
    assert "missing" in answer.sentence
    assert not answer.sentence.startswith("error")


def test_an_adapter_that_is_not_there_is_told(site: engine_machine.EngineMachine) -> None:
    """By the dispatcher's sentence, or as Engine would tell it."""
    given = {**site.engine.options, "adapter": "other"}
    if site.engine.release.dispatches:
        with pytest.raises(errors.ConfigError, match="other-adapter cannot be started as Engine"):
            as_engine.storage_stats(given, Deadline(60), str(site.root))
    else:
        answer = as_engine.storage_stats(given, Deadline(60), str(site.root))
        assert "cannot be started (No such file or directory): install it" in answer.sentence


SCRIPTS = {
    "is silent": ("exit 3", "it ended with exit code 3"),
    "dies in another way": ("echo sh: not found; exit 127", "sh: not found"),
    "answers nothing": ("exit 0", "nothing that Engine can read"),
    "answers no JSON": ("echo check:fine", "nothing that Engine can read"),
    "warns first": ('echo warn; echo "error:the reason"; echo "check:{}"; exit 1', "the reason"),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_another_program_in_its_place_is_told(tmp_path: Path, case: str) -> None:
    """Whatever stands there is read as Engine reads it."""
    script, told = SCRIPTS[case]
    root = stand_in(tmp_path, script)
    answer = as_engine.storage_stats({"adapter": "storpool"}, Deadline(60), str(root))
    assert answer.facts is None
    assert told in answer.sentence


def stand_in(root: Path, script: str) -> Path:
    """Write a shell script in the place of the adapter of a later Engine."""
    keys = {"HOST": "127.0.0.1", "PORT": "1", "USER": "u", "PASSWORD": "p@:/", "DATABASE": "d"}
    conf = root / "etc/ovirt-engine/engine.conf.d/10-setup-managedblock-database.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("".join(f"MANAGEDBLOCK_DB_{key}={value}\n" for key, value in keys.items()))
    program = root / "usr/share/ovirt-engine/managedblock/storpool-adapter"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return root


def test_the_arguments_are_those_of_engine(tmp_path: Path) -> None:
    """Verb, options as JSON, the database with nothing quoted, an id, true; stdin stays open."""
    script = 'printf "%s|" "$@" >said; pwd >>said; [ -p /dev/stdin ] && echo "check:{}"'
    root = stand_in(tmp_path, script)
    answer = as_engine.storage_stats({"adapter": "storpool", "ключ": "é"}, Deadline(60), str(root))
    assert answer.facts == {}
    folder = root / "usr/share/ovirt-engine/managedblock"
    words, where = (folder / "said").read_text().rsplit("|", 1)
    verb, options, url, correlation_id, last = words.split("|")
    assert (verb, correlation_id, last) == ("storage_stats", "check", "true")
    assert json.loads(options) == {"adapter": "storpool", "ключ": "é"}
    assert url == "postgresql+psycopg2://u:p@:/@127.0.0.1:1/d"
    assert where.strip() == str(folder)


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """Nobody waits longer than the limit, and nothing is left behind."""
    root = stand_in(tmp_path, "sleep 60 & echo $! >pid; wait")
    began = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match="storpool-adapter"):
        as_engine.storage_stats({"adapter": "storpool"}, Deadline(1), str(root))
    assert time.monotonic() - began < 5
    pid = (root / "usr/share/ovirt-engine/managedblock/pid").read_text().strip()
    wait_until(lambda: not is_running(pid))  # the kernel ends it in its own time


def is_running(pid: str) -> bool:
    """Return whether a process is there that is not just unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
