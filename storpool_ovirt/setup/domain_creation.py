"""A storage domain is added to Engine, attached to a data center, and waited for.

Each step is one question to Engine's API, and may be the last one that this process does: whoever
runs it again goes on from what is there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.engine import engine_tables
from storpool_ovirt.engine.engine_tables import DataCenter, Tables
from storpool_ovirt.log import Log
from storpool_ovirt.setup import domain, engine_api
from storpool_ovirt.setup.domain_options import Wanted
from storpool_ovirt.setup.domain_texts import Place

# From Engine's answer to an attach, after which the domain is active at once, to what its API says.
ACTIVE_SECONDS = 60.0
POLL_SECONDS = 1.0
_IDLE = ("maintenance", "inactive")  # what stays as it is until somebody activates it


@dataclass(frozen=True)
class Maker:
    """Who adds domains: with which log-in, by which tables, until when.

    `say` is told each step, `log` has each change.
    """

    login: engine_api.Login
    tables: Tables
    deadline: Deadline
    say: Callable[[str], None]
    log: Log

    def make(self, wanted: Wanted, at: Place, there: domain.Standing | None) -> bool:
        """Add a domain, unless it is `there`, and attach it to the data center that is named,
        unless it is; return whether anything was changed.

        What was done is in the error of what was not.
        """
        for host in self.tables.hosts:
            if host.name == at.host:
                engine_api.check(self.login, host.id, self.deadline)
                break
        self.say(f"logged in to Engine at {self.login.url}")
        domain_id = there.domain.id if there is not None else self._added(wanted, at.host)
        if not at.data_center:
            return there is None
        center = domain.named_center(self.tables, at.data_center)
        try:
            changed = self._in_data_center(domain_id, center, there)
        except errors.Error as error:
            if there is not None:
                raise
            raise errors.Conflict(
                f"storage domain {wanted.name}",
                f"was added, but is not active in data center {center.name}",
                f"{error}; then run this again, it goes on from there",
            ) from error
        return changed or there is None

    def _added(self, wanted: Wanted, host: str) -> str:
        self.say(f"Engine runs storage_stats and adds {wanted.name} ...")
        try:
            domain_id = engine_api.add(self.login, wanted, host, self.deadline)
        except (errors.EngineUnavailable, errors.DeadlineExceeded) as error:
            raise errors.EngineUnavailable(
                self.login.url,
                f"{wanted.name} may have been added: {error}",
                "run this again, it goes on with what is there",
            ) from error
        self.log.line("domain_added", name=wanted.name, id=domain_id)
        self.say(f"{wanted.name} is added")
        return domain_id

    def _in_data_center(
        self, domain_id: str, center: DataCenter, there: domain.Standing | None
    ) -> bool:
        """Have a domain active in a data center; return whether it was not."""
        attachments = there.domain.attachments if there is not None else []
        now = next((each for each in attachments if each.data_center_id == center.id), None)
        if now is not None and now.status == engine_tables.ACTIVE:
            return False
        if now is None:
            self.say(f"attaching it to data center {center.name} ...")
            engine_api.attach(self.login, domain_id, center.id, self.deadline)
            self.log.line("domain_attached", id=domain_id, data_center=center.name)
        self._wait(domain_id, center)
        self.say(f"it is active in data center {center.name}")
        return True

    def _wait(self, domain_id: str, center: DataCenter) -> None:
        """Wait until a domain is active; activate it where it waits for somebody to do so."""
        limit = self.deadline.within(ACTIVE_SECONDS)
        status, asked = "", False
        for _ in polls(limit, time.sleep, POLL_SECONDS):
            before, status = status, engine_api.status(self.login, domain_id, center.id, limit)
            if status == engine_api.ACTIVE:
                return
            if status != before:
                self.say(f"it is {status} there ...")
            if status in _IDLE and not asked:
                engine_api.activate(self.login, domain_id, center.id, limit)
                self.log.line("domain_activated", id=domain_id, data_center=center.name)
                asked = True
        raise errors.DeadlineExceeded(
            f"the storage domain to be active in data center {center.name} (it is {status})",
            limit.seconds,
        )
