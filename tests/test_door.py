"""door.py: whatever happens inside a program of a host comes out as one sentence, and the trace is in the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from storpool_ovirt import door, errors, log, streams

LOG_FILE = "/var/log/vdsm/x.log"


def raising(error: BaseException) -> Any:
    """Return work that ends so."""

    def work() -> None:
        raise error

    return work


@pytest.fixture
def journal(tmp_path: Path) -> log.Log:
    """A log that knows a secret."""
    made = log.Log("test", str(tmp_path / "x.log"))
    made.hide("token-1234")
    return made


def test_what_works_comes_through(journal: log.Log) -> None:
    """An answer that is empty is an answer too."""
    assert door.guarded(lambda: "", journal, LOG_FILE) == ("", "")
    assert door.guarded(list, journal, LOG_FILE) == ([], "")


@pytest.mark.parametrize(
    ("error", "reason", "traced"),
    [
        (errors.NotFound("volume", "token-1234\nx"), "there is no volume *** x", False),
        (ImportError("x"), "a library is missing or broken (x): install storpool-ovirt[host] for this Python", False),
        (ZeroDivisionError("token-1234"), f"internal error ZeroDivisionError: see {LOG_FILE} or syslog on this host",
         True),
    ],
    ids=["ours", "import", "bug"],
)  # fmt: skip
def test_what_fails_is_one_sentence(
    journal: log.Log, tmp_path: Path, error: Exception, reason: str, traced: bool
) -> None:
    """T75: no secret, no line break, and a trace only for a bug, in the log."""
    assert door.guarded(raising(error), journal, LOG_FILE) == (None, reason)
    written = (tmp_path / "x.log").read_text()
    assert ("Traceback" in written) == traced
    assert "token-1234" not in written


def test_an_end_that_is_asked_for_is_no_failure(journal: log.Log) -> None:
    """A signal that ends the process is not turned into an answer."""
    with pytest.raises(KeyboardInterrupt):
        door.guarded(raising(KeyboardInterrupt()), journal, LOG_FILE)


def test_an_answer_that_nobody_reads(journal: log.Log, tmp_path: Path) -> None:
    """It is told in the log, with what it was about."""
    answer = streams.Answer.__new__(streams.Answer)
    read, write = os.pipe()
    os.close(read)
    answer._out = answer._err = write
    try:
        assert not door.delivered(answer, "x", journal, action="attach")
    finally:
        os.close(write)
    assert 'answer_not_delivered action=attach reason="' in (tmp_path / "x.log").read_text()
