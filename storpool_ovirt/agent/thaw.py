"""Whether a frozen guest is to be thawed: decided over what was seen, nothing else.

Engine freezes a guest, then has one disk after the other snapshotted, and thaws only a VM that has
a disk on an image domain, and not after a failure (docs/agent.md). So a guest all of whose disks
are ours is thawed as soon as each has got its snapshot of this freeze. A snapshot counts where
StorPool's time of it is within this freeze; where that leaves a doubt (clocks differ, nobody saw
the freeze begin) the guest stays frozen for `DOUBT_SECONDS` more, in which Engine takes the right
one. Where snapshots are missing, the guest is thawed when for `thaw_latest` seconds no new one
came: no verb can be under way then. A VM with disks elsewhere too is left to Engine, as these are
snapshotted by Engine and Vdsm, until `thaw_mixed` is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from storpool_ovirt.agent.options import Options

# Ours: Engine sends its first verb within a moment of the freeze.
DOUBT_SECONDS = 5.0
# A snapshot that is older than its freeze by more is not of it, whatever clocks say: the interval
# in which verbs of one action follow each other, as `create_snapshot` itself has it.
RECENT_SECONDS = 60.0
# Ours: longer than the pause between two looks at a host that is full of VMs, shorter than two
# snapshots of one VM can be apart. Where nobody looked for longer, an earlier one may lie between.
BLIND_SECONDS = 15.0
# StorPool tells the time of a snapshot in whole seconds.
ROUNDING_SECONDS = 1.0

ALL_TAKEN, NOTHING_COMES, WINDOW_OVER = "all_taken", "nothing_comes", "window_over"


@dataclass(frozen=True)
class Snapshot:
    """The newest snapshot of ours of one disk: StorPool's id and time of it, and the mark of its
    group, "" where it was taken alone."""

    global_id: str
    created_at: float
    moment: str = ""


@dataclass(frozen=True)
class Look:
    """What was seen of a frozen guest.

    `now` is of a clock that never jumps, `time` is the host's. `snapshots` has the newest one of
    each of the writable disks, None where a disk has none; it is itself None where StorPool could
    not be asked, and for a VM that is `mixed`.
    """

    now: float
    time: float
    mixed: bool
    snapshots: Sequence[Snapshot | None] | None = None


@dataclass(frozen=True)
class Freeze:
    """A freeze as far as it was seen.

    `since` is its first look and `thawed_at` the last one at which the guest was not frozen, by the
    host's time; None where nobody looked. `spent` are snapshots that were there at the end of an
    earlier freeze, `first` those that were there when StorPool was asked first in this one.
    """

    since: float
    thawed_at: float | None = None
    spent: frozenset[str] = frozenset()
    first: frozenset[str] | None = None
    seen: frozenset[str] = frozenset()
    progress: float | None = None
    complete_since: float | None = None


@dataclass(frozen=True)
class Decision:
    """What is known of the freeze now, and why the guest is to be thawed, "" where it is not."""

    freeze: Freeze
    why: str = ""


def decided(freeze: Freeze, look: Look, options: Options) -> Decision:
    """Return whether a guest that is frozen is to be thawed at this look."""
    if look.mixed:
        over = _over(look.now - freeze.since, options.thaw_mixed)
        return Decision(freeze, WINDOW_OVER if over else "")
    counted = _counted(freeze, look)
    new = frozenset(each.global_id for each in counted) - freeze.seen
    progress = look.now if new or freeze.progress is None else freeze.progress
    taken = look.snapshots is not None and 0 < len(look.snapshots) == len(counted)
    since = look.now if new or freeze.complete_since is None else freeze.complete_since
    if look.snapshots is not None and freeze.first is None:
        freeze = replace(freeze, first=stands(look.snapshots))
    known = replace(
        freeze,
        seen=freeze.seen | new,
        progress=progress,
        complete_since=since if taken else None,
    )
    if taken:
        # Snapshots that were taken one by one can be of two actions that follow each other at once,
        # some of them; the only one of a VM with one disk cannot.
        is_one = len(counted) == 1 or bool(moment(counted))
        rounding = ROUNDING_SECONDS if is_one else 0.0
        doubt = any(_is_in_doubt(each, freeze, look, rounding) for each in counted)
        wait = options.thaw_after + (DOUBT_SECONDS if doubt else 0.0)
        if look.now - since >= wait:
            return Decision(known, ALL_TAKEN)
    return Decision(known, NOTHING_COMES if _over(look.now - progress, options.thaw_latest) else "")


def stands(snapshots: Sequence[Snapshot | None]) -> frozenset[str]:
    """Return the ids of the snapshots that a VM's disks stand on."""
    return frozenset(each.global_id for each in snapshots if each)


def moment(snapshots: Sequence[Snapshot | None]) -> str:
    """Return the mark of the group that all snapshots are of, "" where they are not of one."""
    marks = {each.moment if each else "" for each in snapshots}
    return marks.pop() if len(marks) == 1 else ""


def _over(seconds: float, limit: float) -> bool:
    return 0 < limit <= seconds


def _counted(freeze: Freeze, look: Look) -> list[Snapshot]:
    """Return the snapshots that are, or may be, of this freeze."""
    begun = look.time - (look.now - freeze.since)
    return [
        each
        for each in look.snapshots or ()
        if each is not None
        and each.global_id not in freeze.spent
        and begun - RECENT_SECONDS <= each.created_at <= look.time + RECENT_SECONDS
    ]


def _is_in_doubt(snapshot: Snapshot, freeze: Freeze, look: Look, rounding: float) -> bool:
    """Return whether a snapshot may be older than this freeze.

    One that came while it was looked at is not, whatever clocks say.
    """
    if snapshot.global_id not in (freeze.first or ()):
        return False
    begun = look.time - (look.now - freeze.since)
    if freeze.thawed_at is None or abs(begun - freeze.thawed_at) > BLIND_SECONDS:
        return True
    early = snapshot.created_at < freeze.thawed_at - rounding
    return early or snapshot.created_at > look.time + ROUNDING_SECONDS
