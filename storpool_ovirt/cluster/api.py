"""The StorPool API: the official binding with our own rule of retries, typed replies and our
errors.

Calls, paths and bodies are those of `storpool.spapi.Api`; its retries are off, as it repeats any
POST after a reset connection, also a create that may have taken effect. Here only what is safe to
repeat is repeated; `volumes.py` repeats a create by looking for what the first try may have made.

**No answer is older than what this client knows.**  Every reply carries the cluster's `generation`,
which grows with each change. The management service has instances, and one that answers a reading
call may be a moment behind (after a failover, longer). So a reading call that is answered from
before anything that this client was told is asked again. That covers what this process did itself.
Who has to know what *others* did calls `be_current` first: one write, which only the instance that
is active can carry out, and after it no reading call is answered from before that moment. "Does not
exist" is believed from a reading call only after such a barrier.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import io
import itertools
import json
import random
import re
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Callable, TypeVar

from storpool_ovirt import config, errors, names, sentences
from storpool_ovirt.cluster import replies, wire
from storpool_ovirt.cluster.replies import DOWN, Attachment, ClientStatus, Pair, Template, Volume
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.limits import LIMITS, Limits

__all__ = ["DOWN", "Attachment", "Client", "ClientStatus", "Pair", "Template", "Volume", "binding"]

# Where the barrier is written: one key of a bucket of the key-value store that is ours alone
# (`storpool.sptypes`, KeyValueBucketSetDesc).
BUCKET, BARRIER_KEY = "storpool-ovirt", "barrier"
# Where there is no barrier, "does not exist" is asked again so often, with growing pauses: a second
# in all.
LOOKS_AGAIN = 2
# What a cluster always answers, whatever else it refuses; that it answers is all that is asked,
# also an old answer.
PROOF = "servicesList"
# Of StorPool's words in an error: far more than anybody reads, and little enough to be searched for
# secrets at once.
WORDS_MAX = 1 << 17

_T = TypeVar("_T")
_IN_USE_IN_DESCR = re.compile(r"is (open at|attached to) client")
_OPEN_IN_DESCR = re.compile(r"(?:'([^']*)' )?is open at client (\d+)")


def binding() -> types.ModuleType:
    """Return `storpool.spapi`, loaded without `confget`.

    Only the binding's configuration reader needs confget; with pyparsing it is half of the import
    time, and under cinderlib, which puts a false pyparsing in place, it cannot be imported at all.
    A stand-in loads the real one at first use, so the binding stays whole for whoever shares this
    process. The binding also greets on stderr when simplejson is absent; Engine would read that.
    """
    if "storpool.spapi" not in sys.modules and "confget" not in sys.modules:
        stand_in = types.ModuleType("confget")
        stand_in.__getattr__ = lambda name: getattr(importlib.import_module("confget"), name)  # type: ignore[method-assign]
        sys.modules["confget"] = stand_in
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module("storpool.spapi")
        finally:
            del sys.modules["confget"]
    return importlib.import_module("storpool.spapi")


class Client:
    """One cluster's API for one process.

    `limits` are those of the program. `calls` counts the requests, `unanswered` those that are not
    repeated here and whose result is not known.

    Every method raises NotFound, Exists, InUse, NoSpace, Rejected, WrongCluster, ApiUnavailable,
    AddressUnknown or DeadlineExceeded; `repeat=False` says that an ambiguous failure must come back
    to the caller.
    """

    def __init__(
        self,
        settings: config.Api,
        deadline: Deadline,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        limits: Limits = LIMITS,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._sleep = sleep
        self._jitter = jitter
        self.limits = limits
        self._binding = binding()
        self._api = _over_wire(self._binding, settings)
        self._pin_is_proven = False
        self._patience_seconds = limits.retry_seconds
        # The newest generation that was seen, and until when a barrier counts as one of this
        # moment.
        self._floor = 0
        self._moment: Deadline | None = None
        self._pinned: dict[str, Client] = {}
        self._is_dated = False  # whether the last answer told its generation
        self.calls = 0
        self.unanswered = 0

    @property
    def address(self) -> str:
        """Where the API is, for messages."""
        return f"{self._settings.host}:{self._settings.port}"

    def limited(self, deadline: Deadline) -> Client:
        """Return a client of the same cluster with another limit, for what must not eat the whole
        of this one's.

        It knows what this one knows: it takes no answer that this one would refuse as too old.
        """
        made = Client(self._settings, deadline, self._sleep, self._jitter, self.limits)
        made._floor, made._moment = self._floor, self._moment
        return made

    def pinned_to(self, cluster_id: str) -> Client:
        """Return the client that asks this cluster by its id, through the same address; the same
        one each time.

        It raises WrongCluster where that address does not lead there. It compares generations with
        its own only, as those of two clusters are not comparable.
        """
        if cluster_id not in self._pinned:
            settings = replace(self._settings, cluster_id=cluster_id)
            self._pinned[cluster_id] = Client(
                settings, self._deadline, self._sleep, self._jitter, self.limits
            )
        return self._pinned[cluster_id]

    @property
    def generation(self) -> int:
        """The cluster's generation that this client knows of: no reading call is answered from
        before it."""
        return self._floor

    def be_current(self) -> None:
        """See that no later reading call is answered from before this moment.

        It is a write to StorPool's key-value store, as only the active instance of the management
        service carries one out; where that refuses it (a release without the store) its answer is
        one of this moment all the same. A domain of several clusters has no barrier: their
        generations are not comparable, and it is not documented whose a reply to a `MultiCluster/`
        call carries.
        """
        if self._compares:
            self._set_barrier()
            self._moment = self._deadline.after(self.limits.moment_seconds)

    def give_up_after(self, seconds: float) -> None:
        """Try failures over for no longer than this from now on: where somebody waits who can
        correct the settings."""
        self._patience_seconds = seconds

    def volume(self, address: str) -> Volume:
        """Return one volume by `~globalId` or name (`Volume/{v}`)."""
        return self._one("volume", "volumeList", address)

    def snapshot(self, address: str) -> Volume:
        """Return one snapshot by `~globalId` or name (`Snapshot/{s}`)."""
        return self._one("snapshot", "snapshotList", address)

    def volume_create(self, body: Mapping[str, object]) -> str:
        """Create a volume (`VolumeCreateDesc`) and return its global id. Not repeated here."""
        return self._new_id(
            "source or template for", "volumeCreate", "globalId", str(body["name"]), (body,)
        )

    def volume_snapshot(self, address: str, body: Mapping[str, object]) -> str:
        """Snapshot a volume (`VolumeSnapshotDesc`) and return the snapshot's global id.

        Not repeated here.
        """
        return self._new_id(
            "volume", "snapshotCreate", "snapshotGlobalId", address, (address, body)
        )

    def volume_update(self, address: str, body: Mapping[str, object]) -> int:
        """Change a volume (`VolumeUpdateDesc`, absolute values only) and return the cluster's new
        generation."""
        kind = "volume or template" if "template" in body else "volume"
        return self._generation(
            "volumeUpdate", self._call(kind, "volumeUpdate", address, (address, body))
        )

    def volume_delete(self, address: str) -> None:
        """Delete a volume; InUse when it is attached anywhere (`VolumeDelete/{v}` without
        `onAttached`)."""
        self._call("volume", "volumeDelete", address, (address,))

    def snapshot_delete(self, address: str) -> None:
        """Delete a snapshot; volumes made from it keep their data (`SnapshotDelete/{s}`)."""
        self._call("snapshot", "snapshotDelete", address, (address,))

    def volume_revert(self, address: str, snapshot_address: str) -> None:
        """Give a volume the data of a snapshot; what it holds now is lost (`VolumeRevert/{v}`)."""
        self._call(
            "volume or snapshot",
            "volumeRevert",
            address,
            (address, {"toSnapshot": snapshot_address}),
        )

    def snapshot_update(self, address: str, body: Mapping[str, object]) -> None:
        """Change a snapshot (`SnapshotUpdateDesc`, absolute values only)."""
        self._call("snapshot", "snapshotUpdate", address, (address, body))

    def group_snapshot(self, body: Mapping[str, object], what: str) -> dict[str, str]:
        """Snapshot several volumes at one moment (`GroupSnapshotsSpec`); all of them or none.

        Not repeated here.

        Returns the global id of each new snapshot by that of its volume.
        """
        data = self._call("volume", "snapshotCreateGroup", what, (body,), repeat=False)
        return self._read("snapshotCreateGroup", replies.group, data)

    def volumes(self) -> list[Volume]:
        """Return all volumes of the cluster (`VolumesList`)."""
        return self._list("cluster", "volumesList", (), lambda raw: replies.volume("volume", raw))

    def snapshots(self) -> list[Volume]:
        """Return all snapshots of the cluster, dying and transient ones too (`SnapshotsList`)."""
        return self._list(
            "cluster", "snapshotsList", (), lambda raw: replies.volume("snapshot", raw)
        )

    def attachments(self) -> list[Attachment]:
        """Return all attachments of the cluster (`AttachmentsList`)."""
        return self._list("cluster", "attachmentsList", (), replies.attachment)

    def reassign(
        self,
        items: Sequence[Mapping[str, object]],
        attach_timeout: int,
        what: str,
        repeat: bool = True,
    ) -> int:
        """Attach and detach in one atomic request (`VolumesReassignWait`) and return the cluster's
        new generation.

        `attach_timeout` is in seconds; the generation is 0 where StorPool does not tell it. `what`
        names the objects, each with its kind.
        """
        body = {"reassign": list(items), "attachTimeout": attach_timeout}
        try:
            data = self._call("", "volumesReassignWait", what, (body,), repeat)
        except errors.NotFound as error:
            if error.kind != "client":
                raise
            raise errors.NotFound(
                "client", _clients_of(items) or error.name, error.where
            ) from error
        return self._generation("volumesReassignWait", data)

    def clients(self) -> list[ClientStatus]:
        """Return how far each client has come with the configuration (`ClientsConfigDump`)."""
        return self._list("client", "clientsConfigDump", (), replies.client_status)

    def client_wait(self, client_id: int) -> list[ClientStatus]:
        """Wait until a client has the cluster's configuration of now
        (`ClientConfigWait/{clientId}`)."""
        return self._list("client", "clientConfigWait", (client_id,), replies.client_status)

    def templates(self) -> list[Template]:
        """Return each template's capacity and free space in bytes (`VolumeTemplatesStatus`)."""
        return self._list("cluster", "volumeTemplatesStatus", (), replies.template)

    def template_parent(self, name: str) -> str:
        """Return the snapshot that a template's volumes stand on, "" where they are empty
        (`VolumeTemplateDesc`)."""
        data = self._call("template", "volumeTemplateDescribe", name, (name,))
        return self._read("volumeTemplateDescribe", replies.parent, data)

    def pair(self, bucket: str, key: str) -> Pair:
        """Return one pair of the cluster's key-value store (`KV/Get`); NotFound when bucket or key
        is absent."""

        def ask() -> Pair:
            data = self._call("entry", "kvsGet", f"{bucket}/{key}", (bucket, key))
            return self._read("kvsGet", lambda raw: replies.pair(raw, key), data)

        return self._by_key(ask)

    def bucket_create(self, bucket: str) -> None:
        """Make a bucket of the key-value store (`KV/Create`); Exists when there is one."""
        self._call("bucket", "kvsCreate", bucket, (bucket,))

    def pair_set(self, bucket: str, key: str, value: str, version: int | None = None) -> None:
        """Write one pair (`KV/Set`; an empty value deletes it); Rejected when the bucket is of
        another `version`."""
        body: dict[str, object] = {"set": {key: value}}
        if version is not None:
            body["runIfVersionIs"] = version
        self._call("bucket", "kvsUpdate", bucket, (bucket, body))

    def pause(self, attempt: int) -> None:
        """Wait a little, longer with each attempt, with jitter; DeadlineExceeded when there is no
        time for it."""
        self._sleep(
            min(
                self._pause_seconds(attempt),
                self._deadline.left(f"the StorPool API at {self.address}"),
            )
        )

    def looks(self, seconds: float) -> Iterator[float]:
        """Look at this cluster's lists, with growing pauses, for so long: as `deadline.polls`."""
        return polls(
            self._deadline.within(seconds),
            self._sleep,
            self.limits.first_pause_seconds,
            self.limits.longest_pause_seconds,
        )

    def check_cluster(self, global_id: str, name: str) -> None:
        """Raise WrongCluster when an object does not live in the pinned cluster; ask nobody."""
        pinned = self._settings.cluster_id
        if pinned is not None and names.cluster_of(global_id) != pinned:
            raise errors.WrongCluster(
                name,
                f"lives in StorPool cluster {names.cluster_of(global_id)}, the domain is pinned to"
                f" {pinned}",
                "use the storage domain of that cluster",
            )

    def _pause_seconds(self, attempt: int) -> float:
        pause_seconds: float = self.limits.first_pause_seconds * 2.0**attempt
        return min(pause_seconds, self.limits.longest_pause_seconds) * (0.5 + self._jitter())

    @property
    def _compares(self) -> bool:
        return not self._settings.multicluster

    def _set_barrier(self) -> None:
        with contextlib.suppress(errors.NotFound, errors.Conflict, errors.Rejected):
            try:
                self.pair_set(BUCKET, BARRIER_KEY, f"{time.time():.6f}")
            except (
                errors.NotFound
            ):  # the first time in a cluster; making it is a write like any other
                self.bucket_create(BUCKET)

    def _one(self, kind: str, method: str, address: str) -> Volume:
        return self._by_key(lambda: self._only(kind, method, address))

    def _by_key(self, ask: Callable[[], _T]) -> _T:
        """Return what is there under a name, an id or a key; believe that nothing is only when that
        is of now."""
        try:
            return ask()
        except errors.NotFound as error:
            # A refusal that tells no generation may be of any moment, where the cluster's other
            # answers tell theirs.
            is_of_now = self._is_dated or not self._floor
            if is_of_now and self._moment is not None and self._moment.remaining() > 0:
                raise
            return self._asked_again(ask, error)

    def _asked_again(self, ask: Callable[[], _T], missing: errors.NotFound) -> _T:
        """Return what an instance that is behind did not know; raise `missing` where it is really
        not there."""
        if self._compares:
            self.be_current()
            return ask()
        for attempt in range(
            LOOKS_AGAIN
        ):  # there is no barrier: an instance that is behind comes along
            self.pause(attempt)
            with contextlib.suppress(errors.NotFound):
                return ask()
        raise missing

    def _only(self, kind: str, method: str, address: str) -> Volume:
        found = self._list(kind, method, (address,), lambda raw: replies.volume(kind, raw))
        if len(found) != 1:
            raise self._nonsense(method, f"{len(found)} entries in place of one")
        return found[0]

    def _new_id(self, kind: str, method: str, key: str, name: str, args: tuple[object, ...]) -> str:
        data = self._call(kind, method, name, args, repeat=False)
        self.unanswered += 1  # until its global id is known to be ours
        # Where it is no id, the object was made, but we do not know which: the caller looks for it
        # by name.
        global_id = str(self._read(method, lambda raw: replies.global_id(raw, key), data))
        self.check_cluster(global_id, name)
        self.unanswered -= 1
        return global_id

    def _generation(self, method: str, data: Any) -> int:
        return self._read(method, lambda raw: replies.number(raw, "generation", 0), data)

    def _list(
        self,
        kind: str,
        method: str,
        args: tuple[object, ...],
        parse: Callable[[Mapping[str, Any]], _T],
    ) -> list[_T]:
        data = self._call(kind, method, " ".join(map(str, args)), args)
        return [
            self._read(method, parse, each) for each in self._read(method, replies.entries, data)
        ]

    def _read(self, method: str, parse: Callable[[Any], _T], data: Any) -> _T:
        try:
            return parse(data)
        except replies.Odd as error:
            raise self._nonsense(method, str(error)) from error

    def _call(
        self, kind: str, method: str, name: str, args: tuple[object, ...], repeat: bool = True
    ) -> Any:
        """Call the binding's `method` until it answers, while a repetition is safe and time is
        left."""
        patience = self._deadline.within(self._patience_seconds)
        for attempt in itertools.count():
            left = self._deadline.left(f"the StorPool API at {self.address} ({method})")
            try:
                seconds = min(left, self.limits.request_seconds)
                return self._call_once(kind, method, name, args, seconds)
            except errors.ApiUnavailable as error:
                most = patience.remaining() - self.limits.last_try_seconds
                seconds = min(self._pause_seconds(attempt), most)
                if error.ambiguous:
                    self._moment = (
                        None  # what is looked for next may just have been made, or have gone
                    )
                if (error.ambiguous and not repeat) or seconds <= 0:
                    self.unanswered += error.ambiguous and not repeat
                    raise
                self._sleep(seconds)
        raise AssertionError("unreachable: the loop has no end")

    def _call_once(
        self, kind: str, method: str, name: str, args: tuple[object, ...], timeout: float
    ) -> Any:
        self.calls += 1
        pinned = self._settings.cluster_id
        call = getattr(self._api, method)
        reads = call.spDoc.method == "GET"
        self._api.seconds = timeout
        try:
            data = call(
                *args, clusterName=names.address(pinned) if pinned else None, returnRawAPIData=True
            )
            self._check_age(method, reads)
        except self._binding.ApiError as error:
            self._check_age(method, reads)
            if error.transient is True:
                raise self._unavailable(
                    method, f"{_cut(error.name)}: {_cut(error.desc)}", ambiguous=True
                ) from error
            if pinned and method != PROOF:
                self._prove_pin(error)
            raise _translated(error, kind, method, name, self.address) from error
        except self._binding.InvalidArgumentError as error:
            raise errors.InputError(
                f"the request {method}", f"is not valid ({names.shown(str(error), 200)})"
            ) from error
        except wire.UnknownName as error:
            raise errors.AddressUnknown(self.address, _why(error)) from error
        except wire.Unreachable as error:
            raise self._unavailable(method, _why(error), ambiguous=False) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(method, _why(error), ambiguous=True) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # A proxy's page, an answer that is cut off, an error object without its parts.
            raise self._nonsense(method, "it is not what StorPool sends") from error
        if not reads and not (isinstance(data, dict) and data.get("ok") is True):
            # `storpool.spapi.ApiOk`: without it nothing says that anything was done.
            raise self._nonsense(method, 'no "ok"')
        return data

    def _check_age(self, method: str, reads: bool) -> None:
        """Raise ApiUnavailable for an answer to a reading call that is older than what this client
        knows."""
        generation = self._api.generation
        if method != PROOF:
            self._is_dated = generation > 0
        if not self._compares or not generation:  # where none is told, nothing can be compared
            return
        if reads and generation < self._floor and method != PROOF:
            why = f"it is of generation {generation}, before {self._floor}: that instance is behind"
            raise self._unavailable(method, why, ambiguous=False)
        self._floor = max(self._floor, generation)

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
            self._call_once("cluster", PROOF, "", (), seconds)
        except (errors.NotFound, errors.Rejected, errors.Conflict, errors.InUse) as error:
            pinned = self._settings.cluster_id
            raise errors.WrongCluster(
                f"the StorPool API at {self.address}",
                f"does not reach cluster {pinned} that the domain is pinned to",
                "correct sp_api_http_host or sp_cluster_id"
                + ("" if isinstance(error, errors.NotFound) else f" ({error})"),
            ) from answer
        self._pin_is_proven = True

    def _unavailable(self, method: str, why: str, ambiguous: bool) -> errors.ApiUnavailable:
        return errors.ApiUnavailable(self.address, method, why, ambiguous)

    def _nonsense(self, method: str, why: str) -> errors.ApiUnavailable:
        return self._unavailable(method, f"an answer that cannot be read: {why}", ambiguous=True)


def _over_wire(spapi: types.ModuleType, settings: config.Api) -> Any:
    """Return an object with all methods of `storpool.spapi.Api`, with its paths and its checks,
    over our wire.

    `seconds` is the limit of the next request, `generation` that of the last answer, 0 where it
    told none.
    """
    there = wire.Wire(settings.host, settings.port)
    headers = {"Authorization": f"Storpool v1:{settings.token.reveal()}"}

    class OverWire(spapi.Api):  # type: ignore[misc,name-defined]  # the binding has no types
        seconds = 0.0
        generation = 0

        def __call__(  # what all of the binding's methods call; the names are its own
            self,
            method: str,
            multiCluster: bool,  # noqa: N803
            query: str,
            json: Any = None,
            clusterName: str | None = None,  # noqa: N803
        ) -> Any:
            self.generation = 0
            path = spapi._format_path(
                query, multiCluster and settings.multicluster, clusterName=clusterName
            )
            answer = there.request(
                method, path, _body(spapi.clear_none(json)), headers, self.seconds
            )
            reply = replies.document(answer.body)
            self.generation = replies.number(reply, "generation", 0)
            if answer.status != http.client.OK or "error" in reply:
                replies.part(reply, "error")
                raise spapi.ApiError(answer.status, reply)
            return reply["data"]

    return OverWire()


def _body(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _clients_of(items: Sequence[Mapping[str, Any]]) -> str:
    """Return the clients that a reassign names: those that it attaches to, or takes from."""
    named = {
        each
        for item in items
        for key in ("rw", "ro", "detach")
        for each in item.get(key) or ()
        if each != "all"
    }
    return " or ".join(str(each) for each in sorted(named) if isinstance(each, int))


def _translated(error: Any, kind: str, method: str, name: str, address: str) -> errors.Error:
    """Return our error for StorPool's: the one place that knows its error names
    (`storpool.spapi.ApiError.name`)."""
    descr = _cut(error.desc)
    shown = name or method
    if error.name == "objectDoesNotExist":
        return errors.NotFound(kind, shown, f"in the StorPool cluster at {address} ({descr})")
    if error.name == "objectExists":
        return errors.Exists(shown, f"exists already ({descr})")
    if error.name == "busy" or (error.name == "invalidParam" and _IN_USE_IN_DESCR.search(descr)):
        # Older releases say invalidParam for what is open or attached and tell it only in the text.
        found = _OPEN_IN_DESCR.findall(descr)
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
