"""The disks of the servers: twelve that are up for ever, and what an operator says about them.

Each of the three servers has two SSDs and two HDDs. Together they are as large as the largest
template says [sptypes]. No data is on one disk rather than on another, so nothing moves when a disk
is emptied (`soft eject`), and a scrubbing run reads nothing and ends when it is paused or restarted
only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import objects
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Disk

View = dict[str, Any]

SERVERS = (1, 2, 3)
DISKS_PER_SERVER = 4
SSDS_PER_SERVER = 2
DISK_IDS = tuple(
    server * 100 + disk for server in SERVERS for disk in range(1, DISKS_PER_SERVER + 1)
)
GROUP_SIZE = 512 << 20  # an allocation group [cinder]
RAW_SHARE = 4224 / 4096  # of raw space to data: what cinder's formula takes off again [cinder]


def disk_set(replication: int) -> list[int]:
    """Return the ids of the disks on which the copies of a volume are said to be."""
    return list(DISK_IDS[::DISKS_PER_SERVER][:replication])


def disks(cluster: Cluster, server_id: int | None = None) -> View:
    """Return the reply of DisksList and ServerDisksList: all disks are up.

    Cinder's driver computes its capacity from the allocation groups [cinder]. Raises
    NoSuchObjectError for a server that is not there.
    """
    if server_id not in (None, *SERVERS):
        raise errors.NoSuchObjectError(f"Server {server_id} does not exist.")
    capacity_bytes = max(
        (one.capacity_bytes * one.replication for one in cluster.catalog.templates), default=0
    )
    raw_bytes = (capacity_bytes or objects.DEFAULT_CAPACITY) * RAW_SHARE
    stored_bytes = 0
    for template in cluster.catalog.templates:
        stored_bytes += cluster.catalog.tally(template.number).stored_bytes * template.replication
    used_bytes = RAW_SHARE * stored_bytes
    groups = -(-int(raw_bytes) // (GROUP_SIZE * len(DISK_IDS)))
    allocated = min(groups, -(-int(used_bytes) // (GROUP_SIZE * len(DISK_IDS))))
    on_disk_bytes = int(used_bytes) // len(DISK_IDS)
    shown = [one for one in DISK_IDS if server_id in (None, one // 100)]
    return {
        str(disk_id): {
            **_summary(disk_id, groups, allocated, on_disk_bytes),
            **_said(said(cluster, disk_id), cluster.now()),
        }
        for disk_id in shown
    }


def described(cluster: Cluster, disk_id: int, server_id: int | None = None) -> View:
    """Return the reply of DiskDescribe and ServerDiskDescribe.

    No object is on one disk rather than on another, so none is listed.
    """
    said(cluster, disk_id)
    view: View = disks(cluster, server_id).get(str(disk_id), {})
    if not view:
        raise errors.NoSuchObjectError(f"Disk {disk_id} is not on server {server_id}.")
    return {**view, "objects": {}}


def said(cluster: Cluster, disk_id: int) -> Disk:
    """Return what is said about a disk, or raise NoSuchObjectError."""
    if disk_id not in DISK_IDS:
        raise errors.NoSuchObjectError(f"Disk {disk_id} does not exist.")
    return cluster.catalog.disks.get(disk_id) or Disk(disk_id)


def describe(cluster: Cluster, disk_id: int, description: str) -> None:
    """Carry out DiskSetDescription."""
    with cluster.change():
        cluster.catalog.disks.put(replace(said(cluster, disk_id), description=description))


def soft_eject(cluster: Cluster, disk_id: int, state: str) -> None:
    """Carry out DiskSoftEject, DiskSoftEjectPause, DiskSoftEjectCancel: "on", "paused", "off"."""
    with cluster.change():
        cluster.catalog.disks.put(replace(said(cluster, disk_id), soft_eject=state))


def scrub_start(cluster: Cluster, disk_id: int) -> None:
    """Carry out DiskScrubStart: a new run, which waits while scrubbing is paused [sptest]."""
    with cluster.change():
        disk, now = said(cluster, disk_id), cluster.now()
        paused_at = now if disk.scrub_paused_at else 0
        cluster.catalog.disks.put(
            replace(disk, scrub_started_at=now, scrub_paused_at=paused_at, scrub_paused_for=0)
        )


def scrub_pause(cluster: Cluster, disk_id: int) -> None:
    """Carry out DiskScrubPause: runs, now and later, wait [sptest]."""
    with cluster.change():
        disk = said(cluster, disk_id)
        paused_at = disk.scrub_paused_at or cluster.now()
        cluster.catalog.disks.put(replace(disk, scrub_paused_at=paused_at))


def scrub_continue(cluster: Cluster, disk_id: int) -> None:
    """Carry out DiskScrubContinue."""
    with cluster.change():
        disk = said(cluster, disk_id)
        paused_for = _paused_for(disk, cluster.now())
        cluster.catalog.disks.put(replace(disk, scrub_paused_at=0, scrub_paused_for=paused_for))


def _paused_for(disk: Disk, now: float) -> float:
    """Return for how many seconds the run under way has been paused until now."""
    if not disk.scrub_started_at:
        return 0
    return disk.scrub_paused_for + (now - disk.scrub_paused_at if disk.scrub_paused_at else 0)


def _said(disk: Disk, now: float) -> View:
    started = disk.scrub_started_at
    return {
        "description": disk.description,
        "softEject": disk.soft_eject,
        "scrubbingStartedBefore": int(now - started) if started else 0,
        "scrubbingPausedFor": int(_paused_for(disk, now)),
        "scrubbingPaused": bool(disk.scrub_paused_at),
    }


def _summary(disk_id: int, groups: int, allocated: int, on_disk_bytes: int) -> View:
    entries = groups * (GROUP_SIZE // 4096)
    most = groups * (GROUP_SIZE // objects.OBJECT_SIZE)
    return {
        "id": disk_id,
        "serverId": disk_id // 100,
        "ssd": disk_id % 100 <= SSDS_PER_SERVER,
        "generationLeft": -1,
        "model": "simulated",
        "serial": f"S{disk_id:07d}",
        "sectorsCount": groups * GROUP_SIZE // objects.SECTOR_SIZE,
        "empty": allocated == 0,
        "noFua": False,
        "noFlush": False,
        "noTrim": False,
        "isWbc": False,
        "journaled": False,
        "device": f"/dev/simulated{disk_id}",
        "agCount": groups,
        "agAllocated": allocated,
        "agFree": groups - allocated,
        "agFull": allocated,
        "agPartial": 0,
        "agFreeing": 0,
        "agMaxSizeFull": 0,
        "agMaxSizePartial": 0,
        "entriesCount": entries,
        "entriesAllocated": 0,
        "entriesFree": entries,
        "objectsCount": most,
        "objectsAllocated": 0,
        "objectsFree": most,
        "objectsOnDiskSize": on_disk_bytes,
        "wbc": None,
        "aggregateScore": {"entries": 0, "space": 0, "total": 0},
        "scrubbedBytes": 0,
        "scrubbingBW": 0,
        "scrubbingFinishAfter": 0,
        "lastScrubCompleted": 0,
    }
