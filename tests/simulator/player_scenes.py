"""The switches of the players: for each a scene, and what it tells with each value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from player_rig import CONFIG, FREE, MIB, api, limits, snapshots

from storpool_simulator.players import notes, qos, volumecare

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator_fixtures import Peer

EXPECTED = {
    "qos_service": {"on": "5", "off": "-"},
    "qos_wins": {"tag": "5", "template": "7"},
    "qos_template": {"keep": "hdd", "follow": "nvme"},
    "volumecare_service": {"on": "1", "off": "0"},
    "volumecare_tags": {"own": "vc-policy vc-time", "none": "", "copied": "kept vc-policy"},
    "volumecare_retention": {"date": "dated", "delete": "undated"},
}


def _qos(peer: Peer, *, template: str) -> None:
    """Make a volume in two tiers, and one pass."""
    both = {"nvme": {**FREE, "max_iops": 5}, "hdd": {**FREE, "max_iops": 7}}
    api(peer).store(qos.BUCKET, {qos.KEY: json.dumps(both)})
    peer.create("w", size=MIB, template=template, tags={"qc": "nvme"})
    qos.Qos(api(peer)).play()


def _iops(peer: Peer) -> str:
    """[kb], [sp-os]: which of two tiers it is, and whether any."""
    _qos(peer, template="hdd")
    return str(limits(peer, "w")[1])


def _template(peer: Peer) -> str:
    """[sp-os]."""
    _qos(peer, template="hdd")
    return str(peer.volume("w")["templateName"])


def _care(peer: Peer) -> None:
    notes.configure(api(peer), CONFIG)
    peer.create("w", size=MIB, tags={"vc-policy": "hourly", "kept": "1"})
    volumecare.VolumeCare(api(peer)).play()


def _taken(peer: Peer) -> str:
    """[kb]."""
    _care(peer)
    return str(len(snapshots(peer)))


def _tags(peer: Peer) -> str:
    """[inf]."""
    _care(peer)
    return " ".join(sorted(key for one in snapshots(peer).values() for key in one["tags"]))


def _date(peer: Peer) -> str:
    """[inf]."""
    _care(peer)
    (one,) = snapshots(peer).values()
    return "dated" if one["targetDeleteDate"] else "undated"


SCENES: dict[str, Callable[[Peer], str]] = {
    "qos_service": _iops,
    "qos_wins": _iops,
    "qos_template": _template,
    "volumecare_service": _taken,
    "volumecare_tags": _tags,
    "volumecare_retention": _date,
}
