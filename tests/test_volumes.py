"""volumes.py: made once, found again, deleted only when they are ours; through HTTP against the simulator."""

from __future__ import annotations

import pytest
from core_fixtures import GIB, Core

from storpool_ovirt import errors, names, volumes

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
LOCATION = "0123abcd"
TAGS = names.tags(ID, LOCATION, ID)
PLAN = volumes.Plan(names.object_name(ID), TAGS, GIB, "nvme")
SNAPSHOT = volumes.Plan("ovirt--snapshot", {**TAGS, "ovirt-uuid": "snapshot"})


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
        volumes.create(core.client(), volumes.Plan(PLAN.name, TAGS, 2 * GIB))
    assert core.objects() == before


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_a_foreign_object_of_that_name_is_left_alone(core: Core, kind: str) -> None:
    """T76: a name that another owner has taken is a conflict, whatever kind of object has it; nothing is changed."""
    other = names.tags(ID, "ffffffff", ID)
    source = volumes.create(core.client(), volumes.Plan("other", other, GIB))
    if kind == "volume":
        volumes.create(core.client(), volumes.Plan(PLAN.name, other, GIB))
    else:
        volumes.snapshot(core.client(), source, volumes.Plan(PLAN.name, other))
    before = core.objects()
    with pytest.raises(errors.Conflict):
        volumes.create(core.client(), PLAN)
    with pytest.raises(errors.Conflict):
        volumes.check(core.client(), "volume", source, TAGS)
    assert core.objects() == before


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "bad_gateway", "transient", "hang"])
def test_a_lost_answer_makes_no_second_volume(core: Core, kind: str) -> None:
    """T87: whether the first request took effect or not, one volume exists and its id is returned."""
    core.simulator.faults.add(kind, query="VolumeCreate", seconds=0.1)
    made = volumes.create(core.client(), PLAN)
    assert [each.global_id for each in core.objects().values()] == [made]
    core.queries()
    core.simulator.faults.add(kind, query="VolumeSnapshot", seconds=0.1)
    frozen = volumes.snapshot(core.client(), made, SNAPSHOT)
    assert {each.global_id for each in core.objects().values()} == {made, frozen}
    assert core.queries()[:2] == ("VolumeSnapshot", "Snapshot"), "it looked before it tried again"


def test_a_snapshot_name_is_used_for_one_source(core: Core) -> None:
    """T17: same name and source is one snapshot; the name for another source is a conflict."""
    first = volumes.create(core.client(), PLAN)
    second = volumes.create(core.client(), volumes.Plan("ovirt--other", TAGS, GIB))
    frozen = volumes.snapshot(core.client(), first, SNAPSHOT)
    assert volumes.snapshot(core.client(), first, SNAPSHOT) == frozen
    with pytest.raises(errors.Conflict, match="snapshot of"):
        volumes.snapshot(core.client(), second, SNAPSHOT)


def test_a_volume_from_what_does_not_exist_is_not_made(core: Core) -> None:
    """T3: a missing snapshot, source or template is NotFound, and nothing is left."""
    for plan in (
        volumes.Plan(PLAN.name, TAGS, GIB, "missing"),
        volumes.Plan(PLAN.name, TAGS, GIB, parent="sim.a.zzz"),
        volumes.Plan(PLAN.name, TAGS, GIB, base_on="sim.a.zzz"),
    ):
        with pytest.raises(errors.NotFound):
            volumes.create(core.client(), plan)
    assert core.objects() == {}


def test_a_size_beyond_the_template_is_refused(core: Core) -> None:
    """T4: more than the template has is NoSpace, and nothing is left."""
    with pytest.raises(errors.NoSpace, match="no room"):
        volumes.create(core.client(), volumes.Plan(PLAN.name, TAGS, 200 * GIB, "nvme"))
    assert core.objects() == {}


def test_clone_and_growth_in_one_call(core: Core) -> None:
    """T6: a volume made from a snapshot or a volume has the size that was asked for, never a smaller one."""
    source = volumes.create(core.client(), PLAN)
    frozen = volumes.snapshot(core.client(), source, SNAPSHOT)
    volumes.create(core.client(), volumes.Plan("a", TAGS, 2 * GIB, parent=frozen))
    volumes.create(core.client(), volumes.Plan("b", TAGS, GIB, base_on=source))
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
        volumes.check(core.client(), "volume", made, TAGS)
    assert core.objects() == {}


def test_capacity_is_that_of_the_template(core: Core) -> None:
    """[sptypes] VolumeTemplateStatusDesc.stored: the template's own numbers; without a name the largest counts."""
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
        volumes.create(core.client(), volumes.Plan("x" * 100, {"tag": "y" * 100}, GIB))
    assert core.queries() == ()
