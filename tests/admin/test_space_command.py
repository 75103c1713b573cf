"""`storpool-ovirt space`: what is typed, what is refused, Engine's names, several clusters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import engine_database, refusals, several_yard, shared_stage
from rigs.admin_site import AdminSite, told
from rigs.disk_model import GIB
from rigs.several_yard import ONE, TWO, SeveralYard
from storpool_ovirt import errors
from storpool_ovirt.admin import space, space_parts, space_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.stage_fixtures import Stage

DISK, OTHER = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "de")
PAGE = Path(__file__).parents[2] / "docs" / "space.md"
VM = "aaaaaaaa-0000-4000-8000-000000000000"
# Engine's tables, as far as they are read here (ovirt-engine, create_tables.sql).
TABLES = """
CREATE TABLE base_disks (disk_id uuid PRIMARY KEY, disk_alias varchar(255));
CREATE TABLE images (image_guid uuid PRIMARY KEY, vm_snapshot_id uuid, active boolean NOT NULL);
CREATE TABLE snapshots (snapshot_id uuid PRIMARY KEY, description varchar(4000));
CREATE TABLE vm_static (
    vm_guid uuid PRIMARY KEY, vm_name varchar(255) NOT NULL, entity_type varchar(32) DEFAULT 'VM'
);
CREATE TABLE vm_device (device_id uuid, vm_id uuid, PRIMARY KEY (device_id, vm_id));
"""


def document(site: AdminSite, *arguments: str) -> dict[str, Any]:
    """Return the document that programs get."""
    found: dict[str, Any] = json.loads("\n".join(told(site.run("space", "--json", *arguments), 0)))
    return found


@pytest.fixture
def named(site: AdminSite, disk: str, shared: Stage) -> Iterator[str]:
    """Give Engine's database, which has names for the disk, its VM and its snapshot; return the
    snapshot."""
    snapshot = site.stage.engine.run("create_snapshot", disk).guid()
    database = shared.database.fresh(f"names_{shared_stage.new_id()[:8]}")
    engine = engine_database.EngineDatabase(database, "4.5.7")
    engine.execute(TABLES)
    engine.execute("INSERT INTO base_disks VALUES (%s, 'web01_data')", disk)
    engine.execute("INSERT INTO snapshots VALUES (%s, 'before the update')", VM)
    engine.execute("INSERT INTO images VALUES (%s, %s, false)", snapshot, VM)
    engine.execute("INSERT INTO vm_static VALUES (%s, 'web01')", VM)
    engine.execute("INSERT INTO vm_device VALUES (%s, %s)", disk, VM)
    engine.write_conf(site.folder)
    yield snapshot
    database.drop()


def test_it_tells_everything(site: AdminSite, disk: str) -> None:
    """F68: to people, and to programs; the exit code is 0."""
    said = told(site.run("space"), 0)
    assert said[0].endswith(f", location {site.location()}")
    assert "all 1 disks, by what they store with their snapshots" in said
    assert said[-1] == space_text.MEANING
    [found] = document(site)["largest"]
    assert (found["disk"], found["name"], found["size_bytes"]) == (disk, None, GIB)
    assert found["volumes"]["objects"] == 1


def test_names_are_engines(site: AdminSite, disk: str, named: str) -> None:
    """F68: of the disk, of the VM's snapshot, and of the VM, whose disks Engine tells."""
    assert document(site)["largest"][0]["name"] == "web01_data"
    nodes = document(site, "--disk", named.upper())["disk"]["nodes"]
    assert [(each["uuid"], each["name"]) for each in nodes] == [
        (disk, "web01_data"),
        (named, "before the update"),
    ]
    found = document(site, "--vm", "web01")
    assert found["vm"] == {"vm": VM, "name": "web01", "told_by": "engine"}
    assert [each["disk"] for each in found["disks"]] == [disk]
    assert any(line.startswith(f"VM {VM} web01: 1 disk") for line in site_lines(site, "--vm", VM))


def site_lines(site: AdminSite, *arguments: str) -> list[str]:
    """Return what people read."""
    return told(site.run("space", *arguments), 0)


@pytest.mark.usefixtures("disk")
def test_an_empty_trash_and_others(site: AdminSite) -> None:
    """F68: nothing is said as such."""
    assert "the trash is empty" in site_lines(site, "--trash")
    assert document(site, "--trash")["entries"] == []
    assert "there is nothing of others" in site_lines(site, "--others")
    assert document(site, "--others")["owners"] == []


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("--disk", DISK, "--vm", VM), 1, "are given together: give one of them"),
        (("--trash", "--others"), 1, "are given together: give one of them"),
        (("--disk", "web01"), 2, "give the id of the disk, or run this on Engine's machine"),
        (("--vm", "web01"), 2, "give the id of the VM, or run this on Engine's machine"),
        (("--disk", OTHER), 2, f"there is no disk {OTHER} of oVirt's"),
        (("--vm", VM), 2, f"there is no disk of VM {VM} in the StorPool cluster"),
        (("--most", "-1"), 2, "--most"),
        (("--most", "many"), 2, "--most"),
        (("--disk", ""), 2, "it is empty"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    site: AdminSite, arguments: tuple[str, ...], code: int, why: str
) -> None:
    """T24: it says what to do, for programs too."""
    assert why in refusals.of_command(site.run("space", *arguments), code)
    assert "error" in json.loads(site.run("space", "--json", *arguments).stdout)


# Several clusters


@pytest.fixture(params=["error", "omit"])
def yard(
    module_database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[SeveralYard]:
    """An Engine with a disk in each of two clusters; StorPool may tell that one is away, or leave
    it out."""
    with several_yard.opened(module_database, tmp_path, mc_unreachable=request.param) as made:
        made.verb("create", DISK, GIB)
        made.verb("create", OTHER, GIB, pinned=TWO)
        yield made


def look(yard: SeveralYard) -> space_parts.All:
    """Look at everything."""
    with yard.work("space") as work:
        return space_parts.of_all(work, space.look(work), 0)


def test_disks_of_both_clusters_count(yard: SeveralYard) -> None:
    """T57, F68: each once, also while one moves; what is free is told as one cluster's."""
    found = look(yard)
    assert {each.disk for each in found.largest} == {DISK, OTHER}
    assert (found.seen.unseen, found.seen.elsewhere) == (0, 0)
    assert "what is free is told of one cluster, and what is stored of all" in list(
        space_text.lines(found)
    )
    yard.attach(OTHER, TWO, 4)
    global_id = yard.target(OTHER).global_id
    device = yard.pair.two.folder / "host4" / "dev" / "storpool-byid" / global_id
    with device.open("r+b") as opened:
        opened.write(b"x" * (1 << 20))
    yard.pair.one.simulator.set_bridge("two", seconds_per_gib=100000)
    yard.move(OTHER, ONE)
    moving = look(yard)
    assert {each.disk for each in moving.largest} == {DISK, OTHER}
    totals = moving.document()["totals"]
    assert (totals["disk"]["objects"], totals["moving"]["objects"]) == (2, 1)


def test_a_silent_cluster_is_told_and_never_nothing(yard: SeveralYard) -> None:
    """T57, F68: there is no account without it."""
    yard.pair.cut()
    with pytest.raises((errors.ApiUnavailable, errors.DeadlineExceeded)):
        look(yard)


def test_a_domain_of_one_cluster_says_what_it_does_not_count(yard: SeveralYard) -> None:
    """F68: the other cluster's disk is counted as elsewhere, and nothing is lost."""
    yard.multicluster = False
    found = look(yard)
    assert {each.disk for each in found.largest} == {DISK}
    assert (found.seen.unseen, found.seen.elsewhere) == (0, 1)
    assert any("lives in another cluster" in line for line in space_text.lines(found))


def keys(found: Any) -> Iterator[str]:
    """Yield all keys of a document."""
    for each in found if isinstance(found, list) else found.values():
        if isinstance(each, (dict, list)):
            yield from keys(each)
    if isinstance(found, dict):
        yield from found


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("arguments", [(), ("--trash",), ("--others",), ("--disk",)])
def test_its_page_tells_of_each_fact(site: AdminSite, disk: str, arguments: tuple[str]) -> None:
    """A program's author finds each key of the document there."""
    there = (*arguments, disk) if arguments == ("--disk",) else arguments
    page = PAGE.read_text()
    assert [each for each in keys(document(site, *there)) if f"`{each}`" not in page] == []
