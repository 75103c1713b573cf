"""boot_sweep.py: what an earlier boot left never blocks a start, and nothing that is used or not
ours is touched.

What goes wrong meanwhile is in test_boot_sweep_faults.py.
"""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from boot_fixtures import NOTHING, crash, device, forced, global_id, runs_again

from ovirt_demo import flows
from ovirt_demo.flows import Disk
from ovirt_demo.vdsm import ALREADY_ATTACHED, CONNECTION_MISMATCH, VdsmError
from rigs import boot_stage
from rigs.boot_stage import kept, quiet, start_vdsmd, told
from rigs.flow_stage import BOTH, Guest, Play
from rigs.shared_stage import attached, new_id, post, queries, volumes
from storpool_ovirt import names
from storpool_ovirt.host import vdsm_rows

# After a reboot or a fence


@BOTH
def test_a_vm_starts_at_once_after_a_reboot(fresh: Play, vm_disk: Disk) -> None:
    """T50, T56, T86: without the hook Vdsm refuses with 927 for ever; with it the row, the rule
    and StorPool's attachment of the boot before are gone, by one call without force, and the
    first start works.
    """
    crash(fresh, vm_disk)
    assert device(fresh, vm_disk).exists(), "StorPool has attached it again"
    for _ in range(2):
        with pytest.raises(VdsmError) as caught:
            fresh.start(vm_disk, fresh.host1)
        assert caught.value.code == ALREADY_ATTACHED
    assert fresh.host1.local(vdsm_rows.RULES_FOLDER).exists()
    fresh.cluster.clear_calls()
    quiet(start_vdsmd(fresh.host1))
    assert forced(fresh) == []
    assert queries(fresh.cluster) == ["VolumesReassignWait", "KV/Set", "AttachmentsList"]
    assert kept(fresh.host1) == NOTHING
    assert fresh.on_hosts(vm_disk.active) == set()
    runs_again(fresh, vm_disk)


def test_other_connection_information_does_not_block(fresh: Play, left: Disk) -> None:
    """T86: the row tells other connection information than Engine does now: 929 for ever without
    the hook."""
    row = fresh.host1.rows[left.active]
    fresh.host1.rows[left.active] = {
        **row,
        "connection_info": {**row["connection_info"], "version": "1"},
    }
    with pytest.raises(VdsmError) as caught:
        fresh.start(left, fresh.host1)
    assert caught.value.code == CONNECTION_MISMATCH
    quiet(start_vdsmd(fresh.host1))
    runs_again(fresh, left)


def test_the_vm_went_on_elsewhere(fresh: Play, left: Disk) -> None:
    """T56: the fenced host comes back while the VM runs on another: it gives up what it has, the
    VM goes on there and can migrate back at once.
    """
    left.attached_to = None
    guest = fresh.start(left, fresh.host2)
    quiet(start_vdsmd(fresh.host1))
    assert fresh.on_hosts(left.active) == {2}
    assert guest.read(0) == "before the crash"
    guest.stop()
    flows.migrate(fresh.domain, fresh.host1, left)
    flows.stop_vm(fresh.domain, left)


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_what_was_taken_or_deleted_meanwhile(fresh: Play, left: Disk, absent: str) -> None:
    """T16, T86: taken by force, or deleted since: StorPool has nothing to detach, and the rows
    go."""
    switches = fresh.cluster.control("GET", "switches")
    fresh.cluster.set_switches(detach_absent=absent)
    gone = flows.create_disk(fresh.domain, 1)
    crash(fresh, gone)
    flows.delete_disk(fresh.domain, gone)
    item = {"volume": f"~{global_id(fresh, left)}", "detach": [1], "force": True}
    post(fresh.cluster, "VolumesReassignWait", {"reassign": [item]})
    assert sorted(fresh.host1.rows) == sorted([left.active, gone.id])
    quiet(start_vdsmd(fresh.host1))
    assert kept(fresh.host1) == NOTHING
    fresh.cluster.set_switches(**switches)
    runs_again(fresh, left)


def test_a_row_of_an_attach_that_died(fresh: Play, vm_disk: Disk) -> None:
    """T50, T86: the host died between Vdsm's row and the answer of the helper: attached, and no
    path in the row."""
    connection = fresh.domain.ask("connect_volume", vm_disk.active, "{}").map()
    fresh.host1.attach(connection)
    boot_stage.put_row(fresh.host1, vm_disk.active, connection)
    fresh.host1.reboot()
    quiet(start_vdsmd(fresh.host1))
    assert kept(fresh.host1) == NOTHING
    assert fresh.on_hosts(vm_disk.active) == set()


def test_rows_of_storpools_own_connector(fresh: Play, left: Disk) -> None:
    """T86: a row that another driver for StorPool made, with a path by id, is cleared as well."""
    stock = {
        "driver_volume_type": "storpool",
        "data": {"volume": left.active, "client_id": 1, "access_mode": "rw"},
    }
    fresh.host1.rows[left.active] = {**fresh.host1.rows[left.active], "connection_info": stock}
    quiet(start_vdsmd(fresh.host1))
    assert kept(fresh.host1) == NOTHING
    runs_again(fresh, left)


# What is used stays


@BOTH
def test_vms_that_run_at_the_first_run_keep_everything(fresh: Play, vm_disk: Disk) -> None:
    """T50: the package was just installed: row, rule, link, attachment and device of a running
    VM stay, and of one whose volume is attached and not yet open: a migration that arrives, a VM
    that starts. No detach is asked for.
    """
    starting = flows.create_disk(fresh.domain, 1)
    guest = fresh.start(vm_disk, fresh.host1)
    [description] = flows.run_vm(fresh.domain, fresh.host1, starting)
    before, there = kept(fresh.host1), attached(fresh.cluster)
    fresh.cluster.clear_calls()
    quiet(start_vdsmd(fresh.host1))
    assert queries(fresh.cluster) == ["KV/Set", "AttachmentsList"]
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    guest.write(0, "goes on")
    assert guest.read(0) == "goes on"
    arrived = fresh.guest(fresh.host1, description)
    arrived.write(0, "starts")
    for each, vm in ((vm_disk, guest), (starting, arrived)):
        fresh.stop(each, vm)
    flows.delete_disk(fresh.domain, starting)


@BOTH
def test_an_open_device_without_a_link_stays(fresh: Play, vm_disk: Disk) -> None:
    """T50, T56: nothing on the host tells that the VM runs, but StorPool does: all stays, the
    sentence names the host, and when the device is closed the next start of vdsmd clears it.
    """
    guest = fresh.start(vm_disk, fresh.host1)
    guest.write(0, "before the crash")
    fresh.host1.reboot()
    before, there = kept(fresh.host1), attached(fresh.cluster)
    assert "is open at client 1" in told(start_vdsmd(fresh.host1))
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    assert guest.read(0) == "before the crash"
    guest.stop()
    quiet(start_vdsmd(fresh.host1))
    assert forced(fresh) == []
    runs_again(fresh, vm_disk)


def test_the_second_run_of_a_boot_changes_nothing(fresh: Play, left: Disk) -> None:
    """Later starts of vdsmd, while VMs come and go, ask nobody and change nothing, until the host
    is started again."""
    quiet(start_vdsmd(fresh.host1))
    guest = fresh.start(left, fresh.host1)
    guest.stop()
    for link in boot_stage.files(fresh.host1, names.RUN_FOLDER):
        link.unlink()
    before, there = kept(fresh.host1), attached(fresh.cluster)
    fresh.cluster.clear_calls()
    quiet(start_vdsmd(fresh.host1))
    assert queries(fresh.cluster) == []
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    fresh.host1.reboot()
    quiet(start_vdsmd(fresh.host1))
    assert kept(fresh.host1) == NOTHING


@pytest.mark.parametrize("kind", names.VOLUME_TYPES)
def test_a_later_start_clears_what_lost_its_device(fresh: Play, vm_disk: Disk, kind: str) -> None:
    """T86, T95: taken by force while this host was up, and its row of either type: a start of vdsmd
    in the same boot takes row, rule and link away, and the VM starts here again."""
    quiet(start_vdsmd(fresh.host1))
    crash(fresh, vm_disk)
    quiet(start_vdsmd(fresh.host1))
    guest = fresh.start(vm_disk, fresh.host1)
    guest.stop()
    row = fresh.host1.rows[vm_disk.active]
    info = {**row["connection_info"], "driver_volume_type": kind}
    fresh.host1.rows[vm_disk.active] = {**row, "connection_info": info}
    item = {"volume": f"~{global_id(fresh, vm_disk)}", "detach": [1], "force": True}
    post(fresh.cluster, "VolumesReassignWait", {"reassign": [item]})
    assert not device(fresh, vm_disk).exists()
    quiet(start_vdsmd(fresh.host1))
    assert kept(fresh.host1) == NOTHING
    runs_again(fresh, vm_disk)


def test_other_vendors_rows_stay_byte_for_byte(fresh: Play, left: Disk) -> None:
    """T76: rows, rules and links of other adapters and drivers are the same after the hook,
    whatever is in them."""
    others = {
        new_id(): ({**boot_stage.RBD, "adapter": None}, "/dev/rbd/pool/volume"),
        new_id(): (
            {"adapter": "other", "driver_volume_type": "local", "data": {}},
            "/dev/other/one",
        ),
        new_id(): ({"adapter": "storpool2", "driver_volume_type": "iscsi", "data": {}}, None),
    }
    ours = {name: kept(fresh.host1)[name] for name in ("rows", "rules")}
    for vol_id, (info, path) in others.items():
        boot_stage.put_row(fresh.host1, vol_id, info, path)
    with (
        contextlib.closing(sqlite3.connect(fresh.host1.local(vdsm_rows.DATABASE))) as connection,
        connection,
    ):
        connection.execute(
            "INSERT INTO volumes VALUES ('~', 'p', x'fffe', ' {} ', 'mpath', 'never')"
        )
    before = kept(fresh.host1)
    quiet(start_vdsmd(fresh.host1))
    after = kept(fresh.host1)
    assert [row for row in before["rows"] if row not in ours["rows"]] == after["rows"]
    assert {
        name: text for name, text in before["rules"].items() if name not in ours["rules"]
    } == after["rules"]
    assert len(after["rows"]) == 4


# Attachments that no row tells of


def test_leftovers_are_detached_where_they_are_ours_and_closed(fresh: Play, vm_disk: Disk) -> None:
    """T50: Vdsm's database was made anew: volumes and snapshots of oVirt's that are closed here
    go; what is open, what another row names, what other hosts have and what is not oVirt's
    stays.
    """
    closed, snapped, opened_, named = (flows.create_disk(fresh.domain, 1) for _ in range(4))
    snapshot = flows.create_snapshot(fresh.domain, snapped)
    for each in (closed, opened_, named):
        flows.run_vm(fresh.domain, fresh.host1, each)
    flows.run_vm(fresh.domain, fresh.host2, closed)
    frozen = fresh.domain.ask("connect_volume", snapshot, "{}").map()
    fresh.host1.attach(frozen)
    post(fresh.cluster, "VolumeCreate", {"name": "foreign", "size": 1 << 30, "template": "hybrid"})
    post(fresh.cluster, "VolumesReassignWait", {"reassign": [{"volume": "foreign", "rw": [1]}]})
    fresh.host1.rows.clear()
    fresh.host1.reboot()
    boot_stage.put_row(
        fresh.host1,
        new_id(),
        {"driver_volume_type": "iscsi", "data": {"of": global_id(fresh, named)}},
    )
    guest = Guest(device(fresh, opened_))
    before = kept(fresh.host1)
    quiet(start_vdsmd(fresh.host1))
    there = {(name, client) for name, client, _ in attached(fresh.cluster)}
    foreign = volumes(fresh.cluster)["foreign"]["globalId"]
    expected = {
        (global_id(fresh, opened_), 1),
        (global_id(fresh, named), 1),
        (global_id(fresh, closed), 2),
        (foreign, 1),
    }
    assert there == expected
    assert kept(fresh.host1)["rows"] == before["rows"]
    assert forced(fresh) == []
    guest.write(0, "goes on")
    guest.stop()
    for each in (closed, snapped, opened_, named):
        flows.delete_disk(fresh.domain, each)
    post(fresh.cluster, "MultiCluster/VolumeDelete/foreign", {"onAttached": "detach"})
    for rest in fresh.host1.rows, fresh.host2.rows:
        rest.clear()


def test_what_a_live_link_tells_of_is_no_leftover(fresh: Play, vm_disk: Disk) -> None:
    """Vdsm's database is lost while a VM starts: the link leads to the device, so it stays
    attached."""
    [description] = flows.run_vm(fresh.domain, fresh.host1, vm_disk)
    fresh.host1.local(vdsm_rows.DATABASE).unlink()
    quiet(start_vdsmd(fresh.host1))
    guest = fresh.guest(fresh.host1, description)
    guest.write(0, "starts")
    guest.stop()
    assert fresh.on_hosts(vm_disk.active) == {1}
