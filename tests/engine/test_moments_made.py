"""snapshots.py: all disks of a running VM are snapshotted at one moment, by the first verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moment_ground import KEY, VM, X, Y, Z, all_moments, calls, log, marks, plug, reserved, snapshot

from storpool_ovirt.engine import moments

if TYPE_CHECKING:
    from rigs.yard import Yard


def test_the_first_verb_makes_all_and_the_others_claim_theirs(yard: Yard) -> None:
    """One call of StorPool for three disks; the later verbs ask it nothing (T78)."""
    plug(yard, X, Y, Z)
    first = snapshot(yard, X)
    assert calls(yard) == [
        "KV",
        "Volume",
        "AttachmentsList",
        "Volume",
        "Volume",
        "VolumesGroupSnapshot",
    ]
    assert reserved(yard) == {Y, Z}
    rest = [snapshot(yard, disk) for disk in (Y, Z)]
    assert calls(yard) == []
    assert reserved(yard) == set()
    assert yard.entries() == 0
    assert len({first, *rest}) == 3
    [moment] = all_moments(yard)
    assert (moment.key, moment.vm, moment.client, moment.state) == (KEY, VM, 1, moments.MADE)
    assert moment.volumes == (X, Y, Z)
    assert marks(yard, first, *rest) == {moment.mark}
    rows = yard.see().rows
    assert [rows[each].source for each in (first, *rest)] == [X, Y, Z]
    assert [(each["consistency"], each["moment"]) for each in log(yard)] == [
        ("vm", moment.mark)
    ] * 3
    assert yard.report().findings == ()
