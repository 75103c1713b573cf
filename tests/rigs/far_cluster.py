"""A cluster, and one in another location that takes its copies: in one process, with a bridge."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rigs import clusters
from rigs.core_fixtures import GIB, TOKEN, Core
from storpool_ovirt import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from storpool_simulator import Simulator

HERE, FAR = "loc.a", "rem.c"
LOCATION = "rem"  # the name that the second one's location has here
MIB = 1 << 20
MIB_SECONDS = 10.0  # what the copy of a MiB takes over a slow bridge; an empty one takes as long
# What runs such a cluster: the options of storpool_simulator.running
FEDERATION = {"cluster_id": HERE, "cluster_name": "one", "clusters": {"far": FAR}}
WEEK = 7 * 24 * 3600


@dataclass(frozen=True)
class Both:
    """The clusters "one" (hosts 1 to 3) and "far"."""

    one: Core
    far: Core

    def client(self, **more: Any) -> Any:
        """Return a client of the first one, pinned to it."""
        return self.one.client(cluster_id=HERE, **more)

    def cut(self) -> None:
        """Cut the bridge between the two."""
        self.one.simulator.set_bridge("far", up=False)

    def heal(self) -> None:
        """Have it up again."""
        self.one.simulator.set_bridge("far", up=True)

    def slow(self, seconds: float = MIB_SECONDS) -> None:
        """Have the bridge need so long for a MiB."""
        self.one.simulator.set_bridge("far", seconds_per_gib=seconds * (GIB // MIB))

    def take_dates(self, least_seconds: int | None = 0) -> None:
        """Have the far side keep dates, not before this time; with None it ignores them."""
        self.far.simulator.set_minimum_delete_delay("one", least_seconds)

    def switch(self, **values: str) -> None:
        """Set switches of both."""
        for core in (self.one, self.far):
            core.simulator.switches.set(values)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.one.simulator.advance(seconds)


def checksum(core: Core, key: str) -> str:
    """Return that of what an object holds in this cluster, by its name or `~globalId`."""
    entry = core.simulator.cluster.catalog.find(key)
    assert entry is not None, key
    if not entry.has_file:  # it never held data
        return hashlib.sha256(bytes(entry.size_bytes)).hexdigest()
    held = core.simulator.cluster.files.path(entry.global_id).read_bytes()
    return hashlib.sha256(held).hexdigest()


def fill(core: Core, key: str, data: bytes, place: int = 0) -> None:
    """Write to a volume as a guest of host 1 does."""
    client = core.client()
    client.reassign([{"volume": key, "rw": [1]}], 5, key)
    path = core.root(1) + names.device_path(client.volume(key).global_id)
    with open(path, "r+b") as device:  # noqa: PTH123  the path is a text
        device.seek(place)
        device.write(data)
    client.reassign([{"volume": key, "detach": [1]}], 5, key)


@contextlib.contextmanager
def opened(
    folder: Path, hosts: Mapping[int, Path] | None = None, template: str = "nvme", **switches: str
) -> Iterator[Both]:
    """Two fresh clusters; hosts see plain files."""
    hosts = hosts or {number: folder / f"host{number}" for number in (1, 2, 3)}
    for place in hosts.values():
        place.mkdir(parents=True, exist_ok=True)
    with clusters.running(
        folder / "state",
        token=TOKEN,
        templates={template: 100 * GIB},
        hosts=hosts,
        switches=switches,
        **FEDERATION,
    ) as running:
        yield both(running, folder)


def both(running: Simulator, folder: Path) -> Both:
    """Return the two of a simulator that runs."""
    return Both(Core(running, folder), Core(running.others["far"], folder / "far"))
