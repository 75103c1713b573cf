"""Three clusters in one process: "one" (loc.a), "two" (loc.b) and, elsewhere, "far" (rem.c)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator_fixtures import Peer, RefusedError, opened_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDS = {"one": "loc.a", "two": "loc.b", "far": "rem.c"}


@dataclass(frozen=True)
class Trio:
    """A caller of each cluster; hosts are 1, 2 and 7 of the first, 1 and 3 of the second."""

    one: Peer
    two: Peer
    far: Peer

    def cut(self, name: str = "two") -> None:
        """Cut the first cluster's bridge to another."""
        self.one.control("POST", f"bridges/{name}", {"status": "down"})

    def heal(self, name: str = "two") -> None:
        """Have it up again."""
        self.one.control("POST", f"bridges/{name}", {"status": "up"})

    def switch(self, **values: str) -> None:
        """Set switches of all clusters."""
        for peer in (self.one, self.two, self.far):
            peer.switch(**values)


@contextlib.contextmanager
def opened_trio(folder: Path, **options: Any) -> Iterator[Trio]:
    """Three clusters that know each other; each has the templates of `opened_peer`."""
    hosts = {"two": {number: folder / "two" / f"host{number}" for number in (1, 3)}}
    given: dict[str, Any] = {
        "cluster_id": IDS["one"],
        "cluster_name": "one",
        "clusters": {name: IDS[name] for name in ("two", "far")},
        "cluster_hosts": hosts,
        **options,
    }
    with opened_peer(folder, **given) as one:
        others = {
            name: Peer(simulator, folder / name) for name, simulator in one.simulator.others.items()
        }
        yield Trio(one, **others)


def outcome(call: Callable[[], Any]) -> str:
    """ok, or the name of the error."""
    try:
        call()
    except RefusedError as error:
        return str(error.name)
    return "ok"
