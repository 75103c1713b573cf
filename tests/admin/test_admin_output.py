"""What `storpool-ovirt` writes and where: outputs that nobody can read, bugs, names in any script,
secrets."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import storpool_ovirt
from rigs import refusals
from rigs.admin_site import AdminSite
from storpool_ovirt.admin import command, survey

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_SECONDS = 60

# How a shell ends the stdout of a command, and what is told then; `{}` is the command.
UNREAD = {
    "full": ("{} > /dev/full", "No space left on device"),
    "closed": ("{} >&-", "stdout is closed"),
    "a broken pipe": ("{ {}; echo $? >&3; } 3>code | true; exit $(cat code)", "Broken pipe"),
}
# One command of each kind, and the commands' own words.
COMMANDS = (
    ["audit"],
    ["audit", "--json"],
    ["reconcile"],
    ["rebuild", "--dry-run"],
    ["attachments", "--json"],
    ["--help"],
    ["audit", "--help"],
)


def in_shell(
    site: AdminSite, line: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell runs it, with its streams where `line` leads them."""
    from ovirt_demo import children

    options = site.folder / "options.json"
    options.write_text(json.dumps(site.stage.engine.options))
    where = (
        []
        if arguments[-1] == "--help"
        else ["--database", site.stage.database.url, "--options", str(options)]
    )
    command = (
        f'sleep 0.2; {children.find("storpool-ovirt")} "$@"'
        if "|" in line
        else (f'{children.find("storpool-ovirt")} "$@"')
    )
    said = subprocess.run(
        ["sh", "-c", line.replace("{}", command), "sh", *arguments, *where],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        stdin=subprocess.DEVNULL,
        cwd=site.folder,
        env={
            **os.environ,
            **site.stage.engine.environment,
            "STORPOOL_OVIRT_ROOT": str(site.folder),
            **environment,
        },
    )
    assert "Traceback" not in said.stdout + said.stderr
    return said


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("how", UNREAD)
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_output_that_nobody_can_read_is_one_sentence(
    site: AdminSite, how: str, arguments: list[str]
) -> None:
    """T24, T72: exit code 3 and the reason, where monitoring would take 0 for "all is well"."""
    line, why = UNREAD[how]
    said = in_shell(site, line, *arguments)
    assert (said.returncode, said.stdout) == (3, ""), said
    assert said.stderr.startswith("storpool-ovirt: the output could not be written (")
    assert why in said.stderr or arguments[-1] == "--help"
    assert said.stderr.count("\n") == 1


@pytest.mark.usefixtures("disk")
def test_nothing_is_mended_where_nobody_can_read_it(site: AdminSite, disk: str) -> None:
    """T72: a command whose report goes nowhere from the start is not begun."""
    site.leak(disk)
    before = site.stage.simulator.api("SnapshotsList")
    for line in (UNREAD["closed"][0], UNREAD["full"][0]):
        assert in_shell(site, line, "reconcile", "--grace", "0").returncode == 3
    assert site.stage.simulator.api("SnapshotsList") == before


def test_a_command_without_any_stream_ends_by_itself(site: AdminSite) -> None:
    """T24: with all three descriptors closed nothing else takes their places, and the exit code
    tells."""
    said = in_shell(site, "{} <&- >&- 2>&-", "audit")
    assert (said.returncode, said.stdout, said.stderr) == (3, "", "")
    assert in_shell(site, "{} <&- 2>&-", "audit").returncode == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_a_bug_is_one_sentence(
    site: AdminSite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    """T24: whatever it is, exit code 3; its trace is in the log, and a program that reads JSON gets
    JSON."""

    def bug(*_arguments: object) -> None:
        raise LookupError("ouch")

    monkeypatch.setattr(survey, "look", bug)
    log = log_of(site.folder, monkeypatch)
    options = site.folder / "options.json"
    options.write_text(json.dumps(site.stage.engine.options))
    where = [
        "--database",
        site.stage.database.url,
        "--options",
        str(options),
        *(["--json"] if as_json else []),
    ]
    assert command.main(["storpool-ovirt", "audit", *where]) == 3
    out, err = capsys.readouterr()
    sentence = json.loads(out)["error"] if as_json else err.partition("storpool-ovirt: ")[2]
    assert "internal error LookupError" in sentence
    assert str(log) in sentence
    assert "Traceback" not in out + err
    assert "ouch" in log.read_text()


def log_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the command's log in a folder of its own; return its path."""
    (folder / "managedblock").mkdir()
    monkeypatch.setenv("ENGINE_LOG", str(folder))
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(folder))
    return folder / "managedblock" / "storpool-ovirt.log"


@pytest.mark.parametrize(
    "arguments", [["audit", "--json", "--no-such"], ["attachments", "--json", "--disk", "x"]]
)
def test_a_program_that_reads_json_gets_json(site: AdminSite, arguments: list[str]) -> None:
    """T24: a refusal too is a document, with the exit code that it has for people."""
    said = in_shell(site, "{}", *arguments)
    assert said.returncode == (3 if arguments[0] == "audit" else 2)
    assert list(json.loads(said.stdout)) == ["error"]
    assert said.stderr == ""


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "1"}]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_names_of_any_script_are_told(
    site: AdminSite, disk: str, environment: dict[str, str], as_json: bool
) -> None:
    """A volume that somebody renamed: its name is whole, or in numbers where the stream has no such
    letters."""
    name = "диск-1"
    site.stage.simulator.api("VolumesList")  # the cluster is there
    conf = site.folder / "etc" / "storpool.conf"
    conf.parent.mkdir(exist_ok=True)
    conf.write_text(f"[{name}]\nSP_OURID=1\n", encoding="utf-8")
    from rigs import shared_stage

    shared_stage.attach(site.stage, 1, disk)
    said = in_shell(site, "{}", "attachments", *(["--json"] if as_json else []), **environment)
    assert (said.returncode, said.stderr) == (0, "")
    if as_json:
        assert json.loads(said.stdout)["attachments"][0]["host"] == name
    elif "PYTHONIOENCODING" in environment:
        assert name.encode("ascii", "backslashreplace").decode() in said.stdout
    else:
        assert name in said.stdout


def test_a_file_of_options_in_another_encoding_is_one_sentence(site: AdminSite) -> None:
    """T75: an editor of another system wrote it as UTF-16."""
    path = site.folder / "wrong.json"
    path.write_bytes(json.dumps({"sp_template": "диск"}).encode("utf-16"))
    assert "UTF-8" in refusals.of_command(site.run("audit", "--options", str(path)), 3)


def test_no_line_is_longer_than_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """T24: what others chose is cut in the middle, and what cannot be seen in it is shown."""
    from storpool_ovirt import sentences
    from storpool_ovirt.admin import console

    out = console.Console("storpool-ovirt")
    out.hide("a-secret-word")
    out.say("\x1b[31mfirst " + 2000 * "x" + " a-secret-word last\nsecond")
    first, second = capsys.readouterr().out.splitlines()
    assert len(first) <= sentences.SENTENCE_MAX
    assert first.startswith("\\x1b[31mfirst")
    assert first.endswith("*** last")
    assert second == "second"


def test_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines for people; without a verb with the exit code of a wrong use."""
    for arguments, code in ([], 2), (["-h"], 0), (["--help"], 0), (["audit", "-h"], 0):
        assert command.main(["storpool-ovirt", *arguments]) == code
        said = capsys.readouterr()
        assert said.out.startswith("Usage: storpool-ovirt ")
        assert (said.out.count("\n") > 10, "\\n" in said.out, said.err) == (True, False, "")
    assert command.main(["storpool-ovirt", "--version"]) == 0
    assert capsys.readouterr().out == f"storpool-ovirt {storpool_ovirt.__version__}\n"
