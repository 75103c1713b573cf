"""The driver's changes in place: other types, other pools, and the name of what Cinder has
copied."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import pytest
from cinder import exception

from cinder_driver import migration
from rigs import driver_rig
from rigs.core_fixtures import GIB, Core
from rigs.driver_rig import Backend, volume, volume_type
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

HOST = {"host": "engine.example.com@storpool#template_hdd", "capabilities": {}}


def difference(old: Any, new: Any, **more: Any) -> dict[str, Any]:
    """Return the difference of two types as cinder.volume.volume_types.volume_types_diff has it."""
    first, second = dict(old.extra_specs if old else {}), dict(new.extra_specs)
    specs = {key: (first.get(key), second.get(key)) for key in {**first, **second}}
    return {"extra_specs": specs, "qos_specs": {}, "encryption": {}, **more}


def retyped(backend: Backend, made: Any, new: Any, **more: Any) -> bool:
    """Retype a volume; return whether the driver did it."""
    is_done, update = backend.driver.retype(
        None, made, new, difference(made.volume_type, new, **more), HOST
    )
    assert update is None
    return is_done


def test_b1_retype_changes_template_and_qos_class_in_one_request(backend: Backend) -> None:
    """4.1 B1: a change of the template works, and of the QoS class with it; all of it or
    nothing."""
    made = volume(volume_type=volume_type(template="nvme", qos_class="gold"))
    backend.driver.create_volume(made)
    backend.queries()
    assert retyped(backend, made, volume_type(template="hdd", qos_class="silver"))
    assert [each for each in backend.queries() if each != "KV/Set"] == [
        "Volume",
        "Volume",
        "VolumeUpdate",
    ]
    there = backend.stored(made)
    assert (there.template, there.tags) == ("hdd", {"qc": "silver"})


@pytest.mark.parametrize("tag_update", ["merge", "replace"])
@pytest.mark.parametrize("tag_empty", ["remove", "keep"])
def test_a_class_is_dropped_and_other_tags_stay(
    backend: Backend, tag_update: str, tag_empty: str
) -> None:
    """Tags of others outlive a change of type, whether StorPool merges tags or replaces them."""
    backend.core.simulator.switches.set({"tag_update": tag_update, "tag_empty": tag_empty})
    source = volume()
    backend.driver.create_volume(source)
    made = volume(volume_type=volume_type(qos_class="gold"))
    backend.driver.create_cloned_volume(made, source)
    assert retyped(backend, made, volume_type())
    tags = backend.stored(made).tags
    assert tags.get("qc", "") == ""
    assert tags["cinder-source"] == backend.stored(source).global_id


def test_a_class_that_is_none_is_told_and_changes_nothing(backend: Backend) -> None:
    """The check is oVirt's (`policy/values.py`); the word none is no class, and a pool can be told
    all the same."""
    made = volume(volume_type=volume_type(qos_class="gold"))
    backend.driver.create_volume(made)
    before = backend.stored(made)
    with pytest.raises(exception.InvalidInput, match=r"the QoS class .* is no name of one"):
        retyped(backend, made, volume_type(qos_class="go ld"))
    assert backend.stored(made) == before
    odd = volume(volume_type=volume_type(template="hdd", qos_class="go ld"))
    assert backend.driver.get_pool(odd) == "template_hdd"
    assert retyped(backend, made, volume_type(qos_class="none"))
    assert "qc" not in backend.stored(made).tags


@pytest.mark.parametrize("new", ["silver", None])
def test_a_volume_leaves_a_type_whose_class_is_none(backend: Backend, new: str | None) -> None:
    """A type that was mistyped keeps no volume: a retype to another one is the mending."""
    made = volume(volume_type=volume_type(qos_class="gold"))
    backend.driver.create_volume(made)
    made.volume_type = volume_type(qos_class="go ld")
    assert retyped(backend, made, volume_type(**({"qos_class": new} if new else {})))
    assert backend.stored(made).tags.get("qc") == new


def test_a_retype_does_not_undo_a_move(backend: Backend) -> None:
    """A type that says nothing of the template leaves a volume in the pool that it was migrated
    to."""
    made = volume(volume_type=volume_type(qos_class="gold"))
    backend.driver.create_volume(made)
    backend.driver.migrate_volume(
        None, made, {**HOST, "capabilities": backend.driver.get_volume_stats()}
    )
    assert retyped(backend, made, volume_type(qos_class="silver"))
    there = backend.stored(made)
    assert (there.template, there.tags["qc"]) == ("hdd", "silver")


def test_a_type_that_changes_nothing_here_is_no_request(backend: Backend) -> None:
    """A type with other capabilities only is done without a change in StorPool."""
    made = volume()
    backend.driver.create_volume(made)
    backend.queries()
    assert retyped(backend, made, volume_type(multiattach="<is> True"))
    assert backend.queries() == ("KV/Set", "Volume")


@pytest.mark.parametrize(
    ("specs", "more"),
    [
        ({"volume_backend_name": "other"}, {}),
        ({"storpool:unknown": "x"}, {}),
        ({}, {"encryption": {"cipher": (None, "aes")}}),
        ({}, {"qos_specs": {"consumer": (None, "back-end"), "iops": (None, "5")}}),
    ],
)
def test_what_cannot_be_done_in_place_is_left_to_cinder(
    backend: Backend, specs: dict[str, str], more: dict[str, Any]
) -> None:
    """T23: False makes Cinder migrate the volume, or refuse; nothing is changed."""
    made = volume()
    backend.driver.create_volume(made)
    before = backend.there()
    assert not retyped(backend, made, volume_type(template="hdd", **specs), **more)
    assert backend.there() == before


def test_qos_of_the_front_end_is_not_ours(backend: Backend) -> None:
    """[cinder] QoS specs for the front-end are Nova's."""
    made = volume()
    backend.driver.create_volume(made)
    qos = {"consumer": (None, "front-end"), "total_iops_sec": (None, "5")}
    assert retyped(backend, made, volume_type(template="hdd"), qos_specs=qos)


def test_no_request_takes_a_volume_out_of_its_template(core: Core, backend: Backend) -> None:
    """A type without a template, on a backend without one, is left to Cinder."""
    made = volume(volume_type=volume_type(template="hdd"))
    with driver_rig.backend(core, storpool_template=None) as bare:
        bare.driver.create_volume(made)
        assert not retyped(bare, made, volume_type())
        assert bare.stored(made).template == "hdd"


def test_a_failed_retype_is_an_error_that_changes_nothing(backend: Backend) -> None:
    """4.1 B1: a template that does not exist is an error of Cinder's, with the volume as it was."""
    made = volume()
    backend.driver.create_volume(made)
    before = backend.there()
    with pytest.raises(exception.VolumeBackendAPIException):
        retyped(backend, made, volume_type(template="missing", qos_class="gold"))
    assert backend.there() == before


def test_a_volume_moves_between_pools_of_one_cluster(backend: Backend) -> None:
    """[interface] migrate_volume: the template changes, while a host uses the volume; Cinder copies
    nothing."""
    made = volume()
    backend.driver.create_volume(made)
    backend.attach(made, 1, is_open=True)
    stats = backend.driver.get_volume_stats()
    assert backend.driver.migrate_volume(None, made, {**HOST, "capabilities": stats}) == (
        True,
        None,
    )
    assert backend.stored(made).template == "hdd"


def test_a_move_elsewhere_is_left_to_cinder(core: Core, backend: Backend) -> None:
    """[interface] Another cluster, another naming rule, a pool without a template: (False, None),
    nothing changed."""
    made = volume()
    backend.driver.create_volume(made)
    stats = backend.driver.get_volume_stats()
    with driver_rig.backend(core, storpool_volume_prefix="red") as red:
        other = red.driver.get_volume_stats()
    bare = {"host": "engine.example.com@storpool#default", "capabilities": stats}
    for host in (HOST, {**HOST, "capabilities": other}, bare):
        assert backend.driver.migrate_volume(None, made, host) == (False, None)
    assert backend.stored(made).template == "nvme"


@pytest.fixture
def copied(backend: Backend) -> tuple[Any, Any]:
    """Give a volume that lives on another backend, and the copy that Cinder made here."""
    original, copy = volume(), volume()
    backend.driver.create_volume(copy)
    backend.queries()
    return original, copy


def finished(backend: Backend, original: Any, copy: Any, status: str = "available") -> str:
    """Finish a migration as Cinder does; return the name of the volume that Cinder will then
    find."""
    update = backend.driver.update_migrated_volume(driver_rig.CONTEXT, original, copy, status)
    assert set(update) == {"_name_id"}
    return f"os--volume-{update['_name_id'] or original.id}"


def test_a_copy_from_elsewhere_gets_the_originals_name(
    backend: Backend, copied: tuple[Any, Any]
) -> None:
    """T30: the name is free here, so the copy takes it, in one request."""
    original, copy = copied
    assert finished(backend, original, copy) == f"os--volume-{original.id}"
    assert backend.queries() == ("KV/Set", "Volume", "VolumeUpdate")
    assert list(backend.there()) == [f"os--volume-{original.id}"]


def test_d9_in_one_cluster_cinder_is_told_the_name(
    backend: Backend, copied: tuple[Any, Any]
) -> None:
    """4.1 D9, T30: Cinder next deletes the original by its own id: so the names stay, and the copy
    outlives it."""
    original, copy = copied
    backend.driver.create_volume(original)
    found = finished(backend, original, copy)
    assert found == f"os--volume-{copy.id}"
    # What finish_volume_migration leaves: two records, of which the second names the original's
    # data.
    backend.driver.delete_volume(volume(id=copy.id, _name_id=original.id))
    assert list(backend.there()) == [found]
    backend.driver.extend_volume(volume(id=original.id, _name_id=copy.id), 2)
    assert backend.there()[found].size_bytes == 2 * GIB


def test_a_copy_that_a_host_uses_keeps_its_name(backend: Backend, copied: tuple[Any, Any]) -> None:
    """T30: os-brick's own connector detaches by the name that it attached."""
    original, copy = copied
    assert finished(backend, original, copy, "in-use") == f"os--volume-{copy.id}"
    assert backend.queries() == ()


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"]
)
def test_a_failure_in_the_middle_leaves_a_name_that_cinder_knows(
    backend: Backend, copied: tuple[Any, Any], kind: str
) -> None:
    """4.1 D9: after a failure of the moment the volume has the name that Cinder is told, and there
    is no third one."""
    original, copy = copied
    backend.fault(kind, "VolumeUpdate")
    found = finished(backend, original, copy)
    assert list(backend.there()) == [found] == [f"os--volume-{original.id}"]


def test_a_rename_that_is_refused_leaves_a_name_that_cinder_knows(
    backend: Backend, copied: tuple[Any, Any]
) -> None:
    """4.1 D9, T40: a refusal is no end of the migration: the copy keeps its name and Cinder is
    told."""
    original, copy = copied
    backend.fault("error_200", "VolumeUpdate", times=3)
    found = finished(backend, original, copy)
    assert list(backend.there()) == [found] == [f"os--volume-{copy.id}"]
    other = volumes.create(backend.core.client(), Plan(Owner(f"os--volume-{original.id}"), GIB))
    backend.core.simulator.faults.clear()
    assert finished(backend, original, copy) == f"os--volume-{copy.id}"
    assert backend.there()[f"os--volume-{original.id}"].global_id == other


def test_an_original_that_was_migrated_before_leaves_its_id_free(backend: Backend) -> None:
    """T30: the data of an original with a name of its own (`_name_id`) do not take the name by the
    id."""
    original, copy = volume(_name_id="6c2ff4b0-7a8d-4a4e-8d1c-1f2c3d4e5f60"), volume()
    backend.driver.create_volume(original)
    backend.driver.create_volume(copy)
    assert finished(backend, original, copy) == f"os--volume-{original.id}"


def test_a_copy_that_is_missing_is_an_error(backend: Backend) -> None:
    """4.1 D9: never a success about what is not there."""
    with pytest.raises(exception.VolumeNotFound):
        backend.driver.update_migrated_volume(None, volume(), volume(), "available")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.3.2.1"])
def test_an_address_of_the_machine_itself_is_another_cluster_on_each(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Two machines with an API of their own at 127.0.0.1: no volume "moves" to where it is not; a
    pinned one may."""
    settings = backend.driver._settings
    here = migration.location(replace(settings, api=replace(settings.api, host=host)))
    pinned = migration.location(
        replace(settings, api=replace(settings.api, host=host, cluster_id="sim.a"))
    )
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    assert migration.location(replace(settings, api=replace(settings.api, host=host))) != here
    assert (
        migration.location(
            replace(settings, api=replace(settings.api, host="10.1.2.9", cluster_id="sim.a"))
        )
        == pinned
    )
    away = replace(settings, api=replace(settings.api, host="10.1.2.3"))
    assert migration.location(away) == f"StorPool:10.1.2.3:{settings.api.port}:os"
