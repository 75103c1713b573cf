"""snapshot_limit.py: a disk has no more snapshots than the domain's option allows; those of a VM
are refused before any is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import vm_ground
from moment_ground import KEY, OTHER_KEY, X, Y, Z, all_moments, calls, plug, reserved, snapshot

from rigs.yard import DISK, HOUR, OTHER
from storpool_ovirt import config, errors
from storpool_ovirt.engine import disks, moments

if TYPE_CHECKING:
    from rigs.yard import Yard

THIRD_KEY, LAST_KEY = (f"{letter}0000000-0000-4000-8000-0000000000cc" for letter in "34")


@pytest.fixture
def vm(yard: Yard) -> Yard:
    """Give a VM with three disks, which may have one snapshot each."""
    plug(yard, X, Y, Z)
    yard.given(max_snapshots=1)
    return yard


def refused(yard: Yard, disk: str, key: str = KEY, *, asks: bool = True) -> str:
    """See that a verb is refused and nothing is made, or not even asked; return the sentence."""
    before = yard.see().rows, yard.see().things
    yard.queries()
    with pytest.raises(errors.Conflict) as raised:
        snapshot(yard, disk, key)
    asked = {*calls(yard)}
    assert not {"VolumeSnapshot", "VolumesGroupSnapshot"} & asked
    assert bool(asked) == asks
    assert (yard.see().rows, yard.see().things) == before
    return str(raised.value)


@pytest.mark.usefixtures("a_disk")
def test_one_more_than_allowed_is_refused(yard: Yard) -> None:
    """The sentence has how many, of which disk, which option, and what to delete; then there
    is room again."""
    yard.given(max_snapshots=2)
    first, _ = yard.verb("snapshot", DISK), yard.verb("snapshot", DISK)
    sentence = refused(yard, DISK)
    assert sentence.startswith(
        f"disk {DISK} has 2 snapshots, and the domain's sp_max_snapshots allows 2: delete snapshots"
        f" of the VM in oVirt first; the oldest of this disk is {first} of 20"
    )
    assert yard.see().pending == []
    yard.verb("remove", first)
    yard.verb("snapshot", DISK)
    assert yard.report().findings == ()


@pytest.mark.usefixtures("a_disk")
def test_without_the_option_there_may_be_any_number(yard: Yard) -> None:
    """0 is no limit."""
    made = {yard.verb("snapshot", DISK) for _ in range(5)}
    assert len(made) == 5


@pytest.mark.usefixtures("a_disk")
def test_each_disk_is_counted_for_itself(yard: Yard) -> None:
    """Another disk's snapshots are no reason."""
    yard.given(max_snapshots=1)
    yard.verb("clone", DISK, OTHER)
    for disk in (DISK, OTHER):
        yard.verb("snapshot", disk)
    refused(yard, OTHER)


@pytest.mark.usefixtures("a_disk")
def test_snapshots_of_a_preview_are_those_of_its_disk(yard: Yard) -> None:
    """Whatever volume of the disk they were made of."""
    yard.given(max_snapshots=1)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    assert f"disk {DISK} has 1 snapshot" in refused(yard, preview)


@pytest.mark.usefixtures("a_disk")
@pytest.mark.parametrize("lost", ["killed", "undelivered", "failed"])
def test_a_repeat_is_not_refused_by_its_own_earlier_try(yard: Yard, lost: str) -> None:
    """T3: Engine never had that answer; it is taken back, and the new one is made."""
    yard.given(max_snapshots=1)
    if lost == "killed":
        yard.die_made("snapshot", DISK)
    elif lost == "undelivered":
        yard.undelivered("snapshot", DISK)
    else:
        with (
            yard.trouble("reset_after", query="VolumeSnapshot", times=1),
            yard.trouble("reset_before", query="Snapshot", times=50),
            pytest.raises(errors.ApiUnavailable),
        ):
            yard.verb("snapshot", DISK)
    made = yard.verb("snapshot", DISK)
    assert yard.uuids() == {DISK, made}
    refused(yard, DISK)


@pytest.mark.usefixtures("a_disk")
def test_what_is_left_to_the_audit_does_not_count(yard: Yard) -> None:
    """An old one whose answer nobody had stays for a person; the VM's snapshot does not wait for
    one."""
    yard.given(max_snapshots=1)
    old = yard.die_made("snapshot", DISK)
    yard.age(2 * HOUR)
    made = yard.verb("snapshot", DISK)
    assert yard.uuids() == {DISK, old, made}


@pytest.mark.usefixtures("a_disk")
def test_what_others_keep_does_not_count(yard: Yard) -> None:
    """VolumeCare's snapshots have no row of ours."""
    yard.given(max_snapshots=1)
    yard.ask(f"VolumeSnapshot/ovirt--{DISK}", {"name": "vc", "tags": {}})
    yard.verb("snapshot", DISK)


# All disks of a VM


def test_the_claims_of_a_group_are_not_counted_again(vm: Yard) -> None:
    """The verb of the first disk has counted for all."""
    made = {snapshot(vm, disk) for disk in (X, Y, Z)}
    assert len(made) == 3
    assert reserved(vm) == set()


def test_a_group_is_refused_before_any_is_made(vm: Yard) -> None:
    """T78: one disk has no room, so no disk is snapshotted, and the later verbs of the action
    fail at once."""
    taken = vm.verb("snapshot", Y)
    sentence = refused(vm, X)
    assert sentence.startswith(
        f"disk {Y} has 1 snapshot, and the domain's sp_max_snapshots allows 1; no disk of the VM"
        f" was snapshotted: delete snapshots of the VM in oVirt first; the oldest of this disk is"
        f" {taken} of "
    )
    [moment] = all_moments(vm)
    assert (moment.state, moment.volumes, moment.told) == (moments.FAILED, (X, Y, Z), (X,))
    for disk in (Y, Z):
        assert "the snapshot of its VM's disks has failed" in refused(vm, disk, asks=False)
    vm.verb("remove", taken)
    made = {snapshot(vm, disk, OTHER_KEY) for disk in (X, Y, Z)}
    assert vm.uuids() == {X, Y, Z, *made}
    assert vm.see().pending == []


def test_several_disks_without_room_are_told(vm: Yard) -> None:
    """Who deletes a VM's snapshot makes room on all."""
    for disk in (X, Y, Z):
        snapshot(vm, disk)
    vm_ground.age(vm, 2 * vm_ground.A_MINUTE)
    assert "has 1 snapshot, as 2 more disks of its VM have, and" in refused(vm, X, OTHER_KEY)


def test_what_is_only_reserved_does_not_count(vm: Yard) -> None:
    """Nobody asked for it: it goes with the VM's next snapshot."""
    vm.given(max_snapshots=2)
    first = snapshot(vm, X)
    assert reserved(vm) == {Y, Z}
    vm_ground.age(vm, 2 * vm_ground.A_MINUTE)
    made = {snapshot(vm, disk, OTHER_KEY) for disk in (X, Y, Z)}
    assert vm.uuids() == {X, Y, Z, first, *made}
    vm_ground.age(vm, 2 * vm_ground.A_MINUTE)
    assert "has 2 snapshots" in refused(vm, X, THIRD_KEY)


def test_a_group_whose_process_died_is_no_obstacle(vm: Yard) -> None:
    """T78: it is taken back as a whole, and made anew."""
    vm.die_when(lambda: len(vm.uuids()) > 3, "snapshot", X)
    made = {snapshot(vm, disk, OTHER_KEY) for disk in (X, Y, Z)}
    assert vm.uuids() == {X, Y, Z, *made}


def test_it_costs_no_question(yard: Yard) -> None:
    """The limit is a part of the statement that is sent in any case."""
    plug(yard, X, Y, Z)
    asked = []
    for limit, key in ((0, KEY), (10, OTHER_KEY)):
        yard.given(max_snapshots=limit)
        counts = []
        for disk in (X, Y, Z):
            with yard.engine("snapshot", correlation_id=key) as work:
                disks.snapshot(work, disk)
                work.mapping.journal.delivered()
                counts.append((work.mapping.session.statements, work.client.tally.calls))
        asked.append(counts)
    assert asked[0] == asked[1]


# The option


@pytest.mark.parametrize("given", ["many", "-1", "1.5", "1e2", "10001", "0x10", "٣"])
def test_what_is_no_number_is_refused(given: str) -> None:
    """As OpenNebula's add-on does (759eb0b): a limit that is not understood is none."""
    options = {"sp_api_http_host": "h", "sp_auth_token": "t", "sp_max_snapshots": given}
    with pytest.raises(errors.ConfigError, match=r"sp_max_snapshots is (no whole|out of)"):
        config.domain(options)


@pytest.mark.parametrize(("given", "meant"), [("30", 30), ("0", 0), (7, 7), ("", 0)])
def test_a_number_is_taken(given: object, meant: int) -> None:
    """0, and nothing, are any number."""
    options = {"sp_api_http_host": "h", "sp_auth_token": "t", "sp_max_snapshots": given}
    options = {**options, "sp_vm_tag": "cvm", "sp_transport": "auto", "sp_api_http_port": "81"}
    assert config.domain(options).max_snapshots == meant
