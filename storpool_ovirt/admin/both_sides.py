"""What the database and the cluster have, read for a survey: of each only what that needs, and of a
text that is in several of them one copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storpool_ovirt import names
from storpool_ovirt.admin import rows_seen, trash_proof
from storpool_ovirt.cluster import api, identity
from storpool_ovirt.cluster.words import Words
from storpool_ovirt.engine import candidates, records, reverts, tree


class Seen(NamedTuple):
    """What was read, before anything is made of it. What is in the trash is not among `things`."""

    rows: rows_seen.Rows
    things: dict[str, api.Volume]
    fleeting: dict[str, api.Volume]
    attachments: tuple[api.Attachment, ...]
    clients: Mapping[int, str]
    in_trash: dict[str, api.Volume]


def read(work: tree.Work) -> Seen:
    """Read the database, the cluster, and the database again. Raises what they raise."""
    words = Words()
    before = rows_seen.look_before(work, words)
    # What an instance that is behind does not list is neither lost nor free
    work.client.be_current()
    listed = work.client.volumes(words)
    snapshots = work.client.snapshots(words)
    listed = _with_present_parents(work.client, listed, snapshots)
    listed += identity.with_present_sources(snapshots, listed)
    things = {each.global_id: each for each in listed if not candidates.is_fleeting(each)}
    fleeting = {each.global_id: each for each in listed if candidates.is_fleeting(each)}
    attachments = tuple(work.client.attachments(words))
    clients = work.client.statuses(attachments)
    words.names.clear()
    rows = rows_seen.read(work, words, before)
    dropped = {each.global_id for each in rows.trash}
    in_trash = {
        global_id: each
        for global_id, each in things.items()
        if global_id in dropped or trash_proof.is_marked(each)
    }
    for global_id in in_trash:
        del things[global_id]
    return Seen(rows, things, fleeting, attachments, clients, in_trash)


def _with_present_parents(
    client: api.Client, volumes: list[api.Volume], snapshots: Sequence[api.Volume]
) -> list[api.Volume]:
    """Return the volumes with what they stand on now, where that went after they were listed and
    before the snapshots were: a clone's automatic snapshot goes whenever StorPool likes.

    What carries no tag of ours is nobody's question.
    """
    lost = {each.parent for each in volumes if each.parent and names.TAG_UUID in each.tags}
    for each in snapshots:
        lost -= {each.name, names.address(each.global_id)}
    if not lost:
        return volumes
    asked = [names.address(each.global_id) for each in volumes if each.parent in lost]
    now = {each.global_id: each.parent for each in identity.all_read(client, "volume", asked)}
    return [each._replace(parent=now.get(each.global_id, each.parent)) for each in volumes]


def followed(
    rows: dict[str, records.Record], things: Mapping[str, api.Volume], location: str
) -> tuple[dict[str, records.Record], dict[str, str]]:
    """Return the rows with the global ids that their volumes have now, and by id those that the
    mapping has, where a revert gave a volume another one."""
    nodes = (each.node for each in rows.values())
    found = reverts.followed(nodes, things, location)
    drifted = {uuid: str(rows[uuid].global_id) for uuid in found}
    moved = {uuid: rows[uuid].found_as(there.global_id) for uuid, there in found.items()}
    return {**rows, **moved} if found else rows, drifted
