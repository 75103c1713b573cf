"""The driver's groups: snapshots of one moment, and groups made from them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from cinder import exception
from cinder.volume import group_types

from cinder_driver import session
from rigs import driver_rig
from rigs.core_fixtures import GIB, Core
from rigs.driver_rig import Backend, snapshot, volume
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

CONSISTENT, PLAIN = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for Cinder's database, which has the group types."""

    def spec(group_type_id: str, key: str = "") -> str | bool:
        is_asked = key == "consistent_group_snapshot_enabled"
        return "<is> True" if is_asked and group_type_id == CONSISTENT else False

    monkeypatch.setattr(group_types, "get_group_type_specs", spec)


def group(type_id: str = CONSISTENT) -> dict[str, Any]:
    """Make a group, or a group snapshot: both have an id and a type."""
    return {"id": str(uuid.uuid4()), "group_type_id": type_id}


@pytest.fixture
def members(backend: Backend) -> list[Any]:
    """Give three volumes that exist."""
    made = [volume() for _ in range(3)]
    for each in made:
        backend.driver.create_volume(each)
    backend.queries()
    return made


def names(snapshots: list[Any]) -> set[str]:
    """Return the names of snapshots in StorPool."""
    return {f"os--snap--none--snapshot-{each.id}" for each in snapshots}


def test_a_group_snapshot_is_one_moment(backend: Backend, members: list[Any]) -> None:
    """T21, T47: one VolumesGroupSnapshot for all members, with Cinder's names."""
    snapshots = [snapshot(each) for each in members]
    update, updates = backend.driver.create_group_snapshot(None, group(), snapshots)
    assert update == {"status": "available"}
    assert updates == [{"id": each.id, "status": "available"} for each in snapshots]
    assert [each for each in backend.queries() if each != "Volume"] == [
        "KV/Set",
        "VolumesGroupSnapshot",
    ]
    assert names(snapshots) < set(backend.there())


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"]
)
def test_a_lost_answer_makes_one_set(backend: Backend, members: list[Any], kind: str) -> None:
    """T21, T87: after a failure of the moment there is one snapshot of each."""
    snapshots = [snapshot(each) for each in members]
    backend.fault(kind, "VolumesGroupSnapshot")
    backend.driver.create_group_snapshot(None, group(), snapshots)
    backend.driver.create_group_snapshot(None, group(), snapshots)
    assert set(backend.there()) - {f"os--volume-{each.id}" for each in members} == names(snapshots)


def test_a_member_that_is_missing_stops_all(backend: Backend, members: list[Any]) -> None:
    """T21: it fails whole when one cannot take part, or when a name is another volume's
    snapshot."""
    before = set(backend.there())
    snapshots = [snapshot(each) for each in members]
    with pytest.raises(exception.VolumeNotFound):
        backend.driver.create_group_snapshot(None, group(), [*snapshots, snapshot(volume())])
    assert set(backend.there()) == before
    taken = f"os--snap--none--snapshot-{snapshots[2].id}"
    other = volumes.create(backend.core.client(), Plan(Owner("other"), GIB))
    volumes.snapshot(backend.core.client(), other, Plan(Owner(taken)))
    with pytest.raises(exception.VolumeBackendAPIException):
        backend.driver.create_group_snapshot(None, group(), snapshots)
    assert set(backend.there()) == before | {"other", taken}


def test_a_group_from_a_group_snapshot(backend: Backend, members: list[Any]) -> None:
    """[interface] Each new volume has the data of its snapshot; the snapshots stay."""
    snapshots = [snapshot(each) for each in members]
    backend.driver.create_group_snapshot(None, group(), snapshots)
    made = [volume(snapshot_id=each.id) for each in reversed(snapshots)]
    assert backend.driver.create_group_from_src(None, group(), made, group(), snapshots) == (
        None,
        None,
    )
    there = backend.there()
    for each in made:
        source = there[f"os--snap--none--snapshot-{each.snapshot_id}"]
        assert there[f"os--volume-{each.id}"].tags["cinder-source"] == source.global_id
    assert names(snapshots) < set(there)


def test_a_group_from_a_group_is_one_moment_and_leaves_no_snapshot(
    backend: Backend, members: list[Any]
) -> None:
    """[interface] All sources as of one moment; what that took is gone."""
    made = [volume(source_volid=each.id) for each in members]
    backend.driver.create_group_from_src(
        None, group(), made, source_group=group(), source_vols=members
    )
    assert backend.queries().count("VolumesGroupSnapshot") == 1
    assert set(backend.there()) == {f"os--volume-{each.id}" for each in [*members, *made]}


@pytest.mark.parametrize("query", ["VolumesGroupSnapshot", "VolumeCreate"])
def test_a_group_that_cannot_be_made_leaves_nothing(
    backend: Backend, members: list[Any], query: str
) -> None:
    """T59: after a failure in the middle no volume and no snapshot of it is left."""
    backend.core.simulator.switches.set({"space_limit": "stored"})
    before = set(backend.there())
    made = [
        volume(source_volid=each.id, size=1 if each is not members[2] else 300) for each in members
    ]
    if query != "VolumeCreate":
        backend.fault("error_200", query, times=3)
    with pytest.raises(exception.VolumeBackendAPIException):
        backend.driver.create_group_from_src(
            None, group(), made, source_group=group(), source_vols=members
        )
    assert set(backend.there()) == before


def test_deleting_a_group_reports_each_member(backend: Backend, members: list[Any]) -> None:
    """[interface] An open volume is error_deleting and stays; the others are gone."""
    backend.attach(members[1], 1, is_open=True)
    update, updates = backend.driver.delete_group(None, group(), members)
    assert update == {"status": "error_deleting"}
    assert [each["status"] for each in updates] == ["deleted", "error_deleting", "deleted"]
    assert list(backend.there()) == [f"os--volume-{members[1].id}"]


def test_deleting_a_group_snapshot(backend: Backend, members: list[Any]) -> None:
    """T18: all of them go; again is a success."""
    snapshots = [snapshot(each) for each in members]
    backend.driver.create_group_snapshot(None, group(), snapshots)
    for _ in range(2):
        update, updates = backend.driver.delete_group_snapshot(None, group(), snapshots)
        assert update == {"status": "deleted"}
        assert {each["status"] for each in updates} == {"deleted"}
    assert set(backend.there()) == {f"os--volume-{each.id}" for each in members}


def test_other_groups_are_left_to_cinder(backend: Backend, members: list[Any]) -> None:
    """[interface] NotImplementedError makes Cinder do a group without consistent snapshots one
    volume at a time."""
    plain = group(PLAIN)
    for call in (
        lambda: backend.driver.create_group(None, plain),
        lambda: backend.driver.update_group(None, plain, [], []),
        lambda: backend.driver.delete_group(None, plain, members),
        lambda: backend.driver.create_group_snapshot(None, plain, []),
        lambda: backend.driver.delete_group_snapshot(None, plain, []),
        lambda: backend.driver.create_group_from_src(None, plain, [], plain, []),
    ):
        with pytest.raises(NotImplementedError):
            call()
    assert backend.queries() == ()


def test_groups_themselves_are_nothing_in_storpool(backend: Backend, members: list[Any]) -> None:
    """[interface] Beginning and changing a group is Cinder's own affair; an empty group snapshot is
    made at once."""
    assert backend.driver.create_group(None, group()) == {"status": "available"}
    assert backend.driver.update_group(None, group(), members, []) == (None, None, None)
    assert backend.driver.create_group_snapshot(None, group(), []) == ({"status": "available"}, [])
    assert backend.queries() == ()


def test_a_moment_that_an_earlier_try_left_is_not_this_one(
    backend: Backend, members: list[Any]
) -> None:
    """4.1 D8: a snapshot of the right name and the right volume, but older: an error, never old
    data as a new copy."""
    made = [volume(source_volid=each.id) for each in members]
    left = f"os--clone--none--snapshot-{made[0].id}"
    volumes.snapshot(backend.core.client(), backend.stored(members[0]).global_id, Plan(Owner(left)))
    before = set(backend.there())
    with pytest.raises(exception.VolumeBackendAPIException):
        backend.driver.create_group_from_src(
            None, group(), made, source_group=group(), source_vols=members
        )
    assert set(backend.there()) == before


@pytest.mark.parametrize("kind", ["reset_after", "bad_gateway"])
@pytest.mark.parametrize("query", ["VolumesGroupSnapshot", "VolumeCreate"])
def test_what_was_made_although_its_answer_was_lost_goes_too(
    backend: Backend, members: list[Any], query: str, kind: str
) -> None:
    """T59: every answer of a call is lost, and so is that to the look: what it made is found at the
    end, and gone."""
    before = set(backend.there())
    made = [volume(source_volid=each.id) for each in members]
    backend.driver.limits = backend.driver.limits._replace(retry_seconds=0.5)
    backend.fault(kind, query, times=10)
    backend.fault("error_200", "Snapshot" if query == "VolumesGroupSnapshot" else "Volume", times=1)
    with pytest.raises(exception.CinderException):
        backend.driver.create_group_from_src(
            None, group(), made, source_group=group(), source_vols=members
        )
    backend.core.simulator.faults.clear()
    assert set(backend.there()) <= before


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, KeyError])
def test_whatever_ends_a_group_undoes_it(
    backend: Backend,
    members: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    failure: type[BaseException],
) -> None:
    """Also what no sentence of ours is made for, like the end of the thread: the volumes that were
    made are gone."""
    before = set(backend.there())
    made = [volume(source_volid=each.id) for each in members]
    create = session.Session.create

    def third_time(self: Any, of: Any, **more: Any) -> str:
        if of is made[2]:
            raise failure
        return create(self, of, **more)

    monkeypatch.setattr(session.Session, "create", third_time)
    with pytest.raises(failure):
        backend.driver.create_group_from_src(
            None, group(), made, source_group=group(), source_vols=members
        )
    assert set(backend.there()) == before


def test_an_undo_has_time_when_the_operations_is_up(
    core: Core, backend: Backend, members: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """T59: the limit ends in the middle of the group: what was made is taken back all the same."""
    before = set(backend.there())
    with driver_rig.backend(core, storpool_deadline=2.0) as hasty:
        made = [volume(source_volid=each.id) for each in members]
        create = session.Session.create

        def slow(self: Any, of: Any, **more: Any) -> str:
            if of is made[2]:
                core.simulator.faults.add("hang", query="VolumeCreate", seconds=3)
            return create(self, of, **more)

        monkeypatch.setattr(session.Session, "create", slow)
        with pytest.raises(exception.VolumeBackendAPIException):
            hasty.driver.create_group_from_src(
                None, group(), made, source_group=group(), source_vols=members
            )
    assert set(backend.there()) == before
