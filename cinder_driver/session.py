"""One operation of Cinder on one cluster: a client with a deadline, and Cinder's objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cinder_driver import failures, names, options, owners, specs
from storpool_ovirt import errors, option_values, sizes
from storpool_ovirt import names as storpool_names
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan, Policy
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import Limits

# Taking back a whole group may take this long when the time of an operation is up.
LIMITS = Limits(undo_seconds=20.0)


class Session:
    """The client and the names for one operation.

    The first object that is read is read behind a barrier (`api.Client.be_current`): what the
    operation changes, copies or describes may have been handed to another owner a moment before it
    began, or just been made.
    """

    def __init__(
        self, settings: options.Settings, seconds: float | None = None, limits: Limits = LIMITS
    ) -> None:
        self.settings = settings
        self._deadline = Deadline(seconds or settings.deadline_seconds)
        self.client = api.Client(
            settings.api.preferring(option_values.BINDING), self._deadline, limits=limits
        )
        self._is_current = False

    def make_time(self) -> None:
        """Extend the deadline so that what was done can be taken back, however late it is."""
        missing_seconds = self.client.limits.undo_seconds - self._deadline.remaining()
        self._deadline.extend(max(0.0, missing_seconds))

    def volume_name(self, volume: Any) -> str:
        """Return the name of a volume in StorPool.

        It goes by `name_id`, as a migrated volume may keep the name of its copy.
        """
        return names.volume_name(self.settings.prefix, volume["name_id"])

    def snapshot_name(self, snapshot: Any) -> str:
        """Return the name of a snapshot in StorPool."""
        return names.snapshot_name(self.settings.prefix, snapshot["id"])

    def volume(self, volume: Any) -> api.Volume:
        """Return a Cinder volume as StorPool has it.

        Raises VolumeNotFound, or that it is another owner's.
        """
        with failures.of(volume=volume["id"]):
            return self._own(self.client.volume, self.volume_name(volume))

    def find_volume(self, volume: Any) -> api.Volume | None:
        """Return a Cinder volume as StorPool has it, or None; raises our own errors."""
        try:
            return self._own(self.client.volume, self.volume_name(volume))
        except errors.NotFound:
            return None

    def snapshot(self, snapshot: Any) -> api.Volume:
        """Return a Cinder snapshot as StorPool has it.

        Raises SnapshotNotFound, or that it is another owner's.
        """
        with failures.of(snapshot=snapshot["id"]):
            return self._own(self.client.snapshot, self.snapshot_name(snapshot))

    def create(
        self, volume: Any, *, parent: api.Volume | None = None, base_on: api.Volume | None = None
    ) -> str:
        """Make a Cinder volume; return its global id.

        It is empty, or made from a snapshot (`parent`) or a volume (`base_on`).
        """
        with failures.of(volume=volume["id"]):
            return volumes.create(self.client, self._volume_plan(volume, parent, base_on))

    def _volume_plan(
        self, volume: Any, parent: api.Volume | None, base_on: api.Volume | None
    ) -> Plan:
        policy = specs.of_volume(self.settings, volume)
        source = parent or base_on
        # A template of the volume's type counts for copies too: the scheduler chose its pool.
        by_itself = source is None and policy.template is None and policy.qos_class is None
        return Plan(
            Owner(
                self.volume_name(volume),
                {storpool_names.TAG_CINDER_SOURCE: source.global_id} if source else {},
                never=owners.TAGS if source else (*owners.TAGS, storpool_names.TAG_CINDER_SOURCE),
            ),
            size_bytes(volume["size"]),
            Policy(policy.tags, policy.template, self.settings.replication if by_itself else None),
            parent=parent.global_id if parent else None,
            base_on=base_on.global_id if base_on else None,
        )

    def snapshot_plan(self, snapshot: Any) -> Plan:
        """Return what is to be made for a Cinder snapshot."""
        return Plan(Owner(self.snapshot_name(snapshot), never=owners.TAGS))

    def delete_volume(self, volume: Any) -> None:
        """Delete a volume; absent is fine.

        A closed device is let go of. An open one is VolumeIsBusy and stays.
        """
        name = self.volume_name(volume)
        with failures.of(volume=volume["id"]):
            self._delete("volume", name)

    def delete_snapshot(self, snapshot: Any) -> None:
        """Delete a snapshot; absent is fine.

        A closed device is let go of. An open one is SnapshotIsBusy and stays.
        """
        with failures.of(snapshot=snapshot["id"]):
            self._delete("snapshot", self.snapshot_name(snapshot))

    def _be_current(self) -> None:
        self.client.be_current()
        self._is_current = True

    def _own(self, read: Callable[[str], api.Volume], name: str) -> api.Volume:
        if not self._is_current:
            self._be_current()
        return owners.check(read(name), name, self.settings.prefix)

    def _delete(self, kind: str, name: str) -> None:
        # By an answer of a moment ago, what was just made would live for ever, and what was just
        # given away would die; whatever came before it in this operation, a delete asks as of now.
        self._be_current()
        read = self.client.volume if kind == "volume" else self.client.snapshot
        try:
            there = self._own(read, name)
        except errors.NotFound:
            return
        if not self._deleted(there) and kind == "volume":
            # Gone, or it was reverted a moment ago and has another id since.
            again = volumes.still(self.client, there)
            if again is not None:
                self._deleted(owners.check(again, name, self.settings.prefix))

    def _deleted(self, there: api.Volume) -> bool:
        """Delete an object; return whether it was there."""
        delete = volumes.delete if there.kind == "volume" else volumes.delete_snapshot
        try:
            return delete(self.client, there.global_id)
        except errors.InUse:
            # Attached, perhaps to a host that died: open or not is what StorPool answers to the
            # detach.
            attachments.release(self.client, [target(there)], {})
            return delete(self.client, there.global_id)


def size_bytes(gib: int) -> int:
    """Return Cinder's size (GiB) in bytes; raise InputError for what no volume has."""
    if not 0 < gib <= sizes.GIB_MAX:
        raise errors.InputError(
            "the size", "is not one of a volume", f"give whole GiB from 1 to {sizes.GIB_MAX}"
        )
    return gib * sizes.GIB


def size_gib(size_bytes: int) -> int:
    """Return a size as Cinder counts it: whole GiB, rounded up."""
    return -(-size_bytes // sizes.GIB)


def target(there: api.Volume) -> attachments.Target:
    """Return how attachments of this object are found and changed."""
    return attachments.Target(there.global_id, there.name, there.kind)
