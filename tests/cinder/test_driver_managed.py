"""The driver and what exists already: taken into Cinder's care under Cinder's name, and left
again."""

from __future__ import annotations

from typing import Any

import pytest
from cinder import exception

from rigs.core_fixtures import GIB
from rigs.driver_rig import Backend, Database, snapshot, volume, volume_type
from storpool_ovirt import names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan, Policy

REFERENCE = {"source-name": "old"}
ALL = {"marker": None, "limit": 100, "offset": 0, "sort_keys": ["size"], "sort_dirs": ["asc"]}


pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def old(backend: Backend) -> str:
    """Give a volume that somebody made by hand; return its global id."""
    made = volumes.create(
        backend.core.client(),
        Plan(Owner("old", {"owner": "me"}), GIB + 512, Policy(template="nvme")),
    )
    backend.queries()
    return made


@pytest.mark.parametrize("by", ["source-name", "source-id", "source-id with ~"])
def test_a_volume_is_taken_over(backend: Backend, old: str, by: str) -> None:
    """[interface] Name, whole GiB and QoS class in one request; its global id and other tags
    stay."""
    reference = {
        by.partition(" ")[0]: "old" if by == "source-name" else ("~" if "~" in by else "") + old
    }
    made = volume(size=2, volume_type=volume_type(qos_class="gold"))
    assert backend.driver.manage_existing_get_size(made, reference) == 2
    backend.queries()
    assert backend.driver.manage_existing(made, reference) is None
    assert [each for each in backend.queries() if each != "KV/Set"] == [
        "Volume",
        "AttachmentsList",
        "Volume",
        "VolumeUpdate",
    ]
    there = backend.stored(made)
    assert (there.global_id, there.size_bytes, there.tags) == (
        old,
        2 * GIB,
        {"owner": "me", "qc": "gold"},
    )
    backend.driver.delete_volume(made)
    assert backend.there() == {}


@pytest.mark.parametrize(
    "reference",
    [
        {"source-name": "missing"},
        {"source-id": "x.y.z"},
        {"source-id": "?"},
        {},
        {"source-name": "a/b"},
        "a text",
        None,
        ["old"],
        {"source-name": 7},
        {"source-name": ["old"]},
        {"source-id": 7},
        {"source-name": ""},
        {"source-name": "old\0"},
        {"source-name": "x" * 5000},
        {"source-name": "d\u00edsk"},
        {"source-id": "~"},
    ],
)
def test_a_reference_that_names_nothing_is_told(backend: Backend, reference: Any) -> None:
    """[interface] ManageExistingInvalidReference, with the reason."""
    with pytest.raises(exception.ManageExistingInvalidReference):
        backend.driver.manage_existing_get_size(volume(), reference)
    with pytest.raises(exception.ManageExistingInvalidReference):
        backend.driver.manage_existing_snapshot_get_size(snapshot(volume()), reference)


def test_what_others_own_or_use_is_left_alone(
    backend: Backend, database: Database, old: str
) -> None:
    """Not what another platform made, not what a host has, not what Cinder has already."""
    uuid = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
    volumes.create(
        backend.core.client(), Plan(Owner("ovirts", names.tags(uuid, "0123abcd", uuid)), GIB)
    )
    mine = volume()
    backend.driver.create_volume(mine)
    database.volume(mine.id)
    backend.core.client().reassign([{"volume": "old", "rw": [1]}], 5, "old")
    others = f"blue--volume-{uuid}"
    volumes.create(backend.core.client(), Plan(Owner(others), GIB))
    before = backend.there()
    refused = {
        "ovirts": "belongs to ovirt",
        "old": "attached",
        f"os--volume-{mine.id}": "already",
        others: "prefix blue",
    }
    for name, told in refused.items():
        with pytest.raises(exception.ManageExistingInvalidReference, match=told):
            backend.driver.manage_existing(volume(), {"source-name": name})
    assert backend.there() == before


def test_a_type_that_does_not_fit_is_told(backend: Backend, old: str) -> None:
    """[interface] ManageExistingVolumeTypeMismatch when the type asks for another template."""
    with pytest.raises(exception.ManageExistingVolumeTypeMismatch, match="template nvme"):
        backend.driver.manage_existing(volume(volume_type=volume_type(template="hdd")), REFERENCE)
    backend.driver.manage_existing(volume(volume_type=volume_type(template="nvme")), REFERENCE)


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"]
)
def test_a_failure_of_the_moment_is_survived(backend: Backend, old: str, kind: str) -> None:
    """T87: a rename that took effect although its answer was lost is found as done."""
    made = volume()
    backend.fault(kind, "VolumeUpdate")
    backend.driver.manage_existing(made, REFERENCE)
    assert backend.stored(made).global_id == old


def test_unmanaged_is_as_before_and_can_be_managed_again(backend: Backend) -> None:
    """[interface] unmanage deletes nothing; the same volume may come back under another id."""
    first, second = volume(), volume()
    backend.driver.create_volume(first)
    frozen = snapshot(first)
    backend.driver.create_snapshot(frozen)
    before = backend.there()
    backend.driver.unmanage_snapshot(frozen)
    backend.driver.unmanage(first)
    assert backend.there() == before
    backend.driver.manage_existing(second, {"source-name": f"os--volume-{first.id}"})
    assert backend.stored(second)


def test_a_snapshot_is_taken_over_by_its_own_volume(backend: Backend) -> None:
    """[interface] The snapshot forms: Cinder's name, and only a snapshot of that volume."""
    made, other = volume(), volume()
    for each in (made, other):
        backend.driver.create_volume(each)
    by_hand = volumes.snapshot(
        backend.core.client(), backend.stored(made).global_id, Plan(Owner("by-hand"))
    )
    with pytest.raises(exception.ManageExistingInvalidReference, match="a snapshot of"):
        backend.driver.manage_existing_snapshot(snapshot(other), {"source-name": "by-hand"})
    mine = snapshot(made)
    assert backend.driver.manage_existing_snapshot_get_size(mine, {"source-name": "by-hand"}) == 1
    backend.driver.manage_existing_snapshot(mine, {"source-name": "by-hand"})
    assert backend.there()[f"os--snap--none--snapshot-{mine.id}"].global_id == by_hand


def test_what_cinder_has_elsewhere_is_not_taken_away(backend: Backend, database: Database) -> None:
    """A volume of another backend of this cluster, also one with the name of its copy (`_name_id`),
    and a snapshot."""
    mine, migrated = volume(), volume(_name_id="6c2ff4b0-7a8d-4a4e-8d1c-1f2c3d4e5f60")
    frozen = snapshot(mine)
    for each in (mine, migrated):
        backend.driver.create_volume(each)
        database.volume(each.id, each._name_id)
    backend.driver.create_snapshot(frozen)
    database.snapshot(frozen.id, mine.id)
    before = backend.there()
    for each in (mine, migrated):
        with pytest.raises(exception.ManageExistingInvalidReference, match=f"already as {each.id}"):
            backend.driver.manage_existing(volume(), {"source-name": f"os--volume-{each.name_id}"})
    for of in (mine, migrated):
        with pytest.raises(
            exception.ManageExistingInvalidReference, match=f"already as {frozen.id}"
        ):
            reference = {"source-name": f"os--snap--none--snapshot-{frozen.id}"}
            backend.driver.manage_existing_snapshot(snapshot(of), reference)
    assert backend.there() == before
    assert listed(backend.driver.get_manageable_volumes([], **ALL)) == {
        f"os--volume-{each.name_id}": (False, "already managed", each.id)
        for each in (mine, migrated)
    }
    name = f"os--snap--none--snapshot-{frozen.id}"
    assert listed(backend.driver.get_manageable_snapshots([], **ALL)) == {
        name: (False, "already managed", frozen.id)
    }


def listed(found: list[dict[str, Any]]) -> dict[str, tuple[bool, str | None, str | None]]:
    """Return what was listed, by name: safe to manage, why not, Cinder's id."""
    return {
        each["reference"]["source-name"]: (
            each["safe_to_manage"],
            each["reason_not_safe"],
            each["cinder_id"],
        )
        for each in found
    }


def test_what_could_be_managed_is_listed_with_reasons(backend: Backend, old: str) -> None:
    """[interface] get_manageable_volumes and _snapshots: everything of the cluster, sorted and
    paged as asked."""
    mine, migrated = volume(), volume(_name_id="6c2ff4b0-7a8d-4a4e-8d1c-1f2c3d4e5f60")
    for each in (mine, migrated):
        backend.driver.create_volume(each)
    backend.attach(mine, 1)
    uuid = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
    volumes.create(
        backend.core.client(), Plan(Owner("ovirts", names.tags(uuid, "0123abcd", uuid)), 5 * GIB)
    )
    volumes.create(backend.core.client(), Plan(Owner("child"), 2 * GIB, base_on=old))
    found = backend.driver.get_manageable_volumes([mine, migrated], **ALL)
    assert listed(found) == {
        "old": (True, None, None),
        "child": (True, None, None),
        f"os--volume-{mine.id}": (False, "already managed", mine.id),
        f"os--volume-{migrated.name_id}": (False, "already managed", migrated.id),
    }
    assert [each["size"] for each in found] == [1, 1, 2, 2]
    assert (
        backend.driver.get_manageable_volumes([mine], **{**ALL, "limit": 1, "offset": 3})
        == found[3:]
    )


def test_snapshots_that_could_be_managed_are_listed(backend: Backend, old: str) -> None:
    """[interface] With the volume that each is of; what StorPool is about to drop is not listed."""
    mine = volume()
    backend.driver.create_volume(mine)
    frozen = snapshot(mine)
    backend.driver.create_snapshot(frozen)
    volumes.snapshot(backend.core.client(), old, Plan(Owner("by-hand")))
    gone = volumes.snapshot(backend.core.client(), old, Plan(Owner("gone")))
    volumes.delete_snapshot(backend.core.client(), gone)
    volumes.create(backend.core.client(), Plan(Owner("child"), 2 * GIB, base_on=old))
    found = backend.driver.get_manageable_snapshots([frozen], **ALL)
    assert listed(found) == {
        "by-hand": (True, None, None),
        f"os--snap--none--snapshot-{frozen.id}": (False, "already managed", frozen.id),
    }
    sources = {each["reference"]["source-name"]: each["source_reference"] for each in found}
    assert sources["by-hand"] == {"source-name": "old"}
