"""Fixtures for tests of single modules: the simulator inside this process, and a client of the
product for it.

Imports are inside, so that tests which need none of it run where the simulator's requirements are
not installed.
"""

from __future__ import annotations

import http.client
import json
import os
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from rigs import clusters, transports
from storpool_ovirt import config
from storpool_ovirt.cluster import api, attachments, binding
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.log import Log
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storpool_simulator import Simulator

GIB = 1 << 30
TOKEN = "1556560560218011653"


class Core:
    """A cluster with three hosts that are folders, and what the product needs to work with it."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self.simulator = simulator
        self.folder = folder
        self.log = Log("test", str(folder / "test.log"))
        # A program has one log for as long as it runs; here each test leaves one
        if self.log.descriptor is not None:
            weakref.finalize(self.log, os.close, self.log.descriptor)

    def root(self, client_id: int) -> str:
        """Return the folder that stands for a host's `/`."""
        return str(self.folder / f"host{client_id}")

    def settings(self, **more: Any) -> config.Api:
        """How to reach the cluster."""
        made = config.Api(self.simulator.host, self.simulator.port, Secret(TOKEN), **more)
        return made.preferring(transports.chosen())

    def client(self, seconds: float = 20, **more: Any) -> api.Client:
        """Return a client with a deadline of its own."""
        return api.Client(self.settings(**more), Deadline(seconds))

    def host(self, client_id: int, seconds: float = 20) -> attachments.HostSide:
        """Return a host's side of an attach."""
        return attachments.HostSide(client_id, self.root(client_id), Deadline(seconds), self.log)

    def objects(self) -> dict[str, api.Volume]:
        """Return what is in the cluster by name, without what StorPool is about to drop."""
        client = self.client()
        official = binding.load().Api(
            self.simulator.host, self.simulator.port, TOKEN, transientRetries=0
        )
        volumes = official.volumesList(returnRawAPIData=True)
        snapshots = official.snapshotsList(returnRawAPIData=True)
        listed = [(client.volume, each) for each in volumes]
        listed += [(client.snapshot, each) for each in snapshots]
        names = [
            (read, each["name"])
            for read, each in listed
            if not each.get("deleted") and not each.get("transient")
        ]
        return {name: read(name) for read, name in names}

    def set_client(self, client_id: int, **state: object) -> None:
        """Change what a host is, through the control port: `status` down or running, `open`
        devices."""
        self._post(f"/simulator/clients/{client_id}", state)

    def post(self, query: str, body: object) -> Any:
        """Make a call of the API as others do, also with what the binding does not send."""
        return self._post(f"/ctrl/1.0/{query}", body)["data"]

    def _post(self, path: str, body: object) -> Any:
        connection = http.client.HTTPConnection(self.simulator.host, self.simulator.port)
        headers = {"Authorization": f"Storpool v1:{TOKEN}"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        document = answer.read()
        assert answer.status == http.client.OK, document
        connection.close()
        return json.loads(document)

    def queries(self) -> tuple[str, ...]:
        """Return the queries since the last call of this, oldest first."""
        queries = self.simulator.calls.queries()
        self.simulator.calls.clear()
        return queries


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """Give a fresh cluster inside this process; hosts see plain files."""

    hosts = {client_id: tmp_path / f"host{client_id}" for client_id in (1, 2, 3)}
    for folder in hosts.values():
        folder.mkdir()
    templates = {"nvme": 100 * GIB, "hdd": None}
    with clusters.running(
        tmp_path / "state", token=TOKEN, templates=templates, hosts=hosts
    ) as running:
        made = Core(running, tmp_path)
        # The bucket for it is there, as in any cluster that has been used
        made.client().be_current()
        made.queries()
        yield made
