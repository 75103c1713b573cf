"""The boot hook killed before each thing that it does, and run again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs import boot_stage
from rigs.flow_stage import Play
from rigs.helper_stage import info_of
from rigs.shared_stage import attached, new_id, post, volumes
from storpool_ovirt import names
from storpool_ovirt.host import boot_sweep, vdsm_rows

# All that the hook does to the world, as Python tells it before it is done: a call of the API (a
# connection each), a file that is removed, the marker and the locks that are made, and the child
# that opens Vdsm's database.
MORTAL = """
import os, signal
left, hook = [int(os.environ["KILL_BEFORE"])], os.getpid()
def watch(event, arguments):
    events = ("socket.connect", "os.remove", "os.mkdir", "os.fork", "fcntl.flock")
    if event in events and os.getpid() == hook:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""
POINTS_MAX = 60
# Two rows and a leftover: six calls of the API, two links or rules, the locks and the database
POINTS_MIN = 15


@pytest.fixture
def scene(play: Play) -> Iterator[Play]:
    """Give host 1 just started, with what an earlier boot and others left; everything goes in the
    end."""
    others = [("others", {}), ("in-use", {"virt": "ovirt"})]
    for name, tags in others:
        made = {"name": name, "size": 1 << 30, "template": "hybrid", "tags": tags}
        post(play.cluster, "VolumeCreate", made)
    post(
        play.cluster,
        "VolumesReassignWait",
        {"reassign": [{"volume": name, "rw": [1]} for name, _ in others]},
    )
    yield play
    for volume in play.cluster.api("VolumesList"):
        post(
            play.cluster,
            f"MultiCluster/VolumeDelete/~{volume['globalId']}",
            {"onAttached": "detachForce"},
        )
    for rule in boot_stage.files(play.host1, vdsm_rows.RULES_FOLDER):
        rule.unlink()


def leave(play: Play) -> list[dict[str, Any]]:
    """Leave a stale row that has its device, one that has none, and an attachment without a row;
    return their infos."""
    play.host1.rows.clear()
    play.host1.reboot()
    infos = []
    for _ in range(3):
        vol_id = new_id()
        tags = {"virt": "ovirt", "ovirt-uuid": vol_id}
        post(
            play.cluster,
            "VolumeCreate",
            {"name": f"ovirt--{vol_id}", "size": 1 << 30, "tags": tags},
        )
        infos.append(info_of(vol_id, volumes(play.cluster)[vol_id]["globalId"], "rw"))
    for info in (infos[0], infos[2]):
        item = {"volume": f"~{info['data']['global_id']}", "rw": [1]}
        post(play.cluster, "VolumesReassignWait", {"reassign": [item]})
    for info in infos[:2]:
        path = f"/dev/storpool-byid/{info['data']['global_id']}"
        boot_stage.put_row(play.host1, info["data"]["volume"], info, path)
    dangling = play.host1.local(f"{names.RUN_FOLDER}/{boot_stage.SD}_{infos[1]['data']['volume']}")
    dangling.parent.mkdir(parents=True)
    dangling.symlink_to(play.host1.local(f"/dev/storpool-byid/{infos[1]['data']['global_id']}"))
    boot_stage.put_row(play.host1, new_id(), boot_stage.RBD, "/dev/rbd/x")
    return infos


def test_killed_before_each_step_and_run_again(scene: Play, tmp_path: Path) -> None:
    """T50, T71, T86: wherever SIGKILL strikes, the next start of vdsmd ends where an undisturbed
    one does: nothing stale is left, others' rows, rules and attachments and an open device are
    as before, each volume attaches at once.
    """
    mortal = boot_stage.wrapped(tmp_path, MORTAL)
    held = scene.host1.local(
        f"/dev/storpool-byid/{volumes(scene.cluster)['in-use']['globalId']}"
    ).open("rb")
    others = attached(scene.cluster)
    struck = 0
    with held:
        for point in range(1, POINTS_MAX):
            infos = leave(scene)
            ours = {info["data"]["volume"] for info in infos}
            before = boot_stage.kept(scene.host1)
            done = boot_stage.start_vdsmd(scene.host1, mortal, KILL_BEFORE=str(point))
            if done.returncode != -signal.SIGKILL:
                boot_stage.quiet(done)
                break
            struck += 1
            assert not boot_sweep.is_done(str(scene.host1.root)), point
            boot_stage.quiet(boot_stage.start_vdsmd(scene.host1))
            after = boot_stage.kept(scene.host1)
            assert after["rows"] == [row for row in before["rows"] if row["vol_id"] not in ours], (
                point
            )
            assert not [
                name
                for name in (*after["rules"], *after["links"])
                if any(one in name for one in ours)
            ], point
            assert attached(scene.cluster) == others, point
            for info in infos:
                vol_id = info["data"]["volume"]
                scene.host1.attach_volume(boot_stage.SD, vol_id, info)
                scene.host1.detach_volume(boot_stage.SD, vol_id)
        else:
            raise AssertionError(f"it still did something new at point {POINTS_MAX}")
    assert struck >= POINTS_MIN, struck
    scene.host1.rows.clear()


def test_a_mortal_hook_that_is_not_struck_is_the_real_one(scene: Play, tmp_path: Path) -> None:
    """The program that is killed here does, left alone, what the installed one does."""
    for program in (None, boot_stage.wrapped(tmp_path, MORTAL)):
        leave(scene)
        done = boot_stage.start_vdsmd(scene.host1, program, KILL_BEFORE="0")
        assert isinstance(done, subprocess.CompletedProcess)
        boot_stage.quiet(done)
        assert [row["vol_id"] for row in boot_stage.stored(scene.host1)] == [*scene.host1.rows]
        assert len(scene.host1.rows) == 1
    scene.host1.rows.clear()
