"""backup_findings.py: the audit tells of a domain whose disks are to be copied, before a delete, to
a location that there is not: WebAdmin and REST add it, and then none of its disks can be deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import backup_yard, disk_rig, engine_database, far_cluster
from rigs.backup_yard import BackupYard
from rigs.yard import DISK
from storpool_ovirt import errors
from storpool_ovirt.admin import backup_findings
from storpool_ovirt.admin.findings import COPY, WARNING, Finding
from storpool_ovirt.option_values import CopyTo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovirt_demo.database import Database

FAR = far_cluster.LOCATION


@pytest.fixture
def yard(module_database: Database, tmp_path: Path) -> Iterator[BackupYard]:
    """A yard with a far side."""
    with backup_yard.opened(module_database, tmp_path) as opened:
        yield opened


def looked(yard: BackupYard, *, here: bool = True) -> list[Finding]:
    """Look as the audit does."""
    hidden: list[str] = []
    with yard.administrator("audit", pinned=yard.simulator.cluster_id) as work:
        found = backup_findings.of_locations(work, lambda each: hidden.append(str(each)), here)
    assert all((each.kind, each.severity) == (COPY, WARNING) for each in found)
    assert not any(secret in str(found) for secret in hidden)
    return found


def test_the_domain_that_is_meant(yard: BackupYard) -> None:
    """F62: told with the locations that there are; no call is made where nothing is to be
    copied."""
    yard.queries()
    assert looked(yard) == []
    assert not any("Locations" in each for each in yard.queries())
    yard.given(backup_on_delete=CopyTo(FAR))
    assert looked(yard) == []
    yard.given(backup_on_delete=CopyTo("fra"))
    (found,) = looked(yard)
    assert f"it knows {FAR}" in found.cause
    assert "no disk of it can be deleted" in found.cause
    yard.verb("create", DISK, backup_yard.SIZE_BYTES)
    with pytest.raises(errors.Conflict, match="fra"):
        yard.verb("delete", DISK)


def test_all_that_engine_has_on_this_cluster(yard: BackupYard, database: Database) -> None:
    """F62: those that WebAdmin or REST made, each by its name; of another cluster, or with options
    that are wrong, doctor tells."""
    options = {
        "adapter": "storpool",
        "sp_api_http_host": yard.simulator.host,
        "sp_api_http_port": str(yard.simulator.port),
        "sp_cluster_id": yard.simulator.cluster_id,
        "sp_auth_token": disk_rig.TOKEN,
    }
    engine = engine_database.made(database)
    engine.write_conf(yard.folder)
    engine.add_domain("good", {**options, "sp_backup_on_delete": FAR})
    engine.add_domain("none", options)
    engine.add_domain("lost", {**options, "sp_backup_on_delete": "fra:tag a=b"})
    engine.add_domain("far away", {**options, "sp_cluster_id": "x.b", "sp_backup_on_delete": "fra"})
    engine.add_domain("wrong", {**options, "sp_nonsense": "1", "sp_backup_on_delete": "fra"})
    assert [each.what for each in looked(yard)] == ["storage domain lost"]
    assert looked(yard, here=False) == []
    engine.execute("DROP TABLE storage_domain_static CASCADE")
    assert looked(yard) == []
    log = (yard.folder / "verbs.log").read_text()
    assert "domains_not_read" in log
    assert disk_rig.TOKEN not in log
