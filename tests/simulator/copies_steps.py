"""The calls to clusters that copy: what must be said to each, and what the model makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from copies_machine import Clusters, origin
from copies_model import (
    MIB,
    PIECES,
    Backup,
    Move,
    Place,
    Transfer,
    Volume,
    World,
    stored,
)

if TYPE_CHECKING:
    import random

NAMES = ("v", "w", "x", "y")
NOBODY = "loc.a.zzz"  # an id that nothing has


@dataclass
class Step:
    """A call, what is said to it, and what follows when that is "ok"."""

    text: str
    call: Callable[[], str]
    said: str
    then: Callable[[World], None]
    may_die: bool = True
    writes: int = 2  # of rows, before those that tell one cluster what another one knows already


class Calls:
    """Calls that clusters may get as they are now, more than others about what is in `focus`."""

    focus = NOBODY
    clusters: Clusters
    world: World
    chance: random.Random

    def write(self) -> Step | None:
        """A host writes; a volume that is not there is made first."""
        name = self.chance.choice([*NAMES[:2], *self.world.volumes])
        piece, byte = self.chance.randrange(PIECES), self.chance.randrange(1, 256)
        known = self.world.volumes.get(name)
        at = known.owner if known else "one"
        if known is None and name in self.world.moves:
            return None  # its old owner lists the name

        def call() -> str:
            if known is None:
                size = PIECES * MIB
                self.clusters.data(at, "VolumeCreate", body={"name": name, "size": size})
            self.clusters.write(at, name, piece, byte)
            return "ok"

        def then(world: World) -> None:
            volume = world.volumes.setdefault(name, Volume((0,) * PIECES, at))
            content = list(volume.content)
            content[piece] = byte
            volume.content = tuple(content)

        return Step(f"write {name} at {at}: {piece} {byte}", call, "ok", then, may_die=False)

    def backup(self) -> Step | None:
        """Of some volumes of a cluster, at one instant."""
        at = self.chance.choice(["one", "one", "two"])
        owned = sorted(name for name, one in self.world.volumes.items() if one.owner == at)
        if not owned:
            return None
        names = self.chance.sample(owned, self.chance.randint(1, len(owned)))
        body = {"volumes": names, "location": "rem", "tags": {"virt": "ovirt"}}
        said = "ok" if self.world.is_up(at, "far") else "multiCluster"

        def then(world: World) -> None:
            rows = self.clusters["far"].catalog.entries.rows
            new = [one for one in rows.values() if one.global_id not in world.backups]
            volumes = {one.global_id: one.name for one in self.clusters.owned(at).values()}
            assert sorted(volumes[one.created_from or ""] or "" for one in new) == sorted(names)
            for one in new:
                content = world.volumes[volumes[one.created_from or ""] or ""].content
                source = origin(self.clusters, one.global_id)
                assert source == (at, one.backup_of)
                self._begin(world, ("far", one.global_id), source, stored(content))
                world.backups[one.global_id] = Backup(content, source[1])
                world.bases.add(source[1])

        return self._step(at, "VolumesGroupBackup", body, said, then)

    def _begin(self, world: World, place: Place, source: Place, size: int) -> None:
        """Take note of a copy: what its parent has need not come."""
        parent_id = self.clusters.tree(place[0])[place[1]]
        if parent_id is not None and world.has_data((place[0], parent_id)):
            size -= stored(self.clusters.content(place[0], parent_id))
        world.transfers[place] = Transfer(source, max(MIB, size))

    def fetch(self) -> Step | None:
        """What is exported to us comes back; what is here already does not."""
        key, world = self._some([*self.world.backups]), self.world
        if key in self.clusters.owned("two"):
            return None
        said = "ok" if world.is_seen(key) else "objectDoesNotExist"
        if not world.is_up("one", "far"):
            said = "multiCluster"
        if key in self.clusters.tree("one"):
            said = "objectExists"

        def then(world: World) -> None:
            world.here[key] = content = world.backups[key].content
            size = stored(content) if world.has_data(("far", key)) else 0
            self._begin(world, ("one", key), ("far", key), size)

        body = {"remoteLocation": "rem", "remoteId": key}
        return self._step("one", "SnapshotFromRemote", body, said, then)

    def revert(self) -> Step | None:
        """A volume gets the content of a copy: if need be over the bridge."""
        names = sorted(self.world.volumes)
        if not names:
            return None
        name = self.chance.choice(names)
        return self._use(self.world.volumes[name].owner, name, "VolumeRevert")

    def clone(self) -> Step | None:
        """A new volume stands on a copy."""
        taken = self.world.volumes.keys() | self.world.moves.keys()
        free = [name for name in NAMES[2:] if name not in taken]
        return self._use("one", free[0], "VolumeCreate") if free else None

    def _use(self, at: str, name: str, query: str) -> Step | None:
        there = sorted(self.world.here.keys() & self.clusters.owned(at).keys())
        if not there:
            return None
        key = self._rather(there)
        reverts = query == "VolumeRevert"
        body = {"toSnapshot": f"~{key}"} if reverts else {"name": name, "parent": f"~{key}"}

        def then(world: World) -> None:
            world.fill((at, key))
            volume = world.volumes.setdefault(name, Volume((), at))
            volume.content = world.here[key]

        args = (name,) if reverts else ()
        return self._step(at, query, body, self.world.use((at, key)), then, *args)

    def delete_near(self) -> Step | None:
        """What was fetched, or the base of a backup; one under way goes when that has ended."""
        known = [*self.world.here, *self.world.bases]
        owned = {at: self.clusters.owned(at).keys() & set(known) for at in ("one", "two")}
        if not any(owned.values()):
            return None
        key = self._rather(sorted(owned["one"] | owned["two"]))
        at = "one" if key in owned["one"] else "two"

        def then(world: World) -> None:
            world.here.pop(key, None)
            world.bases.discard(key)

        return self._of(at, "SnapshotDelete", f"~{key}", then)

    def delete_far(self) -> Step:
        """By whoever runs the other cluster."""
        key = self._some([*self.world.backups])
        is_there = key in self.clusters.tree("far")

        def then(world: World) -> None:
            world.backups[key].deleted = True

        said = "ok" if is_there else "objectDoesNotExist"
        return self._step("far", "SnapshotDelete", {}, said, then, f"~{key}")

    def delete_volume(self) -> Step | None:
        """Its backups come all the same."""
        if not self.world.volumes:
            return None
        name = self.chance.choice(sorted(self.world.volumes))
        owner = self.world.volumes[name].owner
        return self._of(owner, "VolumeDelete", name, self._without(name))

    def unexport(self) -> Step:
        """With a date, which counts where the bridge allows it, and not before that; all or
        none."""
        world, now = self.world, self.world.now
        keys = [self._some([*world.backups])]
        if self.chance.random() < 0.3:
            keys.append(self._some([*world.backups]))
        after = [self.chance.choice([0, 50, 50, 500]) for _ in keys]
        is_date = self.chance.random() < 0.4
        items = [
            {"location": "rem", "globalSnapshotId": key}
            | ({"targetDeleteDate": now + least} if is_date and least else {"deleteAfter": least})
            for key, least in zip(keys, after)
        ]
        said = "ok" if all(map(world.is_seen, keys)) else "objectDoesNotExist"
        said = said if world.is_up("one", "far") else "multiCluster"

        def then(world: World) -> None:
            for key, asked in zip(keys, after):
                world.backups[key].exported = False
                counts = asked and world.switches["deferred_deletion"] == "on"
                if counts and world.delay is not None:
                    world.backups[key].date = now + max(asked, world.delay)

        body = {"remoteSnapshots": items}
        return self._step("one", "SnapshotsRemoteUnexport", body, said, then)

    def end_fetch(self) -> Step:
        """The other side takes an export back: with force also while it is being copied."""
        world, trees = self.world, self.clusters.trees()
        key = self._some([*world.backups])
        force = self.chance.random() < 0.6
        is_exported = key in trees["far"] and world.backups[key].exported
        said = "ok" if is_exported else "objectDoesNotExist"
        if is_exported and ("one", key) in world.transfers and not force:
            said = "busy"

        def then(world: World) -> None:
            world.backups[key].exported = False
            if ("one", key) in world.transfers:
                world.cancel(("one", key), trees)

        body = {"snapshot": f"~{key}", "location": "loc", "force": force}
        return self._step("far", "SnapshotUnexport", body, said, then)

    def end_backup(self) -> Step | None:
        """So does the side that a backup comes from."""
        world, trees = self.world, self.clusters.trees()
        coming = [key for target, key in world.transfers if target == "far"]
        if not coming:
            return None
        key, force = self._rather(coming), self.chance.random() < 0.6
        place = ("far", key)
        at, base = world.transfers[place].source

        def then(world: World) -> None:
            world.cancel(place, trees)

        body = {"snapshot": f"~{base}", "location": "rem", "force": force}
        return self._step(at, "SnapshotUnexport", body, "ok" if force else "busy", then)

    def export_early(self) -> Step | None:
        """The other side exports a backup that has not come yet, or never will."""
        places = [*self.world.transfers, *self.world.failed]
        there = self.clusters.tree("far")
        coming = [key for target, key in places if target == "far" and key in there]
        if not coming:
            return None
        key = self._rather(coming)
        backup = self.world.backups[key]
        said = "objectExists" if backup.exported else "ok"
        said = "objectDoesNotExist" if backup.deleted else said

        def then(world: World) -> None:
            world.backups[key].exported = True

        body = {"snapshot": f"~{key}", "location": "loc"}
        return self._step("far", "SnapshotExport", body, said, then)

    def move(self) -> Step | None:
        """To the other cluster of the location, asked for there or here."""
        if not self.world.volumes:
            return None
        name = self.chance.choice(sorted(self.world.volumes))
        owner = self.world.volumes[name].owner
        target = {"one": "two", "two": "one"}[owner]
        said, copied = self._chain(owner, name)
        if not self.world.is_up("one", "two"):
            said = "multiCluster"

        def then(world: World) -> None:
            for place in copied:
                world.fill(place)
            world.volumes[name].owner = target
            world.moves.pop(name, None)
            global_id = self.clusters[target].catalog.volume(name).global_id
            under_way = self.clusters[owner].catalog.moves.get(global_id)
            if under_way is not None:
                world.moves[name] = Move(owner, target, under_way.left_bytes)

        if self.chance.random() < 0.5:
            return self._step(target, "VolumeAcquire", {}, said, then, name, multi=True)
        return self._step(owner, "VolumeMoveToRemote", {"cluster": target}, said, then, name)

    def _chain(self, at: str, name: str) -> tuple[str, list[Place]]:
        """Return what is said to a move, and what is copied with it: nothing moves that is on its
        way to or from elsewhere."""
        catalog, world = self.clusters[at].catalog, self.world
        entry = catalog.entries.get(catalog.volume(name).parent_id or "")
        is_alone, copied = True, []
        while entry is not None:
            place = (at, entry.global_id)
            if not entry.deleted and entry.moved_to is None:
                children = sum(one == entry.global_id for one in self.clusters.tree(at).values())
                is_alone = is_alone and children == 1 and not entry.slave
                said = world.use(place)
                is_held = place in world.travelling() or place in world.failed
                said = "busy" if said == "ok" and is_alone and is_held else said
                if said != "ok":
                    return said, []
                copied.append(place)
            entry = catalog.entries.get(entry.parent_id or "")
        return "ok", copied

    # how a call is made

    def _some(self, keys: list[str]) -> str:
        """Return one of these, rather a new one; now and then one that never was."""
        if not keys or self.chance.random() < 0.05:
            return NOBODY
        return self._rather(keys + 2 * keys[-3:])

    def _rather(self, keys: list[str]) -> str:
        """Return one of these, rather one that is on its way somewhere, or has failed."""
        if self.focus in keys and self.chance.random() < 0.6:
            return self.focus
        held = {key for _, key in self.world.travelling() | self.world.failed.keys()}
        return self.chance.choice(keys + 3 * [key for key in keys if key in held])

    def _step(
        self,
        at: str,
        query: str,
        body: Any,
        said: str,
        then: Callable[[World], None],
        *args: str,
        multi: bool = False,
    ) -> Step:
        text = f"{at}: {query} {' '.join(args)} {body}: {said}"
        return Step(
            text,
            lambda: self.clusters.said(at, query, *args, body=body, multi=multi),
            said,
            then,
        )

    def _of(self, at: str, query: str, key: str, then: Callable[[World], None]) -> Step:
        return self._step(at, query, {}, "ok", then, key)

    def _without(self, name: str) -> Callable[[World], None]:
        def then(world: World) -> None:
            del world.volumes[name]

        return then
