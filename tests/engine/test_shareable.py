"""shareable.py: connect_volume follows what Engine's own database says, and goes on where that says
nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import flows
from rigs.engine_database import EngineDatabase
from rigs.shared_stage import post, volumes
from rigs.stage_fixtures import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from ovirt_demo.flows import Disk

MARK = "ovirt-share"
# What counts here of oVirt's dbscripts/create_tables.sql.
TABLE = (
    "CREATE TABLE base_disks (disk_id uuid PRIMARY KEY, disk_alias text, shareable boolean DEFAULT"
    " false)"
)


@dataclasses.dataclass
class Engine:
    """The stage, and Engine's own database beside the mapping."""

    stage: Stage
    own: Database

    def disk(self, *, shareable: bool | None) -> Disk:
        """Make a disk that Engine has as shareable or not; None: its table does not have it."""
        disk = flows.create_disk(self.stage.domain, 1)
        if shareable is not None:
            self.sql("INSERT INTO base_disks VALUES (%s, 'a disk', %s)", disk.id, shareable)
        return disk

    def sql(self, statement: str, *arguments: object) -> None:
        """Run a statement in Engine's own database."""
        connection = self.own.connect()
        try:
            connection.cursor().execute(statement, arguments)
        finally:
            connection.close()

    def told(self, **keys: str) -> None:
        """Write what engine-setup writes."""
        EngineDatabase(self.own, "4.5.7").write_conf(self.stage.folder / "root", **keys)

    def connect(self, disk: Disk, *hosts: int) -> None:
        """Have a disk described for these hosts, one after the other, as Engine does before each
        attach."""
        for host in hosts:
            flows.run_vm(self.stage.domain, self.stage.hosts[host], dataclasses.replace(disk))

    def is_marked(self, disk: Disk) -> bool:
        """Tell whether the volume carries the mark."""
        tags: dict[str, Any] = volumes(self.stage.simulator)[disk.id]["tags"]
        assert tags["ovirt-uuid"] == disk.id
        return bool(tags.get(MARK))

    def mark(self, disk: Disk) -> None:
        """Write the mark by hand."""
        there = volumes(self.stage.simulator)[disk.id]
        post(
            self.stage.simulator,
            f"VolumeUpdate/~{there['globalId']}",
            {"tags": {**there["tags"], MARK: "1"}},
        )

    def log(self) -> str:
        """Return the adapter's log."""
        return (self.stage.engine.log_folder / "managedblock/storpool-adapter.log").read_text()


@pytest.fixture
def engine(stage: Stage, database_server: Database) -> Iterator[Engine]:
    """Give an Engine whose own database has the table, and is told where engine-setup tells it."""
    own = database_server.fresh(f"engine_{stage.folder.name}".lower()[:60])
    stage.engine.environment["STORPOOL_OVIRT_ROOT"] = str(stage.folder / "root")
    made = Engine(stage, own)
    made.sql(TABLE)
    made.told()
    yield made
    own.drop()


def test_a_shareable_disk_is_marked_when_a_second_host_asks(engine: Engine) -> None:
    """T81: its first VM got it by a plug, so no start told of it; Engine's database does, before
    the second plug."""
    disk = engine.disk(shareable=True)
    engine.connect(disk, 1)
    assert not engine.is_marked(disk)
    engine.connect(disk, 2)
    assert engine.is_marked(disk)


@pytest.mark.parametrize("shareable", [False, None])
def test_what_engine_does_not_call_shareable_is_not_marked(
    engine: Engine, shareable: bool | None
) -> None:
    """T44: nothing is guessed."""
    disk = engine.disk(shareable=shareable)
    engine.connect(disk, 1, 2)
    assert not engine.is_marked(disk)


def test_a_mark_that_is_old_goes(engine: Engine) -> None:
    """T44: an administrator has made it an ordinary disk since: the mark goes before it is attached
    anywhere."""
    disk = engine.disk(shareable=False)
    engine.connect(disk, 1)
    engine.mark(disk)
    engine.connect(disk, 2)
    assert not engine.is_marked(disk)


def test_a_mark_that_cannot_be_taken_away_refuses_the_attach(engine: Engine) -> None:
    """T44: a plug would leave a disk that is one VM's to two."""
    disk = engine.disk(shareable=False)
    engine.connect(disk, 1)
    engine.mark(disk)
    engine.stage.simulator.inject("error_200", query="VolumeUpdate", name="invalidParam")
    with pytest.raises(Exception, match="volumeUpdate"):
        engine.connect(disk, 2)


def test_a_disk_that_nobody_else_has_asks_engine_nothing(engine: Engine) -> None:
    """D12: a start where the disk was before costs no look at Engine's database."""
    disk = engine.disk(shareable=True)
    engine.own.drop()
    engine.connect(disk, 1)
    engine.stage.host1.detach_volume(engine.stage.domain.id, disk.id)
    engine.connect(disk, 1)
    assert "shareable_unknown" not in engine.log()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Give the port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "how", ["no settings", "no table", "no database", "wrong password", "nobody", "silent", "bad"]
)
def test_what_cannot_be_read_leaves_the_mark(engine: Engine, how: str) -> None:
    """Whatever is wrong with Engine's database: one line in the log, within a second or two, and
    the verb goes on."""
    disk = engine.disk(shareable=False)
    engine.connect(disk, 1)
    engine.mark(disk)
    with contextlib.ExitStack() as stack:
        if how == "no settings":
            (
                engine.stage.folder / "root/etc/ovirt-engine/engine.conf.d/10-setup-database.conf"
            ).unlink()
        elif how == "no table":
            engine.sql("DROP TABLE base_disks")
        elif how == "no database":
            engine.told(DATABASE="none")
        elif how == "wrong password":
            engine.told(USER="nobody", PASSWORD="wrong-password")
        elif how == "nobody":
            engine.told(PORT="1")
        elif how == "silent":
            engine.told(PORT=str(stack.enter_context(silent())))
        else:
            engine.told(PORT="many")
        began = time.monotonic()
        engine.connect(disk, 2)
        took = time.monotonic() - began
    assert engine.is_marked(disk)
    [line] = [line for line in engine.log().splitlines() if "shareable_unknown" in line]
    assert disk.id in line
    assert "wrong-password" not in engine.log()
    assert took < 10


def test_engines_database_is_only_read(engine: Engine) -> None:
    """The question runs in a transaction that can write nothing there."""
    engine.sql(
        "CREATE FUNCTION spoil() RETURNS boolean LANGUAGE plpgsql AS"
        " 'BEGIN CREATE TABLE spoilt (); RETURN true; END'"
    )
    engine.sql("ALTER TABLE base_disks RENAME TO old")
    engine.sql("CREATE VIEW base_disks AS SELECT disk_id, spoil() AS shareable FROM old")
    disk = flows.create_disk(engine.stage.domain, 1)
    engine.sql("INSERT INTO old VALUES (%s)", disk.id)
    engine.connect(disk, 1, 2)
    assert "read-only transaction" in engine.log()
    assert not engine.is_marked(disk)


@pytest.mark.parametrize("host", [1, 2])
def test_a_mark_that_an_instance_behind_does_not_show_goes_too(engine: Engine, host: int) -> None:
    """T44: the answer is from before the mark, on whichever host the disk is plugged next."""
    disk = engine.disk(shareable=False)
    engine.connect(disk, 1)
    engine.stage.host1.detach_volume(engine.stage.domain.id, disk.id)
    engine.mark(disk)
    engine.stage.simulator.inject("old", query="Volume", changes=1)
    engine.connect(disk, host)
    assert not engine.is_marked(disk)


def test_a_volume_that_was_handed_over_gets_no_mark(engine: Engine) -> None:
    """T76: the answer is from before it became another platform's, and old tags would take it
    back."""
    disk = engine.disk(shareable=True)
    engine.connect(disk, 1)
    there = volumes(engine.stage.simulator)[disk.id]
    handed = {"virt": "cs", "ovirt-uuid": "", "ovirt-loc": ""}
    post(engine.stage.simulator, f"VolumeUpdate/~{there['globalId']}", {"tags": handed})
    engine.stage.simulator.inject("old", query="Volume", changes=1)
    with pytest.raises(Exception, match="another platform"):
        engine.connect(disk, 2)
    [now] = engine.stage.simulator.api(f"Volume/~{there['globalId']}")
    assert now["tags"] == {"virt": "cs"}
