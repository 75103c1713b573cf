"""What commands do to which nobody gave a domain's options, on Engine's machine: storpool.conf has
where the API is, and Engine's database what its domains say."""

from __future__ import annotations

import json
import time
from calendar import timegm
from typing import TYPE_CHECKING, Any

from rigs import admin_site, refusals, shared_stage

if TYPE_CHECKING:
    import subprocess

    from rigs.admin_site import AdminSite

VM = "a0000000-0000-4000-8000-0000000000aa"
DAY = 86400  # seconds
OWN = {"sp_delete_delay": "7d", "sp_vm_tag": "machine", "sp_iops": "500"}


def run(site: AdminSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without --options."""
    return site.run(*arguments, "--database", site.stage.database.url, told=False)


def view(site: AdminSite, disk: str) -> dict[str, Any]:
    """Return what StorPool has of a disk."""
    (found,) = site.stage.simulator.api(f"Volume/ovirt--{disk}")
    return dict(found)


def tag(site: AdminSite, disk: str, **tags: str) -> None:
    """Write tags of a disk by hand, beside those that it has."""
    both = {**view(site, disk)["tags"], **tags}
    shared_stage.post(site.stage.simulator, f"VolumeUpdate/ovirt--{disk}", {"tags": both})


def kept_days(lines: list[str]) -> int:
    """Return for how many days the trash keeps what a disk had."""
    (told,) = (line for line in lines if "what it had is in the trash until" in line)
    stamp = told.partition(" until ")[2].partition(": ")[0]
    return round((timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")) - time.time()) / DAY)


def test_what_is_restored_is_as_the_verbs_have_it(site: AdminSite, disk: str) -> None:
    """F50, T83: it has the limits of its domain, and not the tag by which the domain names a VM;
    what is written over is kept for as long as the domain keeps what is deleted."""
    engine = site.stage.engine
    tag(site, disk, machine=VM)
    engine.run("delete_volume", disk).require()
    fresh, used = (shared_stage.make_disk(engine) for _ in range(2))
    with admin_site.on_engine(site, {"fast": OWN}) as tables:
        admin_site.told(run(site, "trash", "restore", disk, "--into", fresh), 0)
        there = view(site, fresh)
        assert (there["iops"], there["tags"].get("machine")) == (500, None)
        over = ("trash", "restore", disk, "--into", used, "--over-data")
        assert kept_days(admin_site.told(run(site, *over), 0)) == 7
        tables.write_conf(site.folder, PASSWORD="wrong-words-1")
        said = run(site, *over)
        assert kept_days(said.stdout.splitlines()) == 2
        assert "the storage domain's own options cannot be read" in said.stderr
        assert "wrong-words-1" not in said.stderr


def test_each_disk_has_its_own_domain(site: AdminSite, disk: str) -> None:
    """F50: of two domains with one template Engine's database tells which has it, its classes and
    its delay; where that is not told, what any of them has is taken, and the longest delay."""
    engine = site.stage.engine
    engine.run("delete_volume", disk).require()
    golden, iron = (shared_stage.make_disk(engine) for _ in range(2))
    tag(site, golden, qc="iron")
    domains = {
        "fast": {"sp_qos_classes": "gold", "sp_delete_delay": "7d"},
        "slow": {"sp_qos_classes": "iron", "sp_delete_delay": "1d"},
    }
    over = ("trash", "restore", disk, "--over-data", "--into", iron)
    with admin_site.on_engine(site, domains) as tables:
        tables.place("fast", golden)
        tables.place("slow", iron)
        refused = refusals.of_command(run(site, "policy", "set", golden, "--qos", "iron"), 1)
        assert "iron is none of gold" in refused
        admin_site.told(run(site, "policy", "set", iron, "--qos", "iron"), 0)
        found = json.loads(run(site, "audit", "--json").stdout)["findings"]
        assert [each["disk"] for each in found if each["kind"] == "unknown class"] == [golden]
        assert kept_days(admin_site.told(run(site, *over), 0)) == 1
        tables.execute("DROP TABLE images")
        admin_site.told(run(site, "policy", "set", golden, "--qos", "iron"), 0)
        assert kept_days(admin_site.told(run(site, *over), 0)) == 7


def test_another_domains_delay_is_not_a_disks(site: AdminSite, disk: str) -> None:
    """T83: where the options of a disk's own domain are wrong nobody knows its delay, and where an
    administrator gives a file, that counts: it is never kept for less by another domain's word."""
    engine = site.stage.engine
    engine.run("delete_volume", disk).require()
    used = shared_stage.make_disk(engine)
    domains: dict[str, dict[str, object]] = {
        "wrong": {"sp_delete_delay": "soon"},
        "slow": {"sp_delete_delay": "1d"},
    }
    given = site.folder / "given.json"
    given.write_text(json.dumps({**engine.options, "sp_delete_delay": "9d"}))
    over = ("trash", "restore", disk, "--over-data", "--into", used)
    with admin_site.on_engine(site, domains) as tables:
        tables.place("wrong", used)
        assert kept_days(admin_site.told(run(site, *over), 0)) == 2
        tables.execute("DROP TABLE image_storage_domain_map")
        assert kept_days(admin_site.told(run(site, *over, "--options", str(given)), 0)) == 9
