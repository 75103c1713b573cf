"""What the tests of journal, recovery, audit, repair and rebuild work with: the rig, and an
administrator beside it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from rigs import disk_rig
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from storpool_ovirt import config, names
from storpool_ovirt.admin import audit, findings, reconcile, survey
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import disks, journal, mapping, operations, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

DISK, CLONE, OTHER, FOREIGN = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "dcef")

# Holds a disk with an entry in the journal, as a verb does, until its stdin is closed; prints its
# backend.
HOLDER = """
import sys
from storpool_ovirt import config
from storpool_ovirt.engine import journal, mapping, process
from storpool_ovirt.deadline import Deadline
url, disk = sys.argv[1:]
caller = journal.Caller("corr-9", "extend_volume")
with mapping.opened(config.parse_database_url(url), Deadline(60), caller) as there:
    there.lock(disk)
    there.begin_growth(there.node(disk), 2 << 30)
    print(process.own(), there.session.rows("SELECT pg_backend_pid()")[0][0], flush=True)
    sys.stdin.read()
"""


class Yard(disk_rig.Rig):
    """A rig with all that an administrator has: the command, the API, the database."""

    url = ""

    @contextlib.contextmanager
    def engine(
        self, verb: str = "-", *arguments: str, correlation_id: str = "test"
    ) -> Iterator[tree.Work]:
        """Give what one process of ours works with."""
        deadline = Deadline(600, self._clock)
        settings = config.Api(
            self._simulator.host, self._simulator.port, config.Secret(disk_rig.TOKEN)
        )
        domain = config.Domain(settings, None, 90)
        with mapping.opened(
            self._address, deadline, journal.Caller(correlation_id, verb, arguments)
        ) as opened:
            client = self._client(settings, deadline)
            yield tree.Work(domain, client, opened, self._log, str(self._folder), self._clock.sleep)

    def undelivered(self, name: str, *arguments: Any) -> Any:
        """Run a verb whose answer nobody gets."""
        with self.engine(name) as engine:
            return getattr(disks, name)(engine, *arguments)

    def die_planned(self, name: str, *arguments: Any) -> None:
        """Have a verb die that has only written what it is about to do."""
        before = self.entries()
        self.die_when(lambda: self.entries() > before, name, *arguments)

    def die_when(self, done: Callable[[], bool], name: str, *arguments: Any) -> None:
        """Have a verb die before the first line at which this is so."""
        with pytest.raises(Death):
            self.verb(name, *arguments, fault=Fault("death", when=done))

    def die_made(self, name: str, *arguments: Any) -> str:
        """Have a verb die that has made an object in the cluster, and return its id."""
        before = set(self.see().things)
        self.die_when(lambda: set(self.see().things) != before, name, *arguments)
        return str(names.uuid_of((set(self.see().things) - before).pop()))

    def report(self, grace_seconds: float = 0.0) -> audit.Report:
        """Audit."""
        with self.engine("audit") as engine:
            return audit.report(survey.look(engine), grace_seconds)

    def reconcile(self, grace_seconds: float = 0.0, fault: Fault | None = None) -> list[str]:
        """Mend what the audit is sure of; return what was done."""
        return self.carry_out(reconcile.plan(self.report(grace_seconds)), grace_seconds, fault)

    def carry_out(
        self,
        findings: list[findings.Finding],
        grace_seconds: float = 0.0,
        fault: Fault | None = None,
    ) -> list[str]:
        """Mend these."""
        with self._troubled(fault), self.engine("reconcile") as engine, disk_rig._dying(fault):
            actions = [each.action for each in findings if each.action]
            return [reconcile.carry_out(engine, action, grace_seconds) for action in actions]

    def ask(self, query: str, body: object = None) -> Any:
        """Do something in the cluster by hand."""
        return self._api(query, body)

    def queries(self) -> list[str]:
        """Return the API's calls since the last call of this, with their methods."""
        called = [f"{each.method} {each.query}" for each in self._simulator.calls.list()]
        self._simulator.calls.clear()
        return called

    def tags(self, uuid: str, root: str | None = None) -> dict[str, str]:
        """Return the tags of an object of ours."""
        return names.tags(uuid, self.location, root or uuid)

    def by_hand(self, uuid: str, name: str | None = None) -> str:
        """Make a volume with the tags of an object of ours, and return how it is addressed."""
        body = {
            "name": name or f"ovirt--{uuid}",
            "size": GIB,
            "template": "hybrid",
            "tags": self.tags(uuid),
        }
        return f"~{self.ask('VolumeCreate', body)['globalId']}"

    def hold(self, address: str, client_id: int = 2) -> None:
        """Attach a volume to a host by hand."""
        self.ask("VolumesReassignWait", {"reassign": [{"volume": address, "rw": [client_id]}]})

    def restored(self) -> None:
        """Have the journal be that of a backup, restored on another server."""
        self.sql("UPDATE storpool_ovirt.operation SET incarnation = '1/1/1'")

    def age(self, seconds: float) -> None:
        """Let what the journal has be older by so much."""
        self.sql(
            "UPDATE storpool_ovirt.operation SET started_at = started_at - make_interval(secs"
            " => %s)",
            seconds,
        )

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Do something in the database by hand."""
        cursor = self._base.cursor()
        cursor.execute(statement, arguments)
        return cursor.fetchall() if cursor.description else []

    def operations(self) -> list[operations.Operation]:
        """Return all of the journal."""
        with self.engine() as engine:
            return engine.mapping.journal.all()

    def entries(self) -> int:
        """Return how many entries the journal has."""
        return int(self.sql("SELECT count(*) FROM storpool_ovirt.operation")[0][0])

    def world(self) -> tuple[Any, ...]:
        """Return everything in the database and the cluster, to be compared before and after."""
        tables = (
            self.sql(f"TABLE storpool_ovirt.{table} ORDER BY 1") for table in ("node", "operation")
        )
        lists = (self.ask(query) for query in ("VolumesList", "SnapshotsList", "AttachmentsList"))
        return (*tables, *lists)

    def address(self, uuid: str) -> str:
        """Return how the API addresses the object of an id."""
        return f"~{self.see().rows[uuid][6]}"

    def global_id_of(self, uuid: str) -> str:
        """Return the global id of the object that has the name of an id."""
        return self.see().things[f"ovirt--{uuid}"].global_id

    def names_of_rows(self) -> set[str]:
        """Return the names of all objects that the mapping says are there."""
        return {f"ovirt--{uuid}" for uuid, row in self.see().rows.items() if row[5] != "removed"}

    def shut(self, uuid: str, client_id: int = 1, *, declared_open: bool = False) -> None:
        """Attach a node to a host, which may hold it open."""
        data = self.verb("connection", uuid)["data"]
        self.attach(client_id, data)
        self.declared[client_id] = {data["global_id"]} if declared_open else set()
        self.declare(client_id)

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
def opened_yard(database: Database, folder: Path, **switches: str) -> Iterator[Yard]:
    """Give a cluster with nothing but what is not ours."""
    made = Yard(
        folder,
        database,
        FOREIGN,
        switches=switches,
        multicluster=False,
        pinned=False,
        template=None,
    )
    made.url = database.url
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def fresh(server: Database) -> Iterator[Database]:
    """Give a database that the tests of a module share: to make one takes longer than most of
    them."""
    made = server.fresh(f"yard_{uuid.uuid4().hex[:8]}")
    yield made
    made.drop()
