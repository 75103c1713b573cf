"""boot_sweep.py with its surroundings broken, or busy: what nobody can prove stays, and is told and
tried again."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from boot_fixtures import NOTHING, crash, runs_again

from ovirt_demo import flows
from ovirt_demo.flows import Disk
from ovirt_demo.vdsm import HelperRun
from rigs import boot_stage, faulty_files
from rigs.boot_stage import kept, quiet, start_vdsmd, told
from rigs.flow_stage import Play
from rigs.helper_stage import info_of, wait_for_call
from rigs.shared_stage import at_once, attached, new_id, queries
from storpool_ovirt import names
from storpool_ovirt.host import boot_sweep, vdsm_rows

# StorPool cannot be asked


def test_the_real_limits_with_an_api_that_hangs(fresh: Play, left: Disk) -> None:
    """T73: no answer at all: the hook ends by itself, nothing is lost, and the next start of vdsmd
    clears the row."""
    before, there = kept(fresh.host1), attached(fresh.cluster)
    fresh.cluster.inject("hang", query="VolumesReassignWait", times=100)
    assert "gave no usable answer" in told(start_vdsmd(fresh.host1))
    fresh.cluster.clear_faults()
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    quiet(start_vdsmd(fresh.host1))
    runs_again(fresh, left)


@pytest.mark.parametrize("wrong", [{"SP_API_HTTP_PORT": "1"}, {"SP_AUTH_TOKEN": "wrong-token"}])
def test_a_wrong_address_or_token(
    fresh: Play, left: Disk, tmp_path: Path, wrong: dict[str, str]
) -> None:
    """T86: with a device here the row stays, as nobody can prove it closed; what has none goes; all
    else is told."""
    absent = new_id()
    boot_stage.put_row(
        fresh.host1, absent, info_of(absent, "sim.a.zzzz", "rw"), "/dev/storpool-byid/sim.a.zzzz"
    )
    there = attached(fresh.cluster)
    sentence = told(start_vdsmd(fresh.host1, boot_stage.hasty(tmp_path), **wrong))
    assert wrong.get("SP_AUTH_TOKEN", "?") not in sentence
    assert ([*fresh.host1.rows], attached(fresh.cluster)) == ([left.active], there)
    assert not boot_sweep.is_done(str(fresh.host1.root))
    quiet(start_vdsmd(fresh.host1))
    runs_again(fresh, left)


@pytest.mark.parametrize("query", ["AttachmentsList", "Volume"])
def test_lists_that_fail(
    fresh: Play, left: Disk, vm_disk: Disk, tmp_path: Path, query: str
) -> None:
    """The rows are cleared, what nobody knows of stays; it is told, and the next start goes on with
    it."""
    lost = flows.create_disk(fresh.domain, 1)
    crash(fresh, lost)
    fresh.host1.rows.pop(lost.active)
    fresh.cluster.inject("bad_gateway", query=query, times=100)
    told(start_vdsmd(fresh.host1, boot_stage.hasty(tmp_path)))
    fresh.cluster.clear_faults()
    assert (len(fresh.host1.rows), fresh.on_hosts(left.active), fresh.on_hosts(lost.active)) == (
        0,
        set(),
        {1},
    )
    quiet(start_vdsmd(fresh.host1))
    assert fresh.on_hosts(lost.active) == set()
    flows.delete_disk(fresh.domain, lost)


def test_the_host_of_another_client_id(fresh: Play, left: Disk) -> None:
    """SP_OURID is another host's: StorPool has nothing to detach there, but the device is here:
    all stays, and what the other host has, too, though no row here tells of it.
    """
    elsewhere = flows.create_disk(fresh.domain, 1)
    flows.run_vm(fresh.domain, fresh.host2, elsewhere)
    conf = fresh.host1.local("/etc/storpool.conf")
    right = conf.read_text()
    before, there = kept(fresh.host1), attached(fresh.cluster)
    conf.write_text(right.replace("SP_OURID=1", "SP_OURID=2"))
    try:
        assert "check SP_OURID" in told(start_vdsmd(fresh.host1))
    finally:
        conf.write_text(right)
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    flows.stop_vm(fresh.domain, elsewhere)
    flows.delete_disk(fresh.domain, elsewhere)


def test_a_locked_database(fresh: Play, left: Disk, tmp_path: Path) -> None:
    """Somebody reads it as a whole: it is told, nothing is changed, and the next start clears the
    row."""
    before, there = kept(fresh.host1), attached(fresh.cluster)
    with contextlib.closing(sqlite3.connect(fresh.host1.local(vdsm_rows.DATABASE))) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in told(start_vdsmd(fresh.host1, boot_stage.hasty(tmp_path)))
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    quiet(start_vdsmd(fresh.host1))
    runs_again(fresh, left)


# The host cannot be looked at


@pytest.mark.parametrize("code", faulty_files.ERRORS)
@pytest.mark.parametrize("place", [names.DEVICE_FOLDER, names.RUN_FOLDER, vdsm_rows.DATABASE])
def test_a_live_row_is_not_taken_for_a_stale_one(
    fresh: Play, vm_disk: Disk, tmp_path: Path, place: str, code: int
) -> None:
    """T50, T86: a VM that is about to start, and devices, run links or rows that cannot be read
    at this moment: nobody is asked to detach, all stays, the sentence names the path and the
    reason, and the boot is not marked as done.
    """
    flows.run_vm(fresh.domain, fresh.host1, vm_disk)
    before, there = kept(fresh.host1), attached(fresh.cluster)
    fresh.cluster.clear_calls()
    program = boot_stage.wrapped(tmp_path, faulty_files.program(fresh.host1.local(place), code))
    sentence = told(start_vdsmd(fresh.host1, program))
    assert f" ({os.strerror(code)})" in sentence
    assert str(fresh.host1.local(place)) in sentence
    assert not [query for query in queries(fresh.cluster) if query.startswith("VolumesReassign")]
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    assert not boot_sweep.is_done(str(fresh.host1.root))
    quiet(start_vdsmd(fresh.host1))
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    flows.stop_vm(fresh.domain, vm_disk)


def test_a_marker_that_cannot_be_looked_at(fresh: Play, left: Disk, tmp_path: Path) -> None:
    """Whether the work of this boot is done nobody can tell: nothing is done, and it is told."""
    before, there = kept(fresh.host1), attached(fresh.cluster)
    program = boot_stage.wrapped(
        tmp_path, faulty_files.program(fresh.host1.local(boot_sweep.MARKER), errno.EIO)
    )
    assert "boot-hook.done cannot be looked at" in told(start_vdsmd(fresh.host1, program))
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    assert left.active in fresh.host1.rows


def test_a_refused_detach_is_none(fresh: Play, left: Disk, tmp_path: Path) -> None:
    """T50: StorPool refuses, and its list shows nothing (it may be a moment old): the device is
    here all the same, so row, rule and attachment stay.
    """
    before, there = kept(fresh.host1), attached(fresh.cluster)
    fresh.cluster.inject(
        "error_200", query="VolumesReassignWait", name="invalidParam", descr="not now"
    )
    old = "from storpool_ovirt.cluster import api\napi.Client.attachments = lambda self: []"
    sentence = told(start_vdsmd(fresh.host1, boot_stage.wrapped(tmp_path, old)))
    assert "has a device here though StorPool has it detached" in sentence
    assert (kept(fresh.host1), attached(fresh.cluster)) == (before, there)
    assert not boot_sweep.is_done(str(fresh.host1.root))
    quiet(start_vdsmd(fresh.host1))
    runs_again(fresh, left)


# An attach under way


def under_way(
    play: Play, vm_disk: Disk, hook: Path | None, seconds: float
) -> tuple[HelperRun, Any]:
    """Start vdsmd while the helper that the last vdsmd asked for still attaches."""
    connection = play.domain.ask("connect_volume", vm_disk.active, "{}").map()
    boot_stage.put_row(play.host1, vm_disk.active, connection)
    play.cluster.clear_calls()
    play.cluster.inject("delay", query="VolumesReassignWait", seconds=seconds)

    def start() -> Any:
        wait_for_call(play.stage, "VolumesReassignWait")
        done = start_vdsmd(play.host1, hook)
        play.cluster.clear_faults()
        return done

    run, done = at_once(lambda: play.host1.helper("attach", {"connection_info": connection}), start)
    assert isinstance(run, HelperRun)
    return run, done


def test_an_attach_under_way_is_waited_for(fresh: Play, vm_disk: Disk) -> None:
    """T88: the hook waits for the helper's lock; nobody is there any more who asked for that
    attach: it is undone."""
    run, done = under_way(fresh, vm_disk, None, 0.5)
    assert run.returncode == 0
    quiet(done)
    assert kept(fresh.host1) == {**NOTHING}
    assert fresh.on_hosts(vm_disk.active) == set()


def test_an_attach_that_does_not_end_is_left_alone(
    fresh: Play, vm_disk: Disk, tmp_path: Path
) -> None:
    """T88: what is under way for longer keeps its row and its device; the next start of vdsmd looks
    again."""
    run, done = under_way(fresh, vm_disk, boot_stage.hasty(tmp_path), 60.0)
    assert "another operation works on" in told(done)
    assert run.returncode == 0
    assert ([*fresh.host1.rows], fresh.on_hosts(vm_disk.active)) == ([vm_disk.active], {1})
    quiet(start_vdsmd(fresh.host1))
    assert fresh.on_hosts(vm_disk.active) == set()
