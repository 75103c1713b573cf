"""What StorPool's kernel client does on every host: devices, the links to them, their openers.

There are two kinds. "loop" are real block devices for root, which can be cut off, held and delayed.
"file" are plain files for ordinary users. docs/devices.md says what each can do and what it cannot.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from storpool_simulator.devices import (
    blockcontrol,
    filenodes,
    fuseprotocol,
    hostfolder,
    loop,
    loopnodes,
    nodes,
)
from storpool_simulator.devices.hostfolder import HostConfig
from storpool_simulator.devices.nodes import DeviceError, Node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from contextlib import AbstractContextManager

__all__ = ["DeviceError", "Devices", "HostConfig", "Node"]

KINDS = ("auto", "loop", "file")


class Devices:
    """The devices of all hosts; any thread may call.

    `hosts` maps clients to the hosts' folders: of several clusters they have numbers that differ
    (`shares`). Every method raises DeviceError with one sentence when the machine does not do what
    is asked.
    """

    kind: str
    """"loop" or "file"."""

    def __init__(
        self,
        kind: str,
        state: Path,
        hosts: Mapping[int, Path],
        linger_seconds: float = blockcontrol.LINGER_SECONDS,
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.kind = _decide(kind, state)
        self._hosts = {
            number: hostfolder.HostFolder(nodes.client_id(number), root.absolute())
            for number, root in hosts.items()
        }
        # One lock for each host: a device that waits for a held volume must not stop the others.
        self._locks = {client_id: threading.Lock() for client_id in hosts}
        self._shown: set[nodes.Key] = set()
        self._nodes: nodes.Nodes = filenodes.FileNodes(state)
        if self.kind == "loop":
            links = [folder for host in self._hosts.values() for folder in host.link_folders]
            self._nodes = loopnodes.LoopNodes(state, links, linger_seconds)

    def start(self, config: HostConfig, others: Mapping[int, HostConfig] | None = None) -> None:
        """Write the hosts' storpool.conf, and take over the devices that an earlier run left.

        `others` has what hosts of further clusters are told, by the clusters' numbers. `keep`
        removes the devices that nobody wants any more.
        """
        configs = {0: config, **(others or {})}
        for number, host in self._hosts.items():
            host.configure(configs[number // nodes.CLIENTS_OF_A_CLUSTER])
        found = self._nodes.start()
        self._shown = set(found)
        for client_id, host in self._hosts.items():
            host.take_over({key[1]: device for key, device in found.items() if key[0] == client_id})

    def keep(self, wanted: Iterable[tuple[int, str]]) -> None:
        """Remove what an earlier run left and nobody wants any more.

        It is called once everything wanted has been shown.
        """
        self.hide_all(self._shown - set(wanted), cut=True)

    def show(self, client_id: int, node: Node) -> None:
        """Have the device and its links there on return.

        A new name, new rights and a new size are applied in place.
        """
        host = self._hosts.get(client_id)
        if host is None:
            raise DeviceError(
                f"client {client_id} has no folder here, so it cannot be shown {node.global_id}"
            )
        with self._locks[client_id]:
            try:
                device = self._nodes.show(client_id, node)
                self._shown.add((client_id, node.global_id))
                host.link(node, device)
            except OSError as problem:
                raise DeviceError(
                    f"{node.global_id} cannot be shown to client {client_id}: {problem}"
                ) from problem

    def hide(self, client_id: int, global_id: str, cut: bool) -> None:
        """Have the device and its links gone on return; absent is fine.

        With `cut`, what a holder has written but not flushed is lost; without, it is kept. In both
        cases whoever still has it open gets errors from now on and reaches the data never again.
        """
        self.hide_all([(client_id, global_id)], cut)

    def hide_all(self, attachments: Collection[tuple[int, str]], cut: bool) -> None:
        """End several attachments together.

        Only so can kind "file" cut off two hosts that have the same volume open.
        """
        self._nodes.check_hide(attachments)
        for client_id, global_id in attachments:
            if client_id in self._hosts:
                with self._locks[client_id]:
                    self._hosts[client_id].unlink(global_id)
        self._nodes.hide(attachments, cut)
        self._shown.difference_update(attachments)

    def holders(self, client_id: int, global_id: str) -> tuple[str, ...]:
        """Return who has the device open, seen for real; () when it is closed or absent.

        The texts are such as "pid 123 qemu-kvm" or "mounted at /mnt".
        """
        return self._nodes.holders(client_id, global_id)

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Have all devices of this object show the size that its data file already has."""
        self._nodes.resize(global_id, size_bytes)

    def quiesce(self, global_ids: Iterable[str]) -> AbstractContextManager[None]:
        """Give a time in which writes to these objects wait on all hosts (kind "file" cannot)."""
        return self._nodes.quiesce(global_ids)

    def delay(self, client_id: int, seconds: float) -> None:
        """Make every read and write of this host take that much longer; 0 ends it.

        Raises DeviceError for kind "file", which cannot.
        """
        self._nodes.delay(client_id, seconds)

    def close(self) -> None:
        """Have all devices, links and processes of this simulator gone on return.

        Whoever has a device open is cut off.
        """
        for client_id, host in self._hosts.items():
            with self._locks[client_id]:
                host.take_over({})
        self._nodes.close()
        self._shown.clear()


def _decide(kind: str, state: Path) -> str:
    if kind not in KINDS:
        raise DeviceError(f"there is no kind of devices {kind!r}: say one of {', '.join(KINDS)}")
    if kind == "file":
        return kind
    obstacle = _obstacle_to_loop(state)
    if obstacle is None:
        return "loop"
    if kind == "loop":
        raise DeviceError(f"no loop devices here: {obstacle}")
    return "file"


def _obstacle_to_loop(state: Path) -> str | None:
    """Return why there can be no loop devices, or None.

    It is found out by trying: containers take away any part of it.
    """
    if os.geteuid() != 0:
        return "only root may make them"
    try:
        os.close(os.open(loop.CONTROL, os.O_RDWR | os.O_CLOEXEC))
        connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            with tempfile.TemporaryDirectory(dir=state) as folder:
                fuseprotocol.mount(Path(folder), connection)
                fuseprotocol.unmount(Path(folder))
        finally:
            os.close(connection)
    except OSError as problem:
        return str(problem)
    return None
