"""A yard whose cluster has copies in another location; time passes where somebody waits."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rigs import far_cluster
from rigs.yard import Yard
from storpool_ovirt.admin import backup
from storpool_ovirt.engine import copies, copies_seen
from storpool_ovirt.option_values import CopyTo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database
    from rigs.disk_rig import Fault

SIZE_BYTES = 8 << 20  # of disks: all of a copy is read to be compared
VM = "70000000-0000-4000-8000-000000000000"
TO = CopyTo(far_cluster.LOCATION)


class BackupYard(Yard):
    """A yard with a far side."""

    def __init__(
        self, folder: Path, database: Database, *, devices: str = "file", **switches: str
    ) -> None:
        both = {**far_cluster.FEDERATION, "devices": devices}
        super().__init__(folder, database, federation=both, **switches)
        self.pin()
        self.sides = far_cluster.both(self.simulator, folder)
        sleep = self.clock.sleep

        def pass_time(seconds: float) -> None:
            sleep(seconds)
            if seconds >= 1:  # a pause between two tries costs the cluster nothing
                self.simulator.advance(seconds)

        self.clock.sleep = pass_time  # type: ignore[method-assign]

    def disk(
        self, uuid: str, data: bytes = b"", size_bytes: int = SIZE_BYTES, vm: str = ""
    ) -> None:
        """Make a disk that has these data, of a VM."""
        self.verb("create", uuid, size_bytes)
        if data:
            self.write(uuid, data)
        if vm:
            self.ask(f"VolumeUpdate/ovirt--{uuid}", {"tags": {"cvm": vm}})

    def write(self, uuid: str, data: bytes) -> None:
        """Write to a disk's own volume as a guest does."""
        far_cluster.fill(self.sides.one, f"ovirt--{uuid}", data)

    def checksum(self, key: str) -> str:
        """Return that of an object here."""
        return far_cluster.checksum(self.sides.one, key)

    def far_checksum(self, remote_id: str | None) -> str:
        """Return that of a copy there."""
        return far_cluster.checksum(self.sides.far, f"~{remote_id}")

    def backup(self, uuid: str, to: CopyTo = TO, fault: Fault | None = None) -> list[copies.Copy]:
        """Copy a disk or a VM, without waiting."""
        from rigs import disk_rig

        with self.troubled(fault), self.administrator("backup") as work, disk_rig.dying(fault):
            return backup.make(work, backup.target(work, uuid), to)

    def waited(self, rows: list[copies.Copy]) -> list[copies_seen.Seen]:
        """Wait for copies."""
        with self.administrator("backup") as work:
            return copies_seen.wait(work, rows, lambda _: None)

    def copies(self, uuid: str | None = None) -> list[copies_seen.Seen]:
        """List the copies."""
        with self.administrator("backup-list") as work:
            return backup.look(work, uuid)

    def expire(self, keep_seconds: float, dry_run: bool = False) -> backup.GivenUp:
        """Give up what is older."""
        with self.administrator("backup-expire") as work:
            instead = (lambda _: None) if dry_run else None
            return backup.give_up_old(work, backup.look(work), keep_seconds, instead)

    def meanwhile_cut(self) -> None:
        """Have the bridge be cut as soon as somebody waits."""
        sleep, due = self.clock.sleep, [self.sides.cut]

        def cut(seconds: float) -> None:
            while due:
                due.pop()()
            sleep(seconds)

        self.clock.sleep = cut  # type: ignore[method-assign]

    def there(self) -> dict[str, str]:
        """Return the names of the copies on the far side by their ids, without what is going."""
        client = self.sides.far.client()
        return {each.global_id: each.name for each in client.snapshots() if not each.dying}

    def forget_database(self) -> None:
        """Lose the table of copies, as with a database that comes back from an old backup."""
        self.sql("DELETE FROM storpool_ovirt.backup")


@contextlib.contextmanager
def opened(
    database: Database, folder: Path, *, devices: str = "file", **switches: str
) -> Iterator[BackupYard]:
    """Give one with nothing in it; its hosts see devices of this kind."""
    made = BackupYard(folder, database, devices=devices, **switches)
    try:
        yield made
    finally:
        made.close()
