"""A lost host that has something over the bridge: it is of its own cluster, and so is the fence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import two_clusters
from rigs.core_fixtures import GIB
from rigs.two_clusters import ONE, TWO, Pair
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, force, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.fence import lost_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two clusters."""
    with two_clusters.opened(tmp_path) as opened:
        yield opened


def lent(pair: Pair, name: str, tags: dict[str, str], mode: str = "rw") -> attachments.Target:
    """A volume of the second cluster that client 1 of both has."""
    global_id = volumes.create(pair.client(TWO), Plan(Owner(name, tags), GIB))
    target = attachments.Target(global_id, name)
    attachments.attach(pair.client(TWO), pair.two.host(1), target, "rw")
    attachments.attach(pair.client(), pair.one.host(1), target, mode)
    pair.one.post(f"VolumeMoveToRemote/{name}", {"cluster": "two", "onAttached": "export"})
    assert pair.attached() == {(global_id, 1, ONE), (global_id, 1, TWO)}
    return target


def fenced(pair: Pair) -> lost_host.Report:
    """Fence client 1 of the first cluster, as the command does."""
    pair.one.set_client(1, status="down")
    meant = lost_host.named("1", str(pair.one.folder))
    orders = lost_host.Orders(None, False)
    return lost_host.fence(pair.one.client(cluster_id=ONE), meant, "os", orders, pair.one.log)


@pytest.mark.parametrize("mode", ["rw", "ro"])
@pytest.mark.parametrize(
    ("name", "tags"),
    [
        (names.object_name(UUID), names.tags(UUID, "loc", UUID)),
        ("renamed-by-hand", names.tags(UUID, "loc", UUID)),
    ],
)
def test_what_it_has_over_the_bridge_is_taken(
    pair: Pair, name: str, tags: dict[str, str], mode: str
) -> None:
    """T57: its own list has no such volume, but another cluster tells whose it is; the client of
    the same number there keeps it."""
    target = lent(pair, name, tags, mode)
    fenced(pair)
    assert pair.attached() == {(target.global_id, 1, TWO)}


def test_what_others_have_over_the_bridge_stays(pair: Pair) -> None:
    """A volume of nobody's that lives elsewhere is other owners', and no reason to refuse."""
    target = lent(pair, "somebody-elses", {"virt": "cs"})
    fenced(pair)
    assert (target.global_id, 1, ONE) in pair.attached()


def test_a_cut_bridge_is_no_obstacle(pair: Pair) -> None:
    """A host is lost when much is: what has a name of ours is taken although its cluster is away;
    where nobody can tell whose something is, that is said."""
    target = lent(pair, names.object_name(UUID), names.tags(UUID, "loc", UUID))
    pair.cut()
    fenced(pair)
    assert pair.attached() == {(target.global_id, 1, TWO)}
    pair.heal()
    other = lent_too(pair)
    pair.cut()
    with pytest.raises(errors.Conflict, match="nobody can tell whose it is"):
        fenced(pair)
    assert (other.global_id, 1, ONE) in pair.attached()


def lent_too(pair: Pair) -> attachments.Target:
    """Another one, with a name that says nothing."""
    pair.one.set_client(1, status="running")
    global_id = volumes.create(pair.client(TWO), Plan(Owner("nameless"), GIB))
    target = attachments.Target(global_id, "nameless")
    attachments.attach(pair.client(), pair.one.host(1), target, "rw")
    pair.one.post("VolumeMoveToRemote/nameless", {"cluster": "two", "onAttached": "export"})
    return target


def test_a_clients_state_is_asked_of_its_own_cluster_as_of_now(pair: Pair) -> None:
    """Where several clusters are one name space too: there is a barrier in each alone."""
    force.status(pair.client(), 1)  # which makes where barriers are kept
    pair.one.queries()
    assert force.status(pair.client(), 1) == "ok"
    assert pair.one.queries()[-2:] == ("KV/Set", "ClientsConfigDump")


def test_whether_it_knows_is_asked_of_its_own_cluster(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generation of an answer may be another cluster's, far ahead of the own one's: a host that
    knows all is not taken for one that hangs."""
    target = lent(pair, names.object_name(UUID), names.tags(UUID, "loc", UUID))
    client = pair.client()
    seen = force.look(client, 1, "os")
    monkeypatch.setattr(api.Client, "_generation", lambda *_: 1 << 40)
    assert force.clear(client, seen, "os", pair.one.log).now.ours == ()
    assert pair.attached() == {(target.global_id, 1, TWO)}
