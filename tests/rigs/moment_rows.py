"""Snapshots of several disks as one call of StorPool makes them, with their rows as the verbs leave
them.

    moment = moment_rows.made(yard, [DISK, OTHER], claimed=[DISK])
    moment.snapshots[OTHER]                 # its id, which no verb gave to Engine
    moment_rows.aged(yard, moment, 3600)    # it is an hour old now, and not half an hour
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rigs.yard import Yard

VM = "aaaaaaaa-0000-4000-8000-000000000000"
KEY = "bbbbbbbb-0000-4000-8000-000000000000"
_INCARNATION = """
    (SELECT system_identifier FROM pg_control_system()) || '/'
        || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
        || 'storpool_ovirt.operation'::regclass::oid
"""


@dataclasses.dataclass(frozen=True)
class Moment:
    """One group: its number, the value of its tag, and the snapshot of each disk."""

    number: int
    mark: str
    snapshots: dict[str, str]


def made(
    yard: Yard, disks: Sequence[str], claimed: Collection[str] = (), age: int = 1800
) -> Moment:
    """Make one snapshot of each disk at one moment; those of `claimed` were given to Engine."""
    mark = uuid.uuid4().hex[:16]
    ids = {disk: str(uuid.uuid4()) for disk in disks}
    members = [
        {
            "volume": f"ovirt--{disk}",
            "name": f"ovirt--{snapshot}",
            "tags": {**yard.tags(snapshot, disk), "ovirt-moment": mark},
        }
        for disk, snapshot in ids.items()
    ]
    yard.ask("VolumesGroupSnapshot", {"volumes": members})
    [(number,)] = yard.sql(
        f"""
        INSERT INTO storpool_ovirt.moment (mark, key, vm, client, state, volumes, incarnation)
        VALUES (%s, %s, %s, 1, 'made', %s::uuid[], {_INCARNATION}) RETURNING id
        """,
        mark,
        KEY,
        VM,
        list(disks),
    )
    for disk, snapshot in ids.items():
        yard.sql(
            """
            INSERT INTO storpool_ovirt.node (uuid, kind, root, source, size_bytes, state, global_id,
                correlation_id, moment, reserved)
            SELECT %s, 'snapshot', uuid, uuid, size_bytes, 'live', %s, %s, %s, %s
            FROM storpool_ovirt.node WHERE uuid = %s
            """,
            snapshot,
            yard.global_id(snapshot),
            KEY,
            number,
            disk not in claimed,
            disk,
        )
    moment = Moment(number, mark, ids)
    aged(yard, moment, age)
    return moment


def aged(yard: Yard, moment: Moment, seconds: int) -> None:
    """Have a moment be so old."""
    yard.sql(
        "UPDATE storpool_ovirt.moment SET made_at = clock_timestamp() - make_interval(secs => %s)"
        " WHERE id = %s",
        seconds,
        moment.number,
    )
