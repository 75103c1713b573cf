"""members.py: the disks of a VM on a host that is full of others, which are not looked at where
Engine's own database says whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moment_ground import OTHER_VM, VM, X, Y, Z, all_moments, calls, log, plug, snapshot

from rigs import engine_database
from rigs.engine_database import EngineDatabase
from storpool_ovirt.engine import ownership

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.yard import Yard

# What counts here of oVirt's dbscripts/create_tables.sql.
TABLE = "CREATE TABLE vm_device (device_id uuid NOT NULL, vm_id uuid NOT NULL)"
CROWD = [f"700000{number:02}-0000-4000-8000-0000000000dd" for number in range(ownership.LIST_FROM)]
FIRST, LAST = ["KV", "Volume", "AttachmentsList"], ["VolumesGroupSnapshot"]


@pytest.fixture
def host(yard: Yard, module_database: Database) -> Iterator[Yard]:
    """Give a VM with two disks on a host with many of another one, and Engine's own database, which
    has the disks of both."""
    EngineDatabase(module_database, "4.5.7").write_conf(yard.folder)
    yard.sql(TABLE)
    plug(yard, X, Y)
    plug(yard, *CROWD, vm=OTHER_VM)
    for vm, disks in ((VM, [X, Y]), (OTHER_VM, CROWD)):
        yard.sql("INSERT INTO vm_device SELECT unnest(%s::uuid[]), %s", disks, vm)
    yield yard
    yard.sql("DROP TABLE IF EXISTS vm_device")


def test_disks_of_other_vms_are_not_looked_at(host: Yard) -> None:
    """T78: the guest is frozen."""
    snapshot(host, X)
    assert calls(host) == [*FIRST, "Volume", *LAST]
    assert all_moments(host)[-1].volumes == (X, Y)


def test_a_disk_that_names_the_vm_and_is_not_its_by_engines_word_is_left(host: Yard) -> None:
    """T78: Engine detached it, and nobody unplugged it: it asks for no snapshot of it."""
    plug(host, Z)
    snapshot(host, X)
    assert all_moments(host)[-1].volumes == (X, Y)


def test_a_preview_is_its_disks(host: Yard) -> None:
    """T78: Engine has the id of the disk, whatever volume stands in its place."""
    had = host.verb("connection", Y)["data"]
    preview = host.verb("preview", host.verb("snapshot", Y))
    host.detach(1, had)
    host.attach(1, host.verb("connection", preview)["data"])
    snapshot(host, X)
    assert all_moments(host)[-1].volumes == (X, preview)


@pytest.mark.parametrize("silent", ["no file", "no table", "of another Engine"])
def test_without_engines_word_all_are_looked_at(host: Yard, silent: str) -> None:
    """T78: nothing is lost; a database without the disk that was asked for says nothing."""
    if silent == "no file":
        (host.folder / "etc/ovirt-engine/engine.conf.d" / engine_database.CONF).unlink()
    elif silent == "no table":
        host.sql("DROP TABLE vm_device")
    else:
        host.sql("DELETE FROM vm_device WHERE device_id = %s", X)
    snapshot(host, X)
    assert calls(host) == [*FIRST, *["Volume"] * (1 + len(CROWD)), *LAST]
    assert all_moments(host)[-1].volumes == (X, Y)
    assert len(log(host, "vm_disks_unknown")) == (silent != "of another Engine")
