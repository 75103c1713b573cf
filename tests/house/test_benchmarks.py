"""The benchmark runs, tells every verb, and counts what the verbs ask of StorPool; its times are
not for a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "verbs.py"
LIMIT_SECONDS = 120  # ours: it takes some seconds; a loaded machine gets some room
# What the project promises: calls of the API per verb (one more for an extend where the disk is
# attached).
CALLS = {
    "create_volume": 1,
    "storage_stats": 2,
    "extend_volume": 3,
    "connect_volume": 1,
    "get_connection_info": 1,
    "save_device": 0,
    "create_snapshot": 3,
    "extend_volume, attached": 4,
    "clone_volume": 3,
    "create_volume_from_snapshot": 4,
    "remove_snapshot": 3,
    "disconnect_volume": 0,
    "delete_volume": 3,
}


@pytest.fixture(scope="module")
def printed() -> str:
    """Run it once, small."""
    argv = [sys.executable, str(PROGRAM), "--runs", "1", "--volumes", "50"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == ("missed" in done.stdout), done.stdout
    return done.stdout


def test_it_tells_every_verb_with_its_api_calls(printed: str) -> None:
    """All twelve verbs are in the table, none with more API calls than promised, whatever the size
    of the cluster."""
    rows = {
        row[1]: int(row[2])
        for row in re.finditer(r"(?m)^(\w+(?:, attached)?) .* (\d+) +\d+$", printed)
    }
    assert rows == CALLS


def test_it_says_of_each_target_whether_it_is_met(printed: str) -> None:
    """Three targets, each met or missed; the one about API calls is met on any machine."""
    verdicts = [
        line.split(None, 1) for line in printed.splitlines() if line.startswith(("met ", "missed "))
    ]
    assert len(verdicts) == 3
    assert ["met", "no verb with more API calls than planned"] in verdicts


def test_how_long_a_guest_is_frozen_is_told() -> None:
    """T78, T89: each way of each VM is told; what a group makes is of one moment, by one call, on
    any machine."""
    argv = [sys.executable, str(PROGRAM.with_name("freeze.py"))]
    argv += ["--runs", "1", "--disks", "1", "3", "--latency", "5"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    rows = re.findall(
        r"(?m)^ +(\d+) +5 ms +(one by one|group|group, agent|cinderlib [\d.]+) +(\d+) ms ",
        done.stdout,
    )
    told = {(int(disks), way): int(apart) for disks, way, apart in rows}
    ways = {way for _, way in told}
    assert ways >= {"one by one", "group", "group, agent"}, done.stderr
    assert told.keys() == {(disks, way) for disks in (1, 3) for way in ways}
    assert told[3, "group"] == told[3, "group, agent"] == 0 < told[3, "one by one"]
    assert re.search(r"(?m)^met +all snapshots of a group are of one moment", done.stdout)
    assert done.returncode == ("missed" in done.stdout)


def test_the_dispatchers_costs_are_told() -> None:
    """Each way that a verb takes through it is run and told, and whether the target is met."""
    argv = [sys.executable, str(PROGRAM.with_name("dispatcher.py")), "--runs", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.stderr == ""
    rows = re.findall(r"(?m)^(\w+(?:, \w+)?) +\d+\.\d ms ", done.stdout)
    ways = ("adapter, package", "stock, package", "adapter, pip", "stock, pip")
    assert {*rows} == {"true", "python", *ways}
    assert done.returncode == ("missed" in done.stdout)
