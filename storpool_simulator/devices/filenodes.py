"""Devices for ordinary users: plain files, one hard link of the data file for each attachment.

A plain file that a process has open cannot be taken from it. So a cut gives the volume a new
inode, and the process keeps the old one, which belongs to nobody any more. What else a plain file
cannot do is listed in docs/devices.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storpool_simulator.devices import nodes, openers, storage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

UNFINISHED = "~"  # no global id begins with it
WRITABLE, READ_ONLY = 0o600, 0o400


@dataclass(frozen=True)
class _Attached:
    path: Path
    data: Path
    read_only: bool


class FileNodes:
    """The hard links below `state`/attached, which is on the file system of the data files."""

    def __init__(self, state: Path) -> None:
        self._folder = state.resolve() / "attached"  # resolved, because /proc shows paths that way
        # Links to the data files, for what is ended before it is shown again.
        self._data = self._folder / "data"
        self._attached: dict[nodes.Key, _Attached] = {}

    def start(self) -> dict[nodes.Key, Path]:
        """Take over what an earlier run left, and return it.

        A hard link outlives the process, as do those who have it open.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob("[0-9]*/*"):
            if path.name.startswith(UNFINISHED):
                path.unlink()
                continue
            key = (int(path.parent.name), path.name)
            data = (self._data / path.name).readlink()
            self._attached[key] = _Attached(path, data, read_only=False)
        return {key: attached.path for key, attached in self._attached.items()}

    def show(self, client_id: int, node: nodes.Node) -> Path:
        """Make the hard link, and return its path.

        It also takes the place of one to an inode that a cut has left behind.
        """
        path = self._folder / str(client_id) / node.global_id
        path.parent.mkdir(exist_ok=True)
        self._remember(node)
        if not (path.exists() and path.samefile(node.path)):
            _link(node.path, path)
        self._attached[(client_id, node.global_id)] = _Attached(path, node.path, node.read_only)
        self._set_mode(node.global_id)
        return path

    def check_hide(self, keys: Collection[nodes.Key]) -> None:
        """Refuse to cut one holder off while another, who is to stay, holds the same inode."""
        for key in keys:
            for other in self._others(key, keys):
                if self.holders(*key) and self.holders(*other):
                    raise nodes.DeviceError(
                        f"{key[1]} cannot be cut off from client {nodes.client_id(key[0])}"
                        f" while client {nodes.client_id(other[0])}"
                        " has it open too: plain files cannot do that, loop devices can (run the"
                        " simulator as root)"
                    )

    def hide(
        self,
        keys: Collection[nodes.Key],
        cut: bool,  # noqa: ARG002  see the comment below
    ) -> None:
        """Remove the hard links; whoever holds one open is left with an inode that is nobody's."""
        for key in keys:
            attached = self._attached.get(key)
            if attached is None:
                continue
            # The inode is left, a cut asked for or not: whoever opened it between the caller's
            # look and now must not reach the data either.
            if attached.path.exists() and self.holders(*key):
                self._leave_inode(key, keys)
            attached.path.unlink(missing_ok=True)
            del self._attached[key]
            if not self._of(key[1]):
                (self._data / key[1]).unlink(missing_ok=True)
            self._set_mode(key[1])

    def holders(self, client_id: int, global_id: str) -> tuple[str, ...]:
        """Return who holds this attachment's own path open."""
        attached = self._attached.get((client_id, global_id))
        return () if attached is None else openers.of_file(attached.path)

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Do nothing: the hard link has the size of the data file."""

    def quiesce(
        self,
        global_ids: Iterable[str],  # noqa: ARG002  the protocol's signature
    ) -> AbstractContextManager[None]:
        """Do nothing: writers of plain files cannot be made to wait."""
        return contextlib.nullcontext()

    def delay(self, client_id: int, seconds: float) -> None:
        """Raise DeviceError: it is not possible."""
        raise nodes.DeviceError(
            f"client {client_id} cannot be delayed by {seconds} s: plain files are never late"
        )

    def close(self) -> None:
        """Remove the hard links.

        Whoever holds one open has the data file itself until he closes it.
        """
        self._attached.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _remember(self, node: nodes.Node) -> None:
        link, data = self._data / node.global_id, node.path.resolve()
        if not link.is_symlink() or link.readlink() != data:
            link.unlink(missing_ok=True)
            link.symlink_to(data)

    def _others(self, key: nodes.Key, keys: Collection[nodes.Key]) -> list[nodes.Key]:
        same_volume = [other for other in self._attached if other[1] == key[1]]
        return [other for other in same_volume if other != key and other not in keys]

    def _leave_inode(self, key: nodes.Key, keys: Collection[nodes.Key]) -> None:
        """Give the data a new inode, and move those who stay to it.

        When it is killed in between, `show` moves the rest.
        """
        attached = self._attached[key]
        data = attached.data
        if not data.exists():  # deleted
            return
        if not data.samefile(attached.path):  # left already, by a run that was killed
            return
        storage.copy_file(data, data, data.stat().st_size)
        for other in self._others(key, keys):
            _link(data, self._attached[other].path)

    def _of(self, global_id: str) -> list[_Attached]:
        return [attached for key, attached in self._attached.items() if key[1] == global_id]

    def _set_mode(self, global_id: str) -> None:
        """Make the inode read-only when all its attachments are: one inode has one mode."""
        attached = self._of(global_id)
        if attached and attached[0].data.exists():
            mode = READ_ONLY if all(one.read_only for one in attached) else WRITABLE
            attached[0].data.chmod(mode)


def _link(data: Path, path: Path) -> None:
    unfinished = path.with_name(UNFINISHED + path.name)
    unfinished.unlink(missing_ok=True)
    os.link(data, unfinished)
    unfinished.replace(path)
