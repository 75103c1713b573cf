"""A simulator with players beside it: what they are given, and what a test asks of them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from simulator_fixtures import TOKEN, Peer, opened_peer

from storpool_simulator.players import vcctl, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3600
MIB = 1 << 20
GOLD = {
    "min_iops": 100,
    "min_bw": 10,
    "max_iops": 5000,
    "max_bw": 200,
    "iops_gb": 30.0,
    "mbps_gb": 0.5,
}
SILVER = {**dict.fromkeys(GOLD, 0), "max_iops": 300}
FREE = dict.fromkeys(GOLD, 0)
TIERS = {"gold": GOLD, "silver": SILVER, "free": FREE, "hdd": {**FREE, "max_iops": 77}}
CONFIG = """\
[format]
version=1.0
[volumecare]
mode=normal
[policy:hourly]
mode=basic
interval=1h
keep=4h
[policy:daily]
mode=basic
interval=1d
keep=7d
[template:hdd]
policy=daily
[template:*]
policy=no
"""


@contextlib.contextmanager
def played(folder: Path, config: str = CONFIG, **options: Any) -> Iterator[Peer]:
    """Give a simulator with both players, whose first pass saw an empty cluster."""
    folder.mkdir(exist_ok=True)
    (folder / "tiers.json").write_text(json.dumps(TIERS))
    (folder / "volumecare.conf").write_text(config)
    options = {"qos": folder / "tiers.json", "volumecare": folder / "volumecare.conf", **options}
    with opened_peer(folder, **options) as peer:
        yield peer


def api(peer: Peer) -> wire.Api:
    """Return a program's way to the cluster."""
    return wire.Api(peer.host, peer.port, TOKEN, "a test")


def played_once(peer: Peer, player: str) -> Any:
    """Have a player make a pass now; return its report."""
    return peer.control("POST", f"players/{player}/pass")


def limits(peer: Peer, key: str, query: str = "Volume") -> tuple[Any, Any]:
    """Return bw and iops of an object."""
    (view,) = peer.get(f"{query}/{key}")
    return view["bw"], view["iops"]


def vm(peer: Peer, name: str, *disks: str, policy: str = "hourly", **more: Any) -> list[str]:
    """Make the volumes of a VM; return their global ids."""
    tags = {"cvm": name, "vc-policy": policy}
    return [peer.create(disk, size=MIB, tags={**tags, "disk-id": disk}, **more) for disk in disks]


def snapshots(peer: Peer) -> dict[str, Any]:
    """Return the snapshots that are not being deleted, by address."""
    listed = peer.get("SnapshotsList")
    return {f"~{one['globalId']}": one for one in listed if not one["deleted"]}


def storpool_vcctl(peer: Peer, *arguments: str) -> int:
    """Run the command; return its exit code."""
    way = ["--host", peer.host, "--port", str(peer.port), "--token", TOKEN]
    return vcctl.main([*way, *arguments])


def history(peer: Peer, capsys: Any, entity: str) -> list[Any]:
    """Return the backups of an entity as the command prints them."""
    capsys.readouterr()
    assert storpool_vcctl(peer, "status", "--json") == 0
    told = {each["id"]["name"]: each for each in json.loads(capsys.readouterr().out)}
    return list(told[entity]["history"]) if entity in told else []
