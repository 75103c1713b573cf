"""An Engine whose verbs die and whose database comes back from a backup, and the administrator who
mends what they leave.

All of it in this process, on the cluster and the database of disk_rig. What the tests of journal,
recovery, audit, reconcile and rebuild share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

import storpool_simulator
from rigs import clusters, disk_rig, transports
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from storpool_ovirt import config, errors, names
from storpool_ovirt.admin import audit, findings, limits, rebuild, reconcile, survey
from storpool_ovirt.engine import disks, journal, operations, tree
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ovirt_demo.database import Database

DISK, CLONE, OTHER, FOREIGN = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "dcef")
OTHER_CLUSTER = "zzz9.b"
HOUR = 3600.0  # seconds
MANY_TIMES = 50  # more often than anything of ours tries

TABLES = ("node", "operation", "moment", "trash", "backup", "policy")
LISTS = ("VolumesList", "SnapshotsList", "AttachmentsList")

# Holds a disk with an entry in the journal, as a verb does, until its stdin is closed; prints its
# backend.
HOLDER = """
import sys
from storpool_ovirt.engine import database_url, journal, mapping, process
from storpool_ovirt.deadline import Deadline
url, disk = sys.argv[1:]
caller = journal.Caller("corr-9", "extend_volume")
with mapping.opened(database_url.parse(url), Deadline(60), caller) as there:
    there.lock(disk)
    there.begin_growth(there.node(disk), 2 << 30)
    print(process.own(), there.session.rows("SELECT pg_backend_pid()")[0][0], flush=True)
    sys.stdin.read()
"""

Saved = dict[str, list[str]]


class Yard(disk_rig.DiskRig):
    """A rig with all that an administrator has: the commands, the API, the database."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        federation: Mapping[str, Any] | None = None,
        **switches: str,
    ) -> None:
        variant: dict[str, Any] = {
            "switches": switches,
            "multicluster": False,
            "pinned": False,
            "template": None,
            "federation": federation,
        }
        self._options: dict[str, Any] = {}
        super().__init__(folder, database, FOREIGN, **variant)
        self.url = database.url
        self.connected = database.connect  # for who must not use the rig's own connection

    def given(self, **options: Any) -> None:
        """Give the domain these options from now on (`config.Domain`)."""
        self._options = options

    @contextlib.contextmanager
    def working(self, *facts: Any, **more: Any) -> Iterator[tree.Work]:
        """Give what a program of ours works with, with those options."""
        with super().working(*facts, **more) as work:
            domain = dataclasses.replace(work.domain, **self._options)
            yield dataclasses.replace(work, domain=domain)

    def pin(self) -> None:
        """Pin the domain to its cluster from now on."""
        self._variant["pinned"] = True

    def reconnect(self, database: Database) -> None:
        """Look at the database through a new connection, after its server was stopped."""
        self._base = database.connect()

    # What an administrator does

    @contextlib.contextmanager
    def administrator(
        self,
        verb: str = "reconcile",
        *,
        cluster: storpool_simulator.Simulator | None = None,
        host: str | None = None,
        pinned: str | None = None,
        make: bool = False,
    ) -> Iterator[tree.Work]:
        """Give what the administrator's commands work with.

        `cluster`, `host` and `pinned` are those of other options than the Engine's; `make`: the
        command makes the tables where they are missing.
        """
        there = cluster or self.simulator
        settings = config.Api(host or there.host, there.port, Secret(disk_rig.TOKEN), False, pinned)
        settings = settings.preferring(transports.chosen())
        caller = journal.Caller("administrator", verb)
        with self.working(caller, settings, int(limits.MEND_SECONDS), make=make) as work:
            yield work

    def report(self, grace_seconds: float = 0.0, **options: Any) -> audit.Report:
        """Audit."""
        with self.administrator("audit", **options) as work:
            return audit.report(survey.look(work), grace_seconds)

    def reconcile(
        self, grace_seconds: float = 0.0, fault: Fault | None = None, **options: Any
    ) -> list[str]:
        """Mend what the audit is sure of; return what was done."""
        found = reconcile.plan(self.report(grace_seconds, **options))
        return self.carry_out(found, grace_seconds, fault, **options)

    def carry_out(
        self,
        found: Sequence[findings.Finding],
        grace_seconds: float = 0.0,
        fault: Fault | None = None,
        **options: Any,
    ) -> list[str]:
        """Mend these."""
        actions = [each.action for each in found if each.action]
        with (
            self.troubled(fault),
            self.administrator("reconcile", **options) as work,
            disk_rig.dying(fault),
        ):
            return [reconcile.carry_out(work, action, grace_seconds) for action in actions]

    def remove(
        self, target: str, grace_seconds: float = 0.0, dry_run: bool = False, **options: Any
    ) -> str:
        """Remove what an administrator names."""
        with self.administrator("reconcile", **options) as work:
            return reconcile.remove(work, target, grace_seconds, dry_run)

    def keep(self, uuid: str, dry_run: bool = False, **options: Any) -> str:
        """Close the entries on what an administrator names."""
        with self.administrator("reconcile", **options) as work:
            return reconcile.keep(work, uuid, dry_run)

    def detach_closed(self, target: str, dry_run: bool = False, **options: Any) -> str:
        """Detach what an administrator names where it is closed."""
        with self.administrator("reconcile", **options) as work:
            return reconcile.detach(work, target, dry_run)

    def plan_of_rebuild(self, location: str | None = None) -> rebuild.Rows:
        """Return what a rebuild would write."""
        with self.administrator("rebuild", make=True) as work:
            return rebuild.plan(survey.look(work), location)

    def rebuild(self, location: str | None = None, fault: Fault | None = None) -> int:
        """Rebuild the mapping; return how many rows were written."""
        with self.administrator("rebuild", make=True) as work:
            plan = rebuild.plan(survey.look(work), location)
            with disk_rig.dying(fault):
                written = rebuild.carry_out(work, plan)
            self.location = work.mapping.location
            return written

    # What goes wrong

    @contextlib.contextmanager
    def trouble(self, kind: str, **more: Any) -> Iterator[None]:
        """Have a fault of the simulator's wait for the calls inside."""
        self.simulator.faults.add(kind, **more)
        try:
            yield
        finally:
            self.simulator.faults.clear()

    def undelivered(self, name: str, *arguments: Any) -> Any:
        """Run a verb whose answer nobody gets."""
        with self.engine(name) as work:
            return getattr(disks, name)(work, *arguments)

    def die_when(self, done: Callable[[], bool], name: str, *arguments: Any) -> None:
        """Have a verb die before the first line at which this is so."""
        with pytest.raises(Death):
            self.verb(name, *arguments, fault=Fault("death", when=done))

    def die_planned(self, name: str, *arguments: Any) -> None:
        """Have a verb die that has only written what it is about to do."""
        before = self._newest_entry()
        self.die_when(lambda: self._newest_entry() > before, name, *arguments)

    def die_asking(self, query: str, name: str, *arguments: Any) -> None:
        """Have a verb die with this request under way, which has not taken effect yet."""
        self.queries()
        asked = f"POST {query}"
        with self.trouble("reset_before", query=query, times=MANY_TIMES):
            self.die_when(lambda: asked in self._called(), name, *arguments)

    def die_made(self, name: str, *arguments: Any) -> str:
        """Have a verb die that has made an object in the cluster, and return its id."""
        before = self.uuids()
        self.die_when(lambda: self.uuids() != before, name, *arguments)
        (made,) = self.uuids() - before
        return made

    def lose_delete(self, name: str, uuid: str) -> None:
        """Have a delete give up without an answer, and without an effect."""
        kind = self.see().things[names.object_name(uuid)].kind.title()
        lost = Fault("reset_before", query=f"{kind}Delete", times=MANY_TIMES)
        with pytest.raises(errors.ApiUnavailable):
            self.verb(name, uuid, fault=lost)

    def meanwhile(self, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
        """Have something happen while a verb waits for the first time."""
        sleep, due = self.clock.sleep, [happens]

        def busy(seconds: float) -> None:
            while due:
                due.pop()()
            sleep(seconds)

        monkeypatch.setattr(self.clock, "sleep", busy)

    @contextlib.contextmanager
    def holder(self, disk: str) -> Iterator[tuple[str, int]]:
        """Run a process of its own that works on a disk; give its name in the journal and its
        backend."""
        command = [sys.executable, "-c", HOLDER, self.url, disk]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            try:
                assert child.stdout is not None
                process, backend = child.stdout.readline().split()
                yield process, int(backend)
            finally:
                child.kill()

    @contextlib.contextmanager
    def another_cluster(self, *strangers: str) -> Iterator[storpool_simulator.Simulator]:
        """Run a second cluster, with volumes of these names that are nobody's."""
        with clusters.running(
            self.folder / "another",
            token=disk_rig.TOKEN,
            templates={disk_rig.TEMPLATE: None},
            hosts={},
            cluster_id=OTHER_CLUSTER,
        ) as running:
            with self.administrator(cluster=running) as work:
                for name in strangers:
                    work.client.volume_create(
                        {"name": name, "size": GIB, "template": disk_rig.TEMPLATE, "tags": {}}
                    )
            yield running

    @contextlib.contextmanager
    def led_elsewhere(self) -> Iterator[None]:
        """Have the domain's address lead to another cluster."""
        with self.another_cluster() as there:
            self.port = there.port
            try:
                yield
            finally:
                self.port = None

    # The cluster, with other means than the product's

    def queries(self) -> list[str]:
        """Return the API's calls since the last call of this, with their methods."""
        called = self._called()
        self.simulator.calls.clear()
        return called

    def tags(self, uuid: str, root: str | None = None) -> dict[str, str]:
        """Return the tags of an object of ours."""
        return names.tags(uuid, self.location, root or uuid)

    def by_hand(self, uuid: str, name: str | None = None) -> str:
        """Make a volume with the tags of an object of ours, and return how it is addressed."""
        body = {
            "name": name or f"ovirt--{uuid}",
            "size": GIB,
            "template": disk_rig.TEMPLATE,
            "tags": self.tags(uuid),
        }
        return f"~{self.ask('VolumeCreate', body)['globalId']}"

    def hold(self, address: str, client_id: int = 2) -> None:
        """Attach a volume to a host by hand."""
        self.ask("VolumesReassignWait", {"reassign": [{"volume": address, "rw": [client_id]}]})

    def shut(self, uuid: str, client_id: int = 1, *, declared_open: bool = False) -> None:
        """Attach a node to a host, which may hold it open."""
        data = self.verb("connection", uuid)["data"]
        self.attach(client_id, data)
        self.declared[client_id] = {data["global_id"]} if declared_open else set()
        self.declare(client_id)

    def global_id(self, uuid: str) -> str:
        """Return the global id of the object that has the name of an id."""
        return self.see().things[f"ovirt--{uuid}"].global_id

    def uuids(self) -> set[str]:
        """Return the ids of the objects of ours."""
        return {name.removeprefix("ovirt--") for name in self.see().things}

    # The database, with other means than the product's

    def operations(self) -> list[operations.Operation]:
        """Return all of the journal."""
        with self.engine() as work:
            return work.mapping.journal.all()

    def entries(self) -> int:
        """Return how many entries the journal has."""
        return int(self.sql("SELECT count(*) FROM storpool_ovirt.operation")[0][0])

    def _newest_entry(self) -> int:
        found = self.sql("SELECT coalesce(max(id), 0) FROM storpool_ovirt.operation")
        return int(found[0][0])

    def active(self, uuid: str = DISK) -> str | None:
        """Return the active volume of a disk, as the mapping tells."""
        return self.see().rows[uuid].active

    def address(self, uuid: str) -> str:
        """Return how the API addresses the object of an id, as the mapping tells."""
        return f"~{self.see().rows[uuid].global_id}"

    def names_of_rows(self) -> set[str]:
        """Return the names of all objects that the mapping says are there."""
        return {f"ovirt--{uuid}" for uuid, row in self.see().rows.items() if row.state != "removed"}

    def age(self, seconds: float) -> None:
        """Let what the journal has be older by so much."""
        self.sql(
            "UPDATE storpool_ovirt.operation SET started_at = started_at - make_interval(secs"
            " => %s)",
            seconds,
        )

    def restored(self) -> None:
        """Have journal and moments be those of a backup, restored on another server."""
        for table in ("operation", "moment"):
            self.sql(f"UPDATE storpool_ovirt.{table} SET incarnation = '1/1/1'")

    def save(self) -> Saved:
        """Return rows and journal as a backup has them."""
        saved = {}
        for table in TABLES:
            rows = self.sql(f"SELECT row_to_json(each)::text FROM storpool_ovirt.{table} AS each")
            saved[table] = [row for (row,) in rows]
        return saved

    def put_back(self, saved: Saved) -> None:
        """Make rows and journal those of a backup; the objects are as they are."""
        for table, rows in saved.items():
            self.sql(f"DELETE FROM storpool_ovirt.{table}")
            for row in rows:
                self.sql(
                    f"INSERT INTO storpool_ovirt.{table} SELECT * FROM"
                    f" json_populate_record(NULL::storpool_ovirt.{table}, %s::json)",
                    row,
                )

    def world(self) -> list[Any]:
        """Return everything in the database and the cluster, to be compared before and after; what
        is just being deleted is not in it, as it goes by itself."""
        tables = (
            self.sql(f"TABLE storpool_ovirt.{table} ORDER BY 1") for table in (*TABLES, "meta")
        )
        things = [
            each
            for query in LISTS
            for each in self.ask(query)
            if not str(each.get("name", "")).startswith("*") and not each.get("deleted")
        ]
        return [*tables, things]

    def _called(self) -> list[str]:
        return [f"{each.method} {each.query}" for each in self.simulator.calls.list()]


@contextlib.contextmanager
def opened_yard(database: Database, folder: Path, **switches: str) -> Iterator[Yard]:
    """Give a cluster with nothing but what is not ours, until the end of the block."""
    yard = Yard(folder, database, **switches)
    try:
        yield yard
    finally:
        yard.close()


@contextlib.contextmanager
def fresh(server: Database) -> Iterator[Database]:
    """Give a database that the tests of a module share: to make one takes longer than most of
    them."""
    made = server.fresh(f"yard_{uuid.uuid4().hex[:8]}")
    yield made
    made.drop()
