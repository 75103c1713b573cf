"""The devices of one cluster's hosts, where several clusters share the devices of a process.

They share them because a volume that is exported is on hosts of two clusters: it is held, resized
and cut off on all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_simulator.devices import nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager

    from storpool_simulator.devices.devices import Devices


class Share:
    """The same as Devices, with the client ids of one cluster; `number` is 0 for the first one."""

    def __init__(self, devices: Devices, number: int = 0) -> None:
        self.devices = devices
        self._number = number

    @property
    def kind(self) -> str:
        """Return "loop" or "file"."""
        return self.devices.kind

    def key(self, client_id: int, global_id: str) -> nodes.Key:
        """Return by what the devices of all clusters know this attachment."""
        return self._client(client_id), global_id

    def show(self, client_id: int, node: nodes.Node) -> None:
        """Have the device and its links there on return."""
        self.devices.show(self._client(client_id), node)

    def hide_all(self, attachments: Collection[tuple[int, str]], cut: bool) -> None:
        """End several attachments of this cluster's clients together."""
        self.devices.hide_all([self.key(*one) for one in attachments], cut)

    def holders(self, client_id: int, global_id: str) -> tuple[str, ...]:
        """Return who has the device open, seen for real."""
        return self.devices.holders(self._client(client_id), global_id)

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Have the object's devices on all hosts of all clusters show this size."""
        self.devices.resize(global_id, size_bytes)

    def quiesce(self, global_ids: Iterable[str]) -> AbstractContextManager[None]:
        """Give a time in which writes to these objects wait on all hosts of all clusters."""
        return self.devices.quiesce(global_ids)

    def delay(self, client_id: int, seconds: float) -> None:
        """Make every read and write of this host take that much longer."""
        self.devices.delay(self._client(client_id), seconds)

    def _client(self, client_id: int) -> int:
        return self._number * nodes.CLIENTS_OF_A_CLUSTER + client_id
