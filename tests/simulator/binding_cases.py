"""Each method of the official binding that is simulated, with requests that have every field of its
schema.

`{v}` and the like in a name are global ids of what `filled` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from simulator_fixtures import GIB, Caller

if TYPE_CHECKING:
    from simulator_fixtures import Peer

Case = tuple[tuple[Any, ...], ...]
PLACED = {
    "placeAll": "default",
    "placeTail": "default",
    "placeHead": "default",
    "replication": 2,
    "bw": "-",
    "iops": 500,
    "reuseServer": True,
    "tags": {"qc": "tier1"},
}
FETCHED = {
    "placeAll": "default",
    "placeTail": "default",
    "placeHead": "default",
    "replication": 2,
    "template": "hdd",
    "export": True,
    "tags": {"a": "b"},
}
LATE = 2_000_000_000  # a moment that the simulator's clock has not reached
NOTHING: Case = ((),)
OF_VOLUME: Case = (("v",), ("~{v}",), ("~{unnamed}",))
OF_SNAPSHOT: Case = (("s",), ("~{s}",), ("~{unnamed_s}",))

# The arguments of each call; calls of one method are made one after the other.
CASES: Mapping[str, Case] = {
    # the cluster
    "peersList": NOTHING,
    "tasksList": NOTHING,
    "servicesList": NOTHING,
    "serversList": NOTHING,
    "serversListBlocked": NOTHING,
    "clientsConfigDump": NOTHING,
    "clientConfigWait": ((1,),),
    "disksList": NOTHING,
    "placementGroupsList": NOTHING,
    "placementGroupDescribe": (("default",),),
    "faultSetsList": NOTHING,
    "locationsList": NOTHING,
    "clustersList": NOTHING,
    "remoteBridgesList": NOTHING,
    "maintenanceList": NOTHING,
    "locationAdd": (({"id": "new", "name": "elsewhere"},),),
    "locationRename": (({"location": "wxyz", "name": "far-away"},),),
    "locationUpdate": (({"location": "wxyz", "sendBufferSize": 1, "recvBufferSize": 2},),),
    "locationRemove": (({"location": "empty"},),),
    "clusterAdd": (({"id": "g", "location": "wxyz", "name": "three"},),),
    "clusterRename": (({"cluster": "two", "name": "second"},),),
    "clusterRemove": (
        ({"name": "far", "clusterWillNotBeComingBack": True},),
        ({"location": "abcd", "id": "f"},),
    ),
    "remoteBridgeAdd": (
        (
            {
                "ip": "192.0.2.77",
                "publicKey": "a.b.c.d",
                "remote": "two",
                "minimumDeleteDelay": 60,
                "noCrypto": True,
            },
        ),
        ({"ip": "192.0.2.78", "publicKey": "a.b.c.d", "location": "wxyz"},),
    ),
    "remoteBridgeRemove": (({"ip": "{bridge}"},),),
    # disks and groups
    "serverDisksList": ((1,),),
    "serverDiskDescribe": ((1, 101),),
    "diskDescribe": ((101,),),
    "diskSetDesc": ((101, {"description": "slot 1"}),),
    "diskSoftEject": ((101,),),
    "diskSoftEjectPause": ((101,),),
    "diskSoftEjectCancel": ((101,),),
    "diskScrubStart": ((101,),),
    "diskScrubPause": ((101,),),
    "diskScrubContinue": ((101,),),
    "placementGroupUpdate": (
        ("flash", {"addDisks": [101, 102]}),
        ("flash", {"rename": "ssd", "addDisks": [201], "rmDisks": [102]}),
    ),
    "placementGroupDelete": (("idle",),),
    # requests under way, relocator, balancer, maintenance
    "allPeersActiveRequests": ((), ({"msecsTimeout": 500},)),
    "clientActiveRequests": ((1,),),
    "diskActiveRequests": ((101,),),
    "volumeRelocatorStatus": NOTHING,
    "volumeRelocatorDisks": NOTHING,
    "volumeRelocatorVolumeDisks": OF_VOLUME,
    "volumeRelocatorSnapshotDisks": OF_SNAPSHOT,
    "volumeBalancerGetStatus": NOTHING,
    "volumeBalancerVolumesStatus": NOTHING,
    "volumeBalancerDisks": NOTHING,
    "volumeBalancerVolumeDisks": OF_VOLUME,
    "volumeBalancerSnapshotDisks": OF_SNAPSHOT,
    "volumeBalancerVolumeDiskSets": OF_VOLUME,
    "volumeBalancerSnapshotDiskSets": OF_SNAPSHOT,
    "maintenanceSet": (
        (
            {
                "nodeId": 2,
                "duration": 600,
                "description": "new memory",
                "minOkReplicas": 1,
                "maxReplicationDecrease": 1,
                "votingSafetyMargin": 0,
                "maxNodesInMaintenance": 2,
            },
        ),
    ),
    "maintenanceComplete": (({"nodeId": 1},),),
    # volumes
    "volumesList": NOTHING,
    "volumesStatus": NOTHING,
    "volumesQuickStatus": NOTHING,
    "volumesSpace": NOTHING,
    "volumeList": OF_VOLUME,
    "volumeDescribe": OF_VOLUME,
    "volumeInfo": OF_VOLUME,
    "volumeListSnapshots": OF_VOLUME,
    "volumeCreate": (
        ({"name": "new", "size": GIB, "template": "nvme", **PLACED},),
        ({"size": GIB},),
        ({"name": "of-s", "parent": "s", "template": "hdd"},),
        ({"parent": "~{s}"},),
        ({"name": "of-v", "baseOn": "v"},),
        ({"baseOn": "~{unnamed}", "tags": {}},),
    ),
    "volumeUpdate": (
        ("v", {"rename": "w", "size": 2 * GIB, "template": "hdd", **PLACED}),
        ("w", {"sizeAdd": GIB}),
        ("~{v}", {"size": GIB, "shrinkOk": True}),
        ("~{unnamed}", {"rename": "named", "tags": {"qc": ""}}),
    ),
    "volumeFreeze": (
        ("free", {"targetDeleteDate": LATE}),
        ("~{child}", {"deleteAfter": 5}),
        ("clone",),
    ),
    "volumeRebase": (("child", {"parentName": "s"}), ("~{child}", {})),
    "volumeAbandonDisk": (("v", {"diskId": 101}),),
    "volumeDelete": (("free",), ("~{child}",)),
    "volumeMoveToRemote": (
        ("v", {"cluster": "two", "onAttached": "detach"}),
        ("~{unnamed}", {"clusterId": "abcd.f", "onAttached": "export"}),
    ),
    "snapshotMoveToRemote": (
        ("s", {"cluster": "two", "onAttached": "detachForce"}),
        ("~{unnamed_s}", {"clusterId": "abcd.f"}),
    ),
    "volumeAcquire": (("v", {"onRemoteAttached": "fail"}), ("~{unnamed}", {})),
    "volumeRevert": (
        ("child", {"toSnapshot": "s"}),
        ("~{child}", {"toSnapshot": "~{unnamed_s}"}),
        ("~{free_unnamed}", {"toSnapshot": "~{s}"}),
    ),
    # snapshots
    "snapshotsList": NOTHING,
    "snapshotsSpace": NOTHING,
    "snapshotList": OF_SNAPSHOT,
    "snapshotDescribe": OF_SNAPSHOT,
    "snapshotInfo": OF_SNAPSHOT,
    "snapshotCreate": (
        ("v", {"name": "t", "bind": True, "targetDeleteDate": LATE, "tags": {"a": "b"}}),
        ("~{v}", {"deleteAfter": 60}),
        ("~{unnamed}", {}),
    ),
    "snapshotUpdate": (
        ("s", {"rename": "t", "template": "hdd", "bind": True, "deleteAfter": 0, **PLACED}),
        ("~{s}", {"targetDeleteDate": LATE}),
    ),
    "snapshotRebase": (("bound", {"parentName": "s"}), ("~{s}", {})),
    "snapshotAbandonDisk": (("s", {"diskId": 101}),),
    "snapshotDelete": (("bound",), ("~{unnamed_s}",)),
    "snapshotDeleteById": (("{unnamed_s}",),),
    "snapshotCreateGroup": (
        (
            {
                "volumes": [
                    {"volume": "v", "name": "g", "tags": {"disk": "0"}},
                    {"volume": "~{unnamed}"},
                    {"volume": "clone"},
                ],
                "tags": {"vm": "7"},
            },
        ),
    ),
    "volumeBackup": (
        ({"volume": "v", "location": "wxyz", "tags": {"a": "b"}},),
        ({"volume": "~{unnamed}", "location": "abcd"},),
    ),
    "volumesGroupBackup": (
        ({"volumes": ["v", "~{unnamed}"], "location": "wxyz", "tags": {"a": "b"}},),
    ),
    "snapshotFromRemote": (
        ({"remoteLocation": "wxyz", "remoteId": "{backup}", "name": "back", **FETCHED},),
        ({"remoteLocation": "wxyz", "remoteId": "{second_backup}"},),
    ),
    "volumeFromRemote": (
        ({"remoteLocation": "wxyz", "remoteId": "{backup}", "name": "back", **FETCHED},),
    ),
    "snapshotExport": (
        ({"snapshot": "s", "location": "wxyz"},),
        ({"snapshot": "~{s}", "location": "abcd"},),
    ),
    "snapshotUnexport": (
        ({"snapshot": "exported", "location": "wxyz", "force": True},),
        ({"snapshot": "~{exported}", "all": True},),
    ),
    "snapshotsRemoteUnexport": (
        (
            {
                "remoteSnapshots": [
                    {
                        "location": "wxyz",
                        "globalSnapshotId": "{backup}",
                        "targetDeleteDate": LATE,
                    },
                    {
                        "location": "wxyz",
                        "globalSnapshotId": "{second_backup}",
                        "deleteAfter": 60,
                    },
                ]
            },
        ),
    ),
    "volumeExport": (("v", {"cluster": "two"}), ("~{unnamed}", {"clusterId": "abcd.f"})),
    "exportsList": NOTHING,
    "volumeExportsList": NOTHING,
    "snapshotsRemoteList": NOTHING,
    "volumesRemoteList": NOTHING,
    # attachments
    "attachmentsList": NOTHING,
    "volumesReassign": (
        (
            [
                {
                    "volume": "v",
                    "rw": [1],
                    "ro": [7],
                    "detach": [2],
                    "force": True,
                    "allowRemoteExported": True,
                    "onRemoteAttached": "fail",
                    "mcMode": "export",
                },
                {"snapshot": "s", "ro": [1], "detach": "all", "force": False},
            ],
        ),
        ([{"volume": "~{unnamed}", "detach": "all"}],),
    ),
    "volumesReassignWait": (
        (
            {
                "reassign": [
                    {
                        "volume": "v",
                        "rw": [1],
                        "ro": [7],
                        "detach": [2],
                        "force": True,
                        "allowRemoteExported": True,
                        "onRemoteAttached": "fail",
                        "mcMode": "export",
                    },
                    {"snapshot": "~{s}", "ro": [2], "detach": [7]},
                ],
                "attachTimeout": 5,
            },
        ),
    ),
    # templates
    "volumeTemplatesList": NOTHING,
    "volumeTemplatesStatus": NOTHING,
    "volumeTemplateDescribe": (("nvme",),),
    "volumeTemplateCreate": (({"name": "t", "parent": "s", "size": GIB, **PLACED},),),
    "volumeTemplateUpdate": (
        ("hdd", {"rename": "u", "parent": "s", "size": GIB, "propagate": True, **PLACED}),
    ),
    "volumeTemplateDelete": (("hdd",),),
    # the key-value store
    "kvsBuckets": NOTHING,
    "kvsList": (("bucket",),),
    "kvsGet": (("bucket", "key"),),
    "kvsCreate": (("another",),),
    "kvsDelete": (("bucket",),),
    "kvsUpdate": (("bucket", {"runIfVersionIs": 1, "set": {"key": "", "k/2": "x"}}),),
}


def filled(peer: Peer) -> dict[str, str]:
    """Make volumes, named and not, all kinds of snapshots, attachments, a bucket; return ids."""
    ids = {"v": peer.create("v", template="nvme", tags={"virt": "ovirt"})}
    ids["unnamed"] = peer.create("", replication=2, bw=10, iops=0)
    ids["free_unnamed"] = peer.create("")
    ids["s"] = peer.snapshot("v", deleteAfter=1000, tags={"a": "b"})
    ids["bound"] = peer.snapshot("v", "bound", bind=True)
    peer.post("VolumeSnapshot/v", {})
    ids["unnamed_s"] = peer.snapshot(f"~{ids['unnamed']}", "")
    ids["free"] = peer.create("free")
    ids["child"] = peer.post("VolumeCreate", {"name": "child", "parent": "s"})["globalId"]
    ids["clone"] = peer.post("VolumeCreate", {"name": "clone", "baseOn": "v"})["globalId"]
    peer.snapshot("clone", "doomed")
    peer.post("SnapshotDelete/doomed", {})
    peer.reassign({"volume": "v", "rw": [1], "ro": [2]}, {"snapshot": "s", "ro": [7]})
    peer.reassign({"volume": f"~{ids['unnamed']}", "rw": [1]})
    peer.post("PlacementGroupUpdate/idle", {"addDisks": [101]})
    peer.post("MaintenanceSet", {"nodeId": 1, "duration": 600, "description": ""})
    _fill_others(peer, ids)
    peer.post("KV/Create/bucket")
    peer.post("KV/Set/bucket", {"set": {"key": "value"}})
    return ids


def _fill_others(peer: Peer, ids: dict[str, str]) -> None:
    """Have something of each kind go to the other clusters and come from there."""
    two = peer.simulator.others["two"]
    Caller(two.host, two.port).create("theirs")
    Caller(two.host, two.port).post("VolumeExport/theirs", {"clusterId": "abcd.e"})
    peer.post("VolumeExport/free", {"cluster": "two"})
    ids["exported"] = peer.snapshot("free", "exported")
    for location in ("abcd", "wxyz"):
        peer.post("SnapshotExport", {"snapshot": "exported", "location": location})
    for key in ("backup", "second_backup"):
        body = {"volume": "free", "location": "wxyz", "tags": {"a": "b"}}
        ids[key] = peer.post("VolumeBackup", body)["remoteId"]
    peer.simulator.set_bridge("far", seconds_per_gib=1e6)
    peer.post("VolumeBackup", {"volume": "free", "location": "wxyz"})
    peer.post("LocationAdd", {"id": "empty", "name": "empty"})
    ids["bridge"] = peer.get("RemoteBridgesList")["remoteBridges"][0]["ip"]


def named(value: Any, ids: Mapping[str, str]) -> Any:
    """Return arguments with the ids in them."""
    if isinstance(value, str):
        return value.format_map(ids)
    if isinstance(value, (list, tuple)):
        return type(value)(named(each, ids) for each in value)
    if isinstance(value, dict):
        return {key: named(each, ids) for key, each in value.items()}
    return value


def field_names(value: Any) -> Iterator[str]:
    """Yield the names of all fields in arguments; what users name is no field."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            if key not in ("tags", "set"):
                yield from field_names(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from field_names(each)
