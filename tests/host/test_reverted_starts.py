"""takeover.py, plug.py, vm_disks.py: a disk that somebody reverted while it was attached, or while
a VM starts: never two who write, and never a disk of another VM."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rigs.clock import Clock
from rigs.core_fixtures import GIB, Core
from rigs.starts import UUIDS, attached, disk, made, side, unanswered
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, identity, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.host import domain_xml, plug, takeover, vm_disks

RULES = [
    (rule, named, told)
    for rule in ("unnamed", "all", "keep")
    for named in (True, False)
    for told in ("true", "false")
]
every_rule = pytest.mark.parametrize(("rule", "named", "told"), RULES)
EVERY_TAKE = pytest.mark.parametrize("take", [takeover.take, plug.take])


class Disk:
    """A disk of a VM that some hosts have attached, and that somebody reverts."""

    def __init__(self, core: Core, rule: tuple[str, bool, str], *clients: int) -> None:
        identity, self.named, told = rule
        core.simulator.switches.set(
            {"revert_identity": identity, "preserved_id": told, "revert_attached": "allow"}
        )
        self.core = core
        self.target = made(core, UUIDS[0], *clients)
        self.first = self.target.global_id
        volumes.snapshot(core.client(), self.first, Plan(Owner("shot", {"ovirt-uuid": "shot"})))
        if not self.named:
            core.post(f"VolumeUpdate/~{self.first}", {"rename": ""})

    def revert(self) -> str:
        """Revert it, and return the id that it has now."""
        address = self.target.name if self.named else f"~{self.first}"
        return str(self.core.post(f"VolumeRevert/{address}", {"toSnapshot": "shot"})["globalId"])

    @property
    def lost(self) -> bool:
        """Whether the id that a host was told leads nowhere after a revert."""
        return self.named and self.core.simulator.switches["revert_identity"] == "all"

    def of_vm(self) -> tuple[str, domain_xml.Disk]:
        """The disk as the VM has it: by the run link that Vdsm made at the attach."""
        return disk(self.target, UUIDS[0])

    def clients(self) -> set[int]:
        """Who has it."""
        return {client_id for _, client_id in attached(self.core)}


def taken(core: Core, take: Any, *disks: tuple[str, domain_xml.Disk]) -> takeover.StartResult:
    """Start a VM on host 2, or plug a disk there."""
    client = core.client()
    client.be_current()
    result: takeover.StartResult = take(client, side(core, Clock()), list(disks), "os")
    return result


@every_rule
@EVERY_TAKE
def test_a_start_after_a_revert(core: Core, rule: str, named: bool, told: str, take: Any) -> None:
    """T46, T53: reverted while host 1 and this one have it: this host is the only one that has it
    then, or, where its id leads nowhere, nothing is taken and the VM does not start."""
    one = Disk(core, (rule, named, told), 1, 2)
    for _ in range(2):
        one.revert()
    if one.lost:
        with pytest.raises(errors.NotFound):
            taken(core, take, one.of_vm())
        assert one.clients() == {1, 2}
        return
    result = taken(core, take, one.of_vm())
    assert [each.global_id for each in result.targets] == [one.first]
    assert result.left_alone == []
    assert one.clients() == {2}


@pytest.mark.parametrize(("rule", "named"), [("unnamed", False), ("all", True), ("all", False)])
@EVERY_TAKE
@pytest.mark.parametrize("at", range(8))
def test_a_revert_in_the_middle(core: Core, rule: str, named: bool, take: Any, at: int) -> None:
    """T46: whichever request a revert comes before: either this host alone has the disk, or the VM
    does not start; who has it open elsewhere is never overlooked."""
    one = Disk(core, (rule, named, "true"), 1, 2)
    calls = itertools.count()
    reverts: list[str] = []

    def before(_call: object) -> None:
        if next(calls) == at:
            core.simulator.calls.watch(lambda _call: None)
            reverts.append(one.revert())

    client = core.client()
    client.be_current()
    core.simulator.calls.watch(before)
    try:
        result = take(client, side(core, Clock()), [one.of_vm()], "os")
    except errors.Error:
        assert 2 in one.clients()
    else:
        assert len(result.targets) == 1
        assert one.clients() == {2}
    assert reverts or at > 4


@every_rule
@EVERY_TAKE
def test_a_disk_that_was_taken_stays_so(
    core: Core, rule: str, named: bool, told: str, take: Any
) -> None:
    """T57: another host took it since it was attached here, and it was reverted: it is not taken
    back from there."""
    one = Disk(core, (rule, named, told), 1)
    one.revert()
    with pytest.raises((errors.Conflict, errors.NotFound)):
        taken(core, take, one.of_vm())
    assert one.clients() == {1}


@every_rule
def test_a_lost_answer_and_a_revert(core: Core, rule: str, named: bool, told: str) -> None:
    """T46: the request took effect, its answer was lost, and the disk was reverted before the look:
    what is listed under another id is the same."""
    one = Disk(core, (rule, named, told), 1, 2)
    client = unanswered(core, lambda: one.revert() and None)
    client.be_current()
    try:
        result = takeover.take(client, side(core, Clock()), [one.of_vm()], "os")
    except errors.Error:
        assert one.lost
    else:
        assert len(result.targets) == 1
    assert one.clients() == {2}


@pytest.mark.parametrize("rule", ["unnamed", "all"])
def test_nobody_else_is_overlooked(core: Core, rule: str) -> None:
    """T76: whose it is nobody tells, and it was reverted between the look at it and the list:
    others who have it are seen."""
    core.simulator.switches.set({"revert_identity": rule, "revert_attached": "allow"})
    made_ = volumes.create(core.client(), Plan(Owner("os--volume-x"), GIB))
    target = attachments.Target(made_, "os--volume-x")
    volumes.snapshot(core.client(), made_, Plan(Owner("shot")))
    for client_id in (1, 2):
        attachments.attach(core.client(), core.host(client_id), target, "rw")

    def before(call: Any) -> None:
        if call.query == "AttachmentsList":
            core.simulator.calls.watch(lambda _call: None)
            core.post("VolumeRevert/os--volume-x", {"toSnapshot": "shot"})

    client = core.client()
    client.be_current()
    core.simulator.calls.watch(before)
    with pytest.raises(errors.Foreign, match="is attached to client 1 too"):
        takeover.take(client, side(core, Clock()), [disk(target)], "os")


# two ids of one volume


@EVERY_TAKE
def test_two_disks_that_are_one_volume(core: Core, take: Any) -> None:
    """A VM with the id of now and the one of before as two disks would have one volume twice."""
    one = Disk(core, ("unnamed", False, "true"), 2)
    now = one.revert()
    other = attachments.Target(now, None)
    with pytest.raises(errors.Conflict, match="is two disks of this VM"):
        taken(core, take, disk(one.target), disk(other))
    assert one.clients() == {2}


@EVERY_TAKE
def test_a_device_with_both_ids(core: Core, take: Any) -> None:
    """A disk that is named by its device has both ids of its volume, and is taken once."""
    one = Disk(core, ("unnamed", False, "true"), 1, 2)
    now = one.revert()
    by_device = domain_xml.Disk("/dev/sp-7")
    result = taken(core, take, (now, by_device), (one.first, by_device))
    assert len(result.targets) == 1
    assert result.left_alone == []
    assert one.clients() == {2}


@EVERY_TAKE
def test_a_device_with_ids_of_two_volumes(core: Core, take: Any) -> None:
    """Where the ids of one device are two volumes', one of the links is wrong: nothing is taken."""
    one = Disk(core, ("unnamed", False, "true"), 1, 2)
    other = made(core, UUIDS[1], 2)
    by_device = domain_xml.Disk("/dev/sp-7")
    with pytest.raises(errors.Conflict, match="has the ids of two volumes"):
        taken(core, take, (one.first, by_device), (other.global_id, by_device))
    assert one.clients() == {1, 2}


@pytest.mark.parametrize("most", [7, 128], ids=["list", "one by one"])
def test_many_disks(core: Core, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many disks the list is read, of others each by a call of its own; one that was
    reverted is found by what it was."""
    monkeypatch.setattr(identity, "READ_ALONE_MAX", most)
    one = Disk(core, ("unnamed", False, "true"), 1, 2)
    others = [made(core, uuid, 2) for uuid in UUIDS[1:]]
    more = [made(core, f"{digit * 8}-{digit * 4}-4444-8444-{digit * 12}", 2) for digit in "ab"]
    one.revert()
    core.queries()
    result = taken(core, takeover.take, one.of_vm(), *map(disk, (*others, *more)))
    reads = ("VolumesList", "Volume") if most == 7 else ("Volume",) * 8
    assert core.queries()[: len(reads) + 2] == ("KV/Set", *reads, "ClientsConfigDump")
    assert len(result.targets) == 8
    assert one.clients() == {2}


# before a migration


@every_rule
def test_a_vm_with_a_reverted_disk_may_leave(core: Core, rule: str, named: bool, told: str) -> None:
    """T45: reverted under a VM that runs, the disk is still its host's: it may migrate, where
    StorPool says that it is the same."""
    one = Disk(core, (rule, named, told), 1)
    one.revert()
    client: api.Client = core.client()
    client.be_current()
    if one.lost and told == "false":
        with pytest.raises(errors.Conflict, match="was taken from client 1"):
            vm_disks.check_held(client, 1, [one.of_vm()])
    else:
        vm_disks.check_held(client, 1, [one.of_vm()])
    with pytest.raises(errors.Conflict, match="was taken from client 3"):
        vm_disks.check_held(client, 3, [one.of_vm()])


def test_a_disk_that_was_replaced_is_none_to_leave_with(core: Core) -> None:
    """T45: what this host has under the disk's name is another volume: the VM's was taken."""
    one = Disk(core, ("all", True, "true"), 1)
    volumes.delete(core.client(), "sim.a.zzz")
    core.post(f"VolumeUpdate/~{one.first}", {"rename": "by-hand"})
    core.post("VolumesReassign", [{"volume": "by-hand", "detach": [1]}])
    other = made(core, UUIDS[0], 1)
    assert names.object_name(UUIDS[0]) == other.name
    client = core.client()
    client.be_current()
    with pytest.raises(errors.Conflict, match="was taken from client 1"):
        vm_disks.check_held(client, 1, [one.of_vm()])
