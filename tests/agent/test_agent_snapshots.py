"""Which snapshot each disk stands on: read from StorPool, where nothing is written."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from agent_stage import Stage, until

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


def test_the_whole_service_writes_nothing(core: Core) -> None:
    """A guest of 12 disks is frozen, snapshotted and thawed (T78): StorPool saw reading calls
    alone."""
    host = Stage(Path(root(core)))
    made = disks(core, 12)
    for each in made:
        (host.root / f"dev/storpool-byid/{each}").touch()
    vm = host.vm(1, *(f"/dev/storpool-byid/{each}" for each in made))
    alone = host.vm(2, f"/dev/storpool-byid/{made[0]}")
    core.queries()
    with host.serving():
        until(lambda: vm.asked and alone.asked, "its guests to be asked")
        vm.frozen = True
        asked = vm.asked
        until(lambda: vm.asked > asked + 2, "it to be seen frozen")
        assert vm.frozen
        assert {each.partition("/")[0] for each in core.queries()} <= READS
        group(core, made)
        until(lambda: not vm.frozen, "the thaw")
        core.queries()  # with those of the group itself
        vm.frozen = True
        asked = vm.asked
        until(lambda: vm.asked > asked + 5, "it to be seen frozen again")
        assert vm.frozen, "the last snapshot does not count again"
    assert {each.partition("/")[0] for each in core.queries()} == {"VolumesList", "SnapshotsList"}
    [line] = host.lines("guest_thawed")
    assert "why=all_taken" in line
    assert f"moment={MARK}" in line


def test_a_new_token_needs_no_restart(core: Core) -> None:
    """A frozen guest waits while StorPool refuses, and is thawed when storpool.conf is right."""
    where = root(core, token="1" * 10)
    host = Stage(Path(where))
    [made] = disks(core, 1)
    (host.root / f"dev/storpool-byid/{made}").touch()
    vm = host.vm(1, f"/dev/storpool-byid/{made}")
    with host.serving():
        until(lambda: vm.asked, "its guest to be asked")
        vm.frozen = True
        until(lambda: host.lines("snapshots_unknown"), "StorPool's refusal")
        group(core, [made])
        conf = host.root / "etc/storpool.conf"
        conf.write_text(conf.read_text().replace("1" * 10, TOKEN))
        until(lambda: not vm.frozen, "the thaw")
    assert len(host.lines("snapshots_unknown")) == 1
