"""One host as a folder: its storpool.conf and its links, kept as StorPool's own tools keep them."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        self._names: dict[str, str] = {}

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
        self._names = {}
        if not self._by_id.exists():  # never started
            return
        for link in filter(Path.is_symlink, self._by_id.iterdir()):
            if ids_by_device.get(str(link.readlink())) != link.name:
                link.unlink()
        for link in filter(Path.is_symlink, self._by_name.iterdir()):
            global_id = ids_by_device.get(str(link.readlink()))
            if global_id is None or link.name.startswith(UNFINISHED):
                link.unlink()
            else:
                self._names[link.name] = global_id

    def link(self, global_id: str, name: str | None, device: Path) -> None:
        """Have exactly these links lead to the device: one by id, and one by name if it has one."""
        _place(self._by_id / global_id, device)
        if name is not None and name not in NO_FILE_NAMES:
            _place(self._by_name / name, device)
            self._names[name] = global_id
        self._forget_names(global_id, but=name)

    def unlink(self, global_id: str) -> None:
        """Have no link lead there; none is fine."""
        (self._by_id / global_id).unlink(missing_ok=True)
        self._forget_names(global_id, but=None)

    def _forget_names(self, global_id: str, but: str | None) -> None:
        for name, owner in list(self._names.items()):
            if owner == global_id and name != but:
                (self._by_name / name).unlink(missing_ok=True)
                del self._names[name]


def _place(link: Path, device: Path) -> None:
    if link.is_symlink() and link.readlink() == device:
        return
    unfinished = link.with_name(UNFINISHED)
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(device)
    unfinished.replace(link)
