"""Three clusters, "one" (loc.a), "two" (loc.b) and "far" (rem.c), that can be killed at any write
of their rows, and what can be seen of them compared with a model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copies_model import MIB, PIECES, Content, Place, Tree, World
from simulator_fixtures import opened_peer

from storpool_simulator import errors
from storpool_simulator.api import calls, queries, slices
from storpool_simulator.model import state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storpool_simulator.model.cluster import Cluster
    from storpool_simulator.model.objects import Entry

IDS = {"one": "loc.a", "two": "loc.b", "far": "rem.c"}
NAME_OF = {cluster_id: name for name, cluster_id in IDS.items()}


class KilledError(BaseException):
    """The process ends here."""


class Clusters:
    """The clusters in one life after the other; each life has what the last one left on disk."""

    def __init__(self, switches: dict[str, str]) -> None:
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._lives = 0
        self._running = contextlib.ExitStack()
        self.switches = switches
        self._start()

    def _start(self) -> None:
        peer = opened_peer(
            self._folder / str(self._lives),
            cluster_id=IDS["one"],
            cluster_name="one",
            clusters={name: IDS[name] for name in ("two", "far")},
            switches=self.switches,
            hosts={},
        )
        self.simulator = self._running.enter_context(peer).simulator
        simulators = {"one": self.simulator, **self.simulator.others}
        self._all: dict[str, Cluster] = {name: one.cluster for name, one in simulators.items()}

    def __getitem__(self, name: str) -> Cluster:
        return self._all[name]

    def close(self) -> None:
        """End the last life."""
        self._running.close()
        self._stack.close()

    # lives

    def restart(self) -> None:
        """End this life in order, and begin another."""
        self._running.close()
        self._start()

    def kill(self) -> None:
        """Begin another life on what is on disk now: nothing is ended, nothing taken back."""
        self._keep()
        self._revive()

    @contextlib.contextmanager
    def dying(self, writes: int) -> Iterator[None]:
        """Give a life that ends before it has written rows once more than so often, or at the end
        of the block."""
        original, left = state.Store.write, writes

        def write(store: state.Store, rows: Any) -> None:
            nonlocal left
            if rows and left == 0:
                self._keep()
            left -= bool(rows)
            if left < 0:
                raise KilledError
            original(store, rows)

        state.Store.write = write  # type: ignore[method-assign]
        try:
            with contextlib.suppress(KilledError):
                yield
        finally:
            state.Store.write = original  # type: ignore[method-assign]
        if left >= 0:
            self._keep()
        self._revive()

    def _keep(self) -> None:
        """Have the files as a process leaves them that is killed now: data files are the same ones,
        two names of one stay so."""
        here, there = (self._folder / str(self._lives + more) for more in (0, 1))

        def take(source: str, target: str) -> None:
            is_data = Path(source).parent.name == "data"
            (os.link if is_data else shutil.copyfile)(source, target)

        shutil.copytree(here, there, copy_function=take)

    def _revive(self) -> None:
        self._running.close()
        shutil.rmtree(self._folder / str(self._lives))
        self._lives += 1
        self._start()

    # calls

    def data(self, at: str, query: str, *args: str, body: Any = None, multi: bool = False) -> Any:
        """Make a call; returns its data, or raises ApiError."""
        call = queries.Call(query, self[at], args, body, multi_cluster=multi)
        return json.loads("".join(slices.text(calls.answer(calls.TABLE[query], call).data)))

    def said(self, at: str, query: str, *args: str, body: Any = None, multi: bool = False) -> str:
        """Make a call; returns "ok" or the name of the error."""
        try:
            self.data(at, query, *args, body=body, multi=multi)
        except errors.ApiError as error:
            return error.name
        return "ok"

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.simulator.advance(seconds)

    def set_link(self, pair: tuple[str, str], **facts: Any) -> None:
        """Cut, heal or slow the bridges between two clusters."""
        simulators = {"one": self.simulator, **self.simulator.others}
        simulators[pair[0]].set_bridge(pair[1], **facts)

    # what is there

    def owned(self, at: str) -> dict[str, Entry]:
        """Return the objects that a cluster has itself."""
        rows = self[at].catalog.entries
        return {one.global_id: one for one in rows if one.moved_to is None and not one.slave}

    def tree(self, at: str) -> Tree:
        """Return what stands on what."""
        return {one.global_id: one.parent_id for one in self[at].catalog.entries}

    def trees(self) -> dict[str, Tree]:
        """Return what stands on what in all clusters."""
        return {name: self.tree(name) for name in IDS}

    def content(self, at: str, global_id: str) -> Content:
        """Return what an object holds: the byte that fills each piece, at its ends."""
        try:
            opened = os.open(self[at].files.path(global_id), os.O_RDONLY)
        except FileNotFoundError:
            return (0,) * PIECES  # it never held data
        try:
            found = []
            for number in range(PIECES):
                begin = os.pread(opened, 512, number * MIB)
                end = os.pread(opened, 512, (number + 1) * MIB - 512)
                assert begin == end == begin[:1] * 512
                found.append(begin[0])
            assert os.fstat(opened).st_size == PIECES * MIB
            return tuple(found)
        finally:
            os.close(opened)

    def write(self, at: str, name: str, piece: int, byte: int) -> None:
        """Write to a volume as a host does."""
        cluster = self[at]
        entry = cluster.catalog.volume(name)
        cluster.files.ensure(entry.global_id, entry.size_bytes)
        with cluster.files.path(entry.global_id).open("r+b") as data:
            data.seek(piece * MIB)
            data.write(bytes([byte]) * MIB)
        with cluster.change(quiet=True):  # as when its device is looked at
            cluster.catalog.entries.put(cluster.measure(entry))


# what must be so


def check(clusters: Clusters, world: World) -> None:
    """Compare all that a client can see, and what is on disk, with the model."""
    listed = {name: clusters.data(name, "SnapshotsList") for name in IDS}
    assert {clusters[name].now() for name in IDS} == {world.now}
    _check_far(listed["far"], world)
    _check_what_is_coming(clusters, listed, world)
    _check_deleted(clusters, listed, world)
    _check_near(clusters, world)
    _check_contents(clusters, world)
    _check_lists(clusters, world)


def _check_far(shots: list[Any], world: World) -> None:
    shown = {one["globalId"]: one["targetDeleteDate"] for one in shots if not one["deleted"]}
    alive = {key: one for key, one in world.backups.items() if not one.deleted}
    assert shown == {key: one.date for key, one in alive.items()}


def _check_what_is_coming(clusters: Clusters, listed: dict[str, list[Any]], world: World) -> None:
    for name in IDS:
        coming = {key for place, key in (*world.transfers, *world.failed) if place == name}
        coming &= clusters.tree(name).keys()  # what has failed may be deleted; what comes is held
        assert {one["globalId"] for one in listed[name] if one["recoveringFromRemote"]} == coming
        for copy in clusters[name].catalog.copies:
            here = clusters[name].catalog.entries.get(copy.global_id)
            assert here is not None
            assert here.moved_to is None
    for target, key in world.transfers:
        if not world.has_data((target, key)):
            assert not clusters[target].files.path(key).exists()
    assert {
        one["globalId"]
        for name in ("one", "two")
        for one in clusters.data(name, "ExportsList")["exports"]
        if one["backingUp"]
    } == {world.backups[key].base for place, key in world.transfers if place == "far"}


def _check_deleted(clusters: Clusters, listed: dict[str, list[Any]], world: World) -> None:
    """What is being deleted is there as long as something holds it."""
    for name, shots in listed.items():
        travelling = {one for one in world.travelling() if one[0] == name}
        there = {(name, one["globalId"]) for one in shots}
        assert travelling <= there
        parents = [*clusters.tree(name).values()]
        for one in shots:
            is_held = (name, one["globalId"]) in travelling
            assert not one["deleted"] or is_held or parents.count(one["globalId"]) > 1


def _check_near(clusters: Clusters, world: World) -> None:
    owned = {name: clusters.owned(name) for name in ("one", "two")}
    snapshots = [
        one.global_id
        for rows in owned.values()
        for one in rows.values()
        if one.snapshot and not one.deleted
    ]
    assert sorted(snapshots) == sorted([*world.here, *world.bases])
    volumes = {
        one.name: name for name, rows in owned.items() for one in rows.values() if not one.snapshot
    }
    assert volumes == {name: one.owner for name, one in world.volumes.items()}
    moving = {
        one.name: name
        for name in ("one", "two")
        for one in clusters[name].catalog.entries
        if not one.snapshot and one.moved_to is not None
    }
    assert moving == {name: one.source for name, one in world.moves.items()}


def _check_contents(clusters: Clusters, world: World) -> None:
    for key, backup in world.backups.items():
        if not backup.deleted and world.has_data(("far", key)):
            assert clusters.content("far", key) == backup.content
    for name in ("one", "two"):
        for entry in clusters.owned(name).values():
            if not entry.snapshot:
                assert entry.name is not None
                wanted = world.volumes[entry.name].content
                assert clusters.content(name, entry.global_id) == wanted
            elif entry.global_id in world.here and world.has_data((name, entry.global_id)):
                assert clusters.content(name, entry.global_id) == world.here[entry.global_id]
    for name in IDS:
        found = set(clusters[name].files.ids())
        assert found - clusters[name].catalog.entries.rows.keys() == set(), name


def _check_lists(clusters: Clusters, world: World) -> None:
    # What is exported for a backup alone is nobody's to copy.
    assert clusters.data("far", "SnapshotsRemoteList")["snapshots"] == []
    for name in ("one", "two"):
        listed = clusters.data(name, "SnapshotsRemoteList")["snapshots"]
        seen = {key for key in world.backups if world.is_seen(key)}
        assert [one["remoteId"] for one in listed if one["remoteId"] not in seen] == []
        assert len(listed) == (len(seen) if world.is_up(name, "far") else 0)


def origin(clusters: Clusters, key: str) -> Place:
    """Return what a snapshot of "far" is a backup of."""
    copy = clusters["far"].catalog.copies.get(key)
    assert copy is not None
    return NAME_OF[copy.source_cluster], copy.source_id
