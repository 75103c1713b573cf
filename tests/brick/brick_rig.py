"""What the connector's tests share: a host with a connector on it, beside a simulated cluster.

Importing this skips the test module where os-brick is not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import clusters
from rigs.core_fixtures import GIB, TOKEN, Core
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

with warnings.catch_warnings():
    # eventlet, which os-brick's libraries import where it is installed, announces its end.
    warnings.simplefilter("ignore")
    pytest.importorskip("os_brick", reason="os-brick is not installed for this Python")
    for name in ("os_brick.initiator.connector", "oslo_privsep.daemon"):
        importlib.import_module(name)
    StorPoolConnector = importlib.import_module("cinder_driver.connector").StorPoolConnector

BOTH_DEVICES = pytest.mark.parametrize("host", ["file", "loop"], indirect=True)
RW = {("os--volume-v1", 1, "rw")}
Info = dict[str, Any]


@dataclass
class Host:
    """Client 1 of the cluster, whose `/` is `root`, and the connector there."""

    core: Core
    root: Path
    connector: Any
    made: dict[str, str] = field(default_factory=dict)

    def volume(self, name: str = "v1", size: int = GIB) -> Info:
        """Make a volume and return the connection info that our Cinder driver gives for this
        host."""
        global_id = volumes.create(self.core.client(), Plan(Owner(f"os--volume-{name}"), size))
        self.core.queries()
        return {"client_id": 1, "volume": name, "access_mode": "rw", "global_id": global_id}

    def local(self, path: str) -> Path:
        """Return where a path, as this host or as our connector tells it, is on this machine."""
        return Path(path) if path.startswith(f"{self.root}/") else Path(f"{self.root}{path}")

    def device(self, info: Info) -> Path:
        """Return where the volume's device is on this machine."""
        return self.local(f"/dev/storpool-byid/{info['global_id']}")

    def attached(self) -> set[tuple[str, int, str]]:
        """Return what StorPool lists: name, client, mode."""
        return {
            (each.name, each.client_id, each.access_mode)
            for each in self.core.client().attachments()
        }

    def fault(self, kind: str, query: str, times: int = 1) -> None:
        """Let the next calls of a query fail."""
        self.core.simulator.faults.add(kind, query=query, times=times)

    def configure(self, text: str, name: str = "more.conf") -> None:
        """Put a file into the host's storpool.conf.d."""
        folder = self.local("/etc/storpool.conf.d")
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def connector(**arguments: Any) -> Any:
    """Return our connector, made as os-brick's factory makes it."""

    given: Info = {
        "root_helper": None,
        "driver": None,
        "use_multipath": False,
        "device_scan_attempts": 3,
        "conn": {},
    }
    return StorPoolConnector(**{**given, **arguments})


@contextlib.contextmanager
def cluster(folder: Path, root: Path, devices: str = "file") -> Iterator[Core]:
    """Run a simulator with two hosts, the first of which has `root` for its `/`."""
    hosts = {1: root, 2: folder / "host2"}
    for each in hosts.values():
        each.mkdir(exist_ok=True)
    templates = {"nvme": None}
    with clusters.running(
        folder / "state", token=TOKEN, templates=templates, hosts=hosts, devices=devices
    ) as running:
        yield Core(running, folder)


@contextlib.contextmanager
def hasty(**more: float) -> Iterator[None]:
    """Give all connectors shorter limits, for what would else be minutes of waiting."""
    with limited(
        attach_timeout_seconds=1,
        device_seconds=0.5,
        close_seconds=0.3,
        undo_seconds=1.0,
        retry_seconds=1.5,
        **more,
    ):
        yield


@contextlib.contextmanager
def limited(**seconds: float) -> Iterator[None]:
    """Give all connectors these limits: os-brick makes them, and hands on none."""
    before = StorPoolConnector.limits
    StorPoolConnector.limits = before._replace(**seconds)
    try:
        yield
    finally:
        StorPoolConnector.limits = before


@contextlib.contextmanager
def without_privsep() -> Iterator[None]:
    """Let os-brick run its privileged functions in this process: they need root, or files of
    ours."""
    from os_brick import privileged

    privileged.default.set_client_mode(False)
    try:
        yield
    finally:
        privileged.default.set_client_mode(True)


@contextlib.contextmanager
def lock_path() -> Iterator[None]:
    """Give os-brick a folder of locks on this host, as every service does; only users other than
    root need it."""
    from oslo_concurrency import lockutils
    from oslo_config import cfg

    lockutils.get_lock_path(cfg.CONF)  # makes the option known
    cfg.CONF.set_override("lock_path", "/run/locks", group="oslo_concurrency")
    try:
        yield
    finally:
        cfg.CONF.clear_override("lock_path", group="oslo_concurrency")
