"""policy/properties.py: what a VM's custom properties say, and that no text is too odd for it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storpool_ovirt.policy import properties, values

ONE, TWO = (f"{digit * 8}-1111-4111-8111-{digit * 12}" for digit in "12")
FAULTS = {
    "go ld": 'has "go ld", which is no name of one',
    "gold,silver": 'has "silver", which is not DISK:VALUE',
    f"gold,{ONE}": "which is not DISK:VALUE",
    f"gold;{ONE[:-1]}:silver": "which is not DISK:VALUE",
    f"gold;{ONE}:": 'has "", which is no name of one',
    f"gold;{ONE}:silver;{ONE.upper()}:gold": "twice",
    f"{ONE}:silver": "has no comma before its first disk",
    "g" * 9000: "has more than 8192 characters",
    "gold\x1b[31m": "which is no name of one",
}


def test_a_property_names_one_value_for_all_disks_and_others_for_single_ones() -> None:
    """Each part may be missing. OpenNebula has semicolons, which Engine does not let pass."""
    said = f" gold , {ONE.upper()}:silver,,{TWO}: none ,"
    found, fault = properties.read(values.QOS, said)
    assert fault == ""
    assert found is not None
    assert properties.read(values.QOS, said.replace(",", ";")) == (found, "")
    assert [found.of(each) for each in (ONE, TWO, "other")] == ["silver", "", "gold"]
    assert found.of("the volume's", ONE) == "silver"
    assert (found.is_of(ONE), found.is_of("other")) == (True, False)
    alone, _ = properties.read(values.QOS, f",{ONE}:gold")
    assert alone is not None
    assert (alone.of(ONE), alone.of(TWO)) == ("gold", None)


@pytest.mark.parametrize("said", [None, "", "  ", "\t"])
def test_no_property_says_nothing(said: str | None) -> None:
    """Which is another thing than one that makes no sense."""
    assert properties.read(values.QOS, said) == (properties.ABSENT, "")
    assert properties.ABSENT.of(ONE) is None


@pytest.mark.parametrize("said", FAULTS)
def test_what_makes_no_sense_is_told(said: str) -> None:
    """Nothing follows from it, neither that something is set nor that something is cleared."""
    found, fault = properties.read(values.QOS, said)
    assert found is None
    assert FAULTS[said] in fault
    assert "sp_qos" in fault
    assert fault.isprintable()
    assert len(fault) < 400


@pytest.mark.parametrize(
    "said",
    [f"daily,{ONE}:weekly", f"daily,{ONE}:daily,{TWO}:no", f",{ONE}:daily", f"daily,{ONE}:none"],
)
def test_a_policy_for_single_disks_makes_no_sense(said: str) -> None:
    """VolumeCare ignores a VM whose disks have several; one that says the same of all is taken."""
    found, fault = properties.read(values.VC, said)
    assert found is None
    assert "sp_vc_policy" in fault
    assert "VolumeCare ignores a VM whose disks have several" in fault
    assert properties.read(values.QOS, said)[1] == ""
    same, fault = properties.read(values.VC, f"daily,{ONE}:daily")
    assert same is not None
    assert (same.of(ONE), same.of(TWO), fault) == ("daily", "daily", "")


def test_a_class_that_there_is_not_makes_no_sense() -> None:
    """Where it is known which there are; VolumeCare's policies nobody knows here."""
    classes = ("gold", "silver")
    assert properties.read(values.QOS, "glod")[1] == ""
    assert "do you mean gold?" in properties.read(values.QOS, "glod", classes)[1]
    assert "do you mean silver?" in properties.read(values.QOS, f",{ONE}:sliver", classes)[1]
    assert properties.read(values.VC, "glod", classes)[1] == ""
    assert properties.read(values.QOS, "none", classes) == (properties.Property(""), "")


@given(said=st.text() | st.text(f"gold,;:{ONE} -"))
@example(said=";" * 8000)
@example(said=f"gold;{ONE}:\ud800")
def test_any_text_is_read(said: str) -> None:
    """Whoever may edit a VM writes it: never an error, always one of the three answers."""
    for field in values.FIELDS:
        found, fault = properties.read(field, said)
        assert (found is None) == bool(fault)
        assert fault.isprintable() or not fault
        for value in () if found is None else (found.every, *dict(found.disks).values()):
            assert value is None or value == "" or values.given(field, value) == value
