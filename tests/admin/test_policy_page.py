"""docs/policy.md: each row of its tables is what happens, with storpool_qos and VolumeCare beside
it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rigs import players, policy_yard
from rigs.disk_model import GIB
from rigs.disk_rig import TOKEN
from rigs.policy_yard import VM, put, sync, tag, tags
from rigs.yard import DISK, Yard
from storpool_simulator.players import notes, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
LIMITS = {"gold": players.HIGH_IOPS, "silver": players.IOPS}
# VolumeCare's policies in the place of classes; it has these two.
POLICY = {"gold": "hourly", "silver": "no", "none": "none", "?!": "?!", "": ""}


def table(head: str) -> list[tuple[str, ...]]:
    """Return the rows of the table whose first cell is this."""
    lines = PAGE.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        found.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
    return found


class Row(NamedTuple):
    """What each level says, what the disk has then, and by whose word."""

    on_disk: str
    on_vm: str
    of_disk: str
    of_all: str
    own: str
    has: str
    by: str


ROWS = [Row(*row) for row in table("on the disk")]


@pytest.fixture
def engine(yard: Yard, database_server: Database, tmp_path: Path) -> Iterator[EngineDatabase]:
    """Give Engine's database, and both services."""
    yard.simulator.switches.set({"linger": "0"})
    with policy_yard.engine_of(yard, database_server) as made:
        players.begin(yard.simulator, tmp_path, TOKEN)
        yield made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(each or "_" for each in row[:6]))
def test_the_levels(yard: Yard, engine: EngineDatabase, row: Row) -> None:
    """F49, F53: a disk has the class and the policy of the first level that says something."""
    yard.given(qos_classes=("gold", "silver"))
    yard.verb("create", DISK, GIB)
    if row.own:
        tag(yard, DISK, qc=row.own, vc_policy=POLICY[row.own])
    policy_yard.has_disk(engine, DISK)
    policy_yard.has_vm(engine, VM, "web01", DISK)
    properties = {
        key: value
        for key, value in (
            ("sp_qos", _property(row.of_all, row.of_disk)),
            # One for all: VolumeCare ignores a VM whose disks have several
            ("sp_vc_policy", POLICY[row.of_disk] or POLICY[row.of_all]),
        )
        if value
    }
    policy_yard.set_properties(engine, VM, **properties)
    sync(yard)
    for target, word in ((DISK, row.on_disk), (VM, row.on_vm)):
        if word:
            put(yard, target, qos=_word(word), vc=_word(POLICY[word]))
    assert sync(yard).groups == ()
    found = tags(yard, DISK)
    has = _word(row.has)
    assert (found.get("qc", ""), found.get("vc-policy", "")) == (has, _word(POLICY[row.has]))
    yard.simulator.advance(60)
    if has:
        (view,) = yard.ask(f"Volume/{yard.address(DISK)}")
        assert view["iops"] == LIMITS[has]
    taken = any(DISK in backup.map for backup in notes.read(way(yard)).backups)
    assert taken == (has == "gold")
    title = next(each for each in policy_yard.told(yard, DISK) if "QoS class:" in each)
    assert title == f"  QoS class: {row.has}, by {row.by}"
    assert {each.kind for each in policy_yard.findings(yard)} - {"kept by others"} == (
        {"VM property"} if "?!" in row else set()
    )


def _property(every: str, of_disk: str) -> str:
    return f"{every},{DISK}:{of_disk}" if of_disk else every


def _word(cell: str) -> str:
    return "" if cell == "none" else cell


def way(yard: Yard) -> wire.Api:
    """Return VolumeCare's way to the cluster."""
    return wire.Api(yard.simulator.host, yard.simulator.port, TOKEN, "a test")
