"""Disks with data that are deleted in a yard, and what the trash has of them then."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from rigs.disk_model import BLOCK, GIB, OFFSETS
from rigs.disk_rig import Death
from storpool_ovirt import names, trash_names
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin import reconcile, survey, trash_purge, trash_restore
from storpool_ovirt.admin import trash as admin_trash
from storpool_ovirt.cluster import calls
from storpool_ovirt.engine import changes, database, trash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from rigs.disk_rig import Fault
    from rigs.yard import Yard

# Each request to StorPool, and each statement for the database, is one call of these.
_STEPS = (calls.Calls._ask_once.__code__, database.Session.rows.__code__)
DELAY_SECONDS = 48 * 3600
BACK, LATER = (f"{letter}0000000-0000-4000-8000-0000000000b1" for letter in "ba")


def write(yard: Yard, uuid: str, byte: int) -> None:
    """Have a host write these bytes to a disk, at the ends of each GiB."""
    data = yard.verb("connection", uuid)["data"]
    yard.attach(1, data)
    with yard.device(1, data["global_id"]).open("r+b") as device:
        size = device.seek(0, os.SEEK_END)
        for offset in OFFSETS:
            if offset + BLOCK <= size:
                device.seek(offset)
                device.write(bytes([byte]) * BLOCK)
    yard.detach(1, data)


def digest(yard: Yard, uuid: str, size_bytes: int = GIB) -> str:
    """Return the checksum of what a host reads of a disk, or a snapshot, as far as anybody
    writes."""
    data = yard.verb("connection", uuid)["data"]
    yard.attach(2, data)
    found = hashlib.sha256()
    with yard.device(2, data["global_id"]).open("rb") as device:
        for offset in OFFSETS:
            if offset + BLOCK <= size_bytes:
                device.seek(offset)
                found.update(device.read(BLOCK))
    yard.detach(2, data)
    return found.hexdigest()


def thrown(yard: Yard, disk: str, ends_at: float | None = None, **tags: str) -> list[trash.Entry]:
    """Put a disk into the trash, as a delete does; return its entries, what its VM wrote first."""
    ends = int(ends_at or time.time() + DELAY_SECONDS)
    deletion = names.made_uuid(os.urandom(16), 4)
    rows = yard.see().rows
    nodes = [row for row in rows.values() if row.root == disk and row.global_id]
    found = []
    for row in sorted(nodes, key=lambda each: each.kind, reverse=True):
        found.append(_thrown(yard, row, rows[disk].active or disk, deletion, ends, tags))
    with yard.engine("delete_volume") as work:
        work.mapping.write(trash.written(found))
        work.mapping.write(
            changes.forgotten([row.uuid for row in rows.values() if row.root == disk])
        )
        return sorted(trash.of(work.mapping, deletion), key=lambda each: not each.active)


def _thrown(
    yard: Yard, row: Any, active: str, deletion: str, ends: int, more: dict[str, str]
) -> trash.Entry:
    entry = names.made_uuid(os.urandom(16), 4)
    name = trash_names.name(entry)
    is_active = row.uuid == active
    owner = names.tags(row.uuid, yard.location, row.root)
    mark = trash_names.mark(ends, is_volume=row.kind == "volume", is_active=is_active)
    tags = trash_names.tags(name, owner, mark, more)
    address = f"~{row.global_id}"
    kind = "Volume" if row.kind == "volume" else "Snapshot"
    (there,) = yard.ask(f"{kind}/{address}")
    after = max(1, ends - int(time.time()))
    if row.kind == "volume":
        body = {"name": name, "tags": tags, "deleteAfter": after}
        global_id = yard.ask(f"VolumeSnapshot/{address}", body)["snapshotGlobalId"]
        yard.ask(f"VolumeDelete/{address}", {})
    else:
        yard.ask(f"SnapshotUpdate/{address}", {"rename": name, "tags": tags, "deleteAfter": after})
        global_id = row.global_id
    return trash.Entry(
        entry=entry,
        deletion=deletion,
        disk=row.root,
        node=row.uuid,
        kind=row.kind,
        global_id=global_id,
        source=row.source,
        size_bytes=row.size_bytes,
        active=is_active,
        template=there["templateName"],
        tags={**there["tags"], **more},
        created_at=float(there["creationTimestamp"]),
        deleted_at=time.time(),
        ends_at=float(ends),
        correlation_id="corr-1",
    )


def entries(yard: Yard) -> list[trash.Entry]:
    """Return the rows of the trash."""
    with yard.engine() as work:
        return trash.entries(work.mapping)


def restored(
    yard: Yard,
    uuid: str,
    into: str = BACK,
    *,
    dry_run: bool = False,
    over_data: bool = False,
    fault: Fault | None = None,
    dies_at: int | None = None,
) -> list[str]:
    """Restore as an administrator does; `dies_at` is the request or statement before which its
    process is killed."""
    with (
        yard.troubled(fault),
        yard.administrator("trash-restore") as work,
        dying(dies_at),
    ):
        if not dry_run:
            return trash_restore.restore(work, uuid, into, over_data=over_data)
        said: list[str] = []
        rehearsals.played(
            work,
            said.append,
            lambda rehearsed: trash_restore.restore(rehearsed, uuid, into, over_data=over_data),
        )
        return said


def purged(
    yard: Yard, which: trash_purge.Which, fault: Fault | None = None, dies_at: int | None = None
) -> list[str]:
    """Purge as an administrator does; return what could not be, and why."""
    with (
        yard.troubled(fault),
        yard.administrator("trash-purge") as work,
        dying(dies_at),
    ):
        plan = trash_purge.plan(work, admin_trash.look(work), which)
        return [line for each in plan for line in trash_purge.carry_out(work, each)]


@contextlib.contextmanager
def dying(at: int | None) -> Iterator[None]:
    """Raise Death before the n-th request to StorPool, or statement for the database, that is made
    inside, if there are so many."""

    def die() -> None:
        raise Death

    with happening(at, die):
        yield


@contextlib.contextmanager
def dying_before(method: str, times: int = 1) -> Iterator[None]:
    """Have what is inside die before the n-th request of a kind, as the official binding names
    it."""

    def die() -> None:
        raise Death

    with contextlib.suppress(Death), happening_before(method, times, die):
        yield


@contextlib.contextmanager
def happening_before(method: str, times: int, act: Callable[[], object]) -> Iterator[None]:
    """Do this before the n-th request of a kind that is made inside; there have to be so many."""
    left, before = times, sys.gettrace()

    def call(frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal left
        if frame.f_code is _STEPS[0] and frame.f_locals["method"] == method:
            left -= 1
            if not left:
                sys.settrace(before)
                act()

    sys.settrace(call)
    try:
        yield
        assert left <= 0, f"there were not {times} of {method}"
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def happening(at: int | None, act: Callable[[], object]) -> Iterator[None]:
    """Do this before the n-th request to StorPool, or statement for the database, that is made
    inside, if there are so many; once."""
    left = at
    before = sys.gettrace()

    def call(frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal left
        if left is not None and frame.f_code in _STEPS:
            left -= 1
            if left < 0:
                left = None
                sys.settrace(before)
                act()

    if at is not None:
        sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)


def kept_digest(yard: Yard, entry: trash.Entry, size_bytes: int = GIB) -> str:
    """Return the checksum of what a host reads of an entry's snapshot."""
    item: dict[str, Any] = {"snapshot": f"~{entry.global_id}"}
    yard.ask("VolumesReassignWait", {"reassign": [{**item, "ro": [2]}]})
    found = hashlib.sha256()
    with yard.device(2, entry.global_id).open("rb") as device:
        for offset in OFFSETS:
            if offset + BLOCK <= size_bytes:
                device.seek(offset)
                found.update(device.read(BLOCK))
    yard.ask("VolumesReassignWait", {"reassign": [{**item, "detach": [2]}]})
    return found.hexdigest()


def noted(yard: Yard) -> None:
    """Have all visible ids noted, as whatever meets a volume does."""
    with yard.administrator() as work:
        reconcile.note_visible_ids(work, survey.look(work))


def age(yard: Yard, uuids: Sequence[str], ends_at: float) -> None:
    """Have these entries end then."""
    yard.sql(
        "UPDATE storpool_ovirt.trash SET ends_at = to_timestamp(%s) WHERE entry::text = ANY (%s)",
        ends_at,
        list(uuids),
    )
