"""identity.py: an object is found again after a revert, by its name, its tags and what StorPool
says of it together."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from rigs.core_fixtures import GIB, Core
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, identity, volumes
from storpool_ovirt.cluster.identity import Known, Verdict
from storpool_ovirt.cluster.plans import Owner, Plan

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
NAME = names.object_name(ID)
TAGS = names.tags(ID, "0123abcd", ID)


def made(core: Core, *, named: bool = True) -> Known:
    """A volume of ours, and what its owner remembers of it."""
    global_id = volumes.create(core.client(), Plan(Owner(NAME, TAGS), GIB))
    if not named:
        core.post(f"VolumeUpdate/~{global_id}", {"rename": ""})
    there = core.client().volume(f"~{global_id}")
    return Known("volume", global_id, NAME if named else there.name, TAGS, there.serial)


def revert(core: Core, address: str) -> str:
    """Revert a volume as somebody else does; its global id afterwards."""
    client = core.client()
    number = there_number(core)
    volumes.snapshot(client, client.volume(address).global_id, Plan(Owner(f"shot{number}", TAGS)))
    client.volume_revert(address, f"shot{number}")
    (there,) = (each for each in client.volumes() if each.tags == TAGS)
    return there.global_id


def there_number(core: Core) -> int:
    """How many snapshots there are."""
    return len(core.client().snapshots())


@pytest.fixture(params=["unnamed", "all", "keep"])
def rule(request: pytest.FixtureRequest, core: Core) -> str:
    """Which volumes a revert gives another id."""
    core.simulator.switches.set({"revert_identity": request.param, "preserved_id": "true"})
    return str(request.param)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("told", ["true", "false"])
def test_a_reverted_volume_is_found(core: Core, rule: str, named: bool, told: str) -> None:
    """Whether its id is another one or not, a volume is found after one revert and after two, and
    proved to be the same; without a revert it is one call."""
    core.simulator.switches.set({"preserved_id": told})
    known = made(core, named=named)
    core.queries()
    assert identity.find(core.client(), known).global_id == known.global_id
    assert core.queries() == ("Volume",)
    for _ in range(2):
        now = revert(core, known.name or "")
        found = identity.find(core.client(), known)
        drifts = rule == "all" or (rule == "unnamed" and not named)
        assert found.global_id == now
        assert identity.judge(known, found).verdict is (Verdict.DRIFTED if drifts else Verdict.SAME)
        assert (now != known.global_id) == drifts


def test_an_id_between_two_reverts_is_found_by_the_name(core: Core) -> None:
    """Whoever knows the id of between two reverts, which leads nowhere, finds the volume by its
    name all the same; without the visible id nothing proves that it is it."""
    core.simulator.switches.set({"revert_identity": "all", "preserved_id": "true"})
    first = made(core)
    between = replace(first, global_id=revert(core, NAME))
    last = revert(core, NAME)
    assert identity.find(core.client(), between).global_id == last
    forgotten = replace(between, visible_id=0)
    with pytest.raises(errors.Conflict, match="nothing of StorPool's tells that it is the same"):
        identity.find(core.client(), forgotten)
    remembered = replace(forgotten, first_id=first.global_id)
    assert identity.find(core.client(), remembered).global_id == last


@pytest.mark.parametrize("told", ["true", "false"])
def test_what_took_its_place_is_not_it(core: Core, told: str) -> None:
    """A volume that somebody made with the name and the tags of one that is gone is another one:
    its visible id says so, and so does its first id."""
    core.simulator.switches.set({"preserved_id": told})
    known = made(core)
    volumes.delete(core.client(), known.global_id)
    with pytest.raises(errors.NotFound):
        identity.find(core.client(), known)
    other = made(core)
    with pytest.raises(errors.Conflict, match=f"~{other.global_id}, which has its name"):
        identity.find(core.client(), known)
    unseen = replace(known, visible_id=0)
    with pytest.raises(errors.Conflict, match="nothing was changed"):
        identity.find(core.client(), unseen)
    there = core.client().volume(NAME)
    expected = Verdict.OTHER if told == "true" else Verdict.UNPROVED
    assert identity.judge(unseen, there).verdict is expected


def test_a_frozen_volume_is_not_it(core: Core) -> None:
    """A snapshot is no volume, whatever it has in common with one."""
    known = made(core)
    there = core.client().volume(NAME)._replace(kind="snapshot")
    assert identity.judge(known, there).verdict is Verdict.OTHER


def test_never_by_one_of_them() -> None:
    """Name, tags and StorPool's word may agree, be silent or speak against it: only all
    three together, and nothing against it, prove that an object with another id is the
    same one."""
    known = Known("volume", "d.e.1", NAME, TAGS, 7)
    base = api.Volume("volume", "d.e.9", NAME, GIB, TAGS, "nvme", None, False, serial=7)
    name_choices = {NAME: True, "~d.e.1": True, "~d.e.9": False, "other": False, "~d.e.2": False}
    tag_choices = {True: TAGS, False: {**TAGS, "ovirt-uuid": "x"}}
    serials: dict[int, bool | None] = {7: True, 8: False, 0: None}
    firsts: dict[str | None, bool | None] = {
        "d.e.1": True,
        "d.e.9": False,
        "d.e.3": None,
        None: None,
    }
    for name, tagged, serial, first in itertools.product(
        name_choices, tag_choices, serials, firsts
    ):
        there = base._replace(name=name, tags=tag_choices[tagged], serial=serial, first_id=first)
        says = (serials[serial], firsts[first], True if name == "~d.e.1" else None)
        if False in says:
            expected = Verdict.OTHER
        elif name_choices[name] and tagged and True in says:
            expected = Verdict.DRIFTED
        else:
            expected = Verdict.UNPROVED
        judged = identity.judge(known, there)
        assert judged.verdict is expected, (name, tagged, serial, first)
        assert judged.why and judged.is_same == (expected is Verdict.DRIFTED)
        same = identity.judge(replace(known, global_id="d.e.9"), there)
        assert same == identity.Judgement(Verdict.SAME)


def test_tags_have_to_be_known() -> None:
    """Where no tags say whose it is, nothing proves that it is ours."""
    known = Known("volume", "d.e.1", NAME, {}, 7)
    there = api.Volume("volume", "d.e.9", NAME, GIB, TAGS, "nvme", None, False, serial=7)
    assert identity.judge(known, there).verdict is Verdict.UNPROVED


def test_two_ids_of_one_volume(core: Core, rule: str) -> None:
    """Two ids are one volume's where StorPool says so: the first and that of now; those of another
    volume, and of nothing, are not."""
    known = made(core, named=False)
    other = volumes.create(core.client(), Plan(Owner("other", TAGS), GIB))
    client = core.client()
    volumes.snapshot(client, other, Plan(Owner("shot", TAGS)))
    client.volume_revert(known.name or "", "shot")
    now = client.volume(known.name or "").global_id
    assert (now == known.global_id) == (rule == "keep")
    assert identity.are_one(core.client(), "volume", known.global_id, now)
    assert identity.are_one(core.client(), "volume", now, known.global_id)
    assert not identity.are_one(core.client(), "volume", now, other)
    assert not identity.are_one(core.client(), "volume", "sim.a.zzz", other)
    with pytest.raises(errors.NotFound):
        identity.are_one(core.client(), "volume", "sim.a.zzz", "sim.a.zzy")


def test_two_ids_of_a_named_volume(core: Core) -> None:
    """The first id of a volume with a name leads nowhere after a revert: StorPool's word of its
    first id is what tells, where it gives one."""
    core.simulator.switches.set({"revert_identity": "all", "preserved_id": "true"})
    known = made(core)
    now = revert(core, NAME)
    assert identity.are_one(core.client(), "volume", known.global_id, now)
    assert identity.are_one(core.client(), "volume", now, known.global_id)
    core.simulator.switches.set({"preserved_id": "false"})
    assert not identity.are_one(core.client(), "volume", known.global_id, now)
