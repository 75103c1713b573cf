"""A client of the product for a canned server, on a clock that moves only when it sleeps."""

from __future__ import annotations

from storpool_ovirt import config
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline

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


class Time:
    """A clock that moves only when the client sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds

    def deadline(self, seconds: float) -> Deadline:
        """A deadline on this clock."""
        return Deadline(seconds, lambda: self.now)


def client(port: int, time: Time, seconds: float = 100, **settings: object) -> api.Client:
    """A client of the canned server."""
    api_settings = config.Api("127.0.0.1", port, config.Secret("42"), **settings)  # type: ignore[arg-type]
    return api.Client(api_settings, time.deadline(seconds), time.sleep, lambda: 0.5)
