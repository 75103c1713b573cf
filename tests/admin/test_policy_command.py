"""`storpool-ovirt policy`: what is typed, what is refused, what is rehearsed, and domains by their
names."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from rigs import admin_site, refusals, shared_stage
from rigs.admin_site import told
from rigs.helper_stage import wait_for_call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs.admin_site import AdminSite

CLASSES = {"sp_qos_classes": "gold,silver"}


@pytest.fixture
def classed(site: AdminSite) -> AdminSite:
    """Give an administrator whose domain has the classes gold and silver."""
    options = {**site.stage.engine.options, **CLASSES}
    (site.folder / "options.json").write_text(json.dumps(options))
    return site


@pytest.fixture
def on_engine(site: AdminSite) -> Iterator[AdminSite]:
    """Give an administrator on Engine's machine, which has a domain `fast`."""
    with admin_site.on_engine(site, {"fast": {**CLASSES, "sp_qos_class": "silver"}}):
        yield site


def run(site: AdminSite, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of the command, with options that say where database and API are."""
    options = site.folder / "options.json"
    if not options.exists():
        options.write_text(json.dumps(site.stage.engine.options))
    where = ("--database", site.stage.database.url, "--options", str(options))
    return site.run("policy", verb, *where, *arguments, told=False)


def qc(site: AdminSite, disk: str) -> str | None:
    """Return the class that StorPool has for a disk."""
    found: str | None = shared_stage.volumes(site.stage.simulator)[disk]["tags"].get("qc") or None
    return found


def test_set_explain_clear(classed: AdminSite, disk: str) -> None:
    """F50: typed as an administrator does; explain tells people and programs the same."""
    assert told(run(classed, "set", disk, "--qos", "gold"), 0) == [
        f"disk {disk}: qc gold, it had none"
    ]
    assert qc(classed, disk) == "gold"
    lines = told(run(classed, "explain", disk), 0)
    assert "  QoS class: gold, by an administrator, on the disk" in lines
    assert "    storpool_qos: sets the limits of gold within a minute" in lines
    found = json.loads(run(classed, "explain", disk, "--json").stdout)
    assert found["target"] == {"kind": "disk", "id": disk, "name": None}
    assert (found["disks"][0]["qos"]["value"], found["disks"][0]["qos"]["level"]) == (
        "gold",
        "admin_disk",
    )
    assert told(run(classed, "clear", disk), 0)[0].startswith(f"disk {disk}: qc none")
    assert qc(classed, disk) is None


def test_a_dry_run_changes_nothing(classed: AdminSite, disk: str) -> None:
    """T72: the very call, and the write to the mapping, are told; then it is done."""
    before = shared_stage.state(classed.stage.simulator)
    said = told(run(classed, "set", disk, "--qos", "gold", "--dry-run"), 0)
    assert any("would send: POST VolumeUpdate/" in line and "gold" in line for line in said)
    assert "  would write to the mapping database" in said
    assert said[-1] == "this was --dry-run: nothing was changed"
    assert shared_stage.state(classed.stage.simulator) == before
    assert "says nothing" in told(run(classed, "explain", disk), 0)[2]
    told(run(classed, "set", disk, "--qos", "gold"), 0)
    shared_stage.post(
        classed.stage.simulator, f"VolumeUpdate/ovirt--{disk}", {"tags": {"qc": "silver"}}
    )
    said = told(run(classed, "sync", "--dry-run"), 0)
    assert said[0].startswith(f"disk {disk}: qc gold in place of silver")
    assert qc(classed, disk) == "silver"
    told(run(classed, "sync"), 0)
    assert qc(classed, disk) == "gold"


@pytest.mark.parametrize("kind", ["told to end", "limit"])
def test_a_sync_that_shall_end_tries_no_other_disk(
    classed: AdminSite, disk: str, kind: str
) -> None:
    """T24, T73: one sentence; StorPool holds the first of two disks up, and a sync after that does
    both."""
    from ovirt_demo import children

    simulator, stage = classed.stage.simulator, classed.stage
    disks = [disk, shared_stage.make_disk(stage.engine)]
    for each in disks:
        told(run(classed, "set", each, "--qos", "gold"), 0)
        tags = {**shared_stage.volumes(simulator)[each]["tags"], "qc": "silver"}
        shared_stage.post(simulator, f"VolumeUpdate/ovirt--{each}", {"tags": tags})
    simulator.clear_calls()
    simulator.inject("delay", query="VolumeUpdate", seconds=60)
    where = ("--database", stage.database.url, "--options", classed.folder / "options.json")
    limit = ("--limit", "4" if kind == "limit" else "100")
    with subprocess.Popen(
        [children.find("storpool-ovirt"), "policy", "sync", *where, *limit],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**stage.engine.environment, "STORPOOL_OVIRT_ROOT": str(classed.folder)},
    ) as process:
        try:
            wait_for_call(stage, "VolumeUpdate")
            if kind != "limit":
                process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
            simulator.clear_faults()
    assert (process.returncode, err.count("\n")) == (1 if kind == "limit" else 130, 1), (out, err)
    assert {*disks} - {line.split()[1].rstrip(":") for line in out.splitlines()}, out
    told(run(classed, "sync"), 0)
    assert {qc(classed, each) for each in disks} == {"gold"}


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("set",), 2, "Missing argument"),
        (("set", "DISK"), 2, "Give --qos, --vc-policy, or both"),
        (("set", "DISK", "--qos", "glod"), 1, "is none of gold, silver (do you mean gold?)"),
        (("set", "DISK", "--qos", "two words"), 1, "is no name of one"),
        (("set", "DISK", "--vc-policy", ""), 2, "it is empty"),
        (("set", "", "--qos", "gold"), 2, "it is empty"),
        (("set", "f0000000-0000-4000-8000-0000000000ff", "--qos", "gold"), 2, "there is no disk"),
        (("set", "web01", "--qos", "gold"), 2, "give the id of the disk or of the VM"),
        (("explain", "f0000000-0000-4000-8000-0000000000ff"), 2, "there is no disk or VM"),
        (("default", "--clear", "--qos", "gold"), 2, "not both"),
        (("sync", "--timer"), 2, "go alone"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    classed: AdminSite, disk: str, arguments: tuple[str, ...], code: int, why: str
) -> None:
    """T24: it says what to do, and nothing is changed."""
    before = shared_stage.state(classed.stage.simulator)
    typed = [disk if each == "DISK" else each for each in arguments]
    assert why in refusals.of_command(run(classed, *typed), code)
    assert shared_stage.state(classed.stage.simulator) == before


def test_a_default_is_over_the_options(on_engine: AdminSite) -> None:
    """F50: by the domain's name in Engine; the list tells it, and it is taken back."""
    site = on_engine
    where = ("--database", site.stage.database.url)
    key = f"{site.stage.simulator.address}:{site.stage.simulator.port}"
    said = told(site.run("policy", "default", *where, "fast", told=False), 0)
    assert said[1] == "  qc silver: sp_qos_class says silver"
    assert site.run("policy", "default", *where, "fats", told=False).returncode == 1
    said = told(site.run("policy", "default", *where, "fast", "--qos", "gold", told=False), 0)
    assert said[0].startswith("new disks of fast, and of each other domain on ")
    assert said[1] == "  qc gold: set by policy default, sp_qos_class says silver"
    [line] = told(site.run("policy", "default", *where, told=False), 0)
    assert line.startswith("new disks of fast (")
    assert key in line or site.stage.engine.options.get("sp_cluster_id", "") in line
    assert "qc gold" in line
    stats = site.stage.engine.run("storage_stats", "true").map()
    assert stats["policy_default"] == "qc gold"
    told(site.run("policy", "default", *where, "fast", "--clear", told=False), 0)
    [line] = told(site.run("policy", "default", *where, told=False), 0)
    assert line == "no domain has another default than its options say"
    assert "policy_default" not in site.stage.engine.run("storage_stats", "true").map()


def test_the_domain_of_a_disk_is_engines(on_engine: AdminSite, disk: str) -> None:
    """F50: what storpool.conf does not tell, classes and the default, is that of the domain with
    the disk's template: for a class that there is not, for explain and for the audit."""

    def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        where = ("--database", on_engine.stage.database.url)
        return on_engine.run(*arguments, *where, told=False)

    refused = refusals.of_command(said("policy", "set", disk, "--qos", "glod"), 1)
    assert "is none of gold, silver (do you mean gold?)" in refused
    assert not qc(on_engine, disk)
    told(said("policy", "default", "fast", "--vc-policy", "daily"), 0)
    lines = told(said("policy", "explain", disk), 0)
    defaults = [line.strip() for line in lines if "for new disks" in line]
    assert all(line.startswith("the default of fast (") for line in defaults)
    assert [line.rpartition(": ")[2] for line in defaults] == ["silver", "daily"]
    shared_stage.post(
        on_engine.stage.simulator, f"VolumeUpdate/ovirt--{disk}", {"tags": {"qc": "glod"}}
    )
    audited = said("audit").stdout
    assert "unknown class: volume" in audited
    assert "policy default: fast (" in audited
    told(said("policy", "default", "fast", "--clear"), 0)


def test_what_was_set_leaves_nothing_behind(classed: AdminSite, disk: str) -> None:
    """F50: neither the answer to its clear nor explain take it for the disk's own."""
    told(run(classed, "set", disk, "--qos", "gold"), 0)
    assert "       its own, of its making: says nothing" in told(run(classed, "explain", disk), 0)
    [line, _] = told(run(classed, "clear", disk), 0)
    assert line == f"disk {disk}: qc none, it had gold (by nobody)"


def test_classes_that_nobody_tells_are_not_taken_for_known(site: AdminSite, disk: str) -> None:
    """Explain does not say that storpool_qos sets limits, where a typo is as likely."""
    told(run(site, "set", disk, "--qos", "glod"), 0)
    lines = told(run(site, "explain", disk), 0)
    assert any("glod within a minute, if it has such a class" in line for line in lines)


def test_a_default_beside_raw_limits_is_refused(site: AdminSite) -> None:
    """storpool_qos would overwrite the domain's own limits each minute."""
    options = {**site.stage.engine.options, "sp_iops": "500"}
    (site.folder / "options.json").write_text(json.dumps(options))
    done = run(site, "default", "--qos", "gold")
    assert "sp_iops and sp_bw limit its disks" in refusals.of_command(done, 1)
