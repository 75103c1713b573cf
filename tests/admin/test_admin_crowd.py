"""`storpool-ovirt audit` and `attachments` on a large cluster: 20,000 volumes, all attached, within
seconds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from rigs import shared_stage
from rigs.admin_site import AdminSite
from rigs.canned_lists import cluster

VOLUMES = 20_000
HOSTS = 200
# On a machine with much to do; without that it is a fifth of it.
MANY_SECONDS = 30.0
SIZE = 1 << 30


def uuid_of(number: int) -> str:
    """Return the id of a disk."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def listed(location: str) -> dict[str, Any]:
    """Return what the cluster's lists have, by the name of the call."""
    volumes = [
        {
            "name": f"ovirt--{uuid_of(number)}",
            "globalId": f"sim.a.v{number}",
            "size": SIZE,
            "templateName": "hybrid",
            "tags": {"virt": "ovirt", "ovirt-uuid": uuid_of(number), "ovirt-loc": location},
            "parentName": "",
            "creationTimestamp": 1,
        }
        for number in range(VOLUMES)
    ]
    snapshots = [
        {
            "name": f"daily-{number}",
            "globalId": f"sim.a.s{number}",
            "size": SIZE,
            "templateName": "hybrid",
            "tags": volumes[number]["tags"],
            "createdFromGlobalId": f"sim.a.v{number}",
            "parentName": "",
            "creationTimestamp": 1,
        }
        for number in range(VOLUMES)
    ]
    attachments = [
        {
            "volume": f"ovirt--{uuid_of(number)}",
            "globalId": f"sim.a.v{number}",
            "client": 1 + number % HOSTS,
            "rights": "rw",
            "snapshot": False,
            "pos": 0,
            "volumeId": number,
        }
        for number in range(VOLUMES)
    ]
    clients = [
        {"id": 1 + number, "clientGeneration": 1, "generation": 1, "configStatus": "ok", "delay": 0}
        for number in range(HOSTS)
    ]
    return {
        "VolumesList": volumes,
        "SnapshotsList": snapshots,
        "AttachmentsList": attachments,
        "ClientsConfigDump": clients,
    }


def fill(site: AdminSite) -> None:
    """Write the rows of all disks, and for which hosts each was asked."""
    shared_stage.sql(
        site.stage.database,
        "INSERT INTO storpool_ovirt.node"
        " (uuid, kind, root, size_bytes, state, global_id, active, correlation_id)"
        f" SELECT id, 'volume', id, {SIZE}, 'live', 'sim.a.v' || number, id, 'test' FROM (SELECT"
        " number,"
        " (lpad(to_hex(number), 8, '0') || '-0000-4000-8000-000000000000')::uuid AS id"
        f" FROM generate_series(0, {VOLUMES - 1}) AS number) AS each",
    )
    hosts = json.dumps(
        [{"host": f"host{number}.example", "at": 1.0 + number} for number in range(8)]
    )
    shared_stage.sql(
        site.stage.database,
        f"INSERT INTO storpool_ovirt.asked (node, hosts) SELECT uuid, '{hosts}'::jsonb FROM"
        " storpool_ovirt.node",
    )
    (site.folder / "etc").mkdir()
    conf = "".join(f"[host{number}.example]\nSP_OURID={number + 1}\n" for number in range(HOSTS))
    (site.folder / "etc" / "storpool.conf").write_text(conf)


@pytest.mark.parametrize(
    "arguments", [["audit"], ["audit", "--json"], ["attachments"], ["attachments", "--json"]]
)
def test_a_large_cluster_is_looked_at_within_seconds(site: AdminSite, arguments: list[str]) -> None:
    """T73: nothing in it grows with the square of what there is."""
    fill(site)
    path = site.folder / "other.json"
    with cluster(listed(site.location())) as port:
        path.write_text(json.dumps({**site.stage.engine.options, "sp_api_http_port": str(port)}))
        started = time.monotonic()
        said = site.run(*arguments, "--options", str(path))
        seconds = time.monotonic() - started
    assert (said.returncode, said.stderr) == (0, "")
    assert seconds < MANY_SECONDS
    if arguments[-1] == "--json":
        document = json.loads(said.stdout)
        found = document["findings"] if arguments[0] == "audit" else document["attachments"]
        assert len(found) == VOLUMES
