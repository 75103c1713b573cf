"""child.py: a child with another user's rights, a limit, and bytes as its only answer."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storpool_ovirt import errors, rights
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.privilege import child

USER = rights.User(54321, 54322)


def hang() -> bytes:
    """Take no signal that Python would have to handle."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while True:
        time.sleep(60)


def fail() -> bytes:
    """Raise what a file raises that may not be read."""
    raise OSError(errno.EACCES, "may not")


def die() -> bytes:
    """End as whoever has used up the memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def children() -> set[str]:
    """Return the pids of this process' children, zombies too: those of other tests may be among
    them."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = stat.read_text(errors="replace").partition(" ")
            if rest.rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(pid)
    return found


def test_what_it_returns_comes_back() -> None:
    """Also more than a pipe holds."""
    assert child.done(lambda: b"x" * (1 << 20), None, 5) == b"x" * (1 << 20)
    assert child.done(lambda: b"", None, 5) == b""


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (hang, "did not end within 0.2 s"),
        (fail, "may not"),
        (die, "ended with -9"),
        (lambda: 1 / 0, "division by zero"),
    ],
)
def test_whatever_happens_in_it_is_an_error_outside(work: object, why: str) -> None:
    """A hang, an error, its death: one exception with the reason, at once, and no child is left."""
    before, began = children(), time.monotonic()
    with pytest.raises(child.Failure, match=why):
        child.done(work, None, 0.2)  # type: ignore[arg-type]
    assert time.monotonic() - began < 5
    assert children() <= before


def test_an_answer_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read to its end, and the child is not waited for."""
    before = children()
    monkeypatch.setattr(child, "ANSWER_MAX_BYTES", 1 << 18)
    with pytest.raises(child.Failure, match="more than can be read"):
        child.done(lambda: b"x" * (1 << 22), None, 30)
    assert children() <= before


def test_the_callers_own_limit_ends_it_too() -> None:
    """The alarm of the program breaks off the wait, and the child is gone."""
    before = children()
    with pytest.raises(errors.DeadlineExceeded), enforced(Deadline(0.1), "this", 0.1):
        child.done(hang, None, 60)
    assert children() <= before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's rights")
def test_it_has_no_way_back() -> None:
    """All its ids are the user's, and root's cannot be had again."""

    def look() -> bytes:
        assert os.getresuid() == (USER.uid,) * 3
        assert os.getresgid() == (USER.gid,) * 3
        assert os.getgroups() == []
        try:
            os.seteuid(0)
        except PermissionError:
            return b"none"
        return b"root again"

    assert child.done(look, USER, 5) == b"none"
    assert os.getresuid() == (0, 0, 0)


def test_a_child_that_its_user_stops_is_ended() -> None:
    """T73: SIGSTOP stops its own alarm too; it is killed, and nobody waits for whoever would have
    it go on."""
    before, began = children(), time.monotonic()

    def stop() -> bytes:
        os.kill(os.getpid(), signal.SIGSTOP)
        return b"went on"

    with pytest.raises(child.Failure, match=r"did not end within 0\.2 s"):
        child.done(stop, None, 0.2, stopped_seconds=0.1)
    assert time.monotonic() - began < 5
    assert children() <= before


def test_a_child_has_only_so_much_memory() -> None:
    """What a hostile file makes of it ends the child's work, not the host."""
    with pytest.raises(child.Failure, match="too much memory"):
        child.done(lambda: bytes(2 * child.MEMORY_BYTES), None, 30)
    assert (
        child.done(lambda: str(len(bytes(child.MEMORY_BYTES // 4))).encode(), None, 30)
        == b"134217728"
    )


@pytest.mark.parametrize("number", sorted(rights.BREAKING_IN))
def test_a_signal_never_makes_it_a_second_one_of_us(number: int) -> None:
    """One that comes when it has just been made, as to a whole group of processes, ends it: no
    handler of ours is run in it, by which it would go on with our work."""
    code = f"""
import os
from storpool_ovirt import deadline, errors
from storpool_ovirt.privilege import child
fork = os.fork
def forked():
    pid = fork()
    if pid == 0:
        os.kill(os.getpid(), {int(number)})
    return pid
os.fork = forked
with deadline.enforced(deadline.Deadline(60), "this", 60):
    try:
        child.done(lambda: b"x", None, 60)
    except (child.Failure, errors.Interrupted, errors.DeadlineExceeded) as error:
        print(type(error).__name__, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("Failure\n", 0), done.stderr
