"""Random calls: after each of them rows, indexes, sums, data files and what is written down must
agree."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulator_fixtures import opened_peer

from storpool_simulator import errors
from storpool_simulator.api import calls, queries
from storpool_simulator.model import catalog

NEW = st.sampled_from(["a", "b", "c", "d", "e", "f", ""])
ANY = st.integers(0, 1000)


class Tree(RuleBasedStateMachine):
    """Random calls on few names, so that they meet: after each, rows, indexes, sums, files and disk
    must agree."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._base = folder / "state" / "cluster.sqlite"
        running = self._stack.enter_context(opened_peer(folder, switches={"linger": "10"}))
        self.cluster = running.simulator.cluster
        self.ids: set[str] = set()
        self.content: dict[str, bytes] = {}

    def teardown(self) -> None:
        """Stop the simulator."""
        self._stack.close()

    def call(self, query: str, *args: str, body: Any = None) -> dict[str, Any] | None:
        """Make a call; None when it is refused, which must change nothing."""
        self.cluster.tend()
        before = (
            dict(self.cluster.catalog.entries.rows),
            dict(self.cluster.catalog.attachments.rows),
        )
        try:
            call = queries.Call(query, self.cluster, args, body, multi_cluster=False)
            data: dict[str, Any] = calls.answer(calls.TABLE[query], call).data
        except errors.ApiError:
            assert before == (
                self.cluster.catalog.entries.rows,
                self.cluster.catalog.attachments.rows,
            )
            return None
        for key in ("globalId", "snapshotGlobalId"):
            if key in data:
                kept = query == "VolumeRevert" and data[key] in {
                    one.wire_id for one in before[0].values()
                }
                assert kept or data[key] not in self.ids, "an id was used again"
                self.ids.add(data[key])
        return data

    def pick(self, number: int, *, snapshot: bool) -> str:
        """One of the volumes or snapshots that there are, by any of its names; now and then one of
        the other kind."""
        entries = [
            one
            for one in self.cluster.catalog.entries
            if one.snapshot == snapshot or number % 10 == 0
        ]
        if not entries:
            return "unknown"
        entry = entries[number % len(entries)]
        by_id = entry.global_id if number % 3 == 0 else entry.wire_id
        return entry.listed_name if number % 2 else f"~{by_id}"

    def content_of(self, key: str) -> bytes:
        """What a volume or snapshot must hold."""
        found = self.cluster.catalog.find(key)
        assert found is not None
        return self.content[found.global_id]

    @rule(name=NEW, size=st.integers(1, 4), template=st.sampled_from(["nvme", "hdd", None]))
    def create(self, name: str, size: int, template: str | None) -> None:
        """A new volume reads zeros."""
        body = {"name": name, "size": size * 4096, **({"template": template} if template else {})}
        data = self.call("VolumeCreate", body=body)
        if data:
            self.content[data["globalId"]] = bytes(4)

    @rule(name=NEW, number=ANY, of_snapshot=st.booleans())
    def derive(self, name: str, number: int, of_snapshot: bool) -> None:
        """A clone has the source's content."""
        source = self.pick(number, snapshot=of_snapshot)
        data = self.call(
            "VolumeCreate", body={"name": name, "parent" if of_snapshot else "baseOn": source}
        )
        if data:
            self.content[data["globalId"]] = self.content_of(source)

    @rule(number=ANY, name=NEW, bind=st.booleans())
    def snapshot(self, number: int, name: str, bind: bool) -> None:
        """A snapshot has the volume's content."""
        volume = self.pick(number, snapshot=False)
        data = self.call("VolumeSnapshot", volume, body={"name": name, "bind": bind})
        if data:
            self.content[data["snapshotGlobalId"]] = self.content_of(volume)

    @rule(number=ANY, other=ANY)
    def group(self, number: int, other: int) -> None:
        """A group snapshot has all contents or is not made."""
        volumes = [{"volume": self.pick(one, snapshot=False)} for one in (number, other)]
        data = self.call("VolumesGroupSnapshot", body={"volumes": volumes})
        for one in data["snapshots"] if data else ():
            self.content[one["snapshotGlobalId"]] = self.content_of(f"~{one['volumeGlobalId']}")

    @rule(number=ANY, other=ANY, size=st.booleans())
    def revert(self, number: int, other: int, size: bool) -> None:
        """A reverted volume has the snapshot's content."""
        volume, snapshot = self.pick(number, snapshot=False), self.pick(other, snapshot=True)
        found = self.cluster.catalog.find(volume)  # a revert can take the id that it is found by
        if self.call("VolumeRevert", volume, body={"toSnapshot": snapshot, "revertSize": size}):
            assert found is not None
            self.content[found.global_id] = self.content_of(snapshot)

    @rule(number=ANY, data=st.binary(min_size=4, max_size=4))
    def write(self, number: int, data: bytes) -> None:
        """A host writes."""
        found = self.cluster.catalog.find(self.pick(number, snapshot=False))
        if found is not None and not found.snapshot:
            self.cluster.files.ensure(found.global_id, found.size_bytes)
            path = self.cluster.files.path(found.global_id)
            if not os.access(path, os.W_OK):
                return  # it is read-only on its host; root writes all the same
            with path.open("r+b") as file:
                file.write(data)
            self.content[found.global_id] = data

    @rule(
        number=ANY,
        change=st.sampled_from([{"size": 8192}, {"sizeAdd": 512}, {"rename": "a"}, {"rename": ""}]),
    )
    def update(self, number: int, change: dict[str, Any]) -> None:
        """Another size or name."""
        self.call("VolumeUpdate", self.pick(number, snapshot=False), body=change)

    @rule(
        number=ANY,
        change=st.sampled_from(
            [{"bind": True}, {"bind": False}, {"deleteAfter": 5}, {"rename": "b"}]
        ),
    )
    def update_snapshot(self, number: int, change: dict[str, Any]) -> None:
        """Another life or name."""
        self.call("SnapshotUpdate", self.pick(number, snapshot=True), body=change)

    @rule(number=ANY, query=st.sampled_from(["VolumeDelete", "VolumeFreeze", "SnapshotDelete"]))
    def end(self, number: int, query: str) -> None:
        """The end of a volume, of a snapshot."""
        self.call(query, self.pick(number, snapshot=query == "SnapshotDelete"))

    @rule(number=ANY, other=ANY, query=st.sampled_from(["VolumeRebase", "SnapshotRebase"]))
    def rebase(self, number: int, other: int, query: str) -> None:
        """Another parent."""
        body = {"parentName": self.pick(other, snapshot=True)} if other % 3 else {}
        self.call(query, self.pick(number, snapshot=query == "SnapshotRebase"), body=body)

    @rule(
        number=ANY,
        snapshot=st.booleans(),
        item=st.sampled_from(
            [
                {"rw": [1]},
                {"ro": [2]},
                {"detach": "all"},
                {"detach": [1], "ro": [2], "force": True},
                {"ro": [1, 7]},
            ]
        ),
    )
    def reassign(self, number: int, snapshot: bool, item: dict[str, Any]) -> None:
        """Attach and detach."""
        target = {"snapshot" if snapshot else "volume": self.pick(number, snapshot=snapshot)}
        self.call("VolumesReassignWait", body={"reassign": [{**target, **item}]})

    @rule(value=st.sampled_from(["unnamed", "all", "keep"]))
    def identity(self, value: str) -> None:
        """Another rule about ids after a revert."""
        self.cluster.switches.set({"revert_identity": value})

    @rule(seconds=st.sampled_from([1, 20]))
    def wait(self, seconds: int) -> None:
        """Time passes: what is deleted vanishes."""
        self.cluster.advance(seconds)

    @rule(template=st.sampled_from(["nvme", "hdd"]))
    @precondition(lambda self: len(self.ids) > 3)
    def propagate(self, template: str) -> None:
        """A template reaches its volumes."""
        self.call("VolumeTemplateUpdate", template, body={"iops": len(self.ids), "propagate": True})

    @invariant()
    def indexes_agree_with_rows(self) -> None:
        """A catalog that is built anew from the rows has the same indexes and sums."""
        ours, fresh = self.cluster.catalog, catalog.Catalog()
        for name in ("templates", "clients", "entries", "attachments"):
            for row in sorted(getattr(ours, name), key=lambda row: getattr(row, "number", 0)):
                getattr(fresh, name).load(row)
        for entry in ours.entries:
            for key in filter(None, (entry.name, f"~{entry.wire_id}")):
                assert ours.find(key) == fresh.find(key) == entry
            assert {one.global_id for one in ours.children(entry.global_id)} == {
                one.global_id for one in fresh.children(entry.global_id)
            }
            assert ours.attached(entry.global_id) == fresh.attached(entry.global_id)
        for template_id in (0, *ours.templates.rows):
            assert ours.tally(template_id) == fresh.tally(template_id)

    @invariant()
    def the_disk_agrees_with_rows(self) -> None:
        """Every row is written down as it is; there is a data file of the right size for each that
        may hold data, and for no other."""
        rows = self.cluster.catalog.entries.rows
        base = sqlite3.connect(self._base)
        values = base.execute("select key, value from row where kind = 'entry'")
        written = {key: json.loads(value) for key, value in values}
        base.close()
        assert written == {key: dataclasses.asdict(row) for key, row in rows.items()}
        files = self.cluster.files
        with_data = {key: row for key, row in rows.items() if not row.transient}
        there = set(files.ids())
        assert {key for key, row in rows.items() if row.has_file} <= there <= set(with_data)
        for key, row in with_data.items():
            expected = self.content[key][: row.size_bytes]
            if key not in there:
                assert expected == bytes(len(expected))
                continue
            assert files.path(key).stat().st_size == row.size_bytes
            with files.path(key).open("rb") as file:
                assert file.read(4) == expected


TestTree = Tree.TestCase
TestTree.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
