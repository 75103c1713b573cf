"""The StorPool API: the official binding with our own rule of retries, typed replies and our errors.

Calls, paths and bodies are those of `storpool.spapi.Api`; its retries are off (`transientRetries=0`), as it repeats
any POST after a reset connection, also a create that may have taken effect.  Here only what is safe to repeat is
repeated; `volumes.py` repeats a create by looking for what the first try may have made.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import io
import itertools
import random
import re
import socket
import sys
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from storpool_ovirt import config, errors, names
from storpool_ovirt.deadline import Deadline

# One request: longer than any call of ours takes on a healthy cluster, short enough to try again within a deadline.
REQUEST_SECONDS = 30.0
# How long failures are tried over: the official binding gives a failover of the management service 31 s in all, which
# one of 30 s just misses when its last pause is a long one.
RETRY_SECONDS = 45.0
LAST_TRY_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

_T = TypeVar("_T")
_IN_USE_IN_DESCR = re.compile(r"is (open at|attached to) client")
_OPEN_IN_DESCR = re.compile(r"(?:'([^']*)' )?is open at client (\d+)")


@dataclass(frozen=True)
class Volume:
    """A volume or a snapshot as StorPool lists it (`storpool.sptypes.VolumeSummary`, `SnapshotSummary`).

    `parent` is the name or `~globalId` of the snapshot that it stands on; `created_at` is in seconds since 1970,
    `serial` orders what was made in the same second.
    """

    kind: str
    global_id: str
    name: str
    size_bytes: int
    tags: Mapping[str, str]
    template: str
    made_from: str | None
    dying: bool
    transient: bool = False
    parent: str = ""
    created_at: float = 0.0
    serial: int = 0


@dataclass(frozen=True)
class Attachment:
    """One volume or snapshot on one client (`storpool.sptypes.AttachmentDesc`)."""

    name: str
    global_id: str | None
    client_id: int
    access_mode: str

    def is_of(self, global_id: str, name: str | None) -> bool:
        """Tell whether this is an attachment of that object; older releases give no global id but a name."""
        if self.global_id is not None:
            return self.global_id == global_id
        return self.name in (names.address(global_id), name)


@dataclass(frozen=True)
class Template:
    """A template's space for client data: replication is already accounted (`VolumeTemplateStatusDesc.stored`)."""

    name: str
    capacity_bytes: int
    free_bytes: int
    provisioned_bytes: int = 0


@dataclass(frozen=True)
class Pair:
    """A value of the key-value store, and the version of its bucket, which grows with each change."""

    value: str
    version: int


# StorPool's word for a client that it has no contact with (`storpool.sptypes.ClientConfigStatus`).
DOWN = "down"


@dataclass(frozen=True)
class ClientStatus:
    """How far a client has come with the cluster's configuration, which is of `generation` (`ClientConfigStatus`)."""

    client_id: int
    client_generation: int
    status: str
    generation: int = 0


def binding() -> types.ModuleType:
    """Return `storpool.spapi`, loaded without `confget`.

    Only the binding's configuration reader needs confget; with pyparsing it is half of the import time, and under
    cinderlib, which puts a false pyparsing in place, it cannot be imported at all.  A stand-in loads the real one at
    first use, so the binding stays whole for whoever shares this process.  The binding also greets on stderr when
    simplejson is absent; Engine would read that.
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

    `calls` counts the requests, `unanswered` those that are not repeated here and whose result is not known.

    Every method raises NotFound, Exists, InUse, NoSpace, Rejected, WrongCluster, ApiUnavailable,
    AddressUnknown or DeadlineExceeded; `repeat=False` says that an ambiguous failure must come back to the caller.
    """

    def __init__(
        self,
        settings: config.Api,
        deadline: Deadline,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._sleep = sleep
        self._jitter = jitter
        self._binding = binding()
        self._pin_is_proven = False
        self.calls = 0
        self.unanswered = 0

    @property
    def address(self) -> str:
        """Where the API is, for messages."""
        return f"{self._settings.host}:{self._settings.port}"

    def limited(self, deadline: Deadline) -> Client:
        """Return a client of the same cluster with another limit, for what must not eat the whole of this one's."""
        return Client(self._settings, deadline, self._sleep, self._jitter)

    def volume(self, address: str) -> Volume:
        """Return one volume by `~globalId` or name (`Volume/{v}`)."""
        return self._one("volume", "volumeList", address)

    def snapshot(self, address: str) -> Volume:
        """Return one snapshot by `~globalId` or name (`Snapshot/{s}`)."""
        return self._one("snapshot", "snapshotList", address)

    def volume_create(self, body: Mapping[str, object]) -> str:
        """Create a volume (`VolumeCreateDesc`) and return its global id.  Not repeated here."""
        return self._new_id("source or template for", "volumeCreate", "globalId", str(body["name"]), (body,))

    def volume_snapshot(self, address: str, body: Mapping[str, object]) -> str:
        """Snapshot a volume (`VolumeSnapshotDesc`) and return the snapshot's global id.  Not repeated here."""
        return self._new_id("volume", "snapshotCreate", "snapshotGlobalId", address, (address, body))

    def volume_update(self, address: str, body: Mapping[str, object]) -> int:
        """Change a volume (`VolumeUpdateDesc`, absolute values only) and return the cluster's new generation."""
        kind = "volume or template" if "template" in body else "volume"
        data = self._call(kind, "volumeUpdate", address, (address, body))
        return int(data.get("generation", 0))

    def volume_delete(self, address: str) -> None:
        """Delete a volume; InUse when it is attached anywhere (`VolumeDelete/{v}` without `onAttached`)."""
        self._call("volume", "volumeDelete", address, (address,))

    def snapshot_delete(self, address: str) -> None:
        """Delete a snapshot; volumes made from it keep their data (`SnapshotDelete/{s}`)."""
        self._call("snapshot", "snapshotDelete", address, (address,))

    def volume_revert(self, address: str, snapshot_address: str) -> None:
        """Give a volume the data of a snapshot; what it holds now is lost (`VolumeRevert/{v}`)."""
        self._call("volume or snapshot", "volumeRevert", address, (address, {"toSnapshot": snapshot_address}))

    def snapshot_update(self, address: str, body: Mapping[str, object]) -> None:
        """Change a snapshot (`SnapshotUpdateDesc`, absolute values only)."""
        self._call("snapshot", "snapshotUpdate", address, (address, body))

    def group_snapshot(self, body: Mapping[str, object], what: str) -> dict[str, str]:
        """Snapshot several volumes at one moment (`GroupSnapshotsSpec`); all of them or none.  Not repeated here.

        Returns the global id of each new snapshot by that of its volume.
        """
        data = self._call("volume", "snapshotCreateGroup", what, (body,), repeat=False)
        try:
            return {str(each["volumeGlobalId"]): str(each["snapshotGlobalId"]) for each in data["snapshots"]}
        except (KeyError, TypeError) as error:
            raise self._nonsense("snapshotCreateGroup", f"a part is missing ({error})") from error

    def volumes(self) -> list[Volume]:
        """Return all volumes of the cluster (`VolumesList`)."""
        return self._list("cluster", "volumesList", (), lambda raw: _volume("volume", raw))

    def snapshots(self) -> list[Volume]:
        """Return all snapshots of the cluster, dying and transient ones too (`SnapshotsList`)."""
        return self._list("cluster", "snapshotsList", (), lambda raw: _volume("snapshot", raw))

    def attachments(self) -> list[Attachment]:
        """Return all attachments of the cluster (`AttachmentsList`)."""
        return self._list("cluster", "attachmentsList", (), _attachment)

    def reassign(
        self, items: Sequence[Mapping[str, object]], attach_timeout: int, what: str, repeat: bool = True
    ) -> int:
        """Attach and detach in one atomic request (`VolumesReassignWait`) and return the cluster's new generation.

        `attach_timeout` is in seconds; the generation is 0 where StorPool does not tell it.  `what` names the objects,
        each with its kind.
        """
        body = {"reassign": list(items), "attachTimeout": attach_timeout}
        data = self._call("", "volumesReassignWait", what, (body,), repeat)
        return int(data.get("generation", 0))

    def clients(self) -> list[ClientStatus]:
        """Return how far each client has come with the configuration (`ClientsConfigDump`)."""
        return self._list("client", "clientsConfigDump", (), _client_status)

    def client_wait(self, client_id: int) -> list[ClientStatus]:
        """Wait until a client has the cluster's configuration of now (`ClientConfigWait/{clientId}`)."""
        return self._list("client", "clientConfigWait", (client_id,), _client_status)

    def templates(self) -> list[Template]:
        """Return each template's capacity and free space in bytes (`VolumeTemplatesStatus`)."""
        return self._list("cluster", "volumeTemplatesStatus", (), _template)

    def pair(self, bucket: str, key: str) -> Pair:
        """Return one pair of the cluster's key-value store (`KV/Get`); NotFound when bucket or key is absent."""
        data = self._call("entry", "kvsGet", f"{bucket}/{key}", (bucket, key))
        try:
            return Pair(str(data["pairs"][key]), int(data["version"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._nonsense("kvsGet", f"a part is missing or of another type ({error})") from error

    def bucket_create(self, bucket: str) -> None:
        """Make a bucket of the key-value store (`KV/Create`); Exists when there is one."""
        self._call("bucket", "kvsCreate", bucket, (bucket,))

    def pair_set(self, bucket: str, key: str, value: str, version: int | None = None) -> None:
        """Write one pair (`KV/Set`; an empty value deletes it); Rejected when the bucket is of another `version`."""
        body: dict[str, object] = {"set": {key: value}}
        if version is not None:
            body["runIfVersionIs"] = version
        self._call("bucket", "kvsUpdate", bucket, (bucket, body))

    def pause(self, attempt: int) -> None:
        """Wait a little, longer with each attempt, with jitter; DeadlineExceeded when there is no time for it."""
        self._sleep(min(self._pause_seconds(attempt), self._deadline.left(f"the StorPool API at {self.address}")))

    def check_cluster(self, global_id: str, name: str) -> None:
        """Raise WrongCluster when an object does not live in the pinned cluster; ask nobody."""
        pinned = self._settings.cluster_id
        if pinned is not None and names.cluster_of(global_id) != pinned:
            raise errors.WrongCluster(
                name,
                f"lives in StorPool cluster {names.cluster_of(global_id)}, the domain is pinned to {pinned}",
                "use the storage domain of that cluster",
            )

    def _pause_seconds(self, attempt: int) -> float:
        return min(FIRST_PAUSE_SECONDS * 2.0**attempt, LONGEST_PAUSE_SECONDS) * (0.5 + self._jitter())

    def _one(self, kind: str, method: str, address: str) -> Volume:
        found = self._list(kind, method, (address,), lambda raw: _volume(kind, raw))
        if len(found) != 1:
            raise self._nonsense(method, f"{len(found)} entries in place of one")
        return found[0]

    def _new_id(self, kind: str, method: str, key: str, name: str, args: tuple[object, ...]) -> str:
        data = self._call(kind, method, name, args, repeat=False)
        self.unanswered += 1  # until its global id is known to be ours
        global_id = data.get(key)
        if not isinstance(global_id, str) or not names.GLOBAL_ID.match(global_id):
            # It was made, but we do not know what: the caller looks for it by name.
            raise self._nonsense(method, f"no {key}")
        self.check_cluster(global_id, name)
        self.unanswered -= 1
        return global_id

    def _list(
        self, kind: str, method: str, args: tuple[object, ...], parse: Callable[[Mapping[str, Any]], _T]
    ) -> list[_T]:
        data = self._call(kind, method, " ".join(map(str, args)), args)
        try:
            return [parse(raw) for raw in data]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._nonsense(method, f"a part is missing or of another type ({error})") from error

    def _call(self, kind: str, method: str, name: str, args: tuple[object, ...], repeat: bool = True) -> Any:
        """Call the binding's `method` until it answers, while a repetition is safe and time is left."""
        patience = self._deadline.within(RETRY_SECONDS)
        for attempt in itertools.count():
            left = self._deadline.left(f"the StorPool API at {self.address} ({method})")
            try:
                return self._call_once(kind, method, name, args, min(left, REQUEST_SECONDS))
            except errors.ApiUnavailable as error:
                seconds = min(self._pause_seconds(attempt), patience.remaining() - LAST_TRY_SECONDS)
                if (error.ambiguous and not repeat) or seconds <= 0:
                    self.unanswered += error.ambiguous and not repeat
                    raise
                self._sleep(seconds)
        raise AssertionError("unreachable: the loop has no end")

    def _call_once(self, kind: str, method: str, name: str, args: tuple[object, ...], timeout: float) -> Any:
        self.calls += 1
        pinned = self._settings.cluster_id
        api = self._binding.Api(
            host=self._settings.host,
            port=self._settings.port,
            auth=self._settings.token.reveal(),
            timeout=timeout,
            transientRetries=0,
            multiCluster=self._settings.multicluster,
        )
        call = getattr(api, method)
        try:
            data = call(*args, clusterName=names.address(pinned) if pinned else None, returnRawAPIData=True)
        except self._binding.ApiError as error:
            if error.transient:
                raise self._unavailable(method, f"{error.name}: {error.desc}", ambiguous=True) from error
            if pinned and method != "servicesList":
                self._prove_pin(error)
            raise _translated(error, kind, method, name, self.address) from error
        except self._binding.InvalidArgumentError as error:
            raise errors.InputError(
                f"the request {method}", f"is not valid ({names.shown(str(error), 200)})"
            ) from error
        except ConnectionRefusedError as error:
            raise self._unavailable(method, "connection refused", ambiguous=False) from error
        except socket.gaierror as error:
            raise errors.AddressUnknown(self.address, _why(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(method, _why(error), ambiguous=True) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # What the binding raises on a proxy's page or an error object without its parts (not JSON, no "error").
            raise self._nonsense(method, "it is not what StorPool sends") from error
        if call.spDoc.method == "POST" and not (isinstance(data, dict) and data.get("ok") is True):
            # `storpool.spapi.ApiOk`: without it nothing says that anything was done.
            raise self._nonsense(method, 'no "ok"')
        return data

    def _prove_pin(self, answer: Exception) -> None:
        """Raise WrongCluster unless the pinned cluster answers: "does not exist" from another one means nothing.

        Every request goes to `RemoteCommand/~<cluster id>/`, which a cluster takes for itself or hands on to that
        cluster; one that does not know it refuses with an error whose name is not documented.
        """
        if self._pin_is_proven:
            return
        try:
            self._call_once("cluster", "servicesList", "", (), min(REQUEST_SECONDS, self._deadline.left("StorPool")))
        except (errors.NotFound, errors.Rejected, errors.Conflict, errors.InUse) as error:
            pinned = self._settings.cluster_id
            raise errors.WrongCluster(
                f"the StorPool API at {self.address}",
                f"does not reach cluster {pinned} that the domain is pinned to",
                f"correct sp_api_http_host or sp_cluster_id ({error})",
            ) from answer
        self._pin_is_proven = True

    def _unavailable(self, method: str, why: str, ambiguous: bool) -> errors.ApiUnavailable:
        return errors.ApiUnavailable(self.address, method, why, ambiguous)

    def _nonsense(self, method: str, why: str) -> errors.ApiUnavailable:
        return self._unavailable(method, f"an answer that cannot be read: {why}", ambiguous=True)


def _volume(kind: str, raw: Mapping[str, Any]) -> Volume:
    name = str(raw["name"])
    # A snapshot that is being deleted stays in the lists with a name that starts with "*" (`SnapshotSummary.deleted`).
    dying = name.startswith("*") or bool(raw.get("deleted"))
    return Volume(
        kind=kind,
        global_id=str(raw["globalId"]),
        name=name,
        size_bytes=int(raw["size"]),
        tags=dict(raw.get("tags") or {}),
        template=str(raw["templateName"]),
        made_from=raw.get("createdFromGlobalId") or None,
        dying=dying,
        transient=bool(raw.get("transient")),
        parent=str(raw.get("parentName") or ""),
        created_at=float(raw.get("creationTimestamp") or 0),
        serial=int(raw.get("visibleVolumeId") or 0),
    )


def _attachment(raw: Mapping[str, Any]) -> Attachment:
    return Attachment(str(raw["volume"]), raw.get("globalId"), int(raw["client"]), str(raw["rights"]))


def _template(raw: Mapping[str, Any]) -> Template:
    stored = raw["stored"]
    return Template(str(raw["name"]), int(stored["capacity"]), int(stored["free"]), int(raw.get("size", 0)))


def _client_status(raw: Mapping[str, Any]) -> ClientStatus:
    seen = int(raw["clientGeneration"])
    return ClientStatus(int(raw["id"]), seen, str(raw["configStatus"]), int(raw.get("generation", seen)))


def _translated(error: Any, kind: str, method: str, name: str, address: str) -> errors.Error:
    """Return our error for StorPool's: the one place that knows its error names (`storpool.spapi.ApiError.name`)."""
    descr = str(error.desc)
    shown = name or method
    if error.name == "objectDoesNotExist":
        return errors.NotFound(kind, shown, f"in the StorPool cluster at {address} ({descr})")
    if error.name == "objectExists":
        return errors.Exists(shown, f"exists already ({descr})")
    if error.name == "busy" or (error.name == "invalidParam" and _IN_USE_IN_DESCR.search(descr)):
        # Older releases say invalidParam for what is open or attached and tell it only in the text.
        found = _OPEN_IN_DESCR.findall(descr)
        return errors.InUse(
            found[0][0] if found and found[0][0] else shown, tuple(f"client {number}" for _, number in found)
        )
    if error.name == "invalidParam" and "No such client registered" in descr:
        return errors.NotFound("client", f"for {shown}", f"in the StorPool cluster at {address}: check SP_OURID")
    if error.name == "insufficientResources":
        return errors.NoSpace(shown, descr)
    return errors.Rejected(f"{method} {name}".strip(), str(error.name), descr)


def _why(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or error.__class__.__name__
    return names.shown(str(text), 120).strip('"')
