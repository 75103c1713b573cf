"""`storpool-ovirt attachments` without one of the parts, and on a host."""

from __future__ import annotations

import json
import platform
from typing import Any

import pytest
from attachments_ground import document, global_id, listed, on

from rigs import refusals, shared_stage
from rigs.admin_site import AdminSite, told
from rigs.device_users import VM, VM_UUID, everything_is_seen, using
from storpool_ovirt.admin import command
from storpool_ovirt.limits import LIMITS

pytestmark = pytest.mark.usefixtures("named_hosts")


def purposes(found: dict[str, Any]) -> list[tuple[int, str, bool | None]]:
    """Return for each attachment who has it, what for, and whether it is open."""
    return [(each["client_id"], each["purpose"], each["open"]) for each in found["attachments"]]


# Without one of the parts


def test_without_a_database_the_tags_tell_the_ids(site: AdminSite, disk: str) -> None:
    """T66: one line says what is missing and why; all else is there."""
    for client_id in (1, 2):
        shared_stage.attach(site.stage, client_id, disk)
    options = ("--options", str(site.folder / "options.json"))
    listed(site)  # which writes the file of options
    head, count, problem, _, _, title, *facts = told(
        site.run("attachments", *options, told=False), 0
    )
    assert head == f"StorPool API {site.stage.simulator.address}:{site.stage.simulator.port}"
    assert count == "2 attachments of 1 disk on 2 hosts"
    assert problem.startswith(
        "ids are from the tags and times are missing: the mapping database is not told in"
    )
    assert title == f"disk {disk} (~{global_id(site, disk)}): ATTACHED BY 2 HOSTS"
    assert [line.strip() for line in facts[1::2]] == [
        "a migration, a shareable disk, or a start after a host was lost"
    ] * 2
    assert all(line.endswith("since unknown") for line in facts[::2])


def test_a_database_that_does_not_answer_costs_only_what_it_has(site: AdminSite, disk: str) -> None:
    """T24: a wrong address, and tables of an older version, are the reason that is told."""
    shared_stage.attach(site.stage, 1, disk)
    wrong = site.stage.database.url.replace(f":{site.stage.database.login.port}/", ":1/")
    found = document(site, "--database", wrong)
    assert "is not usable" in found["database_problem"]
    assert purposes(found) == [(1, "unknown", None)]
    shared_stage.sql(site.stage.database, "UPDATE storpool_ovirt.meta SET version = version - 1")
    found = document(site)
    shared_stage.sql(site.stage.database, "UPDATE storpool_ovirt.meta SET version = version + 1")
    assert "which the next verb brings up to date" in found["database_problem"]
    assert [each["disk"] for each in found["attachments"]] == [disk]


def test_a_wrong_token_is_one_sentence(site: AdminSite) -> None:
    """T24: exit code 1, and StorPool's words."""
    options = site.folder / "wrong.json"
    options.write_text(json.dumps({**site.stage.engine.options, "sp_auth_token": "0000000000"}))
    said = site.run("attachments", "--options", str(options))
    assert "StorPool refused" in refusals.of_command(said, 1)


def test_an_api_that_is_away_is_one_sentence(
    site: AdminSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """T24, T73: exit code 1 when it was tried for long enough."""
    limits = LIMITS._replace(retry_seconds=0.0)
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(site.folder))
    options = site.folder / "away.json"
    options.write_text(json.dumps({**site.stage.engine.options, "sp_api_http_port": "1"}))
    assert command.main(["storpool-ovirt", "attachments", "--options", str(options)], limits) == 1
    out, sentence = capsys.readouterr()
    assert out == ""
    assert sentence.startswith(
        "storpool-ovirt: the StorPool API at 127.0.0.1:1 gave no usable answer"
    )
    assert sentence.count("\n") == 1


# On a host


def test_a_host_names_the_vm(site: AdminSite, disk: str) -> None:
    """T66: open for certain, by which VM, since when; of the other host nothing more is known than
    elsewhere."""
    device = shared_stage.attach(site.stage, 1, disk)
    shared_stage.attach(site.stage, 2, disk)
    with using(site.folder / "bin", device.resolve(), *VM) as pid:
        lines, found = listed(site, **on(site, 1)), document(site, **on(site, 1))
        assert purposes(document(site, **on(site, 2)))[0] == (1, "migration", None)
    # Its own section has the name of this machine: it is the same host.
    both = " or ".join(sorted([platform.node(), "host1.example"]))
    assert " ".join(lines[-4].split()).startswith(f"client 1 (here) {both} rw up open")
    assert lines[-3].strip() == f"VM web01 (qemu-kvm, pid {pid})"
    assert lines[-2].split()[:6] == ["client", "2", "host2.example", "rw", "up", "unknown"]
    assert purposes(found) == [(1, "vm", True), (2, "migration", None)]
    process = {"pid": pid, "name": "qemu-kvm", "vm": "web01", "vm_uuid": VM_UUID, "arrived": False}
    here = found["attachments"][0]
    assert (found["this_client"], here["processes"], here["device"]) == (
        1,
        [process],
        str(device.resolve()),
    )
    assert (here["certain"], here["attached_at"] <= found["looked_at"]) == (True, True)


def test_a_host_names_a_migration_that_arrives(site: AdminSite, disk: str) -> None:
    """T66: the process was started to take a VM in, and the other host has the disk still."""
    shared_stage.attach(site.stage, 1, disk)
    device = shared_stage.attach(site.stage, 2, disk)
    with using(site.folder / "bin", device.resolve(), *VM, "-incoming", "defer"):
        found = document(site, **on(site, 2))
    assert purposes(found)[1] == (2, "migration", True)
    assert found["attachments"][1]["why"].endswith(": arriving, or arrived from host1.example")


def test_a_host_names_a_copy(site: AdminSite, disk: str) -> None:
    """T66: of a snapshot that is attached to be read."""
    snapshot = site.stage.engine.run("create_snapshot", disk).guid()
    device = shared_stage.attach(site.stage, 1, snapshot)
    with using(site.folder / "bin", device.resolve(), "convert", name="qemu-img") as pid:
        (entry,) = document(site, **on(site, 1))["attachments"]
    assert (entry["open"], entry["why"]) == (True, f"a copy (qemu-img, pid {pid})")


def test_a_device_that_nothing_uses_is_closed(site: AdminSite, disk: str) -> None:
    """T66: where we may look into every process; else it is said that this is not certain."""
    shared_stage.attach(site.stage, 1, disk)
    found, lines = document(site, **on(site, 1)), listed(site, **on(site, 1))
    sure = everything_is_seen()
    assert purposes(found) == [(1, "vm", False if sure else None)]
    assert bool(found["blind"]) is not sure
    assert ("      nothing uses it here; probably the start of a VM, or a copy" in lines) is sure
    assert any(line.startswith("closed is not certain: ") for line in lines) is not sure


def test_a_device_that_the_cluster_does_not_know_is_told(site: AdminSite, disk: str) -> None:
    """T50: a link that is there and is attached nowhere, with who uses it; and an attachment
    without its device."""
    device = shared_stage.attach(site.stage, 1, disk)
    target = device.resolve()
    stray = device.with_name("sim.a.zzz")
    device.rename(stray)
    try:
        with using(site.folder / "bin", target) as pid:
            lines, found = listed(site, **on(site, 1)), document(site, **on(site, 1))
        assert (
            lines[-1]
            == f"STRAY: {stray} is here, but StorPool does not have it attached here: qemu-kvm, pid"
            f" {pid}"
        )
        assert " NO DEVICE " in lines[-4]
        assert found["stray_devices"] == [str(stray)]
        assert [each["device_missing"] for each in found["attachments"]] == [True]
        assert document(site, "--client", "2", **on(site, 1))["stray_devices"] == []
    finally:
        stray.rename(device)
