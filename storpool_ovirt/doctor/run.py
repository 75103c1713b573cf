"""All checks side by side, each in a process of its own, and what they found within their time.

A check may hang in a name server, a disk or a tool: its process is ended then, with all that it
started, and it could not look. A process of its own also because root takes other users' rights for
some of the looking, which all threads of a process would have (credentials(7)).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from storpool_ovirt import errors, installation, sentences
from storpool_ovirt.doctor import checks
from storpool_ovirt.doctor.asking import Unasked
from storpool_ovirt.doctor.checks import Check, Finding, Result, Site

# After its time a check still gets to say what it has seen.
LAST_SECONDS = 0.5
TEXT_MAX = 4000
RESULTS_MAX = 1000
_PIECE_BYTES = 1 << 16


@dataclass
class _Running:
    """A check that runs, as process `pid`, which is a process group too."""

    check: Check
    pid: int
    reading: int
    started: float
    end: float
    pieces: list[bytes] = field(default_factory=list)


def examined(site: Site, table: Sequence[Check], limit_seconds: float) -> list[Finding]:
    """Run all checks of a table, and return what they found, in the order of the table.

    It ends after `limit_seconds` at the latest, or a moment later. No check raises: what could not
    be looked at is a result too. Whoever breaks in (KeyboardInterrupt) leaves no process behind.
    """
    end = time.monotonic() + limit_seconds
    running: list[_Running] = []
    found: dict[int, list[Finding]] = {}
    try:
        for check in table:
            running.append(_started(site, check, end))
        for each, findings in _ended(running):
            found[each.pid] = findings
    finally:
        for each in running:
            _end(each)
    return [finding for each in running for finding in found[each.pid]]


def _started(site: Site, check: Check, end: float) -> _Running:
    now = time.monotonic()
    last = min(end, now + check.seconds)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(replace(site, end=last, secrets=[*site.secrets]), check, writing)
    os.close(writing)
    with contextlib.suppress(OSError):  # the child does so too: whoever comes first
        os.setpgid(pid, pid)
    return _Running(check, pid, reading, now, last + LAST_SECONDS)


def _live(site: Site, check: Check, writing: int) -> None:
    """Be the check: never return."""
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(each, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        data = pickle.dumps(_results(site, check))
        while data:
            data = data[os.write(writing, data[:_PIECE_BYTES]) :]
    finally:
        os._exit(0)


def _results(site: Site, check: Check) -> list[Result]:
    """Return what a check found, without secrets; a failure of the check is a result too."""
    found: list[Result] = []
    try:
        for result in check.look(site):
            found.append(result)
            if len(found) >= RESULTS_MAX:
                found.append(checks.unknown(f"there is more than the first {RESULTS_MAX} tell"))
                break
    except (Unasked, errors.Error) as error:
        found.append(checks.unknown(str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        found.append(checks.unknown(f"{where}{error.strerror or error}"))
    except ModuleNotFoundError as error:
        kind = installation.ENGINE if site.place == checks.ENGINE else installation.HOST
        missing = f"{(error.name or str(error)).partition('.')[0]} is not installed"
        found.append(checks.unknown(missing, installation.mend(kind, error)))
    except Exception as error:  # one check that is broken takes no other with it
        found.append(
            checks.unknown(
                f"internal error of this check, {error.__class__.__name__}: {error}",
                "report it, with the release of storpool-ovirt",
            )
        )
    hidden = sentences.Secrets()
    for secret in site.secrets:
        hidden.hide(secret)
    return [_shown(each, hidden) for each in found]


def _shown(result: Result, hidden: sentences.Secrets) -> Result:
    """Return a result as people may read it."""

    def text(given: str) -> str:
        return sentences.shortened(sentences.visible(hidden.masked(given)), TEXT_MAX)

    return replace(
        result,
        cause=text(result.cause),
        risk=text(result.risk),
        fix=text(result.fix),
        subject=text(result.subject),
    )


def _ended(running: Sequence[_Running]) -> Iterable[tuple[_Running, list[Finding]]]:
    """Yield each check when it has ended, or its time has."""
    with selectors.DefaultSelector() as open_ones:
        for each in running:
            open_ones.register(each.reading, selectors.EVENT_READ, each)
        while open_ones.get_map():
            left = [key.data for key in open_ones.get_map().values()]
            for key, _ in open_ones.select(max(0.0, min(e.end for e in left) - time.monotonic())):
                piece = os.read(key.fd, _PIECE_BYTES)
                key.data.pieces.append(piece)
                if not piece:
                    open_ones.unregister(key.fd)
                    yield key.data, _findings(key.data)
            for key in [*open_ones.get_map().values()]:
                if time.monotonic() >= key.data.end:
                    open_ones.unregister(key.fd)
                    taken = time.monotonic() - key.data.started
                    gave_up = checks.unknown(f"this check did not end within {taken:.2g} s")
                    yield key.data, [Finding(key.data.check, gave_up, taken)]


def _findings(ended: _Running) -> list[Finding]:
    taken = time.monotonic() - ended.started
    try:
        results = pickle.loads(b"".join(ended.pieces))  # noqa: S301  it is ours, by a pipe of ours
    except (EOFError, pickle.UnpicklingError):
        results = [checks.unknown("the process of this check died")]
    return [Finding(ended.check, each, taken) for each in results]


def _end(running: _Running) -> None:
    """End the process of a check, and all that it started and left."""
    os.close(running.reading)
    with contextlib.suppress(OSError):
        os.killpg(running.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(running.pid, 0)
