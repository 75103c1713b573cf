"""remote.py: copies in another location, as StorPool makes, lists, fetches and gives them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import far_cluster
from rigs.far_cluster import FAR, LOCATION, MIB, MIB_SECONDS, WEEK, Both
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAGS = {"virt": "ovirt", "ovirt-copy": "c"}
ID = {"global_id": "loc.a.6", "first_id": None}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """Two clusters in two locations."""
    with far_cluster.opened(tmp_path) as opened:
        yield opened


def volume(both: Both, name: str = "v", size_bytes: int = 2 * MIB) -> api.Volume:
    """Make a volume that is full."""
    client = both.client()
    client.volume_create({"name": name, "size": size_bytes, "template": "nvme"})
    far_cluster.fill(both.one, name, name.encode() * size_bytes)
    return client.volume(name)


def test_the_locations_are_told(both: Both) -> None:
    """One that is not known is refused, with those that are."""
    client = both.client()
    assert remote.locations(client) == {LOCATION: "rem"}
    assert remote.clusters(client, LOCATION) == [FAR]
    assert remote.check_location(client, LOCATION) == "rem"
    with pytest.raises(errors.NotFound, match="it knows rem"):
        remote.check_location(client, "nowhere")


@pytest.mark.parametrize("multicluster", [False, True])
def test_a_group_is_copied(both: Both, multicluster: bool) -> None:
    """F62: all at one moment, each with its ids; on the way its base is told, then the copy is
    listed, with our tags."""
    both.slow()
    client = both.client(multicluster=multicluster)
    there = [volume(both, "v"), volume(both, "w", MIB)]
    made = remote.backup(client, there, LOCATION, TAGS)
    assert {each.base_id for each in made} == {
        each.global_id for each in remote.exports(client) if each.is_base
    }
    assert remote.listed(client) == []
    assert remote.state(client, LOCATION, made[0].remote_id) == remote.State(True, 0)
    assert [each.global_id for each in remote.tagged(client, LOCATION, "ovirt-copy", "c")] == [
        each.remote_id for each in made
    ]
    both.advance(2 * MIB_SECONDS)
    listed = {each.remote_id: each for each in remote.listed(client)}
    assert [listed[each.remote_id].name for each in made] == ["v", "w"]
    assert all(each.tags == TAGS and each.location == LOCATION for each in listed.values())
    assert remote.exports(client) == []
    assert remote.state(client, LOCATION, made[0].remote_id) == remote.State(False, 0)
    for one, copy in zip("vw", made):
        there_now = far_cluster.checksum(both.far, names.address(copy.remote_id))
        assert there_now == far_cluster.checksum(both.one, one)


@pytest.mark.parametrize("key", ["v", "~loc.a.5", "loc.a.5", "~loc.a.1", "loc.a.1"])
def test_a_volume_is_known_in_the_reply(both: Both, key: str) -> None:
    """[sptypes] By its name, or by an id, which has `~` or not; after a revert by its first one."""
    there = volume(both)._replace(global_id="loc.a.5", first_id="loc.a.1")
    raw = {"backups": {key: {"remoteId": "loc.a.7", "snapshotGlobalId": "loc.a.8"}}}
    assert remote.copy_of(remote.copies(raw), there) == remote.Made("loc.a.7", "loc.a.8")
    assert remote.copy_of(remote.copies(raw), there._replace(name="x", **ID)) is None


def test_what_is_not_there_is_refused(both: Both) -> None:
    """A volume or a location: nothing is made."""
    client = both.client()
    there = volume(both)
    gone = there._replace(global_id="loc.a.zzz", name="gone")
    for volumes, location in (([there, gone], LOCATION), ([there], "nowhere")):
        with pytest.raises(errors.NotFound, match="volume or location"):
            remote.backup(client, volumes, location, {})
    assert both.far.objects() == {}


def test_a_copy_comes_back(both: Both) -> None:
    """F63: under the id that it has there, with these bytes; a second time it is here already."""
    client = both.client()
    (made,) = remote.backup(client, [volume(both)], LOCATION, TAGS)
    was = far_cluster.checksum(both.one, "v")
    client.volume_delete("v")
    wanted = remote.Fetch(LOCATION, made.remote_id, "back", {"a": "b"}, "nvme")
    for expected in (True, False):
        fetched = remote.fetch(client, wanted)
        assert fetched is expected
    found = client.snapshot("back")
    assert (found.global_id, found.tags) == (made.remote_id, {"a": "b"})
    assert far_cluster.checksum(both.one, "back") == was
    with pytest.raises(errors.NotFound):
        remote.fetch(client, remote.Fetch(LOCATION, "loc.a.zzz", "other", {}))


def test_a_name_that_is_taken_is_no_copy(both: Both) -> None:
    """What StorPool says is the same for both, so it is looked at."""
    client = both.client()
    (made,) = remote.backup(client, [volume(both)], LOCATION, TAGS)
    with pytest.raises(errors.Conflict, match="the name of another object"):
        remote.fetch(client, remote.Fetch(LOCATION, made.remote_id, "v", {}))


@pytest.mark.parametrize("least", [None, 0, WEEK])
def test_a_copy_is_given_up(both: Both, least: int | None) -> None:
    """The far side keeps the date, has its own least delay, or ignores it without a word: that is
    read there."""
    if least is not None:
        both.take_dates(least)
    client = both.client()
    (made,) = remote.backup(client, [volume(both)], LOCATION, TAGS)
    remote.give_up(client, LOCATION, made.remote_id, 3600)
    assert remote.listed(client) == []
    goes_at = remote.state(client, LOCATION, made.remote_id).goes_at
    now = both.far.simulator.cluster.now()
    assert abs(goes_at - (now + max(3600, least)) if least is not None else goes_at) < 5
    with pytest.raises(errors.NotFound):
        remote.give_up(client, LOCATION, made.remote_id, 3600)


def test_a_cut_bridge_proves_nothing(both: Both) -> None:
    """A copy behind it is not gone: it cannot be asked."""
    client = both.client()
    (made,) = remote.backup(client, [volume(both)], LOCATION, TAGS)
    with pytest.raises(errors.NotFound):
        remote.state(client, LOCATION, "loc.a.zzz")
    both.cut()
    with pytest.raises((errors.ApiUnavailable, errors.WrongCluster)):
        remote.state(client, LOCATION, made.remote_id)
    with pytest.raises((errors.ApiUnavailable, errors.WrongCluster)):
        remote.tagged(client, LOCATION, "ovirt-copy", "c")
    assert remote.listed(client) == []
