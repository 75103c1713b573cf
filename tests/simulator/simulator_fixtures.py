"""What the simulator's tests share: one that is running, and a caller that knows nothing but HTTP.

The source tags in the tests ([spapi], [pve] ...) are explained in docs/simulator.md.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import storpool_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storpool import spapi

TOKEN = "4711"
GIB = 1 << 30
LIMIT_SECONDS = 20  # nothing in these tests takes that long


class RefusedError(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, facts: dict[str, Any]) -> None:
        super().__init__(f"{status} {facts}")
        self.status = status
        self.name = facts.get("name")
        self.descr = facts.get("descr")
        self.transient = facts.get("transient")


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire."""

    status: int
    version: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


class Caller:
    """A client of the API by raw HTTP, as pve, CloudStack and curl are."""

    def __init__(self, host: str, port: int, token: str = TOKEN) -> None:
        self.host, self.port, self.token = host, port, token

    def raw(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request, whatever comes back; a body that is no string is sent as JSON."""
        text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        sent = {"Authorization": f"Storpool v1:{self.token}"} if headers is None else headers
        connection = http.client.HTTPConnection(self.host, self.port, timeout=LIMIT_SECONDS)
        try:
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            text = response.read().decode()
            return Reply(response.status, response.version, dict(response.getheaders()), text)
        finally:
            connection.close()

    def get(self, query: str) -> Any:
        """The data of a GET; RefusedError."""
        return self._data(self.raw("GET", f"/ctrl/1.0/{query}"))

    def post(self, query: str, body: Any = None) -> Any:
        """The data of a POST; RefusedError."""
        return self._data(self.raw("POST", f"/ctrl/1.0/{query}", body))

    def control(self, method: str, noun: str, body: Any = None) -> Any:
        """A request to the control port; RefusedError."""
        reply = self.raw(method, f"/simulator/{noun}", body)
        if reply.status != 200:
            raise RefusedError(reply.status, reply.json["error"])
        return reply.json

    def create(self, name: str = "v", size: int = GIB, **more: Any) -> str:
        """Make a volume; returns its global id."""
        return str(self.post("VolumeCreate", {"name": name, "size": size, **more})["globalId"])

    def snapshot(self, volume: str, name: str = "s", **more: Any) -> str:
        """Make a snapshot; returns its global id."""
        return str(
            self.post(f"VolumeSnapshot/{volume}", {"name": name, **more})["snapshotGlobalId"]
        )

    def volume(self, key: str) -> Any:
        """The one element of Volume/{v}."""
        (entry,) = self.get(f"Volume/{key}")
        return entry

    def shot(self, key: str) -> Any:
        """The one element of Snapshot/{s}."""
        (entry,) = self.get(f"Snapshot/{key}")
        return entry

    def reassign(self, *items: dict[str, Any], wait: int = 0) -> Any:
        """VolumesReassignWait."""
        return self.post("VolumesReassignWait", {"reassign": list(items), "attachTimeout": wait})

    def attached(self) -> set[tuple[str, int, str]]:
        """All attachments: name, client, rights."""
        return {
            (one["volume"], one["client"], one["rights"]) for one in self.get("AttachmentsList")
        }

    def names(self) -> set[str]:
        """The names in VolumesList and SnapshotsList."""
        return {
            one["name"] for query in ("VolumesList", "SnapshotsList") for one in self.get(query)
        }

    @staticmethod
    def _data(reply: Reply) -> Any:
        value = reply.json
        if reply.status != 200 or "error" in value:
            raise RefusedError(reply.status, value["error"])
        return value["data"]


class Peer(Caller):
    """A caller with the simulator that it calls, and its hosts' folders."""

    def __init__(self, running: storpool_simulator.Simulator, folder: Path) -> None:
        super().__init__(running.host, running.port)
        self.simulator = running
        self.folder = folder

    def device(self, client_id: int, global_id: str) -> Path:
        """Where a volume is on a host."""
        return self.folder / f"host{client_id}" / "dev" / "storpool-byid" / global_id

    def named_device(self, client_id: int, name: str) -> Path:
        """The same by name."""
        return self.folder / f"host{client_id}" / "dev" / "storpool" / name

    def switch(self, **values: str) -> None:
        """Set switches."""
        self.simulator.switches.set(values)

    def write(self, client_id: int, global_id: str, data: bytes, at: int = 0) -> None:
        """Write to a device and close it."""
        with self.device(client_id, global_id).open("r+b", buffering=0) as device:
            device.seek(at)
            device.write(data)

    def read(self, client_id: int, global_id: str, length: int, at: int = 0) -> bytes:
        """Read from a device and close it."""
        with self.device(client_id, global_id).open("rb", buffering=0) as device:
            device.seek(at)
            return device.read(length)


class Strict:
    """The binding, but a reply that does not fit its schema is an error and not a partial object
    [readme 4.0.0]."""

    def __init__(self, api: spapi.Api) -> None:
        self.api = api

    def __getattr__(self, method: str) -> Any:
        function = getattr(self.api, method)

        def call(*args: Any) -> Any:
            raw = function(*args, returnRawAPIData=True)
            return function.__globals__["returns"](raw)

        return call


@contextlib.contextmanager
def opened_peer(folder: Path, **options: Any) -> Iterator[Peer]:
    """A simulator with a template "nvme" of 100 GiB, one "hdd", and the hosts 1, 2 and 7; its clock
    stands still."""
    given: dict[str, Any] = {
        "token": TOKEN,
        "templates": {"nvme": 100 * GIB, "hdd": None},
        "hosts": {number: folder / f"host{number}" for number in (1, 2, 7)},
        "clock": lambda: 1_760_000_000.0,
        **options,
    }
    with storpool_simulator.running(folder / "state", **given) as running:
        yield Peer(running, folder)


def refused(peer: Peer, query: str, body: Any = None) -> RefusedError:
    """The error of a POST that must fail, and must not change the generation."""
    before = peer.simulator.cluster.generation
    try:
        peer.post(query, body)
    except RefusedError as error:
        assert peer.simulator.cluster.generation == before
        return error
    raise AssertionError(f"{query} was not refused")


def content(peer: Peer, key: str, length: int) -> bytes:
    """What a volume or snapshot holds at its beginning."""
    entry = peer.simulator.cluster.catalog.find(key)
    assert entry is not None
    if not entry.has_file:  # it never held data
        return bytes(min(length, entry.size_bytes))
    with peer.simulator.cluster.files.path(entry.global_id).open("rb") as data:
        return data.read(length)


def fill(peer: Peer, key: str, data: bytes) -> None:
    """Write to a volume as a host does."""
    global_id = peer.volume(key)["globalId"]
    peer.reassign({"volume": key, "rw": [1]})
    peer.write(1, global_id, data)
    peer.reassign({"volume": key, "detach": [1]})
