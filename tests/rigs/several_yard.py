"""Two clusters with one name space, and an Engine with its mapping: what verbs and the
administrator's commands work with, in this process."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rigs import disk_rig, two_clusters
from rigs.clock import Clock
from rigs.disk_model import GIB
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import config, names
from storpool_ovirt.admin import audit, listing, rebuild, reconcile, survey
from storpool_ovirt.cluster import api, attachments
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, disks, journal, mapping, records, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

LIMIT_SECONDS = 90


@dataclass
class SeveralYard:
    """An Engine whose domain is pinned to the first cluster and has, unless a test says otherwise,
    sp_multicluster."""

    pair: Pair
    address: database_url.Database
    multicluster: bool = True
    pinned: str | None = ONE
    clock: Clock = field(default_factory=Clock)
    options: dict[str, Any] = field(default_factory=dict)  # of the domain (`config.Domain`)

    @contextlib.contextmanager
    def work(self, verb: str = "-", pinned: str | None = None) -> Iterator[tree.Work]:
        """Give what a verb, or a command, works with."""
        core = self.pair.one
        settings: config.Api = core.settings(
            multicluster=self.multicluster, cluster_id=pinned or self.pinned
        )
        deadline = Deadline(LIMIT_SECONDS, self.clock)
        caller = journal.Caller("several", verb)
        domain = config.Domain(settings, "nvme", LIMIT_SECONDS, **self.options)
        with mapping.opened(self.address, deadline, caller) as opened:
            client = api.Client(settings, deadline, sleep=self.clock.sleep, jitter=lambda: 0.5)
            root = str(core.folder)
            yield tree.Work(domain, client, opened, core.log, root, self.clock.sleep)

    def verb(self, name: str, *arguments: Any, **where: Any) -> Any:
        """Run a verb of `disks`; `pinned`: of the domain that is pinned to that cluster."""
        with self.work(name, **where) as engine:
            answer = getattr(disks, name)(engine, *arguments)
            engine.mapping.journal.delivered()
            return answer

    def report(self) -> audit.Report:
        """Audit."""
        with self.work("audit") as work:
            return audit.report(survey.look(work), 0)

    def found(self) -> list[tuple[str, str]]:
        """Return kind and id of each finding."""
        return [(each.kind, each.uuid) for each in self.report().findings]

    def reconcile(self) -> list[str]:
        """Mend what the audit is sure of; return what was done."""
        steps = reconcile.plan(self.report())
        with self.work("reconcile") as work:
            return [reconcile.carry_out(work, each.action, 0) for each in steps if each.action]

    def remove(self, target: str) -> str:
        """Remove what an administrator names."""
        with self.work("reconcile") as work:
            return reconcile.remove(work, target, 0)

    def rebuild(self, location: str) -> int:
        """Make the mapping again; return how many rows were written."""
        with self.work("rebuild") as work:
            return rebuild.carry_out(work, rebuild.plan(survey.look(work), location))

    def attachments(self) -> listing.Listing:
        """List who has what."""
        with self.work("attachments") as work:
            rows = {each.uuid: each for each in records.all(work.mapping)}
            known = listing.MappingSide(rows, {}, "here", work.mapping.location)
            return listing.look(work.client, known, work.root)

    def rows(self) -> dict[str, mapping.Node]:
        """Return the mapping."""
        with self.work() as work:
            return {each.node.uuid: each.node for each in records.all(work.mapping)}

    def target(self, uuid: str) -> attachments.Target:
        """Return how hosts know a disk."""
        return attachments.Target(str(self.rows()[uuid].global_id), names.object_name(uuid))

    def attach(self, uuid: str, cluster_id: str, client_id: int) -> None:
        """Attach on a host of a cluster, as its helper does."""
        core = self.pair.one if cluster_id == ONE else self.pair.two
        host = core.host(client_id)
        attachments.attach(self.pair.client(cluster_id), host, self.target(uuid), "rw")

    def move(self, uuid: str, to: str) -> None:
        """Have another cluster own a disk; who has it attached keeps it."""
        core, name = (self.pair.one, "two") if to == TWO else (self.pair.two, "one")
        body = {"cluster": name, "onAttached": "export"}
        core.post(f"VolumeMoveToRemote/{names.object_name(uuid)}", body)


@contextlib.contextmanager
def opened(database: Database, folder: Path, **switches: str) -> Iterator[SeveralYard]:
    """Two fresh clusters and empty tables."""
    address = database_url.parse(database.url)
    with two_clusters.opened(folder, **switches) as pair:
        yard = SeveralYard(pair, address)
        with yard.work() as work:
            work.mapping.session.rows("SELECT 1")
        database.connect().cursor().execute(disk_rig.EMPTIED)
        yield yard


__all__ = ["GIB", "ONE", "TWO"]
