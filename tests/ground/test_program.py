"""program.py: whatever happens inside a program of a host comes out as one sentence, and the trace
is in the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from storpool_ovirt import errors, installation, program
from storpool_ovirt.log import Log

LOG_FILE = "/var/log/vdsm/x.log"


def raising(error: BaseException) -> Any:
    """Return work that ends so."""

    def work() -> None:
        raise error

    return work


@pytest.fixture(autouse=True)
def endless(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the process of the tests live; return the limits that would have ended it."""
    limits: list[float] = []
    monkeypatch.setattr(program, "limit_end", limits.append)
    return limits


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """A log that knows a secret."""
    made = Log("test", str(tmp_path / "x.log"))
    made.hide("token-1234")
    return made


def test_what_works_comes_through(log: Log) -> None:
    """An answer that is empty is an answer too."""
    assert program.guarded(lambda: "", log, LOG_FILE) == ("", "")
    assert program.guarded(list, log, LOG_FILE) == ([], "")


@pytest.mark.parametrize(
    ("error", "reason", "traced"),
    [
        (errors.NotFound("volume", "token-1234\nx"), r"there is no volume ***\nx", False),
        (
            MemoryError(),
            "this machine has not enough memory left: free some, then try again",
            False,
        ),
        (KeyboardInterrupt(), "it was interrupted before it was done: try again", False),
        (
            RecursionError("x"),
            f"internal error RecursionError: see {LOG_FILE} or syslog on this host",
            True,
        ),
        (
            ImportError("token-1234"),
            f"a library is missing or broken (***): run  {installation.mend(installation.HOST)}",
            False,
        ),
        (
            ImportError("x"),
            f"a library is missing or broken (x): run  {installation.mend(installation.HOST)}",
            False,
        ),
        (
            ZeroDivisionError("token-1234"),
            f"internal error ZeroDivisionError: see {LOG_FILE} or syslog on this host",
            True,
        ),
    ],
    ids=["ours", "memory", "Ctrl-C", "depth", "library", "import", "bug"],
)
def test_what_fails_is_one_sentence(
    log: Log, tmp_path: Path, error: BaseException, reason: str, traced: bool
) -> None:
    """T75: no secret, no line break, and a trace only for a bug, in the log."""
    assert program.guarded(raising(error), log, LOG_FILE) == (None, reason)
    written = (tmp_path / "x.log").read_text()
    assert ("Traceback" in written) == traced
    assert "token-1234" not in written


def test_a_trace_that_cannot_be_told_hides_nothing(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no memory for the trace there is still a sentence."""
    monkeypatch.setattr(log, "trace", raising(MemoryError()))
    assert program.guarded(raising(ZeroDivisionError()), log, LOG_FILE)[1].startswith(
        "internal error ZeroDivision"
    )
    assert "trace_lost reason=MemoryError" in (tmp_path / "x.log").read_text()


def test_a_sentence_is_never_longer_than_one_is_read(log: Log) -> None:
    """T75: a reason of another's is cut in the middle, after the secrets in it were masked."""
    said = program.guarded(
        raising(errors.Rejected("VolumeCreate", "x", "token-1234 " * 100_000)), log, LOG_FILE
    )[1]
    assert len(said) <= 1000
    assert "are left out" in said
    assert "token" not in said


def test_an_answer_that_nobody_reads(log: Log, tmp_path: Path) -> None:
    """It is told in the log, with what it was about."""
    answer = program.Answer.__new__(program.Answer)
    read, write = os.pipe()
    os.close(read)
    answer._out = answer._err = write
    answer._missing = set()
    try:
        assert not program.delivered(answer, "x", log, action="attach")
    finally:
        os.close(write)
    assert 'answer_not_delivered action=attach reason="' in (tmp_path / "x.log").read_text()
