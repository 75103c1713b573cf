"""The bodies of requests that move volumes and snapshots, parsed once [sptypes]."""

from __future__ import annotations

from dataclasses import dataclass

from storpool_simulator import errors
from storpool_simulator.model.fields import Fields
from storpool_simulator.model.objects import Neighbour
from storpool_simulator.model.requests import ON_ATTACHED


@dataclass(frozen=True)
class MoveToRemote:
    """VolumeMoveToRemoteDesc and SnapshotMoveToRemoteDesc: `name` or `cluster_id` is the target."""

    name: str | None
    cluster_id: str | None
    on_attached: str

    def names(self, cluster: Neighbour) -> bool:
        """Return whether this cluster is meant."""
        return self.name == cluster.name or self.cluster_id == cluster.cluster_id


def move_to_remote(body: Fields) -> MoveToRemote:
    """Parse VolumeMoveToRemote and SnapshotMoveToRemote; `onAttached` is "fail" if not given."""
    parsed = MoveToRemote(
        body.text("cluster"),
        body.text("clusterId"),
        body.choice("onAttached", ON_ATTACHED) or "fail",
    )
    body.end()
    if (parsed.name is None) == (parsed.cluster_id is None):
        raise errors.InvalidParamError(f"{body.what}: exactly one of 'cluster' and 'clusterId'.")
    return parsed


def acquire(body: Fields) -> str:
    """Parse VolumeAcquire; return what to do with a volume that is attached."""
    parsed = body.choice("onRemoteAttached", ON_ATTACHED) or "fail"
    body.end()
    return parsed
