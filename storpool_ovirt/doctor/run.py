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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from storpool_ovirt import errors, installation, rights, sentences
from storpool_ovirt.doctor import checks
from storpool_ovirt.doctor.asking import Unasked
from storpool_ovirt.doctor.checks import Check, Finding, Result, Site

# After its time a check still gets to say what it has seen.
LAST_SECONDS = 0.5
TEXT_MAX = 4000
RESULTS_MAX = 1000
UNSHOWN_FIX = "it cannot be shown: it would have a secret in it, or is too long to be pasted"
_PIECE_BYTES = 1 << 16
_LENGTH_BYTES = 4  # in front of each result; 0 is the end
_LOOK_AGAIN = 0.01


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
        _end(running)
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
        for each in rights.BREAKING_IN:  # what a handler of ours raises must not leave this block
            signal.signal(each, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        for result in _results(site, check):
            data = pickle.dumps(_shown(result, site.secrets))
            data = len(data).to_bytes(_LENGTH_BYTES, "big") + data
            while data:
                data = data[os.write(writing, data[:_PIECE_BYTES]) :]
        os.write(writing, bytes(_LENGTH_BYTES))
    finally:
        os._exit(0)


def _results(site: Site, check: Check) -> Iterator[Result]:
    """Yield what a check finds, as it finds it; a failure of the check is a result too."""
    try:
        for number, result in enumerate(check.look(site)):
            if number == RESULTS_MAX:
                yield checks.unknown(f"there is more than the first {RESULTS_MAX} tell")
                break
            yield result
    except (Unasked, errors.Error) as error:
        yield checks.unknown(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        yield checks.unknown(f"{where}{error.strerror or error}")
    except ModuleNotFoundError as error:
        kind = installation.ENGINE if site.place == checks.ENGINE else installation.HOST
        missing = f"{(error.name or str(error)).partition('.')[0]} is not installed"
        yield checks.unknown(missing, installation.mend(kind, error))
    except Exception as error:  # one check that is broken takes no other with it
        yield checks.unknown(
            f"internal error of this check, {error.__class__.__name__}: {error}",
            "report it, with the release of storpool-ovirt",
        )


def _shown(result: Result, secrets: Sequence[str]) -> Result:
    """Return a result as people may read it.

    A fix is pasted into a shell of root's: it is shown as it is, or not at all. What a mask or a
    cut takes from it could be what quotes the rest.
    """
    hidden = sentences.Secrets()
    for secret in secrets:
        hidden.hide(secret)

    def text(given: str) -> str:
        return sentences.shortened(sentences.visible(hidden.masked(given)), TEXT_MAX)

    fix = text(result.fix)
    return replace(
        result,
        cause=text(result.cause),
        risk=text(result.risk),
        fix=fix if fix == result.fix else UNSHOWN_FIX,
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
                    gave_up = f"this check did not end within {taken:.2g} s"
                    yield key.data, _findings(key.data, gave_up)


def _findings(ended: _Running, gave_up: str = "the process of this check died") -> list[Finding]:
    """Return what a check told, and with `gave_up` that it did not come to its end."""
    taken = time.monotonic() - ended.started
    results, told, at = [], b"".join(ended.pieces), 0
    has_ended = False
    while not has_ended and len(told) >= at + _LENGTH_BYTES:
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(told[at:start], "big")
        has_ended = at == start
        if not has_ended and len(told) >= at:
            results.append(pickle.loads(told[start:at]))  # noqa: S301  it is ours, by our own pipe
    if not has_ended:
        results.append(checks.unknown(gave_up))
    return [Finding(ended.check, each, taken) for each in results]


def _end(running: Sequence[_Running]) -> None:
    """End the processes of all checks, and what they started and left.

    One that the kernel does not let go (a disk that hangs) is left to itself.
    """
    for each in running:
        os.close(each.reading)
        with contextlib.suppress(OSError):
            os.killpg(each.pid, signal.SIGKILL)
    left, end = {each.pid for each in running}, time.monotonic() + LAST_SECONDS
    while left:
        for pid in [*left]:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            left.discard(pid)
        if not left or time.monotonic() >= end:
            break
        time.sleep(_LOOK_AGAIN)
