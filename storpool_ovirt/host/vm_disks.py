"""What the disks of a VM are in StorPool, and which of them may be taken for it.

Its tags, its name and the VM say whose a volume is; docs/fencing.md has the argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.host import device_paths, domain_xml

# So many objects are read one by one; of more, StorPool's list is read.
READ_ALONE_MAX = 6

# Each disk with the global id of the object that it leads to.
Pairs = Sequence["tuple[str, domain_xml.Disk]"]


class Candidate(NamedTuple):
    """A volume of a VM that may be taken for it.

    `uuid` is oVirt's id for it. `proved`: oVirt made it for this VM; else nothing says whose it is.
    `is_wanted_shared`: the XML of the VM says that it is shareable.
    """

    there: api.Volume
    uuid: str | None
    proved: bool
    is_wanted_shared: bool

    @property
    def target(self) -> attachments.Target:
        """How `attachments` names it."""
        return attachments.Target(self.there.global_id, self.there.name)


def candidates(client: api.Client, disks: Pairs, openstack_prefix: str) -> list[Candidate]:
    """Return the volumes among these of which somebody may lose something; raise Foreign,
    NotFound."""
    there = _all_read(client, [global_id for global_id, _ in disks])
    return [
        found
        for global_id, disk in disks
        for found in _candidates_of(there[global_id], disk, openstack_prefix)
    ]


def check_each_once(disks: Pairs) -> None:
    """Raise Conflict when two disks lead to one object."""
    seen: dict[str, str] = {}
    for global_id, disk in disks:
        if global_id in seen:
            raise errors.Conflict(
                f"the StorPool object {names.address(global_id)}",
                f"is two disks of this VM, {seen[global_id]} and {disk.path}",
                "one of these links is wrong",
            )
        seen[global_id] = disk.path


def check_held(client: api.Client, client_id: int, disks: Pairs) -> None:
    """Raise Conflict when a client does not have one of these any more.

    The client must be current (`api.Client.be_current`): an answer from before it was taken would
    let the VM go. Shareable ones too: who says that a host is lost takes them as well, and a guest
    that has not stopped at the errors would write what it remembers to the disk that it opens anew.
    """
    mine = [each for each in client.attachments() if each.client_id == client_id]
    for global_id, disk in disks:
        # Older releases list names only.
        name = None if all(each.global_id for each in mine) else _read(client, global_id).name
        if not any(each.is_of(global_id, name) for each in mine):
            raise errors.Conflict(
                f"the disk {disk.path} ({names.address(global_id)})",
                f"was taken from client {client_id}, on which its VM runs",
                "the VM was started elsewhere: stop it here",
            )


def _candidates_of(
    there: api.Volume, disk: domain_xml.Disk, openstack_prefix: str
) -> list[Candidate]:
    """Return the volume that is to be taken, or nothing where nobody loses anything; raise
    Foreign."""
    made_for = names.ovirt_id(there.name, there.tags, openstack_prefix)
    uuid = device_paths.volume_of_run_link(disk.path)
    if uuid is not None and made_for != uuid:
        whose = f"was made for {made_for}" if made_for else "carries no tags of oVirt"
        raise errors.Foreign(
            f"{there.kind} {there.name} (~{there.global_id})",
            f"is the disk {uuid} of this VM but {whose}",
            "nothing was taken from anybody, see storpool-ovirt audit",
        )
    if there.kind != "volume" or names.is_foreign(there.tags):
        return []
    # Cinder's names are OpenStack's too: such a volume is oVirt's where oVirt says so, by its link
    # or its serial.
    proved = made_for is not None and (
        uuid is not None or names.is_own_mark(there.name, there.tags) or made_for == disk.serial
    )
    return [Candidate(there, made_for, proved, disk.shareable)]


def _all_read(client: api.Client, global_ids: Sequence[str]) -> dict[str, api.Volume]:
    """Return these objects by global id; raise NotFound.

    One by one where they are few: of a cluster with 20,000 volumes a list is large. Where they are
    many, and a call takes a second, the time of a start would not suffice for as many calls.
    """
    if len(global_ids) <= READ_ALONE_MAX:
        return {global_id: _read(client, global_id) for global_id in global_ids}
    listed = {each.global_id: each for each in client.volumes()}
    return {
        global_id: listed.get(global_id) or _read(client, global_id) for global_id in global_ids
    }


def _read(client: api.Client, global_id: str) -> api.Volume:
    address = names.address(global_id)
    there = volumes.read_any(client, address)
    if there.kind == "snapshot" and there.dying:
        raise errors.NotFound(there.kind, address, "any more: it is being deleted")
    return there
