"""policy/values.py: what a class and a policy of VolumeCare's may be called, and what a typo is."""

from __future__ import annotations

import pytest

from storpool_ovirt import errors
from storpool_ovirt.policy import values


@pytest.mark.parametrize("field", values.FIELDS)
def test_what_can_be_a_value(field: str) -> None:
    """A name without blanks; `none` is explicitly none, in whatever letters."""
    assert values.given(field, " gold ") == "gold"
    assert values.given(field, "no") == "no"
    assert values.given(field, "None") == ""
    assert values.given(field, "a" * 64) == "a" * 64


@pytest.mark.parametrize("said", ["", " ", "go ld", "g\u00f6ld", "gold\n2", "a" * 65, "a;b", "?"])
@pytest.mark.parametrize("field", values.FIELDS)
def test_what_can_be_none(field: str, said: str) -> None:
    """One sentence that names the field, what was said, and what to do."""
    with pytest.raises(errors.InputError) as raised:
        values.given(field, said)
    text = str(raised.value)
    assert ("QoS class" in text) == (field == values.QOS)
    assert "is no name of one: give letters" in text
    assert text.isprintable()


def test_a_class_that_there_is_not_is_told_with_the_nearest() -> None:
    """StorPool says nothing of it, so we do; without a list nobody knows."""
    classes = ("gold", "silver")
    assert values.class_fault("gold", classes) == values.class_fault("", classes) == ""
    assert values.class_fault("anything", ()) == ""
    assert values.class_fault("glod", classes) == "is none of gold, silver (do you mean gold?)"
    assert values.class_fault("bronze", classes) == "is none of gold, silver"
    assert values.fault(values.QOS, "glod", classes)
    assert not values.fault(values.VC, "glod", classes)
