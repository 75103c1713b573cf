"""The benchmarks run and tell what they are for, and count what the verbs ask of StorPool and of
the database; their times are not for a test."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ovirt_demo import engine
from rigs import vdsm_user

FOLDER = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = Path(sys.executable).parent
LIMIT_SECONDS = 300  # ours: each takes some seconds; a loaded machine gets some room
# What the project promises: calls of the API and round trips to the database per verb (one call
# more for an extend where the disk is attached, and one round trip for the first verb on a disk).
COUNTS = {
    "create_volume": (1, 4),
    "storage_stats": (2, 2),
    "extend_volume": (3, 5),
    "connect_volume": (1, 2),
    "get_connection_info": (2, 1),
    "save_device": (0, 0),
    "create_snapshot": (3, 4),
    "extend_volume, attached": (4, 4),
    "clone_volume": (3, 4),
    "create_volume_from_snapshot": (4, 4),
    "remove_snapshot": (3, 4),
    "disconnect_volume": (0, 0),
    "delete_volume": (6, 5),
    "delete_volume, at once": (3, 5),
}
SVG = "{http://www.w3.org/2000/svg}"
OLDER = """#!/bin/sh
case $2 in
*sp_newer*) echo 'error:driver option "sp_newer" is not known: do you mean sp_new?'; exit 1 ;;
esac
echo '{}'
"""


def run(name: str, *options: str) -> str:
    """Run a benchmark and return what it printed; its exit code says whether a target is missed."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *options],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == ("missed" in done.stdout), done.stdout + done.stderr
    return done.stdout


def verdicts(printed: str) -> dict[str, str]:
    """Return whether each target is met or missed."""
    lines = [line.split(None, 1) for line in printed.splitlines()]
    return {line[1]: line[0] for line in lines if line and line[0] in ("met", "missed")}


@pytest.fixture(scope="module")
def of_verbs() -> str:
    """Run that of the verbs once, small, with the same programs as those of before."""
    return run("verbs.py", "--runs", "1", "--volumes", "50", "--before", str(PROGRAMS))


def test_it_tells_every_verb_with_its_calls_and_round_trips(of_verbs: str) -> None:
    """All twelve verbs are in the table, none with more API calls or round trips than promised,
    whatever the size of the cluster."""
    rows = {
        row[1]: (int(row[2]), int(row[3]))
        for row in re.finditer(r"(?m)^(\w+(?:, attached|, at once)?) .* (\d+) +(\d+)$", of_verbs)
    }
    assert rows == COUNTS


def test_each_verb_is_beside_both_floors_and_the_commit_before(of_verbs: str) -> None:
    """Six times by the wall clock, one of a processor, and ratios of neighbours, in every row."""
    header, *lines = of_verbs.splitlines()
    assert all(column in header for column in ("/ floor", "/ true", "/ few", "/ before", "by pip"))
    rows = [line for line in lines if re.match(r"\w+(?:, attached|, at once)? .* ms ", line)]
    assert len(rows) == len(COUNTS)
    assert {line.count(" ms") for line in rows} == {7}, rows[0]


def test_it_says_of_each_target_whether_it_is_met(of_verbs: str) -> None:
    """Five targets; those about API calls and round trips are met on any machine."""
    told = verdicts(of_verbs)
    assert len(told) == 5
    assert told["no verb with more API calls than planned"] == "met"
    assert told["no verb with more round trips than planned"] == "met"


def test_what_vdsm_waits_for_is_told() -> None:
    """The helper and the hook beside their floor, the start of a VM beside that of before; the
    calls are as planned on any machine."""
    small = ("--runs", "1", "--volumes", "60", "--starts", "1", "--disks", "2")
    printed = run("hosts.py", *small, "--before", str(PROGRAMS))
    rows = re.findall(r"(?m)^(\w[\w, ]*?) {2,}\d+ ms +\d+ ms ", printed)
    assert rows[:4] == ["attach", "hook, no disk of ours", "hook, 1 disk", "detach"]
    assert {"hook, 8 disks", "hook, 1 disk, taken", "attach, released"} <= {*rows}
    calls = dict(re.findall(r"(?m)^(hook, 8 disks(?:, policy)?) {2,}.* (\d+)$", printed))
    assert calls == {"hook, 8 disks": "14", "hook, 8 disks, policy": "14"}
    assert rows[-5:] == ["connect_volume", "attach", "save_device", "hook", "all of it"]
    told = verdicts(printed)
    assert len(told) == 3
    assert told["no program with more API calls than planned"] == "met"


def test_where_a_verbs_time_goes_is_told_and_drawn(tmp_path: Path) -> None:
    """Every part has its number, in the table that is printed and in the picture, which is one that
    a browser can read; a verb waits for the database and for StorPool."""
    picture = tmp_path / "verbs.svg"
    printed = run("where.py", "--runs", "1", "--before", str(PROGRAMS), "--draw", str(picture))
    rows = re.findall(r"(?m)^(\w[^\d\n]*?) +(\d+\.\d) +(\d+\.\d) +(\d+\.\d)$", printed)
    numbers = {label: [float(each) for each in taken] for label, *taken in rows}
    assert min(numbers["waiting for the database"]) > 0
    assert min(numbers["waiting for StorPool's API"]) > 0
    assert min(numbers["start of Python"]) > 0
    labels = {text.text for text in ElementTree.parse(picture).iter(f"{SVG}text")}  # noqa: S314
    assert {"before", "now", "the least", *numbers} - {"all of it, without the probe"} <= labels


def test_how_long_a_guest_is_frozen_is_told() -> None:
    """T78, T89: each way of each VM is told; what a group makes is of one moment, by one call, on
    any machine."""
    small = ("--runs", "1", "--disks", "1", "3", "--latency", "5")
    printed = run("freeze.py", *small, "--before", str(PROGRAMS))
    way = r"(?:one by one(?:, before)?|group(?:, agent)?|cinderlib [\d.]+)"
    rows = re.findall(rf"(?m)^ +(\d+) +5 ms +({way}) +(\d+) ms ", printed)
    told = {(int(disks), way): int(apart) for disks, way, apart in rows}
    ways = {way for _, way in told}
    assert ways >= {"one by one", "one by one, before", "group", "group, agent"}
    assert told.keys() == {(disks, way) for disks in (1, 3) for way in ways}
    assert told[3, "group"] == told[3, "group, agent"] == 0 < told[3, "one by one"]
    assert re.search(r"(?m)^met +all snapshots of a group are of one moment", printed)


def test_the_dispatchers_costs_are_told() -> None:
    """Each way that a verb takes through it is run and told, and whether the target is met."""
    printed = run("dispatcher.py", "--runs", "2")
    rows = re.findall(r"(?m)^(\w+(?:, \w+)?) +\d+\.\d ms ", printed)
    ways = ("adapter, package", "stock, package", "adapter, pip", "stock, pip")
    assert {*rows} == {"true", "python", *ways}


def test_an_older_adapter_is_given_no_option_that_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs of `--before` run although options were added since."""
    monkeypatch.syspath_prepend(FOLDER)
    adapter = tmp_path / "storpool-adapter"
    adapter.write_text(OLDER)
    adapter.chmod(0o755)
    installed = importlib.import_module("installed")
    options = {"adapter": "storpool", "sp_new": "1", "sp_newer": "2"}
    caller = installed.with_known(engine.Engine(tmp_path / "engine", adapter, options, "-"))
    assert caller.options == {"adapter": "storpool", "sp_new": "1"}


def test_what_the_way_to_root_costs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The door that is measured is the one that we ship."""
    monkeypatch.syspath_prepend(FOLDER)
    assert importlib.import_module("door").SHIPPED.is_file()
    if os.geteuid() != 0 or shutil.which("sudo") is None:
        pytest.skip("only root, with sudo")
    if not vdsm_user.runs(sys.executable, "nobody"):
        pytest.skip("user nobody cannot run this Python")
    printed = run("door.py", "--runs", "1")
    assert re.search(r"(?m)^ratio +\d+\.\d\d \(median of 1 pairs\)", printed)
