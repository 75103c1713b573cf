"""What an attachment is likely to be for: from what the host knows for certain, else from what
Engine asked for.

Engine never tells why it asks for a volume: `connect_volume` is the same for the start of a VM, for
a migration's destination, for a copy and for a restart after a host was lost (oVirt's RunVmCommand,
MigrateVmCommand, CopyManagedBlockDiskCommand). So all of it is a guess but what runs on this very
host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_ovirt.host import openers

VM, MIGRATION, COPY, LOST, LEFT, OTHER, UNKNOWN = (
    "vm",
    "migration",
    "copy",
    "lost host",
    "left",
    "other",
    "unknown",
)


class Purpose(NamedTuple):
    """What an attachment is for, in one word and in words for people.

    `certain`: seen, not guessed.
    """

    kind: str
    certain: bool
    text: str


class Side(NamedTuple):
    """One host that has a volume attached: its name for people, whether it is down, and when it was
    asked for."""

    name: str
    down: bool
    asked_at: float | None


class Facts(NamedTuple):
    """What is known of one attachment.

    `others`: the other hosts that may write it too. `later`, `earlier`: hosts that do not have it,
    for which it was asked for after and before this one. `snapshot`: it can only be read.
    `active`: it is what the disk's VM writes.
    """

    side: Side
    others: Sequence[Side]
    later: Sequence[str]
    earlier: Sequence[str]
    snapshot: bool
    active: bool
    device: openers.Device | None = None
    mapped: bool = True


def of(facts: Facts) -> Purpose:
    """Return what an attachment is for."""
    device = facts.device
    if device is not None and device.processes:
        first = min(device.processes, key=lambda each: (not each.is_vm, not each.is_copy))
        return _of_process(facts, first, len(device.processes) - 1)
    if device is not None and device.above:
        return Purpose(OTHER, True, ", ".join(device.above))
    guess = _guess(facts)
    if device is not None and device.open is False:
        return Purpose(guess.kind, False, f"nothing uses it here; {guess.text}")
    return guess


def _of_process(facts: Facts, process: openers.Process, more: int) -> Purpose:
    who = f"{process.name}, pid {process.pid}" + (f", and {more} more" if more else "")
    if process.is_copy:
        return Purpose(COPY, True, f"a copy ({who})")
    if not process.is_vm:
        return Purpose(OTHER, True, who)
    text = f"VM {process.vm or process.vm_uuid or 'without a name'} ({who})"
    if facts.others and process.arrived:
        return Purpose(MIGRATION, True, f"{text}: arriving, or arrived from {_names(facts.others)}")
    if process.arrived:
        return Purpose(VM, True, f"{text}: came by a migration, or was resumed")
    return Purpose(VM, True, text)


def _guess(facts: Facts) -> Purpose:
    """Return the first of these that is so."""
    after = (
        f"asked for {', '.join(facts.later)} after that: a migration that begins or failed, or a"
        " lost detach"
    )
    before = f"probably a VM: started here, or migrated from {', '.join(facts.earlier[:1])}"
    cases: tuple[tuple[object, str, str], ...] = (
        (facts.snapshot, COPY, "probably a copy: a snapshot is only read"),
        (facts.others, *_of_several(facts)),
        (facts.side.down, LOST, "the host is down: its VM may still run there"),
        (
            not facts.active,
            LEFT,
            "its VM writes another volume: probably left by a copy or a preview",
        ),
        (not facts.mapped, UNKNOWN, "not known"),
        (facts.later, UNKNOWN, after),
        (
            facts.side.asked_at is None,
            UNKNOWN,
            "not known: it is not noted for which host it was asked for",
        ),
        (facts.earlier, VM, before),
    )
    found = (Purpose(kind, False, text) for so, kind, text in cases if so)
    return next(found, Purpose(VM, False, "probably the start of a VM, or a copy"))


def _of_several(facts: Facts) -> tuple[str, str]:
    """Two hosts may write it: the one that was asked for last is where the VM goes, or was started
    again."""
    there, lost = _names(facts.others), [each for each in facts.others if each.down]
    mine, times = (
        facts.side.asked_at,
        [each.asked_at for each in facts.others if each.asked_at is not None],
    )
    ordered = mine is not None and bool(times)
    last = ordered and (mine or 0.0) > max(times)
    if facts.side.down:
        text = (
            "the host is down: probably a migration or a start that died with it"
            if last
            else (f"probably lost with its host: {there} has the disk too")
        )
        return LOST, text
    if lost:
        text = (
            f"probably a start after {_names(lost)} was lost"
            if last or not ordered
            else (f"probably a VM that was to go to {_names(lost)}, which is down")
        )
        return VM, text
    if not ordered:
        return UNKNOWN, "a migration, a shareable disk, or a start after a host was lost"
    if last:
        return (
            MIGRATION,
            f"probably where a migration from {there} goes, or a start after that host was lost",
        )
    return MIGRATION, f"probably where a migration to {there} comes from"


def _names(sides: Sequence[Side]) -> str:
    return ", ".join(each.name for each in sides)
