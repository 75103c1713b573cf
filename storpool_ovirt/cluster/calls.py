"""One call of the StorPool API: asked again where that is safe, its failure one of our errors.

Only what is safe to repeat is repeated here; `volumes.py` repeats a create by looking for what the
first try may have made.
"""

from __future__ import annotations

import os
import time

from storpool_ovirt import config, errors, names, option_values, sentences
from storpool_ovirt.cluster import freshness, replies, ways
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.light import TYPE_CHECKING, dataclass
from storpool_ovirt.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Callable, Optional, TypeVar

    from storpool_ovirt.cluster import ahead, transport

    _T = TypeVar("_T")
    # Of a way to a cluster of this id, one that sends no change (`rehearsal.py`)
    Rehearse = Callable[[transport.Transport, Optional[str]], transport.Transport]

# What a cluster always answers, whatever else it refuses; that it answers is all that is asked,
# also an old answer.
PROOF = "servicesList"
# StorPool's word for a cluster that it cannot reach: that says nothing about what is there.
NO_CLUSTER = "multiCluster"
# Of StorPool's words in an error: far more than anybody reads, and little enough to be searched for
# secrets at once.
WORDS_MAX = 1 << 17

# What releases say of what is open or attached beside "busy"; only the text tells that it is that.
_BUSY_TOO = ("invalidParam", "preconditionViolation")
_IN_USE_IN_DESCR = ("is open at client", "is attached to client")
_OPEN_IN_DESCR = r"(?:'([^']*)' )?is open at client (\d+)"


@dataclass
class Tally:
    """What a process asked, by whichever of its clients.

    `calls` counts the requests, `unanswered` those that are not repeated here and whose result is
    not known, `asked_again` the repetitions of changes of which an earlier try may still take
    effect.
    """

    calls: int = 0
    unanswered: int = 0
    asked_again: int = 0


class Calls:
    """The way of one process to one cluster; `limits` are those of the program.

    What a call needs is loaded by the first one: a verb that makes none is spared it.
    """

    def __init__(
        self,
        settings: config.Api,
        deadline: Deadline,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._sleep = sleep
        self._jitter = jitter or _jitter
        self.limits = limits
        self.tally = Tally()
        self._freshness = freshness.Freshness(compares=not settings.multicluster)
        self._patience_seconds = limits.retry_seconds  # how long failures are tried over
        self._pin_is_proven = False
        self._made_transport: transport.Transport | None = None
        self._ahead: ahead.Ahead | None = None
        self._rehearse: Rehearse | None = None
        self._sent_at = 0  # the newest generation that was known when the last call was sent
        # Without a pin, or without several clusters, there is but one way
        self._way_is_known = not (settings.multicluster and settings.cluster_id)

    @property
    def _transport(self) -> transport.Transport:
        if self._made_transport is None:
            self._made_transport = transport_of(self._settings)
            if self._rehearse is not None:
                home = self._settings.cluster_id
                self._made_transport = self._rehearse(self._made_transport, home)
        return self._made_transport

    @property
    def address(self) -> str:
        """Where the API is, for messages."""
        return self._settings.address

    def _ask(  # noqa: PLR0913  what a call has
        self,
        kind: str,
        method: str,
        name: str,
        args: tuple[object, ...],
        repeat: bool = True,
        *,
        make: transport.Make | None = None,
    ) -> Any:
        """Call the binding's `method` until it answers, while a repetition is safe and time is
        left.

        `kind` and `name` are those of the object, for errors. `make`: the answer is a list, which
        is read piece by piece (`lists.Entries`).
        """
        patience = self._deadline.within(self._patience_seconds)
        attempt = -1
        while True:
            attempt += 1
            there = self._transport  # first: to load the binding takes of the time that is left
            left = self._left(method)
            if method in ways.OF_ONE and there.way == ways.APART:
                raise ways.Apart
            try:
                seconds = min(left, self.limits.request_seconds)
                return self._ask_once(kind, method, name, args, seconds, make=make)
            except ways.Refused:
                continue
            except errors.ApiUnavailable as error:
                most = patience.remaining() - self.limits.last_try_seconds
                seconds = min(self._pause_seconds(attempt), most)
                if error.ambiguous:
                    self._freshness.end_moment()
                if (error.ambiguous and not repeat) or seconds <= 0:
                    self.tally.unanswered += error.ambiguous and not repeat
                    raise
                self.tally.asked_again += error.ambiguous and not _reads(method)
                self._sleep(seconds)

    def _read(self, method: str, parse: Callable[[Any], _T], data: Any) -> _T:
        """Return what `parse` makes of an answer; raise ApiUnavailable when it makes no sense."""
        try:
            return parse(data)
        except replies.OddReply as error:
            raise self._nonsense(method, str(error)) from error

    def _nonsense(self, method: str, why: str) -> errors.ApiUnavailable:
        """Return the error for an answer that cannot be read: the request may have taken effect."""
        return self._unavailable(method, f"an answer that cannot be read: {why}", ambiguous=True)

    def give_up_after(self, seconds: float) -> None:
        """Try failures over for no longer than this from now on: where somebody waits who can
        correct the settings."""
        self._patience_seconds = seconds

    def check_cluster(self, global_id: str, name: str) -> None:
        """Raise WrongCluster when an object does not live in the pinned cluster; ask nobody.

        With several clusters in one name space the id tells only where it was made.
        """
        pinned = None if self._settings.multicluster else self._settings.cluster_id
        if pinned is not None and names.cluster_of(global_id) != pinned:
            raise errors.WrongCluster(
                name,
                f"lives in StorPool cluster {names.cluster_of(global_id)}, the domain is pinned to"
                f" {pinned}",
                "use the storage domain of that cluster",
            )

    def pause(self, attempt: int) -> None:
        """Wait a little, longer with each attempt, with jitter; DeadlineExceeded when there is no
        time for it."""
        left = self._deadline.left(f"the StorPool API at {self.address}")
        self._sleep(min(self._pause_seconds(attempt), left))

    def looks(self, seconds: float) -> Iterator[float]:
        """Look at this cluster's lists, with growing pauses, for so long: as `deadline.polls`."""
        return polls(
            self._deadline.within(seconds),
            self._sleep,
            self.limits.first_pause_seconds,
            self.limits.longest_pause_seconds,
        )

    def _pause_seconds(self, attempt: int) -> float:
        pause_seconds: float = self.limits.first_pause_seconds * 2.0**attempt
        return min(pause_seconds, self.limits.longest_pause_seconds) * (0.5 + self._jitter())

    def _ask_once(  # noqa: PLR0913  what a call has
        self,
        kind: str,
        method: str,
        name: str,
        args: tuple[object, ...],
        seconds: float,
        *,
        make: transport.Make | None = None,
    ) -> Any:
        from storpool_ovirt.cluster import answers, requests, transport, wire

        pinned = self._settings.cluster_id
        reads = requests.reads(method)
        try:
            reply = self._exchanged(method, args, seconds, make)
        except transport.Refusal as refusal:
            if refusal.transient is True or refusal.name == NO_CLUSTER:
                # Its generation may be of the cluster that could not hand the call on.
                words = f"{_cut(refusal.name)}: {_cut(refusal.desc)}"
                raise self._unavailable(method, words, ambiguous=True) from refusal
            self._check_age(method, reads, refusal.generation)
            if pinned and method != PROOF:
                self._prove_pin(refusal)
            raise self._failure(refusal, kind, method, name) from refusal
        except transport.Invalid as error:
            raise errors.InputError(
                f"the request {method}", f"is not valid ({names.shown(str(error), 200)})"
            ) from error
        except wire.UnknownName as error:
            raise errors.AddressUnknown(self.address, _why(error)) from error
        except wire.Unreachable as error:
            raise self._unavailable(method, _why(error), ambiguous=False) from error
        except (OSError, answers.Malformed) as error:
            raise self._unavailable(method, _why(error), ambiguous=True) from error
        except transport.NOT_STORPOOLS as error:
            raise self._nonsense(method, "it is not what StorPool sends") from error
        self._check_age(method, reads, reply.generation)
        if not reads and not _is_done(method, reply.data):
            raise self._nonsense(method, 'no "ok"')
        return reply.data

    def _exchanged(
        self,
        method: str,
        args: tuple[object, ...],
        seconds: float,
        make: transport.Make | None = None,
    ) -> transport.Reply:
        """Return the reply to a call: this alone gets one, or takes one that was sent ahead."""
        from storpool_ovirt.cluster import requests

        said = None
        if self._ahead is not None and requests.reads(method):
            said = self._ahead.said((method, args))
        elif self._ahead is not None:
            self._ahead.drop()
        self._sent_at = self._freshness.floor if said is None else said.floor
        if said is not None:
            return said.reply()
        if self._ahead is not None:  # one that was sent ahead may have been waited for in vain
            seconds = min(seconds, self._left(method))
        self.tally.calls += 1
        return self._transport.call(method, args, self._cluster, seconds, make=make)

    def _send_ahead(self, call: ahead.Call) -> ahead.Sent:
        """Send a reading call of which the answer is taken later; raise as `Transport.begin`
        does, and DeadlineExceeded."""
        from storpool_ovirt.cluster import ahead

        method, args = call
        seconds = min(self._left(method), self.limits.request_seconds)
        asked = self._transport.begin(method, args, self._cluster, seconds)
        self.tally.calls += 1
        return ahead.Sent(asked, self._freshness.floor)

    def _left(self, method: str) -> float:
        return self._deadline.left(f"the StorPool API at {self.address} ({method})")

    @property
    def _cluster(self) -> str | None:
        pinned = self._settings.cluster_id
        return names.address(pinned) if pinned else None

    def _check_age(self, method: str, reads: bool, generation: int) -> None:
        """Raise ApiUnavailable for an answer to a reading call that is older than what this client
        knows."""
        why = self._freshness.note(
            generation, reads=reads, proves=method == PROOF, floor=self._sent_at
        )
        if why:
            raise self._unavailable(method, why, ambiguous=False)

    def _prove_pin(self, answer: Exception) -> None:
        """Raise WrongCluster unless the pinned cluster answers: "does not exist" from another one
        means nothing.

        Every request goes to `RemoteCommand/~<cluster id>/`, which a cluster takes for itself or
        hands on to that cluster; one that does not know it refuses with an error whose name is not
        documented.
        """
        if self._pin_is_proven:
            return
        try:
            seconds = min(self.limits.request_seconds, self._deadline.left("StorPool"))
            self._ask_once("cluster", PROOF, "", (), seconds)
        except (errors.NotFound, errors.Rejected, errors.Conflict, errors.InUse) as error:
            pinned = self._settings.cluster_id
            raise errors.WrongCluster(
                f"the StorPool API at {self.address}",
                f"does not reach cluster {pinned} that the domain is pinned to",
                "correct sp_api_http_host or sp_cluster_id"
                + ("" if isinstance(error, errors.NotFound) else f" ({error})"),
            ) from answer
        self._pin_is_proven = True

    def _failure(self, error: Any, kind: str, method: str, name: str) -> errors.Error:
        """Return our error for a refusal of StorPool's; raise Refused where it was the way."""
        failure = _translated(error, kind, method, name, self.address)
        if isinstance(failure, errors.Rejected) and not self._way_is_known:
            self._find_way()
        return failure

    def _find_way(self) -> None:
        """Raise Refused when the cluster is asked in another way from now on: what was refused was
        the way, and not the call."""
        self._way_is_known = True
        if self._takes_calls_for_all():
            return
        self._transport.way = ways.HERE
        if not self._takes_calls_for_all():
            self._transport.way = ways.TOGETHER  # it has no several clusters
            return
        if self._is_elsewhere():
            self._transport.way = ways.APART
        raise ways.Refused

    def _takes_calls_for_all(self) -> bool:
        """Return whether a call for several clusters is taken at all by the way of now."""
        try:
            self._ask("volume", "volumeList", ways.NOBODY, (ways.NOBODY,))
        except errors.Rejected:
            return False
        except errors.NotFound:
            pass
        return True

    def _is_elsewhere(self) -> bool:
        """Return whether the pinned cluster is not the one that the address leads to."""
        pinned, self._transport.pin = self._settings.cluster_id, False
        try:
            there = [
                self._ask("cluster", f"{kind}List", "", ()) for kind in ("locations", "clusters")
            ]
        finally:
            self._transport.pin = True
        return self._read("clustersList", lambda _: ways.is_remote(str(pinned), *there), None)

    def _unavailable(self, method: str, why: str, ambiguous: bool) -> errors.ApiUnavailable:
        return errors.ApiUnavailable(self.address, method, why, ambiguous)


def transport_of(settings: config.Api) -> transport.Transport:
    """Return the way to StorPool that the settings say."""
    from storpool_ovirt.cluster import transport

    def official() -> transport.Transport:
        from storpool_ovirt.cluster import binding

        return binding.Official(settings)

    if settings.transport == option_values.BINDING:
        return official()
    return transport.Plain(settings, official)


def _reads(method: str) -> bool:
    from storpool_ovirt.cluster import requests

    return requests.reads(method)


def _is_done(method: str, data: Any) -> bool:
    """Return whether a reply says that a change was made: `storpool.spapi.ApiOk`, and without its
    "ok" nothing says so.

    A call whose answer has what it made needs none in it (`storpool.sptypes.GroupSnapshotsResult`).
    """
    from storpool_ovirt.cluster import requests

    if not isinstance(data, dict):
        return False
    return data.get("ok", method in requests.WITHOUT_OK) is True


def _translated(error: Any, kind: str, method: str, name: str, address: str) -> errors.Error:
    """Return our error for StorPool's: the one place that knows its error names
    (`storpool.spapi.ApiError.name`)."""
    descr = _cut(error.desc)
    shown = name or method
    if error.name == "objectDoesNotExist":
        return errors.NotFound(kind, shown, f"in the StorPool cluster at {address} ({descr})")
    if error.name == "objectExists":
        return errors.Exists(shown, f"exists already ({descr})")
    if error.name == "busy" or (
        error.name in _BUSY_TOO and any(words in descr for words in _IN_USE_IN_DESCR)
    ):
        import re  # who meets no such error does not pay for it

        found = re.findall(_OPEN_IN_DESCR, descr)
        return errors.InUse(
            found[0][0] if found and found[0][0] else shown,
            tuple(f"client {number}" for _, number in found),
        )
    if error.name == "invalidParam" and "No such client registered" in descr:
        return errors.NotFound(
            "client", f"for {shown}", f"in the StorPool cluster at {address}: check SP_OURID"
        )
    if error.name == "insufficientResources":
        return errors.NoSpace(shown, descr)
    return errors.Rejected(f"{method} {name}".strip(), _cut(error.name), descr)


def _jitter() -> float:
    """Return a number from 0 to 1, another one in each process; `random` would load ten modules."""
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)


def _why(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or error.__class__.__name__
    return names.shown(str(text), 120).strip('"')


def _cut(words: object) -> str:
    """Return StorPool's words, which may be of any length and kind, as far as anybody reads them.

    Where they are cut is marked: a secret that they repeat may be cut there, and is masked all the
    same.
    """
    text = str(words)
    return text if len(text) <= WORDS_MAX else text[:WORDS_MAX] + sentences.CUT
