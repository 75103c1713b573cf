"""One host as a folder: its storpool.conf and its links, kept as StorPool's own tools keep them."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from storpool_simulator.devices.nodes import Node

UNFINISHED = "~"  # no global id and no name begins with it [sptypes]
NO_FILE_NAMES = frozenset({".", ".."})  # StorPool's pattern allows them, a folder does not
CONF_MODE = 0o640  # it holds the token


@dataclass(frozen=True)
class HostConfig:
    """What the storpool.conf of every host says about the cluster."""

    api_host: str
    api_port: int
    token: str
    cluster_id: str
    cluster_name: str


class HostFolder:
    """The folder of one client: `etc/storpool.conf`, `dev/storpool` and `dev/storpool-byid`."""

    def __init__(self, client_id: int, root: Path) -> None:
        self._client_id = client_id
        self._conf = root / "etc" / "storpool.conf"
        self._by_name = root / "dev" / "storpool"
        self._by_id = root / "dev" / "storpool-byid"
        self._owners: dict[Path, str] = {}

    @property
    def link_folders(self) -> tuple[Path, Path]:
        """The folders of the links: by name, by id."""
        return self._by_name, self._by_id

    def configure(self, config: HostConfig) -> None:
        """Write storpool.conf, and make the folders of links.

        The file has the cluster's keys, then the section of this node.
        """
        for folder in (self._conf.parent, self._by_name, self._by_id):
            folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._conf.with_name(UNFINISHED + self._conf.name)
        unfinished.unlink(missing_ok=True)
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, CONF_MODE)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(
                "# Written by storpool-simulator at every start.\n"
                f"SP_API_HTTP_HOST={config.api_host}\n"
                f"SP_API_HTTP_PORT={config.api_port}\n"
                f"SP_AUTH_TOKEN={config.token}\n"
                f"SP_CLUSTER_ID={config.cluster_id}\n"
                f"SP_CLUSTER_NAME={config.cluster_name}\n"
                "\n"
                f"[{platform.node()}]\n"
                f"SP_OURID={self._client_id}\n"
            )
        unfinished.replace(self._conf)

    def take_over(self, devices: Mapping[str, Path]) -> None:
        """Keep the links that lead to these devices of these global ids; remove all others."""
        ids_by_device = {str(device): global_id for global_id, device in devices.items()}
        self._owners = {}
        if not self._by_id.exists():  # never started
            return
        for folder in self.link_folders:
            for link in filter(Path.is_symlink, folder.iterdir()):
                owner = ids_by_device.get(str(link.readlink()))
                if owner is None or link.name.startswith(UNFINISHED):
                    link.unlink()
                else:
                    self._owners[link] = owner

    def link(self, node: Node, device: Path) -> None:
        """Have exactly these links lead to the device: by each id, and by the name if it has one.

        The id that an unnamed volume had before a revert is in the folder of ids too, not among
        the names [git 76ce668].
        """
        links = [self._by_id / one for one in node.ids or (node.global_id,)]
        if node.name is not None and node.name not in NO_FILE_NAMES:
            links.append(self._by_name / node.name)
        for link in links:
            _place(link, device)
            self._owners[link] = node.global_id
        self._forget(node.global_id, but=links)

    def unlink(self, global_id: str) -> None:
        """Have no link lead there; none is fine."""
        self._forget(global_id, but=())

    def _forget(self, global_id: str, but: Collection[Path]) -> None:
        for link, owner in list(self._owners.items()):
            if owner == global_id and link not in but:
                link.unlink(missing_ok=True)
                del self._owners[link]


def _place(link: Path, device: Path) -> None:
    if link.is_symlink() and link.readlink() == device:
        return
    unfinished = link.with_name(UNFINISHED)
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(device)
    unfinished.replace(link)
