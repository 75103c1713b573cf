"""A disk that comes to a VM which runs, of which an administrator has said something: the programs
that Engine and Vdsm start, and Engine's own database."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from ovirt_demo import hooks
from rigs import policy_yard
from rigs.shared_stage import new_id, sql, volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase
    from rigs.hook_stage import Starts


@pytest.fixture
def engine(
    starts: Starts, database_server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineDatabase]:
    """Give the adapter's machine Engine's own database."""
    monkeypatch.setitem(starts.stage.engine.environment, "STORPOOL_OVIRT_ROOT", str(tmp_path))
    with policy_yard.engine_at(tmp_path, database_server) as made:
        yield made


def test_a_disk_that_is_plugged_in_has_what_was_said_of_its_vm(
    starts: Starts, engine: EngineDatabase, tmp_path: Path
) -> None:
    """It names its VM after the plug, and nothing of it after the unplug. Where Engine's database
    is silent it is plugged in all the same, soon."""
    vm, [disk, other] = new_id(), starts.disks(2)
    policy_yard.has_vm(engine, vm, "web01")
    policy_yard.set_status(engine, vm, policy_yard.UP)
    for each in (disk, other):
        policy_yard.has_disk(engine, each.id)
        engine.execute("INSERT INTO vm_device VALUES (%s, %s, false, NULL)", each.id, vm)
    said = f"('vm', '{vm}', 'gold', 'daily')"
    sql(starts.stage.database, f"INSERT INTO storpool_ovirt.policy VALUES {said}")

    def policy(uuid: str) -> dict[str, str]:
        tags = volumes(starts.stage.simulator)[uuid]["tags"]
        return {key: tags[key] for key in ("cvm", "qc", "vc-policy") if tags.get(key)}

    [device] = starts.attach(1, disk)
    starts.hooks[1].before_disk_hotplug(hooks.plug_xml(device), vm)
    assert policy(disk.id) == {"cvm": vm, "qc": "gold", "vc-policy": "daily"}
    starts.hooks[1].after_disk_hotunplug(hooks.plug_xml(device), vm)
    assert policy(disk.id) == {}

    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine.write_conf(tmp_path, PORT=str(silent.getsockname()[1]))
        began = time.monotonic()
        [device] = starts.attach(1, other)
        assert time.monotonic() - began < 10
    starts.hooks[1].before_disk_hotplug(hooks.plug_xml(device), vm)
    assert policy(other.id) == {"cvm": vm}
