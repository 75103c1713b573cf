"""actions.py: by the id that Engine gives its action the verbs of one are told from those of
another, whatever correlation id a client gives (`sp_snapshot_key=engine`)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import moment_ground
import pytest
import vm_ground
from moment_ground import KEY, VM, X, Y, Z, all_moments, log, marks, plug, reserved

from rigs import engine_database
from rigs.disk_rig import Fault
from rigs.engine_database import EngineDatabase
from storpool_ovirt import errors, option_values
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.yard import Yard

# What counts here of oVirt's dbscripts/create_tables.sql.
TABLE = """
    CREATE TABLE IF NOT EXISTS snapshots (
        snapshot_id uuid PRIMARY KEY, vm_id uuid NOT NULL, snapshot_type varchar(32) NOT NULL
    )
"""
FIRST, SECOND, THIRD = (f"{letter}0000000-0000-4000-8000-0000000000ee" for letter in "123")


@pytest.fixture
def vm(yard: Yard, module_database: Database) -> Iterator[Yard]:
    """Give a VM with three disks, and Engine's own database beside the mapping."""
    EngineDatabase(module_database, "4.5.7").write_conf(yard.folder)
    yard.sql(TABLE)
    plug(yard, X, Y, Z)
    yield yard
    yard.sql("DROP TABLE IF EXISTS snapshots")


def begin(yard: Yard, action: str) -> None:
    """Begin an action as Engine does: the VM's active row gets a new id."""
    yard.sql("DELETE FROM snapshots WHERE vm_id = %s", VM)
    yard.sql("INSERT INTO snapshots VALUES (%s, %s, 'ACTIVE')", action, VM)
    yard.sql("INSERT INTO snapshots VALUES (gen_random_uuid(), %s, 'REGULAR')", VM)


def snapshot(yard: Yard, disk: str, key: str = "backup", fault: Fault | None = None) -> str:
    """Run Engine's verb for one disk with the option set."""
    with yard.troubled(fault), yard.engine("create_snapshot", disk, correlation_id=key) as work:
        domain = dataclasses.replace(work.domain, snapshot_key=option_values.ENGINE_KEY)
        answer = disks.snapshot(dataclasses.replace(work, domain=domain), disk)
        work.mapping.journal.delivered()
        return str(answer)


def test_a_constant_correlation_id_is_enough(vm: Yard) -> None:
    """Also one that is no UUID: the action's id tells what belongs together (T78)."""
    begin(vm, FIRST)
    first = [snapshot(vm, disk) for disk in (X, Y)]
    begin(vm, SECOND)
    second = [snapshot(vm, disk) for disk in (Z, Y, X)]
    assert len({*first, *second}) == 5
    assert [(each.action, each.volumes) for each in all_moments(vm)] == [
        (FIRST, (X, Y, Z)),
        (SECOND, (Z, Y, X)),
    ]
    assert reserved(vm) == set()


def test_an_action_may_take_its_time(vm: Yard) -> None:
    """Its id is certain: nothing has to be guessed from the time."""
    begin(vm, FIRST)
    snapshot(vm, X)
    vm.sql("UPDATE storpool_ovirt.moment SET made_at = made_at - interval '1 hour'")
    snapshot(vm, Y)
    assert len(all_moments(vm)) == 1


def test_a_failure_is_that_of_its_action(vm: Yard) -> None:
    """The next action is not refused, at once and with the same correlation id."""
    begin(vm, FIRST)
    with vm.trouble("part"), pytest.raises(errors.Error):
        snapshot(vm, X)
    with pytest.raises(errors.Conflict, match="has failed"):
        snapshot(vm, Y)
    begin(vm, SECOND)
    assert len({snapshot(vm, disk) for disk in (Z, X, Y)}) == 3


def test_a_disk_that_is_busy_fails_all(vm: Yard) -> None:
    """T78: its verb cannot even tell of which VM it is, and the others fail with it all the same;
    the next action is not refused."""
    begin(vm, FIRST)
    with vm.holder(X), pytest.raises(errors.Locked):
        snapshot(vm, X)
    for disk in (Y, Z):
        with pytest.raises(errors.Conflict, match="has failed"):
            snapshot(vm, disk)
    begin(vm, SECOND)
    assert len({snapshot(vm, disk) for disk in (Y, X, Z)}) == 3


def test_what_an_earlier_action_left_takes_no_failure_from_this_one(vm: Yard) -> None:
    """T78: a disk that was left out of the last snapshot is busy in this one: its others fail."""
    begin(vm, FIRST)
    for disk in (X, Y):
        snapshot(vm, disk)
    vm_ground.age(vm, 3000)
    begin(vm, SECOND)
    with vm.holder(Z), pytest.raises(errors.Locked):
        snapshot(vm, Z)
    for disk in (X, Y):
        with pytest.raises(errors.Conflict, match="has failed"):
            snapshot(vm, disk)


def test_a_slow_action_whose_disk_is_busy_fails(vm: Yard) -> None:
    """T78: however long ago its snapshots were made."""
    begin(vm, FIRST)
    snapshot(vm, X)
    vm_ground.age(vm, 3000)
    with vm.holder(Z), pytest.raises(errors.Locked):
        snapshot(vm, Z)
    with pytest.raises(errors.Conflict, match="has failed"):
        snapshot(vm, Y)


def test_a_key_that_comes_again_is_told_apart_without_the_option(vm: Yard) -> None:
    """T78: a client gives one UUID to all that it does, and leaves a disk out: what that has left
    is not given to the next action, which asks for this disk first."""
    for action, disks_of_it in ((FIRST, (X, Y, Z)), (SECOND, (X, Y)), (THIRD, (Z, X, Y))):
        begin(vm, action)
        made = [moment_ground.snapshot(vm, disk) for disk in disks_of_it]
        assert len(marks(vm, *made)) == 1, action
    assert [each.action for each in all_moments(vm)] == ["", SECOND, THIRD]


def test_a_failure_of_a_key_that_comes_again_is_that_of_its_action(vm: Yard) -> None:
    """T78: without the option too: the next action is not refused for a disk that was left out."""
    begin(vm, FIRST)
    for disk in (X, Y, Z):
        moment_ground.snapshot(vm, disk)
    begin(vm, SECOND)
    with vm.trouble("part"), pytest.raises(errors.Error):
        moment_ground.snapshot(vm, X)
    begin(vm, THIRD)
    assert len({moment_ground.snapshot(vm, disk) for disk in (Y, X, Z)}) == 3


@pytest.mark.parametrize("silent", ["no file", "no table", "no row"])
def test_without_engines_word_the_correlation_id_has_to_tell(vm: Yard, silent: str) -> None:
    """One line in the log tells why; nothing fails."""
    if silent == "no file":
        (vm.folder / "etc/ovirt-engine/engine.conf.d" / engine_database.CONF).unlink()
    elif silent == "no table":
        vm.sql("DROP TABLE snapshots")
    made = [snapshot(vm, disk, KEY) for disk in (X, Y)]
    assert len(set(made)) == 2
    assert [each.action for each in all_moments(vm)] == [""]
    assert log(vm, "action_unknown")
    snapshot(vm, X, "backup")
    assert log(vm)[-1]["why"] == "the correlation id is no UUID"
