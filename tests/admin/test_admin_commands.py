"""The commands of `storpool-ovirt`: a row and a file for each, which is loaded when it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from storpool_ovirt.admin import command, commands

FOLDER = Path(commands.__file__).parent
LIMIT_SECONDS = 60


def run_without(*arguments: str, without: tuple[str, ...] = (), then: str = "") -> str:
    """Run the command in a Python that lacks some libraries; return its exit code and what it
    said."""
    code = f"""
import sys
for name in {without!r}:
    sys.modules[name] = None
from storpool_ovirt.admin import command
code = command.main(["storpool-ovirt", *sys.argv[1:]])
{then}
print(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
    return done.stdout + done.stderr


def test_each_command_has_a_row_and_a_file() -> None:
    """The file is named as the command is."""
    files = {each.stem.replace("_", "-") for each in FOLDER.glob("*.py")} - {"--init--"}
    assert files == set(commands.TABLE)
    assert list(commands.TABLE) == sorted(commands.TABLE)


@pytest.mark.parametrize("name", commands.TABLE)
def test_each_command_tells_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own help names it, and says what it takes; the list of all has its row."""
    assert command.main(["storpool-ovirt", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: storpool-ovirt {name} ")
    assert (commands.loaded(name).help or "").count(".") >= 1
    assert command.main(["storpool-ovirt", "--help"]) == 0
    assert f"  {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    sorted(
        set(commands.TABLE)
        - {"audit", "attachments", "backups", "demo", "domain", "snapshots", "space"}
    ),
)
def test_each_command_that_changes_something_has_a_dry_run(name: str) -> None:
    """T72: an administrator may always ask first what would be done; `domain` makes nothing without
    --create."""
    made = commands.loaded(name)
    below = dict(made.commands) if isinstance(made, click.Group) else {name: made}
    for looks in ("list", "explain"):
        below.pop(looks, None)
    for each in below.values():
        assert "dry_run" in {param.name for param in each.params}


@pytest.mark.parametrize("name", ["backup", "policy", "trash"])
def test_a_command_with_others_below_tells_them(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed alone it does nothing: exit code 2, and its help, in its lines."""
    assert command.main(["storpool-ovirt", name]) == 2
    said = capsys.readouterr()
    assert said.err == ""
    assert "\nCommands:\n" in said.out
    assert "..." not in said.out.partition("\nCommands:\n")[2]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (("polcy",), 'No such command: "polcy". Did you mean policy?'),
        (("xyzzy",), 'No such command: "xyzzy". storpool-ovirt --help has all.'),
        (("backup", "lst"), 'No such command: "lst". Did you mean list?'),
        (("trash", "purge", "1234"), "it is not a UUID"),
    ],
)
def test_a_command_that_there_is_not(
    typed: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told what was meant."""
    assert command.main(["storpool-ovirt", *typed]) == 2
    assert why in capsys.readouterr().err


def test_the_list_of_all_loads_none_of_them() -> None:
    """It is told at once, and without the libraries that only some of them need."""
    then = "print([name for name in sys.modules if name.startswith(command.__package__)])"
    said = run_without("--help", without=("psycopg2", "rich"), then=then)
    assert said.startswith("Usage: storpool-ovirt ")
    assert ".admin.commands'" in said
    assert ".admin.commands." not in said


def test_what_prints_for_people_alone_is_not_loaded_for_programs() -> None:
    """--json does without the library that knows how wide a character is on a terminal."""
    then = """
from storpool_ovirt.admin import commands
print(len([commands.loaded(each) for each in commands.TABLE]), "rich.cells" in sys.modules)
"""
    assert run_without("--help", then=then).splitlines()[-2] == f"{len(commands.TABLE)} False"


@pytest.mark.parametrize(
    ("arguments", "without", "code"),
    [
        (("audit",), "psycopg2", 3),
        (("reconcile",), "psycopg2", 1),
        (("fence-host", "1"), "click", 1),
        (("audit",), "click", 3),
    ],
)
def test_a_library_that_is_missing_is_one_sentence(
    arguments: tuple[str, ...], without: str, code: int
) -> None:
    """T24: which one, and how it is installed."""
    said = run_without(*arguments, without=(without,)).splitlines()
    assert said[0] == str(code)
    assert said[1].startswith(f"storpool-ovirt: {without} is not installed: run  ")
    assert "--require-hashes" in said[1]
    assert len(said) == 2


@pytest.mark.parametrize("name", sorted(commands.TABLE))
def test_a_command_tells_its_options_without_a_database(name: str) -> None:
    """A host has no library for one: what works there is found out there."""
    assert f"Usage: storpool-ovirt {name} " in run_without(name, "--help", without=("psycopg2",))


def test_options_that_only_the_domain_has_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are set, in oVirt, where this command cannot see them: it says how to tell them."""
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(tmp_path))
    assert command.main(["storpool-ovirt", "audit"]) == 3
    said = capsys.readouterr().err
    assert "sp_api_http_host, which /etc/storpool.conf does not tell, is missing: give" in said
    assert '--options FILE with the domain\'s driver options, like {"sp_api_http_host": ' in said
