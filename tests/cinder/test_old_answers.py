"""The driver while StorPool's management answers from a moment ago: what it says of writers rests
on no such answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cinder import exception

from rigs.driver_rig import Backend, connector, snapshot, volume, volume_type
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

TO_HDD = {"extra_specs": {"storpool_template": (None, "hdd")}, "qos_specs": {}, "encryption": {}}
HOST = {"host": "engine.example.com@storpool#template_hdd"}


@pytest.fixture
def made(backend: Backend) -> Any:
    """Give a volume that exists."""
    made = volume()
    backend.driver.create_volume(made)
    return made


def old(backend: Backend, query: str, changes: int = 1) -> None:
    """Let the next answer to a query be one from before the last changes."""
    backend.core.simulator.faults.add("old", query=query, changes=changes, times=2)


@pytest.mark.parametrize("query", ["Volume", "AttachmentsList"])
@pytest.mark.parametrize("by", [connector(1), None], ids=["that host", "all hosts"])
def test_a_host_that_has_just_attached_is_detached(
    backend: Backend, made: Any, query: str, by: dict[str, Any] | None
) -> None:
    """T31: "nobody has it" would let Cinder give the volume to the next host, beside the first."""
    backend.attach(made, 1)
    old(backend, query, changes=2)
    assert backend.driver.terminate_connection(made, by) is False
    assert backend.attached() == set()


@pytest.mark.parametrize("query", ["Volume", "AttachmentsList"])
def test_a_host_that_has_just_opened_it_keeps_it(backend: Backend, made: Any, query: str) -> None:
    """T31: it is VolumeIsBusy, never a success from before the attach."""
    global_id = backend.attach(made, 1, is_open=True)
    old(backend, query, changes=3)
    with pytest.raises(exception.VolumeIsBusy):
        backend.driver.terminate_connection(made, connector(1))
    assert backend.attached() == {(global_id, 1, "rw")}


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_what_was_just_made_is_deleted(backend: Backend, made: Any, kind: str) -> None:
    """T7: "it is not there" of a moment ago would leave it for ever, as Cinder forgets it."""
    if kind == "volume":
        old(backend, "Volume")
        backend.driver.delete_volume(made)
        assert backend.there() == {}
    else:
        frozen = snapshot(made)
        backend.driver.create_snapshot(frozen)
        old(backend, "Snapshot")
        backend.driver.delete_snapshot(frozen)
        assert list(backend.there()) == [f"os--volume-{made.id}"]


def test_what_was_just_handed_over_is_left_alone(backend: Backend, made: Any) -> None:
    """The tags of its new owner are some moments old: neither a delete nor a revert nor a retype
    misses them."""
    frozen = snapshot(made)
    backend.driver.create_snapshot(frozen)
    backend.core.client().volume_update(f"os--volume-{made.id}", {"tags": {"virt": "pve"}})
    before = backend.there()
    new = volume_type(qos_class="gold")
    difference = {
        "extra_specs": {"storpool:qos_class": (None, "gold")},
        "qos_specs": {},
        "encryption": {},
    }
    for call in (
        lambda: backend.driver.delete_volume(made),
        lambda: backend.driver.revert_to_snapshot(None, made, frozen),
        lambda: backend.driver.terminate_connection(made, None),
        lambda: backend.driver.retype(None, made, new, difference, HOST),
    ):
        old(backend, "Volume")
        with pytest.raises(exception.VolumeBackendAPIException, match="belongs to pve"):
            call()
        backend.core.simulator.faults.clear()
    assert backend.there() == before


@pytest.mark.usefixtures("database")
def test_what_a_host_has_just_attached_is_not_managed(backend: Backend) -> None:
    """A volume that somebody uses does not come under Cinder's care, nor one that was just marked
    as another's."""
    client = backend.core.client()
    old_id = volumes.create(client, Plan(Owner("old"), 1 << 30))
    client.reassign([{"volume": "old", "rw": [1]}], 5, "old")
    old(backend, "AttachmentsList")
    with pytest.raises(exception.ManageExistingInvalidReference, match="attached"):
        backend.driver.manage_existing(volume(), {"source-name": "old"})
    client.reassign([{"volume": "old", "detach": [1]}], 5, "old")
    client.volume_update(f"~{old_id}", {"tags": {"virt": "one"}})
    backend.core.simulator.faults.clear()
    old(backend, "Volume")
    with pytest.raises(exception.ManageExistingInvalidReference, match="belongs to one"):
        backend.driver.manage_existing(volume(), {"source-name": "old"})


CALLS: dict[str, Callable[[Any, Any, Any], object]] = {
    "extend": lambda driver, made, _: driver.extend_volume(made, 9),
    "snapshot": lambda driver, made, _: driver.create_snapshot(snapshot(made)),
    "clone": lambda driver, made, _: driver.create_cloned_volume(volume(), made),
    "from a snapshot": lambda driver, _, frozen: driver.create_volume_from_snapshot(
        volume(), frozen
    ),
    "connect": lambda driver, made, _: driver.initialize_connection(made, connector(1)),
    "retype": lambda driver, made, _: driver.retype(
        None, made, volume_type(template="hdd"), TO_HDD, HOST
    ),
    "migrate": lambda driver, made, _: driver.migrate_volume(
        None, made, {**HOST, "capabilities": driver.get_volume_stats(refresh=True)}
    ),
}


@pytest.mark.parametrize("what", CALLS)
def test_no_call_takes_what_was_just_handed_over(backend: Backend, made: Any, what: str) -> None:
    """An instance that is behind still shows it as Cinder's: nothing is changed, copied or
    described by that."""
    frozen = snapshot(made)
    backend.driver.create_snapshot(frozen)
    client = backend.core.client()
    if what == "from a snapshot":
        client.snapshot_update(f"os--snap--none--snapshot-{frozen.id}", {"tags": {"virt": "pve"}})
    else:
        client.volume_update(f"os--volume-{made.id}", {"tags": {"virt": "pve"}})
    before = backend.there()
    old(backend, "Snapshot" if what == "from a snapshot" else "Volume")
    with pytest.raises(exception.CinderException, match="not Cinder's"):
        CALLS[what](backend.driver, made, frozen)
    backend.core.simulator.faults.clear()
    assert backend.there() == before


def test_a_retype_keeps_a_tag_that_was_just_set(backend: Backend, made: Any) -> None:
    """All tags are sent with a change, so they must be those of now."""
    backend.core.client().volume_update(f"os--volume-{made.id}", {"tags": {"ovirt-share": "1"}})
    backend.core.simulator.switches.set({"tag_update": "replace"})
    old(backend, "Volume")
    difference = {
        "extra_specs": {"storpool:qos_class": (None, "gold")},
        "qos_specs": {},
        "encryption": {},
    }
    assert backend.driver.retype(None, made, volume_type(qos_class="gold"), difference, HOST)[0]
    assert backend.stored(made).tags == {"ovirt-share": "1", "qc": "gold"}


def test_a_migrated_volume_has_the_name_that_cinder_is_told(backend: Backend) -> None:
    """4.1 D9: the rename was done, its answer lost, and a look shows the name of before: Cinder
    must not believe it."""
    original, copy = volume(), volume()
    backend.driver.create_volume(copy)
    for kind in ("reset_after", *["bad_gateway"] * 20):
        backend.core.simulator.faults.add(kind, query="VolumeUpdate")
    backend.driver.limits = backend.driver.limits._replace(retry_seconds=1.5)
    backend.core.simulator.switches.set({"lag": "1"})
    update = backend.driver.update_migrated_volume(None, original, copy, "available")
    backend.core.simulator.switches.set({"lag": "0"})
    assert list(backend.there()) == [f"os--volume-{update['_name_id'] or original.id}"]


@pytest.mark.parametrize("lag", ["1", "3"])
def test_a_whole_life_on_an_instance_that_is_behind(backend: Backend, lag: str) -> None:
    """Every other reading call is answered from some changes ago: everything ends as it does
    without that."""
    switches = backend.core.simulator.switches

    def seen(look: Callable[[], Any]) -> Any:
        switches.set({"lag": "0"})
        found = look()
        switches.set({"lag": lag})
        return found

    made, copy, clone = volume(), volume(size=2), volume()
    frozen = snapshot(made)
    driver = backend.driver
    for _ in range(2):
        driver.create_volume(made)
        driver.create_snapshot(frozen)
        driver.create_volume_from_snapshot(copy, frozen)
        driver.create_cloned_volume(clone, made)
        for host in (1, 2):
            global_id = driver.initialize_connection(made, connector(host))["data"]["global_id"]
            backend.core.client().reassign([{"volume": f"~{global_id}", "rw": [host]}], 5, "volume")
        driver.extend_volume(made, 3)
        driver.terminate_connection(made, connector(1))
        assert {client for _, client, _ in seen(backend.attached)} == {2}
        driver.terminate_connection(made, None)
        assert seen(backend.attached) == set()
        driver.revert_to_snapshot(None, made, frozen)
        driver.delete_snapshot(frozen)
        for each in (made, copy, clone):
            driver.delete_volume(each)
        assert seen(backend.there) == {}
