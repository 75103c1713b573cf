"""volumes.py: made once, found again, deleted only when they are ours; through HTTP against the
simulator."""

from __future__ import annotations

import pytest

from rigs.core_fixtures import GIB, Core
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan, Policy

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
LOCATION = "0123abcd"
TAGS = names.tags(ID, LOCATION, ID)
PLAN = Plan(Owner(names.object_name(ID), TAGS), GIB, Policy(template="nvme"))
SNAPSHOT = Plan(Owner("ovirt--snapshot", {**TAGS, "ovirt-uuid": "snapshot"}))


def test_create_is_one_call_and_its_repetition_changes_nothing(core: Core) -> None:
    """T1: the same name, size and owner again is the same volume, and exactly one exists."""
    first = volumes.create(core.client(), PLAN)
    assert core.queries() == ("VolumeCreate",)
    assert volumes.create(core.client(), PLAN) == first
    there = core.objects()
    assert [each.global_id for each in there.values()] == [first]
    assert there[PLAN.name].size_bytes == GIB
    assert there[PLAN.name].tags == TAGS
    assert there[PLAN.name].template == "nvme"


def test_the_same_name_with_another_size_is_a_conflict(core: Core) -> None:
    """T2: another size under the same id is refused, and the volume is as it was."""
    volumes.create(core.client(), PLAN)
    before = core.objects()
    with pytest.raises(errors.Conflict, match=f"exists with {GIB} bytes"):
        volumes.create(core.client(), Plan(Owner(PLAN.name, TAGS), 2 * GIB))
    assert core.objects() == before


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_a_foreign_object_of_that_name_is_left_alone(core: Core, kind: str) -> None:
    """T76: a name that another owner has taken is a conflict, whatever kind of object has it;
    nothing is changed."""
    other = names.tags(ID, "ffffffff", ID)
    source = volumes.create(core.client(), Plan(Owner("other", other), GIB))
    if kind == "volume":
        volumes.create(core.client(), Plan(Owner(PLAN.name, other), GIB))
    else:
        volumes.snapshot(core.client(), source, Plan(Owner(PLAN.name, other)))
    before = core.objects()
    with pytest.raises(errors.Conflict):
        volumes.create(core.client(), PLAN)
    assert core.objects() == before


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"]
)
def test_a_lost_answer_makes_no_second_volume(core: Core, kind: str) -> None:
    """T87: whether the first request took effect or not, one volume exists and its id is
    returned."""
    core.simulator.faults.add(kind, query="VolumeCreate", seconds=0.1)
    made = volumes.create(core.client(), PLAN)
    assert [each.global_id for each in core.objects().values()] == [made]
    core.queries()
    core.simulator.faults.add(kind, query="VolumeSnapshot", seconds=0.1)
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    assert {each.global_id for each in core.objects().values()} == {made, frozen}
    assert core.queries()[:2] == ("VolumeSnapshot", "Snapshot"), "it looked before it tried again"


def test_a_look_that_is_refused_does_not_hide_that_something_may_be_there(core: Core) -> None:
    """T87: the create took effect, its answer was lost and the look is refused: the caller learns
    that nobody knows."""
    core.simulator.faults.add("reset_after", query="VolumeCreate")
    core.simulator.faults.add("error_200", query="Volume", name="unauthorized")
    with pytest.raises(errors.ApiUnavailable) as raised:
        volumes.create(core.client(), PLAN)
    assert raised.value.ambiguous
    assert volumes.find(core.client(), "volume", PLAN) is not None


def test_a_snapshot_name_is_used_for_one_source(core: Core) -> None:
    """T17: same name and source is one snapshot; the name for another source is a conflict."""
    first = volumes.create(core.client(), PLAN)
    second = volumes.create(core.client(), Plan(Owner("ovirt--other", TAGS), GIB))
    frozen = volumes.snapshot(core.client(), first, SNAPSHOT)
    assert volumes.snapshot(core.client(), first, SNAPSHOT) == frozen
    with pytest.raises(errors.Conflict, match="snapshot of"):
        volumes.snapshot(core.client(), second, SNAPSHOT)


def test_a_volume_from_what_does_not_exist_is_not_made(core: Core) -> None:
    """T3: a missing snapshot, source or template is NotFound, and nothing is left."""
    for plan in (
        Plan(Owner(PLAN.name, TAGS), GIB, Policy(template="missing")),
        Plan(Owner(PLAN.name, TAGS), GIB, parent="sim.a.zzz"),
        Plan(Owner(PLAN.name, TAGS), GIB, base_on="sim.a.zzz"),
    ):
        with pytest.raises(errors.NotFound):
            volumes.create(core.client(), plan)
    assert core.objects() == {}


def test_a_size_beyond_the_template_is_refused(core: Core) -> None:
    """T4: more than the template has is NoSpace, where StorPool limits sizes, and nothing is
    left."""
    core.simulator.switches.set({"space_limit": "stored"})
    with pytest.raises(errors.NoSpace, match="no room"):
        volumes.create(
            core.client(), Plan(Owner(PLAN.name, TAGS), 200 * GIB, Policy(template="nvme"))
        )
    assert core.objects() == {}


def test_clone_and_growth_in_one_call(core: Core) -> None:
    """T6: a volume made from a snapshot or a volume has the size that was asked for, never a
    smaller one."""
    source = volumes.create(core.client(), PLAN)
    frozen = volumes.snapshot(core.client(), source, SNAPSHOT)
    volumes.create(core.client(), Plan(Owner("a", TAGS), 2 * GIB, parent=frozen))
    volumes.create(core.client(), Plan(Owner("b", TAGS), GIB, base_on=source))
    there = core.objects()
    assert (there["a"].size_bytes, there["b"].size_bytes) == (2 * GIB, GIB)


def test_deleting_what_is_gone_is_a_success(core: Core) -> None:
    """T7, T8, T18: deleting twice, or what never was, changes nothing and is no error."""
    made = volumes.create(core.client(), PLAN)
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    for _ in range(2):
        volumes.delete(core.client(), made)
        volumes.delete_snapshot(core.client(), frozen)
    volumes.delete(core.client(), "sim.a.zzz")
    with pytest.raises(errors.NotFound):
        volumes.read(core.client(), "volume", names.address(made))
    assert core.objects() == {}


def test_capacity_is_that_of_the_template(core: Core) -> None:
    """[sptypes] VolumeTemplateStatusDesc.stored: the template's own numbers; without a name the
    largest counts."""
    nvme = volumes.capacity(core.client(), "nvme")
    assert nvme is not None
    assert (nvme.capacity_bytes, nvme.free_bytes) == (100 * GIB, 100 * GIB)
    largest = volumes.capacity(core.client(), None)
    assert largest is not None
    assert largest.name == "hdd"
    with pytest.raises(errors.NotFound, match="check sp_template"):
        volumes.capacity(core.client(), "missing")


def test_a_name_with_tags_that_are_too_long_is_refused_before_anything_is_sent(core: Core) -> None:
    """[kb] Name and tags share 200 bytes: the refusal comes from us, with the numbers."""
    with pytest.raises(errors.InputError, match="StorPool takes 199"):
        volumes.create(core.client(), Plan(Owner("x" * 100, {"tag": "y" * 100}), GIB))
    assert core.queries() == ()


def test_a_change_is_one_request(core: Core) -> None:
    """T87: name, size, template and tags in one request; nothing to change is none."""
    made = volumes.create(core.client(), PLAN)
    there = core.client().volume(names.address(made))
    core.queries()
    assert not volumes.change(core.client(), there)
    assert core.queries() == ()
    assert volumes.change(
        core.client(),
        there,
        name="new",
        size_bytes=2 * GIB,
        template="hdd",
        tags={"ovirt-loc": "", "a": "b"},
    )
    assert core.queries() == ("KV/Set", "Volume", "VolumeUpdate")
    after = core.client().volume("new")
    assert (after.global_id, after.size_bytes, after.template) == (made, 2 * GIB, "hdd")
    assert after.tags == {
        key: value for key, value in {**TAGS, "a": "b"}.items() if key != "ovirt-loc"
    }


@pytest.mark.parametrize("what", ["volume", "snapshot"])
@pytest.mark.parametrize("tag_update", ["merge", "replace"])
def test_a_change_of_one_tag_keeps_the_others(core: Core, tag_update: str, what: str) -> None:
    """T79: whether StorPool merges the tags of an update or replaces all by them, what was not
    named stays."""
    core.simulator.switches.set({"tag_update": tag_update})
    made = volumes.create(core.client(), PLAN)
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    address = names.address(made if what == "volume" else frozen)
    there = volumes.read(core.client(), what, address)
    volumes.change(core.client(), there, tags={"ovirt-loc": "ffffffff", "a": "b"})
    after = volumes.read(core.client(), what, address)
    assert after.tags == {**there.tags, "ovirt-loc": "ffffffff", "a": "b"}
    volumes.change(core.client(), after, tags={"a": ""})
    assert "a" not in {
        key for key, value in volumes.read(core.client(), what, address).tags.items() if value
    }


@pytest.mark.parametrize("what", ["volume", "snapshot"])
@pytest.mark.parametrize("tag_update", ["merge", "replace"])
def test_a_change_of_a_tag_brings_no_old_one_back(core: Core, tag_update: str, what: str) -> None:
    """T76, T79: what goes along is what the object has at that moment, and not what the caller
    read."""
    core.simulator.switches.set({"tag_update": tag_update})
    made = volumes.create(core.client(), PLAN)
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    address = names.address(made if what == "volume" else frozen)
    by_hand = core.client().volume_update if what == "volume" else core.client().snapshot_update
    by_hand(address, {"tags": {**PLAN.tags, "qc": "gold"}})
    seen = volumes.read(core.client(), what, address)
    by_hand(address, {"tags": {**PLAN.tags, "qc": "", "vm": "x"}})
    assert volumes.change(core.client(), seen, tags={"a": "b"})
    assert volumes.read(core.client(), what, address).tags == {**PLAN.tags, "vm": "x", "a": "b"}
    by_hand(address, {"tags": {**PLAN.tags, "virt": "cs"}})
    before = volumes.read(core.client(), what, address)
    with pytest.raises(errors.Foreign, match="other tags or another name just now"):
        volumes.change(core.client(), seen, name="new", tags={"a": "c"})
    assert volumes.read(core.client(), what, address) == before


def test_a_tag_that_is_there_is_not_written(core: Core) -> None:
    """T87: a repetition finds its work done, whatever its caller read before; a tag that is absent
    is as good as removed."""
    made = volumes.create(core.client(), PLAN)
    seen = core.client().volume(names.address(made))
    assert volumes.change(core.client(), seen, tags={"a": "b"})
    core.queries()
    assert not volumes.change(core.client(), seen, tags={"a": "b", "c": ""})
    assert core.queries() == ("KV/Set", "Volume")


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "bad_gateway", "transient"])
@pytest.mark.parametrize("what", ["volume", "snapshot"])
def test_a_rename_whose_answer_was_lost_is_found_as_done(core: Core, what: str, kind: str) -> None:
    """T40, T87: a repetition finds its own work; a name that another object has is Exists."""
    made = volumes.create(core.client(), PLAN)
    volumes.create(core.client(), Plan(Owner("taken"), GIB))
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    there = (
        core.client().volume(PLAN.name)
        if what == "volume"
        else core.client().snapshot(names.address(frozen))
    )
    core.simulator.faults.add(kind, query="VolumeUpdate" if what == "volume" else "SnapshotUpdate")
    volumes.change(core.client(), there, name="new")
    assert core.objects()["new"].global_id == there.global_id
    with pytest.raises(errors.Exists):
        volumes.change(core.client(), there, name="taken")


def test_a_missing_template_is_not_a_missing_volume(core: Core) -> None:
    """The sentence does not say that the volume is gone."""
    made = volumes.create(core.client(), PLAN)
    with pytest.raises(errors.NotFound, match="volume or template"):
        volumes.change(core.client(), core.client().volume(names.address(made)), template="missing")


@pytest.mark.parametrize("revert_size", ["grow", "keep", "snapshot"])
def test_a_revert_keeps_the_size(core: Core, revert_size: str) -> None:
    """What StorPool does with the size is not documented: ours does not depend on it."""
    core.simulator.switches.set({"revert_size": revert_size})
    made = volumes.create(core.client(), PLAN)
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    volumes.grow(core.client(), made, 2 * GIB)
    volumes.revert(core.client(), made, frozen)
    assert core.objects()[PLAN.name].size_bytes == 2 * GIB
    with pytest.raises(errors.NotFound):
        volumes.revert(core.client(), made, "sim.a.zzz")


# What an administrator may have done since: another class, VolumeCare's policy, a VM, a free tag.
ADMINISTRATED = {"qc": "gold", "vc-policy": "daily", "vm": "mail", "owner": "me"}


@pytest.mark.parametrize("tag_update", ["merge", "replace"])
def test_a_repeat_leaves_the_policy_that_is_there(core: Core, tag_update: str) -> None:
    """T1: what an administrator may change is no other owner; only who owns it is asked."""
    core.simulator.switches.set({"tag_update": tag_update})
    policy = Policy({"qc": "silver", "vc-policy": "weekly"}, "nvme")
    plan = Plan(PLAN.owner, GIB, policy)
    made = volumes.create(core.client(), plan)
    there = core.client().volume(names.address(made))
    assert there.tags == {**TAGS, **policy.tags}
    volumes.change(core.client(), there, template="hdd", tags=ADMINISTRATED)
    assert volumes.create(core.client(), plan) == made
    now = core.client().volume(names.address(made))
    assert (now.template, now.tags) == ("hdd", {**TAGS, **ADMINISTRATED})
    volumes.change(core.client(), now, tags=dict.fromkeys(ADMINISTRATED, ""))
    assert volumes.create(core.client(), plan) == made
    assert core.client().volume(names.address(made)).tags == TAGS


@pytest.mark.parametrize("kind", ["volume", "snapshot", "group"])
def test_a_lost_answer_is_found_under_another_policy(core: Core, kind: str) -> None:
    """T27: each way to make an object finds it again by its owner."""
    source = volumes.create(core.client(), PLAN)
    plan = Plan(Owner("made", {"of": "x"}), policy=Policy({"qc": "silver"}))

    def make() -> str:
        if kind == "volume":
            return volumes.create(core.client(), Plan(plan.owner, GIB, plan.policy))
        if kind == "snapshot":
            return volumes.snapshot(core.client(), source, plan)
        return volumes.group_snapshot(core.client(), [(source, plan)])[0]

    made = make()
    there = core.objects()["made"]
    assert there.tags == {"of": "x", "qc": "silver"}
    volumes.change(core.client(), there, tags={"qc": "gold"})
    assert make() == made
    assert core.objects()["made"].tags == {"of": "x", "qc": "gold"}


def members(core: Core) -> list[tuple[str, Plan]]:
    """Make two volumes, and plan a snapshot of each."""
    made = [volumes.create(core.client(), Plan(Owner(name, TAGS), GIB)) for name in ("a", "b")]
    return [(each, Plan(Owner(f"of-{each}", {"of": each}))) for each in made]


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"]
)
def test_a_group_snapshot_is_made_once(core: Core, kind: str) -> None:
    """T21, T87: for one set of names there is one set of snapshots, in the order of the members."""
    group = members(core)
    core.simulator.faults.add(kind, query="VolumesGroupSnapshot", seconds=0.1)
    made = volumes.group_snapshot(core.client(), group)
    assert volumes.group_snapshot(core.client(), group) == made
    there = core.objects()
    assert [there[plan.name].global_id for _, plan in group] == made
    assert [there[plan.name].made_from for _, plan in group] == [
        volume_id for volume_id, _ in group
    ]
    assert len(there) == 4


def test_a_group_whose_look_is_refused_is_told_as_unknown(core: Core) -> None:
    """T87, T21: the group was made, its answer lost and the look is refused: the caller learns that
    nobody knows."""
    group = members(core)
    core.simulator.faults.add("reset_after", query="VolumesGroupSnapshot")
    core.simulator.faults.add("error_200", query="Snapshot", name="unauthorized")
    with pytest.raises(errors.ApiUnavailable) as raised:
        volumes.group_snapshot(core.client(), group)
    assert raised.value.ambiguous
    assert len(volumes.group_snapshot(core.client(), group)) == len(group)


def test_a_group_snapshot_fails_whole(core: Core) -> None:
    """T21: a member that is gone, or a name that is taken, leaves nothing behind."""
    group = members(core)
    before = core.objects()
    with pytest.raises(errors.NotFound):
        volumes.group_snapshot(core.client(), [*group, ("sim.a.zzz", Plan(Owner("of-none")))])
    assert core.objects() == before
    volumes.create(core.client(), Plan(Owner(group[1][1].name), GIB))
    before = core.objects()
    with pytest.raises(errors.Conflict):
        volumes.group_snapshot(core.client(), group)
    assert core.objects() == before


def test_replication_is_for_what_has_no_template(core: Core) -> None:
    """[sptypes] VolumePolicyDesc.replication: sent where a plan says so, never else."""
    core.simulator.switches.set({"default_placement": "false"})
    with pytest.raises(errors.Rejected):
        volumes.create(core.client(), Plan(Owner("a"), GIB))
    volumes.create(core.client(), Plan(Owner("a"), GIB, Policy(replication=2)))
    assert core.simulator.calls.list()[-1].body["replication"] == 2


def test_lists_tell_what_is_transient(core: Core) -> None:
    """[sptypes] SnapshotSummary.transient: a snapshot of StorPool's own, which comes and goes with
    a clone."""
    made = volumes.create(core.client(), PLAN)
    volumes.snapshot(core.client(), made, SNAPSHOT)
    volumes.create(core.client(), Plan(Owner("clone", TAGS), GIB, base_on=made))
    assert {each.name for each in core.client().volumes()} == {PLAN.name, "clone"}
    assert sorted(
        (each.transient, each.name == SNAPSHOT.name) for each in core.client().snapshots()
    ) == [
        (False, True),
        (True, False),
    ]


def test_an_address_may_be_a_volumes_or_a_snapshots(core: Core) -> None:
    """Where nobody knows of which kind it is, both are asked for, and the error names both."""
    client = core.client()
    volume = client.volume_create({"name": "v", "size": GIB})
    snapshot = client.volume_snapshot("v", {"name": "s"})
    for global_id, kind in ((volume, "volume"), (snapshot, "snapshot")):
        there = volumes.read_any(client, names.address(global_id))
        assert (there.global_id, there.kind) == (global_id, kind)
    with pytest.raises(errors.NotFound, match="there is no volume or snapshot none"):
        volumes.read_any(client, "none")
