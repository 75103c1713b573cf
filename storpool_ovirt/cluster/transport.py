"""How a call gets to the StorPool API, and its answer back.

There are two ways, which do the same; the option `sp_transport` chooses. `Plain` is for programs
that somebody waits for: its calls are the rows of `requests.py`, its HTTP is `wire.py`. The other
one is StorPool's official binding over Python's own HTTP client (`binding.py`), which takes longer
to load than a verb to work.
"""

from __future__ import annotations

import itertools

from storpool_ovirt.cluster import answers, replies, requests, ways, wire
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Callable

    from storpool_ovirt import config

    Make = Callable[[Mapping[str, Any]], object]

PREFIX = "/ctrl/1.0/"
# What a reply raises that is not StorPool's: a proxy's page, an answer that is cut off, an error
# object without its parts.
NOT_STORPOOLS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
# A list that is no longer is read at once: some hundred entries, for which a reader of pieces need
# not be loaded.
SHORT_BYTES = 1 << 18
OK = 200


class Refusal(Exception):
    """StorPool's error object: its own words, of any kind and length, and the generation that came
    with them."""

    def __init__(self, error: Mapping[str, Any], generation: int) -> None:
        super().__init__()
        # In place of what is missing the official binding has these (`storpool.spapi.ApiError`).
        self.name = error.get("name", "<Missing error name>")
        self.desc = error.get("descr", "<Missing error description>")
        self.transient = error.get("transient", False)
        self.generation = generation

    def __str__(self) -> str:
        return f"{self.name}: {self.desc}"


class Invalid(Exception):
    """What a call was to be made of is nothing that StorPool takes; nothing was sent."""


class Reply:
    """What a call brought: the `data`, and the generation of the answer, 0 where it had none."""

    __slots__ = ("data", "generation")

    def __init__(self, data: Any, generation: int) -> None:
        self.data = data
        self.generation = generation


class Transport:
    """The way of one client to the API; of this there are two kinds.

    `way` is how a cluster is asked that a call for several clusters names; without `pin` it is the
    address' own that is asked, whatever a call names. Nothing else changes by a call.
    """

    way = ways.TOGETHER
    pin = True

    def __init__(self, settings: config.Api, there: wire.Wire) -> None:
        self._multicluster = settings.multicluster
        self._there = there
        self._headers = {"Authorization": f"Storpool v1:{settings.token.reveal()}"}

    def call(
        self,
        method: str,
        args: tuple[object, ...],
        cluster: str | None,
        seconds: float,
        *,
        make: Make | None = None,
    ) -> Reply:
        """Call a method of the official binding's, for the cluster of this name or the address'
        own; return the reply.

        `make` makes a value of each entry of the answer's list where that is long: it is read piece
        by piece then, and is a `lists.Entries`.

        Raises Refusal, Invalid; UnknownName and Unreachable when nothing was sent; Malformed, any
        other OSError, and NOT_STORPOOLS.
        """
        return self.begin(method, args, cluster, seconds).reply(make)

    def begin(
        self, method: str, args: tuple[object, ...], cluster: str | None, seconds: float
    ) -> Asked:
        """Send a call; several may be under way at once. What is returned has to be asked for the
        reply, or closed."""
        verb, has_form, query, body = self.request(method, args)
        path = self.path(query, has_form, cluster)
        if not path.isascii() or not path.isprintable() or " " in path:
            raise Invalid(f"{path} is no path")
        return Asked(self._there.send(verb, path, body, self._headers, seconds))

    def request(self, method: str, args: tuple[object, ...]) -> requests.Request:
        """Return what is sent for a call: the HTTP method, whether there is a form of it for
        several clusters, the path behind that, and the body.

        Raises Invalid.
        """
        raise NotImplementedError

    def path(self, query: str, has_form: bool, cluster: str | None) -> str:
        """Return the whole path of a request; `has_form`: there is one for several clusters."""
        is_for_all = has_form and self._multicluster
        if not self.pin or (is_for_all and self.way != ways.TOGETHER):
            cluster = None
        return self._path(query, is_for_all, cluster)

    def _path(self, query: str, is_for_all: bool, cluster: str | None) -> str:
        there = "" if cluster is None else f"RemoteCommand/{cluster}/"
        return f"{PREFIX}{there}{'MultiCluster/' if is_for_all else ''}{query}"


class Asked:
    """A call that is under way."""

    def __init__(self, exchange: wire.Exchange) -> None:
        self._exchange = exchange

    def reply(self, make: Make | None = None) -> Reply:
        """Wait for the answer, and return what it brought; raise as `Transport.call` does."""
        answer = self._exchange.answer(lambda pieces: _read(pieces, make))
        document = answer.body
        generation = replies.number(document, "generation", 0)
        if answer.status != OK or "error" in document:
            raise Refusal(replies.part(document, "error"), generation)
        return Reply(document["data"], generation)

    def close(self) -> None:
        """Wait no longer."""
        self._exchange.close()


def _read(pieces: Iterator[bytes], make: Make | None) -> Mapping[str, Any]:
    """Return the JSON object that a body holds; raise OddReply."""
    if make is None:
        return replies.document(answers.whole(pieces))
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length > SHORT_BYTES:
            from storpool_ovirt.cluster import lists

            return lists.read(itertools.chain(held, pieces), make)
    return replies.document(b"".join(held))


class Plain(Transport):
    """The way of programs that somebody waits for; `official` makes the other one."""

    def __init__(self, settings: config.Api, official: Callable[[], Transport]) -> None:
        super().__init__(settings, wire.Wire(settings.host, settings.port))
        self._official = official

    def request(self, method: str, args: tuple[object, ...]) -> requests.Request:
        """Return what is sent for a call; raise Invalid where the binding would refuse it."""
        found = requests.plain(method, args)
        if found is not None:
            return found
        try:
            return self._official().request(method, args)  # which may know why it is refused
        except ImportError as error:
            raise Invalid(str(error)) from error
