"""Two clusters, what is sent between them, and a small model of what must be where."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator_fixtures import opened_peer

from storpool_simulator import errors
from storpool_simulator.api import calls, slices

if TYPE_CHECKING:
    from storpool_simulator.model.cluster import Cluster

SIZE = 16 << 10  # of each volume
PIECE = 4 << 10  # what one write changes
COPY_SECONDS = 10  # of each copy: all of them count as one MiB, the least
SPEED = COPY_SECONDS << 10  # seconds for a GiB
NAMES = ("v", "w")


@dataclass
class Backup:
    """What the model knows of a backup; `date` is when it is deleted, 0 for never."""

    content: bytes
    exported: bool = True
    deleted: bool = False
    date: int = 0


class Pair:
    """A cluster "one" (loc.a) that sends backups to "far" (rem.c), and the model of both.

    `sent` has all backups that were promised, `here` what was fetched and not deleted, `volumes`
    what each volume holds, `coming` and `fetching` the seconds that copies still need, here those
    too that are deleted on their way.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._running = contextlib.ExitStack()
        self.up = True
        self.delay: int | None = None
        self.volumes: dict[str, bytes] = {}
        self.sent: dict[str, Backup] = {}
        self.here: dict[str, bytes] = {}
        self.coming: dict[str, int] = {}
        self.fetching: dict[str, int] = {}
        self.switches = {"linger": "0"}
        self.start()
        self.simulator.set_bridge("far", seconds_per_gib=SPEED)

    def start(self) -> None:
        """Start both clusters on what they have."""
        peer = opened_peer(
            self._folder,
            cluster_id="loc.a",
            cluster_name="one",
            clusters={"far": "rem.c"},
            switches=self.switches,
            hosts={},
        )
        self.simulator = self._running.enter_context(peer).simulator
        self.one: Cluster = self.simulator.cluster
        self.far: Cluster = self.simulator.others["far"].cluster

    def restart(self) -> None:
        """End both, and start them again: a cut bridge is up then."""
        self._running.close()
        self.start()
        self.up = True
        self.simulator.set_bridge("far", seconds_per_gib=SPEED)

    def close(self) -> None:
        """End both for good."""
        self._running.close()
        self._stack.close()

    def wait(self, seconds: int) -> None:
        """Let time pass: for copies it does so while the bridge is up."""
        self.simulator.advance(seconds)
        for left in (self.coming, self.fetching) if self.up else ():
            for key in [*left]:
                left[key] -= seconds
                if left[key] <= 0:
                    del left[key]

    # calls

    def call(self, cluster: Cluster, query: str, *args: str, body: Any = None) -> Any:
        """Make a call; returns its data, or raises ApiError."""
        call = calls.Call(query, cluster, args, body, multi_cluster=False)
        return json.loads("".join(slices.text(calls.answer(calls.TABLE[query], call).data)))

    def said(self, cluster: Cluster, query: str, *args: str, body: Any = None) -> str:
        """Make a call; returns "ok" or the name of the error."""
        try:
            self.call(cluster, query, *args, body=body)
        except errors.ApiError as error:
            return error.name
        return "ok"

    def backup(self, names: list[str]) -> None:
        """Send a group of volumes."""
        body = {"volumes": names, "location": "rem", "tags": {"virt": "ovirt"}}
        made = self.call(self.one, "VolumesGroupBackup", body=body)["backups"]
        assert made.keys() == set(names)
        for name, ids in made.items():
            assert ids["remoteId"] not in self.sent
            self.sent[ids["remoteId"]] = Backup(self.volumes[name])
            self.coming[ids["remoteId"]] = COPY_SECONDS

    def is_seen(self, key: str) -> bool:
        """Return whether a backup is in the list of what is elsewhere."""
        backup = self.sent.get(key)
        return bool(backup and backup.exported and not backup.deleted and key not in self.coming)

    def read(self, cluster: Cluster, key: str) -> bytes:
        """Return what an object holds; what never held data has no file."""
        entry = cluster.catalog.find(key)
        assert entry is not None
        path = cluster.files.path(entry.global_id)
        return path.read_bytes() if path.exists() else bytes(entry.size_bytes)

    def write(self, name: str, place: int, byte: int) -> None:
        """Write to a volume as a host does."""
        entry = self.one.catalog.volume(name)
        self.one.files.ensure(entry.global_id, entry.size_bytes)
        with self.one.files.path(entry.global_id).open("r+b") as data:
            data.seek(place * PIECE)
            data.write(bytes([byte]) * PIECE)
        self.volumes[name] = self.read(self.one, name)

    # what must be so

    def look(self) -> None:
        """Compare all that a client can see with the model."""
        now = self.far.now()
        for backup in self.sent.values():
            backup.deleted = backup.deleted or 0 < backup.date <= now
        shots = {cluster: self.call(cluster, "SnapshotsList") for cluster in (self.one, self.far)}
        self._look_at_snapshots(shots[self.one], shots[self.far])
        self._look_at_contents()
        self._look_at_lists()
        for cluster in (self.one, self.far):
            assert set(cluster.files.ids()) <= cluster.catalog.entries.rows.keys()

    def _look_at_snapshots(self, here: list[Any], there: list[Any]) -> None:
        shown = {one["globalId"]: one for one in there if not one["deleted"]}
        wanted = {key: backup for key, backup in self.sent.items() if not backup.deleted}
        assert shown.keys() == wanted.keys()
        assert {key: one["targetDeleteDate"] for key, one in shown.items()} == {
            key: backup.date for key, backup in wanted.items()
        }
        for shots, left in ((here, self.fetching), (there, self.coming)):
            assert {one["globalId"] for one in shots if one["recoveringFromRemote"]} == left.keys()
        for one in (*here, *there):
            held = one["globalId"] in self.fetching or one["globalId"] in self.coming
            assert not one["deleted"] or held or one["deleteBlocked"] == "multiple children"
        known = {one["globalId"] for one in here if not one["deleted"]}
        assert self.here.keys() == known & self.sent.keys()

    def _look_at_contents(self) -> None:
        for key, backup in self.sent.items():
            if not backup.deleted and key not in self.coming:
                assert self.read(self.far, f"~{key}") == backup.content
        for key, content in self.here.items():
            if key not in self.fetching:
                assert self.read(self.one, f"~{key}") == content
        for name, content in self.volumes.items():
            assert self.read(self.one, name) == content

    def _look_at_lists(self) -> None:
        exports = self.call(self.one, "ExportsList")["exports"]
        assert len([one for one in exports if one["backingUp"]]) == len(self.coming)
        seen = {one["remoteId"] for one in self.call(self.one, "SnapshotsRemoteList")["snapshots"]}
        assert seen == ({key for key in self.sent if self.is_seen(key)} if self.up else set())
