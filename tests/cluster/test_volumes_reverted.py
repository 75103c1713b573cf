"""volumes.py and sources.py: our own reverts, and repeats of what was made of a volume that has got
another id since."""

from __future__ import annotations

import pytest
from canned_client import VOLUME, client

from rigs.canned_api import answering, ok, refusal
from rigs.clock import Clock
from rigs.core_fixtures import GIB, Core
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
TAGS = names.tags(ID, "0123abcd", ID)
SHOT = Plan(Owner("shot", {"ovirt-uuid": "shot"}))
every_rule = pytest.mark.parametrize(
    ("rule", "named"),
    [(rule, named) for rule in ("unnamed", "all", "keep") for named in (True, False)],
)


def made(core: Core, rule: str, named: bool = True) -> str:
    """A volume with a snapshot `shot`, under a rule; its global id."""
    core.simulator.switches.set({"revert_identity": rule, "preserved_id": "true"})
    volume = volumes.create(core.client(), Plan(Owner(names.object_name(ID), TAGS), GIB))
    volumes.snapshot(core.client(), volume, SHOT)
    if not named:
        core.post(f"VolumeUpdate/~{volume}", {"rename": ""})
    core.queries()
    return volume


def listed(core: Core) -> str:
    """The global id of the only volume."""
    (there,) = core.client().volumes()
    return there.global_id


@every_rule
@pytest.mark.parametrize("lost", ["", "reset_after", "reset_before"])
def test_a_revert_tells_the_id(core: Core, rule: str, named: bool, lost: str) -> None:
    """Our own revert returns the id of afterwards, also when its answer was lost and the id that it
    asks with again leads nowhere; the size stays."""
    volume = made(core, rule, named)
    shot = core.client().snapshot("shot").global_id
    volumes.grow(core.client(), volume, 2 * GIB)
    core.simulator.switches.set({"revert_size": "snapshot"})
    if lost:
        core.simulator.faults.add(lost, query="VolumeRevert")
    core.queries()
    now = volumes.revert(core.client(), volume, shot).global_id
    if not lost:
        assert core.queries() == ("Volume", "VolumeRevert", "Volume", "VolumeUpdate")
    assert now == listed(core)
    assert (now == volume) == (rule == "keep" or (rule == "unnamed" and named))
    there = core.client().volume(names.address(now))
    assert (there.size_bytes, there.tags) == (2 * GIB, TAGS)
    with pytest.raises(errors.NotFound):
        volumes.revert(core.client(), now, "sim.a.zzz")
    assert listed(core) == now


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("kept", ["keep", "snapshot"])
def test_a_revert_keeps_limits(core: Core, kept: str, gone: bool) -> None:
    """T79: whatever StorPool makes of them: where it gave the volume the snapshot's they are sent
    again, or lifted again, with the size in one request."""
    core.simulator.switches.set({"revert_limits": kept, "revert_size": "snapshot"})
    volume = made(core, "all", True)
    limits = {"iops": 77, "bw": 4096}
    core.post(f"VolumeUpdate/{names.address(volume)}", limits if gone else {})
    core.post(f"VolumeSnapshot/{names.address(volume)}", {"name": "limited"})
    wanted = {"iops": "-", "bw": "-"} if gone else limits
    core.post(f"VolumeUpdate/{names.address(volume)}", {**wanted, "size": 2 * GIB})
    shot = core.client().snapshot("limited").global_id
    core.queries()
    now = volumes.revert(core.client(), volume, shot).global_id
    assert core.queries() == ("Volume", "VolumeRevert", "Volume", "VolumeUpdate")
    there, has = core.client().limited_volume(names.address(now))
    assert (has, there.size_bytes, there.tags) == (wanted, 2 * GIB, TAGS)


def test_an_answer_without_an_id() -> None:
    """Where the answer to a revert has no id, the volume is looked for by what it was: by its id,
    and where that leads nowhere, by its name."""
    first = {**VOLUME, "visibleVolumeId": 7, "preservedGlobalId": VOLUME["globalId"]}
    now = {**first, "globalId": "abcd.e.9"}
    missing = (refusal("objectDoesNotExist"), ok({"ok": True}), refusal("objectDoesNotExist"))
    answers = [ok([first]), ok({"ok": True}), *missing, ok([now])]
    with answering(answers) as server:
        one = client(server.port, Clock())
        assert volumes.revert(one, first["globalId"], "abcd.e.2").global_id == "abcd.e.9"


@every_rule
def test_a_repeated_snapshot_is_known(core: Core, rule: str, named: bool) -> None:
    """T4: a snapshot that was made before a revert is the one that is asked for again after it, by
    the id of now or by the one of then, as long as that leads to the volume."""
    volume = made(core, rule, named)
    shot = core.client().snapshot("shot").global_id
    now = volumes.revert(core.client(), volume, shot).global_id
    assert volumes.snapshot(core.client(), now, SHOT) == shot
    if now == volume or not named:
        assert volumes.snapshot(core.client(), volume, SHOT) == shot
    other = volumes.create(core.client(), Plan(Owner("other"), GIB))
    with pytest.raises(errors.Conflict, match="exists as a snapshot of"):
        volumes.snapshot(core.client(), other, SHOT)


@every_rule
def test_a_group_of_reverted_volumes(core: Core, rule: str, named: bool) -> None:
    """A group snapshot is answered by the ids of now, and found by the one that was asked with."""
    volume = made(core, rule, named)
    now = volumes.revert(core.client(), volume, core.client().snapshot("shot").global_id).global_id
    other = volumes.create(core.client(), Plan(Owner("other"), GIB))
    asked = now if named else volume
    plans = [(asked, Plan(Owner("g1"))), (other, Plan(Owner("g2")))]
    one, two = volumes.group_snapshot(core.client(), plans)
    there = core.client()
    assert [there.snapshot("g1").global_id, there.snapshot("g2").global_id] == [one, two]
    assert volumes.group_snapshot(core.client(), plans) == [one, two]


@every_rule
@pytest.mark.parametrize("tag", ["ovirt-src", ""])
def test_a_repeated_clone_is_known(core: Core, rule: str, named: bool, tag: str) -> None:
    """T5: a clone that was made before its source was reverted is the one that is asked for again,
    by its tag; without one, by the transient snapshot that it stands on."""
    core.simulator.switches.set({"linger": "600"})
    volume = made(core, rule, named)
    plan = Plan(Owner("clone"), base_on=volume, source_tag=tag or "other-src")
    clone = volumes.create(core.client(), plan)
    if not tag:
        core.post(f"VolumeUpdate/~{clone}", {"tags": {"other-src": ""}})
    now = volumes.revert(core.client(), volume, core.client().snapshot("shot").global_id).global_id
    again = Plan(Owner("clone"), base_on=now, source_tag=tag or "other-src")
    assert volumes.create(core.client(), again) == clone
    other = volumes.create(core.client(), Plan(Owner("other"), GIB))
    with pytest.raises(errors.Conflict):
        volumes.create(
            core.client(), Plan(Owner("clone"), base_on=other, source_tag=tag or "other-src")
        )


def test_snapshots_of_its_own_prove_nothing_about_its_source(core: Core) -> None:
    """T5: a volume that is empty by its chain stays so when it was snapshotted, reverted and has
    another id: its own snapshots are below it, not what it was made of."""
    volume = made(core, "unnamed", named=False)
    volumes.revert(core.client(), volume, core.client().snapshot("shot").global_id)
    core.post(f"VolumeUpdate/~{volume}", {"rename": names.object_name(ID)})
    plan = Plan(Owner(names.object_name(ID), TAGS), GIB, source_tag="ovirt-src")
    assert volumes.create(core.client(), plan) == listed(core)
