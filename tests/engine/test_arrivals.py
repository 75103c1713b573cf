"""arrivals.py: a disk that comes to a VM has what was said of that VM before its host has it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard
from rigs.disk_model import GIB
from rigs.policy_yard import OTHER_VM, UP, VM, findings, put, sync, tag, tags
from rigs.yard import CLONE, DISK, MANY_TIMES, OTHER, Yard
from storpool_ovirt import names
from storpool_ovirt.cluster import attachments, vm_tags
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import disks
from storpool_ovirt.host import domain_xml, plug, unplug, vm_policy
from storpool_ovirt.policy import properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase

HOST = {"host": "host1.example"}
DAILY = {"cvm": VM, "vc-policy": "daily", "virtp": "-v"}


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database with a VM that runs with one disk, of which an administrator has said
    `daily`, and two disks of none."""
    for disk in (DISK, OTHER, CLONE):
        yard.verb("create", disk, GIB)
    with policy_yard.engine_of(yard, database_server) as made:
        for disk, alias in ((DISK, "disk"), (OTHER, "other"), (CLONE, "clone")):
            policy_yard.has_disk(made, disk, alias)
        policy_yard.has_vm(made, VM, "web01", DISK)
        policy_yard.has_vm(made, OTHER_VM, "web02")
        for vm in (VM, OTHER_VM):
            policy_yard.set_status(made, vm, UP)
        tag(yard, DISK, cvm=VM)
        put(yard, VM, vc="daily")
        yield made


@pytest.fixture(autouse=True)
def _beside(engine: EngineDatabase) -> None:
    """Have Engine's database in each test."""


class Host:
    """Host 1: what Vdsm's hooks do there, with the disk as Engine has it attached."""

    def __init__(self, yard: Yard, disk: str = OTHER, vm: str = VM) -> None:
        self._yard, self._disk, self._vm = yard, disk, vm

    def connect(self) -> None:
        """Have the disk described and attached."""
        self._yard.attach(1, self._yard.verb("connect", self._disk, HOST)["data"])

    def plug(self, **said: str) -> None:
        """Run the hook's part of a plug, for a VM with these properties."""
        read = {
            field: properties.read(field, said[name])[0]
            for field, name in properties.NAME.items()
            if name in said
        }
        with self._yard.administrator() as work:
            wished = vm_policy.Wish(self._tag, read)
            plug.take(work.client, self._side, self._disks, "os", wished)

    def unplug(self) -> None:
        """Run the hook's part of an unplug."""
        with self._yard.administrator() as work:
            unplug.untag(work.client, self._side, self._disks, "os", self._tag)

    @property
    def _tag(self) -> vm_tags.Tag:
        return vm_tags.Tag("cvm", self._vm)

    @property
    def _side(self) -> attachments.HostSide:
        deadline = Deadline(30, self._yard.clock)
        root, log = self._yard.root(1), self._yard._log
        return attachments.HostSide(1, root, deadline, log, self._yard.clock.sleep)

    @property
    def _disks(self) -> list[tuple[str, domain_xml.Disk]]:
        global_id = self._yard.global_id(self._disk)
        return [(global_id, domain_xml.Disk(names.device_path(global_id), serial=self._disk))]


def has(engine: EngineDatabase, vm: str, disk: str = OTHER, *, is_plugged: bool = True) -> None:
    """Have Engine attach a disk to a VM: plugged in from the first, or once the plug is done."""
    engine.execute("INSERT INTO vm_device VALUES (%s, %s, %s, NULL)", disk, vm, is_plugged)


def log(yard: Yard) -> str:
    """Return the log of the verbs."""
    return (yard.folder / "verbs.log").read_text()


@pytest.mark.parametrize("is_plugged", [True, False])
def test_a_disk_that_is_plugged_in_has_what_was_said_of_its_vm(
    yard: Yard, engine: EngineDatabase, is_plugged: bool
) -> None:
    """VolumeCare ignores a VM with two policies. The hook keeps it beside the VM's property, which
    is weaker, the audit finds nothing, and an unplug gives back what the disk has of its own."""
    tag(yard, OTHER, vc_policy="weekly", qc="bronze")
    has(engine, VM, is_plugged=is_plugged)
    host = Host(yard)
    host.connect()
    assert tags(yard, OTHER) == {"qc": "bronze", "vc-policy": "daily", "virtp": "-vweekly"}
    host.plug(sp_vc_policy="hourly")
    engine.execute("UPDATE vm_device SET is_plugged = true")
    assert tags(yard, OTHER) == {**DAILY, "qc": "bronze", "virtp": "-vweekly"}
    assert findings(yard) == []
    assert sync(yard).groups == ()
    host.unplug()
    assert tags(yard, OTHER) == {"qc": "bronze", "vc-policy": "weekly"}


def test_what_a_plug_that_failed_has_left(yard: Yard, engine: EngineDatabase) -> None:
    """Engine forgets that the VM has the disk: the audit tells what it says of it, and a sync takes
    it off; or the plug into another VM does, of which nothing was said."""
    for mends in ("sync", "plug"):
        has(engine, VM)
        Host(yard).connect()
        engine.execute("DELETE FROM vm_device WHERE device_id = %s", OTHER)
        [found] = findings(yard)
        assert (found.kind, found.uuid) == ("policy drift", OTHER)
        if mends == "sync":
            sync(yard)
        else:
            has(engine, OTHER_VM)
            Host(yard).connect()
            yard.queries()
            Host(yard).connect()
            assert "POST VolumeUpdate" not in yard.queries()
        assert tags(yard, OTHER) == {}


def test_what_is_stronger_and_what_has_no_room(yard: Yard, engine: EngineDatabase) -> None:
    """What was said of the disk itself stays, the other field follows the VM. A preview has less
    room: what does not fit beside the VM's name, which the host writes after it, is left out, as
    with a start, and told."""
    put(yard, OTHER, vc="weekly")
    put(yard, VM, qos="gold")
    has(engine, VM)
    yard.verb("connect", OTHER, HOST)
    assert tags(yard, OTHER) == {"qc": "gold", "vc-policy": "weekly", "virtp": "va0."}
    put(yard, OTHER, vc=None)
    snapshot = yard.verb("snapshot", OTHER)
    preview = yard.verb("preview", snapshot)
    tag(yard, preview, qc="", vc_policy="", virtp="")
    yard.sql("UPDATE storpool_ovirt.policy SET vc = 'weekly-and-much-more' WHERE scope = 'vm'")
    yard.verb("connect", preview, HOST)
    assert tags(yard, preview).get("qc") == "gold"
    assert "vc-policy" not in tags(yard, preview)
    assert f"tags_left_out name=ovirt--{preview} tags=vc-policy" in log(yard)


def test_what_is_no_vms_alone_is_left(yard: Yard, engine: EngineDatabase) -> None:
    """A shareable disk, marked or not, one that a VM's snapshot shows, and that snapshot, one of a
    template, one that is not plugged into a VM that is down, one that Engine does not know."""
    snapshot = yard.verb("snapshot", OTHER)
    before = [*yard.ask("VolumesList"), *yard.ask("SnapshotsList")]
    ways = (
        ("UPDATE base_disks SET shareable = {}", "true", "false"),
        ("UPDATE vm_device SET snapshot_id = {}", f"'{CLONE}'", "NULL"),
        ("UPDATE vm_static SET entity_type = {}", "'TEMPLATE'", "'VM'"),
        ("UPDATE vm_device SET is_plugged = {}", "false", "true"),
        ("UPDATE base_disks SET disk_id = {} WHERE disk_alias = 'other'", f"'{VM}'", f"'{OTHER}'"),
    )
    has(engine, VM)
    policy_yard.set_status(engine, VM, policy_yard.DOWN)
    for statement, there, back in ways:
        engine.execute(statement.format(there))
        yard.verb("connect", OTHER, HOST)
        assert tags(yard, OTHER) == {}, statement
        engine.execute(statement.format(back))
    yard.verb("connect", snapshot, HOST)
    has(engine, OTHER_VM)
    yard.verb("connect", OTHER, HOST)
    assert [*yard.ask("VolumesList"), *yard.ask("SnapshotsList")] == before
    engine.execute("DELETE FROM vm_device WHERE vm_id = %s", OTHER_VM)
    tag(yard, OTHER, ovirt_share="1")
    yard.verb("connect", OTHER, HOST)
    assert tags(yard, OTHER) == {}
    tag(yard, OTHER, ovirt_share="")
    yard.verb("connect", OTHER, HOST)
    assert tags(yard, OTHER)["vc-policy"] == "daily"
    assert "vm_policy_not_written" not in log(yard)


def test_where_nothing_is_new_nothing_more_is_asked(yard: Yard, engine: EngineDatabase) -> None:
    """A start of a VM whose disks name it, and each verb where nothing was said of any VM: the same
    calls and statements, and Engine's database is not looked at."""
    has(engine, VM)

    def cost(disk: str) -> tuple[list[str], int]:
        yard.queries()
        with yard.engine("connect") as work:
            disks.connect(work, disk, HOST)
            return yard.queries(), work.mapping.session.statements

    for disk in (DISK, OTHER, CLONE):
        yard.verb("connect", disk, HOST)
    sync(yard)
    engine.execute("DROP TABLE base_disks")
    named = cost(DISK)
    assert named[1] == 2
    assert cost(OTHER) == named
    assert "vm_policy_not_written" not in log(yard)
    assert cost(CLONE) == named, "one question to Engine, which failed"
    assert log(yard).count("vm_policy_not_written") == 1
    put(yard, VM, vc=None)
    assert cost(CLONE) == named
    assert log(yard).count("vm_policy_not_written") == 1


def test_what_cannot_be_asked_or_written_keeps_no_disk_from_its_vm(
    yard: Yard, engine: EngineDatabase
) -> None:
    """One line of the log, the disk as it was, and the verb has its answer, soon; the next one
    makes up for it."""
    has(engine, VM)
    known = yard.folder / "etc/ovirt-engine/engine.conf.d/10-setup-database.conf"
    told = known.read_text()
    refused = {"query": "VolumeUpdate", "name": "invalidParam"}
    lost = {"query": "VolumeUpdate", "times": MANY_TIMES}
    troubles = {
        "nobody": lambda: contextlib.nullcontext(engine.write_conf(yard.folder, PORT="1")),
        "no settings": lambda: contextlib.nullcontext(known.unlink()),
        "slow": lambda: locked(engine),
        "refused": lambda: yard.trouble("error_200", **refused),
        "lost": lambda: yard.trouble("reset_before", **lost),
        "no table": lambda: contextlib.nullcontext(engine.execute("DROP TABLE vm_dynamic")),
    }
    for count, (name, trouble) in enumerate(troubles.items(), 1):
        with trouble():
            began = time.monotonic()
            yard.verb("connect", OTHER, HOST)
            took = time.monotonic() - began
        known.write_text(told)
        assert log(yard).count("vm_policy_not_written") == count, name
        assert tags(yard, OTHER) == {}, name
        assert took < 10, name
    engine.execute("CREATE TABLE vm_dynamic (vm_guid uuid, status integer)")
    yard.verb("connect", OTHER, HOST)
    assert tags(yard, OTHER)["vc-policy"] == "daily"


@contextlib.contextmanager
def locked(engine: EngineDatabase) -> Iterator[None]:
    """Have a table of Engine's in somebody's hands."""
    with contextlib.closing(engine.database.connect()) as connection:
        connection.cursor().execute("BEGIN; LOCK TABLE vm_device")
        yield


def test_who_is_faster_wins(yard: Yard, engine: EngineDatabase) -> None:
    """A volume that an instance behind shows without its VM names one by now: it is left alone."""
    has(engine, VM)
    yard.verb("connect", OTHER, HOST)
    sync(yard)
    tag(yard, OTHER, vc_policy="", virtp="")
    tag(yard, OTHER, cvm="")
    tag(yard, OTHER, cvm=OTHER_VM)
    with yard.trouble("old", query="Volume", changes=1):
        yard.verb("connect", OTHER, HOST)
    assert tags(yard, OTHER) == {"cvm": OTHER_VM}
