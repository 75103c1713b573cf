"""The helper and the boot hook on hosts whose volumes somebody reverts: what is attached is let go
of, and what a VM uses, or is about to, stays."""

from __future__ import annotations

from typing import Any

import pytest

from ovirt_demo.vdsm import Host, VdsmError
from rigs import boot_stage
from rigs.boot_stage import SD, kept, quiet, start_vdsmd, told
from rigs.flow_stage import Play
from rigs.helper_stage import info_of
from rigs.shared_stage import GIB, attached, new_id, post
from storpool_ovirt import names

RULES = [(rule, named) for rule in ("unnamed", "all", "keep") for named in (True, False)]
every_rule = pytest.mark.parametrize(("rule", "named"), RULES)
NOTHING: dict[str, Any] = {"rows": [], "rules": {}, "links": {}}


class Volume:
    """A volume of oVirt's as Vdsm attaches it on host 1, that somebody reverts."""

    def __init__(self, play: Play, rule: str, named: bool) -> None:
        self.play, self.host, self.named = play, play.host1, named
        play.cluster.set_switches(revert_identity=rule, revert_attached="allow")
        self.uuid, self.shot = new_id(), f"shot-{new_id()}"
        tags = {"virt": "ovirt", "ovirt-uuid": self.uuid}
        body = {"size": GIB, "template": "hybrid", "tags": tags}
        self.name = names.object_name(self.uuid)
        given = {**body, "name": self.name} if named else body
        self.first = str(play.cluster.api("VolumeCreate", given)["globalId"])
        self.now = self.first
        post(play.cluster, f"VolumeSnapshot/~{self.first}", {"name": self.shot})
        self.info = info_of(self.uuid, self.first, "rw")

    @property
    def lost(self) -> bool:
        """Whether the id that Vdsm has leads nowhere."""
        return self.named and self.now != self.first

    def attach(self) -> None:
        """Have Vdsm attach it."""
        self.host.attach_volume(SD, self.uuid, self.info)

    def revert(self) -> None:
        """Revert it."""
        address = self.name if self.named else f"~{self.first}"
        reply = self.play.cluster.api(f"VolumeRevert/{address}", {"toSnapshot": self.shot})
        self.now = str(reply["globalId"])

    def clients(self) -> set[int]:
        """Who has it."""
        listed = attached(self.play.cluster)
        return {client_id for global_id, client_id, _ in listed if global_id == self.now}


@pytest.fixture
def volume(fresh: Play, request: pytest.FixtureRequest) -> Any:
    """A volume under one of the rules; the switches are as before afterwards."""
    before = fresh.cluster.control("GET", "switches")
    made = Volume(fresh, *request.param)
    yield made
    for client_id in made.clients():
        item = {"volume": f"~{made.now}", "detach": [client_id], "force": True}
        post(fresh.cluster, "VolumesReassign", [item])
    post(fresh.cluster, f"VolumeDelete/~{made.now}", {})
    post(fresh.cluster, f"SnapshotDelete/{made.shot}", {})
    fresh.cluster.set_switches(**before)


on_every_rule = pytest.mark.parametrize("volume", RULES, indirect=True, ids=str)


def row_of(host: Host, volume: Volume) -> dict[str, Any]:
    """What Vdsm hands to the helper for a detach."""
    return {"vol_id": volume.uuid, **host.rows[volume.uuid]}


@on_every_rule
def test_the_helper_lets_go(volume: Volume) -> None:
    """T16: attached, reverted, detached with what was attached: nothing is attached afterwards, and
    a repetition is a success."""
    volume.attach()
    volume.revert()
    for _ in range(2):
        assert volume.host.detach(row_of(volume.host, volume)) == {}
    assert volume.clients() == set()


@on_every_rule
def test_the_helper_never_pulls_an_open_device(volume: Volume) -> None:
    """T50: reverted under a VM that runs: a detach is refused and names this client."""
    volume.attach()
    with volume.host.local(f"/dev/storpool-byid/{volume.first}").open("r+b"):
        volume.revert()
        with pytest.raises(VdsmError, match="is open at client 1"):
            volume.host.detach(row_of(volume.host, volume))
    assert volume.clients() == {1}


@on_every_rule
def test_a_revert_before_the_attach(volume: Volume) -> None:
    """T17: described, reverted, attached: its device is there under the id that was described; or,
    where that leads nowhere, nothing of it is left."""
    volume.revert()
    volume.revert()
    if volume.lost:
        with pytest.raises(VdsmError, match="there is no"):
            volume.attach()
        assert kept(volume.host) == NOTHING
        assert volume.clients() == set()
        return
    volume.attach()
    volume.host.detach_volume(SD, volume.uuid)
    assert kept(volume.host) == NOTHING
    assert volume.clients() == set()


# vdsmd starts


@on_every_rule
def test_what_an_earlier_boot_left_goes(volume: Volume) -> None:
    """T50: attached before the host lost its power, and reverted since: row and attachment are gone
    after the first start of vdsmd."""
    volume.attach()
    volume.host.reboot()
    volume.revert()
    quiet(start_vdsmd(volume.host))
    assert kept(volume.host) == NOTHING
    assert volume.clients() == set()


@on_every_rule
def test_what_a_vm_is_about_to_use_stays(volume: Volume) -> None:
    """T86: attached by Vdsm in this boot, still closed, and reverted: it is no leftover of an
    earlier one, as long as its row leads to it."""
    volume.attach()
    volume.revert()
    before = kept(volume.host)
    quiet(start_vdsmd(volume.host))
    if volume.lost:  # the path that the VM would open is not there any more
        assert kept(volume.host) == NOTHING
        assert volume.clients() == set()
    else:
        assert kept(volume.host) == before
        assert volume.clients() == {1}


@on_every_rule
@pytest.mark.parametrize("later", [False, True])
def test_what_a_vm_uses_stays(volume: Volume, later: bool) -> None:
    """T86: reverted under a VM that runs: neither the first start of vdsmd in a boot nor a later
    one forgets it, whether the link that Vdsm made still leads anywhere or not."""
    if later:
        quiet(start_vdsmd(volume.host))
    volume.attach()
    with volume.host.local(f"/dev/storpool-byid/{volume.first}").open("r+b"):
        volume.revert()
        before = kept(volume.host)
        done = start_vdsmd(volume.host)
        assert kept(volume.host) == before
        assert volume.clients() == {1}
        if volume.lost:
            assert "is open at client 1" in told(done)
        else:
            quiet(done)


@on_every_rule
def test_a_row_without_its_link_is_no_leftover(volume: Volume) -> None:
    """T86: StorPool has attached a reverted volume again at boot, and Vdsm has a row of it that
    this boot cannot clear: it is not taken for something that nobody knows."""
    volume.attach()
    volume.revert()
    lines = len(boot_stage.lines(volume.host, "detached"))
    with volume.host.local(f"/dev/storpool-byid/{volume.now}").open("r+b"):
        volume.host.reboot()
        told(start_vdsmd(volume.host))
    assert len(volume.host.rows) == 1
    assert volume.clients() == {1}
    assert len(boot_stage.lines(volume.host, "detached")) == lines
    assert boot_stage.lines(volume.host, "open_without_a_row") == []
