"""What the disks of a VM are in StorPool, and which of them may be taken for it.

Its tags, its name and the VM say whose a volume is; docs/fencing.md has the argument.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, held, identity, volumes
from storpool_ovirt.host import device_paths, domain_xml
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    # Each disk with the global id of the object that it leads to; one whose device has several ids
    # is there with each.
    Pairs = Sequence["tuple[str, domain_xml.Disk]"]


class Candidate(NamedTuple):
    """A volume of a VM that may be taken for it.

    `known_as` is the global id by which this host knows it, `uuid` is oVirt's id for it. `proved`:
    oVirt made it for this VM; else nothing says whose it is. `is_wanted_shared`: the XML of the VM
    says that it is shareable.
    """

    known_as: str
    there: api.Volume
    uuid: str | None
    proved: bool
    is_wanted_shared: bool

    @property
    def target(self) -> attachments.Target:
        """How `attachments` names it: by the host's own word where that leads to it.

        The id that an unnamed volume had before a revert goes on doing so after the next one, and
        those between do not.
        """
        leads = self.known_as in (self.there.global_id, names.kept_id(self.there.name))
        global_id = self.known_as if leads else self.there.global_id
        return attachments.Target(global_id, self.there.name)


def candidates(client: api.Client, disks: Pairs, openstack_prefix: str) -> list[Candidate]:
    """Return the volumes among these of which somebody may lose something; raise Foreign, NotFound,
    Conflict."""
    there = _all_read(client, [global_id for global_id, _ in disks])
    return [
        found
        for global_id, disk in _one_each(disks, there)
        for found in _candidates_of(global_id, there[global_id], disk, openstack_prefix)
    ]


def _one_each(disks: Pairs, there: Mapping[str, api.Volume]) -> Pairs:
    """Return each disk once, also where its device has two ids of its volume.

    Raises Conflict where two disks are one volume, under whatever ids, and where one disk has the
    ids of two.
    """
    found: dict[str, tuple[str, domain_xml.Disk]] = {}
    for global_id, disk in disks:
        _, first = found.setdefault(there[global_id].global_id, (global_id, disk))
        if first.path != disk.path:
            raise _two_disks(there[global_id].global_id, first, disk)
    paths: dict[str, str] = {}
    for object_id, (_, disk) in found.items():
        if paths.setdefault(disk.path, object_id) != object_id:
            raise errors.Conflict(
                f"the device {disk.path}",
                f"has the ids of two volumes, {paths[disk.path]} and {object_id}",
                "one of these links is wrong",
            )
    return list(found.values())


def check_each_once(disks: Pairs) -> None:
    """Raise Conflict when two disks lead to one object."""
    seen: dict[str, domain_xml.Disk] = {}
    for global_id, disk in disks:
        if global_id in seen:
            raise _two_disks(global_id, seen[global_id], disk)
        seen[global_id] = disk


def check_held(client: api.Client, client_id: int, disks: Pairs) -> None:
    """Raise Conflict when a client does not have one of these any more.

    The client must be current (`api.Client.be_current`): an answer from before it was taken would
    let the VM go. Shareable ones too: who says that a host is lost takes them as well, and a guest
    that has not stopped at the errors would write what it remembers to the disk that it opens anew.
    """
    mine = [each for each in client.attachments() if each.client_id == client_id]
    kept = _kept(client, mine, disks)
    for global_id, disk in disks:
        if disk.path not in kept and not _lives_on(client, client_id, global_id, disk):
            raise errors.Conflict(
                f"the disk {disk.path} ({names.address(global_id)})",
                f"was taken from client {client_id}, on which its VM runs",
                "the VM was started elsewhere: stop it here",
            )


def _kept(client: api.Client, mine: Sequence[api.Attachment], disks: Pairs) -> set[str]:
    """Return the paths of the disks that are certain to be among these attachments."""
    targets = {global_id: attachments.Target(global_id, None) for global_id, _ in disks}
    if not all(each.global_id for each in mine):
        # Older releases list names only.
        for global_id, there in _all_read(client, list(targets)).items():
            targets[global_id] = attachments.Target(global_id, there.name)
    found = held.Held(list(targets.values()), mine)
    return {disk.path for global_id, disk in disks if found.certain(targets[global_id])}


def _lives_on(client: api.Client, client_id: int, global_id: str, disk: domain_xml.Disk) -> bool:
    """Return whether a client has what had this id before a revert, by StorPool's own word."""
    uuid = device_paths.volume_of_run_link(disk.path)
    known = identity.Known("volume", global_id, names.object_name(uuid) if uuid else None)
    there = identity.attached_as(client, client_id, known)
    return there is not None and global_id in identity.ids_of(there)


def _two_disks(global_id: str, one: domain_xml.Disk, other: domain_xml.Disk) -> errors.Conflict:
    return errors.Conflict(
        f"the StorPool object {names.address(global_id)}",
        f"is two disks of this VM, {one.path} and {other.path}",
        "one of these links is wrong",
    )


def _candidates_of(
    known_as: str, there: api.Volume, disk: domain_xml.Disk, openstack_prefix: str
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
    return [Candidate(known_as, there, made_for, proved, disk.shareable)]


def _all_read(client: api.Client, global_ids: Sequence[str]) -> dict[str, api.Volume]:
    """Return these objects by global id; raise NotFound.

    By a call for each: a list of the cluster may have a hundred thousand volumes. Only of very many
    the list is read.
    """
    wanted = {global_id: names.address(global_id) for global_id in global_ids}
    with identity.each_or_listed(client, (("volume", each) for each in wanted.values())) as listed:
        return {
            global_id: _of_list(listed, global_id) or _read(client, global_id)
            for global_id in wanted
        }


def _of_list(listed: Mapping[str, api.Volume] | None, global_id: str) -> api.Volume | None:
    there = None if listed is None else listed.get(names.address(global_id))
    return there if there is not None and there.global_id == global_id else None


def _read(client: api.Client, global_id: str) -> api.Volume:
    address = names.address(global_id)
    there = volumes.read_any(client, address)
    if global_id not in identity.ids_of(there):
        raise errors.Conflict(
            f"the StorPool object {address}",
            f"is another one by StorPool's answer, {there.kind} {there.name} (~{there.global_id})",
            "try again; what stands between this host and the StorPool API mixes answers up",
        )
    if there.kind == "snapshot" and there.dying:
        raise errors.NotFound(there.kind, address, "any more: it is being deleted")
    return there
