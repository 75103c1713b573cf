"""A whole simulator inside this process: what the command runs, and what tests use."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Union

from storpool_simulator import errors
from storpool_simulator.api.application import Application
from storpool_simulator.api.faults import Faults
from storpool_simulator.api.recorder import Recorder
from storpool_simulator.api.server import Server
from storpool_simulator.devices.devices import Devices, HostConfig
from storpool_simulator.devices.storage import Storage
from storpool_simulator.model import attachments, copies, neighbours, startup
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.federation import Federation
from storpool_simulator.model.state import Store
from storpool_simulator.players import stage, troupe
from storpool_simulator.switches import Switches

Templates = Mapping[str, Optional[int]]
Folder = Union[str, Path]
Hosts = Mapping[int, Folder]


class Simulator:
    """A simulator that is serving; all that its control port offers is an attribute here.

    `others` are the further clusters of this process by name; each is a Simulator too.
    """

    def __init__(
        self,
        cluster: Cluster,
        listener: Server,
        injected: Faults,
        calls: Recorder,
        players: stage.Stage,
    ) -> None:
        self.cluster = cluster
        self.players = players
        self.faults = injected
        self.calls = calls
        self.switches = cluster.switches
        self.host = _reachable(listener.host)
        self.port = listener.port
        self.others: dict[str, Simulator] = {}

    @property
    def address(self) -> str:
        """The URL of the API."""
        return f"http://{self.host}:{self.port}"

    @property
    def cluster_id(self) -> str:
        """The first two parts of every global id."""
        return self.cluster.catalog.meta.cluster_id

    @property
    def devices(self) -> str:
        """The kind of devices that hosts see: `loop` or `file`."""
        return self.cluster.devices.kind

    def set_client(
        self,
        client_id: int,
        *,
        running: bool | None = None,
        opened: Iterable[str] | None = None,
        behind: bool | None = None,
    ) -> None:
        """Set whether a client is up, behind or down, and what counts as open there.

        `opened` has global ids; they count beside those that really are open.
        """
        attachments.set_client(
            self.cluster, client_id, running=running, opened=opened, behind=behind
        )

    def set_bridge(
        self, name: str, *, up: bool | None = None, seconds_per_gib: float | None = None
    ) -> None:
        """Cut or heal the bridges to another cluster, or say how long they take for a GiB."""
        copies.tend(self.cluster.federation)
        neighbours.set_link(self.cluster, name, up=up, seconds_per_gib=seconds_per_gib)
        copies.tend(self.cluster.federation)

    def set_minimum_delete_delay(self, name: str, seconds: int | None) -> None:
        """Set from which delay on another cluster may schedule deletes here; None: it may not."""
        neighbours.set_minimum_delete_delay(self.cluster, name, seconds)

    def advance(self, seconds: float) -> float:
        """Let the time of all clusters pass, with the passes of players that are due on the way.

        Returns the new time in seconds.
        """
        return self.players.advance(seconds)


@dataclass(frozen=True)
class _Wanted:
    """One cluster that is to run."""

    state: Path
    listen: tuple[str, int]
    given: startup.Given
    folders: Mapping[int, Path]
    players: troupe.Files = troupe.NONE


@dataclass(frozen=True)
class _Common:
    """What all clusters of the process have in common."""

    token: str
    devices: str
    switches: Mapping[str, str]
    clock: Callable[[], float]
    federation: Federation


@contextlib.contextmanager
def running(  # noqa: PLR0913  the options of the command, by name
    state: Folder,
    *,
    token: str = "token",  # noqa: S107  of a simulator on the loopback interface
    templates: Templates | None = None,
    hosts: Hosts | None = None,
    devices: str = "file",
    listen: tuple[str, int] = ("127.0.0.1", 0),
    cluster_id: str | None = None,
    cluster_name: str | None = None,
    switches: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    clusters: Mapping[str, str] | None = None,
    cluster_hosts: Mapping[str, Hosts] | None = None,
    qos: Folder | None = None,
    volumecare: Folder | None = None,
) -> Iterator[Simulator]:
    """Give a simulator that runs until the end of the block.

    `templates` maps names to capacities in bytes (None: plenty), `hosts` client ids to folders.
    `clusters` maps the names of further clusters to their ids, `cluster_hosts` to their hosts; they
    know each other, and have the same token, templates and switches at the start.
    `qos` and `volumecare` are files with the settings of these players, which play beside the first
    cluster when they are given.
    Raises StartError, DeviceError when such devices cannot be had, and ApiError for a wrong switch.
    """
    common = _Common(token, devices, switches or {}, clock, Federation())
    given = startup.Given(cluster_id, cluster_name, templates or {}, list(hosts or {}))
    files = troupe.Files(qos, volumecare)
    first = _Wanted(Path(state), listen, given, _folders(hosts), files)
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(_cluster(first, common))
        for name, other_id in (clusters or {}).items():
            folders = _folders((cluster_hosts or {}).get(name))
            number = _first_number(other_id)
            other = startup.Given(other_id, name, given.templates, list(folders), number)
            place = Path(state) / "clusters" / name
            wanted = _Wanted(place, (listen[0], 0), other, folders)
            simulator.others[name] = stack.enter_context(_cluster(wanted, common))
        _check_distinct(common.federation)
        neighbours.introduce(common.federation.clusters)
        copies.heal(common.federation)
        yield simulator


@contextlib.contextmanager
def _cluster(wanted: _Wanted, common: _Common) -> Iterator[Simulator]:
    with contextlib.ExitStack() as stack:
        settings = Switches(common.switches)
        store = Store(wanted.state)
        stack.callback(store.close)
        server = Server(*wanted.listen)
        stack.callback(server.close)
        nodes = Devices(common.devices, wanted.state, wanted.folders)
        files = Storage(wanted.state / "data")
        cluster = Cluster(store, files, nodes, settings, common.clock, together=common.federation)
        startup.begin(cluster, store, wanted.given, common.clock())
        stack.callback(nodes.close)
        meta = cluster.catalog.meta
        config = HostConfig(
            _reachable(server.host), server.port, common.token, meta.cluster_id, meta.cluster_name
        )
        nodes.start(config)
        cluster.show_all()
        stack.callback(cluster.close)
        faults, calls = Faults(server), Recorder()
        players = stage.Stage(cluster.now, partial(copies.advance, cluster))
        server.start(Application(cluster, common.token, faults, calls, server, players))
        stack.callback(server.close)
        stack.callback(players.close)
        stack.callback(faults.clear)
        players.begin(troupe.gathered(config.api_host, server.port, common.token, wanted.players))
        yield Simulator(cluster, server, faults, calls, players)


def _folders(hosts: Hosts | None) -> dict[int, Path]:
    return {client_id: Path(folder) for client_id, folder in (hosts or {}).items()}


def _first_number(cluster_id: str) -> int:
    """Return where the numbers of a further cluster start: the first one's start with 0.

    Objects move between clusters, so a number must say which cluster gave it.
    """
    subcluster = cluster_id.split(".")[1]
    return (1 + int(subcluster, 36) % (1 << 20)) << 32


def _check_distinct(federation: Federation) -> None:
    metas = [cluster.catalog.meta for cluster in federation.clusters]
    for what, values in (
        ("id", [meta.cluster_id for meta in metas]),
        ("name", [meta.cluster_name for meta in metas]),
    ):
        if len(set(values)) < len(values):
            raise errors.StartError(f"two clusters have the same {what}: {', '.join(values)}")


def _reachable(host: str) -> str:
    """Return an address to connect to, for one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
