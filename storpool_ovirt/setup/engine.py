"""The steps on Engine's machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_ovirt import errors, installation, names, sentences
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import client_file, conf, dispatcher, diversion, engine_tables
from storpool_ovirt.log import Log
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup import engine_config, locks, services, timers
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import (
    DONE,
    NEEDS_YOU,
    NOT_NEEDED,
    WOULD_CHANGE,
    WOULD_UNDO,
    Found,
    Restart,
    Row,
    Step,
    Told,
)
from storpool_ovirt.setup.things import File, Folder, Shipped
from storpool_ovirt.setup.token import TokenFile
from storpool_ovirt.setup.trusted import Trusted

UNIT = "ovirt-engine.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/50-storpool-ovirt.conf"
PACKAGES_DROP_IN = f"/usr/lib/systemd/system/{UNIT}.d/50-storpool-ovirt.conf"
ADAPTER = "/usr/share/ovirt-engine/managedblock/storpool-adapter"
LOGS = "/var/log/ovirt-engine/managedblock"
DATABASE, LISTS, PROPERTIES = "database", "fence-agent", "vm-properties"


class Wishes(NamedTuple):
    """What a person says about an Engine's machine; of a timer: on or off, None is as it is."""

    token: Secret | None = None
    fence_agent: bool = True
    policy_timer: bool | None = None
    backup_timer: bool | None = None
    vm_properties: bool = True


def steps(site: Site, wishes: Wishes) -> list[Step]:
    """Return the plan of Engine's machine."""
    found: list[Step] = [
        Folder(site, ("log-folder", "the folder of the adapter's log"), LOGS, site.user, 0o700),
        Link(
            site,
            ("adapter", "the program that Engine runs for each verb"),
            ADAPTER,
            site.program("storpool-adapter"),
        ),
    ]
    if not site.is_packaged:
        found += _by_pip(site)
    return [
        *found,
        Dispatcher(site),
        File(
            site,
            ("drop-in", "the dispatcher, before each start of Engine"),
            Shipped(
                DROP_IN,
                "ovirt-engine.service.d/50-storpool-ovirt.conf",
                reader=services.Systemd(site.root, UNIT),
                packages_path=PACKAGES_DROP_IN,
            ),
        ),
        File(
            site,
            ("logrotate", "the rotation of the logs"),
            Shipped("/etc/logrotate.d/storpool-ovirt-engine", "logrotate.d/storpool-ovirt-engine"),
        ),
        TokenFile(site, wishes.token),
        engine_config.Entries(
            (LISTS, "the fence agent among Engine's"),
            engine_config.FENCE_AGENT,
            site.record,
            wanted=wishes.fence_agent,
        ),
        *timers.steps(site, timers.POLICY, wishes.policy_timer),
        *timers.steps(site, timers.BACKUP, wishes.backup_timer),
        engine_config.Entries(
            (PROPERTIES, "the properties by which a VM says its QoS class and its policy"),
            engine_config.VM_POLICY,
            site.record,
            wanted=wishes.vm_properties,
        ),
        ManagedDatabase(site),
    ]


def restarts(site: Site, rows: Sequence[Row]) -> list[Restart]:
    """Return what somebody has to restart, after a plan was done or taken back, or would be."""
    changes = {row.id: row.found.state for row in rows}
    doing = ("changed", "would change", "undone", "would undo")
    changed = any(changes.get(each) in doing for each in (LISTS, PROPERTIES))
    at = site.record.configured_at
    if not changed and not (at and 0 < services.started_at(site.root, UNIT) < at):
        return []
    return [
        Restart(
            "ovirt-engine",
            "keys of engine-config are read when it starts",
            "VMs go on; do it while no task runs in Engine: systemctl restart ovirt-engine",
        )
    ]


def _by_pip(site: Site) -> list[Step]:
    return [
        Trusted(site),
        Link(
            site,
            ("command", "the command storpool-ovirt"),
            "/usr/local/sbin/storpool-ovirt",
            site.program("storpool-ovirt"),
        ),
        Link(
            site,
            ("divert", "the program that keeps the dispatcher in its place"),
            f"{installation.PACKAGES_PROGRAMS}/{diversion.PROGRAM}",
            site.program(diversion.PROGRAM),
        ),
    ]


class Dispatcher:
    """The dispatcher in the place of a released Engine's client; `storpool-engine-divert` says what
    is there (docs/releases.md has its words)."""

    id = "dispatcher"
    title = "the dispatcher, which an Engine up to 4.5.7 needs"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._own = site.program(dispatcher.PROGRAM)
        self._diversion = diversion.Diversion(site.root, self._own, Log(diversion.PROGRAM, None))

    def look(self) -> Found:
        """As Step has it."""
        code, said = self._diversion.status()
        word = said.partition(":")[0]
        if code == 0 and word == "not needed":
            return Found(NOT_NEEDED, said)
        if code == 0 and (word == "on" and "of another installation" not in said):
            return Found(DONE, said)
        if word == "foreign":
            return Found(NEEDS_YOU, said, "move it away if nobody needs it, then run this again")
        return Found(WOULD_CHANGE, said)

    def do(self) -> None:
        """As Step has it."""
        self._diversion.on()

    def look_back(self) -> Found:
        """As Step has it."""
        _, said = self._diversion.status()
        if self._site.is_packaged or self._site.has_packages:
            return Found(NOT_NEEDED, f"{said}; it is our packages', and goes with them")
        if client_file.Place(self._site.root).is_left():
            return Found(WOULD_UNDO, f"{said}; a run that died has left a name beside it")
        if f"leads to {self._own}" in said and "of another installation" not in said:
            return Found(WOULD_UNDO, said)
        return Found(NOT_NEEDED, said)

    def undo(self) -> None:
        """As Step has it."""
        self._diversion.off()


class ManagedDatabase(Told):
    """The database of managed block storage: engine-setup makes it, and nobody else."""

    id = DATABASE
    title = "Engine's managed block database"

    def __init__(self, site: Site) -> None:
        self._site = site

    def look(self) -> Found:
        """As Step has it."""
        root = self._site.root
        if conf.is_enabled(root):
            where = conf.database(root)
            return Found(DONE, f"it is set up: {where}")
        word = "CL" if conf.is_released(root) else "MB"
        kind = "Cinderlib" if conf.is_released(root) else "managed block storage"
        return Found(
            NEEDS_YOU,
            "it is not set up, and without it Engine refuses each action on managed block storage",
            f"run  engine-setup --reconfigure-optional-components  and say Yes to {kind}; in an"
            f" answer file  OVESETUP_{word}_DB/enable=bool:True",
        )

    def look_back(self) -> Found:
        """As Step has it."""
        return Found(NOT_NEEDED, "it is Engine's, and stays")


def check_undo(site: Site) -> None:
    """Raise one of our errors while Engine has domains that it gives to our adapter, or nobody
    knows. An Engine that engine-setup has not made yet has none."""
    root = site.root
    if f"{conf.OWN_PREFIX}HOST" not in conf.values(root):
        return
    try:
        tables = engine_tables.of_this_machine(Deadline(engine_tables.READ_SECONDS), root)
    except (errors.Error, ImportError) as error:
        raise errors.ConfigError(
            "whether Engine has domains of StorPool's",
            f"cannot be seen ({error})",
            "correct that, then run this again (where Engine is gone for good, move"
            f" {root}{conf.FOLDER}/10-setup-database.conf away first)",
        ) from error
    ours = tables.ours
    if ours:
        raise errors.Conflict(
            f"{sentences.counted(len(ours), 'domain')} of Engine's",
            f"{'is' if len(ours) == 1 else 'are'} served by us, the first is"
            f" {names.shown(ours[0].name)}",
            "remove what is ours in Engine first (Storage, Domains)",
        )


def tidy(site: Site) -> None:
    """Take away what programs left that run no more: the lock of storpool-engine-divert."""
    if not site.is_packaged and not site.has_packages:
        locks.tidied(f"{site.root}{diversion.LOCK_FOLDER}/engine-divert.lock")
