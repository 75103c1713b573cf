"""What Vdsm keeps on a host for each managed volume: a row in sqlite, a run link, a udev rule.

The file, its tables and what is in their columns are those of oVirt's vdsm (managedvolumedb.py), so
that programs which clean up after it meet what they will meet on a host.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

DATABASE = "/var/lib/vdsm/storage/managedvolume.db"
RUN_FOLDER = "/run/vdsm/managedvolumes"
RULES_FOLDER = "/etc/udev/rules.d"
COLUMNS = ("path", "connection_info", "attachment", "multipath_id")
DOCUMENTS = ("connection_info", "attachment")  # kept as JSON, in bytes
SCHEMA = """
    CREATE TABLE volumes (vol_id TEXT PRIMARY KEY, path TEXT, connection_info TEXT, attachment TEXT,
                          multipath_id TEXT, updated datetime);
    CREATE UNIQUE INDEX multipath_id ON volumes (multipath_id);
    CREATE TABLE versions (version INTEGER PRIMARY KEY, description TEXT, updated datetime);
    INSERT INTO versions VALUES (1, 'first', datetime('now'));
"""
SELECT = "SELECT path, connection_info, attachment, multipath_id FROM volumes WHERE vol_id = ?"
# `updated` is set when there is a path.
REPLACE = """
    INSERT OR REPLACE INTO volumes
    VALUES (?, ?, ?, ?, ?, CASE WHEN ? NOT NULL THEN datetime('now') END)
"""


class Rows(MutableMapping[str, dict[str, Any]]):
    """The rows by volume id. What is read is a copy: a row is changed by putting it back.

    The file is made when the first row comes (`vdsm-tool configure` makes it on a host).
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def __getitem__(self, vol_id: str) -> dict[str, Any]:
        found = self._ask(SELECT, vol_id)
        if not found:
            raise KeyError(vol_id)
        row = {name: value for name, value in zip(COLUMNS, found[0]) if value is not None}
        documents = {name: json.loads(row[name]) for name in DOCUMENTS if name in row}
        return {"vol_id": vol_id, **row, **documents}

    def __setitem__(self, vol_id: str, row: dict[str, Any]) -> None:
        if not self.file.exists():
            self._make()
        documents = {name: json.dumps(row[name]).encode() for name in DOCUMENTS if name in row}
        stored = {**row, **documents}
        self._ask(REPLACE, vol_id, *(stored.get(name) for name in COLUMNS), stored.get("path"))

    def __delitem__(self, vol_id: str) -> None:
        if vol_id not in self:
            raise KeyError(vol_id)
        self._ask("DELETE FROM volumes WHERE vol_id = ?", vol_id)

    def __iter__(self) -> Iterator[str]:
        found = self._ask("SELECT vol_id FROM volumes ORDER BY vol_id")
        return iter([vol_id for (vol_id,) in found])

    def __len__(self) -> int:
        return len([*iter(self)])

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        if not self.file.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            # No power is lost here, and to wait for the disk takes longer than all the rest
            connection.execute("PRAGMA synchronous = OFF")
            return connection.execute(statement, values).fetchall()

    def _make(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            connection.executescript(SCHEMA)


def link(sd_id: str, vol_id: str) -> str:
    """Return the run link of a volume, which the VM opens."""
    return f"{RUN_FOLDER}/{sd_id}_{vol_id}"


def rule(sd_id: str, vol_id: str) -> str:
    """Return the file of the udev rule that gives the device to the user of VMs.

    It outlives a reboot.
    """
    return f"{RULES_FOLDER}/99-vdsm-managed_{sd_id}_{vol_id}.rules"


def rule_text(path: str) -> str:
    """Return what that file says of a device; an older file is overwritten."""
    return f'SYMLINK=="{path[len("/dev/") :]}", RUN+="/usr/bin/chown vdsm:qemu $env{{DEVNAME}}"\n'
