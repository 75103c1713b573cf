"""A whole simulator inside this process: what the command runs, and what tests use."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Callable, Optional, Union

from storpool_simulator.api.application import Application
from storpool_simulator.api.faults import Faults
from storpool_simulator.api.recorder import Recorder
from storpool_simulator.api.server import Server
from storpool_simulator.devices.devices import Devices, HostConfig
from storpool_simulator.devices.storage import Storage
from storpool_simulator.model import attachments, startup
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.state import Store
from storpool_simulator.switches import Switches

Templates = Mapping[str, Optional[int]]
Folder = Union[str, Path]


class Simulator:
    """A simulator that is serving; all that its control port offers is an attribute here."""

    def __init__(
        self, cluster: Cluster, listener: Server, injected: Faults, calls: Recorder
    ) -> None:
        self.cluster = cluster
        self.faults = injected
        self.calls = calls
        self.switches = cluster.switches
        self.host = _reachable(listener.host)
        self.port = listener.port

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

    def advance(self, seconds: float) -> float:
        """Let the cluster's time pass; return the new time in seconds."""
        return self.cluster.advance(seconds)


@contextlib.contextmanager
def running(  # noqa: PLR0913  the options of the command, by name
    state: Folder,
    *,
    token: str = "token",  # noqa: S107  of a simulator on the loopback interface
    templates: Templates | None = None,
    hosts: Mapping[int, Folder] | None = None,
    devices: str = "file",
    listen: tuple[str, int] = ("127.0.0.1", 0),
    cluster_id: str | None = None,
    cluster_name: str | None = None,
    switches: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Simulator]:
    """Give a simulator that runs until the end of the block.

    `templates` maps names to capacities in bytes (None: plenty), `hosts` client ids to folders.
    Raises StartError, DeviceError when such devices cannot be had, and ApiError for a wrong switch.
    """
    settings = Switches(switches)
    folders = {client_id: Path(folder) for client_id, folder in (hosts or {}).items()}
    with contextlib.ExitStack() as stack:
        store = Store(Path(state))
        stack.callback(store.close)
        server = Server(*listen)
        stack.callback(server.close)
        nodes = Devices(devices, Path(state), folders)
        cluster = Cluster(store, Storage(Path(state) / "data"), nodes, settings, clock)
        given = startup.Given(cluster_id, cluster_name, templates or {}, list(folders))
        startup.begin(cluster, store, given, clock())
        stack.callback(nodes.close)
        meta = cluster.catalog.meta
        address = _reachable(server.host)
        nodes.start(HostConfig(address, server.port, token, meta.cluster_id, meta.cluster_name))
        cluster.show_all()
        stack.callback(cluster.close)
        faults, calls = Faults(server), Recorder()
        server.start(Application(cluster, token, faults, calls, server))
        stack.callback(server.close)
        stack.callback(faults.clear)
        yield Simulator(cluster, server, faults, calls)


def _reachable(host: str) -> str:
    """Return an address to connect to, for one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
