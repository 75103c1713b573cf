"""A yard with Engine's own database beside it: VMs with custom properties, and disks that they have
plugged in."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

from rigs import engine_database
from rigs.yard import Yard
from storpool_ovirt.admin import (
    audit,
    policy_changes,
    policy_explain,
    policy_findings,
    policy_sync,
    policy_targets,
    survey,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase
    from storpool_ovirt.admin.findings import Finding

VM, OTHER_VM = (f"{letter}0000000-0000-4000-8000-0000000000aa" for letter in "ab")
# Engine's tables, as far as they are read here (ovirt-engine, create_tables.sql).
_TABLES = """
CREATE TABLE base_disks (
    disk_id uuid PRIMARY KEY, disk_alias varchar(255), shareable boolean NOT NULL DEFAULT false
);
CREATE TABLE vm_static (
    vm_guid uuid PRIMARY KEY, vm_name varchar(255) NOT NULL,
    entity_type varchar(32) NOT NULL DEFAULT 'VM', userdefined_properties varchar(4000)
);
CREATE TABLE vm_device (
    device_id uuid, vm_id uuid, is_plugged boolean, snapshot_id uuid,
    PRIMARY KEY (device_id, vm_id)
);
CREATE TABLE vm_dynamic (vm_guid uuid PRIMARY KEY, status integer NOT NULL, run_on_vds uuid);
"""
DOWN, UP, SUSPENDED = 0, 1, 13  # VMStatus


@contextlib.contextmanager
def engine_of(yard: Yard, database: Database) -> Iterator[EngineDatabase]:
    """Give a yard Engine's database, with no VM and no disk in it."""
    with engine_at(yard.folder, database) as engine:
        yield engine


@contextlib.contextmanager
def engine_at(folder: Path, database: Database) -> Iterator[EngineDatabase]:
    """Give the same to a machine whose `/` this folder stands for."""
    fresh = database.fresh(f"engine_{uuid.uuid4().hex[:8]}")
    engine = engine_database.EngineDatabase(fresh, "4.5.7")
    engine.execute(_TABLES)
    engine.write_conf(folder)
    yield engine
    fresh.drop()


def has_disk(
    engine: EngineDatabase, disk: str, alias: str = "", *, shareable: bool = False
) -> None:
    """Have Engine know a disk."""
    engine.execute("INSERT INTO base_disks VALUES (%s, %s, %s)", disk, alias, shareable)


def has_vm(engine: EngineDatabase, vm: str, name: str, *disks: str, properties: str = "") -> None:
    """Have Engine know a VM with these disks plugged in, which is down."""
    engine.execute("INSERT INTO vm_static VALUES (%s, %s, 'VM', %s)", vm, name, properties)
    engine.execute("INSERT INTO vm_dynamic VALUES (%s, %s)", vm, DOWN)
    for disk in disks:
        engine.execute("INSERT INTO vm_device VALUES (%s, %s, true, NULL)", disk, vm)


def set_status(engine: EngineDatabase, vm: str, status: int) -> None:
    """Have a VM of this status."""
    engine.execute("UPDATE vm_dynamic SET status = %s WHERE vm_guid = %s", status, vm)


def set_properties(engine: EngineDatabase, vm: str, **properties: str) -> None:
    """Have a VM with these custom properties, as Engine stores them."""
    text = ";".join(f"{key}={value}" for key, value in properties.items())
    engine.execute("UPDATE vm_static SET userdefined_properties = %s WHERE vm_guid = %s", text, vm)


def unplug(engine: EngineDatabase, disk: str) -> None:
    """Have a disk that no VM has plugged in."""
    engine.execute("UPDATE vm_device SET is_plugged = false WHERE device_id = %s", disk)


def put(yard: Yard, target: str, **said: str | None) -> list[str]:
    """Set (or clear, None) a policy, as the command does."""
    with yard.administrator("policy-set") as work:
        return policy_changes.put(work, policy_targets.found(work, target), said)


def sync(yard: Yard, target: str | None = None) -> policy_sync.Plan:
    """Have all be what the levels say; return what differed."""
    with yard.administrator("policy-sync") as work:
        meant = None if target is None else policy_targets.found(work, target)
        plan = policy_sync.plan(work, meant)
        for group in plan.groups:
            policy_sync.mend(group, work)
    return plan


def explained(yard: Yard, target: str) -> dict[str, Any]:
    """Return what explain has for programs."""
    with yard.administrator("policy-explain") as work:
        return policy_explain.document(
            policy_explain.look(work, policy_targets.found(work, target))
        )


def told(yard: Yard, target: str) -> list[str]:
    """Return what explain has for people."""
    with yard.administrator("policy-explain") as work:
        return list(
            policy_explain.text(policy_explain.look(work, policy_targets.found(work, target)))
        )


def findings(yard: Yard) -> list[Finding]:
    """Return what an audit finds, with policies."""
    with yard.administrator("audit") as work:
        view = survey.look(work)
        return list(audit.report(view, 0.0, policy_findings.look(work, view)).findings)


def tags(yard: Yard, uuid_: str) -> dict[str, str]:
    """Return the tags of services that a volume has."""
    (view,) = yard.ask(f"Volume/{yard.address(uuid_)}")
    keys = ("cvm", "qc", "vc-policy", "virtp", "ovirt-pol")
    return {key: view["tags"][key] for key in keys if view["tags"].get(key)}


def tag(yard: Yard, uuid_: str, **changed: str) -> None:
    """Write tags by hand; `vc_policy` is vc-policy."""
    named = {key.replace("_", "-"): value for key, value in changed.items()}
    (view,) = yard.ask(f"Volume/{yard.address(uuid_)}")
    yard.ask(f"VolumeUpdate/{yard.address(uuid_)}", {"tags": {**view["tags"], **named}})
