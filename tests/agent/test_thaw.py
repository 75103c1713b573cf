"""Thaw: no guest is thawed that something still needs frozen, and none stays frozen for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt.agent import thaw
from storpool_ovirt.agent.options import Options
from storpool_ovirt.agent.thaw import Freeze, Look, Snapshot

EPOCH = 1_800_000_000.0  # of the host's clock, when the other one is at 1000
BEGUN = Freeze(since=1000.0, thawed_at=EPOCH - 0.5)
OPTIONS = Options()


def taken(number: int, at: float = 0.3, moment: str = "m") -> Snapshot:
    """Return a snapshot that StorPool made `at` seconds after the freeze was seen."""
    return Snapshot(f"a.b.{number}", float(int(EPOCH + at)), moment)


def look(
    *snapshots: Snapshot | None, at: float = 0.5, mixed: bool = False, jump: float = 0.0
) -> Look:
    """Return what is seen `at` seconds after the freeze was seen first."""
    return Look(1000.0 + at, EPOCH + at + jump, mixed, snapshots)


def why(freeze: Freeze, *looks: Look, options: Options = OPTIONS) -> list[str]:
    """Return the decision at each of these looks."""
    found = []
    for each in looks:
        decision = thaw.decided(freeze, each, options)
        freeze = decision.freeze
        found.append(decision.why)
    return found


def test_all_disks_have_their_snapshot() -> None:
    """A guest whose every disk has its snapshot of this freeze is thawed at once."""
    assert why(BEGUN, look(taken(1), taken(2))) == [thaw.ALL_TAKEN]
    assert why(BEGUN, look(taken(1), taken(2), at=0.0)) == [thaw.ALL_TAKEN]


def test_one_is_missing() -> None:
    """As long as one disk has none, the guest stays frozen: up to `thaw_latest` after the last."""
    waits = look(taken(1), None)
    later = [look(taken(1), None, at=each) for each in (60.0, 120.4, 120.5)]
    assert why(BEGUN, waits, *later) == ["", "", "", thaw.NOTHING_COMES]


def test_a_new_one_begins_the_wait_again() -> None:
    """Each new snapshot shows that Engine is at work: its next verb may be the slow one."""
    looks = [look(taken(1), None, None, at=0.0), look(taken(1), taken(2, 100), None, at=100.0)]
    end = [look(taken(1), taken(2, 100), None, at=each) for each in (219.9, 220.0)]
    assert why(BEGUN, *looks, *end) == ["", "", "", thaw.NOTHING_COMES]


def test_an_administrator_may_wait_longer() -> None:
    """`thaw_after` counts from the look at which all were there."""
    options = replace(OPTIONS, thaw_after=2.0)
    looks = [look(taken(1), at=each) for each in (0.5, 2.4, 2.5)]
    assert why(BEGUN, *looks, options=options) == ["", "", thaw.ALL_TAKEN]


def test_a_second_action_counts_anew() -> None:
    """Snapshots that were there before the freeze, and are replaced, begin `thaw_after` again."""
    options = replace(OPTIONS, thaw_after=2.0)
    looks = [look(taken(1), at=0.0), look(taken(3), at=1.9), look(taken(3), at=3.8)]
    last = look(taken(3), at=3.9)
    assert why(BEGUN, *looks, last, options=options) == ["", "", "", thaw.ALL_TAKEN]


@pytest.mark.parametrize(
    "freeze",
    [
        replace(BEGUN, thawed_at=None),
        replace(BEGUN, thawed_at=EPOCH - 30),
        replace(BEGUN, thawed_at=EPOCH + 3),
    ],
    ids=["nobody-saw-it", "nobody-looked", "clock-behind"],
)
def test_a_doubt_costs_seconds(freeze: Freeze) -> None:
    """Where a snapshot may be of an earlier freeze, Engine gets the time to take the right one."""
    looks = [look(taken(1, 0.0), at=each) for each in (0.0, 4.9, 5.0)]
    assert why(freeze, *looks) == ["", "", thaw.ALL_TAKEN]


def test_a_vm_with_one_disk_does_not_wait_for_the_clock() -> None:
    """Its snapshot is taken alone, and told in whole seconds: the last one before the freeze was
    seen is no doubt."""
    assert why(BEGUN, look(taken(1, -1.0, moment=""), at=0.0)) == [thaw.ALL_TAKEN]
    earlier = look(taken(1, -2.0, moment=""), at=0.0)
    assert why(BEGUN, earlier) == [""], "that was before the last look at which it ran"


def test_two_actions_that_follow_each_other_at_once() -> None:
    """A snapshot of the last second before the freeze is a doubt, unless all are of one group."""
    before = [Snapshot(f"a.b.{each}", EPOCH - 1.2) for each in (1, 2)]
    new = Snapshot("a.b.3", EPOCH)
    looks = [look(*before, at=0.0), look(new, before[1], at=0.4), look(new, before[1], at=5.3)]
    assert why(BEGUN, *looks) == ["", "", ""]
    done = look(new, Snapshot("a.b.4", EPOCH + 5), at=5.35)
    assert why(BEGUN, *looks, done) == ["", "", "", thaw.ALL_TAKEN]


def test_what_comes_while_it_is_looked_at_is_no_doubt() -> None:
    """Whatever the clocks say, and whether anybody saw the freeze begin."""
    freeze = replace(BEGUN, thawed_at=None)
    late = Snapshot("a.b.2", EPOCH - 20)
    assert why(freeze, look(taken(1, 0.0), at=0.0), look(late)) == ["", thaw.ALL_TAKEN]


def test_clocks_that_differ() -> None:
    """StorPool's clock is before or behind by seconds: a doubt; by minutes: it does not count."""
    for skew in (-20, 20):
        looks = [look(taken(1, skew), at=each) for each in (0.0, 5.0)]
        assert why(BEGUN, *looks) == ["", thaw.ALL_TAKEN]
    for skew in (-300, 300):
        looks = [look(taken(1, skew), at=each) for each in (0.0, 5.0, 119.9, 120.0)]
        assert why(BEGUN, *looks) == ["", "", "", thaw.NOTHING_COMES]


def test_an_earlier_freeze_is_spent() -> None:
    """What an earlier freeze of this VM was for never counts for this one."""
    freeze = replace(BEGUN, spent=frozenset({"a.b.1"}))
    assert why(freeze, look(taken(1)), look(taken(1), at=119.0)) == ["", ""]
    assert why(freeze, look(taken(2))) == [thaw.ALL_TAKEN]


def test_disks_elsewhere() -> None:
    """With a disk of others only `thaw_mixed` counts, whatever ours have."""
    looks = [look(taken(1), at=each, mixed=True) for each in (0.0, 121.0, 3599.9, 3600.0)]
    assert why(BEGUN, *looks) == ["", "", "", thaw.WINDOW_OVER]


def test_storpool_does_not_answer() -> None:
    """Nobody knows of snapshots: the guest waits for the latest moment, and not longer."""
    unknown = [Look(1000.0 + at, EPOCH + at, False, None) for at in (0.0, 119.9, 120.0)]
    assert why(BEGUN, *unknown) == ["", "", thaw.NOTHING_COMES]


def test_never_may_be_asked_for() -> None:
    """0 is never, for either limit."""
    options = replace(OPTIONS, thaw_latest=0.0, thaw_mixed=0.0)
    year = 365 * 86400.0
    assert why(BEGUN, look(None), look(None, at=year), options=options) == ["", ""]
    mixed = look(taken(1), at=year, mixed=True)
    assert why(BEGUN, mixed, options=options) == [""]


def test_the_moment() -> None:
    """One mark on all is a group; snapshots one by one are none."""
    assert thaw.moment([taken(1), taken(2)]) == "m"
    assert thaw.moment([taken(1), taken(2, moment="n")]) == ""
    assert thaw.moment([taken(1), None]) == ""
    assert thaw.moment([]) == ""


snapshots = st.none() | st.builds(
    Snapshot,
    st.sampled_from([f"a.b.{each}" for each in range(6)]),
    st.floats(EPOCH - 4000, EPOCH + 8000),
)
looks = st.builds(
    Look,
    st.floats(1000, 9000),
    st.floats(EPOCH - 10000, EPOCH + 10000),  # the host's clock may jump
    st.booleans(),
    st.none() | st.lists(snapshots, max_size=4),
)
freezes = st.builds(
    Freeze,
    st.just(1000.0),
    st.none() | st.floats(EPOCH - 5000, EPOCH + 100),
    st.frozensets(st.sampled_from(["a.b.0", "a.b.1"])),
)


@given(freezes, st.lists(looks, min_size=1, max_size=8))
def test_nothing_is_thawed_that_must_not_be(freeze: Freeze, seen: list[Look]) -> None:
    """Whatever was seen, in whatever order of clocks: a reason holds by what was seen at that look.

    A VM with disks elsewhere is thawed after its window alone. Without a snapshot of each disk,
    unspent, none is thawed before `thaw_latest`.
    """
    for each in sorted(seen, key=lambda one: one.now):
        decision = thaw.decided(freeze, each, OPTIONS)
        frozen_for = each.now - freeze.since
        if decision.why == thaw.WINDOW_OVER:
            assert each.mixed
            assert frozen_for >= OPTIONS.thaw_mixed
        elif decision.why == thaw.ALL_TAKEN:
            assert not each.mixed
            assert each.snapshots
            assert all(one and one.global_id not in freeze.spent for one in each.snapshots)
        elif decision.why == thaw.NOTHING_COMES:
            assert not each.mixed
            assert frozen_for >= OPTIONS.thaw_latest
        again = thaw.decided(decision.freeze, each, OPTIONS)
        assert again == decision, "a look that is repeated decides the same"
        freeze = decision.freeze


@given(freezes, st.lists(snapshots, max_size=4) | st.none())
def test_none_stays_frozen_for_ever(freeze: Freeze, kept: list[Snapshot | None] | None) -> None:
    """A guest of ours alone, of which nothing changes any more, is thawed in the end."""
    for at in (0.0, OPTIONS.thaw_latest):
        decision = thaw.decided(freeze, Look(1000.0 + at, EPOCH + at, False, kept), OPTIONS)
        freeze = decision.freeze
    assert decision.why
