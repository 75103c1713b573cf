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
from rigs.rebuilding import lose
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_simulator.players import notes, reverts, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
LIMITS = {"gold": players.HIGH_IOPS, "silver": players.IOPS}
# VolumeCare's policies in the place of classes; it has these two.
POLICY = {"gold": "hourly", "silver": "no", "none": "none", "?!": "?!", "": ""}
NEW = "90000000-0000-4000-8000-000000000000"


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
EVENTS = table("what happens")


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
            ("sp_vc_policy", _property(POLICY[row.of_all], POLICY[row.of_disk])),
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


# What becomes of it: each returns the id whose volume is looked at then


def _snapshot(yard: Yard) -> str:
    yard.verb("snapshot", DISK)
    yard.verb("extend", DISK, 2 * GIB)
    return DISK


def _clone(yard: Yard) -> str:
    yard.verb("clone", DISK, CLONE)
    return CLONE


def _preview(yard: Yard) -> str:
    preview: str = yard.verb("preview", yard.verb("snapshot", DISK))
    assert tags(yard, DISK) == {"qc": "gold"}
    return preview


def _undo(yard: Yard) -> str:
    yard.verb("delete", _preview(yard))
    return DISK


def _commit(yard: Yard) -> str:
    snapshot = yard.verb("snapshot", DISK)
    later = yard.verb("snapshot", DISK)
    preview: str = yard.verb("preview", snapshot)
    yard.verb("remove", later)
    return preview


def _revert(yard: Yard) -> str:
    yard.simulator.advance(players.HOUR)
    [backup, *_] = notes.read(way(yard)).backups
    reverts.revert(way(yard), f"cvm={VM}", backup.create_ts)
    yard.verb("extend", DISK, 2 * GIB)
    return DISK


def _restored(yard: Yard) -> str:
    yard.given(delete_delay_seconds=3600)
    yard.verb("delete", DISK)
    yard.verb("create", NEW, GIB)
    with yard.administrator("trash-restore") as work:
        from storpool_ovirt.admin import trash_restore

        trash_restore.restore(work, DISK, NEW)
    return NEW


def _rebuilt(yard: Yard) -> str:
    yard.rebuild(lose(yard))
    return DISK


def _another_default(yard: Yard) -> str:
    yard.given(qos_class="silver", vc_policy="no")
    yard.verb("create", OTHER, GIB)
    assert tags(yard, OTHER) == {"qc": "silver", "vc-policy": "no"}
    return DISK


PLAYED: dict[str, Callable[[Yard], str]] = {
    "a snapshot, an extend": _snapshot,
    "a clone": _clone,
    "a preview": _preview,
    "its undo": _undo,
    "its commit": _commit,
    "a revert by VolumeCare": _revert,
    "a delete, then `trash restore`": _restored,
    "a lost mapping, then `rebuild`": _rebuilt,
    "another default of the domain": _another_default,
}


def test_each_event_is_played() -> None:
    """No row without a test, no test without a row."""
    assert [row[0] for row in EVENTS] == [*PLAYED]


@pytest.mark.parametrize("event", EVENTS, ids=lambda row: row[0])
@pytest.mark.usefixtures("engine")
def test_what_becomes_of_it(yard: Yard, event: tuple[str, ...]) -> None:
    """T79: the class, the policy and the VM of a disk, through each event."""
    what, qos, policy, vm = event
    yard.given(qos_class="gold", vc_policy="hourly")
    yard.verb("create", DISK, GIB)
    yard.verb("connection", DISK)
    tag(yard, DISK, cvm=VM)
    found = tags(yard, PLAYED[what](yard))
    is_kept = [each != "none" for each in (qos, policy, vm)]
    wanted = {"qc": "gold", "vc-policy": "hourly", "cvm": VM}
    assert found == {key: value for (key, value), kept in zip(wanted.items(), is_kept) if kept}
