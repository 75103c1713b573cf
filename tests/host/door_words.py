"""What is asked of the door to root, and how its answers are read."""

from __future__ import annotations

import json
import subprocess

from rigs.door_stage import DoorStage, Volume

CHANGES = (
    "VolumeUpdate",
    "VolumeDelete",
    "SnapshotDelete",
    "VolumesReassignWait",
    "VolumesReassign",
)


def changes(doors: DoorStage) -> list[str]:
    """Return what was asked of the cluster that changes a volume or who has it."""
    return [
        call["query"] for call in doors.cluster.calls() if call["query"].split("/")[0] in CHANGES
    ]


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Check that the hook refused, and return its sentence."""
    assert done.returncode == 2, done
    assert done.stderr.startswith("StorPool: ")
    assert done.stderr.count("\n") == 1
    return done.stderr[len("StorPool: ") : -1]


def request_for(*volumes: Volume) -> str:
    """Return what the hook asks the door for these disks."""
    request = {
        "point": "before_vm_start",
        "vm": "-",
        "disks": [volume.disk() for volume in volumes],
    }
    return json.dumps(request) + "\n"
