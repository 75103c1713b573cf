"""held.py: sets find exactly what a look at each attachment for each object finds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt.cluster import api, held
from storpool_ovirt.cluster.devices import Target

# Few of each, so that ids and names meet: ids of before a revert as names (`~old`), names that look
# like ids, releases that list no ids, two objects with one name.
IDS = st.sampled_from(["a.b.1", "a.b.2", "a.b.3"])
NAMES = st.sampled_from(["ovirt--x", "ovirt--y", "~a.b.1", "~a.b.2", "a.b.1", "~", "~x", ""])
CLIENTS = st.sampled_from([1, 2, api.RemoteClient(1, "c.d")])
ATTACHMENTS = st.lists(
    st.builds(
        api.Attachment, NAMES, st.none() | IDS, CLIENTS, st.sampled_from(["rw", "ro"]), st.none()
    ),
    max_size=12,
)
TARGETS = st.lists(st.builds(Target, IDS, st.none() | NAMES), max_size=5)


def one_by_one(target: Target, listed: list[Any], question: str) -> list[Any]:
    """Ask each attachment about one object."""
    return [each for each in listed if getattr(each, question)(target.global_id, target.name)]


@given(TARGETS, ATTACHMENTS)
def test_what_is_found_is_what_each_attachment_says(
    targets: list[Target], listed: list[api.Attachment]
) -> None:
    """Neither more nor less, in the order of the list, whatever ids and names are told."""
    found = held.Held(targets, listed)
    expected = [
        each
        for each in listed
        if any(each.may_be_of(target.global_id, target.name) for target in targets)
    ]
    assert held.of(targets, listed) == found.all == expected
    assert [id(each) for each in found.all] == [id(each) for each in expected]
    for target in targets:
        assert found.of(target) == one_by_one(target, listed, "may_be_of")
        assert found.certain(target) == one_by_one(target, listed, "is_of")


@given(TARGETS, ATTACHMENTS)
def test_of_what_was_found_some_can_be_found_again(
    targets: list[Target], listed: list[api.Attachment]
) -> None:
    """What is some objects' is found among what is several more's."""
    found = held.Held(targets, listed)
    assert held.of(targets[:2], found.all) == held.of(targets[:2], listed)
