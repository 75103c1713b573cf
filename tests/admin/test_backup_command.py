"""commands/backup.py: what is typed after `storpool-ovirt backup`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest
from click import shell_completion

from rigs import backup_yard, disk_rig, far_cluster
from rigs.backup_yard import BackupYard
from rigs.yard import DISK
from storpool_ovirt.admin import command, group
from storpool_ovirt.engine import copies_seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

OWN = {"--to", "--keep", "--no-wait", "--database", "--options", "--dry-run", "--json", "--limit"}
BELOW = {"list", "restore", "expire", "make"}


def completed(*words: str) -> set[str]:
    """Return how the last of these words may go on."""
    made = shell_completion.ShellComplete(
        group.all_of(command.PROGRAM, ""), {}, command.PROGRAM, command.COMPLETE
    )
    return {each.value for each in made.get_completions(list(words[:-1]), words[-1])}


def test_its_help_tells_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Both ways to type it, the options of the one without a word, and the words."""
    assert command.main(["storpool-ovirt", "backup", "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: storpool-ovirt backup DISK|VM --to LOCATION [OPTIONS]\n")
    assert "       storpool-ovirt backup COMMAND [ARGS]...\n" in said
    for each in OWN | BELOW:
        assert f"\n  {each} " in said, each
    assert said.count("--help") == 1


def test_a_tab_completes_what_it_takes() -> None:
    """Options before the id too; the commands where no option was begun."""
    assert completed("backup", "--") == OWN | {"--help"}
    assert completed("backup", "--t") == {"--to"}
    assert completed("backup", "DISK", "--t") == {"--to"}
    assert completed("backup", "") == BELOW
    assert completed("backup", "restore", "--") >= {"--into", "--from-remote"}
    assert "--into" not in completed("backup", "--")


@pytest.fixture
def yard(
    module_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BackupYard]:
    """A yard with a far side, and a disk."""
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(tmp_path))
    with backup_yard.opened(module_database, tmp_path) as opened:
        opened.disk(DISK, b"data")
        api = {"sp_api_http_host": opened.simulator.host, "sp_api_http_port": opened.simulator.port}
        options = {**api, "sp_auth_token": disk_rig.TOKEN}
        (tmp_path / "options.json").write_text(json.dumps(options))
        yield opened


def typed(yard: BackupYard, folder: Path, *words: str) -> int:
    """Run a command as an administrator does; return the exit code."""
    where = ["--database", yard.url, "--options", str(folder / "options.json")]
    return command.main(["storpool-ovirt", "backup", DISK, *words, *where])


def test_a_rehearsal_is_refused_as_the_copy_is(
    yard: BackupYard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """T72: nothing is told of what would be done when it would not; else all of it is."""
    before = yard.world()
    assert typed(yard, tmp_path, "--to", "nowhere", "--dry-run") == 1
    said = capsys.readouterr()
    assert "it knows rem" in said.err
    assert said.out == ""
    assert typed(yard, tmp_path, "--to", far_cluster.LOCATION, "--dry-run") == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == f"disk {DISK} would be copied to rem at one moment"
    assert second.startswith("  would send: POST VolumesGroupBackup")
    assert rest == ["  would write to the mapping database"]  # it goes to its end
    assert yard.world() == before


def test_who_interrupts_the_wait_is_told_that_it_goes_on(
    yard: BackupYard,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F62: once more would send the whole disk once more."""

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    yard.sides.slow(100)
    monkeypatch.setattr(copies_seen, "wait", interrupted)
    assert typed(yard, tmp_path, "--to", far_cluster.LOCATION) == 130
    said = capsys.readouterr()
    assert "interrupted: it is on its way to rem and goes on by itself" in said.err
    assert "again" not in said.err
    assert [each.state for each in yard.copies()] == [copies_seen.ON_THE_WAY]


def test_a_rehearsal_for_programs_is_refused(
    yard: BackupYard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """T72: who reads JSON gets no lines that are none."""
    assert typed(yard, tmp_path, "--to", far_cluster.LOCATION, "--dry-run", "--json") == 2
    said = capsys.readouterr()
    assert "--dry-run is told in lines only: leave out --json." in said.out + said.err
    assert "would" not in said.out + said.err


def expired(yard: BackupYard, folder: Path, conf: str, *words: str) -> int:
    """Give up old copies with this in storpool.conf; return the exit code."""
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/storpool.conf").write_text(conf)
    where = ["--database", yard.url, "--options", str(folder / "options.json")]
    return command.main(["storpool-ovirt", "backup", "expire", *words, *where])


@pytest.mark.parametrize(
    ("conf", "words", "said"),
    [
        ("", (), "SP_OVIRT_BACKUP_KEEP in /etc/storpool.conf is missing, and --keep was not given"),
        (
            "SP_OVIRT_BACKUP_KEEP=0\n",
            (),
            "SP_OVIRT_BACKUP_KEEP in /etc/storpool.conf is 0, which would keep nothing",
        ),
        (
            "SP_OVIRT_BACKUP_KEEP=7\n",
            (),
            'is no time like 48h or 30m ("7"): say how long copies are kept',
        ),
        ("SP_OVIRT_BACKUP_KEEP=9999d\n", (), "is too long"),
        ("SP_OVIRT_BACKUP_KEEP=7d\n", ("--keep", "0"), "--keep 0 would keep nothing"),
    ],
)
def test_how_long_copies_are_kept_has_to_be_said(
    yard: BackupYard,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    conf: str,
    words: tuple[str, ...],
    said: str,
) -> None:
    """Nothing is asked, and no copy is given up."""
    yard.queries()
    assert expired(yard, tmp_path, conf, *words) in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())
    assert yard.queries() == []


def test_storpool_conf_says_it_where_nobody_does(
    yard: BackupYard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is typed wins."""
    assert expired(yard, tmp_path, "SP_OVIRT_BACKUP_KEEP=7d\n") == 0
    assert capsys.readouterr().out == "0 copies older than 7 d given up\n"
    assert expired(yard, tmp_path, "SP_OVIRT_BACKUP_KEEP=7d\n", "--keep", "30d") == 0
    assert capsys.readouterr().out == "0 copies older than 30 d given up\n"
