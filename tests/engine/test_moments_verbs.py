"""The adapter's create_snapshot for a VM with several disks: what each verb costs, by its log."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from moment_ground import VM, facts

from rigs.shared_stage import post, volumes
from storpool_ovirt import names

if TYPE_CHECKING:
    from ovirt_demo.engine import Engine
    from rigs.stage_fixtures import Stage

DISKS = 4


@pytest.fixture
def disks(shared: Stage) -> list[str]:
    """Give a VM on host 1 with some disks."""
    made = sorted(str(uuid.uuid4()) for _ in range(DISKS))
    for disk in made:
        shared.engine.run("create_volume", disk, "1").require()
        shared.engine.run("connect_volume", disk, "{}").require()
        name = f"ovirt--{disk}"
        tags = {**volumes(shared.simulator)[disk]["tags"], names.TAG_VM: VM}
        post(shared.simulator, f"VolumeUpdate/{name}", {"tags": tags})
        attach = {"reassign": [{"volume": name, "rw": [1]}]}
        post(shared.simulator, "VolumesReassignWait", attach)
    # The first barrier of a cluster makes its bucket
    shared.engine.run("extend_volume", made[0], "2").require()
    return made


def cost(engine: Engine, correlation_id: str) -> list[tuple[int, int]]:
    """Return calls of the API and statements of the verbs of an id, as the log tells them."""
    lines = (engine.log_folder / "managedblock" / "storpool-adapter.log").read_text().splitlines()
    done = [facts(line) for line in lines if f" {correlation_id} verb_done " in line]
    return [(int(each["api"]), int(each["sql"])) for each in done]


def test_only_the_first_verb_asks_storpool(shared: Stage, disks: list[str]) -> None:
    """The calls of the first are those of one snapshot, a list and a look at each other disk; those
    of the others are none (T78)."""
    key = str(uuid.uuid4())
    made = [shared.engine.run("create_snapshot", disk, correlation_id=key).guid() for disk in disks]
    assert len(set(made)) == DISKS
    first, *others = cost(shared.engine, key)
    assert first[0] == 3 + 1 + (DISKS - 1)
    assert others == [(0, 3)] * (DISKS - 1)
    key = str(uuid.uuid4())
    shared.engine.run("create_snapshot", disks[0], correlation_id=key).require()
    assert cost(shared.engine, key) == [(3 + 1 + (DISKS - 1), 9)]
