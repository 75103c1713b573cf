"""policy/budget.py: who goes without where StorPool's room for tags is too little."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import names
from storpool_ovirt.policy import budget

UUID, ROOT, VM = (f"{digit * 8}-1111-4111-8111-{digit * 12}" for digit in "123")
NAME = names.object_name(UUID)
DISK = names.tags(UUID, "0123abcd", UUID)
PREVIEW = names.tags(UUID, "0123abcd", ROOT)
KEY = names.TAG_VM


def test_free_tags_leave_room_for_what_a_disk_may_have_later() -> None:
    """Its VM and a mark of an administrator's: they are never refused for a free tag's sake."""
    policy = {"qc": "gold", "vc-policy": "daily"}
    free = (("cost", "4711"), ("owner", "y" * 40), ("x", "1"))
    found, left_out = budget.made(NAME, DISK, policy, free, KEY)
    assert found == {**policy, "cost": "4711", "x": "1"}
    assert left_out == ("owner",)
    later = {**DISK, **found, KEY: VM, names.TAG_MARK: "P-"}
    names.fitted(NAME, later)
    found, left_out = budget.made(NAME, PREVIEW, policy, free, KEY)
    assert (found, left_out) == (policy, ("cost", "owner", "x"))


def test_a_free_tag_is_never_one_that_means_something() -> None:
    """What the domain's option has in vain, as it is the key of the VM's tag, is not written."""
    found, left_out = budget.made(NAME, DISK, {}, ((KEY, "1"), ("qc", "2"), ("virt", "3")), KEY)
    assert (found, left_out) == ({}, ())


@given(
    policy=st.fixed_dictionaries(
        {}, optional={"qc": st.text("g", max_size=64), "vc-policy": st.text("d", max_size=64)}
    ),
    free=st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), st.text("x", max_size=60))),
    owner=st.sampled_from([DISK, PREVIEW]),
)
def test_what_is_made_always_fits(
    policy: dict[str, str], free: list[tuple[str, str]], owner: dict[str, str]
) -> None:
    """T5: whatever the domain says; what is not there is told."""
    found, left_out = budget.made(NAME, owner, policy, free, KEY)
    names.fitted(NAME, {**owner, **found})
    wanted = {key for key, value in policy.items() if value} | {key for key, _ in free}
    assert {*found} | {*left_out} >= wanted
    if names.has_room(NAME, {**owner, **policy, KEY: VM}):
        names.fitted(NAME, {**owner, **found, KEY: VM})
