"""Lanes: what hangs costs its own turn, and nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from pathlib import Path

from agent_stage import Hypervisor, until

from storpool_ovirt import errors
from storpool_ovirt.agent import hypervisor, lanes
from storpool_ovirt.log import Log


class Pool:
    """Lanes that have begun, and what came of their turns."""

    def __init__(self, folder: Path, size: tuple[int, int], stuck_seconds: float = 0.05) -> None:
        self.file = folder / "log"
        self.failed: list[tuple[Hashable, errors.Error]] = []
        self.opened = 0
        self.lanes = lanes.Lanes(
            size, self._open, self._fail, Log("test", str(self.file)), stuck_seconds
        )
        self.lanes.start()

    def _open(self) -> hypervisor.Hypervisor:
        self.opened += 1
        return Hypervisor()

    def _fail(self, key: Hashable, error: errors.Error) -> None:
        self.failed.append((key, error))

    def done(self, key: Hashable) -> None:
        """Have a turn done to its end."""
        over = threading.Event()
        assert self.lanes.submit(key, lambda _: over.set())
        assert over.wait(10)

    def hang(self, key: Hashable) -> threading.Event:
        """Begin a turn that hangs until the event is set."""
        begun, over = threading.Event(), threading.Event()

        def turn(_: hypervisor.Hypervisor) -> None:
            begun.set()
            assert over.wait(60)

        assert self.lanes.submit(key, turn)
        assert begun.wait(10)
        return over


def test_a_turn_that_hangs_is_one_thread(tmp_path: Path) -> None:
    """The other thread goes on; the same VM gets no second turn meanwhile."""
    pool = Pool(tmp_path, (2, 0))
    over = pool.hang("wedged")
    for number in range(20):
        pool.done(number)
    assert not pool.lanes.submit("wedged", lambda _: None)
    over.set()
    until(lambda: pool.lanes.submit("wedged", lambda _: None), "its next turn")


def test_a_spare_thread_takes_over(tmp_path: Path) -> None:
    """When all hang, each spare thread is used once; one that was given up ends, the rest stays."""
    pool = Pool(tmp_path, (1, 1))
    first = pool.hang("first")
    until(lambda: pool.lanes.tend() == ["first"], "the first to be seen")
    second = pool.hang("second")
    until(lambda: len(pool.lanes.tend()) == 2, "both to be seen")
    assert pool.opened == 2, "no thread more than spare ones"
    waits = threading.Event()
    assert pool.lanes.submit("third", lambda _: waits.set())
    first.set()
    assert not waits.wait(0.2), "what was given up takes no turn more"
    second.set()
    assert waits.wait(10)
    until(lambda: pool.lanes.tend() == [], "nothing to hang")
    again = pool.hang("first")
    until(lambda: pool.lanes.tend() == ["first"], "the spare one to be free again")
    pool.done("fourth")
    again.set()


def test_a_failure_is_told_and_a_bug_is_logged(tmp_path: Path) -> None:
    """Neither ends the thread."""
    pool = Pool(tmp_path, (1, 0))
    error = errors.NotFound("VM", "web", "here")

    def fails(_: hypervisor.Hypervisor) -> None:
        raise error

    def breaks(_: hypervisor.Hypervisor) -> None:
        raise ZeroDivisionError

    pool.lanes.submit("fails", fails)
    pool.lanes.submit("breaks", breaks)
    pool.done("works")
    assert pool.failed == [("fails", error)]
    assert "ZeroDivisionError" in pool.file.read_text()
