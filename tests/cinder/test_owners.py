"""Whose an object is: the driver changes nothing that was handed to another owner, oVirt's adapter
or other Cinders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cinder import exception

from rigs import driver_rig
from rigs.core_fixtures import GIB
from rigs.driver_rig import Backend, connector, snapshot, volume, volume_type
from storpool_ovirt import names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

UUID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
FOREIGN = {
    "proxmox": {"virt": "pve"},
    "ovirt": names.tags(UUID, "0123abcd", UUID),
    "ovirt, whose platform tag got lost": {"ovirt-uuid": UUID},
    "a platform with a long name": {"virt": "x" * 60},
}
HOST = "engine.example.com@storpool#template_hdd"


class Scene:
    """A volume and a snapshot of Cinder's, one of which somebody else has taken over meanwhile."""

    def __init__(self, backend: Backend) -> None:
        self.driver = backend.driver
        self.backend = backend
        self.volume, self.bystander = volume(), volume()
        self.snapshot = snapshot(self.volume)
        for each in (self.volume, self.bystander):
            self.driver.create_volume(each)
        self.driver.create_snapshot(self.snapshot)

    def names(self) -> tuple[str, str]:
        """Return the names of the volume and the snapshot."""
        return f"os--volume-{self.volume.id}", f"os--snap--none--snapshot-{self.snapshot.id}"

    def hand_over(self, kind: str, tags: dict[str, str]) -> None:
        """Give the volume or the snapshot the tags of another owner."""
        volume_name, snapshot_name = self.names()
        client = self.backend.core.client()
        if kind == "volume":
            client.volume_update(volume_name, {"tags": tags})
        else:
            client.snapshot_update(snapshot_name, {"tags": tags})

    def retype(self) -> Any:
        """Retype the volume to another template."""
        specs = {"storpool_template": ("nvme", "hdd")}
        difference = {"extra_specs": specs, "qos_specs": {}, "encryption": {}}
        return self.driver.retype(
            None, self.volume, volume_type(template="hdd"), difference, {"host": HOST}
        )

    def migrate(self) -> Any:
        """Move the volume to another pool."""
        return self.driver.migrate_volume(
            None, self.volume, {"host": HOST, "capabilities": self.driver.get_volume_stats()}
        )

    def group(self, call: str) -> Any:
        """Snapshot, or copy, the volume in a group with another one."""
        members = [self.bystander, self.volume]
        if call == "snapshot":
            return self.driver.create_group_snapshot(
                None, {"id": "g"}, [snapshot(each) for each in members]
            )
        made = [volume(source_volid=each.id) for each in members]
        return self.driver.create_group_from_src(
            None, {"id": "g"}, made, source_group={}, source_vols=members
        )


OF_A_VOLUME: dict[str, Callable[[Scene], Any]] = {
    "delete": lambda scene: scene.driver.delete_volume(scene.volume),
    "extend": lambda scene: scene.driver.extend_volume(scene.volume, 3),
    "snapshot": lambda scene: scene.driver.create_snapshot(snapshot(scene.volume)),
    "clone": lambda scene: scene.driver.create_cloned_volume(volume(), scene.volume),
    "revert": lambda scene: scene.driver.revert_to_snapshot(None, scene.volume, scene.snapshot),
    "describe": lambda scene: scene.driver.initialize_connection(scene.volume, connector(2)),
    "terminate": lambda scene: scene.driver.terminate_connection(scene.volume, connector(1)),
    "terminate everywhere": lambda scene: scene.driver.terminate_connection(
        scene.volume, None, force=True
    ),
    "retype": Scene.retype,
    "migrate": Scene.migrate,
    "finish a migration": lambda scene: scene.driver.update_migrated_volume(
        None, volume(), scene.volume, "available"
    ),
    "group snapshot": lambda scene: scene.group("snapshot"),
    "group from a group": lambda scene: scene.group("copy"),
    "take a snapshot": lambda scene: scene.driver.manage_existing_snapshot(
        snapshot(scene.volume), {"source-name": "by-hand"}
    ),
}
OF_A_SNAPSHOT: dict[str, Callable[[Scene], Any]] = {
    "delete": lambda scene: scene.driver.delete_snapshot(scene.snapshot),
    "volume from it": lambda scene: scene.driver.create_volume_from_snapshot(
        volume(), scene.snapshot
    ),
    "revert": lambda scene: scene.driver.revert_to_snapshot(None, scene.volume, scene.snapshot),
    "group from it": lambda scene: scene.driver.create_group_from_src(
        None, {"id": "g"}, [volume(snapshot_id=scene.snapshot.id)], {}, [scene.snapshot]
    ),
}


@pytest.fixture
def scene(
    backend: Backend, database: driver_rig.Database, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    """Give the scene; all groups are consistent, and Cinder's database knows nothing."""
    from cinder.volume import volume_utils

    monkeypatch.setattr(volume_utils, "is_group_a_cg_snapshot_type", lambda _group: True)
    return Scene(backend)


@pytest.mark.parametrize("tags", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("verb", OF_A_VOLUME)
def test_a_volume_that_was_handed_over_is_left_alone(
    scene: Scene, verb: str, tags: dict[str, str]
) -> None:
    """Whatever the verb: one sentence that says whose it is, and no object and no attachment has
    changed."""
    volumes.snapshot(
        scene.backend.core.client(),
        scene.backend.stored(scene.volume).global_id,
        Plan(Owner("by-hand")),
    )
    scene.backend.attach(scene.volume, 1)
    scene.hand_over("volume", tags)
    before, attached = scene.backend.there(), scene.backend.attached()
    with pytest.raises(
        exception.VolumeBackendAPIException, match=r"is not Cinder's: it belongs to"
    ) as caught:
        OF_A_VOLUME[verb](scene)
    assert str(caught.value).isprintable()
    assert (scene.backend.there(), scene.backend.attached()) == (before, attached)


@pytest.mark.parametrize("tags", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("verb", OF_A_SNAPSHOT)
def test_a_snapshot_that_was_handed_over_is_left_alone(
    scene: Scene, verb: str, tags: dict[str, str]
) -> None:
    """The same for snapshots, also where they are only read: a copy of another owner's data is his
    affair."""
    scene.hand_over("snapshot", tags)
    before = scene.backend.there()
    with pytest.raises(exception.VolumeBackendAPIException, match="is not Cinder's: it belongs to"):
        OF_A_SNAPSHOT[verb](scene)
    assert scene.backend.there() == before


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_what_was_renamed_too_is_gone_for_cinder(scene: Scene, kind: str) -> None:
    """Handed over with a name of the other's: a delete finds nothing of Cinder's, and deletes
    nothing."""
    client = scene.backend.core.client()
    volume_name, snapshot_name = scene.names()
    if kind == "volume":
        client.volume_update(volume_name, {"rename": "vm-7-disk-1", "tags": {"virt": "pve"}})
    else:
        client.snapshot_update(snapshot_name, {"rename": "vm-7-disk-1", "tags": {"virt": "pve"}})
    before = scene.backend.there()
    if kind == "volume":
        scene.driver.delete_volume(scene.volume)
    else:
        scene.driver.delete_snapshot(scene.snapshot)
    assert scene.backend.there() == before


def test_other_tags_are_nobodys_mark(scene: Scene) -> None:
    """Tags of administrators, StorPool's QoS class and the mark of a shared disk say nothing about
    the owner."""
    scene.hand_over("volume", {"owner": "me", "qc": "gold", "ovirt-share": "1", "vc-policy": "x"})
    scene.driver.extend_volume(scene.volume, 2)
    scene.driver.delete_volume(scene.volume)
    assert f"os--volume-{scene.volume.id}" not in scene.backend.there()


NOT_TAKEN = {
    "the adapter's, whose tags got lost": (f"ovirt--{UUID}", {}, "belongs to ovirt"),
    "the adapter's of another Engine": (
        f"ovirt--{UUID}",
        names.tags(UUID, "ffffffff", UUID),
        "belongs to ovirt",
    ),
    "the adapter's under another name": (
        "restored",
        names.tags(UUID, "0123abcd", UUID),
        "belongs to ovirt",
    ),
    "the adapter's, with one tag left": ("restored", {"ovirt-root": UUID}, "belongs to ovirt"),
    "another orchestrator's": ("vm-7-disk-1", {"virt": "pve"}, "belongs to pve"),
    "another OpenStack's": (f"blue--volume-{UUID}", {}, "prefix blue"),
    "a snapshot of another OpenStack's": (f"blue--snap--none--snapshot-{UUID}", {}, "prefix blue"),
}


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
@pytest.mark.parametrize(("name", "tags", "told"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_others_own_is_not_taken_into_cinders_care(
    scene: Scene, kind: str, name: str, tags: dict[str, str], told: str
) -> None:
    """manage_existing and manage_existing_snapshot, by name and by id: refused with the reason,
    name and tags stay."""
    client = scene.backend.core.client()
    if kind == "volume":
        global_id = volumes.create(client, Plan(Owner(name, tags), GIB))
    else:
        of = scene.backend.stored(scene.volume).global_id
        global_id = volumes.snapshot(client, of, Plan(Owner(name, tags)))
    before = scene.backend.there()
    for reference in (
        {"source-name": name},
        {"source-id": global_id},
        {"source-name": f"~{global_id}"},
    ):
        with pytest.raises(exception.ManageExistingInvalidReference, match=told):
            if kind == "volume":
                scene.driver.manage_existing(volume(), reference)
            else:
                scene.driver.manage_existing_snapshot(snapshot(scene.volume), reference)
        with pytest.raises(exception.ManageExistingInvalidReference, match=told):
            if kind == "volume":
                scene.driver.manage_existing_get_size(volume(), reference)
            else:
                scene.driver.manage_existing_snapshot_get_size(snapshot(scene.volume), reference)
    assert scene.backend.there() == before


def test_nothing_of_ovirts_is_listed(scene: Scene) -> None:
    """get_manageable_volumes and _snapshots: what the adapter made is not for Cinder's lists,
    others have a reason."""
    client = scene.backend.core.client()
    of = scene.backend.stored(scene.volume).global_id
    others = {
        "vm-7-disk-1": {"virt": "pve"},
        f"blue--volume-{UUID}": {},
        f"blue--snap--none--snapshot-{UUID}": {},
    }
    ovirts = {
        f"ovirt--{UUID}": {},
        f"ovirt--{UUID}.old": {},
        "restored": {"ovirt-root": UUID},
        "x": {"virt": "ovirt"},
    }
    for kind in ("volume", "snapshot"):
        for name, tags in {**others, **ovirts}.items():
            label = name.replace(UUID, UUID[:-1] + "2") if kind == "volume" else name
            label = f"{kind}-{name}" if label == name and UUID not in name else label
            if kind == "volume":
                volumes.create(client, Plan(Owner(label, tags), GIB))
            else:
                volumes.snapshot(client, of, Plan(Owner(label, tags)))
    page = {"marker": None, "limit": 100, "offset": 0, "sort_keys": ["size"], "sort_dirs": ["asc"]}
    own = {*scene.names(), f"os--volume-{scene.bystander.id}"}
    found = scene.driver.get_manageable_volumes([], **page) + scene.driver.get_manageable_snapshots(
        [], **page
    )
    listed = {each["reference"]["source-name"]: each["reason_not_safe"] for each in found}
    assert len(listed) == 2 * len(others) + len(own)
    assert {name for name, reason in listed.items() if reason is None} == own
    assert not any("ovirt" in name or "restored" in name for name in listed)


@pytest.mark.parametrize("prefix", ["os", "blue"])
def test_two_cinders_of_one_cluster_do_not_know_each_others(scene: Scene, prefix: str) -> None:
    """Cinders with prefixes of their own share a cluster: neither deletes, grows nor describes what
    the other has."""
    with driver_rig.backend(scene.backend.core, storpool_volume_prefix="blue") as blue:
        owner, stranger = (
            (scene.driver, blue.driver) if prefix == "os" else (blue.driver, scene.driver)
        )
        made = volume()
        owner.create_volume(made)
        before = scene.backend.there()
        stranger.delete_volume(made)
        with pytest.raises(exception.VolumeNotFound):
            stranger.extend_volume(made, 2)
        with pytest.raises(exception.VolumeNotFound):
            stranger.initialize_connection(made, connector(1))
        assert scene.backend.there() == before


def test_a_repeated_create_takes_nothing_of_another_kind(scene: Scene) -> None:
    """An empty volume is not a copy, a copy not an empty volume, and neither is what another owner
    has by now."""
    copy, empty, taken = volume(), volume(), volume()
    scene.driver.create_cloned_volume(copy, scene.volume)
    scene.driver.create_volume(empty)
    scene.driver.create_volume(taken)
    client = scene.backend.core.client()
    client.volume_update(f"os--volume-{taken.id}", {"tags": {"virt": "pve"}})
    # The transient snapshot that the copy stands on goes a second later: not during this.
    scene.backend.core.simulator.advance(60)
    before = scene.backend.there()
    for call in (
        lambda: scene.driver.create_volume(copy),
        lambda: scene.driver.create_volume_from_snapshot(copy, scene.snapshot),
        lambda: scene.driver.create_cloned_volume(copy, scene.bystander),
        lambda: scene.driver.create_cloned_volume(empty, scene.volume),
        lambda: scene.driver.create_volume_from_snapshot(empty, scene.snapshot),
        lambda: scene.driver.create_volume(taken),
    ):
        with pytest.raises(exception.VolumeBackendAPIException):
            call()
    assert scene.backend.there() == before
    scene.driver.create_cloned_volume(copy, scene.volume)
    scene.driver.create_volume(empty)


def test_a_repeated_snapshot_takes_nothing_of_another_volume_or_owner(scene: Scene) -> None:
    """A snapshot of the name that another volume has, or another owner, is a conflict: neither is
    taken nor changed."""
    scene.hand_over("snapshot", {"virt": "pve"})
    for of in (scene.volume, scene.bystander):
        with pytest.raises(exception.VolumeBackendAPIException):
            scene.driver.create_snapshot(snapshot(of, id=scene.snapshot.id))
