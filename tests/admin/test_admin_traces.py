"""storpool-ovirt on bad days: --dry-run, an empty table, Ctrl-C; always a sentence, never a
trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Callable

import pytest

from rigs.disk_rig import TOKEN
from rigs.recovery_rig import CLONE, DISK, GIB, Rig
from storpool_ovirt import errors
from storpool_ovirt.admin import command, reconcile, survey
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

Run = Callable[..., int]


@pytest.fixture
def run(rig: Rig, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command as an administrator runs it on another machine than Engine's; it returns the
    exit code."""
    (tmp_path / "managedblock").mkdir()
    monkeypatch.setenv("ENGINE_LOG", str(tmp_path))
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(tmp_path))
    with rig.administrator() as engine:
        host, _, port = engine.client.address.rpartition(":")
    options = tmp_path / "options.json"
    options.write_text(
        json.dumps({"sp_api_http_host": host, "sp_api_http_port": port, "sp_auth_token": TOKEN})
    )
    where = ["--database", database.url, "--options", str(options)]
    return lambda verb, *more: command.main(["storpool-ovirt", verb, *where, *more])


def bad_day(rig: Rig) -> dict[str, str]:
    """Leave one of each: a dead snapshot, a lost delete, an object without a row, a row without an
    object."""
    rig.verb("create", DISK, GIB)
    leak = rig.die_when_made("snapshot", DISK)
    rig.verb("create", CLONE, GIB)
    snapshot, ghost, unmapped = (rig.verb("snapshot", CLONE) for _ in range(3))
    rig.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", unmapped)
    rig.api(f"SnapshotDelete/~{rig.global_id(ghost)}", {})
    rig.attach(1, rig.verb("connection", CLONE)["data"])
    rig.lose_delete("remove", snapshot)
    rig._simulator.advance(5)  # what was deleted leaves the lists after a while, whoever looks
    return {
        "leak": leak,
        "lost": snapshot,
        "ghost": ghost,
        "unmapped": f"~{rig.global_id(unmapped)}",
    }


def test_a_dry_run_changes_nothing(rig: Rig, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """T76: every command with --dry-run tells what it would do, with names or without, and does
    none of it."""
    ids = bad_day(rig)
    before = rig.state()
    named = [("--remove", each) for each in ids.values()]
    kept = [("--keep", each) for each in (*ids.values(), DISK, CLONE) if not each.startswith("~")]
    for more in (
        (),
        ("--remove", DISK),
        *named,
        *kept,
        ("--detach", CLONE),
        ("--detach", ids["lost"]),
    ):
        run("reconcile", "--grace", "0", "--dry-run", *more)
        assert rig.state() == before, more
    for more in ((), ("--location", rig.location)):
        run("rebuild", "--dry-run", *more)
        assert rig.state() == before, more
    run("audit", "--grace", "0")
    assert rig.state() == before
    assert "Traceback" not in capsys.readouterr().err


def test_a_dry_run_tells_what_the_run_does(
    rig: Rig, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """T72: each thing that is named goes with the same command without --dry-run, and the rest
    stays."""
    ids = bad_day(rig)
    for name in ("leak", "unmapped"):
        command = ("reconcile", "--grace", "0", "--remove", ids[name])
        assert run(*command, "--dry-run") == 0
        assert "would delete" in capsys.readouterr().out
        assert run(*command) == 0
        assert "deleted" in capsys.readouterr().out
    assert rig.uuids() == {DISK, CLONE, ids["lost"]}


def test_an_empty_table_of_ours_is_one_sentence(
    rig: Rig, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """T24: a half restored database is told with the table's name, to a verb and to the
    administrator."""
    rig.sql("DELETE FROM storpool_ovirt.meta")
    with pytest.raises(errors.DatabaseUnavailable, match=r"storpool_ovirt\.meta is empty"):
        rig.verb("create", DISK, GIB)
    for verb, code in (("audit", command.UNKNOWN), ("reconcile", 1), ("rebuild", 1)):
        assert run(verb) == code
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "storpool_ovirt.meta is empty" in said


@pytest.mark.parametrize("verb", ["audit", "reconcile", "rebuild"])
def test_ctrl_c_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """T24: who breaks a command off reads that it can be run again, and the shell gets the exit
    code for it."""

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(survey, "look", interrupt)
    assert run(verb) == 130
    said = capsys.readouterr().err.strip()
    assert "run it again" in said
    assert "\n" not in said


def test_a_broken_off_reconcile_goes_on(
    rig: Rig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71: what was done is done, and the next run does the rest."""
    rig.verb("create", DISK, GIB)
    rig.verb("create", CLONE, GIB)
    rig.die_when_made("snapshot", DISK)
    rig.die_when_made("snapshot", CLONE)
    carry_out, first = reconcile.carry_out, [True]

    def interrupted(*arguments: object) -> str:
        if not first:
            raise KeyboardInterrupt
        first.pop()
        return carry_out(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "carry_out", interrupted)
        assert run("reconcile", "--grace", "0") == 130
    assert len(rig.uuids()) == 3
    assert run("reconcile", "--grace", "0") == 0
    assert rig.uuids() == {DISK, CLONE}
    assert run("audit", "--grace", "0") == 0


def test_no_object_that_carries_other_tags_is_removed(rig: Rig, run: Run) -> None:
    """T76: an administrator's slip of the finger deletes nobody else's volume."""
    others = [each["globalId"] for each in rig.api("VolumesList")]
    before = rig.state()
    for global_id in others:
        assert run("reconcile", "--grace", "0", "--remove", f"~{global_id}") == 1
    assert rig.state() == before


def test_an_undelivered_answer_is_taken_back(rig: Rig, run: Run) -> None:
    """T72: a snapshot whose answer nobody read is deleted by reconcile, with the entry that told of
    it."""
    rig.verb("create", DISK, GIB)
    with rig.engine("snapshot") as engine:
        disks.snapshot(engine, DISK)
        engine.mapping.journal.failed("undelivered", "nobody read it")
    assert run("audit", "--grace", "0") == 1
    assert run("reconcile", "--grace", "0") == 0
    assert run("audit", "--grace", "0") == 0
    assert rig.uuids() == {DISK}
