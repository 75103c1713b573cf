"""A whole simulator inside this process: what the command runs, and what tests use."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Union

from storpool_simulator import errors
from storpool_simulator.api.application import Application
from storpool_simulator.api.faults import Faults
from storpool_simulator.api.recorder import Recorder
from storpool_simulator.api.server import Server
from storpool_simulator.devices.devices import Devices, HostConfig
from storpool_simulator.devices.nodes import CLIENTS_OF_A_CLUSTER
from storpool_simulator.devices.shares import Share
from storpool_simulator.devices.storage import Storage
from storpool_simulator.model import attachments, bridges, neighbours, startup
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.federation import Federation, set_clocks
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
        bridges.set_link(self.cluster, name, up=up, seconds_per_gib=seconds_per_gib)

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
    """One cluster that is to run; the number of the first one is 0.

    `players` are the settings of those that play beside it, by their names.
    """

    state: Path
    listen: tuple[str, int]
    given: startup.Given
    number: int
    players: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """One cluster's state, opened, and its port, bound."""

    wanted: _Wanted
    store: Store
    server: Server


@dataclass(frozen=True)
class _Common:
    """What all clusters of the process have in common."""

    token: str
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
    Switches(switches or {})  # refused before anything is made
    players = troupe.read(troupe.Files(qos, volumecare))
    common = _Common(token, switches or {}, clock, Federation(is_whole=False))
    given = startup.Given(cluster_id, cluster_name, templates or {}, list(hosts or {}))
    wanted = [_Wanted(Path(state), listen, given, 0, players)]
    folders = _folders(hosts)
    for name, other_id in (clusters or {}).items():
        number, others = _number(other_id), (cluster_hosts or {}).get(name, {})
        folders.update(_folders(others, number))
        other = startup.Given(other_id, name, given.templates, list(others), number << 32)
        wanted.append(_Wanted(Path(state) / "clusters" / name, (listen[0], 0), other, number))
    _check_given(wanted)
    _check_folders(folders)
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(_opened(one)) for one in wanted]
        nodes = Devices(devices, Path(state), folders)
        running_clusters = [_begun(part, common, nodes) for part in parts]
        stack.callback(nodes.close)
        _begin_together(common.federation)
        configs = {
            part.wanted.number: _config(part, cluster, common)
            for part, cluster in zip(parts, running_clusters)
        }
        nodes.start(configs[0], configs)
        for cluster in running_clusters:
            cluster.show_all()
        nodes.keep(
            cluster.devices.key(one.client_id, one.global_id)
            for cluster in running_clusters
            for one in cluster.catalog.attachments
        )
        simulators = [
            stack.enter_context(_served(part, cluster, common))
            for part, cluster in zip(parts, running_clusters)
        ]
        simulators[0].others.update(zip(clusters or {}, simulators[1:]))
        for one in simulators:  # first of all: they play, and advance the clock, for all clusters
            stack.callback(one.players.close)
        yield simulators[0]


@contextlib.contextmanager
def _opened(wanted: _Wanted) -> Iterator[_Part]:
    """Give the state and the port of a cluster; nobody else has them until the end of the block."""
    with contextlib.ExitStack() as stack:
        store = Store(wanted.state)
        stack.callback(store.close)
        server = Server(*wanted.listen)
        stack.callback(server.close)
        yield _Part(wanted, store, server)


def _begun(part: _Part, common: _Common, nodes: Devices) -> Cluster:
    wanted, settings = part.wanted, Switches(common.switches)
    share = Share(nodes, wanted.number)
    files = Storage(wanted.state / "data")
    together = common.federation
    cluster = Cluster(part.store, files, share, settings, common.clock, together=together)
    startup.begin(cluster, part.store, wanted.given, common.clock())
    return cluster


def _begin_together(federation: Federation) -> None:
    """Have the clusters know each other, and end what a crash left between two of them."""
    _check_distinct(federation)
    federation.is_whole = True
    set_clocks(federation.clusters)
    neighbours.introduce(federation.clusters)
    bridges.heal(federation)


def _config(part: _Part, cluster: Cluster, common: _Common) -> HostConfig:
    """Return what the storpool.conf of a cluster's hosts says."""
    meta = cluster.catalog.meta
    host = _reachable(part.server.host)
    return HostConfig(host, part.server.port, common.token, meta.cluster_id, meta.cluster_name)


@contextlib.contextmanager
def _served(part: _Part, cluster: Cluster, common: _Common) -> Iterator[Simulator]:
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        faults, calls = Faults(part.server), Recorder()
        players = stage.Stage(cluster.now, partial(bridges.advance, cluster))
        application = Application(cluster, common.token, faults, calls, part.server, players)
        part.server.start(application)
        stack.callback(part.server.close)
        stack.callback(players.close)
        stack.callback(faults.clear)
        host = _reachable(part.server.host)
        players.begin(troupe.gathered(host, part.server.port, common.token, part.wanted.players))
        yield Simulator(cluster, part.server, faults, calls, players)


def _folders(hosts: Hosts | None, number: int = 0) -> dict[int, Path]:
    """Return the hosts' folders by the numbers that clients have among those of all clusters."""
    first = number * CLIENTS_OF_A_CLUSTER
    return {first + client_id: Path(folder) for client_id, folder in (hosts or {}).items()}


def _number(cluster_id: str) -> int:
    """Return the number of a further cluster: always the same for its id.

    Its clients are counted from there, and so are the numbers of its objects: as they move between
    clusters, no two of these may give one a number that the other gave. Those of two locations may
    have the same last part.
    """
    return 1 + int(cluster_id.replace(".", ""), 36) % (1 << 20)


def _check_distinct(federation: Federation) -> None:
    metas = [cluster.catalog.meta for cluster in federation.clusters]
    for what, values in (
        ("id", [meta.cluster_id for meta in metas]),
        ("name", [meta.cluster_name for meta in metas]),
    ):
        if len(set(values)) < len(values):
            raise errors.StartError(f"two clusters have the same {what}: {', '.join(values)}")


def _check_given(wanted: Sequence[_Wanted]) -> None:
    """Refuse clusters that cannot be told apart, before any of them is made."""
    first, givens = wanted[0], [one.given for one in wanted]
    ids = [one.cluster_id for one in givens]
    names = [one.cluster_name for one in givens]
    if not (first.state / "cluster.sqlite").exists():  # else its state says what it is
        ids[0] = ids[0] or startup.DEFAULT_CLUSTER_ID
        names[0] = names[0] or startup.DEFAULT_CLUSTER_NAME
    for what, values in (("id", ids), ("name", names)):
        known = [value for value in values if value]
        if len(set(known)) < len(known):
            raise errors.OptionError(f"two clusters have the same {what}: {', '.join(known)}")


def _check_folders(folders: Mapping[int, Path]) -> None:
    """Refuse one folder for two hosts: each would take away the other's devices."""
    seen: set[Path] = set()
    for folder in folders.values():
        whole = folder.resolve()
        if whole in seen:
            raise errors.OptionError(f"two hosts have the same folder: {folder}")
        seen.add(whole)


def _reachable(host: str) -> str:
    """Return an address to connect to, for one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
