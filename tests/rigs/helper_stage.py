"""The helper on the hosts of the shared stage: its runs, and what StorPool lists after them.

A pytest plugin, named in conftest.py behind shared_stage.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import hasty as hasty_program
from rigs.shared_stage import GIB, attached, new_id, post, snapshots, volumes
from rigs.stage_fixtures import Stage

if TYPE_CHECKING:
    from ovirt_demo.vdsm import HelperRun, Host

Info = dict[str, Any]

CALL_SECONDS = (
    20.0  # until a program that was just started has made its call, on a machine that is busy
)

# For what would else be minutes of waiting.
HASTY = {
    "deadline_seconds": 3.0,
    "last_seconds": 1.0,
    "attach_timeout_seconds": 1,
    "device_seconds": 1.0,
    "close_seconds": 0.5,
    "undo_seconds": 0.8,
    "request_seconds": 1.5,
    "retry_seconds": 1.5,
}


@pytest.fixture
def info(shared: Stage) -> Info:
    """Give the connection info of a new volume of 1 GiB."""
    volume = new_id()
    made = {
        "name": f"ovirt--{volume}",
        "size": GIB,
        "template": "hybrid",
        "tags": {"ovirt-uuid": volume},
    }
    post(shared.simulator, "VolumeCreate", made)
    info = info_of(volume, volumes(shared.simulator)[volume]["globalId"], "rw")
    shared.simulator.clear_calls()
    return info


def info_of(volume: str, global_id: str, access_mode: str) -> Info:
    """Return the connection info that connect_volume prints for this object."""
    data = {"volume": volume, "global_id": global_id, "access_mode": access_mode}
    return {"adapter": "storpool", "driver_volume_type": "storpool", "data": data}


def snapshot_info(stage: Stage, info: Info) -> Info:
    """Return the connection info of a new snapshot of the volume."""
    snapshot = new_id()
    made = {"name": f"ovirt--{snapshot}", "tags": {"ovirt-uuid": snapshot}}
    post(stage.simulator, f"VolumeSnapshot/~{info['data']['global_id']}", made)
    return info_of(snapshot, snapshots(stage.simulator)[snapshot]["globalId"], "ro")


def written(folder: Path) -> Path:
    """Make a helper that gives up much sooner."""
    return hasty_program.written(folder / "hasty-helper", "host.helper", **HASTY)


@pytest.fixture
def hasty(shared: Stage, tmp_path: Path) -> Host:
    """Give host 1 with a helper that gives up much sooner."""
    from ovirt_demo import vdsm

    return vdsm.Host(
        shared.host1.root,
        written(tmp_path),
        name=shared.host1.name,
    )


def attach(host: Host, info: Info) -> HelperRun:
    """Run the helper's attach with what Vdsm sends."""
    return host.helper("attach", {"connection_info": info})


def detach(host: Host, info: Info) -> HelperRun:
    """Run the helper's detach with the row that Vdsm keeps."""
    path = f"/dev/storpool-byid/{info['data']['global_id']}"
    row = {
        "vol_id": info["data"]["volume"],
        "path": path,
        "attachment": {"type": "block", "path": path},
    }
    return host.helper("detach", {**row, "connection_info": info})


def answered(run: HelperRun) -> bytes:
    """Check that the helper succeeded and said nothing on stderr, and return its stdout."""
    assert (run.returncode, run.stderr) == (0, b""), run
    return run.stdout


def device(host: Host, info: Info) -> Path:
    """Return where the device is on this machine."""
    return host.local(f"/dev/storpool-byid/{info['data']['global_id']}")


def on_hosts(stage: Stage, info: Info) -> set[tuple[int, str]]:
    """List the clients that have the volume, and how."""
    return {
        (client, rights)
        for _, client, rights in attached(stage.simulator, info["data"]["global_id"])
    }


def wait_for_call(stage: Stage, query: str, *, times: int = 1, answered: bool = False) -> None:
    """Return as soon as the simulator has been asked this so often (`answered`: has answered
    it)."""
    end = time.monotonic() + CALL_SECONDS
    while time.monotonic() < end:
        asked = [call for call in stage.simulator.calls() if call["query"] == query]
        if sum(call["status"] is not None or not answered for call in asked) >= times:
            return
    raise AssertionError(f"no {times} calls {query} within {CALL_SECONDS} s")
