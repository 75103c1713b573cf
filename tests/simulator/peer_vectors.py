"""What StorPool's other clients send, and the fields of the answer that they read.

Told in our own words from their sources ([cinder], [brick], [pve], [csi], [cs], [addon],
[addon mc], [kvchk], [cloudstack-dr]; docs/simulator.md has the tags).
"""

from __future__ import annotations

import re

from peer_answers import ALL, CLUSTER, ID, MC, OF_ALL, OK, UNNAMED, Vector, each, refused
from simulator_fixtures import GIB

OPEN = "'os--volume-o' is open at client 1"

CINDER = (
    Vector("cinder", f"POST {MC}/VolumeCreate", {"name": "n", "size": GIB, "template": "nvme"}, OK),
    Vector("cinder", f"POST {MC}/VolumeCreate", {"name": "n", "size": GIB, "baseOn": "v"}, OK),
    Vector("cinder", f"POST {MC}/VolumeCreate", {"name": "n", "size": GIB, "parent": "s"}, OK),
    Vector("cinder", f"POST {MC}/VolumeSnapshot/v", {"name": "n"}, OK),
    Vector("cinder", f"POST {MC}/VolumeRevert/free", {"toSnapshot": "s"}, OK),
    Vector("cinder", f"POST {MC}/VolumeUpdate/v", {"size": 2 * GIB}, OK),
    Vector("cinder", "POST SnapshotUpdate/s", {"template": "hdd"}, OK),
    Vector("cinder", f"GET {MC}/VolumesList", reads={"data[].name": str}),
    Vector("cinder", "GET VolumeTemplatesList", reads={"data[].name": re.compile("nvme|hdd")}),
    Vector(
        "cinder",
        "GET DisksList",
        reads={"data.101.generationLeft": -1, **each("data.101", agCount=int, agFree=int)},
    ),
    Vector("cinder", f"POST {MC}/VolumeDelete/none", {}, refused("objectDoesNotExist")),
    Vector(
        "cinder",
        f"POST {MC}/VolumesReassign",
        [{"volume": "os--volume-o", "detach": "all"}],
        refused("busy", OPEN),
    ),
    Vector(
        "os-brick",
        f"POST {MC}/VolumesReassignWait",
        {"reassign": [{"volume": "free", "rw": ["1"]}]},
        OK,
    ),
    Vector("os-brick", f"GET {MC}/VolumeGetInfo/v", reads={"data.globalId": "{v}"}),
    Vector("os-brick", f"GET {MC}/Volume/v", reads={"data[0].size": GIB}),
    Vector(
        "os-brick",
        f"POST {MC}/VolumesReassignWait",
        {"reassign": [{"volume": "os--volume-o", "detach": ["1"], "force": False}]},
        refused("busy", OPEN),
    ),
    Vector(
        "os-brick",
        f"POST {MC}/VolumesReassignWait",
        {"reassign": [{"volume": "os--volume-o", "detach": ["1"], "force": True}]},
        OK,
    ),
)

PVE = (
    Vector(
        "pve",
        "POST VolumeCreate",
        {"template": "nvme", "size": GIB, "tags": {"virt": "pve"}},
        {"data.globalId": ID},
    ),
    Vector("pve", "POST VolumeCreate", {"parent": "~{us}", "tags": ""}, {"data.globalId": ID}),
    Vector("pve", "POST VolumeCreate", {"baseOn": "~{u}"}, {"data.globalId": ID}),
    Vector(
        "pve",
        "GET Volume/~{u}",
        reads={
            "data#": 1,
            "data[0].tags": {"virt": "pve"},
            **each("data[0]", name="~{u}", globalId="{u}", size=GIB, snapshot=False),
        },
    ),
    Vector(
        "pve",
        "GET Snapshot/~{us}",
        reads={
            "data#": 1,
            "data[0].tags": {"pve-snap": "one"},
            **each("data[0]", globalId="{us}", size=GIB, snapshot=True),
        },
    ),
    Vector(
        "pve",
        "GET SnapshotsList",
        reads=each("data[]", name=str, globalId=ID, tags=dict, snapshot=True),
    ),
    Vector(
        "pve",
        "GET VolumesAndSnapshotsList",
        reads=each(
            "data.volumes[]",
            name=str,
            globalId=ID,
            snapshot=bool,
            size=int,
            storedSize=int,
            tags=dict,
        ),
    ),
    Vector("pve", "GET VolumeDescribe/~{u}", reads={"data.size": GIB}),
    Vector(
        "pve",
        "POST VolumeSnapshot/~{u}",
        {"tags": {"pve-base": "1"}},
        {"data.snapshotGlobalId": ID},
    ),
    Vector(
        "pve",
        "GET VolumeTemplatesStatus",
        reads={"data[].name": str, **each("data[].stored", capacity=int, free=int)},
    ),
    Vector("pve", "GET ClientConfigWait/1", reads={"data[].configStatus": "ok"}),
    Vector("pve", "GET ServicesList", reads={"data.clusterStatus": "running"}),
    Vector("pve", "GET VolumeTemplateDescribe/nvme", reads={"data.name": "nvme"}),
    Vector("pve", "POST VolumeUpdate/~{u}", {"size": 2 * GIB}, OK),
    Vector("pve", "POST VolumeUpdate/~{u}", {"tags": {"pve-vm": "101"}}, OK),
    Vector("pve", "POST VolumeRevert/~{u}", {"toSnapshot": "~{us}", "revertSize": True}, OK),
    Vector(
        "pve",
        "POST VolumesReassignWait",
        [{"volume": "~{u}", "rw": [7], "detach": "all", "force": True}],
        OK,
    ),
    Vector("pve", "POST VolumeDelete/~{v}", {}, refused("busy")),
    Vector("pve", "POST VolumeDelete/~{u}", {}, OK),
    Vector("pve", "POST SnapshotDelete/~{us}", {}, OK),
)

CSI = (
    Vector(
        "csi",
        "POST VolumeCreate",
        {"template": "nvme", "size": GIB, "tags": {"csi": "pvc"}},
        {"data.globalId": ID},
    ),
    Vector("csi", "POST VolumeUpdate/~{u}", {"size": 2 * GIB}, OK),
    Vector("csi", "POST VolumeUpdate/~no.such.id", {"size": GIB}, refused("objectDoesNotExist")),
    Vector(
        "csi",
        "POST VolumeCreate",
        {"template": "nvme", "size": 200 * GIB},
        refused("insufficientResources"),
        {"space_limit": "provisioned"},
    ),
    Vector("csi", "POST VolumeDelete/~{v}", {}, refused("busy")),
    Vector(
        "csi",
        f"POST RemoteCommand/~{CLUSTER}/{MC}/VolumesReassignWait",
        {"reassign": [{"volume": "~{u}", "rw": [2], "detach": "all"}]},
        OK,
    ),
    Vector(
        "csi",
        "POST VolumesReassignWait",
        {"reassign": [{"volume": "~{u}", "rw": [99]}]},
        refused("invalidParam", "No such client registered"),
    ),
)

CLOUDSTACK = (
    Vector(
        "cloudstack",
        f"POST {MC}/VolumeCreate",
        {"name": "", "size": GIB, "template": "nvme", "iops": 500, "tags": {"cs": "volume"}},
        {"data.name": UNNAMED},
    ),
    Vector(
        "cloudstack",
        f"POST {MC}/VolumeSnapshot/~{{u}}",
        {"name": "", "tags": {"cs": "snapshot"}},
        {"data.snapshotGlobalId": ID},
    ),
    Vector(
        "cloudstack", f"GET {MC}/Volume/~{{u}}", reads=each("data[0]", size=GIB, clusterId=CLUSTER)
    ),
    Vector(
        "cloudstack",
        f"GET {MC}/Snapshot/~{{us}}",
        reads=each("data[0]", size=GIB, clusterId=CLUSTER),
    ),
    Vector(
        "cloudstack",
        f"POST {MC}/VolumesGroupSnapshot",
        {
            "tags": {"cs": "vm"},
            "volumes": [{"name": "", "volume": "~{u}"}, {"name": "", "volume": "v"}],
        },
        {"data.snapshots#": 2, **each("data.snapshots[]", volume=str, snapshotGlobalId=ID)},
    ),
    Vector(
        "cloudstack",
        f"GET {ALL}/VolumesSpace",
        reads=each(OF_ALL, name=str, size=int, storedSize=int, spaceUsed=int),
    ),
    Vector(
        "cloudstack",
        f"GET {ALL}/VolumeTemplatesStatus",
        reads=each(f"{OF_ALL}.stored", capacity=int, free=int),
    ),
    Vector(
        "cloudstack",
        f"POST {MC}/VolumeUpdate/v",
        {"rename": "", "tags": {"cs": "volume"}},
        {"data.name": "~{v}"},
        {"update_name": "true"},
    ),
    Vector("cloudstack", f"POST {MC}/VolumeDelete/~{{v}}", {"onAttached": "detachForce"}, OK),
    Vector(
        "cloudstack-dr",
        "POST SnapshotFromRemote",
        {"remoteLocation": "wxyz", "remoteId": "{there}", "template": "nvme"},
        OK,
    ),
    Vector(
        "cloudstack-dr",
        "POST SnapshotFromRemote",
        {"remoteLocation": "wxyz", "remoteId": "{here}", "template": "nvme"},
        refused("objectExists"),
    ),
    Vector("cloudstack-dr", "GET SnapshotDescribe/~{here}", reads={"data.size": GIB}),
    Vector("cloudstack-dr", "GET SnapshotDescribe/~{us}", reads={"data.size": GIB}),
    Vector("cloudstack-dr", f"POST {MC}/VolumeRevert/~{{u}}", {"toSnapshot": "~{us}"}, OK),
    Vector(
        "cloudstack-dr",
        f"POST {MC}/VolumeCreate",
        {"name": "", "parent": "~{us}", "template": "nvme"},
        {"data.name": UNNAMED},
    ),
)

SUMMARY = {"name": str, "size": int, "parentName": str, "globalId": ID, "templateName": str}

ADDON = (
    Vector(
        "addon",
        "POST VolumesReassignWait",
        {"reassign": [{"volume": "free", "rw": [1]}], "attachTimeout": 20},
        OK,
    ),
    Vector(
        "addon",
        "POST VolumesGroupSnapshot",
        {"volumes": [{"volume": "v", "name": "v-1"}], "tags": {"nvm": "7"}},
        OK,
    ),
    Vector(
        "addon mc",
        "POST VolumeCreate",
        {"size": "1048576", "tags": {"img": "one-img-7", "virt": "one"}, "template": "nvme"},
        {**OK, "data.name": UNNAMED},
    ),
    Vector(
        "addon mc",
        f"POST {MC}/VolumeCreate",
        {"baseOn": "~{u}", "tags": {"img": "one-img-8"}, "template": "hdd"},
        {**OK, "data.name": UNNAMED},
    ),
    Vector(
        "addon mc",
        f"POST {MC}/VolumeUpdate/~{{u}}",
        {"size": "2147483648", "shrinkOk": True},
        OK,
    ),
    Vector("addon mc", f"POST {MC}/VolumeSnapshot/~{{u}}", {}, {**OK, "data.snapshotGlobalId": ID}),
    Vector(
        "addon mc",
        f"POST {MC}/VolumeSnapshot/~{{u}}",
        {"deleteAfter": 172800, "tags": {"reason": "revert"}},
        {**OK, "data.snapshotGlobalId": ID},
    ),
    Vector(
        "addon mc",
        f"POST {MC}/VolumeRevert/~{{u}}",
        {"toSnapshot": "~{us}", "revertSize": False},
        {**OK, "data.globalId": ID},
    ),
    Vector(
        "addon mc",
        f"GET {MC}/Volume/~{{u}}",
        reads=each(
            "data[]",
            size=GIB,
            parentName=str,
            globalId="{u}",
            preservedGlobalId="{u}",
            templateName="nvme",
            clusterId=CLUSTER,
            tags=dict,
        ),
    ),
    Vector(
        "addon mc",
        f"GET {MC}/Snapshot/~{{us}}",
        reads=each(
            "data[]", size=GIB, globalId="{us}", name=str, templateName="nvme", clusterId=CLUSTER
        ),
    ),
    # It finds where something is, and of which kind, by an update that changes nothing.
    Vector("addon mc", f"POST {MC}/VolumeUpdate/~{{u}}", {}, {**OK, "clusterId": CLUSTER}),
    Vector("addon mc", f"POST {MC}/SnapshotUpdate/~{{us}}", {}, {**OK, "clusterId": CLUSTER}),
    Vector("addon mc", f"POST {MC}/VolumeUpdate/~{{us}}", {}, refused("objectDoesNotExist")),
    Vector("addon mc", f"GET {ALL}/VolumesList", reads={**each(OF_ALL, **SUMMARY, tags=dict)}),
    Vector(
        "addon mc",
        f"GET {ALL}/SnapshotsList",
        reads=each(OF_ALL, **SUMMARY, tags=dict, deleted=bool),
    ),
    Vector(
        "addon mc", f"GET {ALL}/VolumesSpace", reads=each(OF_ALL, storedSize=int, spaceUsed=int)
    ),
    Vector(
        "addon mc", f"GET {ALL}/SnapshotsSpace", reads=each(OF_ALL, storedSize=int, spaceUsed=int)
    ),
    Vector(
        "addon mc",
        f"GET {ALL}/VolumeTemplatesStatus",
        reads={
            **each(
                OF_ALL,
                name=str,
                replication=int,
                placeAll=str,
                placeTail=str,
                placeHead=str,
                iops="-",
                bw="-",
            ),
            **each(f"{OF_ALL}.stored", capacity=int, free=int),
            **each(f"{OF_ALL}.stored.internal", u2=int, u3=int),
        },
    ),
    Vector("addon mc", f"GET {ALL}/ClustersList", reads={"data.clusters[].clusterId": CLUSTER}),
    Vector(
        "addon mc",
        f"POST {MC}/VolumesGroupSnapshot",
        {"volumes": [{"volume": "~{u}", "tags": {"img": "a"}}, {"volume": "v"}]},
        {
            **OK,
            **each("data.snapshots[]", volume=str, snapshotGlobalId=ID, snapshotName=str),
        },
    ),
    Vector(
        "addon mc",
        f"POST RemoteCommand/~{CLUSTER}/{MC}/VolumesReassignWait",
        {"reassign": [{"volume": "~{u}", "rw": [2], "detach": "all", "force": True}]},
        OK,
    ),
    Vector(
        "addon mc",
        f"POST {MC}/VolumesReassignWait",
        {"reassign": [{"snapshot": "~{us}", "detach": "all", "force": True}]},
        OK,
    ),
    # One brace too many, as its own function for a volume from a snapshot with a template sends.
    Vector(
        "addon mc",
        f"POST {MC}/VolumeCreate",
        '{"parent":"~{us}","tags":{},"template":"nvme"}}',
        refused("jsonError"),
    ),
    Vector(
        "kvchk",
        f"GET {MC}/AttachmentsList",
        reads=each(
            "data[]",
            volume=str,
            globalId=ID,
            cluster="one",
            clusterId=CLUSTER,
            client=int,
            rights=re.compile("rw|ro"),
            snapshot=bool,
        ),
    ),
    *(
        Vector(
            "kvchk",
            f"GET {MC}/{query}",
            reads=each("data[]", name=str, globalId=ID, clusterId=CLUSTER, tags=dict, size=int),
        )
        for query in ("VolumesList", "SnapshotsList")
    ),
    Vector(
        "kvchk",
        f"POST {MC}/VolumeSnapshot/v",
        {"name": "", "tags": {"img": "v"}},
        {"data.snapshotGlobalId": ID},
    ),
)

VECTORS = (*CINDER, *PVE, *CSI, *CLOUDSTACK, *ADDON)
