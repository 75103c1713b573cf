"""The start of a cluster: it goes on where its rows left off, and what a crash left is healed."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from storpool_simulator import errors
from storpool_simulator.model import groups, objects, state
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Client, Entry, Meta, Template

DEFAULT_CLUSTER_ID, DEFAULT_CLUSTER_NAME = "sim.a", "simulated"


@dataclass(frozen=True)
class Given:
    """What is said at a start: None is what the rows say, or a default.

    `templates` maps names to capacities in bytes; `hosts` are the client ids of our own hosts. No
    two clusters give out the same number, as each starts with another `first_number`.
    """

    cluster_id: str | None
    cluster_name: str | None
    templates: Mapping[str, int | None]
    hosts: Sequence[int]
    first_number: int = 0


def begin(cluster: Cluster, store: state.Store, given: Given, wall_clock_seconds: float) -> None:
    """Read the rows, take in what is given, and heal what a crash left between rows and files.

    Raises StartError when the state is that of another cluster, or a data file is missing.
    """
    with _all_kept():
        found = cluster.catalog.load(store)
    meta = cluster.catalog.meta if found else None
    if meta is not None and given.cluster_id not in (None, meta.cluster_id):
        raise errors.StartError(
            f"the state is that of cluster {meta.cluster_id}, not of {given.cluster_id}"
        )
    with cluster.change():
        if meta is None:
            meta = Meta(
                cluster_id=given.cluster_id or DEFAULT_CLUSTER_ID,
                cluster_name=DEFAULT_CLUSTER_NAME,
                created_at=int(wall_clock_seconds),
                last_number=given.first_number,
            )
        name = given.cluster_name or meta.cluster_name
        cluster.catalog.metas.put(replace(meta, cluster_name=name))
        groups.begin(cluster)
        _take_templates(cluster, given.templates)
        _take_hosts(cluster, given.hosts)
    _heal(cluster)


@contextlib.contextmanager
def _all_kept() -> Iterator[None]:
    """Give a time in which the collector does not look for rubbish among rows that all stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _take_templates(cluster: Cluster, templates: Mapping[str, int | None]) -> None:
    for name, capacity in templates.items():
        if not cluster.catalog.has_template(name):
            number = cluster.catalog.next_number()
            template = Template(number, name, capacity or objects.DEFAULT_CAPACITY)
            cluster.catalog.templates.put(template)
        elif capacity is not None:
            template = replace(cluster.catalog.template(name), capacity_bytes=capacity)
            cluster.catalog.templates.put(template)


def _take_hosts(cluster: Cluster, hosts: Sequence[int]) -> None:
    cluster.hosts = frozenset(hosts)
    for client in [*cluster.catalog.clients]:
        is_running = client.client_id in cluster.hosts
        cluster.catalog.clients.put(replace(client, running=is_running, behind=False))
    for client_id in hosts:
        cluster.catalog.clients.put(Client(client_id, running=True))


def _heal(cluster: Cluster) -> None:
    rows, sizes = cluster.catalog.entries.rows, cluster.files.sizes()
    moved = {one.global_id for one in rows.values() if one.moved_to is not None}
    for global_id in sizes.keys() - (rows.keys() - moved):
        cluster.files.remove(global_id)
    with cluster.change(quiet=True):
        for entry in [*rows.values()]:
            if entry.moved_to is None:  # else the file is the target's
                _heal_file(cluster, entry, sizes.get(entry.global_id))
    for work in [*cluster.catalog.work]:
        volume = rows[work.volume_id]
        cluster.files.overwrite(work.snapshot_id, volume.global_id, volume.size_bytes)
        with cluster.change():
            cluster.catalog.work.drop(work.volume_id)
            cluster.catalog.entries.put(cluster.measure(volume))


def _heal_file(cluster: Cluster, entry: Entry, size_bytes: int | None) -> None:
    if size_bytes is None:
        if entry.has_file:
            raise errors.StartError(f"the data file of {entry.listed_name} is missing")
        return
    if size_bytes != entry.size_bytes:
        cluster.files.resize(entry.global_id, entry.size_bytes)
    if not entry.has_file:  # made, and then we died; or older than this fact
        cluster.catalog.entries.put(replace(entry, has_file=True))
