"""Runs that share a start of Python are as real starts are, for whoever started them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from ovirt_demo import children
from rigs import forked, forked_engine, programs, quick_starts

TELLS = """#!{python}
import json, os, signal, sys

umask = os.umask(0)
facts = dict(
    argv=sys.argv, name=__name__, folder=os.getcwd(), umask=umask, environment=dict(os.environ),
    leader=os.getsid(0) == os.getpid(), encoding=sys.stdout.encoding, path=sys.path,
    descriptors=[each for each in os.listdir("/proc/self/fd") if each != "3"],
    signals=[str(signal.getsignal(each)) for each in (2, 13, 15, 17)],
)
facts["environment"].pop("LC_CTYPE", None)
os.write(2, b"in one stream: ")
print(json.dumps(facts), flush=True)
sys.exit(int(sys.stdin.read()))
"""
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "en_US.UTF-8", "MORE": "so"}
UMASK = 0o027


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a program that tells what it was started with, and ends as it is told on stdin."""
    return programs.written(tmp_path / "tells", TELLS)


@pytest.fixture
def keeper() -> Iterator[forked.Keeper]:
    """Give a keeper."""
    kept = forked.Keeper(["json:JSONDecoder"], ENVIRONMENT)
    yield kept
    kept.close()


@contextlib.contextmanager
def popen(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start it as the stage's Engine does."""
    with subprocess.Popen(
        argv,
        cwd=folder,
        env=ENVIRONMENT,
        umask=UMASK,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        yield process


def told(process: subprocess.Popen[bytes] | forked.Run, status: int) -> tuple[str, object]:
    """Tell it how to end; return what it has said and how it ended."""
    said: IO[bytes] = process.stdout
    process.stdin.write(str(status).encode())
    process.stdin.close()
    lead, _, facts = said.read().decode().partition("{")
    return lead, {**json.loads("{" + facts), "status": process.wait(20)}


@pytest.mark.parametrize("status", [0, 7])
def test_a_run_has_what_a_real_start_has(
    program: Path, keeper: forked.Keeper, tmp_path: Path, status: int
) -> None:
    """Arguments, folder, environment, descriptors, session, signals and the exit status."""
    argv = [str(program), "-", "ä"]
    with popen(argv, tmp_path) as process:
        really = told(process, status)
    for _ in range(2):
        with keeper.started(argv, tmp_path, UMASK) as run:
            assert told(run, status) == really
            assert run.poll() == status


def test_what_a_session_shares_is_as_a_real_start(tmp_path: Path) -> None:
    """With an environment and a stderr of its own: what our command says, and where; other
    programs, and other ways to begin Python, have real starts."""
    command = children.find("storpool-ovirt")
    for words in (["--version"], ["audit", "--database", "x"], ["audit", "--json"], ["no-verb"]):
        for more in ({}, {"STORPOOL_OVIRT_ROOT": str(tmp_path)}):
            given = [command, *words], {**ENVIRONMENT, **more}, 60.0
            shared, own = quick_starts.run(*given), quick_starts.really_run(*given)
            assert (shared.returncode, shared.stdout, shared.stderr) == (
                own.returncode,
                own.stdout,
                own.stderr,
            )
    assert quick_starts.keeper(command, ENVIRONMENT) is not None
    assert quick_starts.keeper(command, {**ENVIRONMENT, "PYTHONPATH": "/x"}) is None
    assert quick_starts.keeper(children.find("python3"), ENVIRONMENT) is None


def test_a_run_can_be_killed_and_waited_for(
    program: Path, keeper: forked.Keeper, tmp_path: Path
) -> None:
    """It ends with the signal, once; another one beside it is not touched."""
    with keeper.started([str(program)], tmp_path, UMASK) as other:
        with keeper.started([str(program)], tmp_path, UMASK) as run:
            assert run.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(0.01)
            os.kill(run.pid, signal.SIGKILL)
            assert run.wait(20) == -signal.SIGKILL
            run.kill()
        assert other.poll() is None
        assert run.pid != other.pid
    assert other.returncode == -signal.SIGKILL


def test_a_trace_comes_out_as_from_a_real_start(keeper: forked.Keeper, tmp_path: Path) -> None:
    """Who is not caught ends with 1."""
    program = programs.written(tmp_path / "fails", "#!{python}\nraise ValueError('so it is')\n")
    with keeper.started([str(program)], tmp_path, UMASK) as run:
        assert run.wait(20) == 1
        assert b"ValueError: so it is" in run.stdout.read()


def test_a_keeper_that_lacks_a_part_is_told() -> None:
    """What has moved is named at once, not by the first run."""
    with pytest.raises(ImportError, match="not all of"):
        forked.Keeper(["json:nothing"], ENVIRONMENT)
    forked.Keeper(forked_engine.ADAPTER, ENVIRONMENT).close()
