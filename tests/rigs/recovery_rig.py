"""A cluster with one Engine whose verbs die, whose database comes back from a backup, and which an
administrator mends.

What the tests of recovery, audit, reconcile and rebuild share.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

import storpool_simulator
from rigs import disk_rig
from storpool_ovirt import config, errors
from storpool_ovirt.admin import audit, findings, rebuild, reconcile, survey
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import journal, mapping, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

GIB = 1 << 30
DISK, CLONE, FOREIGN = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "dcf")
OTHER_CLUSTER = "zzz9.b"

_STATE = (
    "SELECT to_jsonb(each) FROM storpool_ovirt.node AS each ORDER BY uuid",
    "SELECT to_jsonb(each) FROM storpool_ovirt.operation AS each ORDER BY id",
    "SELECT to_jsonb(each) FROM storpool_ovirt.meta AS each",
)

Saved = list[tuple[str, list[str]]]


@dataclasses.dataclass(frozen=True)
class Mended:
    """What reconcile did, and what it could not do."""

    done: list[str]
    failed: list[errors.Error]


class Rig(disk_rig.Rig):
    """The rig of the disks' tests with an administrator beside Engine."""

    def __init__(self, folder: Path, database: Database) -> None:
        variant = {"switches": {}, "multicluster": False, "pinned": False, "template": None}
        super().__init__(folder, database, FOREIGN, **variant)
        self.folder = folder

    @property
    def now(self) -> float:
        """The time that passes only where somebody waits."""
        return self._clock.now

    def pin(self) -> None:
        """Pin the domain to its cluster from now on."""
        self._variant["pinned"] = True

    @contextlib.contextmanager
    def administrator(
        self,
        cluster: storpool_simulator.Simulator | None = None,
        host: str | None = None,
        pinned: str | None = None,
    ) -> Iterator[tree.Work]:
        """Give what the administrator's commands work with; `cluster` and `host` are those of other
        options."""
        there = cluster or self._simulator
        deadline = Deadline(60, self._clock)
        settings = config.Api(
            host or there.host, there.port, config.Secret(disk_rig.TOKEN), False, pinned
        )
        caller = journal.Caller("administrator", "reconcile")
        with mapping.opened(self._address, deadline, caller, make=False) as opened:
            yield tree.Work(
                config.Domain(settings, None, 60),
                self._client(settings, deadline),
                opened,
                self._log,
                str(self.folder),
                self._clock.sleep,
            )

    @contextlib.contextmanager
    def another_cluster(self, *stranger: str) -> Iterator[storpool_simulator.Simulator]:
        """Run a second cluster, with volumes of these names that are nobody's."""
        with storpool_simulator.running(
            self.folder / "another",
            token=disk_rig.TOKEN,
            templates={disk_rig.TEMPLATE: None},
            hosts={},
            cluster_id=OTHER_CLUSTER,
        ) as running:
            with self.administrator(running) as engine:
                for name in stranger:
                    engine.client.volume_create(
                        {"name": name, "size": GIB, "template": disk_rig.TEMPLATE, "tags": {}}
                    )
            yield running

    def meanwhile(self, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
        """Have something happen while a verb waits for the first time."""
        sleep, due = self._clock.sleep, [happens]

        def busy(seconds: float) -> None:
            while due:
                due.pop()()
            sleep(seconds)

        monkeypatch.setattr(self._clock, "sleep", busy)

    def api(self, query: str, body: object = None) -> Any:
        """Ask the cluster, with other means than the product's."""
        return self._api(query, body)

    def sql(self, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """Run one statement as Engine's role."""
        cursor = self._base.cursor()
        cursor.execute(statement, args or None)
        return cursor.fetchall() if cursor.description else []

    def reconnect(self, database: Database) -> None:
        """Look at the database through a new connection, after its server was stopped."""
        self._base = database.connect()

    def state(self) -> list[Any]:
        """Return everything that a command could have changed: the tables, the objects, the
        attachments."""
        lists = ("VolumesList", "SnapshotsList", "AttachmentsList")
        return [[row for (row,) in self.sql(each)] for each in _STATE] + [
            self.api(each) for each in lists
        ]

    def operations(self) -> list[tuple[str, str, str]]:
        """Return kind, node and state of every entry of the journal."""
        return self.sql("SELECT kind, node::text, state FROM storpool_ovirt.operation ORDER BY id")  # type: ignore[return-value]

    def active(self) -> str | None:
        """Return the active volume of DISK, as the mapping tells."""
        found: str | None = self.sql(
            "SELECT active::text FROM storpool_ovirt.node WHERE uuid = %s", DISK
        )[0][0]
        return found

    def global_id(self, uuid: str) -> str:
        """Return the global id of an object of ours."""
        return self.see().things[f"ovirt--{uuid}"].global_id

    def uuids(self) -> set[str]:
        """Return the ids of the objects of ours."""
        return {name[len("ovirt--") :] for name in self.see().things}

    def calls(self) -> list[str]:
        """Return the paths of all requests so far."""
        return [record.path for record in self._simulator.calls.list()]

    @contextlib.contextmanager
    def trouble(self, kind: str, **more: Any) -> Iterator[None]:
        """Have a fault of the simulator's wait for the calls inside."""
        self._simulator.faults.add(kind, **more)
        try:
            yield
        finally:
            self._simulator.faults.clear()

    def save(self) -> Saved:
        """Return rows and journal as a backup has them."""
        return [
            (
                table,
                [
                    row
                    for (row,) in self.sql(f"SELECT row_to_json(each)::text FROM {table} AS each")
                ],
            )
            for table in ("storpool_ovirt.node", "storpool_ovirt.operation")
        ]

    def put_back(self, saved: Saved) -> None:
        """Make rows and journal those of a backup; the objects are as they are."""
        for table, rows in saved:
            self.sql(f"DELETE FROM {table}")
            for row in rows:
                self.sql(
                    f"INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table},"
                    " %s::json)",
                    row,
                )

    def age(self, hours: float) -> None:
        """Let all entries of the journal be so old."""
        self.sql(
            "UPDATE storpool_ovirt.operation SET started_at = started_at - make_interval(secs"
            " => %s)",
            3600 * hours,
        )

    def restored(self) -> None:
        """Let all entries of the journal come from another server's backup."""
        self.sql("UPDATE storpool_ovirt.operation SET incarnation = 'another server'")

    def die_when_made(self, verb: str, *arguments: object) -> str:
        """Have a verb die as soon as StorPool has made what it asked for; return that one's id."""
        before = self.uuids()
        with pytest.raises(disk_rig.Death):
            self.verb(
                verb, *arguments, fault=disk_rig.Fault("death", when=lambda: self.uuids() > before)
            )
        (made,) = self.uuids() - before
        return made

    def die_at(
        self, monkeypatch: pytest.MonkeyPatch, call: str, verb: str, *arguments: object
    ) -> None:
        """Have a verb die with this request under way, which has not taken effect yet."""

        def sent(*_arguments: object) -> None:
            raise disk_rig.Death

        with monkeypatch.context() as patch:
            patch.setattr(api.Client, call, sent)
            with pytest.raises(disk_rig.Death):
                self.verb(verb, *arguments)

    def lose_delete(self, verb: str, uuid: str) -> None:
        """Have a delete give up without an answer, and without an effect."""
        kind = self.see().things[f"ovirt--{uuid}"].kind.title()
        with pytest.raises(errors.ApiUnavailable):
            self.verb(
                verb, uuid, fault=disk_rig.Fault("reset_before", query=f"{kind}Delete", times=50)
            )

    def audit(self, **options: Any) -> list[findings.Finding]:
        """Return what the audit finds, with no grace period."""
        with self.administrator(**options) as engine:
            return list(audit.report(survey.look(engine), 0).findings)

    def reconcile(self, **options: Any) -> Mended:
        """Carry out what the audit is sure of, with no grace period."""
        mended = Mended([], [])
        with self.administrator(**options) as engine:
            for finding in reconcile.plan(audit.report(survey.look(engine), 0)):
                assert finding.action is not None
                try:
                    mended.done.append(reconcile.carry_out(engine, finding.action, 0))
                except errors.Error as error:
                    mended.failed.append(error)
        return mended

    def remove(self, target: str, dry_run: bool = False, **options: Any) -> str:
        """Remove what an administrator names."""
        with self.administrator(**options) as engine:
            return reconcile.remove(engine, target, 0, dry_run)

    def keep(self, uuid: str, dry_run: bool = False, **options: Any) -> str:
        """Close the entries on what an administrator names."""
        with self.administrator(**options) as engine:
            return reconcile.keep(engine, uuid, dry_run)

    def plan(self, location: str | None = None) -> rebuild.Plan:
        """Return what a rebuild would write."""
        with self.administrator() as engine:
            return rebuild.plan(survey.look(engine), location)

    def rebuild(self, location: str | None = None) -> int:
        """Rebuild, and return how many rows were written."""
        with self.administrator() as engine:
            return rebuild.carry_out(engine, rebuild.plan(survey.look(engine), location))


@contextlib.contextmanager
def standing(folder: Path, database: Database) -> Iterator[Rig]:
    """Give a rig until the end of the block."""
    rig = Rig(folder, database)
    try:
        yield rig
    finally:
        rig.close()
