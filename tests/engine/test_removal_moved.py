"""removal.py: what somebody moved to another cluster while it was being deleted is not gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs import disk_rig, two_clusters
from rigs.disk_model import GIB
from rigs.yard import DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.cluster import api

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_a_move_in_the_middle_of_a_delete(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """T77: without sp_multicluster StorPool says "does not exist" of what has just left: the verb
    fails, naming the cluster, and the row stays until it is back."""
    with two_clusters.opened(tmp_path / "pair", disk_rig.TEMPLATE) as pair:
        yard.port = pair.one.simulator.port
        yard.verb("create", DISK, GIB)
        doomed = yard.verb("snapshot", DISK) if kind == "snapshot" else DISK
        call, query = f"{kind}_delete", f"{kind.title()}MoveToRemote"
        real: Any = getattr(api.Client, call)

        def moved(self: api.Client, address: str) -> None:
            pair.one.post(f"{query}/ovirt--{doomed}", {"cluster": "two"})
            monkeypatch.setattr(api.Client, call, real)
            real(self, address)

        monkeypatch.setattr(api.Client, call, moved)
        remove = "delete" if kind == "volume" else "remove"
        with pytest.raises(errors.WrongCluster, match=two_clusters.TWO):
            yard.verb(remove, doomed)
        assert doomed in yard.see().rows
        pair.two.post(f"{query}/ovirt--{doomed}", {"cluster": "one"})
        yard.verb(remove, doomed)
        left = [*pair.client().volumes(), *pair.client().snapshots()]
        assert doomed not in yard.see().rows
        assert f"ovirt--{doomed}" not in [each.name for each in left if not each.dying]
