"""Run links that lead nowhere: what a fence leaves on a host that stays up, and the next attach
there."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest
from boot_fixtures import NOTHING, forced

from ovirt_demo import flows, vdsm, vdsm_rows
from ovirt_demo.flows import Disk
from ovirt_demo.vdsm import GENERAL_EXCEPTION, VdsmError
from rigs import boot_stage, faulty_files, programs
from rigs.flow_stage import BOTH, Play
from rigs.helper_stage import Info, answered, attach, detach, device
from rigs.shared_stage import attached, post, queries, volumes
from rigs.stage_fixtures import Stage
from storpool_ovirt.host import boot_sweep


def fenced(play: Play) -> Disk:
    """Make a disk whose VM ran on host 1 until a start on host 2 took the device away by force."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "before the fence")
    guest.stop()
    disk.attached_to = None
    [description] = flows.run_vm(play.domain, play.host2, disk)
    item = {
        "volume": f"~{volumes(play.cluster)[disk.active]['globalId']}",
        "detach": [1],
        "force": True,
    }
    post(
        play.cluster, "VolumesReassignWait", {"reassign": [item]}
    )  # what a hook on host 2 does before the VM starts
    play.stop(disk, play.guest(play.host2, description))
    [link] = boot_stage.files(play.host1, vdsm_rows.RUN_FOLDER)
    assert link.is_symlink()
    assert not link.exists()
    assert [*play.host1.rows] == [disk.active]
    return disk


@BOTH
def test_the_first_start_after_a_fence_works(play: Play) -> None:
    """T56, T86, 10.2: row and run link stayed, the device is gone: the VM comes back at the first
    start."""
    disk = fenced(play)
    guest = play.start(disk, play.host1)
    assert guest.read(0) == "before the fence"
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)


def test_a_link_that_the_helper_does_not_know_still_fails(play: Play) -> None:
    """10.2: what Vdsm does with a link in its way: everything is rolled back, and the second start
    works."""
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


def in_the_way(play: Play) -> tuple[Disk, vdsm.Host]:
    """Make a disk that was fenced off host 1 after the boot hook had done its work there."""
    play.host1.local("/var/log/vdsm").mkdir(parents=True, exist_ok=True)
    boot_stage.quiet(boot_stage.start_vdsmd(play.host1))
    disk = fenced(play)
    play.cluster.clear_calls()
    return disk, play.host1


def test_a_start_of_vdsmd_clears_what_a_fence_left(play: Play) -> None:
    """T86: also when the boot hook has done its work in this boot: row, rule and link are gone,
    StorPool was asked, and not by force; a Vdsm that decides by the run link has nothing in its
    way.
    """
    disk, host = in_the_way(play)
    assert boot_sweep.is_done(str(host.root))
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    assert boot_stage.kept(host) == NOTHING
    assert queries(play.cluster) == ["VolumesReassignWait"]
    assert forced(play) == []
    play.cluster.clear_calls()
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    assert queries(play.cluster) == []
    play.stop(disk, play.start(disk, host))
    flows.delete_disk(play.domain, disk)


def test_a_row_of_other_connection_information_goes_with_it(play: Play) -> None:
    """T86: 929 for ever, as its link dangled or was removed by the helper's attach of another
    disk."""
    disk, host = in_the_way(play)
    row = host.rows[disk.active]
    host.rows[disk.active] = {**row, "connection_info": {**row["connection_info"], "version": "1"}}
    [link] = boot_stage.files(host, vdsm_rows.RUN_FOLDER)
    link.unlink()
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    assert boot_stage.kept(host) == NOTHING
    play.stop(disk, play.start(disk, host))
    flows.delete_disk(play.domain, disk)


def test_a_later_start_takes_no_vms_row(play: Play) -> None:
    """T50, T86: a VM runs, another starts; one has its device away for a moment and open:
    StorPool says so, and all stays; where StorPool cannot be asked, as well.
    """
    lost, host = in_the_way(play)
    running, starting = (flows.create_disk(play.domain, 1) for _ in range(2))
    guest = play.start(running, host)
    flows.run_vm(play.domain, host, starting)
    device = host.local(host.rows[running.active]["path"])
    target = device.readlink() if device.is_symlink() else None
    before, there = boot_stage.kept(host), attached(play.cluster)
    aside = device.rename(device.with_name("aside"))
    try:
        play.cluster.inject(
            "error_200", query="VolumesReassignWait", name="transient", descr="later"
        )
        sentences = [boot_stage.told(boot_stage.start_vdsmd(host)) for _ in range(2)]
    finally:
        aside.rename(device)
        play.cluster.clear_faults()
    assert target is None or device.readlink() == target
    assert "is open at client 1" in sentences[-1]
    after = boot_stage.kept(host)
    assert set(after["links"]) <= set(before["links"])
    assert running.active in host.rows
    assert starting.active in host.rows
    assert attached(play.cluster) == there
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    assert sorted(host.rows) == sorted([running.active, starting.active])
    assert attached(play.cluster) == there
    play.stop(running, guest)
    flows.stop_vm(play.domain, starting)
    for each in (lost, running, starting):
        flows.delete_disk(play.domain, each)


def test_a_later_start_that_cannot_ask_leaves_all(play: Play, tmp_path: Path) -> None:
    """T86: at a later start a device that is not there proves nothing: without StorPool's word the
    row stays."""
    disk, host = in_the_way(play)
    before = boot_stage.kept(host)
    assert boot_stage.told(
        boot_stage.start_vdsmd(host, boot_stage.hasty(tmp_path), SP_API_HTTP_PORT="1")
    )
    assert boot_stage.kept(host) == before
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    flows.delete_disk(play.domain, disk)


@pytest.mark.parametrize("code", faulty_files.ERRORS)
def test_a_later_start_that_cannot_look(play: Play, tmp_path: Path, code: int) -> None:
    """T86: devices that cannot be looked at are not gone: nobody is asked, all stays, and the
    reason is told."""
    disk, host = in_the_way(play)
    before = boot_stage.kept(host)
    program = boot_stage.wrapped(
        tmp_path, faulty_files.program(host.local("/dev/storpool-byid"), code)
    )
    assert "cannot be looked at" in boot_stage.told(boot_stage.start_vdsmd(host, program))
    assert (boot_stage.kept(host), queries(play.cluster)) == (before, [])
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    flows.delete_disk(play.domain, disk)


def test_an_attach_clears_the_links_of_other_volumes(play: Play) -> None:
    """T86: whichever disk is attached next, the link in the way of the fenced one goes, under
    its lock and with a line in the log; its row stays to Vdsm, and nothing is asked of StorPool
    for it.
    """
    disk, host = in_the_way(play)
    other = flows.create_disk(play.domain, 1)
    removed = len(boot_stage.lines(host, "dangling_link_removed"))
    play.cluster.clear_calls()
    flows.run_vm(play.domain, host, other)
    assert queries(play.cluster).count("VolumesReassignWait") == 1
    assert [
        link.name.partition("_")[2] for link in boot_stage.files(host, vdsm_rows.RUN_FOLDER)
    ] == [other.active]
    assert sorted(host.rows) == sorted([disk.active, other.active])
    assert len(boot_stage.lines(host, "dangling_link_removed")) == removed + 1
    flows.stop_vm(play.domain, other)
    play.stop(disk, play.start(disk, host))
    for each in (disk, other):
        flows.delete_disk(play.domain, each)


def test_a_link_whose_volume_is_being_attached_stays(play: Play) -> None:
    """T88: somebody holds its lock: the attach of another volume neither waits for it nor fails."""
    disk, host = in_the_way(play)
    other = flows.create_disk(play.domain, 1)
    global_id = host.rows[disk.active]["path"].rpartition("/")[2]
    folder = host.local("/run/storpool-ovirt")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{global_id}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        flows.run_vm(play.domain, host, other)
    assert len(boot_stage.files(host, vdsm_rows.RUN_FOLDER)) == 2
    assert "another operation works on" in boot_stage.lines(host, "dangling_link_stays")[-1]
    flows.stop_vm(play.domain, other)
    play.stop(disk, play.start(disk, host))
    for each in (disk, other):
        flows.delete_disk(play.domain, each)


@pytest.mark.parametrize("place", ["/run/vdsm/managedvolumes", "/run/storpool-ovirt/"])
def test_a_sweep_that_cannot_be_done_fails_no_attach(
    play: Play, tmp_path: Path, place: str
) -> None:
    """T86: links, or another volume's lock, that cannot be looked at: the attach is made, and the
    log tells of it."""
    disk, host = in_the_way(play)
    connection = play.domain.ask(
        "connect_volume", flows.create_disk(play.domain, 1).active, "{}"
    ).map()
    prefix = f"{host.local(place)}/" + (
        host.rows[disk.active]["path"].rpartition("/")[2] if place[-1] == "/" else ""
    )
    program = programs.written(
        tmp_path / "helper",
        "#!{python}\nimport sys\n{body}\nfrom storpool_ovirt.host import helper\n"
        # A machine that is busy needs more than the half of a second for a sweep.
        "sys.exit(helper.main(limits=helper.LIMITS._replace(sweep_seconds=20.0)))\n",
        body=faulty_files.program(prefix.replace("//", "/").rstrip("/"), errno.EIO),
    )
    blind = vdsm.Host(host.root, program, name=host.name, environment=host.environment)
    path = blind.attach(connection)["path"]
    assert host.local(path).exists()
    assert boot_stage.lines(host, "dangling_links_not_seen") or boot_stage.lines(
        host, "dangling_link_stays"
    )
    answer = host.detach({"connection_info": connection, "path": path})
    assert answer == {}
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    for each in [disk.active, connection["data"]["volume"]]:
        play.domain.ask("delete_volume", each)


def test_the_helper_removes_no_other_link(shared: Stage, info: Info) -> None:
    """T76: a live link of this volume, others' links, files with its name stay; a dangling one is
    logged and goes."""
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
