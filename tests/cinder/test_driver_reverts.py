"""driver.py after reverts that give a volume another global id: its own, and those by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cinder import exception

from rigs.driver_rig import GIB, Backend, connector, snapshot, volume
from storpool_ovirt import names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.cluster.plans import Owner, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITIES = ("unnamed", "all", "keep")


@pytest.fixture(params=IDENTITIES)
def identity(backend: Backend, request: pytest.FixtureRequest) -> str:
    """Return which volumes get another id by a revert: with all values of the switch."""
    backend.core.simulator.switches.set({"revert_identity": request.param})
    return str(request.param)


@pytest.fixture
def made(backend: Backend, identity: str) -> Any:
    """Give a volume that exists."""
    made = volume()
    backend.driver.create_volume(made)
    assert identity in IDENTITIES
    return made


def frozen_of(backend: Backend, made: Any) -> Any:
    """Make a snapshot of a volume."""
    frozen = snapshot(made)
    backend.driver.create_snapshot(frozen)
    return frozen


def by_hand(backend: Backend, made: Any) -> str:
    """Revert a volume by hand to a snapshot of now; return the global id that it has then."""
    client = backend.core.client()
    there = backend.stored(made)
    name = f"by-hand-{len(client.snapshots())}"
    client.volume_snapshot(names.address(there.global_id), {"name": name, "tags": {}})
    client.volume_revert(names.address(there.global_id), name)
    return backend.stored(made).global_id


def test_a_revert_of_a_volume_that_grew(backend: Backend, made: Any) -> None:
    """[interface] revert_to_snapshot keeps the size, also where the volume has another id after
    it, whether or not StorPool gave it the snapshot's size."""
    frozen = frozen_of(backend, made)
    for size, revert_size in ((2, "keep"), (3, "snapshot")):
        backend.core.simulator.switches.set({"revert_size": revert_size})
        backend.driver.extend_volume(made, size)
        backend.driver.revert_to_snapshot(None, made, frozen)
        assert backend.stored(made).size_bytes == size * GIB
    assert backend.stored(made).parent == f"os--snap--none--snapshot-{frozen.id}"


@pytest.mark.parametrize("times", [1, 2])
def test_a_revert_whose_answer_is_lost(backend: Backend, made: Any, times: int) -> None:
    """It was carried out, and the id that it was sent to leads nowhere: that is no failure."""
    frozen = frozen_of(backend, made)
    backend.driver.extend_volume(made, 2)
    backend.fault("reset_after", "VolumeRevert", times=times)
    backend.driver.revert_to_snapshot(None, made, frozen)
    assert backend.stored(made).size_bytes == 2 * GIB


def test_a_revert_of_what_is_gone(backend: Backend, made: Any) -> None:
    """What was deleted meanwhile is not there, under any id."""
    frozen = frozen_of(backend, made)
    client = backend.core.client()
    there, source = backend.stored(made), client.snapshots()[0]
    backend.driver.delete_volume(made)
    with pytest.raises(exception.VolumeNotFound):
        backend.driver.revert_to_snapshot(None, made, frozen)
    assert volumes.still(client, there) is None
    assert source.was_made_of(there)


def extend(backend: Backend, made: Any) -> None:
    """Grow it."""
    backend.driver.extend_volume(made, 2)
    assert backend.stored(made).size_bytes == 2 * GIB


def describe(backend: Backend, made: Any) -> None:
    """Tell a host how to attach it."""
    said = backend.driver.initialize_connection(made, connector(1, storpool_client_id=1))
    assert said["data"]["global_id"] == backend.stored(made).global_id


def clone(backend: Backend, made: Any) -> None:
    """Make a volume of it."""
    backend.driver.create_cloned_volume(volume(), made)


def freeze(backend: Backend, made: Any) -> None:
    """Make a snapshot of it."""
    backend.driver.create_snapshot(snapshot(made))


def detach(backend: Backend, made: Any) -> None:
    """Let go of it where a host has it."""
    backend.driver.terminate_connection(made, None)
    assert backend.attached() == set()


def delete(backend: Backend, made: Any) -> None:
    """Delete it."""
    backend.driver.delete_volume(made)
    assert f"os--volume-{made.id}" not in backend.there()


@pytest.mark.parametrize("call", [extend, describe, clone, freeze, detach, delete])
def test_calls_after_a_revert_by_hand(
    backend: Backend, made: Any, call: Callable[[Backend, Any], None]
) -> None:
    """Cinder knows a volume by its name, so whatever id it has now is found."""
    backend.attach(made, 1)
    by_hand(backend, made)
    by_hand(backend, made)
    call(backend, made)


def test_a_volume_that_is_reverted_while_it_is_deleted(
    backend: Backend, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "It is not there" may mean that it has another id since a moment ago."""
    due, remove = [1], api.Client.volume_delete

    def raced(self: api.Client, address: str) -> None:
        while due:
            due.pop()
            by_hand(backend, made)
        remove(self, address)

    monkeypatch.setattr(api.Client, "volume_delete", raced)
    backend.driver.delete_volume(made)
    assert f"os--volume-{made.id}" not in backend.there()


@pytest.mark.usefixtures("database")
def test_a_snapshot_of_before_a_revert_is_still_the_volumes(backend: Backend, made: Any) -> None:
    """A repetition of its create, and its coming under Cinder's care, compare with the volume of
    now."""
    client = backend.core.client()
    frozen = frozen_of(backend, made)
    old = volumes.snapshot(client, backend.stored(made).global_id, Plan(Owner("old", {})))
    by_hand(backend, made)
    backend.driver.create_snapshot(frozen)
    later = snapshot(made)
    backend.driver.manage_existing_snapshot(later, {"source-name": "old"})
    assert backend.there()[f"os--snap--none--snapshot-{later.id}"].global_id == old
    other = volume()
    backend.driver.create_volume(other)
    with pytest.raises(exception.ManageExistingInvalidReference):
        backend.driver.manage_existing_snapshot(
            snapshot(other), {"source-name": f"os--snap--none--snapshot-{later.id}"}
        )


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("revert_limits", ["keep", "snapshot"])
def test_a_revert_keeps_class_tags_and_limits(
    backend: Backend, made: Any, revert_limits: str
) -> None:
    """T79: [CloudStack] limits are sent again where StorPool gave it the snapshot's; tags stay."""
    backend.core.simulator.switches.set({"revert_limits": revert_limits})
    frozen = frozen_of(backend, made)
    address = names.address(backend.stored(made).global_id)
    body = {"tags": {"qc": "gold", "people": "x"}, "iops": 77, "bw": 4096}
    backend.core.post(f"VolumeUpdate/{address}", body)
    before = backend.stored(made)
    backend.driver.revert_to_snapshot(None, made, frozen)
    there = names.address(backend.stored(made).global_id)
    after, limits = backend.core.client().limited_volume(there)
    assert (after.tags, limits) == (before.tags, {"iops": 77, "bw": 4096})


def test_manageable_snapshots_name_their_volume(backend: Backend, made: Any) -> None:
    """By the name that it has, whichever id it had when they were made."""
    client = backend.core.client()
    volumes.snapshot(client, backend.stored(made).global_id, Plan(Owner("old", {})))
    by_hand(backend, made)
    found = backend.driver.get_manageable_snapshots([], None, 100, 0, ["reference"], ["asc"])
    sources = {each["source_reference"]["source-name"] for each in found}
    assert sources == {f"os--volume-{made.id}"}
