"""How a cluster is read, and when an answer is believed: that something does not exist only when it
is of now, and a list of several clusters only when each of them has answered.

`freshness.py` knows how old an answer may be.
"""

from __future__ import annotations

import time

from storpool_ovirt import errors
from storpool_ovirt.cluster import calls, replies
from storpool_ovirt.cluster.replies import Pair, Volume
from storpool_ovirt.light import TYPE_CHECKING, contextmanager, suppress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Callable, TypeVar

    _T = TypeVar("_T")
    _Part = TypeVar("_Part")

# Where the barrier is written: one key of a bucket of the key-value store that is ours alone
# (`storpool.sptypes`, KeyValueBucketSetDesc).
BUCKET, BARRIER_KEY = "storpool-ovirt", "barrier"
# Where there is no barrier, "does not exist" is asked again so often, with growing pauses: a second
# in all.
LOOKS_AGAIN = 2

# The call that reads one object of a kind.
READ_BY = {"volume": "volumeList", "snapshot": "snapshotList"}


class Reading(calls.Calls):
    """How a client reads: one object, a list, an entry of the key-value store. By a write to that
    it also sees that what it reads is of now."""

    @property
    def generation(self) -> int:
        """The cluster's generation that this client knows of: no reading call is answered from
        before it."""
        return self._freshness.floor

    def be_current(self) -> None:
        """See that no later reading call is answered from before this moment.

        It is a write to StorPool's key-value store, as only the active instance of the management
        service carries one out; where that refuses it (a release without the store) its answer is
        one of this moment all the same. A domain of several clusters has no barrier: their
        generations are not comparable, and it is not documented whose a reply to a `MultiCluster/`
        call carries. What must be of now is asked of each of them alone there (`Client.of_hosts`,
        `Client.attachments`).
        """
        if self._freshness.compares:
            self._set_barrier()
            until = self._deadline.after(self.limits.moment_seconds)
            self._freshness.set_moment(until)

    @contextmanager
    def ahead(self, wanted: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Have objects, each a kind with an address, read sooner, some of them at once: each
        `volume` or `snapshot` of one of them in the block takes its answer, in whatever order.

        Nothing else is different in it; what follows a write is asked for after that.
        """
        planned = [(READ_BY[kind], (address,)) for kind, address in wanted]
        try:
            if len(planned) > 1:
                self._ask_ahead(planned)
            yield
        finally:
            if self._ahead is not None:
                self._ahead.drop()

    def _ask_ahead(self, planned: Iterable[tuple[str, tuple[object, ...]]]) -> None:
        if self._ahead is None:
            from storpool_ovirt.cluster import ahead

            self._ahead = ahead.Ahead(self._send_ahead, self._freshness.end_moment)
        self._ahead.ask(planned)

    def pair(self, bucket: str, key: str) -> Pair:
        """Return one pair of the cluster's key-value store (`KV/Get`); NotFound when bucket or key
        is absent."""

        def ask() -> Pair:
            data = self._ask("entry", "kvsGet", f"{bucket}/{key}", (bucket, key))
            return self._read("kvsGet", lambda raw: replies.pair(raw, key), data)

        return self._by_key(ask)

    def bucket_create(self, bucket: str) -> None:
        """Make a bucket of the key-value store (`KV/Create`); Exists when there is one."""
        self._ask("bucket", "kvsCreate", bucket, (bucket,))

    def pair_set(self, bucket: str, key: str, value: str, version: int | None = None) -> None:
        """Write one pair (`KV/Set`; an empty value deletes it); Rejected when the bucket is of
        another `version`."""
        body: dict[str, object] = {"set": {key: value}}
        if version is not None:
            body["runIfVersionIs"] = version
        self._ask("bucket", "kvsUpdate", bucket, (bucket, body))

    def _set_barrier(self) -> None:
        with suppress(errors.NotFound, errors.Conflict, errors.Rejected):
            try:
                self.pair_set(BUCKET, BARRIER_KEY, f"{time.time():.6f}")
            except errors.NotFound:
                # The first time in a cluster.  Making the bucket is a write like any other.
                self.bucket_create(BUCKET)

    def _one(self, kind: str, address: str) -> Volume:
        return self._by_key(lambda: self._only(kind, address))

    def _by_key(self, ask: Callable[[], _T]) -> _T:
        """Return what is there under a name, an id or a key; believe that nothing is only when that
        is of now."""
        try:
            return ask()
        except errors.NotFound as error:
            if self._freshness.believes_absence():
                raise
            return self._asked_again(ask, error)

    def _asked_again(self, ask: Callable[[], _T], missing: errors.NotFound) -> _T:
        """Return what an instance that is behind did not know; raise `missing` where it is really
        not there."""
        if self._freshness.compares:
            self.be_current()
            return ask()
        # There is no barrier: an instance that is behind catches up meanwhile.
        for attempt in range(LOOKS_AGAIN):
            self.pause(attempt)
            with suppress(errors.NotFound):
                return ask()
        self._check_all_answer()
        raise missing

    def _only(self, kind: str, address: str) -> Volume:
        return self._only_as(kind, address, replies.volume)

    def _only_as(
        self, kind: str, address: str, parse: Callable[[str, Mapping[str, Any]], _T]
    ) -> _T:
        method = READ_BY[kind]
        found = self._list(kind, method, (address,), lambda raw: parse(kind, raw))
        if len(found) != 1:
            raise self._nonsense(method, f"{len(found)} entries in place of one")
        return found[0]

    def _complete(self, method: str, parse: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
        """Return a list of the cluster; of several, only when each of them has answered."""
        listed = self._all("cluster", method, parse)
        self._check_all_answer()
        return listed

    def _all(self, kind: str, method: str, parse: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
        """Return a list of which nobody knows how long it is; only what `parse` makes of its
        entries is held."""
        data = self._ask(kind, method, "", (), make=parse)
        if not hasattr(data, "odd"):  # a short one, which was read as a whole
            listed = self._read(method, replies.entries, data)
            return [self._read(method, parse, each) for each in listed]
        if data.odd is not None:
            raise self._nonsense(method, str(data.odd)) from data.odd
        found: list[_T] = data
        return found

    def all_as(
        self,
        make: Callable[[Volume], _Part | None],
        kinds: Iterable[str] = ("volume", "snapshot"),
    ) -> list[_Part]:
        """Return what `make` makes of each volume and snapshot of the cluster, without those of
        which it makes None: who needs little of each does not hold all of it."""
        found: list[_Part] = []
        for kind in kinds:
            found += self._made(kind, make)
        return replies.owners(found)

    def _made(self, kind: str, make: Callable[[Volume], _Part | None]) -> list[_Part]:
        listed = self._complete(f"{kind}sList", lambda raw: make(replies.volume(kind, raw)))
        return [each for each in listed if each is not None]

    def _check_all_answer(self) -> None:
        """Raise ApiUnavailable while one of several clusters does not answer."""
        if self._settings.multicluster:
            self.clusters()

    def clusters(self) -> frozenset[str]:
        """Return the ids of all clusters of the name space, each of which answers; raise
        ApiUnavailable while one does not.

        It is not documented whether a `MultiCluster/` call tells so: what it does not find may
        live there. A release that does not know the question, or tells no ids, has to be believed;
        then they are none.
        """
        try:
            data = self._ask("cluster", "allClusters", "", ())
        except (errors.Rejected, errors.NotFound):
            return frozenset()
        silent = self._read("allClusters", replies.silent_clusters, data)
        if silent:
            why = f"not every cluster answers ({', '.join(silent)})"
            raise self._unavailable("allClusters", why, ambiguous=False)
        return self._read("allClusters", replies.cluster_ids, data)

    def _list(
        self,
        kind: str,
        method: str,
        args: tuple[object, ...],
        parse: Callable[[Mapping[str, Any]], _T],
    ) -> list[_T]:
        data = self._ask(kind, method, " ".join(map(str, args)), args)
        return [
            self._read(method, parse, each) for each in self._read(method, replies.entries, data)
        ]
