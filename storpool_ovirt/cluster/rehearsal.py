"""A rehearsal: a client that asks the cluster all that it reads, and notes what it would write.

Nothing that changes the cluster is sent. What a call would have changed is in the answers that come
after it (`foreseen.py`), so what is rehearsed goes its whole way, by the same lines of code as in
earnest. The first call whose answer nobody can foresee ends it (`Unforeseen`).

The barrier alone is sent (`reading.Reading.be_current`): a write of our own key, without which
nobody knows that what is read is of now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storpool_ovirt import sentences
from storpool_ovirt.cluster import foreseen, lists, reading, requests, transport
from storpool_ovirt.light import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storpool_ovirt.cluster.transport import Make

BODY_MAX = 300  # of a body, for people: tags and sizes are shorter
_KEY_VALUE = ("kvsUpdate", "kvsCreate")


class Unforeseen(Exception):
    """What comes after this call depends on its answer, which nobody has before it is sent."""


class Call(NamedTuple):
    """A call that would be sent: the HTTP method, the path behind `/ctrl/1.0/`, the body; `refused`
    is StorPool's word where it would be refused as things are now."""

    verb: str
    path: str
    body: str
    refused: str = ""

    def __str__(self) -> str:
        shown = sentences.shortened(self.body, BODY_MAX)
        refused = f" (refused: {self.refused})" if self.refused else ""
        return f"{self.verb} {self.path} {shown}".rstrip() + refused


class Rehearsal:
    """What was noted in one rehearsal, by all clients that take part."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ended_at: Call | None = None
        self._world: foreseen.World | None = None

    def of(self, way: transport.Transport, home: str | None) -> transport.Transport:
        """Return a way to the cluster with the id `home`, or to the address' own, that sends no
        change there."""
        if self._world is None:
            self._world = foreseen.World(home)
        return _Rehearsed(way, self, self._world)


class _Rehearsed(transport.Transport):
    """The way of a client that takes part."""

    def __init__(
        self, way: transport.Transport, rehearsal: Rehearsal, world: foreseen.World
    ) -> None:
        self._way = way
        self._rehearsal = rehearsal
        self._world = world
        self._generation = 0

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("way", "pin"):  # who finds another way means that of the real one
            setattr(self._way, name, value)
        object.__setattr__(self, name, value)

    def call(
        self,
        method: str,
        args: tuple[object, ...],
        cluster: str | None,
        seconds: float,
        *,
        make: Make | None = None,
    ) -> transport.Reply:
        """Answer as `Transport.call` does."""
        if not requests.reads(method) and not _is_barrier(method, args):
            return self._noted(method, args, cluster, seconds)
        if not self._world.is_changed:
            reply = self._way.call(method, args, cluster, seconds, make=make)
        elif method in reading.READ_BY.values():
            reply = self._read_one(method, args, cluster, seconds)
        else:
            reply = self._changed(method, args, cluster, seconds, make)
        self._generation = max(self._generation, reply.generation)
        return reply

    def begin(self, *_asked: Any) -> transport.Asked:
        """Send nothing ahead: each call is made when its turn comes."""
        raise OSError("nothing is sent ahead in a rehearsal")

    def request(self, method: str, args: tuple[object, ...]) -> requests.Request:
        """Return what the real way would send."""
        return self._way.request(method, args)

    def _noted(
        self, method: str, args: tuple[object, ...], cluster: str | None, seconds: float
    ) -> transport.Reply:
        verb, has_form, query, body = self._way.request(method, args)
        path = self._way.path(query, has_form, cluster)
        call = Call(verb, path.partition(transport.PREFIX)[2], (body or b"").decode("ascii"))

        def look(kind: str, address: str) -> list[dict[str, Any]]:
            found = self.call(f"{kind}List", (address,), cluster, seconds).data
            return [*found]

        def attached(_kind: str, address: str) -> list[dict[str, Any]]:
            found = self.call("attachmentsList", (), cluster, seconds).data
            return [each for each in found if foreseen.is_of(each, address)]

        try:
            data = self._world.carry_out(method, args, look, attached)
        except transport.Refusal as refusal:
            self._rehearsal.calls.append(call._replace(refused=str(refusal)))
            refusal.generation = self._generation
            raise
        self._rehearsal.calls.append(call)
        if data is None:
            self._rehearsal.ended_at = call
            raise Unforeseen
        return transport.Reply({**data, "generation": self._generation}, self._generation)

    def _read_one(
        self, method: str, args: tuple[object, ...], cluster: str | None, seconds: float
    ) -> transport.Reply:
        """Return the answer to a read of one object as it would be."""
        made = self._world.added(method, args)
        if made:
            return transport.Reply(made, self._generation)
        address = self._world.renamed(method, str(args[0]))
        reply = self._way.call(method, (address or args[0],), cluster, seconds)
        found = self._shown(method, reply.data)
        if not address and any(_named(each, args[0]) for each in reply.data):
            found = [each for each in found if each.get("name") == args[0]]
        if not found:
            refusal = foreseen.absent(foreseen.KINDS[method], args[0])
            refusal.generation = reply.generation
            raise refusal
        return transport.Reply(found, reply.generation)

    def _changed(
        self,
        method: str,
        args: tuple[object, ...],
        cluster: str | None,
        seconds: float,
        make: Make | None,
    ) -> transport.Reply:
        """Return the answer to any other reading call as it would be."""
        if method == "kvsGet":
            return self._pair(args, cluster, seconds)

        def made(raw: Any) -> object:
            seen = self._world.seen(method, raw)
            return None if seen is None or make is None else make(seen)

        reply = self._way.call(method, args, cluster, seconds, make=made if make else None)
        if isinstance(reply.data, lists.Entries) and make is not None:
            reply.data += map(make, self._world.added(method, args))
        elif isinstance(reply.data, list):
            reply.data = [*self._shown(method, reply.data), *self._world.added(method, args)]
        return reply

    def _pair(
        self, args: tuple[object, ...], cluster: str | None, seconds: float
    ) -> transport.Reply:
        bucket, key = map(str, args)
        value = self._world.pair(bucket, key)
        if value is None:
            return self._way.call("kvsGet", args, cluster, seconds)
        return transport.Reply({"pairs": {key: value}, "version": 0}, self._generation)

    def _shown(self, method: str, listed: Sequence[Any]) -> list[Any]:
        seen = (self._world.seen(method, each) for each in listed)
        return [each for each in seen if each is not None]


def _named(raw: Any, address: object) -> bool:
    """Return whether an entry was found by its name of now."""
    return isinstance(raw, dict) and raw.get("name") == address


def _is_barrier(method: str, args: tuple[object, ...]) -> bool:
    """Return whether a call is that of `be_current`, or makes the bucket for it."""
    if method not in _KEY_VALUE or args[0] != reading.BUCKET:
        return False
    body = args[1] if len(args) > 1 else {"set": {reading.BARRIER_KEY: ""}}
    return isinstance(body, dict) and set(body["set"]) == {reading.BARRIER_KEY}
