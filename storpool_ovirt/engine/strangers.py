"""What others use of our disks: an object that another platform uses too, or that a client has
attached which is no host of oVirt's, is never deleted.

Whose an object is `ownership.py` tells. This is asked of what is ours: the tags of another platform
beside ours say that it is used there, whoever made it.

Which clients are hosts of oVirt's this machine knows from the sections of /etc/storpool.conf, where
that names other hosts than this machine. Where it names none, nobody knows, and a closed device is
let go of wherever it is; so it is where the disk was asked for a host that the file does not name:
its list is not whole.
"""

from __future__ import annotations

import os

from storpool_ovirt import errors, names, storpool_conf
from storpool_ovirt.cluster.replies import RemoteClient
from storpool_ovirt.engine import candidates, host_notes
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import mapping, tree


def check_platform(work: tree.Work, there: api.Volume) -> None:
    """Raise Foreign for an object of ours that another platform uses."""
    used = names.other_platform(there.tags, work.domain.vm_tag)
    if used:
        platform, tag = used
        raise errors.Foreign(
            candidates.said(there),
            f"is used by {platform} too (tag {tag})",
            f"it is never deleted like that; when {platform} needs it no more, take the tag"
            f" {tag.partition('=')[0]} away with the StorPool CLI and delete it again",
        )


def check_hosts(
    work: tree.Work,
    nodes: Sequence[mapping.Node],
    attached: Sequence[api.Attachment],
    known: Mapping[int, str],
) -> None:
    """Raise Conflict where a client has one of these nodes attached that is no host of oVirt's, as
    far as this machine can know; `known` are the hosts that its storpool.conf names."""
    strange = [
        each
        for each in attached
        if not isinstance(each.client_id, RemoteClient) and each.client_id not in known
    ]
    if not strange or not _names_hosts(known) or _is_not_whole(work, nodes, known):
        return
    clients = names.clients({each.client_id for each in strange})
    raise errors.Conflict(
        f"{strange[0].name}",
        f"is attached to {clients}, which is no host in {storpool_conf.FILE} on this machine",
        f"nothing was deleted; is it a host of oVirt's, give {storpool_conf.FILE} its section with"
        " SP_OURID, else detach it there with the StorPool CLI when nothing uses it",
    )


def _names_hosts(known: Mapping[int, str]) -> bool:
    """Return whether storpool.conf names other hosts than this very machine."""
    return any(name != os.uname().nodename for name in known.values())


def _is_not_whole(work: tree.Work, nodes: Sequence[mapping.Node], known: Mapping[int, str]) -> bool:
    """Return whether Engine asked for one of these nodes for a host that storpool.conf does not
    name, or that was not told."""
    named = {each for name in known.values() for each in name.split(" or ")}
    notes = host_notes.of(work.mapping, [node.uuid for node in nodes])
    return any(note.host not in named for found in notes.values() for note in found)
