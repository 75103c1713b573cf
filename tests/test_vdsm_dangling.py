"""Run links that lead nowhere: what a fence leaves on a host that stays up, and the next attach there."""

from __future__ import annotations

import boot_stage
import pytest
from flow_stage import BOTH, Play
from helper_stage import Info, answered, attach, detach, device
from shared_stage import post, volumes
from stage_fixtures import Stage

from storpool_ovirt.demo import flows, vdsm_rows
from storpool_ovirt.demo.flows import Disk
from storpool_ovirt.demo.vdsm import GENERAL_EXCEPTION, VdsmError


def fenced(play: Play) -> Disk:
    """Make a disk whose VM ran on host 1 until a start on host 2 took the device away by force."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "before the fence")
    guest.stop()
    disk.attached_to = None
    [description] = flows.run_vm(play.domain, play.host2, disk)
    item = {"volume": f"~{volumes(play.cluster)[disk.active]['globalId']}", "detach": [1], "force": True}
    post(play.cluster, "VolumesReassignWait", {"reassign": [item]})  # what a hook on host 2 does before the VM starts
    play.stop(disk, play.guest(play.host2, description))
    [link] = boot_stage.files(play.host1, vdsm_rows.RUN_FOLDER)
    assert link.is_symlink()
    assert not link.exists()
    assert [*play.host1.rows] == [disk.active]
    return disk


@BOTH
def test_the_first_start_after_a_fence_works(play: Play) -> None:
    """T56, T86, 10.2: row and run link stayed, the device is gone: the VM comes back at the first start."""
    disk = fenced(play)
    guest = play.start(disk, play.host1)
    assert guest.read(0) == "before the fence"
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


def test_a_link_that_the_helper_does_not_know_still_fails(play: Play) -> None:
    """10.2: what Vdsm does with a link in its way: everything is rolled back, and the second start works."""
    disk = fenced(play)
    [link] = boot_stage.files(play.host1, vdsm_rows.RUN_FOLDER)
    link.unlink()
    link.symlink_to(play.host1.local("/dev/mapper/elsewhere"))
    with pytest.raises(VdsmError) as caught:
        play.start(disk, play.host1)
    assert caught.value.code == GENERAL_EXCEPTION
    assert play.on_hosts(disk.active) == set()
    play.stop(disk, play.start(disk, play.host1))
    flows.delete_disk(play.domain, disk)


def test_the_helper_removes_no_other_link(shared: Stage, info: Info) -> None:
    """T76: a live link of this volume, others' links, files with its name stay; a dangling one is logged and goes."""
    host, vol_id = shared.host1, info["data"]["volume"]
    host.local("/var/log/vdsm").mkdir(parents=True, exist_ok=True)
    folder = host.local(vdsm_rows.RUN_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    node = device(host, info)
    (folder / f"a_{vol_id}").write_text("a file")
    (folder / f"b_{vol_id}").symlink_to("/dev/mapper/elsewhere")
    (folder / f"c_{vol_id}x").symlink_to(node)
    (folder / f"d_{vol_id}").symlink_to(node)
    answered(attach(host, info))
    assert sorted(entry.name[0] for entry in folder.iterdir()) == ["a", "b", "c"]
    assert len(boot_stage.lines(host, "dangling_link_removed")) == 1
    (folder / f"d_{vol_id}").symlink_to(node)
    answered(attach(host, info))
    assert sorted(entry.name[0] for entry in folder.iterdir()) == ["a", "b", "c", "d"]
    answered(detach(host, info))
    for entry in folder.iterdir():
        entry.unlink()
