"""Two clusters of one location in one process, each with hosts, and clients of the product."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rigs import clusters
from rigs.core_fixtures import GIB, TOKEN, Core

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storpool_ovirt.cluster import api, attachments

ONE, TWO = "loc.a", "loc.b"


@dataclass(frozen=True)
class Pair:
    """The clusters "one" (loc.a: hosts 1 to 3) and "two" (loc.b: hosts 1 and 4)."""

    one: Core
    two: Core

    def client(self, cluster_id: str | None = ONE, **more: Any) -> api.Client:
        """Return a client with several clusters, through the first one's API."""
        core = self.two if cluster_id == TWO else self.one
        return core.client(multicluster=True, cluster_id=cluster_id, **more)

    def cut(self) -> None:
        """Cut the bridge between the two."""
        self.one.simulator.set_bridge("two", up=False)

    def heal(self) -> None:
        """Have it up again."""
        self.one.simulator.set_bridge("two", up=True)

    def switch(self, **values: str) -> None:
        """Set switches of both."""
        for core in (self.one, self.two):
            core.simulator.switches.set(values)

    def owner(self, target: attachments.Target) -> str | None:
        """Return the cluster in which a volume lives."""
        return self.client().volume(f"~{target.global_id}").cluster_id

    def attached(self) -> set[tuple[str, int, str]]:
        """Return what is attached: global id, client and its cluster."""
        found = set()
        for core, cluster_id in ((self.one, ONE), (self.two, TWO)):
            for each in core.client().attachments():
                found.add((str(each.global_id), each.client_id, cluster_id))
        return found


@contextlib.contextmanager
def opened(folder: Path, template: str = "nvme", **switches: str) -> Iterator[Pair]:
    """Two fresh clusters; hosts see plain files."""
    hosts = {number: folder / f"host{number}" for number in (1, 2, 3)}
    others = {number: folder / "two" / f"host{number}" for number in (1, 4)}
    for place in (*hosts.values(), *others.values()):
        place.mkdir(parents=True, exist_ok=True)
    with clusters.running(
        folder / "state",
        token=TOKEN,
        templates={template: 100 * GIB},
        hosts=hosts,
        cluster_id=ONE,
        cluster_name="one",
        clusters={"two": TWO},
        cluster_hosts={"two": others},
        switches=switches,
    ) as running:
        yield Pair(Core(running, folder), Core(running.others["two"], folder / "two"))
