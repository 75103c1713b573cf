"""Volumes that were reverted by somebody else, for all rules of which of them get another id: what
is attached is never called detached, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attachment_ground import attached, device

from rigs.core_fixtures import GIB, Core
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, force, identity, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
NAME = names.object_name(ID)
TAGS = names.tags(ID, "0123abcd", ID)

EVERY_RULE = [
    (rule, named, told)
    for rule in ("unnamed", "all", "keep")
    for named in (True, False)
    for told in ("true", "false")
]


class Reverted:
    """A volume of ours that somebody reverts."""

    def __init__(self, core: Core, named: bool) -> None:
        self.core = core
        self.named = named
        self.first = volumes.create(core.client(), Plan(Owner(NAME, TAGS), GIB))
        self.shot = volumes.snapshot(
            core.client(), self.first, Plan(Owner("shot", {"ovirt-uuid": "shot"}))
        )
        if not named:
            core.post(f"VolumeUpdate/~{self.first}", {"rename": ""})
        self.target = attachments.Target(self.first, NAME)

    def revert(self) -> str:
        """Revert it, and return the id that it has now."""
        address = NAME if self.named else f"~{self.first}"
        self.core.simulator.switches.set({"revert_attached": "allow"})
        return str(self.core.post(f"VolumeRevert/{address}", {"toSnapshot": "shot"})["globalId"])

    def clients(self) -> set[int]:
        """Who has it."""
        return {client_id for _, client_id, _ in attached(self.core)}


@pytest.fixture
def reverted(core: Core, request: pytest.FixtureRequest) -> Reverted:
    """A volume under one of the rules."""
    rule, named, told = request.param
    core.simulator.switches.set({"revert_identity": rule, "preserved_id": told})
    return Reverted(core, named)


every_rule = pytest.mark.parametrize("reverted", EVERY_RULE, indirect=True)


@every_rule
@pytest.mark.parametrize("times", [1, 2])
def test_a_detach_lets_go_whatever_the_id_is(core: Core, reverted: Reverted, times: int) -> None:
    """T16, T50: reverted while it is attached: a detach with what was attached lets go of it on
    this host alone, and no device is left here."""
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    attachments.attach(core.client(), core.host(2), reverted.target, "rw")
    for _ in range(times):
        now = reverted.revert()
    attachments.detach(core.client(), core.host(1), reverted.target)
    assert reverted.clients() == {2}
    for global_id in {reverted.first, now}:
        assert not device(core, 1, attachments.Target(global_id, None)).exists()
    attachments.detach(core.client(), core.host(1), reverted.target)
    assert reverted.clients() == {2}


@every_rule
def test_an_open_device_is_never_called_detached(core: Core, reverted: Reverted) -> None:
    """T50: reverted under a VM that runs: a detach is refused, and nothing has changed."""
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    with device(core, 1, reverted.target).open("r+b"):
        reverted.revert()
        host = core.host(1)
        with pytest.raises(errors.InUse, match="is open at client 1"):
            attachments.detach_within(core.client(), host, reverted.target, 0.0)
    assert reverted.clients() == {1}


@every_rule
def test_a_detach_after_a_rename(core: Core, reverted: Reverted) -> None:
    """Reverted and then renamed, by hand: StorPool's word of its first id still leads to it, where
    there is one; else only its own id does."""
    told = core.simulator.switches["preserved_id"] == "true"
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    now = reverted.revert()
    core.post(f"VolumeUpdate/~{now}", {"rename": "by-hand"})
    attachments.detach(core.client(), core.host(1), reverted.target)
    assert reverted.clients() == (set() if told or now == reverted.first else {1})


@every_rule
def test_an_attach_after_a_revert(core: Core, reverted: Reverted) -> None:
    """T17: described before a revert and attached after it, the volume is attached once, or nothing
    is: where StorPool does not know the id any more it is described anew."""
    now = reverted.revert()
    is_lost = reverted.named and now != reverted.first
    for _ in range(2):
        if is_lost:
            with pytest.raises(errors.NotFound):
                attachments.attach(core.client(), core.host(1), reverted.target, "rw")
        else:
            path = attachments.attach(core.client(), core.host(1), reverted.target, "rw")
            assert Path(core.root(1) + path).exists()
    assert reverted.clients() == (set() if is_lost else {1})
    with pytest.raises(errors.Conflict if not is_lost else errors.NotFound):
        attachments.attach(core.client(), core.host(1), reverted.target, "ro")


@every_rule
def test_a_failed_attach_leaves_nothing(core: Core, reverted: Reverted) -> None:
    """T18: reverted between the attach and the wait for its device: where the device has only
    another id now, the attach fails and is undone all the same."""
    core.simulator.switches.set({"attach_timeout_expiry": "ok"})
    core.simulator.set_client(1, behind=True)  # attached in StorPool, and no device yet
    now: list[str] = []

    def sleep(_seconds: float) -> None:
        if not now:
            now.append(reverted.revert())
            core.simulator.set_client(1, behind=False)

    limits = LIMITS._replace(device_seconds=0.3, attach_timeout_seconds=0)
    root, deadline = core.root(1), Deadline(20)
    client = api.Client(core.settings(), deadline, limits=limits)
    host = attachments.HostSide(1, root, deadline, core.log, sleep, limits=limits)
    if core.simulator.switches["revert_identity"] == "all" and reverted.named:
        with pytest.raises(errors.DeviceMissing):
            attachments.attach(client, host, reverted.target, "rw")
        assert reverted.clients() == set()
        assert list((Path(root) / "dev" / "storpool-byid").iterdir()) == []
    else:
        attachments.attach(client, host, reverted.target, "rw")
        assert reverted.clients() == {1}
    assert now


@pytest.mark.parametrize("told", ["true", "false"])
@pytest.mark.parametrize("tagged", [True, False])
def test_what_took_its_place_stays_attached(core: Core, told: str, tagged: bool) -> None:
    """A volume that is gone, and another of its name that somebody attached here: where it says
    that it is another one, by its tags or its first id, a detach of the first leaves it alone."""
    core.simulator.switches.set({"preserved_id": told})
    gone = Reverted(core, named=True)
    volumes.delete(core.client(), gone.first)
    tags = TAGS if tagged else names.tags("11111111-2222-4333-8444-555555555555", "loc", ID)
    other = volumes.create(core.client(), Plan(Owner(NAME, tags), GIB))
    attachments.attach(core.client(), core.host(1), attachments.Target(other, NAME), "rw")
    attachments.detach(core.client(), core.host(1), gone.target)
    is_denied = told == "true" or not tagged
    assert gone.clients() == ({1} if is_denied else set())


def test_a_detach_of_what_is_gone_reads_little(core: Core) -> None:
    """T16: nothing of that id and nothing of that name: one barrier and one list more, and the
    other disks of this host are not looked at."""
    for number in range(3):
        uuid = f"5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a2{number}"
        made = volumes.create(core.client(), Plan(Owner(names.object_name(uuid)), GIB))
        attachments.attach(core.client(), core.host(1), attachments.Target(made, None), "rw")
    core.queries()
    attachments.detach(core.client(), core.host(1), attachments.Target("sim.a.zzz", NAME))
    assert core.queries() == ("VolumesReassignWait", "KV/Set", "AttachmentsList")
    assert len(attached(core)) == 3


@pytest.mark.parametrize("most", [6, 128], ids=["list", "one by one"])
def test_one_of_many_others_is_found(
    core: Core, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more volumes of other names than are read one by one, the list of volumes is read."""
    monkeypatch.setattr(identity, "READ_ALONE_MAX", most)
    core.simulator.switches.set({"revert_identity": "all", "preserved_id": "true"})
    lost = Reverted(core, named=True)
    attachments.attach(core.client(), core.host(1), lost.target, "rw")
    core.post(f"VolumeUpdate/~{lost.revert()}", {"rename": "by-hand"})
    for number in range(8):
        made = volumes.create(core.client(), Plan(Owner(f"other-{number}"), GIB))
        attachments.attach(core.client(), core.host(1), attachments.Target(made, None), "rw")
    core.queries()
    attachments.detach(core.client(), core.host(1), lost.target)
    by = "VolumesList" if most == 6 else "Volume"
    assert core.queries()[:4] == ("VolumesReassignWait", "KV/Set", "AttachmentsList", by)
    assert "by-hand" not in {name for name, _, _ in attached(core)}
    assert len(attached(core)) == 8


# Engine's side


@every_rule
def test_a_release_never_misses_who_has_it(core: Core, reverted: Reverted) -> None:
    """T28: before a delete everybody lets go, or the delete is refused: an attachment under another
    id is not overlooked."""
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    now = reverted.revert()
    assert attachments.clients_of(core.client(), reverted.target) == [1] or not reverted.named
    if reverted.named and now != reverted.first:
        with pytest.raises(errors.Conflict, match=f"is attached to client 1 as ~{now}"):
            attachments.release(core.client(), [reverted.target], {})
        assert reverted.clients() == {1}
    else:
        released = attachments.release(core.client(), [reverted.target], {})
        assert [each.client_id for each in released] == [1]
        assert reverted.clients() == set()
    fresh = attachments.Target(now, NAME)
    attachments.release(core.client(), [fresh], {})
    assert reverted.clients() == set()


def test_a_release_takes_no_list_of_before_a_revert_for_now(core: Core) -> None:
    """T129: the list is of before a revert, and the id of now is known: it is asked for again."""
    core.simulator.switches.set({"revert_identity": "all", "preserved_id": "true"})
    reverted = Reverted(core, named=True)
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    now = reverted.revert()
    core.simulator.faults.add("old", query="AttachmentsList")
    assert len(attachments.release(core.client(), [attachments.Target(now, NAME)], {})) == 1
    assert reverted.clients() == set()


# a fence


@every_rule
def test_a_fence_takes_it(core: Core, reverted: Reverted) -> None:
    """T110: reverted while a host that is lost has it: it is taken from that host, also when that
    happens between the look and the request, and is named once."""
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    core.simulator.set_client(1, running=False)
    seen = force.look(core.client(), 1, "os")
    assert [each.uuid for each in seen.ours] == [ID]
    reverted.revert()
    cleared = force.clear(core.client(), seen, "os", core.log)
    assert reverted.clients() == set()
    assert [each.uuid for each in (*cleared.taken, *cleared.vanished)] == [ID]
    assert cleared.now.ours == ()


@every_rule
def test_a_fence_sees_through_old_lists(core: Core, reverted: Reverted) -> None:
    """T129: one of its lists is of before the revert and one of after: what the host has is known
    all the same."""
    attachments.attach(core.client(), core.host(1), reverted.target, "rw")
    for query in ("AttachmentsList", "VolumesList"):
        reverted.revert()
        core.simulator.faults.add("old", query=query)
        seen = force.look(core.client(), 1, "os")
        assert [each.uuid for each in seen.ours] == [ID]
        assert seen.unknown == ()
