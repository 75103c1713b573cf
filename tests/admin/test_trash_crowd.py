"""`storpool-ovirt trash list` and `audit` with very many deletions, and as many copies in other
locations: what they take of memory, for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ovirt_demo import children
from rigs import canned_lists, shared_stage
from rigs.admin_site import AdminSite

DELETIONS = 10_000
# 100,000 of them took 420 MB, beside 40 that the command takes without any.
PEAK_MB = 100
# An audit took 69; 81 with all rows as the server sends them, twice.
AUDIT_PEAK_MB = 76
ENDS_AT = 1895973124
# The lists of a cluster that has nothing but its trash.
EMPTY = (
    "VolumesList",
    "VolumesSpace",
    "VolumeTemplatesStatus",
    "AttachmentsList",
    "ClientsConfigDump",
)
# Prints the exit code and the peak of a command's memory, in KB.
PEAK = """
import resource, subprocess, sys
with open(sys.argv[1], "w") as out:
    code = subprocess.call(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=out)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
IDS = f"""
    SELECT number, lpad(to_hex(number), 7, '0') || '-0000-4000-8000-000000000000' AS id
    FROM generate_series(0, {DELETIONS - 1}) AS number
"""


def fill(site: AdminSite) -> None:
    """Write the rows."""
    shared_stage.sql(
        site.stage.database,
        "INSERT INTO storpool_ovirt.trash (entry, deletion, disk, node, kind, global_id,"
        " size_bytes, active, template, tags, created_at, ends_at, correlation_id) SELECT"
        " ('e' || id)::uuid, ('f' || id)::uuid, ('d' || id)::uuid, ('d' || id)::uuid, 'volume',"
        " 'sim.a.t' || number, 1 << 30, true, 'hybrid', jsonb_build_object('virt', 'ovirt',"
        f" 'ovirt-uuid', 'd' || id, 'qc', 'gold'), now(), to_timestamp({ENDS_AT}),"
        f" 'corr-' || number FROM ({IDS}) AS each",
    )
    shared_stage.sql(
        site.stage.database,
        "INSERT INTO storpool_ovirt.backup (copy, disk, node, name, volume, size_bytes, template,"
        " location, remote_id, reason, state, made_at, correlation_id) SELECT ('a' || id)::uuid,"
        " ('d' || id)::uuid, ('d' || id)::uuid, 'ovirt--d' || id, 'sim.a.t' || number, 1 << 30,"
        " 'hybrid', 'far', 'rem.a.' || number, 'asked', 'there', now(), 'corr-' || number"
        f" FROM ({IDS}) AS each",
    )


def snapshots(location: str) -> list[dict[str, object]]:
    """Return what StorPool has of it."""
    return [
        {
            "name": f"ovirt-trash--e{number:07x}-0000-4000-8000-000000000000",
            "globalId": f"sim.a.t{number}",
            "size": 1 << 30,
            "templateName": "hybrid",
            "tags": {
                "virt": "ovirt",
                "ovirt-uuid": f"d{number:07x}-0000-4000-8000-000000000000",
                "ovirt-loc": location,
                "ovirt-trash": f"{ENDS_AT}.a",
                "qc": "gold",
            },
            "parentName": "",
            "creationTimestamp": 1,
            "targetDeleteDate": ENDS_AT,
            "spaceUsed": 1000,
            "storedSize": 1000,
        }
        for number in range(DELETIONS)
    ]


def peak_kib(site: AdminSite, *arguments: str) -> tuple[int, str]:
    """Run a command on all of it; return the peak of its memory, and what it wrote."""
    fill(site)
    listed = snapshots(site.location())
    answers = {"SnapshotsList": listed, "SnapshotsSpace": listed, **{key: [] for key in EMPTY}}
    options, told = site.folder / "other.json", site.folder / "told"
    with canned_lists.cluster(answers) as port:
        options.write_text(json.dumps({**site.stage.engine.options, "sp_api_http_port": str(port)}))
        where = ["--database", site.stage.database.url, "--options", options]
        said = subprocess.run(
            [
                *(sys.executable, "-c", PEAK, told),
                *(children.find("storpool-ovirt"), *arguments, *where),
            ],
            check=True,
            capture_output=True,
            text=True,
            env={**site.stage.engine.environment, "STORPOOL_OVIRT_ROOT": str(site.folder)},
        )
    code, peak = map(int, said.stdout.split())
    assert (code, said.stderr) == (0, "")
    return peak, told.read_text()


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "json"])
def test_very_many_deletions_are_listed_in_little_memory(site: AdminSite, form: list[str]) -> None:
    """T73, T83: all of them are told, each with its copy, and no text of all of it is ever held."""
    peak, text = peak_kib(site, "trash", "list", *form)
    assert peak < PEAK_MB * 1024
    if form:
        found = json.loads(text)["deletions"]
        assert len(found) == DELETIONS
        assert all(len(each["copies"]) == 1 for each in found)
    else:
        assert text.count("copy ~rem.a.") == DELETIONS


def test_very_many_deletions_are_judged_in_little_memory(site: AdminSite) -> None:
    """T73, T83: an audit holds neither their rows twice nor the server's answer beside them."""
    peak, text = peak_kib(site, "audit")
    assert peak < AUDIT_PEAK_MB * 1024
    assert "OK: mapping, cluster and hosts agree" in text
