"""storpool-ovirt on bad days: --dry-run, an empty table, Ctrl-C; always a sentence, never a
trace."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Callable

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import TOKEN
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import command, reconcile, survey
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Run = Callable[..., int]


@pytest.fixture
def run(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command as an administrator runs it on another machine than Engine's; it returns the
    exit code."""
    (tmp_path / "managedblock").mkdir()
    monkeypatch.setenv("ENGINE_LOG", str(tmp_path))
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(tmp_path))
    with yard.administrator() as engine:
        host, _, port = engine.client.address.rpartition(":")
    options = tmp_path / "options.json"
    options.write_text(
        json.dumps({"sp_api_http_host": host, "sp_api_http_port": port, "sp_auth_token": TOKEN})
    )
    where = ["--database", yard.url, "--options", str(options)]
    return lambda verb, *more: command.main(["storpool-ovirt", verb, *where, *more])


def bad_day(yard: Yard) -> dict[str, str]:
    """Leave one of each: a dead snapshot, a lost delete, an object without a row, a row without an
    object."""
    yard.verb("create", DISK, GIB)
    leak = yard.die_made("snapshot", DISK)
    yard.verb("create", CLONE, GIB)
    snapshot, ghost, unmapped = (yard.verb("snapshot", CLONE) for _ in range(3))
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", unmapped)
    yard.ask(f"SnapshotDelete/~{yard.global_id(ghost)}", {})
    yard.attach(1, yard.verb("connection", CLONE)["data"])
    yard.lose_delete("remove", snapshot)
    yard.simulator.advance(5)  # what was deleted leaves the lists after a while, whoever looks
    return {
        "leak": leak,
        "lost": snapshot,
        "ghost": ghost,
        "unmapped": f"~{yard.global_id(unmapped)}",
    }


def test_a_dry_run_changes_nothing(
    yard: Yard, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """T76: every command with --dry-run tells what it would do, with names or without, and does
    none of it."""
    ids = bad_day(yard)
    before = yard.world()
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
        assert yard.world() == before, more
    for more in ((), ("--location", yard.location)):
        run("rebuild", "--dry-run", *more)
        assert yard.world() == before, more
    run("audit", "--grace", "0")
    assert yard.world() == before
    assert "Traceback" not in capsys.readouterr().err


def test_a_dry_run_tells_what_the_run_does(
    yard: Yard, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """T72: each thing that is named goes with the same command without --dry-run, and the rest
    stays."""
    ids = bad_day(yard)
    for name in ("leak", "unmapped"):
        command = ("reconcile", "--grace", "0", "--remove", ids[name])
        assert run(*command, "--dry-run") == 0
        assert "would delete" in capsys.readouterr().out
        assert run(*command) == 0
        assert "deleted" in capsys.readouterr().out
    assert yard.uuids() == {DISK, CLONE, ids["lost"]}


def test_an_empty_table_of_ours_is_one_sentence(
    yard: Yard, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """T24: a half restored database is told with the table's name, to a verb and to the
    administrator."""
    with half_restored(yard):
        with pytest.raises(errors.DatabaseUnavailable, match=r"storpool_ovirt\.meta is empty"):
            yard.verb("create", DISK, GIB)
        for verb, code in (("audit", command.UNKNOWN), ("reconcile", 1), ("rebuild", 1)):
            assert run(verb) == code
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert "storpool_ovirt.meta is empty" in said


@contextlib.contextmanager
def half_restored(yard: Yard) -> Iterator[None]:
    """Empty a table of ours; the module's next test makes all of them anew."""
    yard.sql("DELETE FROM storpool_ovirt.meta")
    try:
        yield
    finally:
        yard.sql("DROP SCHEMA storpool_ovirt CASCADE")


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
    yard: Yard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71: what was done is done, and the next run does the rest."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    yard.die_made("snapshot", DISK)
    yard.die_made("snapshot", CLONE)
    carry_out, first = reconcile.carry_out, [True]

    def interrupted(*arguments: object) -> str:
        if not first:
            raise KeyboardInterrupt
        first.pop()
        return carry_out(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "carry_out", interrupted)
        assert run("reconcile", "--grace", "0") == 130
    assert len(yard.uuids()) == 3
    assert run("reconcile", "--grace", "0") == 0
    assert yard.uuids() == {DISK, CLONE}
    assert run("audit", "--grace", "0") == 0


def test_no_object_that_carries_other_tags_is_removed(yard: Yard, run: Run) -> None:
    """T76: an administrator's slip of the finger deletes nobody else's volume."""
    others = [each["globalId"] for each in yard.ask("VolumesList")]
    before = yard.world()
    for global_id in others:
        assert run("reconcile", "--grace", "0", "--remove", f"~{global_id}") == 1
    assert yard.world() == before


def test_an_undelivered_answer_is_taken_back(yard: Yard, run: Run) -> None:
    """T72: a snapshot whose answer nobody read is deleted by reconcile, with the entry that told of
    it."""
    yard.verb("create", DISK, GIB)
    with yard.engine("snapshot") as engine:
        disks.snapshot(engine, DISK)
        engine.mapping.journal.failed("undelivered", "nobody read it")
    assert run("audit", "--grace", "0") == 1
    assert run("reconcile", "--grace", "0") == 0
    assert run("audit", "--grace", "0") == 0
    assert yard.uuids() == {DISK}
