"""Checks run side by side: each has its time, its process, and no secret of its own to tell."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_ovirt import errors
from storpool_ovirt.doctor import asking, checks, run
from storpool_ovirt.doctor.checks import Check, Result, Site

pytestmark = pytest.mark.fast
SITE = Site(checks.HOST)
# Longer than a test has patience for.
FOREVER = 300


def found(*looks: object, seconds: float = 5.0, limit: float = 8.0) -> list[Result]:
    """Return what checks find that look in these ways."""
    table = [Check(f"check-{at}", "", look, seconds) for at, look in enumerate(looks)]  # type: ignore[arg-type]
    return [each.result for each in run.examined(SITE, table, limit)]


def test_results_come_in_the_order_of_the_table() -> None:
    """Whichever check ends first; one may have several results, or none."""

    def slow(site: Site) -> Iterator[Result]:
        time.sleep(0.2)
        yield checks.ok("a")
        yield Result(checks.CRITICAL, "b", "risk", "fix", "subject")

    def none(site: Site) -> Iterator[Result]:
        return iter(())

    def fast(site: Site) -> list[Result]:
        return [checks.ok("c")]

    results = found(slow, none, fast)
    assert [each.cause for each in results] == ["a", "b", "c"]
    assert results[1] == Result("critical", "b", "risk", "fix", "subject")


def test_checks_of_one_id_are_told_each() -> None:
    """One for each of several things, side by side."""
    table = [Check("same", "", lambda _, at=at: [checks.ok(str(at))]) for at in range(3)]  # type: ignore[misc]
    assert [each.result.cause for each in run.examined(SITE, table, 8.0)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (errors.ConfigError("that", "is wrong", "correct it"), "that is wrong: correct it"),
        (asking.Missing("multipathd is not here"), "multipathd is not here"),
        (PermissionError(13, "Permission denied", "/etc/x"), "/etc/x: Permission denied"),
        (ModuleNotFoundError("no", name="psycopg2._x"), "psycopg2 is not installed"),
        (ValueError("odd"), "internal error of this check, ValueError: odd"),
    ],
)
def test_what_could_not_look_is_unknown(raised: Exception, said: str) -> None:
    """Neither good nor bad, and what was seen before is kept."""

    def look(site: Site) -> Iterator[Result]:
        yield checks.ok("seen")
        raise raised

    seen, failed = found(look)
    assert (seen.result, failed.result, failed.cause) == ("ok", "unknown", said)


def test_a_check_that_hangs_is_ended_with_all_that_it_started() -> None:
    """Its own sleep, a tool that never ends, a process that the tool left: none outlives it."""
    mark = f"{FOREVER}.{os.getpid()}"

    def hangs(site: Site) -> Iterator[Result]:
        subprocess.Popen(["sleep", mark])
        time.sleep(FOREVER)
        yield checks.ok("never")

    def asks(site: Site) -> Iterator[Result]:
        asking.ask(site, ["sh", "-c", f"sleep {mark} & sleep {FOREVER}"])
        yield checks.ok("never")

    began = time.monotonic()
    hung, silent = found(hangs, asks, seconds=1.0)
    assert time.monotonic() - began < 4
    assert hung.result == silent.result == "unknown"
    assert "did not end within" in hung.cause
    assert silent.cause.startswith("sh did not end within 0.")
    assert (
        mark not in subprocess.run(["ps", "-ef"], capture_output=True, check=True).stdout.decode()
    )


def test_the_limit_of_all_is_shorter_than_that_of_one() -> None:
    """Who waits for ten seconds is not kept for longer by a name server."""

    def silent(site: Site) -> Iterator[Result]:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.accept()
        yield checks.ok("never")

    began = time.monotonic()
    [result] = found(silent, seconds=60, limit=0.5)
    assert result.result == "unknown"
    assert time.monotonic() - began < 3


def test_a_process_that_dies_is_unknown() -> None:
    """Killed, or ended by a library."""
    [killed, ended] = found(lambda _: os.kill(os.getpid(), 9), lambda _: os._exit(3))
    assert killed.cause == ended.cause == "the process of this check died"


def test_no_secret_is_told() -> None:
    """Those that a check has named, wherever they stand; what cannot be seen is shown as text."""

    def look(site: Site) -> Iterator[Result]:
        site.hide("canary-4711")
        yield Result(
            "warning", "x canary-4711\x1b[2J", "canary-4711", "--t=canary-4711", "canary-4711"
        )

    [result] = found(look)
    assert "canary" not in str(result)
    assert "\x1b" not in result.cause
    assert result.fix == run.UNSHOWN_FIX


@pytest.mark.parametrize("odd", ["x" * run.TEXT_MAX, "canary-4711", "\x1b[2J", "\n"])
def test_a_fix_is_shown_as_it_is_or_not_at_all(odd: str) -> None:
    """What a cut, a mask or an escape takes from a command may be what quotes the rest of it."""

    def look(site: Site) -> Iterator[Result]:
        site.hide("canary-4711")
        yield Result("warning", "cause", "risk", f"chmod 600 '/etc/{odd}'; true")
        yield Result("warning", "cause", "risk", "chmod 600 '/etc/x'")

    hidden, shown = found(look)
    assert hidden.fix == run.UNSHOWN_FIX
    assert shown.fix == "chmod 600 '/etc/x'"


def test_what_was_found_before_a_check_was_ended_is_kept() -> None:
    """One domain whose API is silent does not hide the others."""

    def look(site: Site) -> Iterator[Result]:
        yield checks.ok("first")
        yield Result("critical", "second")
        time.sleep(FOREVER)

    first, second, ended = found(look, seconds=0.5)
    assert (first.cause, second.result, ended.result) == ("first", "critical", "unknown")
    assert "did not end within" in ended.cause


def test_a_check_that_cannot_be_ended_is_left_to_itself() -> None:
    """As one in a disk that hangs: the rest is told in time. Here a debugger holds it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def holds(site: Site) -> Iterator[Result]:
        me = os.getpid()
        if os.fork() == 0:
            os.setsid()
            if libc.ptrace(16, me, None, None) == 0:  # PTRACE_ATTACH
                os.waitpid(me, 0)
                time.sleep(6)
            os._exit(0)
        time.sleep(FOREVER)
        yield checks.ok("never")

    began = time.monotonic()
    held, well = found(holds, lambda _: [checks.ok("well")], seconds=0.5)
    assert time.monotonic() - began < 4
    assert (held.result, well.cause) == ("unknown", "well")


def test_a_tool_gets_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not PYTHONPATH, not a PATH of the caller's; what it is given comes on stdin."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PATH", "/elsewhere")
    how = asking.As(folder="/tmp", environment={"GIVEN": "1"}, given=b"x" * 200_000)
    answer = asking.ask(Site(checks.HOST), ["sh", "-c", "env; pwd; wc -c"], how)
    assert "PYTHONPATH" not in answer.out
    assert "GIVEN=1" in answer.out
    assert answer.out.split()[-2:] == ["/tmp", "200000"]


def test_a_full_disk_blinds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tool is given is in memory, not in a folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", "/no/folder")
    answer = asking.ask(Site(checks.HOST), ["cat"], asking.As(given=b"text"))
    assert answer.out == "text"


def test_a_tool_that_tells_without_end_is_silent() -> None:
    """Nobody reads so much, and doctor's memory is not the tool's."""
    with pytest.raises(asking.Silent, match="tells more than can be read"):
        asking.ask(Site(checks.HOST), ["yes"])


def test_a_tool_that_is_missing_is_named() -> None:
    """The tool, its folder or its user."""
    with pytest.raises(asking.Missing, match=r"^no-such-tool is not here$"):
        asking.ask(Site(checks.HOST), ["no-such-tool"])
    with pytest.raises(asking.Missing, match=r"^/no/folder is not here$"):
        asking.ask(Site(checks.HOST), ["true"], asking.As(folder="/no/folder"))
    with pytest.raises(asking.Missing, match=r"^user no-such-user is not known here$"):
        asking.ask(Site(checks.HOST), ["true"], asking.As(user="no-such-user"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_tool_runs_as_a_user(tmp_path: Path) -> None:
    """With the ids of that user."""
    answer = asking.ask(Site(checks.HOST), ["id", "-un"], asking.As(user="nobody"))
    assert (answer.code, answer.out) == (0, "nobody\n")
    assert asking.ask(Site(checks.HOST), ["sh", "-c", "echo; echo why >&2; exit 3"]).said == "why"
