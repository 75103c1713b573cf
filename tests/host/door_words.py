"""What is asked of the door to root, and how its answers are read."""

from __future__ import annotations

import json
import subprocess

from rigs import refusals
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


def only_refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Check that the hook refused and said nothing else, and return its sentence."""
    assert done.stderr.count("\n") == 1
    return refusals.of_hook(done)


def request_for(*volumes: Volume) -> str:
    """Return what the hook asks the door for these disks."""
    request = {
        "point": "before_vm_start",
        "vm": "-",
        "disks": [volume.disk() for volume in volumes],
    }
    return json.dumps(request) + "\n"
