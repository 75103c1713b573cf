"""Operations: the rows of the journal, as whoever comes after them reads them.

running -> done -> (no row: the answer was delivered)
   |         `---> undelivered   nobody read the answer
   |-> failed                    Engine was told of a failure that may have taken effect
   `-> (no row: StorPool said a clear no)
undone: another took it back; kept for a while, as a request under way may still take effect
"""

from __future__ import annotations

from storpool_ovirt.engine.intent import DROP
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from storpool_ovirt.engine.intent import Plan
    from storpool_ovirt.engine.process import Process

RUNNING, FAILED, DONE, UNDELIVERED, UNDONE = "running", "failed", "done", "undelivered", "undone"


class Operation(NamedTuple):
    """One row. `left_seconds` is the time that its process still had; `proved`: it was written in
    this very database.

    Both ages are of the database's clock, which may go back: no age is negative, and none is longer
    left than it had. `is_past`: it is not dated in the future; `is_clock_sound`: nothing in the
    tables is.
    """

    id: int
    correlation_id: str
    verb: str
    arguments: tuple[str, ...]
    kind: str
    disk: str
    node: str
    plan: Plan
    state: str
    note: str
    process: Process
    proved: bool
    age_seconds: float
    left_seconds: float
    is_past: bool
    is_clock_sound: bool

    def __str__(self) -> str:
        return f"{self.verb} (correlation id {self.correlation_id})"

    @property
    def is_open(self) -> bool:
        """Whether nobody has ended it yet."""
        return self.state != UNDONE

    @property
    def takes_disk(self) -> bool:
        """Whether it was to delete a whole disk, and not the disk's first volume alone, which has
        the same id: its plan names what it takes."""
        return self.kind == DROP and self.node == self.disk and self.nodes != {self.node}

    @property
    def nodes(self) -> set[str]:
        """The nodes that it was to delete, as far as its plan names them."""
        kept = self.plan.trash.kept if self.plan.trash is not None else ()
        return {*self.plan.nodes, *kept}

    @property
    def has_done_its_work(self) -> bool:
        """Whether all that was missing is an answer to Engine."""
        return self.state in (DONE, UNDELIVERED)

    @property
    def is_unfinished_delete(self) -> bool:
        """Whether it was to delete, and nobody knows what came of that: a request of it may still
        take effect."""
        return self.kind == DROP and self.is_open and not self.has_done_its_work

    @property
    def writes_over(self) -> bool:
        """Whether it writes other data over those of a volume, and is not ended yet."""
        return self.plan.over is not None and self.is_open

    def is_alive(self) -> bool:
        """Return whether its process still runs; where nobody can look for that, its time
        decides."""
        runs = self.process.runs()
        return self.left_seconds > 0 if runs is None else runs

    def is_fresh(self, seconds: float) -> bool:
        """Return whether it is certainly no older than this: an old one must not look new because a
        clock went back.

        An entry is no older than its process, so that tells too.
        """
        if not self.is_clock_sound or self.age_seconds > seconds:
            return False
        age_seconds = self.process.age_seconds()
        return age_seconds is None or age_seconds <= seconds
