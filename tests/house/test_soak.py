"""A short soak: what grows is seen in it too, but its times and memory are not for a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.verb_samples import VERBS

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "soak.py"
COUNT = 200
MANY = 20  # standard streams, the log, a connection to each side, and room for what Python wants
LIMIT_SECONDS = 300  # ours: it takes some seconds; a loaded machine gets some room


@pytest.fixture(scope="module")
def printed() -> str:
    """Run it once, in two stretches."""
    argv = [sys.executable, str(PROGRAM), "--verbs", str(COUNT), "--stretch", str(COUNT // 2)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == ("missed" in done.stdout), done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def lines(printed: str) -> list[dict[str, float]]:
    """Give the table: before the first verb, and after each stretch."""
    header, *rows = printed.partition("\n\n")[0].splitlines()
    return [dict(zip(header.split(), map(float, row.split()))) for row in rows]


def test_nothing_is_left_when_all_disks_are_deleted(lines: list[dict[str, float]]) -> None:
    """After each stretch of whole lives connections, rows of each table and objects are what they
    were before."""
    assert [line["verbs"] >= COUNT / 2 * number for number, line in enumerate(lines)] == [
        True,
        True,
        True,
    ]
    for name in (name for name in lines[0] if name.startswith(("connections", "rows", "objects"))):
        assert {line[name] for line in lines} == {lines[0][name]}, name
    assert lines[0]["connections"] == lines[0]["objects"] == 0


def test_no_more_descriptors_after_many_verbs_than_after_some(
    lines: list[dict[str, float]],
) -> None:
    """The simulator has no more files open after the last stretch than after the first; a verb
    never has many."""
    assert 0 < lines[-1]["simulator_fds"] <= lines[1]["simulator_fds"]
    assert 0 < max(line["adapter_fds"] for line in lines) < MANY


def test_every_verb_is_among_them_and_does_what_it_should(printed: str) -> None:
    """All twelve verbs occur, some refused and some killed, and each ends as it should."""
    ended = {
        name: int(count)
        for name, count in re.findall(r"(\w+(?: refused| killed)?) (\d+)(?:, |\n)", printed)
    }
    assert {name for name in ended if " " not in name} == {*VERBS}
    assert {name.partition(" ")[2] for name in ended} == {"", "refused", "killed"}
    assert re.search(r"(?m)^met +each verb ended as it should$", printed), printed
