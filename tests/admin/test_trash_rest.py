"""docs/trash.md: what was deleted comes back under an id that oVirt makes afterwards, by the
request that the page tells, through Engine's API and the installed programs."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs import admin_site, engine_database, rest_engine, shared_stage
from rigs.disk_model import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.admin_site import AdminSite

PAGE = Path(__file__).parents[2] / "docs" / "trash.md"


@pytest.fixture
def api(site: AdminSite, database: Database, tmp_path: Path) -> Iterator[rest_engine.RestEngine]:
    """Give Engine's API with a domain whose disks the adapter makes."""
    tables = engine_database.made(database)
    tables.add_domain("nvme", {})
    with rest_engine.running(tables, tmp_path / "rest") as running:
        engine = site.stage.engine
        running.creates = lambda disk, gib: engine.run("create_volume", disk, str(gib)).succeeded
        yield running


def body(disk: str, size_bytes: int = GIB) -> str:
    """Return the request of the page."""
    page = PAGE.read_text()
    found = textwrap.dedent(
        page[page.index("    <disk id=") : page.index("    </disk>")] + "    </disk>"
    )
    assert str(GIB) in found
    filled = found.replace("LATER", disk).replace("DOMAIN", "nvme").replace("NAME", "back")
    return filled.replace(str(GIB), str(size_bytes))


def restored(site: AdminSite, disk: str, into: str) -> list[str]:
    """Restore as an administrator types it; return the lines."""
    site.run("audit")  # writes the file of options
    where = ["--database", site.stage.database.url, "--options", str(site.folder / "options.json")]
    said = site.run("trash", "restore", disk, "--into", into, *where, told=False)
    return admin_site.told(said, 0)


@pytest.mark.parametrize("own", [True, False], ids=["its own id", "another id"])
def test_ovirt_makes_the_disk_afterwards(
    site: AdminSite, api: rest_engine.RestEngine, own: bool
) -> None:
    """T1, T83: the request finds the volume that is there; with another size it is refused, and
    repeated it is a success."""
    engine, simulator = site.stage.engine, site.stage.simulator
    disk = shared_stage.make_disk(engine)
    engine.run("delete_volume", disk).require()
    later = disk if own else shared_stage.new_id()
    lines = restored(site, disk, later)
    assert f"id {later} and {GIB} bytes" in lines[-1]
    (there,) = simulator.api(f"Volume/ovirt--{later}")
    token = rest_engine.log_in(api)
    code, _ = rest_engine.ask(api, "/api/disks", body(later, 2 * GIB), token)
    assert (code, api.disks) == (400, {})
    for _ in range(2):
        code, said = rest_engine.ask(api, "/api/disks", body(later), token)
        assert code == 201, said
    assert api.disks == {later: GIB}
    (now,) = simulator.api(f"Volume/ovirt--{later}")
    assert (now["globalId"], now["size"]) == (there["globalId"], GIB)
    assert "has it already" in restored(site, disk, later)[0]
    engine.run("get_connection_info", later).require()
    assert site.run("audit").returncode == 0
