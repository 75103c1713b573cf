"""What the stateful test of disks drives: verbs in this process, against a real PostgreSQL and a
simulator.

Every verb gets a mapping and a client of its own, as in the adapter, where it is a process. Time
is a number, so that patience costs none. A process that dies is an exception that nothing catches,
raised before the n-th line that a verb runs; its database connection ends with it, and so do its
locks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigs import clusters, near, transports
from rigs.clock import Clock
from rigs.deaths import Death, Fault, dying
from rigs.disk_model import Row
from storpool_ovirt import config, names, trash_names
from storpool_ovirt.cluster import api, attachments
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import (
    database_url,
    disks,
    journal,
    mapping,
    tree,
)
from storpool_ovirt.log import Log
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ovirt_demo.database import Database
    from rigs.services import Services

TOKEN = "1556560560218011653"
TEMPLATE = "hybrid"
CLIENTS = (1, 2, 3)
OTHERS_VOLUME = "somebody-elses"
OTHERS_LOCATION = "ffffffff"
VERB_SECONDS = 90  # Engine's patience, as the product has it when nobody says otherwise

# TRUNCATE makes new files for each table and index: for some rows it costs fifty times as much
EMPTIED = "; ".join(
    f"DELETE FROM storpool_ovirt.{table}"
    for table in ("operation", "moment", "trash", "backup", "policy", "node")
)
_ROWS = (
    "SELECT uuid::text, kind, root::text, source::text, size_bytes, state, global_id, active::text,"
    " replaced::text FROM storpool_ovirt.node ORDER BY created_at"
)
_PENDING = (
    "SELECT kind, disk::text, node::text FROM storpool_ovirt.operation WHERE state <> 'undone'"
    " ORDER BY id"
)


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object of the cluster, as its lists tell."""

    kind: str
    global_id: str
    size_bytes: int
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What there is: rows by id, objects of ours by name, attachments, and everything that is
    somebody else's.

    `pending` is what the journal has open: kind, disk and node of each. `trash` is what StorPool
    has of ours with the name of an entry of the trash, by that.
    """

    location: str
    rows: dict[str, Row]
    things: dict[str, Thing]
    attached: set[tuple[str, int, str]]
    foreign: list[Any]
    pending: list[tuple[str, str, str]]
    trash: dict[str, Thing]


class DiskRig:
    """A cluster with three hosts and two objects that are not ours, and an Engine that calls
    verbs."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        foreign_id: str,
        host: str = "127.0.0.1",
        **variant: Any,
    ) -> None:
        self.folder = folder
        self._address = database_url.parse(database.url)
        self._variant = variant
        self._foreign_id = foreign_id
        self._log = Log("test", str(folder / "verbs.log"))
        self._running = contextlib.ExitStack()
        self._host = host
        self._listen = (host, 0)
        self.clock = Clock()
        self.services: Services | None = None  # that are beside it, if any are
        self.port: int | None = None  # where the domain's address leads, if not to this cluster
        self.declared: dict[int, set[str]] = {client_id: set() for client_id in CLIENTS}
        for client_id in CLIENTS:
            Path(self.root(client_id)).mkdir()
        self._base = database.connect()
        with mapping.opened(self._address, Deadline(20), journal.Caller("rig")) as opened:
            self.location = opened.location
        self._base.cursor().execute(EMPTIED)
        self._start()
        self._make_foreign()

    @property
    def has_policy(self) -> bool:
        """Whether its domain says what new disks get (`kept_tags.py`)."""
        return bool(self._variant.get("policy"))

    def close(self) -> None:
        """Stop everything."""
        self._running.close()
        self._base.close()
        if self._log.descriptor is not None:
            os.close(self._log.descriptor)

    def restart(self) -> None:
        """Stop the simulator and start it again; hosts hold open what they held."""
        self._running.close()
        self._start()
        for client_id in CLIENTS:
            self.declare(client_id)

    def root(self, client_id: int) -> str:
        """Return the folder that stands for a host's `/`."""
        return str(self.folder / f"host{client_id}")

    def device(self, client_id: int, global_id: str) -> Path:
        """Return the device of an object on a host."""
        return Path(f"{self.root(client_id)}/dev/storpool-byid/{global_id}")

    def declare(self, client_id: int) -> None:
        """Tell the simulator which devices count as open on a host."""
        self.simulator.set_client(client_id, opened=sorted(self.declared[client_id]))

    def verb(self, name: str, *arguments: Any, fault: Fault | None = None, **caller: Any) -> Any:
        """Run a verb of `disks` and return its answer; raises what it raises, or Death. `caller` is
        as `engine` takes it."""
        with self.troubled(fault), self.engine(name, **caller) as engine:
            with dying(fault):
                answer = getattr(disks, name)(engine, *arguments)
            engine.mapping.journal.delivered()
            return answer

    @contextlib.contextmanager
    def engine(
        self,
        verb: str = "-",
        *arguments: str,
        correlation_id: str = "test",
        seconds: int = VERB_SECONDS,
    ) -> Iterator[tree.Work]:
        """Give what a verb works with for so long, as the adapter does."""
        caller = journal.Caller(correlation_id, verb, arguments)
        settings = config.Api(
            self.simulator.host,
            self.port or self.simulator.port,
            Secret(TOKEN),
            self._variant["multicluster"],
            self.simulator.cluster_id if self._variant["pinned"] else None,
            transports.chosen(),
        )
        with self.working(caller, settings, seconds) as work:
            yield work

    @contextlib.contextmanager
    def working(
        self,
        caller: journal.Caller,
        settings: config.Api,
        seconds: int,
        address: database_url.Database | None = None,
        make: bool = True,
    ) -> Iterator[tree.Work]:
        """Give what a program of ours works with for so long.

        `address`: of another database than the rig's; `make`: its tables are made where they are
        missing.
        """
        deadline = Deadline(seconds, self.clock)
        domain = config.Domain(
            settings,
            self._variant["template"],
            seconds,
            delete_delay_seconds=0,
            snapshot_delete_delay_seconds=0,
            **self._variant.get("policy", {}),
        )
        with mapping.opened(address or self._address, deadline, caller, make=make) as opened:
            client = self._client(settings, deadline)
            yield tree.Work(domain, client, opened, self._log, str(self.folder), self.clock.sleep)

    def attach(self, client_id: int, data: Mapping[str, str], fault: Fault | None = None) -> str:
        """Attach on a host what `connection` described, as the helper does; return the device's
        path there."""
        with self.troubled(fault):
            client, side, target = self._side(client_id, data)
            with dying(fault):
                return attachments.attach(client, side, target, data["access_mode"])

    def detach(self, client_id: int, data: Mapping[str, str], fault: Fault | None = None) -> None:
        """Detach on a host what `connection` described, as the helper does."""
        with self.troubled(fault):
            client, side, target = self._side(client_id, data)
            with dying(fault):
                attachments.detach(client, side, target)

    def beside(self) -> Services:
        """Have storpool_qos and VolumeCare beside it, or give those that are."""
        from rigs import services

        if self.services is None:
            there = self.simulator
            self.services = services.Services(there.host, there.port, TOKEN)
        return self.services

    def see(self) -> Seen:
        """Look at the database and the cluster with other eyes than the product's.

        What VolumeCare has made beside it is not in it, and has to be as it left it.
        """
        lists = [self._api(query) for query in ("VolumesList", "SnapshotsList", "AttachmentsList")]
        theirs = self.services
        if theirs is not None:
            theirs.check(*lists[:2])
        living = [
            each
            for each in (*lists[0], *lists[1])
            if not (each.get("deleted") or each.get("transient"))
            and not (theirs is not None and theirs.is_theirs(each))
        ]
        ours = [each for each in living if each["tags"].get("ovirt-loc") == self.location]
        cursor = self._base.cursor()
        cursor.execute(_ROWS)
        rows = {row[0]: Row(*row) for row in cursor.fetchall()}
        cursor.execute(_PENDING)
        global_ids = {each["globalId"] for each in ours}
        return Seen(
            self.location,
            rows,
            {each["name"]: _thing(each) for each in ours if not _entry(each)},
            {
                (each["globalId"], each["client"], each["rights"])
                for each in lists[2]
                if each["globalId"] in global_ids
            },
            [each for each in (*living, *lists[2]) if each["globalId"] not in global_ids],
            cursor.fetchall(),
            {_entry(each): _thing(each) for each in ours if _entry(each)},
        )

    def revert(self, volume: str, snapshot: str) -> None:
        """Revert a volume to a snapshot by hand."""
        self._api(f"VolumeRevert/{volume}", {"toSnapshot": snapshot})

    def forced(self) -> list[Any]:
        """Return the calls since the last time that asked for force in any way."""
        records = self.simulator.calls.list()
        self.simulator.calls.clear()
        return [
            record for record in records if "Force" in record.path or _asks_for_force(record.body)
        ]

    def _start(self) -> None:
        hosts = {client_id: self.root(client_id) for client_id in CLIENTS}
        self.simulator = self._running.enter_context(
            clusters.running(
                self.folder / "state",
                token=TOKEN,
                templates={TEMPLATE: None},
                hosts=hosts,
                switches=self._variant["switches"],
                listen=self._listen,
                **(self._variant.get("federation") or {}),
            )
        )
        # Who comes back elsewhere is another cluster, so the port stays; but others take ports of
        # the common address.
        self._listen = (self._host, 0 if self._host == "127.0.0.1" else self.simulator.port)

    def _make_foreign(self) -> None:
        mine = {"virt": "ovirt", "ovirt-uuid": self._foreign_id, "ovirt-loc": OTHERS_LOCATION}
        for name, tags in ((OTHERS_VOLUME, {"virt": "cs"}), (f"ovirt--{self._foreign_id}", mine)):
            self._api(
                "VolumeCreate", {"name": name, "size": 1 << 30, "template": TEMPLATE, "tags": tags}
            )
            self._api("VolumesReassignWait", {"reassign": [{"volume": name, "rw": [3]}]})
        self.simulator.calls.clear()

    def _client(self, settings: config.Api, deadline: Deadline) -> api.Client:
        return api.Client(settings, deadline, sleep=self.clock.sleep, jitter=lambda: 0.5)

    def _side(
        self, client_id: int, data: Mapping[str, str]
    ) -> tuple[api.Client, attachments.HostSide, attachments.Target]:
        deadline = Deadline(45, self.clock)
        host = config.host(self.root(client_id))
        kind = "volume" if data["access_mode"] == "rw" else "snapshot"
        target = attachments.Target(data["global_id"], names.object_name(data["volume"]), kind)
        side = attachments.HostSide(
            host.client_id, self.root(client_id), deadline, self._log, self.clock.sleep
        )
        return self._client(host.api, deadline), side, target

    @contextlib.contextmanager
    def troubled(self, fault: Fault | None) -> Iterator[None]:
        """Have a fault wait for the calls inside; none is left afterwards."""
        if fault is not None and fault.kind == "refuse":
            self.simulator.faults.add("refuse", seconds=600)
        elif fault is not None and fault.kind != "death":
            self.simulator.faults.add(fault.kind, query=fault.query, times=fault.times)
        try:
            yield
        except Death:
            self._close_locks()
            raise
        finally:
            self.simulator.faults.clear()

    def _close_locks(self) -> None:
        """Close the lock files that were open when a process died, as its kernel does."""
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208  the listing's own descriptor is gone after it
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
                if path.startswith(str(self.folder)) and path.endswith(".lock"):
                    os.close(int(descriptor))

    def ask(self, query: str, body: object = None) -> Any:
        """Look at the cluster, or change something in it by hand; a tag that is not named stays."""
        kind, is_update, address = query.partition("Update/")
        if is_update and isinstance(body, dict) and "tags" in body:
            [there] = self._api(f"{kind}/{address}")
            body = {**body, "tags": {**there["tags"], **body["tags"]}}
        return self._api(query, body)

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run one statement as Engine's role."""
        cursor = self._base.cursor()
        cursor.execute(statement, arguments or None)
        return cursor.fetchall() if cursor.description else []

    def _api(self, query: str, body: object = None) -> Any:
        return near.ask(self.simulator, query, body)


def _entry(raw: Mapping[str, Any]) -> str:
    return trash_names.entry_of(raw["name"]) or ""


def _thing(raw: Mapping[str, Any]) -> Thing:
    kind = "snapshot" if "onVolume" in raw else "volume"
    return Thing(kind, raw["globalId"], raw["size"], raw["tags"])


def _asks_for_force(body: object) -> bool:
    if isinstance(body, dict):
        return any(
            (key == "force" and value) or value == "detachForce" or _asks_for_force(value)
            for key, value in body.items()
        )
    return isinstance(body, list) and any(map(_asks_for_force, body))
