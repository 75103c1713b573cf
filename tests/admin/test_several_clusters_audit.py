"""audit, reconcile, rebuild, attachments on two clusters with one name space."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rigs import several_yard
from rigs.several_yard import GIB, ONE, TWO, SeveralYard
from storpool_ovirt import errors, names
from storpool_ovirt.admin import audit_text, listing_text
from storpool_ovirt.cluster import api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

DISK, OTHER, LOST = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "def")


@pytest.fixture(params=["error-take", "omit-take", "omit-refuse"])
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[SeveralYard]:
    """An Engine with a disk in each of two clusters."""
    unreachable, together = request.param.split("-")
    switches = {"mc_unreachable": unreachable, "remote_multicluster": together}
    with several_yard.opened(module_database, tmp_path, **switches) as made:
        made.verb("create", DISK, GIB)
        made.verb("create", OTHER, GIB, pinned=TWO)
        yield made


def test_all_is_well(yard: SeveralYard) -> None:
    """Disks of both clusters, snapshots, what was moved, what hosts of both have: no finding but
    what is true in one cluster too."""
    assert yard.found() == []
    yard.verb("snapshot", OTHER)
    yard.move(DISK, TWO)
    yard.attach(OTHER, TWO, 4)
    assert yard.found() == []
    assert yard.reconcile() == []


def test_an_error_of_one_cluster_is_no_finding(yard: SeveralYard) -> None:
    """T57: nothing is a ghost, unmapped or deleted while a cluster is away: it could not look."""
    before = yard.rows()
    yard.pair.cut()
    for act in (
        yard.report,
        yard.reconcile,
        lambda: yard.rebuild("x"),
        yard.attachments,
        lambda: yard.remove(OTHER),
        lambda: yard.verb("delete", OTHER),
    ):
        with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
            act()
    yard.pair.heal()
    assert {uuid: row.global_id for uuid, row in yard.rows().items()} == {
        uuid: row.global_id for uuid, row in before.items()
    }
    assert len(yard.pair.client().volumes()) == 2


def test_what_is_really_gone_is_a_ghost(yard: SeveralYard) -> None:
    """The only disk of a cluster was deleted by hand there: it is a ghost, and can be forgotten,
    though nothing of that cluster is shown."""
    yard.pair.two.post(f"VolumeDelete/{names.object_name(OTHER)}", {})
    assert yard.found() == [("ghost", OTHER)]
    assert yard.report().severity == "critical"
    assert "forgot" in yard.remove(OTHER)
    assert yard.found() == []


def test_what_was_made_elsewhere_is_not_gone(yard: SeveralYard) -> None:
    """T77: a cluster of another location is none of these: its row is no ghost and stays."""
    row = yard.rows()[OTHER]
    with yard.work() as work:
        work.mapping.session.rows(
            "UPDATE storpool_ovirt.node SET global_id = 'rem.c.7' WHERE uuid = %s RETURNING 1",
            OTHER,
        )
    yard.pair.two.post(f"VolumeDelete/~{row.global_id}", {})
    assert ("ghost", OTHER) not in yard.found()
    with pytest.raises(errors.WrongCluster, match="rem"):
        yard.remove(OTHER)
    with pytest.raises(errors.WrongCluster, match="rem"):
        yard.verb("delete", OTHER)
    assert OTHER in yard.rows()


def test_what_moves_is_one_row(yard: SeveralYard) -> None:
    """While it moves both clusters list it: it is one disk, neither unmapped nor twice attached."""
    yard.attach(OTHER, TWO, 4)
    yard.pair.one.simulator.set_bridge("two", seconds_per_gib=100000)
    yard.move(OTHER, ONE)
    assert yard.found() == []
    counts = audit_text.document(yard.report())["counts"]
    assert (counts["disks"], counts["attachments"], counts["elsewhere"]) == (2, 1, 0)
    assert [str(each.client_id) for each in yard.attachments().entries] == [f"4 of cluster {TWO}"]


def test_rebuild_takes_in_both(yard: SeveralYard) -> None:
    """A lost mapping is made again with the disks of both clusters, each once."""
    yard.verb("snapshot", OTHER)
    with yard.work() as work:
        location = work.mapping.location
    before = {uuid: row.global_id for uuid, row in yard.rows().items()}
    yard.pair.one.simulator.set_bridge("two", seconds_per_gib=100000)
    yard.move(DISK, TWO)
    with yard.work() as work:
        work.mapping.session.rows("DELETE FROM storpool_ovirt.node RETURNING 1")
        work.mapping.session.rows("DELETE FROM storpool_ovirt.operation RETURNING 1")
    assert yard.rebuild(location) == 3
    assert {uuid: row.global_id for uuid, row in yard.rows().items()} == before


def test_a_died_operation_is_settled_wherever_its_disk_was_made(yard: SeveralYard) -> None:
    """T72: an entry on a disk of the other cluster is no stranger's."""
    with yard.work("extend") as engine:
        engine.mapping.lock(OTHER)
        engine.mapping.begin_growth(engine.mapping.node(OTHER), 2 * GIB)
        engine.mapping.journal.failed("undelivered", "nobody read it")
    done = yard.reconcile()
    assert len(done) == 1
    assert yard.found() == []


def test_clients_of_the_other_cluster_are_told(yard: SeveralYard) -> None:
    """T23: with their cluster and their status there; a client of the same number here is another
    host."""
    yard.attach(OTHER, TWO, 4)
    yard.attach(DISK, ONE, 1)
    yard.pair.two.set_client(4, status="down")
    found = yard.attachments()
    lines = "\n".join(listing_text.text(found, 0.0))
    assert f"DOWN: client 4 of cluster {TWO}" in lines
    told = json.loads(json.dumps(listing_text.document(found, 0.0)))
    rows = {
        (each["client_id"], each["cluster_id"]): each["client_down"] for each in told["attachments"]
    }
    assert rows == {(4, TWO): True, (1, None): False}
    assert told["clients_down"] == [f"4 of cluster {TWO}"]
    (stale,) = yard.report().findings
    assert stale.kind == "stale attachment"
    assert f"client 4 of cluster {TWO} has it attached and is down" in stale.cause
    assert f"sp_cluster_id={TWO}" in stale.mend


def test_without_the_option_what_was_moved_away_is_no_ghost(yard: SeveralYard) -> None:
    """A domain of one cluster is told where its disk lives, and that nobody could look while that
    cluster does not answer; nothing is forgotten."""
    yard.move(DISK, TWO)
    yard.multicluster = False
    (found,) = [each for each in yard.report().findings if each.uuid == DISK]
    assert (found.kind, found.severity, found.action) == ("another cluster", "warning", None)
    assert f"lives in StorPool cluster {TWO}" in found.cause
    assert ("ghost", OTHER) not in yard.found()  # the other domain's
    with pytest.raises(errors.WrongCluster):
        yard.remove(DISK)
    yard.pair.cut()
    (found,) = [each for each in yard.report().findings if each.uuid == DISK]
    assert (found.kind, "could not be looked at" in found.cause) == ("another cluster", True)
    with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
        yard.remove(DISK)
    yard.pair.heal()
    yard.pair.two.post(f"VolumeDelete/{names.object_name(DISK)}", {})
    assert ("ghost", DISK) in yard.found()


def test_detach_closed_reaches_hosts_of_both(yard: SeveralYard) -> None:
    """`reconcile --detach` lets go where it is closed, in each cluster, and names the open one."""
    from storpool_ovirt.admin import reconcile

    yard.attach(OTHER, ONE, 1)
    yard.attach(OTHER, TWO, 1)
    target = yard.target(OTHER)
    yard.pair.two.set_client(1, open=[target.global_id])
    with yard.work("reconcile") as work:
        said = reconcile.detach(work, OTHER)
    assert f"open at client 1 of cluster {TWO}" in said
    assert yard.pair.attached() == {(target.global_id, 1, TWO)}
    assert api.RemoteClient(1, TWO) in {each.client_id for each in yard.attachments().entries}
