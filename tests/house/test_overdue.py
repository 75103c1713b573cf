"""rigs/overdue.py: a run that takes too long ends, whatever its workers do, and says what ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.clock import wait_until

TESTS = Path(__file__).parents[1]
LIMIT_SECONDS = 120
# Time is over when the test says so to the process that waits for it: the signal is its timer's.
OVER = "os.kill(os.getppid(), signal.SIGALRM)"
HEAD = f"import os, pathlib, signal, subprocess, sys, time\nLIMIT = {2 * LIMIT_SECONDS}\n"
# How a worker is when the run has to end, as the end of a test.
WORKERS = {
    "hangs": f"time.sleep(1); {OVER}; time.sleep(LIMIT)",
    "is stopped": f"time.sleep(1); {OVER}; os.kill(os.getpid(), signal.SIGSTOP)",
    # A forked child has the pipes of its parent: that this one has ended is seen by nobody.
    "is dead, and nobody hears of it": (
        "os.fork() and os._exit(1); time.sleep(1)\n"
        "    pathlib.Path('left').write_text(str(os.getpid()))\n"
        "    os.kill(int(pathlib.Path('above').read_text()), signal.SIGALRM)\n"
        "    time.sleep(LIMIT); os._exit(0)"
    ),
}


def run(
    folder: Path, tests: str, *words: str, conftest: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run these tests, with the plugin alone."""
    (folder / "conftest.py").write_text(HEAD + conftest)
    (folder / "test_it.py").write_text(HEAD + tests)
    plugins = "-q -c /dev/null -p rigs.overdue -p no:cacheprovider".split()
    command = [sys.executable, "-m", "pytest", *plugins, *words, "test_it.py"]
    # Into files: what a worker has left behind may keep a pipe open
    said = [folder / "out", folder / "err"]
    with said[0].open("wb") as out, said[1].open("wb") as err:
        code = subprocess.run(
            command,
            stdout=out,
            stderr=err,
            check=False,
            timeout=LIMIT_SECONDS,
            cwd=folder,
            env={"PYTHONPATH": str(TESTS)},
        ).returncode
    return subprocess.CompletedProcess(command, code, *(each.read_text() for each in said))


@pytest.mark.parametrize("state", WORKERS)
def test_a_run_ends_with_what_was_still_running(tmp_path: Path, state: str) -> None:
    """Also what a test had started is gone."""
    tests = (
        "def test_first(): pass\n"
        "def test_second(): pass\n"
        "def test_that_stays():\n"
        "    started = subprocess.Popen(['sleep', str(LIMIT)])\n"
        "    pathlib.Path('started').write_text(str(started.pid))\n"
        "    pathlib.Path('above').write_text(str(os.getppid()))\n"
        f"    {WORKERS[state]}\n"
    )
    done = run(tmp_path, tests, "-p", "xdist", "-n2", "--whole-seconds=600")
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    assert "the tests are not over after 600 s" in done.stdout
    assert "still running: test_it.py::test_that_stays, for" in done.stdout
    assert " passed in " in done.stdout.splitlines()[-1]
    if (tmp_path / "left").exists():
        for name in ("left", "started"):  # nobody knows any more who started these
            os.kill(int((tmp_path / name).read_text()), signal.SIGKILL)
    wait_until(lambda: not _runs(tmp_path / "started"))
    if state == "hangs":
        assert 'test_it.py", line 9 in test_that_stays' in done.stdout + done.stderr


def test_a_run_ends_though_its_own_end_hangs(tmp_path: Path) -> None:
    """What was started is killed, and the lines are on stderr."""
    conftest = (
        "import rigs.overdue\nrigs.overdue.GRACE_SECONDS = 1.0\n"
        "def pytest_sessionfinish(session):\n"
        "    hasattr(session.config, 'workerinput') or time.sleep(LIMIT)\n"
    )
    tests = (
        "def test_that_stays():\n"
        "    started = subprocess.Popen(['sleep', str(LIMIT)])\n"
        "    pathlib.Path('started').write_text(str(started.pid))\n"
        f"    {WORKERS['hangs']}\n"
    )
    words = ["-p", "xdist", "-n1", "--whole-seconds=600"]
    done = run(tmp_path, tests, *words, conftest=conftest)
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    assert "still running: test_it.py::test_that_stays, for" in done.stderr
    wait_until(lambda: not _runs(tmp_path / "started"))


def test_a_run_in_one_process_ends_behind_a_test(tmp_path: Path) -> None:
    """The tests after it are not begun."""
    tests = "def test_first(): time.sleep(0.3)\ndef test_second(): pass\n"
    done = run(tmp_path, tests, "-p", "no:xdist", "--whole-seconds=0.2")
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    assert "not over after 0 s: ended after test_it.py::test_first" in done.stdout
    assert "1 passed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("words", [[], ["-p", "xdist", "-n2"]], ids=["alone", "workers"])
def test_a_run_that_is_over_in_time_is_left_alone(tmp_path: Path, words: list[str]) -> None:
    """Its end is as without the plugin."""
    done = run(tmp_path, "def test_first(): pass\n", *words, "--whole-seconds=600")
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    assert "not over" not in done.stdout + done.stderr
    assert "1 passed" in done.stdout.splitlines()[-1]


def _runs(note: Path) -> bool:
    try:
        state = Path("/proc", note.read_text(), "stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"
