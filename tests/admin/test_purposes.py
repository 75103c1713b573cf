"""purposes.py: what an attachment is likely to be for, case by case."""

from __future__ import annotations

import pytest

from storpool_ovirt.admin import purposes
from storpool_ovirt.admin.purposes import (
    COPY,
    LEFT,
    LOST,
    MIGRATION,
    OTHER,
    UNKNOWN,
    VM,
    Facts,
    Side,
)
from storpool_ovirt.host import openers

MINE = Side("host1", False, 100.0)
LATER = Side("host2", False, 200.0)
DOWN = Side("host2", True, 50.0)
PLAIN = Facts(MINE, (), (), (), snapshot=False, active=True)
QEMU = openers.Process(7, "qemu-kvm", "web01", "u")


def device(
    *processes: openers.Process, above: tuple[str, ...] = (), seen_all: bool = True
) -> openers.Device:
    """Return a device that these have open."""
    return openers.Device(
        "/dev/storpool-byid/a.b.c", "/dev/sp-1", 0.0, list(processes), list(above), seen_all
    )


CASES = [
    (PLAIN, VM, "probably the start of a VM, or a copy"),
    (PLAIN._replace(side=MINE._replace(asked_at=None)), UNKNOWN, "not known: it is not noted"),
    (PLAIN._replace(mapped=False), UNKNOWN, "not known"),
    (PLAIN._replace(earlier=("host9", "host8")), VM, "started here, or migrated from host9"),
    (
        PLAIN._replace(later=("host9",)),
        UNKNOWN,
        "asked for host9 after that: a migration that begins or failed",
    ),
    (PLAIN._replace(snapshot=True), COPY, "a snapshot is only read"),
    (PLAIN._replace(active=False), LEFT, "its VM writes another volume"),
    (PLAIN._replace(side=DOWN), LOST, "the host is down: its VM may still run there"),
    (PLAIN._replace(others=(LATER,)), MIGRATION, "probably where a migration to host2 comes from"),
    (
        PLAIN._replace(side=LATER, others=(MINE,)),
        MIGRATION,
        "from host1 goes, or a start after that host was lost",
    ),
    (PLAIN._replace(others=(DOWN,)), VM, "probably a start after host2 was lost"),
    (
        PLAIN._replace(side=DOWN, others=(MINE,)),
        LOST,
        "probably lost with its host: host1 has the disk too",
    ),
    (
        PLAIN._replace(others=(LATER._replace(down=True),)),
        VM,
        "a VM that was to go to host2, which is down",
    ),
    (
        PLAIN._replace(side=LATER._replace(down=True), others=(MINE,)),
        LOST,
        "a migration or a start that died with it",
    ),
    (
        PLAIN._replace(others=(DOWN._replace(asked_at=None),)),
        VM,
        "probably a start after host2 was lost",
    ),
    (
        PLAIN._replace(others=(LATER._replace(asked_at=None),)),
        UNKNOWN,
        "a migration, a shareable disk, or a start",
    ),
]


@pytest.mark.parametrize(("facts", "kind", "words"), CASES)
def test_what_is_not_seen_is_a_guess(facts: Facts, kind: str, words: str) -> None:
    """T66: each guess is one of a few words for programs, and says that it is one where it says
    more than it knows."""
    purpose = purposes.of(facts)
    assert (purpose.kind, purpose.certain) == (kind, False)
    assert words in purpose.text


SEEN = [
    (PLAIN, device(QEMU), VM, "VM web01 (qemu-kvm, pid 7)"),
    (PLAIN, device(openers.Process(7, "qemu-kvm")), VM, "VM without a name (qemu-kvm, pid 7)"),
    (PLAIN, device(openers.Process(6, "dd"), QEMU), VM, "VM web01 (qemu-kvm, pid 7, and 1 more)"),
    (
        PLAIN,
        device(openers.Process(7, "qemu-kvm", "w", None, arrived=True)),
        VM,
        "VM w (qemu-kvm, pid 7): came by a migration, or was resumed",
    ),
    (
        PLAIN._replace(others=(LATER,)),
        device(openers.Process(7, "qemu-kvm", "w", None, arrived=True)),
        MIGRATION,
        "VM w (qemu-kvm, pid 7): arriving, or arrived from host2",
    ),
    (
        PLAIN._replace(snapshot=True),
        device(openers.Process(8, "qemu-img")),
        COPY,
        "a copy (qemu-img, pid 8)",
    ),
    (PLAIN, device(openers.Process(8, "dd")), OTHER, "dd, pid 8"),
    (PLAIN, device(above=("file system at /mnt", "swap")), OTHER, "file system at /mnt, swap"),
]


@pytest.mark.parametrize(("facts", "seen", "kind", "words"), SEEN)
def test_what_is_seen_is_certain(facts: Facts, seen: openers.Device, kind: str, words: str) -> None:
    """T66: what runs on this host wins over every guess."""
    assert purposes.of(facts._replace(device=seen)) == (kind, True, words)


def test_a_closed_device_is_told_with_the_guess() -> None:
    """T66: where it is certain that nothing uses it; else the guess alone is told."""
    closed = purposes.of(PLAIN._replace(device=device()))
    assert closed == (VM, False, "nothing uses it here; probably the start of a VM, or a copy")
    assert purposes.of(PLAIN._replace(device=device(seen_all=False))) == purposes.of(PLAIN)
