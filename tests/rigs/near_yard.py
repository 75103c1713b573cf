"""A yard whose time passes for all that is in it, and which may be wiped: for random lives."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any

from rigs.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from storpool_ovirt.engine import tree

_TABLES = ("trash", "moment", "operation", "node")


class NearYard(Yard):
    """A yard with one clock: `passed` is how many seconds it is ahead of this machine's."""

    passed = 0.0

    @property
    def now(self) -> float:
        """The time for the product, its database and StorPool, in seconds since 1970."""
        return time.time() + self.passed

    @contextlib.contextmanager
    def working(self, *facts: Any, **more: Any) -> Iterator[tree.Work]:
        """Give what a program of ours works with, at that time."""
        with super().working(*facts, **more) as work:
            yield dataclasses.replace(work, now=lambda: self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass: StorPool deletes what is due, and the journal gets older."""
        self.simulator.advance(seconds)
        self.passed += seconds
        self.sql(
            "UPDATE storpool_ovirt.operation SET started_at = started_at - make_interval(secs =>"
            " %s), until = until - make_interval(secs => %s)",
            seconds,
            seconds,
        )

    def wipe(self) -> None:
        """Remove all of ours from database and cluster, and forget what was called."""
        for table in _TABLES:
            self.sql(f"DELETE FROM storpool_ovirt.{table}")
        held = {each["globalId"] for each in self.ask("AttachmentsList")}
        for kind in ("Volume", "Snapshot"):
            for each in self.ask(f"{kind}sList"):
                if each["tags"].get("ovirt-loc") == self.location and not (
                    each.get("deleted") or each.get("transient")
                ):
                    if each["globalId"] in held:
                        self.let_go(each["globalId"], kind.lower())
                    self.ask(f"{kind}Delete/~{each['globalId']}", {})
        self.simulator.calls.clear()
        self.clock.slept.clear()

    @contextlib.contextmanager
    def held(self, global_id: str, kind: str) -> Iterator[Path]:
        """Attach an object to a host by hand inside the block; give its device there."""
        way = "rw" if kind == "volume" else "ro"
        self.ask("VolumesReassignWait", {"reassign": [{kind: f"~{global_id}", way: [1]}]})
        yield self.device(1, global_id)
        self.let_go(global_id, kind)

    def let_go(self, global_id: str, kind: str) -> None:
        """Detach an object from all hosts by hand."""
        item = {kind: f"~{global_id}", "detach": "all"}
        self.ask("VolumesReassignWait", {"reassign": [item]})


@contextlib.contextmanager
def opened_near(database: Database, folder: Path) -> Iterator[NearYard]:
    """Give a cluster with nothing but what is not ours, until the end of the block."""
    yard = NearYard(folder, database)
    try:
        yield yard
    finally:
        yard.close()
