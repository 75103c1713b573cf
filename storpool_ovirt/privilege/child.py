"""Work on what another user made, by a child process with that user's rights and no others.

It is for parsers that a hostile file could stop or turn. The child gives up root for good. The
kernel ends it when its time is up, whatever it hangs in. It can only hand back bytes.
"""

from __future__ import annotations

import os
import select
import time

from storpool_ovirt import rights
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.limits import LIMITS

if TYPE_CHECKING:
    import signal
    from typing import Any, Callable
else:  # `signal` itself makes enumerations of all that there is
    import _signal as signal

ANSWER_MAX_BYTES = 64 << 20
_PIECE_BYTES = 1 << 16
# More than this process has, for the child: a hostile file must not take the memory of the host.
MEMORY_BYTES = 512 << 20


class Failure(Exception):
    """The child did not bring its work to an end; the text says why."""


def done(
    work: Callable[[], bytes],
    user: rights.User | None,
    seconds: float,
    stopped_seconds: float = LIMITS.stopped_seconds,
) -> bytes:
    """Return what `work` returns in a child with a user's rights, within so many seconds.

    With None, or where we are not root, the rights are ours. The child ends itself. One that its
    user has stopped (SIGSTOP) cannot, and is ended from here `stopped_seconds` later.

    Raises Failure, also for a user whose rights cannot be had and for an answer that is too long.
    """
    import resource  # before there is a child, which may not read where Python's modules lie
    import warnings

    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Threads of a program that loads this are not waited for: the child works on its own and
        # ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid, mask = _forked()
    if pid == 0:
        _live(work, user, seconds, writing, resource)
    os.close(writing)
    ended = False
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        answer = _all_of(reading, time.monotonic() + seconds + stopped_seconds)
        ended = answer is not None and len(answer) <= ANSWER_MAX_BYTES
    finally:
        os.close(reading)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM or answer is None:
        raise Failure(f"it did not end within {seconds:g} s")
    if code == 0 and ended:
        return answer
    if not ended:
        raise Failure("it tells more than can be read")
    if code == 1:
        raise Failure(answer.decode(errors="replace"))
    raise Failure(f"the process that read it ended with {code}")


def _forked() -> tuple[int, set[int]]:
    """Fork, with the signals blocked that break in; return the mask of before too.

    The child has none of our handlers when it takes them: what one raises there, before it is in
    the block that it never leaves, would have it go on as if it were us.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, rights.BREAKING_IN)
    try:
        return os.fork(), mask
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise


def _live(
    work: Callable[[], bytes], user: rights.User | None, seconds: float, writing: int, resource: Any
) -> None:
    """Be the child: never return."""
    code = 2
    try:
        for each in rights.BREAKING_IN:
            if each == signal.SIGALRM or signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, rights.BREAKING_IN)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            _limit_memory(resource)
            _become(user)
            answer, code_when_read = work(), 0
        except Exception as error:
            answer, code_when_read = _why(error).encode(errors="replace"), 1
        while answer:
            answer = answer[os.write(writing, answer[:_PIECE_BYTES]) :]
        code = code_when_read
    finally:
        os._exit(code)


def _limit_memory(resource: Any) -> None:
    with open("/proc/self/statm", "rb") as file:
        own = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = own + MEMORY_BYTES
    most = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    return str(getattr(error, "strerror", None) or error)


def _become(user: rights.User | None) -> None:
    if user is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)


def _all_of(reading: int, end: float) -> bytes | None:
    """Return what the child writes until it ends, or more than it may.

    Returns None when it has not ended in time.
    """
    pieces: list[bytes] = []
    length = 0
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while length <= ANSWER_MAX_BYTES:
        if not poll.poll(1000 * max(0.0, end - time.monotonic())):
            return None
        piece = os.read(reading, _PIECE_BYTES)
        if not piece:
            break
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces)
