"""Reverts in StorPool by hand, as an operator or VolumeCare does them, and all values of the
simulator's switch for what they do to the global id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rigs.disk_model import GIB
from rigs.yard import DISK

if TYPE_CHECKING:
    from rigs.yard import Yard

IDENTITIES = ("unnamed", "all", "keep")


def revert(yard: Yard, address: str, to: str | None = None, **more: Any) -> str:
    """Revert a volume to a snapshot, by default to one that is made now; return its global id of
    now."""
    snapshot = to or f"~{yard.ask(f'VolumeSnapshot/{address}', {})['snapshotGlobalId']}"
    return str(yard.ask(f"VolumeRevert/{address}", {"toSnapshot": snapshot, **more})["globalId"])


def nameless(yard: Yard, uuid: str = DISK) -> str:
    """Have the volume of a row be one without a name, with all of its tags, of which all else is as
    it was; return its address.

    No verb makes one, nor can a name be taken away: so it is how a mapping may look that was made
    by hand.
    """
    row = yard.see().rows[uuid]
    yard.ask(f"VolumeDelete/{yard.address(uuid)}", {})
    body = {"size": row.size_bytes or GIB, "tags": yard.tags(uuid, row.root), "template": "hybrid"}
    global_id = yard.ask("VolumeCreate", body)["globalId"]
    yard.sql(
        "UPDATE storpool_ovirt.node SET global_id = %s, visible_id = NULL WHERE uuid = %s",
        global_id,
        uuid,
    )
    return f"~{global_id}"


def put_back(yard: Yard, disk: str, global_id: str) -> None:
    """Have the row of a disk's own volume be as it was before a verb followed it."""
    yard.sql(
        "UPDATE storpool_ovirt.node SET global_id = %s, first_id = NULL WHERE uuid = %s",
        global_id,
        disk,
    )
