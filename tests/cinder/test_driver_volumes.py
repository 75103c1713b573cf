"""The driver's volumes and snapshots: made once, in the right template, deleted only when nobody
has them open."""

from __future__ import annotations

import pytest
from cinder import exception

from rigs.core_fixtures import GIB, Core
from rigs.driver_rig import Backend, snapshot, volume, volume_type
from rigs.driver_rig import backend as started
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan


def test_a_volume_has_upstreams_name_and_the_backends_template(backend: Backend) -> None:
    """[upstream] `<prefix>--volume-<id>`: the name by which os-brick's own connector finds it."""
    made = volume(size=2)
    backend.driver.create_volume(made)
    assert backend.queries() == ("VolumeCreate",)
    there = backend.there()
    assert list(there) == [f"os--volume-{made.id}"]
    assert (there[f"os--volume-{made.id}"].size_bytes, backend.stored(made).template) == (
        2 * GIB,
        "nvme",
    )


def test_the_prefix_is_an_option_or_comes_from_storpool_conf(core: Core, backend: Backend) -> None:
    """[upstream] SP_OPENSTACK_VOLUME_PREFIX; the option wins."""
    conf = core.folder / "engine" / "etc" / "storpool.conf"
    conf.write_text("SP_OPENSTACK_VOLUME_PREFIX=blue\n" + conf.read_text())
    first, second = volume(), volume()
    with started(core) as blue:
        blue.driver.create_volume(first)
    with started(core, storpool_volume_prefix="red") as red:
        red.driver.create_volume(second)
    assert set(core.objects()) == {f"blue--volume-{first.id}", f"red--volume-{second.id}"}


def test_the_type_decides_template_and_qos_class(backend: Backend) -> None:
    """[upstream] extra spec storpool_template; [StorPool] storpool:qos_class becomes the tag qc."""
    made = volume(volume_type=volume_type(template="hdd", qos_class="silver"))
    backend.driver.create_volume(made)
    there = backend.stored(made)
    assert (there.template, there.tags) == ("hdd", {"qc": "silver"})
    assert backend.driver.get_pool(made) == "template_hdd"
    assert backend.driver.get_pool(volume()) == "template_nvme"


def test_without_templates_a_volume_has_the_replication_of_the_options(
    core: Core, backend: Backend
) -> None:
    """[upstream] storpool_replication counts where neither a template nor a QoS class says where a
    volume lives."""
    core.simulator.switches.set({"default_placement": "false"})
    with started(core, storpool_template=None, storpool_replication=2) as bare:
        made = volume()
        bare.driver.create_volume(made)
        assert bare.driver.get_pool(made) == "default"
        assert bare.stored(made).template == ""
    core.simulator.switches.set({"default_placement": "true"})
    core.simulator.calls.clear()
    with started(core, storpool_template=None, storpool_qos_class="gold") as classed:
        classed.driver.create_volume(volume())
    assert "replication" not in core.simulator.calls.list()[-1].body


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"]
)
def test_u6_u7_u17_a_failure_of_the_moment_is_survived_and_makes_nothing_twice(
    backend: Backend, kind: str
) -> None:
    """U6, U7, U17: a lost answer, a dropped connection, a proxy's page, a transient error: one
    object of each."""
    made, grown, frozen = volume(), 2, None
    for query in (
        "VolumeCreate",
        "VolumeUpdate",
        "VolumeSnapshot",
        "VolumeDelete",
        "SnapshotDelete",
    ):
        backend.fault(kind, query)
    backend.driver.create_volume(made)
    backend.driver.extend_volume(made, grown)
    frozen = snapshot(made)
    backend.driver.create_snapshot(frozen)
    assert set(backend.there()) == {
        f"os--volume-{made.id}",
        f"os--snap--none--snapshot-{frozen.id}",
    }
    assert backend.stored(made).size_bytes == grown * GIB
    backend.driver.delete_volume(made)
    backend.driver.delete_snapshot(frozen)
    assert backend.there() == {}


def test_the_same_id_with_another_size_is_an_error_that_changes_nothing(backend: Backend) -> None:
    """T2: Cinder never asks for it; who does is told, and the volume is as it was."""
    made = volume()
    backend.driver.create_volume(made)
    before = backend.there()
    with pytest.raises(exception.VolumeBackendAPIException, match="exists with"):
        backend.driver.create_volume(volume(size=2, id=made.id))
    assert backend.there() == before


def test_d10_the_cause_of_a_failure_is_kept(backend: Backend) -> None:
    """4.1 D10: Cinder's exception has ours as its cause, with StorPool's own words below it."""
    with pytest.raises(exception.VolumeBackendAPIException) as caught:
        backend.driver.create_volume(volume(volume_type=volume_type(template="missing")))
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__cause__.name == "objectDoesNotExist"  # type: ignore[union-attr]


def test_a_copy_lives_where_its_own_type_says(backend: Backend) -> None:
    """A volume from a snapshot, and a clone, are in the template of their own type."""
    source = volume()
    backend.driver.create_volume(source)
    frozen = snapshot(source)
    backend.driver.create_snapshot(frozen)
    for size in (1, 3):
        kind = volume_type(template="hdd", qos_class="bronze")
        copy, clone = volume(size=size, volume_type=kind), volume(size=size, volume_type=kind)
        backend.driver.create_volume_from_snapshot(copy, frozen)
        backend.driver.create_cloned_volume(clone, source)
        for each in (copy, clone):
            there = backend.stored(each)
            assert (there.template, there.size_bytes, there.tags["qc"]) == (
                "hdd",
                size * GIB,
                "bronze",
            )


def test_b8_a_clone_leaves_no_snapshot_and_takes_no_leftover(backend: Backend) -> None:
    """4.1 D8: a clone is one request without a snapshot; one of an earlier failure is not taken for
    the source."""
    source, clone = volume(), volume(volume_type=volume_type(template="hdd"))
    backend.driver.create_volume(source)
    other = volumes.create(backend.core.client(), Plan(Owner("other"), GIB))
    leftover = f"os--clone--none--snapshot-{clone.id}"
    volumes.snapshot(backend.core.client(), other, Plan(Owner(leftover)))
    backend.queries()
    backend.driver.create_cloned_volume(clone, source)
    assert backend.queries() == ("KV/Set", "Volume", "VolumeCreate")
    assert set(backend.there()) == {
        f"os--volume-{source.id}",
        f"os--volume-{clone.id}",
        "other",
        leftover,
    }
    assert backend.stored(clone).tags == {"cinder-source": backend.stored(source).global_id}


def test_a_volume_made_from_another_source_is_not_taken_for_this_one(backend: Backend) -> None:
    """T2, T27: what an earlier try made of another source is a conflict: data of somebody else is
    never shown."""
    first, second, clone = volume(), volume(), volume()
    backend.driver.create_volume(first)
    backend.driver.create_volume(second)
    backend.driver.create_cloned_volume(clone, first)
    backend.driver.create_cloned_volume(clone, first)
    with pytest.raises(exception.VolumeBackendAPIException, match="does not carry"):
        backend.driver.create_cloned_volume(clone, second)


@pytest.mark.parametrize("is_copy", [False, True])
def test_a_repeat_leaves_the_class_and_the_template_that_are_there(
    backend: Backend, is_copy: bool
) -> None:
    """T1: an administrator may have changed them since; they do not tell whose the volume is."""
    source = volume()
    backend.driver.create_volume(source)
    made = volume(volume_type=volume_type(template="nvme", qos_class="gold"))

    def make() -> None:
        if is_copy:
            backend.driver.create_cloned_volume(made, source)
        else:
            backend.driver.create_volume(made)

    make()
    first = backend.stored(made)
    volumes.change(backend.core.client(), first, template="hdd", tags={"qc": "silver", "me": "x"})
    make()
    now = backend.stored(made)
    assert (now.global_id, now.template) == (first.global_id, "hdd")
    assert now.tags == {**first.tags, "qc": "silver", "me": "x"}


def test_what_is_missing_has_cinders_class(backend: Backend) -> None:
    """A missing source is VolumeNotFound or SnapshotNotFound with Cinder's id, and nothing is
    made."""
    source = volume()
    frozen = snapshot(source)
    with pytest.raises(exception.VolumeNotFound, match="there is no volume"):
        backend.driver.create_snapshot(frozen)
    with pytest.raises(exception.SnapshotNotFound):
        backend.driver.create_volume_from_snapshot(volume(), frozen)
    with pytest.raises(exception.VolumeNotFound):
        backend.driver.create_cloned_volume(volume(), source)
    with pytest.raises(exception.VolumeNotFound):
        backend.driver.extend_volume(source, 2)
    assert backend.there() == {}


def test_deleting_what_is_gone_is_a_success(backend: Backend) -> None:
    """T7, T8, T18: deleting twice, or what never was, is no error."""
    gone = volume()
    backend.driver.delete_volume(gone)
    backend.driver.delete_snapshot(snapshot(gone))


def test_u13_delete_never_pulls_an_open_device(backend: Backend) -> None:
    """U13, 4.1 D6, T9: VolumeIsBusy names the host, and volume and attachments are as they were."""
    made = volume()
    backend.driver.create_volume(made)
    backend.attach(made, 1)
    backend.attach(made, 2, is_open=True)
    before = backend.attached()
    backend.queries()
    with pytest.raises(exception.VolumeIsBusy, match="open at client 2"):
        backend.driver.delete_volume(made)
    assert backend.attached() == before
    assert backend.stored(made)
    assert not any(
        "'force': True" in str(call.body) for call in backend.core.simulator.calls.list()
    )
    backend.core.set_client(2, open=[])
    backend.driver.delete_volume(made)
    assert backend.there() == {}


def test_an_attached_snapshot_is_let_go_of_only_when_it_is_closed(backend: Backend) -> None:
    """T18: SnapshotIsBusy while a host has it open; volumes made from a snapshot outlive it."""
    source, copy = volume(), volume()
    backend.driver.create_volume(source)
    frozen = snapshot(source)
    backend.driver.create_snapshot(frozen)
    backend.driver.create_volume_from_snapshot(copy, frozen)
    name = f"os--snap--none--snapshot-{frozen.id}"
    global_id = backend.there()[name].global_id
    backend.core.client().reassign([{"snapshot": name, "ro": [1]}], 5, "snapshot")
    backend.core.set_client(1, open=[global_id])
    with pytest.raises(exception.SnapshotIsBusy, match="open at client 1"):
        backend.driver.delete_snapshot(frozen)
    backend.core.set_client(1, open=[])
    backend.driver.delete_snapshot(frozen)
    assert set(backend.there()) == {f"os--volume-{source.id}", f"os--volume-{copy.id}"}


@pytest.mark.parametrize("revert_size", ["grow", "keep", "snapshot"])
def test_a_revert_keeps_the_size(backend: Backend, revert_size: str) -> None:
    """[interface] revert_to_snapshot must not change the volume's size, whatever StorPool does with
    it."""
    backend.core.simulator.switches.set({"revert_size": revert_size})
    made = volume()
    backend.driver.create_volume(made)
    frozen = snapshot(made)
    backend.driver.create_snapshot(frozen)
    backend.driver.extend_volume(made, 3)
    before = backend.stored(made).global_id
    backend.driver.revert_to_snapshot(None, made, frozen)
    there = backend.stored(made)
    assert (there.size_bytes, there.global_id) == (3 * GIB, before)
    assert backend.driver.snapshot_revert_use_temp_snapshot() is False


@pytest.mark.parametrize("revert_attached", ["open", "attached", "allow"])
def test_a_revert_never_happens_under_a_host(backend: Backend, revert_attached: str) -> None:
    """Data never changes under a device: an open one is VolumeIsBusy, a closed one is let go of
    first."""
    backend.core.simulator.switches.set({"revert_attached": revert_attached})
    made = volume()
    backend.driver.create_volume(made)
    frozen = snapshot(made)
    backend.driver.create_snapshot(frozen)
    backend.attach(made, 1, is_open=True)
    backend.queries()
    with pytest.raises(exception.VolumeIsBusy):
        backend.driver.revert_to_snapshot(None, made, frozen)
    assert "VolumeRevert" not in backend.queries()
    backend.core.set_client(1, open=[])
    backend.driver.revert_to_snapshot(None, made, frozen)
    assert backend.attached() == set()


def test_extending_is_waited_for_on_hosts_and_never_shrinks(backend: Backend) -> None:
    """T20: the same size again is a success, a smaller one an error; the hosts know of the new
    one."""
    made = volume(size=2)
    backend.driver.create_volume(made)
    backend.attach(made, 1)
    backend.driver.extend_volume(made, 4)
    assert "ClientsConfigDump" in backend.queries()
    backend.driver.extend_volume(made, 4)
    with pytest.raises(exception.VolumeBackendAPIException):
        backend.driver.extend_volume(made, 3)
    assert backend.stored(made).size_bytes == 4 * GIB


def test_no_room_is_told_in_one_sentence(backend: Backend) -> None:
    """T4: more than the template has is an error with the advice, and nothing is left."""
    backend.core.simulator.switches.set({"space_limit": "stored"})
    with pytest.raises(exception.VolumeBackendAPIException, match="no room"):
        backend.driver.create_volume(volume(size=200))
    assert backend.there() == {}
