"""Which disks are snapshotted together: those of one running VM, as StorPool and the mapping have
them.

A VM's disks carry its tag (the hooks write it before the guest runs), and are all attached to the
one host where it runs. A tag alone is not enough: it may be of before a cold move.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, identity, volumes
from storpool_ovirt.engine import mapping, ownership, tree, vm_tag
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Member(NamedTuple):
    """A volume's row, and what StorPool has of it."""

    node: mapping.Node
    there: api.Volume


class Found(NamedTuple):
    """What is to be snapshotted together: the volume that was asked for first, then the others in
    the order of their disks.

    `why` tells why there are no others, `apart` which of the VM's disks cannot be of one moment
    with it, and why: each of them waits for its own verb. `client` is the client's number.
    """

    vm: str
    client: int | None
    members: tuple[Member, ...]
    why: str = ""
    apart: str = ""

    @property
    def uuids(self) -> tuple[str, ...]:
        """The volumes' ids."""
        return tuple(member.node.uuid for member in self.members)


class _Held:
    """The attachments of all volumes, by how they are known."""

    def __init__(self, attachments: Iterable[api.Attachment]) -> None:
        self._by_id: dict[str, list[api.Attachment]] = {}
        self._by_name: dict[str, list[api.Attachment]] = {}
        for each in attachments:
            if each.global_id is not None:
                self._by_id.setdefault(each.global_id, []).append(each)
            self._by_name.setdefault(each.name, []).append(each)

    def of(self, there: api.Volume) -> list[api.Attachment]:
        """Return all that may be of this volume."""
        named = {there.name, names.address(there.global_id)}
        found = [each for name in named for each in self._by_name.get(name, ())]
        return [
            *self._by_id.get(there.global_id, ()),
            *(each for each in found if each.global_id != there.global_id),
        ]

    def on(self, client_id: int) -> list[api.Attachment]:
        """Return what a client has to write."""
        return [
            each
            for several in self._by_name.values()
            for each in several
            if each.access_mode == "rw" and each.client_id == client_id
        ]

    def only_writer(self, there: api.Volume) -> tuple[int | None, str]:
        """Return the one client that has a volume, to write it; None and why where that is not
        so."""
        held = self.of(there)
        clients = {each.client_id for each in held}
        if not clients:
            return None, "it is not attached, so no VM writes it"
        if len(clients) > 1:
            return None, f"it is attached to {names.clients(clients)}"
        if any(each.access_mode != "rw" for each in held):
            return None, f"it is attached to {names.clients(clients)} read-only"
        return clients.pop(), ""


def vm_of(work: tree.Work, there: api.Volume) -> tuple[str, str]:
    """Return the VM that a volume says it is of; "" and why where it cannot be taken together with
    others of it."""
    vm, key = vm_tag.of(work, there), work.domain.vm_tag
    if vm:
        return vm, ""
    if names.is_shared(there.tags):
        return "", "it is shareable"
    if there.tags.get(key):
        return "", f"its tag {key} is not the id of a VM"
    return "", f"it has no tag {key}"


def of(work: tree.Work, origin: mapping.Node, there: api.Volume, vm: str) -> Found:
    """Return which volumes are snapshotted together with one that is tagged with this VM.

    Raises what `ownership.proved` does for a disk of the VM that is not as the mapping has it: it
    is not left out without a word.
    """
    asked = Member(origin, there)
    held = _Held(work.client.attachments())
    client_id, why = held.only_writer(there)
    if client_id is None:
        return Found(vm, None, (asked,), why)
    others, apart = [], []
    attached = _attached(work, origin, held.on(client_id))
    if len(attached) >= ownership.LIST_FROM:
        attached = _engines(work, origin, attached, vm)
    for member in _of_vm(work, attached, vm):
        if member.there.cluster_id != there.cluster_id:
            apart.append(f"disk {member.node.root} is in cluster {member.there.cluster_id}")
        elif why := held.only_writer(member.there)[1]:
            apart.append(f"disk {member.node.root} is not taken along: {why}")
        else:
            others.append(member)
    told = "; ".join(apart)
    why = "" if others else told or "it is the only disk of its VM here"
    return Found(vm, int(client_id), (asked, *others), why, told)


def rows(
    there: mapping.Mapping,
    asked: mapping.Node,
    uuids: Iterable[str],
    global_ids: Iterable[str] = (),
) -> list[mapping.Node]:
    """Return the rows of these volumes, as far as each is the one that its disk's VM writes, in the
    order of their ids; that of `asked` is among them in any case, if it is there."""
    global_ids = list(global_ids)
    return there.nodes(
        """
        WHERE kind = 'volume' AND state = 'live'
            AND (uuid = %s OR (
                (uuid = ANY (%s::uuid[]) OR global_id = ANY (%s) OR first_id = ANY (%s))
                AND EXISTS (
                    SELECT FROM storpool_ovirt.node AS disk
                    WHERE disk.uuid = node.root AND coalesce(disk.active, disk.uuid) = node.uuid
                )
            ))
        ORDER BY uuid
        """,
        asked.uuid,
        list(uuids),
        global_ids,
        global_ids,
    )


def _attached(
    work: tree.Work, origin: mapping.Node, attached: Sequence[api.Attachment]
) -> list[mapping.Node]:
    """Return the rows of what is attached, without that of `origin`."""
    ids = {each.global_id for each in attached} | {names.kept_id(each.name) for each in attached}
    uuids = filter(None, (names.uuid_of(each.name) for each in attached))
    found = rows(work.mapping, origin, uuids, filter(None, ids))
    return [node for node in found if node.uuid != origin.uuid]


def _engines(
    work: tree.Work, origin: mapping.Node, nodes: list[mapping.Node], vm: str
) -> list[mapping.Node]:
    """Return those of many rows whose disks the VM has by Engine's word, which asks for no others;
    all of them where it does not say so.

    A database that does not even have the disk that was asked for says nothing.
    """
    from storpool_ovirt.engine import engine_vms

    known = engine_vms.disks(work, vm, {origin.root, *(node.root for node in nodes)})
    if known is None or origin.root not in known:
        return nodes
    return [node for node in nodes if node.root in known]


def _of_vm(work: tree.Work, nodes: Sequence[mapping.Node], vm: str) -> Iterator[Member]:
    """Yield those of these that are tagged with this VM."""
    wanted = [(node.kind, names.address(tree.global_id(node))) for node in nodes]
    with identity.each_or_listed(work.client, wanted) as listed:
        for node, (_, address) in zip(nodes, wanted):
            there = (listed or {}).get(address) or _read(work, node, vm)
            if there is not None and vm_of(work, there)[0] == vm:
                yield Member(node, ownership.checked(work, node, there))


def _read(work: tree.Work, node: mapping.Node, vm: str) -> api.Volume | None:
    """Return what has a row's global id, or the row's volume under another one; None where nothing
    tells that it is of this VM.

    A volume that others have put in its place, or that is about to go, is of no VM, unless it says
    so: then the VM has a disk that nobody can snapshot.
    """
    try:
        return volumes.read(work.client, node.kind, names.address(tree.global_id(node)))
    except errors.NotFound:
        pass
    try:
        return ownership.proved(work, node)
    except (errors.NotFound, errors.Conflict, errors.WrongCluster) as error:
        if _names_it(work, node, vm):
            raise
        work.log.line("not_of_the_vm", volume=node.uuid, reason=error)
        return None


def _names_it(work: tree.Work, node: mapping.Node, vm: str) -> bool:
    """Return whether what has the name of a row's volume says that it is of this VM."""
    try:
        there = volumes.read(work.client, node.kind, names.object_name(node.uuid))
    except errors.NotFound:
        return False
    return vm_of(work, there)[0] == vm
