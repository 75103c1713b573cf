"""What the tests of snapshots at one moment share: a VM with disks on a host, and the verbs for
them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rigs.disk_model import GIB
from rigs.yard import Yard
from storpool_ovirt import names
from storpool_ovirt.engine import moments

if TYPE_CHECKING:
    from rigs.disk_rig import Fault

VM, OTHER_VM = (f"{letter}0000000-0000-4000-8000-00000000000a" for letter in "ab")
KEY, OTHER_KEY = (f"{letter}0000000-0000-4000-8000-0000000000cc" for letter in "12")
# In this order: the second is before the first, so its lock is taken first
X, Y, Z = (f"{letter}0000000-0000-4000-8000-0000000000dd" for letter in "546")


def plug(yard: Yard, *disks: str, vm: str = VM, client_id: int = 1, size: int = GIB) -> None:
    """Make disks, tag them with a VM and attach them on a host, as hooks and helper do."""
    for disk in disks:
        yard.verb("create", disk, size)
        yard.attach(client_id, yard.verb("connection", disk)["data"])
        tag(yard, disk, vm)
    with yard.engine() as work:
        work.client.be_current()  # so that the bucket for it is there
    yard.queries()


def tag(yard: Yard, disk: str, vm: str) -> None:
    """Write the VM's tag on a disk."""
    yard.ask(f"VolumeUpdate/{names.object_name(disk)}", {"tags": {names.TAG_VM: vm}})


def snapshot(yard: Yard, disk: str, key: str = KEY, fault: Fault | None = None) -> str:
    """Run Engine's verb for one disk, and take its answer."""
    return str(yard.verb("snapshot", disk, correlation_id=key, fault=fault))


def all_moments(yard: Yard) -> list[moments.Moment]:
    """Return the rows of all moments."""
    with yard.engine() as work:
        return [*moments.all(work.mapping.session).values()]


def reserved(yard: Yard) -> set[str]:
    """Return the disks that have a snapshot which nobody claimed."""
    rows = yard.sql("SELECT source::text FROM storpool_ovirt.node WHERE reserved")
    return {disk for (disk,) in rows}


def marks(yard: Yard, *snapshots: str) -> set[str]:
    """Return what the tag of the moment says on these snapshots."""
    things = yard.see().things
    return {things[names.object_name(each)].tags.get(names.TAG_MOMENT, "") for each in snapshots}


def log(yard: Yard, event: str = "snapshot_created") -> list[dict[str, str]]:
    """Return what the log says of an event, oldest first."""
    lines = (yard.folder / "verbs.log").read_text().splitlines()
    return [facts(line) for line in lines if f" {event} " in line]


def facts(line: str) -> dict[str, str]:
    """Return the `key=value` of a line of the log."""
    import shlex

    return dict(each.split("=", 1) for each in shlex.split(line) if "=" in each)


def calls(yard: Yard) -> list[str]:
    """Return the kinds of calls since the last time, without what they are about."""
    return [query.partition(" ")[2].split("/")[0] for query in yard.queries()]


def world(yard: Yard) -> list[Any]:
    """Return what there is, but for the moments themselves."""
    return [yard.see().rows, yard.see().things, yard.see().pending]
