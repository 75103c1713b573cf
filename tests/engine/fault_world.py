"""The world of the tests of fault points: a cluster with bystanders, and an Engine with wires to
its servers.

Engine's verbs are processes: real starts where nothing is in their way, forks of one start where
they are struck (`forked`). Scenes are set in this process, which takes a tenth of the time.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import fault_looks
from wire_talks import Strike
from wires import Wires

from ovirt_demo import children, engine
from rigs import disk_rig, forked, forked_engine, shared_stage, transports
from storpool_ovirt import config
from storpool_ovirt.engine import claims, database_url, journal
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from storpool_ovirt.engine import tree

GIB = shared_stage.GIB

_TABLES = (
    "SELECT to_regclass('storpool_ovirt.meta') IS NOT NULL AND to_regclass('storpool_ovirt.node')"
    " IS NOT NULL"
)
_ROWS = "SELECT to_jsonb(node) FROM storpool_ovirt.node AS node ORDER BY created_at, uuid"
_OPEN = (
    "SELECT jsonb_build_object('kind', kind, 'verb', verb, 'node', node, 'state', state) FROM"
    " storpool_ovirt.operation WHERE state <> 'undone' ORDER BY id"
)
_TRASH = "SELECT to_jsonb(trash) FROM storpool_ovirt.trash ORDER BY deleted_at, node"
_TRASH_TABLE = "SELECT to_regclass('storpool_ovirt.trash') IS NOT NULL"
# Of a row: who made it, together with what, and what it keeps for later from whichever verb met its
# volume first (test_reverts.py).
NOTES = ("correlation_id", "visible_id", "moment")
_META = "SELECT to_jsonb(meta) FROM storpool_ovirt.meta AS meta"
MARK = "ovirt-moment"
LOOKS = 5
DELAY = 48 * 3600
_SHARE = ("globalId", "client", "rights", "snapshot")
_FACTS = ("name", "globalId", "size", "tags", "templateName", "bw", "iops", "createdFromGlobalId")


@dataclass(frozen=True)
class Scene:
    """A verb as Engine calls it, and the ids that it is about by what they are; `first`: the
    database is empty. A correlation id that is not given is a new one. `keep`: the domain's trash
    keeps what is deleted."""

    verb: tuple[str, ...]
    ids: Mapping[str, str] = field(default_factory=dict)
    first: bool = False
    correlation_id: str | None = None
    keep: bool = False


class Caller(forked_engine.Engine):
    """Engine with wires between its verbs and the servers."""

    wires: Wires

    @contextlib.contextmanager
    def started(
        self, verb: str, *arguments: str, correlation_id: str
    ) -> Iterator[subprocess.Popen[bytes] | forked.Run]:
        """Start a verb and tell the wires which process it is."""
        with super().started(verb, *arguments, correlation_id=correlation_id) as process:
            self.wires.victim(process.pid)
            yield process


class FaultWorld(disk_rig.DiskRig):
    """A cluster with bystanders, and Engine's databases: one that has its tables and one that is
    empty."""

    def __init__(self, folder: Path, database: Database, empty: Database) -> None:
        variant = {
            "switches": {},
            "multicluster": False,
            "pinned": False,
            "template": disk_rig.TEMPLATE,
        }
        super().__init__(folder, database, shared_stage.new_id(), **variant)
        self._databases = (database, empty)
        self._delay = 0  # of disks and of snapshots, in seconds
        self._empty = empty.connect()
        self._empty.cursor().execute("SET lock_timeout = '20s'")
        self.wires = Wires(
            (database.login.host, database.login.port), (self.simulator.host, self.simulator.port)
        )
        self._keeper = forked_engine.keeper(self._engine(first=False))
        self._make_bystanders()
        self._bystanders = self._look(first=False)
        self._known: dict[str, str] = {}
        self.before = self._bystanders

    def close(self) -> None:
        """Stop everything."""
        self._keeper.close()
        self.wires.close()
        self._empty.close()
        super().close()

    def begin(self, set_up: Callable[[FaultWorld], Scene]) -> Scene:
        """Clear what the last scene left, and set this one."""
        self.wires.clear()
        self._delay = 0
        self._clear()
        scene = set_up(self)
        self._known = {
            row["global_id"]: f"ovirt--{row['uuid']}" for row in self._rows(self._base, _ROWS)
        }
        self.forced()
        self.before = self._look(scene.first)
        self._delay = DELAY if scene.keep else 0
        return scene

    def call(
        self, scene: Scene, strike: Strike | None = None, deadline: int | None = None
    ) -> engine.Result:
        """Have Engine run the verb, through the wires, and wait until nothing of it is under
        way."""
        caller = self._engine(scene.first, deadline)
        caller.keeper = self._keeper
        return self._call(caller, scene, strike)

    def unheard(self, scene: Scene) -> int:
        """Have Engine run the verb and read nothing of it; return its exit code."""
        caller = self._engine(scene.first)
        caller.keeper = self._keeper
        self.wires.clear()
        verb, *arguments = scene.verb
        given = scene.correlation_id or shared_stage.new_id()
        with caller.started(verb, *arguments, correlation_id=given) as process:
            assert process.stdout is not None
            process.stdout.close()
            code = process.wait(disk_rig.VERB_SECONDS)
        self.wires.settle()
        return code

    def call_really(self, scene: Scene) -> engine.Result:
        """Do as `call`, with nothing in the way and with a real start."""
        return self._call(self._engine(scene.first), scene, None)

    def _call(self, caller: Caller, scene: Scene, strike: Strike | None) -> engine.Result:
        self.wires.clear(strike)
        result = caller.run(*scene.verb, correlation_id=scene.correlation_id)
        self.wires.release()
        self.wires.settle()
        return result

    def attached(self, uuid: str) -> str:
        """Attach a volume to host 1, which holds it closed; return its id."""
        self.attach(1, self.verb("connection", uuid)["data"])
        return uuid

    def unclaimed(self) -> None:
        """Forget which Engine has the location."""
        if claims.BUCKET in self._api("KV")["buckets"]:
            self._api(f"KV/Delete/{claims.BUCKET}", {})

    def without_tables(self) -> None:
        """Make the empty database empty again."""
        self._empty.cursor().execute("DROP SCHEMA IF EXISTS storpool_ovirt CASCADE")

    def look(self, scene: Scene) -> fault_looks.Look:
        """Look at everything."""
        return self._look(scene.first)

    @contextlib.contextmanager
    def administrator(self, scene: Scene) -> Iterator[tree.Work]:
        """Give what the administrator's commands work with, on the scene's database.

        NotFound without tables.
        """
        address = database_url.parse(self._databases[scene.first].url)
        settings = config.Api("127.0.0.1", self.wires.api_port, Secret(disk_rig.TOKEN))
        settings = settings.preferring(transports.chosen())
        caller = journal.Caller("test", "reconcile")
        with self.working(
            caller, settings, disk_rig.VERB_SECONDS, address=address, make=False
        ) as work:
            yield work

    def check_bystanders(self, seen: fault_looks.Look | None = None) -> None:
        """Check that whatever does not belong to the scene is as it was, and that nobody was
        forced."""
        there = self._bystanders
        seen = (seen or self._look(first=False)).only({*there.rows}, {*there.objects})
        wrong = fault_looks.difference(fault_looks.lines(there, {}), fault_looks.lines(seen, {}))
        assert seen == there, f"others have changed: {wrong}"
        assert self.forced() == []

    def state(self, scene: Scene, answer: str) -> list[str]:
        """Tell rows, objects and attachments of the scene and what was answered, with names in
        place of ids.

        Whatever else there is has to be as it was.
        """
        seen, there = self._look(scene.first), self._bystanders
        self.check_bystanders(seen)
        own = seen.only(
            seen.rows.keys() - there.rows.keys(), seen.objects.keys() - there.objects.keys()
        )
        location, version = self._meta(scene.first)
        known = {**self._names(scene, own, answer), location: "<location>"}
        with contextlib.suppress(ValueError):
            answer = json.loads(answer)
        return [
            *fault_looks.lines(own, known),
            fault_looks.line("answer", answer, known),
            fault_looks.line("version", version, known),
        ]

    def _engine(self, first: bool, deadline: int | None = None) -> Caller:
        database = self._databases[first]
        options = {
            "adapter": "storpool",
            "sp_api_http_host": "127.0.0.1",
            "sp_api_http_port": str(self.wires.api_port),
            "sp_auth_token": disk_rig.TOKEN,
            "sp_template": disk_rig.TEMPLATE,
            "sp_delete_delay": f"{self._delay}s",
            "sp_snapshot_delete_delay": f"{self._delay}s",
            "sp_max_deletes": "0",
            **({} if deadline is None else {"sp_deadline": str(deadline)}),
        }
        url = database.url.replace(
            f"@{database.login.host}:{database.login.port}/", f"@127.0.0.1:{self.wires.sql_port}/"
        )
        caller = Caller(self.folder / "engine", children.find("storpool-adapter"), options, url)
        caller.wires = self.wires
        return caller

    def _make_bystanders(self) -> None:
        """Make a disk with a snapshot and a preview, and one that is attached, beside what the rig
        has of others."""
        disk, other = shared_stage.new_id(), shared_stage.new_id()
        self.verb("create", disk, GIB)
        self.attached(self.verb("preview", self.verb("snapshot", disk)))
        self.verb("create", other, 2 * GIB)
        self.attached(other)

    def _clear(self) -> None:
        """Drop what does not belong to the bystanders."""
        seen, there = self._look(first=False), self._bystanders
        self._base.cursor().execute(
            "DELETE FROM storpool_ovirt.operation; DELETE FROM storpool_ovirt.moment;"
            " DELETE FROM storpool_ovirt.trash;"
            " DELETE FROM storpool_ovirt.node WHERE uuid != ALL (%s::uuid[])",
            ([*there.rows],),
        )
        own = seen.only(set(), seen.objects.keys() - there.objects.keys())
        for each in own.attached:
            kind = own.objects[each["globalId"]]["kind"]
            item = {kind: f"~{each['globalId']}", "detach": [each["client"]], "force": False}
            self._api("VolumesReassignWait", {"reassign": [item]})
        for kind, query in (("volume", "VolumeDelete"), ("snapshot", "SnapshotDelete")):
            for global_id in (key for key, each in own.objects.items() if each["kind"] == kind):
                self._api(f"{query}/~{global_id}", {})

    def _look(self, first: bool) -> fault_looks.Look:
        """Look at everything; the rows are those of both databases where the scene is on the empty
        one."""
        lists, every = self._lists()
        objects = {
            each["globalId"]: {
                **{name: each[name] for name in _FACTS if name in each},
                "tags": fault_looks.timeless(each["tags"]),
                "dated": bool(each.get("targetDeleteDate")),
                "kind": kind,
                "parent": fault_looks.parent(each, every),
            }
            for kind, listed in lists.items()
            for each in listed
            if not fault_looks.is_fleeting(each)
        }
        bases = [self._base, self._empty] if first else [self._base]
        rows = [row for base in bases for row in self._rows(base, _ROWS)]
        operations = [each for base in bases for each in self._rows(base, _OPEN)]
        attached = [{name: each[name] for name in _SHARE} for each in self._api("AttachmentsList")]
        trash = [row for base in bases for row in self._rows(base, _TRASH, _TRASH_TABLE)]
        return fault_looks.Look(
            {row["uuid"]: row for row in rows}, objects, attached, operations, trash
        )

    def _lists(self) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """List volumes and snapshots, and all of them by name: of one moment, though it takes two
        calls."""
        for _ in range(LOOKS):
            lists = {
                kind: self._api(query)
                for kind, query in (("volume", "VolumesList"), ("snapshot", "SnapshotsList"))
            }
            every = {each["name"]: each for listed in lists.values() for each in listed}
            parents = {each["parentName"] for each in every.values()}
            if all(name in every or not name.startswith("*") for name in parents):
                return lists, every
        raise AssertionError(f"what is about to vanish vanished between two lists, {LOOKS} times")

    def _rows(self, connection: Any, query: str, there: str = _TABLES) -> list[dict[str, Any]]:
        cursor = connection.cursor()
        cursor.execute(there)
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(query)
        return [
            {
                name: value
                for name, value in row.items()
                if name not in NOTES and not name.endswith("_at")
            }
            for (row,) in cursor.fetchall()
        ]

    def _meta(self, first: bool) -> tuple[str, object]:
        cursor = (self._empty if first else self._base).cursor()
        cursor.execute(_META)
        ((meta,),) = cursor.fetchall()
        return meta.pop("location"), meta

    def _names(self, scene: Scene, own: fault_looks.Look, answer: str) -> dict[str, str]:
        """Return what each id and global id of the scene is called, also those that verbs chose."""
        found = [
            *own.rows,
            *(each["tags"].get("ovirt-uuid", each["name"]) for each in own.objects.values()),
        ]
        labels = {answer: "<answered>", **{uuid: f"<{label}>" for label, uuid in scene.ids.items()}}
        left = [uuid for uuid in dict.fromkeys(found) if uuid not in labels]
        labels.update({uuid: f"<left {number}>" for number, uuid in enumerate(left, 1)})
        labels.update(fault_looks.entries(own, labels))
        marks = {each["tags"].get(MARK) for each in own.objects.values()} - {None}
        labels.update({mark: f"<moment {number}>" for number, mark in enumerate(marks, 1)})
        named = {f"ovirt--{uuid}": f"name of {label}" for uuid, label in labels.items()}
        named |= {f"ovirt-trash--{uuid}": f"name of {label}" for uuid, label in labels.items()}
        there = {**self._known, **{each["globalId"]: each["name"] for each in own.objects.values()}}
        return {
            **labels,
            **named,
            **{key: f"global id of {named.get(name, name)}" for key, name in there.items()},
        }


@contextlib.contextmanager
def fresh(folder: Path, server: Database) -> Iterator[FaultWorld]:
    """Give a world with databases of its own: the tests of a module share it."""
    names = [f"faults_{shared_stage.new_id()[:8]}_{kind}" for kind in ("full", "empty")]
    databases = [server.fresh(name) for name in names]
    made = FaultWorld(folder, *databases)
    yield made
    made.close()
    for each in databases:
        each.drop()
