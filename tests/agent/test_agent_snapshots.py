"""Which snapshot each disk stands on: read from StorPool, where nothing is written."""

from __future__ import annotations

import uuid

import pytest

from rigs import host_files
from rigs.core_fixtures import GIB, TOKEN, Core
from storpool_ovirt import errors, names
from storpool_ovirt.agent import snapshots
from storpool_ovirt.cluster import plans, volumes

READS = {"Volume", "Snapshot", "VolumesList", "SnapshotsList"}
MARK = "0123456789abcdef"


def root(core: Core, token: str = TOKEN, port: int | None = None) -> str:
    """Write the settings of the first host, and return its folder."""
    simulator = core.simulator
    return host_files.conf(
        core.folder / "host1",
        f"SP_OURID=1\nSP_AUTH_TOKEN={token}\nSP_API_HTTP_HOST={simulator.host}\n"
        f"SP_API_HTTP_PORT={port or simulator.port}\n",
    )


def plan(**more: object) -> plans.Plan:
    """Return the plan of an object of ours."""
    made = str(uuid.uuid4())
    owner = plans.Owner(names.object_name(made), names.tags(made, "engine-1", made))
    return plans.Plan(owner, **more)  # type: ignore[arg-type]


def disks(core: Core, count: int) -> list[str]:
    """Make disks, and return their global ids."""
    return [volumes.create(core.client(), plan(size_bytes=GIB)) for _ in range(count)]


def group(core: Core, made: list[str]) -> list[str]:
    """Take them at one moment, and return the snapshots' global ids."""
    moment = plans.Policy({names.TAG_MOMENT: MARK})
    members = [(each, plan(policy=moment)) for each in made]
    return volumes.group_snapshot(core.client(), members)


@pytest.mark.parametrize("count", [1, 8, 9, 32])
def test_a_group_is_seen_on_each_disk(core: Core, count: int) -> None:
    """One by one, or by two lists where there are many; with nothing but reading calls."""
    where = root(core)
    made = disks(core, count)
    taken = group(core, made)
    core.queries()
    found = snapshots.newest([[each] for each in made], where)
    queries = core.queries()
    assert [each and each.global_id for each in found] == taken
    assert {each and each.moment for each in found} == {MARK}
    assert len({each and each.created_at for each in found}) <= 2
    assert {each.partition("/")[0] for each in queries} <= READS
    assert len(queries) == (2 * count if count <= snapshots.ONE_BY_ONE_MAX else 2)


def test_what_is_not_there(core: Core) -> None:
    """A disk without a snapshot, and one whose snapshot was deleted."""
    where = root(core)
    made = disks(core, 2)
    [taken] = group(core, made[:1])
    volumes.delete_snapshot(core.client(), taken)
    assert snapshots.newest([[each] for each in made], where) == [None, None]


def test_others_snapshots_are_passed(core: Core) -> None:
    """VolumeCare's newer snapshot hides ours no more than it is ours."""
    where = root(core)
    made = disks(core, 1)
    taken = group(core, made)
    for _ in range(2):
        core.post(f"VolumeSnapshot/~{made[0]}", {})
    [found] = snapshots.newest([made], where)
    assert found is not None
    assert found.global_id == taken[0]
    other = disks(core, 1)
    core.post(f"VolumeSnapshot/~{other[0]}", {})
    assert snapshots.newest([other], where) == [None]


def test_a_device_with_two_ids(core: Core) -> None:
    """After a revert a device has its old link too: the volume is found by either."""
    where = root(core)
    made = disks(core, 1)
    taken = group(core, made)
    [found] = snapshots.newest([["a.b.zzz", made[0]]], where)
    assert found is not None
    assert found.global_id == taken[0]
    with pytest.raises(errors.NotFound):
        snapshots.newest([["a.b.zzz"]], where)


def test_storpool_cannot_be_asked(core: Core) -> None:
    """A wrong token, an API that is away, settings that are missing: an error, within seconds."""
    made = disks(core, 1)
    core.simulator.calls.clear()
    where = root(core, token="1" * 10)
    with pytest.raises(errors.Rejected):
        snapshots.newest([made], where)
    with pytest.raises(errors.ConfigError):
        snapshots.newest([made], str(core.folder / "nowhere"))
