"""How a request of another client of StorPool's is told, on what it works, and what it reads.

`{v}` and the like are ids of what `settled` makes; in a path of `reads`, `[]` is each element, and
there has to be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator_fixtures import Peer

ID = re.compile(r"[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")
UNNAMED = re.compile(r"~[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")
CLUSTER = "abcd.e"
OTHERS = {"far": "wxyz.a"}
MC = "MultiCluster"
ALL = "MultiCluster/AllClusters"
OF_ALL = "data.clusters[].response.data[]"
OK = {"data.ok": True}


@dataclass(frozen=True)
class Vector:
    """One request of a client: `call` is its method and path, `reads` maps paths in the answer to a
    value, a pattern or a type."""

    client: str
    call: str
    body: Any = None
    reads: Mapping[str, Any] = field(default_factory=dict)
    switches: Mapping[str, str] = field(default_factory=dict)


def refused(name: str, descr: str = ".+") -> dict[str, Any]:
    """Return what a client reads in a refusal."""
    return {"error.name": name, "error.descr": re.compile(descr), "error.transient": False}


def each(prefix: str, **fields: Any) -> dict[str, Any]:
    """Return fields under one prefix."""
    return {f"{prefix}.{name}": expected for name, expected in fields.items()}


def settled(peer: Peer) -> dict[str, str]:
    """Make what the clients talk about; return ids."""
    ids = {"v": peer.create("v", template="nvme"), "free": peer.create("free", template="nvme")}
    ids["u"] = peer.create("", template="nvme", tags={"virt": "pve"})
    ids["s"] = peer.snapshot("v")
    body = {"tags": {"pve-snap": "one"}}
    ids["us"] = peer.post(f"VolumeSnapshot/~{ids['u']}", body)["snapshotGlobalId"]
    for name in ("there", "here"):
        backup = {"volume": f"~{ids['u']}", "location": "wxyz"}
        ids[name] = peer.post(f"{MC}/VolumeBackup", backup)["remoteId"]
    peer.post("SnapshotFromRemote", {"remoteLocation": "wxyz", "remoteId": ids["here"]})
    ids["o"] = peer.create("os--volume-o")
    peer.reassign({"volume": "v", "rw": [1]}, {"volume": "os--volume-o", "rw": [1]})
    peer.reassign({"snapshot": "s", "ro": [2]})
    peer.simulator.set_client(1, opened=[ids["o"]])
    return ids


def filled_in(value: Any, ids: Mapping[str, str]) -> Any:
    """Return this with the ids in it."""
    if isinstance(value, str):
        for name, global_id in ids.items():
            value = value.replace(f"{{{name}}}", global_id)
        return value
    if isinstance(value, list):
        return [filled_in(one, ids) for one in value]
    if isinstance(value, dict):
        return {key: filled_in(one, ids) for key, one in value.items()}
    return value


def found(value: Any, path: str) -> Iterator[Any]:
    """Yield what is at a path in an answer: `data[0].name`, `data[].name`, `data#` for how many.

    Raises LookupError or TypeError where there is nothing.
    """
    name, rest = re.fullmatch(r"\.?([^.\[#]*)(.*)", path).groups()  # type: ignore[union-attr]
    if not path:
        yield value
    elif name:
        yield from found(value[name], rest)
    elif path == "#":
        yield len(value)
    else:
        index, rest = re.fullmatch(r"\[(\d*)\](.*)", path).groups()  # type: ignore[union-attr]
        elements = [value[int(index)]] if index else list(value)
        if not elements:
            raise LookupError("no element")
        for element in elements:
            yield from found(element, rest)


def fits(value: Any, expected: Any) -> bool:
    """Return whether a value is this one, of this type, or fits this pattern."""
    if isinstance(expected, type):
        return type(value) is expected
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and expected.fullmatch(value) is not None
    return type(value) is type(expected) and value == expected
