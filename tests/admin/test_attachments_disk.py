"""`storpool-ovirt attachments --disk`: only what the disk has is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attachments_ground import document, listed

from rigs import shared_stage

if TYPE_CHECKING:
    from rigs.admin_site import AdminSite

pytestmark = pytest.mark.usefixtures("named_hosts")
LISTS = {"VolumesList", "SnapshotsList"}


def asked(site: AdminSite, *arguments: str) -> tuple[list[str], dict[str, Any]]:
    """Return what StorPool was asked for a listing, and the listing."""
    site.stage.simulator.clear_calls()
    found = document(site, *arguments)
    return shared_stage.queries(site.stage.simulator), found


def test_only_the_nodes_of_the_disk_are_read(site: AdminSite) -> None:
    """T66: whichever of its nodes is named: the same is told as beside all others, and no list of
    volumes is read."""
    tree = shared_stage.make_tree(site.stage.engine)
    other = shared_stage.make_disk(site.stage.engine)
    for client_id, uuid in ((1, tree.disk), (2, tree.disk), (1, tree.snapshot), (2, other)):
        shared_stage.attach(site.stage, client_id, uuid)
    everything = document(site)
    of_tree = [each for each in everything["attachments"] if each["disk"] == tree.disk]
    assert len(of_tree) == 3
    for node in (tree.disk, tree.snapshot):
        queries, found = asked(site, "--disk", node)
        assert found["attachments"] == of_tree
        assert found["others"] is None
        assert not LISTS.intersection(queries)
        assert sorted(set(queries) & {"Volume", "Snapshot"}) == ["Snapshot", "Volume"]
        assert len([each for each in queries if each in ("Volume", "Snapshot")]) == 3
    assert everything["others"] == 0


def test_what_is_left_out_is_not_counted(site: AdminSite, disk: str) -> None:
    """T76: nobody looked whose the other attachments are: the line is missing, and `others` is
    null."""
    shared_stage.attach(site.stage, 1, disk)
    for name in ("one", "two"):
        shared_stage.post(site.stage.simulator, "VolumeCreate", {"name": name, "size": 1 << 30})
        attach = {"volume": name, "rw": [1]}
        shared_stage.post(site.stage.simulator, "VolumesReassignWait", {"reassign": [attach]})
    assert listed(site)[-1].startswith("left out: 2 attachments")
    assert not any("left out" in line for line in listed(site, "--disk", disk))
    assert document(site, "--disk", disk)["others"] is None
    shared_stage.sql(site.stage.database, "DELETE FROM storpool_ovirt.node")
    assert document(site, "--disk", disk)["others"] is None


def test_a_disk_without_rows_is_looked_for_in_the_lists(site: AdminSite, disk: str) -> None:
    """T85: by its tags, as everything is where there is no row."""
    shared_stage.attach(site.stage, 1, disk)
    shared_stage.sql(site.stage.database, "DELETE FROM storpool_ovirt.node")
    queries, found = asked(site, "--disk", disk)
    assert set(queries) >= LISTS
    assert [each["disk"] for each in found["attachments"]] == [disk]


def test_an_object_that_is_gone_is_no_attachment(site: AdminSite, disk: str) -> None:
    """T66: its row alone tells of it; exit code 0."""
    site.lose(disk)
    queries, found = asked(site, "--disk", disk)
    assert found["attachments"] == []
    assert not LISTS.intersection(queries)
