"""No answer is older than what this client knows.

Every reply carries the cluster's `generation`, which grows with each change. The management service
has instances, and one that answers a reading call may be a moment behind (after a failover,
longer). So a reading call is asked again when its answer is older than the newest that this client
has seen. That covers what this process did itself.

Who has to know what *others* did sets a barrier first (`api.Client.be_current`): one write, which
only the instance that is active can carry out. After it no reading call is answered from before
that moment. "Does not exist" is believed from a reading call only after such a barrier.
"""

from __future__ import annotations

from storpool_ovirt.deadline import Deadline


class Freshness:
    """What one client knows of its cluster's past.

    `floor` is the newest generation that it saw. `compares` is false for a domain of several
    clusters: their generations are not comparable, and it is not documented whose a reply to a
    `MultiCluster/` call carries.
    """

    def __init__(self, compares: bool) -> None:
        self.compares = compares
        self.floor = 0
        self._moment: Deadline | None = None  # until when a barrier counts as one of now
        self._is_dated = False  # whether the last answer had a generation

    def take_over(self, other: Freshness) -> None:
        """Know what another client of the same cluster knows."""
        self.floor, self._moment = other.floor, other._moment

    def set_moment(self, until: Deadline) -> None:
        """Count as of now until then: a barrier was set."""
        self._moment = until

    def end_moment(self) -> None:
        """Count as of now no more: what is looked for next may just have been made, or have
        gone."""
        self._moment = None

    def believes_absence(self) -> bool:
        """Return whether "does not exist" can be believed from the last answer.

        A refusal without a generation may be of any moment, where the cluster's other answers have
        one.
        """
        is_of_now = self._is_dated or not self.floor
        return is_of_now and self._moment is not None and self._moment.remaining() > 0

    def note(self, generation: int, *, reads: bool, proves: bool, floor: int) -> str:
        """Take note of an answer; return why it is too old to be used, "" for any other one.

        `generation` is 0 where it had none. `reads`: it answers a reading call. `proves`: it was
        only asked whether anybody answers, so an old answer does. `floor` is that of when the
        question was sent: of two that were under way at once either may be answered first.
        """
        if not proves:
            self._is_dated = generation > 0
        if not self.compares or not generation:
            return ""
        if reads and generation < floor and not proves:
            return f"it is of generation {generation}, before {floor}: that instance is behind"
        self.floor = max(self.floor, generation)
        return ""
