"""A client of the product for a canned server, on a clock that moves only when it sleeps."""

from __future__ import annotations

from rigs import transports
from rigs.clock import Clock
from storpool_ovirt import config
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.secret import Secret

VOLUME = {
    "name": "ovirt--x",
    "globalId": "abcd.e.1",
    "size": 1 << 30,
    "tags": {"virt": "ovirt"},
    "templateName": "nvme",
    "id": 1,
    "parentName": "",
    "parentVolumeId": 0,
}
CREATED = {"ok": True, "generation": 2, "globalId": "abcd.e.1"}
BODY = {"name": "ovirt--x", "size": 1 << 30}


def client(port: int, time: Clock, seconds: float = 100, **settings: object) -> api.Client:
    """A client of the canned server."""
    api_settings = config.Api("127.0.0.1", port, Secret("42"), **settings)  # type: ignore[arg-type]
    chosen = api_settings.preferring(transports.chosen())
    return api.Client(chosen, Deadline(seconds, time), time.sleep, lambda: 0.5)
