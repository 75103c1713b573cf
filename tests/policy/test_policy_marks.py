"""policy/marks.py: who gave a volume its values, in few bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import names, text
from storpool_ovirt.policy import marks
from storpool_ovirt.policy.marks import ADMIN, BY, NONE, PROPERTY, VM, Mark, Origin

VALUE = st.text(text.LETTERS + text.DIGITS + "_-.:", max_size=64)
ORIGIN = st.just(Origin()) | st.builds(Origin, st.sampled_from(marks.BY), st.none() | VALUE)


@pytest.mark.parametrize(
    ("mark", "written"),
    [
        (NONE, ""),
        (Mark(Origin(ADMIN, "silver")), "a-silver"),
        (Mark(Origin(PROPERTY, ""), Origin(VM, "daily")), "pv0.daily"),
        (Mark(vc=Origin(PROPERTY, "no")), "-pno"),
        (Mark(Origin(PROPERTY, "gold"), Origin(PROPERTY, "daily")), "pp4.golddaily"),
        (Mark(Origin(ADMIN, None), Origin(PROPERTY, "x.y")), "Apx.y"),
        (Mark(Origin(PROPERTY, "4.a"), Origin(VM, None)), "pV4.a"),
    ],
)
def test_how_a_mark_is_written(mark: Mark, written: str) -> None:
    """Nothing where a disk has its own values; a length only where two values follow."""
    assert marks.written(mark) == written
    assert marks.parsed({names.TAG_MARK: written}) == mark


@given(qos=ORIGIN, vc=ORIGIN)
def test_what_is_written_is_read(qos: Origin, vc: Origin) -> None:
    """Whatever the values are called; and StorPool takes the text."""
    mark = Mark(qos, vc)
    written = marks.written(mark)
    assert marks.parsed({names.TAG_MARK: written}) == mark
    assert not written or names.VM_TAG.fits(written)
    for form in marks.forms(mark):
        assert marks.parsed({names.TAG_MARK: form}) == mark
    assert marks.forms(mark)[0] == written


@given(said=st.text() | st.text("-avpAVP0123456789.x"))
def test_any_text_is_read(said: str) -> None:
    """Anybody can write a tag; what makes no sense says that all values are the disk's own."""
    mark = marks.parsed({names.TAG_MARK: said})
    if mark != NONE:
        assert marks.parsed({names.TAG_MARK: marks.written(mark)}) == mark
    assert marks.parsed({}) == NONE


def test_a_digit_says_it_where_the_disk_has_nothing_of_its_own() -> None:
    """One for each pair, and the letters as well."""
    pairs = [Mark(Origin(qos), Origin(vc)) for qos in ("", *BY) for vc in ("", *BY)]
    assert [marks.forms(each)[-1] for each in pairs] == ["", *"123456789abcdef"]
    assert marks.forms(Mark(Origin(PROPERTY, "gold"), Origin(PROPERTY))) == ("pp4.gold",)
    assert marks.forms(Mark(Origin(PROPERTY, None))) == ("P-",)


@pytest.mark.parametrize(
    ("tags", "base"),
    [
        ({"ovirt-pol": "p-silver"}, "silver"),
        ({"ovirt-pol": "pp6.silver"}, "silver"),
        ({"ovirt-pol": "pp0."}, ""),
        ({"ovirt-pol": "p-silver", "virtp": "p-iron"}, "iron"),
    ],
)
def test_a_volume_may_have_it_by_the_longer_key(tags: dict[str, str], base: str) -> None:
    """The shorter one counts where somebody wrote both."""
    assert marks.parsed(tags).qos == Origin(PROPERTY, base)


def test_the_fields_of_a_mark() -> None:
    """By the names that they have everywhere."""
    mark = Mark(Origin(ADMIN, "a"), Origin(VM, "b"))
    assert (mark.of("qos"), mark.of("vc")) == (mark.qos, mark.vc)
