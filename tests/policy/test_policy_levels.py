"""policy/levels.py: who decides, and which tags change for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import names
from storpool_ovirt.policy import levels, marks, values
from storpool_ovirt.policy.levels import UNKNOWN, Levels, Said

if TYPE_CHECKING:
    from collections.abc import Mapping

UUID, ROOT, VM = (f"{digit * 8}-1111-4111-8111-{digit * 12}" for digit in "123")
NAME = names.object_name(UUID)
DISK = names.tags(UUID, "0123abcd", UUID)
PREVIEW = names.tags(UUID, "0123abcd", ROOT)
KEY = names.TAG_VM
UNPLUG = dict.fromkeys(values.FIELDS, Said(admin_vm=None, by_property=None))


def after(
    tags: Mapping[str, str],
    qos: Said | None = None,
    vc: Said | None = None,
    vm: tuple[str, str] | None = None,
) -> dict[str, str]:
    """Return the tags of a disk after what is said of it."""
    said = {field: each for field, each in (("qos", qos), ("vc", vc)) if each is not None}
    found = levels.changes(NAME, {**DISK, **tags}, said, vm)
    assert found.left_out == ()
    assert found.tags == {
        key: value for key, value in found.tags.items() if value != tags.get(key, "")
    }
    now = {**tags, **found.tags}
    return {key: value for key, value in now.items() if value}


# Who decides


@pytest.mark.parametrize("number", range(6))
def test_the_first_level_that_says_something_decides(number: int) -> None:
    """Six levels, each above all behind it; an empty value says that there is none."""
    names_of = Levels._fields
    for value in ("gold", ""):
        said = Levels(*([None] * number), value, *(["other"] * (5 - number)))
        assert levels.decided(said) == (value, names_of[number])
    assert levels.decided(Levels()) == ("", levels.NOBODY)


# What changes


def test_a_property_is_set_and_put_back() -> None:
    """What the disk had of its own comes back, and the mark goes, without asking anybody."""
    silver = {"qc": "silver"}
    gold = after(silver, Said(by_property="gold"))
    assert gold == {"qc": "gold", "virtp": "p-silver"}
    assert after(gold, Said(by_property="gold")) == gold
    bronze = after(gold, Said(by_property="bronze"))
    assert bronze == {"qc": "bronze", "virtp": "p-silver"}
    assert after(bronze, Said(by_property=None)) == silver
    assert after(bronze, Said(by_property="silver")) == silver
    assert after(bronze, Said(by_property="")) == {"virtp": "p-silver"}
    assert after({"virtp": "p-silver"}, Said(by_property=None)) == silver


def test_nothing_changes_where_a_property_makes_no_sense() -> None:
    """A field of which nothing is said stays as it is, with its mark; the other one may change."""
    gold = {"qc": "gold", "virtp": "p-silver"}
    assert after(gold) == after(gold, Said()) == gold
    both = after(gold, vc=Said(by_property="daily"))
    assert both == {"qc": "gold", "vc-policy": "daily", "virtp": "pp6.silver"}
    assert after(both, vc=Said(by_property=None)) == gold


def test_a_property_never_overwrites_what_an_administrator_has_said() -> None:
    """Of the disk or of its VM; and it is not lost while it does not count."""
    for said, letter in ((Said(admin_disk="gold"), "a"), (Said(admin_vm="gold"), "v")):
        gold = after({"qc": "silver"}, said)
        assert gold == {"qc": "gold", "virtp": f"{letter}-silver"}
        for value in ("bronze", "", None):
            assert after(gold, Said(by_property=value)) == gold
    # Also where the value is what the disk has of its own
    assert after({"qc": "gold"}, Said(admin_disk="gold")) == {"qc": "gold", "virtp": "a-gold"}


def test_an_administrator_says_it_of_a_disk_with_a_property() -> None:
    """The disk's own value stays known, and clear gives back what is known to count then."""
    by_property = {"qc": "gold", "virtp": "p-silver"}
    by_admin = after(by_property, Said(admin_disk="bronze"))
    assert by_admin == {"qc": "bronze", "virtp": "a-silver"}
    assert after(by_admin, Said(admin_disk=None, by_property="gold")) == by_property
    assert after(by_admin, Said(admin_disk=None)) == {"qc": "silver"}
    by_vm = after(by_admin, Said(admin_disk=None, admin_vm="iron"))
    assert by_vm == {"qc": "iron", "virtp": "v-silver"}
    assert after(by_vm, Said(admin_disk="bronze")) == by_admin


def test_an_unplug_takes_back_what_is_the_vms() -> None:
    """The property's and the administrator's word on the VM; his word on the disk stays."""
    there = {"qc": "gold", "vc-policy": "daily", KEY: VM, "virtp": "vp6.silver"}
    said = {**there, "virtp": "ap6.silverno"}
    found = levels.changes(NAME, {**DISK, **there}, UNPLUG, (KEY, ""))
    assert found.tags == {KEY: "", "qc": "silver", "vc-policy": "", "virtp": ""}
    found = levels.changes(NAME, {**DISK, **said}, UNPLUG, (KEY, ""))
    assert found.tags == {KEY: "", "vc-policy": "no", "virtp": "a-silver"}


def test_the_steady_state_changes_nothing() -> None:
    """A VM without properties and one with them, started again; and its own value by property."""
    plain = {**DISK, KEY: VM, "qc": "gold", "vc-policy": "daily"}
    none = dict.fromkeys(values.FIELDS, Said(by_property=None))
    assert levels.changes(NAME, plain, none, (KEY, VM)) == ({}, ())
    same = {"qos": Said(by_property="gold"), "vc": Said(by_property="daily")}
    assert levels.changes(NAME, plain, same, (KEY, VM)) == ({}, ())
    other = {"qos": Said(by_property="iron"), "vc": Said(by_property="no")}
    first = levels.changes(NAME, plain, other, (KEY, VM))
    assert first.left_out == ()
    assert levels.changes(NAME, {**plain, **first.tags}, other, (KEY, VM)) == ({}, ())


def test_what_the_disk_has_of_its_own_may_be_told_anew() -> None:
    """Beneath a value of others it waits; without one it counts at once."""
    assert after({"qc": "silver"}, Said(base="iron")) == {"qc": "iron"}
    gold = {"qc": "gold", "virtp": "p-silver"}
    assert after(gold, Said(base="iron")) == {"qc": "gold", "virtp": "p-iron"}
    unknown = {"qc": "gold", "virtp": "P-"}
    assert after(unknown, Said(by_property=None)) == {}
    assert after(unknown, Said(by_property=None, base="iron")) == {"qc": "iron"}


def test_what_is_made_of_a_disk_gets_what_the_disk_has_of_its_own() -> None:
    """An administrator's word on the disk is the disk's, what is said of its VM is the VM's."""
    assert levels.own({}, "qos") is None
    assert levels.own({"qc": "gold"}, "qos") == "gold"
    assert levels.own({"qc": "gold", "virtp": "a-silver"}, "qos") == "gold"
    assert levels.own({"virtp": "a-silver"}, "qos") == ""
    assert levels.own({"qc": "gold", "virtp": "p-silver"}, "qos") == "silver"
    assert levels.own({"qc": "gold", "virtp": "v-"}, "qos") is None
    assert levels.own({"qc": "gold", "virtp": "P-"}, "qos") is None
    assert levels.own({"vc-policy": "no", "virtp": "p-silver"}, "vc") == "no"


# The room


def test_all_of_it_fits_on_a_disk_of_a_vm() -> None:
    """Class, policy, and what the disk had of its own, beside the VM."""
    there = {**DISK, "qc": "bronze", "vc-policy": "weekly"}
    said = {"qos": Said(by_property="gold"), "vc": Said(by_property="daily")}
    found = levels.changes(NAME, there, said, (KEY, VM))
    both = {"qc": "gold", "vc-policy": "daily", "virtp": "pp6.bronzeweekly"}
    assert found.tags == {KEY: VM, **both}
    assert found.left_out == ()
    names.fitted(NAME, {**there, **found.tags})


def test_a_previews_volume_has_room_for_the_vm_and_both_values() -> None:
    """The ids are short then, and who gave the values has room, to the byte."""
    there = {**DISK, KEY: VM, "qc": "gold", "vc-policy": "weekly", "virtp": "pp0."}
    found = levels.moved(there, KEY, (NAME, PREVIEW))
    assert found.tags == {KEY: VM, "qc": "gold", "vc-policy": "weekly", "virtp": "f"}
    assert found.left_out == ()
    fitted = names.fitted(NAME, {**PREVIEW, **found.tags})
    assert names.with_long_uuid(fitted)["ovirt-uuid"] == UUID
    assert names.root_of(fitted) == ROOT


def test_what_is_less_important_is_left_out_and_told() -> None:
    """T5: the VM, then the class, then VolumeCare's policy, then who gave them."""
    long = {"qos": Said(by_property="g" * 16), "vc": Said(by_property="d" * 16)}
    found = levels.changes(NAME, PREVIEW, long, (KEY, VM))
    assert found.tags == {KEY: VM, "qc": "g" * 16, "virtp": "p-"}
    assert found.left_out == ("vc-policy",)
    # What is there gives way too
    there = {**PREVIEW, "vc-policy": "d" * 40}
    found = levels.changes(NAME, there, {}, (KEY, VM))
    assert found.tags == {KEY: VM, "vc-policy": ""}
    assert found.left_out == ("vc-policy",)


def test_a_value_is_there_with_its_mark_or_not_at_all() -> None:
    """Else nobody could take it back: the disk keeps its own, and that is told."""
    there = {**DISK, names.TAG_SOURCE: "bgu4.n.a1z", "qc": "b" * 30}
    said = {"qos": Said(by_property="gold")}
    found = levels.changes(NAME, there, said, (KEY, VM))
    assert (found.tags, found.left_out) == ({KEY: VM}, ("qc",))
    assert levels.changes(NAME, {**there, **found.tags}, said, (KEY, VM)) == ({}, ("qc",))


@pytest.mark.parametrize(
    ("qos", "vc", "found"),
    [
        (Said(by_property="gold"), Said(by_property="daily"), {"qc": "", "vc-policy": "daily"}),
        (Said(by_property="gold"), Said(admin_vm="daily"), {"qc": "", "vc-policy": "daily"}),
        (Said(admin_disk="gold"), Said(by_property="daily"), {"qc": "gold", "vc-policy": "no"}),
        (Said(admin_disk="gold"), Said(admin_vm="daily"), {"qc": "gold", "vc-policy": "no"}),
    ],
)
def test_of_two_without_room_the_stronger_stays(qos: Said, vc: Said, found: dict[str, str]) -> None:
    """Of one level VolumeCare's policy, which all disks of the VM have to have."""
    changes = levels.changes(
        NAME, {**PREVIEW, "vc-policy": "no"}, {"qos": qos, "vc": vc}, (KEY, VM)
    )
    now = {"vc-policy": "no", **changes.tags}
    assert {key: now.get(key, "") for key in found} == found
    assert len(changes.left_out) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_a_volume_that_has_the_longer_key_keeps_it(keep: bool) -> None:
    """Also an empty one that StorPool has kept: that has its bytes."""
    there = {**DISK, "qc": "gold", "ovirt-pol": "p-silver"}
    bronze = levels.changes(NAME, there, {"qos": Said(by_property="iron")})
    assert bronze.tags == {"qc": "iron"}
    gone = levels.changes(NAME, there, {"qos": Said(by_property=None)})
    assert gone.tags == {"qc": "silver", "ovirt-pol": ""}
    tags = {key: value for key, value in {**there, **gone.tags}.items() if keep or value}
    key = "ovirt-pol" if keep else "virtp"
    again = levels.changes(NAME, tags, {"qos": Said(by_property="iron")})
    assert again.tags == {"qc": "iron", key: "p-silver"}


VALUE = st.sampled_from(["", "gold", "silver", "x" * 20])
SAID = st.one_of(st.none(), st.just(UNKNOWN), VALUE)
FIELD = st.builds(Said, SAID, SAID, SAID, SAID)
MARK = st.sampled_from(["", "a-", "-vdaily", "p-gold", "pp4.golddaily", "AP", "av0.", "odd", "P-"])


@given(
    tags=st.fixed_dictionaries(
        {}, optional={"qc": VALUE, "vc-policy": VALUE, "virtp": MARK, KEY: st.just(VM)}
    ),
    owner=st.sampled_from([DISK, PREVIEW]),
    said=st.fixed_dictionaries({}, optional=dict.fromkeys(values.FIELDS, FIELD)),
    vm=st.sampled_from([None, (KEY, VM), (KEY, "")]),
)
def test_whatever_is_said_fits_and_is_said_once(
    tags: dict[str, str],
    owner: dict[str, str],
    said: dict[str, Said],
    vm: tuple[str, str] | None,
) -> None:
    """No tag of others changes, the result fits, and to say the same again changes nothing more."""
    there = {**owner, **tags, "people": "x"}
    if not names.has_room(NAME, there):
        return
    found = levels.changes(NAME, there, said, vm)
    assert {*found.tags} <= {KEY, "qc", "vc-policy", "virtp", "ovirt-pol"}
    now = {**there, **found.tags}
    names.fitted(NAME, now)
    if not found.left_out:
        assert levels.changes(NAME, now, said, vm).tags == {}
    mark = marks.parsed(now)
    for field in values.FIELDS:
        admin = said[field].admin_disk if field in said else UNKNOWN
        if admin not in (UNKNOWN, None) and not found.left_out:
            assert (now.get(values.TAG[field], ""), mark.of(field).by) == (admin, "a")


@pytest.mark.parametrize("by", ["v", "p"])
@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("vm-1", {"qc": "gold"}),
        ("", {"qc": "gold"}),
        ("vm-2", {"qc": "silver"}),
    ],
)
def test_what_one_vm_has_said_is_not_anothers(by: str, named: str, found: dict[str, str]) -> None:
    """F53: a disk that was detached and attached while both were down, and a hook that does not
    know what is said of the new one."""
    tags = {"cvm": named, "qc": "gold", "virtp": f"{by}-silver"}
    changes = levels.changes("ovirt--1", tags, {"qos": levels.Said()}, ("cvm", "vm-1"))
    assert {"qc": changes.tags.get("qc", "gold")} == found
    assert changes.tags.get("cvm", named) == "vm-1"


def test_what_is_said_of_the_disk_goes_with_it_to_another_vm() -> None:
    """It stays; and what is said of the new VM counts."""
    tags = {"cvm": "vm-2", "qc": "gold", "virtp": "a-silver"}
    said = {"qos": levels.Said(by_property="iron")}
    assert levels.changes("ovirt--1", tags, said, ("cvm", "vm-1")).tags == {"cvm": "vm-1"}
    tags = {**tags, "virtp": "v-silver"}
    assert levels.changes("ovirt--1", tags, said, ("cvm", "vm-1")).tags["qc"] == "iron"
