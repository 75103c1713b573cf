"""storpool-vm-hook when it cannot be sure: the VM does not start, in time, with the reason; and
what was taken then.

The limits are cut short in a copy of the program (`hasty_hook`); that the real ones are short
enough is a test of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import vdsm
from rigs import canned_api
from rigs.clock import wait_until
from rigs.helper_stage import wait_for_call
from rigs.hook_stage import LIMIT_SECONDS, Starts, last_refusal
from rigs.shared_stage import post
from storpool_ovirt.host import vm_hook

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.hooks import Hooks


REASSIGN = "VolumesReassignWait"


def test_the_limits_leave_vdsm_its_minute() -> None:
    """All of a hook's time is less than a minute, whatever hangs."""
    assert vm_hook.LIMITS.deadline_seconds + vm_hook.LIMITS.last_seconds < LIMIT_SECONDS


def check_refused(
    starts: Starts, hooks: Hooks, *disks: Disk, fault: dict[str, Any] | None = None
) -> str:
    """Run the hook of host 2 for disks that host 1 writes: it refuses, nobody loses anything;
    return the sentence."""
    document = starts.vm(*disks)
    before = [starts.on_hosts(disk) for disk in disks]
    if fault:
        starts.stage.simulator.inject(**fault)
    with pytest.raises(vdsm.VdsmError):
        hooks.before_vm_start(document)
    sentence = last_refusal(hooks)
    starts.stage.simulator.clear_faults()
    assert [starts.on_hosts(disk) for disk in disks] == before
    return sentence


@pytest.fixture
def disk(starts: Starts) -> Disk:
    """A disk that host 1 has, and host 2 too."""
    [made] = starts.disks()
    starts.attach(1, made)
    starts.attach(2, made)
    return made


def test_this_hosts_client_is_down(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """A host that cannot use the disk takes it from nobody: the VM goes on where it is."""
    starts.stage.simulator.set_client(2, status="down")
    with starts.writing(1, disk) as writer:
        assert "client 2 on this host is down" in check_refused(starts, hasty_hook, disk)
        assert writer.write(1)


@pytest.mark.parametrize("kind", ["bad_gateway", "hang", "reset_before"])
@pytest.mark.parametrize(
    "query", ["Volume", "ClientsConfigDump", "AttachmentsList", "VolumesReassignWait"]
)
def test_the_api_does_not_answer(
    starts: Starts, hasty_hook: Hooks, disk: Disk, kind: str, query: str
) -> None:
    """T73: the API talks nonsense, or nothing, to any of the calls: refused in time, with its
    address."""
    sentence = check_refused(
        starts, hasty_hook, disk, fault={"kind": kind, "query": query, "times": 100}
    )
    assert f"127.0.0.1:{starts.stage.simulator.port}" in sentence


def test_the_api_is_away(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """T73: nobody listens at the API's address: refused in time, with that address."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with starts.conf(2, SP_API_HTTP_PORT=str(port)):
            assert f"127.0.0.1:{port} gave no usable answer" in check_refused(
                starts, hasty_hook, disk
            )


@pytest.mark.parametrize(
    "answer",
    [canned_api.DRIP, (200, b"<html>"), (200, {"generation": 1, "data": None})],
    ids=["drip", "page", "null"],
)
def test_nonsense_is_never_taken_for_an_answer(
    starts: Starts, hasty_hook: Hooks, disk: Disk, answer: canned_api.Answer
) -> None:
    """T73: with something else at the API's address the start is refused in time."""
    with (
        canned_api.answering([answer]) as canned,
        starts.conf(2, SP_API_HTTP_PORT=str(canned.port)),
    ):
        check_refused(starts, hasty_hook, disk)


def test_the_token_is_wrong(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """The reason is StorPool's own, and the token is not told."""
    with starts.conf(2, SP_AUTH_TOKEN="987654321"):
        sentence = check_refused(starts, hasty_hook, disk)
    assert "unauthorized" in sentence
    assert "987654321" not in sentence


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"SP_OURID": "77"}, "no client 77"),
        ({"SP_OURID": "x"}, "is not a client id"),
        ({"SP_OURID": None}, "SP_OURID is missing"),
        ({"SP_AUTH_TOKEN": None}, "SP_AUTH_TOKEN is missing"),
    ],
)
def test_a_host_that_does_not_know_itself(
    starts: Starts, hasty_hook: Hooks, disk: Disk, conf: dict[str, str | None], said: str
) -> None:
    """D7: who this host is comes from its own storpool.conf, and no default takes its place."""
    with starts.conf(2, **conf):
        assert said in check_refused(starts, hasty_hook, disk)


def test_a_disk_that_is_gone(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """T14: a link that leads to nothing that StorPool has, and no link at all, refuse the start."""
    link = starts.stage.hosts[2].local(starts.run_link(disk))
    link.unlink()
    assert "Engine attaches the disk first" in check_refused(starts, hasty_hook, disk)
    link.symlink_to(starts.stage.hosts[2].local("/dev/storpool-byid/sim.a.zzzz"))
    assert "there is no volume or snapshot ~sim.a.zzzz" in check_refused(starts, hasty_hook, disk)


def test_a_link_to_another_disk(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """T60, T76: the link's name and the volume's tags disagree: nothing is taken from anybody."""
    [other] = starts.disks()
    starts.attach(1, other)
    starts.attach(2, other)
    link = starts.stage.hosts[2].local(starts.run_link(disk))
    link.unlink()
    link.symlink_to(starts.device(2, other))
    assert f"is the disk {disk.id} of this VM but was made for {other.id}" in check_refused(
        starts, hasty_hook, disk
    )
    assert starts.on_hosts(other) == {(1, "rw"), (2, "rw")}


def test_a_link_to_what_is_not_ovirts(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """T76: oVirt means a volume that carries another orchestrator's tags: it is not taken."""
    post(
        starts.stage.simulator, f"VolumeUpdate/~{starts.global_id(disk)}", {"tags": {"virt": "cs"}}
    )
    assert "carries no tags of oVirt" in check_refused(starts, hasty_hook, disk)
    post(
        starts.stage.simulator,
        f"VolumeUpdate/~{starts.global_id(disk)}",
        {"tags": {"virt": "ovirt"}},
    )


def test_one_of_several_disks_cannot_be_taken(
    starts: Starts, hasty_hook: Hooks, disk: Disk
) -> None:
    """All or nothing: where StorPool refuses the request, no disk of the VM is taken."""
    [other] = starts.disks()
    starts.attach(1, other)
    starts.attach(2, other)
    check_refused(
        starts, hasty_hook, disk, other, fault={"kind": "error_200", "query": "VolumesReassignWait"}
    )


def test_a_device_that_is_not_there(starts: Starts, hasty_hook: Hooks, disk: Disk) -> None:
    """StorPool says that it is attached here, but there is no device: nothing is taken from who can
    use it."""
    starts.device(2, disk).unlink()
    with starts.writing(1, disk) as writer:
        assert "did not appear" in check_refused(starts, hasty_hook, disk)
        assert writer.write(1)


def test_somebody_attaches_it_meanwhile(starts: Starts, disk: Disk) -> None:
    """T55: success is read back, not believed: a host that has it again after the request stops the
    start."""
    cluster = starts.stage.simulator

    def reads_back() -> bool:
        asked = [call["query"] for call in cluster.calls()]
        return "AttachmentsList" in asked[asked.index(REASSIGN) :] if REASSIGN in asked else False

    cluster.clear_calls()
    cluster.inject("delay", query="AttachmentsList", seconds=3, times=9)
    with starts.starting(2, disk) as hook:
        wait_until(reads_back, "it reads back", limit_seconds=LIMIT_SECONDS)
        body = {"reassign": [{"volume": f"~{starts.global_id(disk)}", "rw": [1]}]}
        post(cluster, REASSIGN, body)
        cluster.clear_faults()
        _, stderr = hook.communicate(timeout=LIMIT_SECONDS)
    assert hook.returncode == vm_hook.REFUSED
    assert b"should be client 2's alone, but those who have it are: client" in stderr


@pytest.mark.parametrize(("kind", "requests"), [("reset_after", 1), ("transient", 2), ("stop", 1)])
def test_a_request_whose_answer_is_lost(
    starts: Starts, hasty_hook: Hooks, disk: Disk, kind: str, requests: int
) -> None:
    """T87: it is looked whether it took effect, and only else repeated, with the same body; the VM
    starts alone."""
    starts.stage.simulator.clear_calls()
    starts.stage.simulator.inject(
        kind, query="VolumesReassignWait", **({"seconds": 0.2} if kind == "stop" else {})
    )
    hasty_hook.before_vm_start(starts.vm(disk))
    assert starts.on_hosts(disk) == {(2, "rw")}
    bodies = [
        str(call["body"])
        for call in starts.stage.simulator.calls()
        if call["query"] == "VolumesReassignWait"
    ]
    assert len(bodies) == requests
    assert len({*bodies}) == 1


def test_a_frozen_hook_takes_nothing_when_its_time_is_over(
    starts: Starts, hasty_hook: Hooks, disk: Disk
) -> None:
    """T52: the host hung in the middle of a start, the VM was started elsewhere; when it wakes up,
    it does not take it.

    SIGSTOP before the request, SIGCONT when the deadline has passed.
    """
    cluster = starts.stage.simulator
    cluster.inject("delay", query="ClientsConfigDump", seconds=0.3)
    with starts.starting(2, disk) as hook:
        wait_for_call(starts.stage, "ClientsConfigDump")
        hook.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        starts.hooks[1].before_vm_start(starts.vm(disk))
        assert starts.on_hosts(disk) == {(1, "rw")}
        while time.monotonic() - began < 3.5:
            os.sched_yield()
        with starts.writing(1, disk) as writer:
            hook.send_signal(signal.SIGCONT)
            _, stderr = hook.communicate(timeout=LIMIT_SECONDS)
            assert writer.write(1)
    assert hook.returncode == vm_hook.REFUSED, stderr
    assert starts.on_hosts(disk) == {(1, "rw")}


@pytest.mark.parametrize("point", ["before_vm_migrate_destination", "after_vm_start", "bin"])
def test_at_any_other_point_nothing_is_taken(
    starts: Starts, disk: Disk, tmp_path: Path, point: str
) -> None:
    """S1: linked into another folder of Vdsm's by mistake, as for the destination of a migration,
    it refuses."""
    file = tmp_path / "hook.xml"
    file.write_text(starts.vm(disk))
    starts.hooks[2].install(
        point, starts.hooks[2].host.local("/usr/libexec/vdsm/hooks/before_vm_start/50_storpool")
    )
    done = starts.run_by_hand(2, file, point)
    assert done.returncode == vm_hook.REFUSED
    assert (
        "was not started as one of Vdsm's hooks before_vm_start, before_disk_hotplug" in done.stderr
    )
    assert starts.on_hosts(disk) == {(1, "rw"), (2, "rw")}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "cannot be read"),
        ("<domain>", "cannot be read"),
        ("<disk/>", "is no <domain>"),
        (None, "cannot be read"),
    ],
)
def test_xml_that_is_none(starts: Starts, tmp_path: Path, document: str | None, said: str) -> None:
    """Bad input: one sentence, exit code 2, nothing asked and nothing changed."""
    file = tmp_path / "hook.xml"
    if document is not None:
        file.write_text(document)
    starts.stage.simulator.clear_calls()
    done = starts.run_by_hand(2, file)
    assert done.returncode == vm_hook.REFUSED
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert starts.stage.simulator.calls() == []
    if document is not None:
        assert file.read_text() == document


def test_xml_that_is_too_large(starts: Starts, tmp_path: Path) -> None:
    """Nobody reads without end: a domain of libvirt's is a few hundred kilobytes at most."""
    file = tmp_path / "hook.xml"
    file.write_bytes(b"<domain>" + b" " * vm_hook.XML_MAX_BYTES)
    assert "has more than" in starts.run_by_hand(2, file).stderr


def test_a_vms_custom_properties_redirect_nothing(
    starts: Starts, disk: Disk, tmp_path: Path
) -> None:
    """Vdsm puts them into the environment, with the names that an administrator chose: the API is
    storpool.conf's."""
    file = tmp_path / "hook.xml"
    file.write_text(starts.vm(disk))
    with canned_api.answering([(200, b"{}")]) as canned:
        elsewhere = {
            "SP_API_HTTP_HOST": "127.0.0.1",
            "SP_API_HTTP_PORT": str(canned.port),
            "SP_AUTH_TOKEN": "1",
        }
        with starts.popen(2, file, environment=elsewhere) as hook:
            assert hook.wait(timeout=LIMIT_SECONDS) == 0
    assert starts.on_hosts(disk) == {(2, "rw")}


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(starts: Starts, disk: Disk, tmp_path: Path, closed: str) -> None:
    """Whatever Vdsm leaves open: a start that is refused ends with 2, one that is not with 0."""
    file = tmp_path / "hook.xml"
    hook = starts.hooks[2].host.local("/usr/libexec/vdsm/hooks/before_vm_start/50_storpool")
    for document, code in (("<disk/>", vm_hook.REFUSED), (starts.vm(disk), 0)):
        file.write_text(document)
        environment = {**starts.stage.hosts[2].environment, "_hook_domxml": str(file)}
        shell = ["sh", "-c", f'exec "$0" {closed}', hook]
        assert (
            subprocess.run(shell, env=environment, check=False, timeout=LIMIT_SECONDS).returncode
            == code
        )


def test_an_alarm_that_is_blocked(
    starts: Starts, hasty_hook: Hooks, disk: Disk, tmp_path: Path
) -> None:
    """T73: the last limit holds also where whoever started us had blocked the signal."""
    file = tmp_path / "hook.xml"
    file.write_text(starts.vm(disk))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        with (
            canned_api.answering([canned_api.DRIP]) as canned,
            starts.conf(2, SP_API_HTTP_PORT=str(canned.port)),
        ):
            assert starts.run_by_hand(2, file).returncode == vm_hook.REFUSED
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert hasty_hook.runs == []


def test_without_vdsm(starts: Starts) -> None:
    """Run by hand it says that it is Vdsm's."""
    done = starts.run_by_hand(2, Path())
    assert done.returncode == vm_hook.REFUSED
    assert "let Vdsm run this hook" in done.stderr


def test_two_hosts_start_the_same_vm(starts: Starts, disk: Disk) -> None:
    """T53: whatever was believed, one host has it in the end, and nobody else can write."""
    if not starts.device(1, disk).is_block_device():
        pytest.skip(
            "a plain file cannot be taken from one host while another one has it open; loop devices"
            " need root"
        )
    with (
        starts.writing(1, disk) as first,
        starts.writing(2, disk) as second,
        starts.starting(1, disk) as one,
        starts.starting(2, disk) as two,
    ):
        said = [hook.communicate(timeout=LIMIT_SECONDS)[1] for hook in (one, two)]
        assert {one.returncode, two.returncode} <= {0, vm_hook.REFUSED}
        assert 0 in (one.returncode, two.returncode), said
        assert len(starts.on_hosts(disk)) == 1
        assert [first.write(1), second.write(2)].count(True) <= 1


def test_what_dies_at_any_call_takes_all_or_nothing(starts: Starts, disk: Disk) -> None:
    """T71: killed around each of its requests: all disks have their old hosts or all the new one; a
    repeat works."""
    [other] = starts.disks()
    starts.attach(1, other)
    starts.attach(2, other)
    cluster = starts.stage.simulator
    calls = ["Volume", "ClientsConfigDump", "AttachmentsList", "VolumesReassignWait"]
    for query in calls:
        cluster.inject("delay", query=query, seconds=0.4)
        with starts.starting(2, disk, other) as hook:
            wait_for_call(starts.stage, query)
            hook.kill()
            hook.wait(timeout=LIMIT_SECONDS)
        cluster.clear_faults()
        held = [starts.on_hosts(each) for each in (disk, other)]
        assert held in ([{(1, "rw"), (2, "rw")}] * 2, [{(2, "rw")}] * 2)
    starts.hooks[2].before_vm_start(starts.vm(disk, other))
    assert [starts.on_hosts(each) for each in (disk, other)] == [{(2, "rw")}] * 2


def test_an_answer_that_nobody_reads(starts: Starts, disk: Disk, tmp_path: Path) -> None:
    """A reason that cannot be written does not let the VM start."""
    file = tmp_path / "hook.xml"
    file.write_text("<disk/>")
    read, write = os.pipe()
    os.close(read)
    with starts.popen(2, file, stderr=write) as hook:
        os.close(write)
        assert hook.wait(timeout=LIMIT_SECONDS) == vm_hook.REFUSED
