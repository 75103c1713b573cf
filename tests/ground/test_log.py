"""log.py: one line for each change, never a secret, never a failure of the work."""

from __future__ import annotations

import re
from pathlib import Path

from storpool_ovirt.log import Log


def test_a_line_has_the_time_the_program_the_correlation_id_and_the_facts(tmp_path: Path) -> None:
    """One line for each change: who, for which action of Engine, what, on which objects."""
    log = Log("storpool-adapter", str(tmp_path / "a.log"))
    log.correlation_id = "-abc"
    log.line("volume_created", volume="5b8e", size_bytes=1 << 30, note="two words")
    text = (tmp_path / "a.log").read_text()
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z storpool-adapter\[\d+\] -abc volume_created"
        r' volume=5b8e size_bytes=1073741824 note="two words"\n'
    )
    assert re.fullmatch(pattern, text)


def test_a_fact_cannot_make_a_second_line(tmp_path: Path) -> None:
    """Line breaks and other control characters in facts are escaped: nobody can forge a line."""
    log = Log("p", str(tmp_path / "a.log"))
    log.line("verb_failed", reason="a\nb\r\x1b[31mc\udc80")
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert len(lines) == 1
    assert r"a\nb\r\x1b[31mc\udc80" in lines[0]
    log.correlation_id = "vm\n2026 forged"
    log.line(
        "event", reason='x" verdict="fine', name="Größe 虚", path="C:\\x y", long="z" * 100_000
    )
    line = (tmp_path / "a.log").read_text().splitlines()[1]
    assert r"vm\n2026 forged event" in line
    assert r'reason="x\" verdict=\"fine" name="Größe 虚" path="C:\\x y" long=zzz' in line
    assert len(line) < 5000


def test_secrets_are_masked_wherever_they_stand(tmp_path: Path) -> None:
    """T75: the token and the password never reach the log, also inside words that others chose."""
    log = Log("p", str(tmp_path / "a.log"))
    log.hide("1556560560218011653")
    log.line("verb_failed", reason="bad header Storpool v1:1556560560218011653!")
    assert "1556560560218011653" not in (tmp_path / "a.log").read_text()
    assert log.masked("x1556560560218011653y") == "x***y"
    assert log.sentence(ValueError("1556560560218011653\n")) == "***"
    log.hide("pa ss\"\\word'ä")
    log.correlation_id = "1556560560218011653"
    log.line("verb_failed", reason='it is "pa ss"\\word\'ä"', again=repr("pa ss\"\\word'ä"))
    written = (tmp_path / "a.log").read_text()
    assert "1556560560218011653" not in written
    assert "ss" not in written


def test_a_log_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    """Where the folder is missing lines go to syslog, and a full disk is no error of the verb."""
    missing = Log("storpool-adapter", str(tmp_path / "missing" / "a.log"))
    assert missing.descriptor is None
    missing.line("event")
    full = Log("storpool-adapter", "/dev/full")
    full.line("event")
