"""attachments.py: detach, release and growth: what is open stays, what is lost is looked for."""

from __future__ import annotations

import os
import time

import pytest
from attachment_ground import TAGS, attached, device

from rigs import faulty_files
from rigs.core_fixtures import GIB, Core
from storpool_ovirt import errors
from storpool_ovirt.cluster import attachments, devices, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS


@pytest.mark.parametrize("detach_absent", ["ok", "error"])
def test_detach_of_what_is_not_attached_is_a_success(
    core: Core, target: attachments.Target, detach_absent: str
) -> None:
    """T16, T36: not attached, or no such volume: nothing to do, whatever StorPool answers to it."""
    core.simulator.switches.set({"detach_absent": detach_absent})
    attachments.attach(core.client(), core.host(2), target, "rw")
    attachments.detach(core.client(), core.host(1), target)
    attachments.detach(core.client(), core.host(1), attachments.Target("sim.a.zzz", "ovirt--z"))
    assert attached(core) == {("ovirt--x", 2, "rw")}


def elsewhere(core: Core, client_id: int) -> attachments.HostSide:
    """Return host 1 as it is where its SP_OURID is another client's."""
    return attachments.HostSide(
        client_id,
        core.root(1),
        Deadline(20),
        core.log,
        limits=LIMITS._replace(device_seconds=0.3),
    )


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_a_detach_with_another_hosts_id_is_none(
    core: Core, target: attachments.Target, absent: str
) -> None:
    """T50: with a wrong SP_OURID StorPool may say yes: the device that is still here tells that it
    was not ours."""
    core.simulator.switches.set({"detach_absent": absent})
    attachments.attach(core.client(), core.host(1), target, "rw")
    for others_have_it in (False, True):
        if others_have_it:
            attachments.attach(core.client(), core.host(2), target, "rw")
        with pytest.raises(
            errors.Conflict, match="has a device here though StorPool has it detached"
        ):
            attachments.detach(core.client(), elsewhere(core, 2), target)
    attachments.detach(core.client(), core.host(1), target)
    assert attached(core) == set()


def test_a_refused_detach_is_none_while_the_device_is_here(
    core: Core, target: attachments.Target
) -> None:
    """T50: refused, and the list has nothing of this client: a device that is here says that it
    was not done, and the sentence says what may be wrong; a client that StorPool does not know
    is no client that has nothing.
    """
    core.simulator.switches.set({"detach_absent": "error"})
    attachments.attach(core.client(), core.host(1), target, "rw")
    with pytest.raises(
        errors.Conflict,
        match="has a device here though StorPool has it detached from this client: check SP_OURID",
    ):
        attachments.detach(core.client(), elsewhere(core, 2), target)
    words = {"name": "invalidParam", "descr": "No such client registered 99"}
    core.simulator.faults.add("error_200", query="VolumesReassignWait", **words)
    with pytest.raises(errors.NotFound, match=r"there is no client \d+ in .*check SP_OURID"):
        attachments.detach(core.client(), core.host(3), target)
    assert attached(core) == {("ovirt--x", 1, "rw")}
    attachments.detach(core.client(), core.host(1), target)
    attachments.detach(core.client(), core.host(1), target)


@pytest.mark.parametrize("lag", [1, 3])
def test_a_refused_detach_looks_at_what_is_so_now(
    core: Core, target: attachments.Target, lag: int
) -> None:
    """T50: StorPool refuses it once, and its list may be of a moment ago, with nothing attached:
    that is no detach."""
    attachments.attach(core.client(), core.host(1), target, "rw")
    core.simulator.switches.set({"lag": str(lag)})
    core.simulator.faults.add(
        "error_200", query="VolumesReassignWait", name="invalidParam", descr="not now"
    )
    with pytest.raises(errors.Rejected, match="not now"):
        attachments.detach(core.client(), core.host(1), target)
    core.simulator.switches.set({"lag": "0"})
    assert attached(core) == {("ovirt--x", 1, "rw")}


@pytest.mark.parametrize("code", faulty_files.ERRORS)
def test_a_device_that_cannot_be_looked_at(
    core: Core, target: attachments.Target, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """T11, T50: it is neither there nor missing: told at once with the reason, and the attach is
    undone, also where it was attached before; the size of a device is no guess either.
    """
    blind = (
        core.folder / "blind"
    )  # host 1 by another name, so that StorPool's own part of it sees all
    blind.symlink_to(core.root(1))
    faulty_files.inject(monkeypatch, f"{blind}/dev", code)
    for before in (False, True):
        if before:
            attachments.attach(core.client(), core.host(1), target, "rw")
        host = attachments.HostSide(1, str(blind), Deadline(20), core.log)
        began = time.monotonic()
        with pytest.raises(errors.Unseen, match=f"cannot be looked at .{os.strerror(code)}"):
            attachments.attach(core.client(), host, target, "rw")
        assert time.monotonic() - began < LIMITS.device_seconds / 2
        with pytest.raises(errors.Unseen, match=f"cannot be looked at .{os.strerror(code)}"):
            devices.wait_for_size(core.client(), host, target)
        assert attached(core) == set()


def test_what_is_not_there_is_said_once(core: Core) -> None:
    """A request names its objects with their kinds: the sentence has each word once."""
    for kind in ("volume", "snapshot"):
        gone = attachments.Target("sim.a.zzz", "ovirt--gone", kind)
        with pytest.raises(errors.NotFound) as raised:
            attachments.attach(core.client(), core.host(1), gone, "ro")
        assert str(raised.value).startswith(
            f"there is no {kind} ovirt--gone in the StorPool cluster at "
        )


@pytest.mark.parametrize("busy_error", ["busy", "invalidParam"])
def test_an_open_device_is_never_detached(
    core: Core, target: attachments.Target, busy_error: str
) -> None:
    """A device that somebody holds open stays: newer and older releases of StorPool say so with
    different names."""
    core.simulator.switches.set({"busy_error": busy_error})
    attachments.attach(core.client(), core.host(1), target, "rw")
    with device(core, 1, target).open("rb"), pytest.raises(errors.InUse, match="open at client 1"):
        attachments.detach(core.client(), core.host(1, seconds=0.5), target)
    assert attached(core) == {("ovirt--x", 1, "rw")}
    attachments.detach(core.client(), core.host(1), target)
    assert attached(core) == set()
    bodies = [str(each.body) for each in core.simulator.calls.list()]
    assert not any("'force': True" in body for body in bodies)


def test_a_device_that_is_being_closed_is_waited_for(
    core: Core, target: attachments.Target
) -> None:
    """A VM that has just ended closes its disks within moments: the detach waits for that, a
    little."""
    attachments.attach(core.client(), core.host(1), target, "rw")
    holder = os.open(device(core, 1, target), os.O_RDONLY)
    closed = []

    def sleep(_seconds: float) -> None:
        if not closed:
            os.close(holder)
            closed.append(True)

    host = attachments.HostSide(1, core.root(1), Deadline(20), core.log, sleep)
    attachments.detach(core.client(), host, target)
    assert closed
    assert attached(core) == set()


def test_release_is_all_or_nothing(core: Core, target: attachments.Target) -> None:
    """T9: of several volumes with one of them open none is detached, and the host is named as
    storpool.conf does."""
    other_id = volumes.create(core.client(), Plan(Owner("ovirt--y", TAGS), GIB))
    other = attachments.Target(other_id, "ovirt--y")
    for each, client_id in ((target, 1), (target, 2), (other, 3)):
        attachments.attach(core.client(), core.host(client_id), each, "rw")
    before = attached(core)
    with (
        device(core, 3, other).open("rb"),
        pytest.raises(errors.InUse, match=r"client 3 \(h3\.example\)"),
    ):
        attachments.release(core.client(), [target, other], {3: "h3.example"})
    assert attached(core) == before
    released = attachments.release(core.client(), [target, other], {})
    assert {(each.name, each.client_id) for each in released} == {
        ("ovirt--x", 1),
        ("ovirt--x", 2),
        ("ovirt--y", 3),
    }
    assert attached(core) == set()


def test_the_lock_of_a_volume_is_waited_for_and_named(
    core: Core, target: attachments.Target
) -> None:
    """Vdsm has no lock: an attach waits for a detach of the same volume, and says so when it does
    not end."""
    host = attachments.HostSide(1, core.root(1), Deadline(0.3), core.log)
    with (
        devices.locked(core.host(1), target),
        pytest.raises(errors.Locked, match="on this host"),
    ):
        attachments.attach(core.client(), host, target, "rw")
    attachments.attach(core.client(), core.host(1), target, "rw")


def test_after_growth_running_hosts_are_waited_for_and_others_are_named(
    core: Core, target: attachments.Target
) -> None:
    """[spapi] ClientConfigWait: hosts that have the volume know its new size; one that is down is
    told as pending."""
    for client_id in (1, 2):
        attachments.attach(core.client(), core.host(client_id), target, "rw")
    core.queries()
    generation = volumes.grow(core.client(), target.global_id, 2 * GIB)
    assert attachments.wait_for_hosts(core.client(), generation, target) == []
    assert core.queries() == (
        "VolumeUpdate",
        "ClientsConfigDump",
    ), "one question where all hosts are up to date"
    core.set_client(2, status="down")
    generation = volumes.grow(core.client(), target.global_id, 3 * GIB)
    assert attachments.wait_for_hosts(core.client(), generation, target) == [2]
    assert device(core, 1, target).stat().st_size == 3 * GIB


def test_growth_is_waited_for_on_this_host(core: Core, target: attachments.Target) -> None:
    """The size that is returned is the device's own; it is asked for until it is the new one."""
    attachments.attach(core.client(), core.host(1), target, "rw")
    link = device(core, 1, target)
    stale = core.folder / "stale"
    stale.write_bytes(b"old")
    link.unlink()
    link.symlink_to(stale)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        os.truncate(stale, GIB)

    host = attachments.HostSide(1, core.root(1), Deadline(20), core.log, sleep)
    assert devices.wait_for_size(core.client(), host, target) == GIB
    assert slept


def test_growth_that_does_not_come_is_an_error(core: Core, target: attachments.Target) -> None:
    """The wait has a limit, and its error tells the path, the old size and the new one; never the
    old size alone."""
    with pytest.raises(errors.NotFound, match="attach the volume first"):
        devices.wait_for_size(core.client(), core.host(1), target)
    attachments.attach(core.client(), core.host(1), target, "rw")
    link = device(core, 1, target)
    link.unlink()
    link.write_bytes(b"old")
    with pytest.raises(errors.DeadlineExceeded, match=f"grow from 3 to {GIB} bytes"):
        devices.wait_for_size(core.client(), core.host(1, seconds=0.5), target)


def test_a_folder_of_locks_that_cannot_be_used_is_named(
    core: Core, target: attachments.Target
) -> None:
    """Without its lock an attach does nothing, and says where the lock should be."""
    (core.folder / "host1" / "run").write_text("in the way")
    with pytest.raises(
        errors.ConfigError, match=r"folder of locks .*/host1/run/storpool-ovirt cannot be used"
    ):
        attachments.attach(core.client(), core.host(1), target, "rw")
    host = attachments.HostSide(1, core.root(1), Deadline(20), core.log, lock_folder="/tmp/locks")
    attachments.attach(core.client(), host, target, "rw")
    assert (core.folder / "host1/tmp/locks" / f"{target.global_id}.lock").exists()


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_a_release_whose_answer_is_lost(
    core: Core, target: attachments.Target, absent: str
) -> None:
    """T87: StorPool may refuse the repetition, as nobody has it any more: that is what was
    wanted."""
    core.simulator.switches.set({"detach_absent": absent})
    for client_id in (1, 2):
        attachments.attach(core.client(), core.host(client_id), target, "rw")
    core.simulator.faults.add("reset_after", query="VolumesReassignWait")
    attachments.release(core.client(), [target], {})
    assert attachments.clients_of(core.client(), target) == []
    attachments.attach(core.client(), core.host(1), target, "rw")
    core.simulator.faults.add("reset_after", query="VolumesReassignWait")
    assert attachments.detach_closed(core.client(), target) == ([1], [])


def test_a_host_that_only_had_it_is_undone_too(core: Core, target: attachments.Target) -> None:
    """T5, T55: an old list says that it is attached here; when the attach fails, nothing of it is
    left."""
    core.simulator.switches.set({"attach_timeout_expiry": "error_keep"})
    attachments.attach(core.client(), core.host(1), target, "rw")
    core.client().reassign(
        [{"volume": f"~{target.global_id}", "detach": [1], "force": True}], 0, ""
    )
    core.simulator.faults.add("old", query="AttachmentsList")
    core.simulator.faults.add("reset_after", query="VolumesReassignWait")
    core.simulator.faults.add("error_200", query="VolumesReassignWait", name="timeout")
    with pytest.raises(errors.Error):
        attachments.attach(core.client(), core.host(1), target, "rw")
    assert attachments.clients_of(core.client(), target) == []
