"""What is typed for an option of `storpool-ovirt` is refused before anything is looked at, where it
cannot be meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovirt_demo import children
from storpool_ovirt.admin.command import WATCHES

NUMBERS = ("nan", "-nan", "inf", "-inf", "1e308", "-1", "525601", "")
DISK = "11111111-1111-4111-8111-111111111111"
EMPTY = (
    ["audit", "--database", ""],
    ["audit", "--options", " "],
    ["doctor", "--html", ""],
    ["doctor", "--write", ""],
    ["rebuild", "--location", ""],
    ["rebuild", "--even-if-it-lives", ""],
    ["reconcile", "--remove", ""],
    ["reconcile", "--keep", ""],
    ["reconcile", "--detach", ""],
    ["attachments", "--client", ""],
    ["attachments", "--disk", ""],
    ["space", "--disk", ""],
    ["space", "--vm", " "],
    ["mend", ""],
    ["mend", DISK, ""],
    ["fence-host", ""],
    ["shareable", ""],
    ["policy", "set", ""],
    ["policy", "set", DISK, "--qos", ""],
    ["policy", "explain", " "],
    ["policy", "default", ""],
)

NO_IDS = (
    ["trash", "purge", "nonsense"],
    ["trash", "purge", "00000000-0000-0000-0000-000000000000"],
    ["trash", "restore", "nonsense", "--into", DISK],
    ["backup", "restore", "nonsense", "--into", DISK],
    ["attachments", "--disk", "nonsense"],
    ["reconcile", "--remove", "nonsense"],
    ["reconcile", "--keep", "nonsense"],
    ["reconcile", "--detach", "nonsense"],
    ["shareable", "nonsense"],
)
NO_PURGE = (
    [],
    [DISK, "--all"],
    [DISK, "--oldest", "2"],
    ["--all", "--older-than", "24h"],
    ["--oldest", "0"],
    ["--oldest", "-1"],
    ["--oldest", "two"],
    ["--older-than", "0"],
    ["--older-than", "0h"],
    ["--older-than", "24"],
    ["--older-than", "-24h"],
    ["--older-than", "99999d"],
    ["--older-than", ""],
    [""],
)


def refusal(folder: Path, arguments: list[str]) -> str:
    """Run the command where neither API nor database is; return the one sentence with which it
    refuses."""
    said = subprocess.run(
        [children.find("storpool-ovirt"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "STORPOOL_OVIRT_ROOT": str(folder)},
    )
    assert (said.returncode, said.stdout) == (3 if arguments[0] in WATCHES else 2, ""), said
    assert said.stderr.count("\n") == 1
    return said.stderr


@pytest.mark.parametrize("option", ["--grace", "--limit"])
@pytest.mark.parametrize("given", NUMBERS)
@pytest.mark.parametrize("verb", ["audit", "reconcile"])
def test_a_number_that_cannot_be_meant(tmp_path: Path, verb: str, option: str, given: str) -> None:
    """T24: a grace period of `nan` is none at all, and would let everything be deleted."""
    assert f"'{option}'" in refusal(tmp_path, [verb, option, given])


@pytest.mark.parametrize("arguments", EMPTY, ids=" ".join)
def test_a_text_that_is_empty(tmp_path: Path, arguments: list[str]) -> None:
    """T24: a variable of a script that was never set does not mean what is taken without the
    option."""
    assert "it is empty" in refusal(tmp_path, arguments)


@pytest.mark.parametrize("arguments", NO_IDS, ids=" ".join)
def test_an_id_that_is_none(tmp_path: Path, arguments: list[str]) -> None:
    """T24: what oVirt or StorPool cannot have printed is told before anything is asked."""
    said = refusal(tmp_path, arguments)
    assert "as oVirt prints it" in said or "no object has this id" in said or "backup list" in said


@pytest.mark.parametrize("arguments", NO_PURGE, ids=" ".join)
def test_a_purge_of_what_nobody_can_mean(tmp_path: Path, arguments: list[str]) -> None:
    """T24, T83: exactly one way to choose, and no age of nothing, which is all of it."""
    said = refusal(tmp_path, ["trash", "purge", *arguments])
    if arguments[:1] == ["--older-than"] and arguments[1] in ("0", "0h"):
        assert "--all" in said


def test_the_folder_of_the_connectors_file_is_not_the_one_that_this_runs_in(tmp_path: Path) -> None:
    """T24: an empty --folder is refused, and nothing is written."""
    command = [sys.executable, "-m", "cinder_driver", "install", "--folder", ""]
    said = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert said.returncode == 2
    assert "it is empty" in said.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", '{"sp_auth_token": "SECRET-words-1"}'],
        ["audit", "{'sp_auth_token': 'SECRET-words-1'}"],
        ["audit", "postgresql://u:SECRET-words-1@h:1/d"],
        ["mend", DISK, DISK, "postgresql://u:SECRET-words-1@h:1/d"],
        ["reconcile", "--limit", "postgresql://u:SECRET-words-1@h:1/d"],
        ["postgresql://u:SECRET-words-1@h:1/d"],
        [
            "reconcile",
            "--database=postgresql://u:SECRET-words-1@h:1/d",
            "{'sp_auth_token': 'SECRET-words-1'",
        ],
    ],
)
def test_a_secret_in_a_wrong_place_is_not_shown(tmp_path: Path, arguments: list[str]) -> None:
    """T75: what is wrong with an argument is told with its text, but for a secret in it."""
    assert "SECRET" not in refusal(tmp_path, arguments)


def test_who_wants_a_domain_set_up_is_told_where(tmp_path: Path) -> None:
    """T24: `setup` is of machines; a domain has a command of its own."""
    assert "storpool-ovirt domain" in refusal(tmp_path, ["setup", "domain"])
    assert "'engine', 'host'" in refusal(tmp_path, ["setup", "somewhere"])
