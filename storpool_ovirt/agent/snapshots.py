"""Which snapshot of ours each of a VM's disks stands on: read from StorPool, where nothing is
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from storpool_ovirt import config, errors, names
from storpool_ovirt.agent import thaw
from storpool_ovirt.cluster import api, identity
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import Limits

# Ours: a guest waits frozen meanwhile, and is looked at again.
LIMITS = Limits(deadline_seconds=5.0, request_seconds=4.0, retry_seconds=0.5)
# Ours: two requests a disk up to so many; with more, two lists of the whole cluster cost less.
ONE_BY_ONE_MAX = 8
# VolumeCare, or a person, may have taken snapshots since; one that was deleted stays as long as the
# volume stands on it.
_OTHERS_MAX = 3


def newest(disks: Sequence[Sequence[str]], root: str = "") -> list[thaw.Snapshot | None]:
    """Return the newest snapshot of ours of each disk, None where it has none.

    A disk is the global ids that its device has here. Raises one of our errors where StorPool, or
    its settings on this host, cannot be asked.
    """
    settings = config.host(root, environment=False)
    deadline = Deadline(LIMITS.deadline_seconds)
    client = api.Client(settings.api, deadline, limits=LIMITS)
    if len(disks) <= ONE_BY_ONE_MAX:
        return [_newest(disk, client.volume, client.snapshot) for disk in disks]
    volume, snapshot = _found(client.volumes()), _found(client.snapshots())
    return [_newest(disk, volume, snapshot) for disk in disks]


def _found(listed: Sequence[api.Volume]) -> Callable[[str], api.Volume]:
    """Return a function that finds in a list what `Client.volume` would ask for."""
    known = identity.by_address(listed)

    def find(address: str) -> api.Volume:
        if address not in known:
            raise errors.NotFound("volume or snapshot", address, "in StorPool's list")
        return known[address]

    return find


def _newest(
    disk: Sequence[str],
    volume: Callable[[str], api.Volume],
    snapshot: Callable[[str], api.Volume],
) -> thaw.Snapshot | None:
    parent = _volume(disk, volume).parent
    for _ in range(_OTHERS_MAX + 1):
        if not parent:
            return None
        try:
            found = snapshot(parent)
        except errors.NotFound:
            return None  # deleted between two requests
        is_there = not found.dying and not found.transient
        if is_there and names.is_own_mark(found.name, found.tags):
            mark = found.tags.get(names.TAG_MOMENT, "")
            return thaw.Snapshot(found.global_id, found.created_at, mark)
        parent = found.parent
    return None


def _volume(disk: Sequence[str], volume: Callable[[str], api.Volume]) -> api.Volume:
    """Return the volume of a device, which has several ids after a revert."""
    for global_id in disk[:-1]:
        try:
            return volume(names.address(global_id))
        except errors.NotFound:
            continue
    return volume(names.address(disk[-1]))
