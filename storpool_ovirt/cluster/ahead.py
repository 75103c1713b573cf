"""Reading calls that are sent ahead, several at once, while the answers of earlier ones are used.

A start reads dozens of volumes, each by a call of its own, as a list of the whole cluster may be
long. What waits here for its call is an answer, or StorPool's word that something does not exist.
Whatever else comes of a request is dropped, and the call is made in the ordinary way: with its
repeats, limits and errors. So all comes out, in the same order, as if nothing had been sent ahead.
"""

from __future__ import annotations

from storpool_ovirt.cluster import answers, transport
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable, Union

    Call = tuple[str, tuple[object, ...]]  # the method, its arguments
    Got = Union[transport.Reply, transport.Refusal]

# Ours: enough that many calls to a slow cluster take no longer than a few, little enough for a
# service that all hosts of a site ask.
AT_ONCE = 8
# StorPool's word for what is not there.
ABSENT = "objectDoesNotExist"


class Sent(NamedTuple):
    """A request that was sent; `floor` is the generation that its client knew of then."""

    asked: transport.Asked
    floor: int


class Said(NamedTuple):
    """What came of one that was sent: it is not older than `floor`."""

    got: Got
    floor: int

    def reply(self) -> transport.Reply:
        """Return the reply, or raise the refusal."""
        if isinstance(self.got, transport.Refusal):
            raise self.got
        return self.got


class Ahead:
    """The calls of one client that are sent ahead.

    `begin` sends one, and raises OSError where that cannot be; `lost` is told that no answer came.
    """

    def __init__(self, begin: Callable[[Call], Sent], lost: Callable[[], None]) -> None:
        self._begin = begin
        self._lost = lost
        self._at_once = AT_ONCE
        self._planned: dict[Call, None] = {}
        self._sent: dict[Call, Sent] = {}

    def ask(self, calls: Iterable[Call]) -> None:
        """Send these, as many as may be under way; the others as answers are taken."""
        self._planned.update(dict.fromkeys(call for call in calls if call not in self._sent))
        self._send()

    def said(self, call: Call) -> Said | None:
        """Return what came of a call that is made now; None where it has to be made anew."""
        if call not in self._sent and call not in self._planned:
            return None
        self._planned.pop(call, None)
        # The next ones are under way while this one is waited for
        self._send(beside=call not in self._sent)
        sent = self._sent.pop(call, None)
        if sent is None:
            return None
        got = _got(sent)
        if got is None:
            self._lost()
            return None
        return None if 0 < got.generation < sent.floor else Said(got, sent.floor)

    def drop(self) -> None:
        """Use nothing of what was sent: from now on answers have to be of now."""
        self._planned.clear()
        while self._sent:
            self._sent.popitem()[1].asked.close()

    def _send(self, *, beside: bool = False) -> None:
        """Send what may be under way; `beside`: one more is about to be, in the ordinary way."""
        while self._planned and len(self._sent) + beside < self._at_once:
            call = next(iter(self._planned))
            try:
                sent = self._begin(call)
            except (OSError, transport.Invalid):
                # So many connections are not taken at once, or none is: the call itself will tell
                self._at_once = max(1, len(self._sent))
                return
            del self._planned[call]
            self._sent[call] = sent


def _got(sent: Sent) -> Got | None:
    """Return what came of a request, None where that is no answer."""
    try:
        return sent.asked.reply()
    except transport.Refusal as refusal:
        return refusal if refusal.name == ABSENT and refusal.transient is not True else None
    except (OSError, answers.Malformed, *transport.NOT_STORPOOLS):
        return None
