"""What became of an operation that died, or whose answer Engine never got."""

from __future__ import annotations

from storpool_ovirt.light import NamedTuple

CLOSED, FINISHED, TAKEN_BACK = "closed", "finished", "taken back"
AWAITED, LEFT = "awaited", "left"


class Outcome(NamedTuple):
    """What became of an operation: one of the kinds above, and the words for people.

    LEFT: nothing was decided, so the audit still has it. AWAITED: it may still take effect.
    """

    kind: str
    text: str

    @property
    def is_left(self) -> bool:
        """Whether nothing was decided."""
        return self.kind == LEFT
