"""ownership.py: a disk that somebody moved to another cluster is not gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import disk_rig, two_clusters
from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors

if TYPE_CHECKING:
    from pathlib import Path


def test_a_disk_that_lives_in_another_cluster_keeps_its_row(yard: Yard, tmp_path: Path) -> None:
    """T77: without sp_multicluster a delete of it is refused, naming the cluster; back again, it is
    deleted."""
    with two_clusters.opened(tmp_path / "pair", disk_rig.TEMPLATE) as pair:
        yard.port = pair.one.simulator.port
        yard.verb("create", DISK, GIB)
        rows = yard.see().rows
        pair.one.post(f"VolumeMoveToRemote/ovirt--{DISK}", {"cluster": "two"})
        with pytest.raises(errors.WrongCluster, match=two_clusters.TWO):
            yard.verb("delete", DISK)
        assert yard.see().rows == rows
        assert [each.cluster_id for each in pair.client().volumes()] == [two_clusters.TWO]
        pair.one.post(f"MultiCluster/VolumeAcquire/ovirt--{DISK}", {})
        yard.verb("delete", DISK)
        assert (yard.see().rows, pair.client().volumes()) == ({}, [])


def test_a_disk_that_went_back_where_it_was_made_keeps_its_row(yard: Yard, tmp_path: Path) -> None:
    """T77: it came from the other cluster, as one that is still here did, and lives there again:
    what an administrator wants to forget is refused, naming the cluster."""
    with two_clusters.opened(tmp_path / "pair", disk_rig.TEMPLATE) as pair:
        yard.port = pair.two.simulator.port
        for disk in (DISK, CLONE):
            yard.verb("create", disk, GIB)
            pair.two.post(f"VolumeMoveToRemote/ovirt--{disk}", {"cluster": "one"})
        yard.port = pair.one.simulator.port
        pair.one.post(f"VolumeMoveToRemote/ovirt--{DISK}", {"cluster": "two"})
        rows = yard.see().rows
        with pytest.raises(errors.WrongCluster, match=two_clusters.TWO):
            yard.remove(DISK)
        assert yard.see().rows == rows
