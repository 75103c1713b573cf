"""`storpool-ovirt attachments`, as an administrator runs it on Engine's machine and on a host."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs import shared_stage
from rigs.admin_site import AdminSite, complained, told
from rigs.device_users import VM, VM_UUID, everything_is_seen, using
from storpool_ovirt.admin import command
from storpool_ovirt.limits import LIMITS

HOSTS = "[host1.example]\nSP_OURID=1\n[host2.example]\nSP_OURID=2\n"
NOWHERE = "77777777-7777-4777-8777-777777777777"


@pytest.fixture(autouse=True)
def _named(site: AdminSite) -> Iterator[None]:
    """Have storpool.conf of Engine's machine and of both hosts name the hosts."""
    roots = [site.folder, *site.stage.simulator.hosts.values()]
    for root in roots:
        folder = Path(root) / "etc" / "storpool.conf.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.conf").write_text(HOSTS)
    yield
    for root in roots:
        shutil.rmtree(Path(root) / "etc" / "storpool.conf.d")


def on(site: AdminSite, client_id: int) -> dict[str, str]:
    """Return what makes the command run on a host."""
    return {"STORPOOL_OVIRT_ROOT": str(site.stage.simulator.hosts[client_id])}


def listed(site: AdminSite, *arguments: str, **environment: str) -> list[str]:
    """Return the lines of a listing."""
    return told(site.run("attachments", *arguments, **environment), 0)


def document(site: AdminSite, *arguments: str, **environment: str) -> dict[str, Any]:
    """Return a listing as programs read it."""
    found: dict[str, Any] = json.loads("\n".join(listed(site, "--json", *arguments, **environment)))
    return found


def purposes(found: dict[str, Any]) -> list[tuple[int, str, bool | None]]:
    """Return for each attachment who has it, what for, and whether it is open."""
    return [(each["client_id"], each["purpose"], each["open"]) for each in found["attachments"]]


def global_id(site: AdminSite, disk: str) -> str:
    """Return the global id of a disk's volume."""
    return str(shared_stage.volumes(site.stage.simulator)[disk]["globalId"])


# On Engine's machine


def test_nothing_is_attached(site: AdminSite, disk: str) -> None:
    """T66: where it looked, that there is nothing, and that open and closed are known elsewhere;
    exit code 0."""
    database = site.stage.database
    where = (
        f"mapping {database.name} at {database.host}:{database.port}, location {site.location()}"
    )
    head, count, blind = listed(site, "--disk", disk)
    assert (
        head == f"StorPool API {site.stage.simulator.address}:{site.stage.simulator.port}, {where}"
    )
    assert count == "0 attachments of 0 disks on 0 hosts"
    assert (
        blind
        == "open or closed is not known: this machine is no client of StorPool, so run this on the"
        " host itself"
    )


def test_a_started_vm_is_probably_one(site: AdminSite, disk: str) -> None:
    """T66: which host, since when it was asked for, and a guess that is called one."""
    shared_stage.attach(site.stage, 1, disk)
    *_, empty, title, facts, why = listed(site)
    assert (empty, title) == ("", f"disk {disk} (~{global_id(site, disk)})")
    client, number, host, mode, state, seen, asked, stamp, *_ = facts.split()
    assert (client, number, host, mode, state, seen, asked) == (
        "client",
        "1",
        "host1.example",
        "rw",
        "up",
        "unknown",
        "asked",
    )
    assert stamp.endswith("Z")
    assert why == "      probably the start of a VM, or a copy"


def test_a_migration_shows_both_hosts(site: AdminSite, disk: str) -> None:
    """T66: the disk is marked; the host that was asked for last is where the VM goes; then only
    that one has it."""
    for client_id in (1, 2):
        shared_stage.attach(site.stage, client_id, disk)
    lines = listed(site)
    assert lines[-5] == f"disk {disk} (~{global_id(site, disk)}): ATTACHED BY 2 HOSTS"
    assert lines[-3].strip() == "probably where a migration to host2.example comes from"
    assert (
        lines[-1].strip()
        == "probably where a migration from host1.example goes, or a start after that host was lost"
    )
    assert all(len(line) <= 120 for line in lines[3:])
    detach = {"volume": f"ovirt--{disk}", "detach": [1], "force": False}
    shared_stage.post(site.stage.simulator, "VolumesReassignWait", {"reassign": [detach]})
    assert listed(site)[-1].strip() == "probably a VM: started here, or migrated from host1.example"


def test_a_migration_that_failed_is_told(site: AdminSite, disk: str) -> None:
    """T66: only the first host has the disk, and a second one was asked for after that."""
    shared_stage.attach(site.stage, 1, disk)
    site.stage.engine.run(
        "connect_volume", disk, json.dumps(site.stage.host2.connector_info)
    ).require()
    assert (
        listed(site)[-1]
        .strip()
        .startswith("asked for host2.example after that: a migration that begins or failed")
    )


def test_a_host_that_is_down_is_marked(site: AdminSite, disk: str) -> None:
    """T66: on top, and at what it has; the other host's attachment is a start after that."""
    for client_id in (1, 2):
        shared_stage.attach(site.stage, client_id, disk)
    site.stage.simulator.set_client(1, status="down")
    lines = listed(site)
    assert lines[3] == "DOWN: client 1 (host1.example)"
    down, lost, up, start = (line.split() for line in lines[-4:])
    assert (down[:5], up[:5]) == (
        ["client", "1", "host1.example", "rw", "DOWN"],
        ["client", "2", "host2.example", "rw", "up"],
    )
    assert " ".join(lost) == "probably lost with its host: host2.example has the disk too"
    assert " ".join(start) == "probably a start after host1.example was lost"
    found = document(site)
    assert found["clients_down"] == [1]
    assert [each["client_down"] for each in found["attachments"]] == [True, False]


def test_snapshots_and_previews_are_told_by_their_disk(site: AdminSite, disk: str) -> None:
    """T66: a snapshot is only read; a volume that the VM does not write any more was left by
    something."""
    engine = site.stage.engine
    snapshot = engine.run("create_snapshot", disk).guid()
    shared_stage.attach(site.stage, 1, disk)
    preview = engine.run("create_volume_from_snapshot", disk, snapshot).guid()
    for node in (snapshot, preview):
        shared_stage.attach(site.stage, 2, node)
    found = document(site)
    facts = [
        (each["kind"], each["uuid"], each["disk"], each["access_mode"], each["purpose"])
        for each in found["attachments"]
    ]
    assert facts == [
        ("disk", disk, disk, "rw", "left"),
        ("preview", preview, disk, "rw", "vm"),
        ("snapshot", snapshot, disk, "ro", "copy"),
    ]
    assert document(site, "--disk", snapshot)["attachments"] == found["attachments"]
    titles = [line for line in listed(site) if line.startswith(("disk", "preview", "snapshot"))]
    assert [line.split(" (~")[0] for line in titles] == [
        f"disk {disk}",
        f"preview {preview} of disk {disk}",
        f"snapshot {snapshot} of disk {disk}",
    ]


def test_what_is_not_ours_is_only_counted(site: AdminSite, disk: str) -> None:
    """T76: another Engine's disks, and volumes without a tag."""
    shared_stage.attach(site.stage, 1, disk)
    tags = {"virt": "ovirt", "ovirt-uuid": NOWHERE, "ovirt-loc": "ffffffff"}
    for name, given in (("somebody-elses", {}), (f"ovirt--{NOWHERE}", tags)):
        volume = {"name": name, "size": 1 << 30, "template": "hybrid", "tags": given}
        shared_stage.post(site.stage.simulator, "VolumeCreate", volume)
        attach = {"volume": name, "rw": [1]}
        shared_stage.post(site.stage.simulator, "VolumesReassignWait", {"reassign": [attach]})
    lines = listed(site)
    assert lines[1] == "1 attachment of 1 disk on 1 host"
    assert lines[-1] == "left out: 2 attachments of objects that are not this Engine's"
    assert NOWHERE not in "\n".join(lines)
    assert document(site)["others"] == 2


def test_an_object_whose_row_was_lost_is_known_by_its_tags(site: AdminSite, disk: str) -> None:
    """T85: the tags are this Engine's, so it is ours; nothing is noted of it."""
    shared_stage.attach(site.stage, 1, disk)
    shared_stage.sql(site.stage.database, "DELETE FROM storpool_ovirt.node")
    (entry,) = document(site)["attachments"]
    assert (entry["disk"], entry["asked_at"], entry["purpose"]) == (disk, None, "unknown")


def test_one_client_or_one_disk(site: AdminSite, disk: str) -> None:
    """T66: by client id, by the host's name, short too, and by disk; what is marked stays
    marked."""
    other = shared_stage.make_disk(site.stage.engine)
    shared_stage.attach(site.stage, 1, disk)
    shared_stage.attach(site.stage, 2, disk)
    shared_stage.attach(site.stage, 2, other)
    for client in ("2", "host2.example", "HOST2"):
        found = document(site, "--client", client)
        assert {(each["client_id"], each["disk"]) for each in found["attachments"]} == {
            (2, disk),
            (2, other),
        }
    assert {each["disk"] for each in document(site, "--disk", other)["attachments"]} == {other}
    assert document(site, "--client", "1", "--disk", other)["attachments"] == []
    assert listed(site, "--client", "1")[-3].endswith(": ATTACHED BY 2 HOSTS")


def test_a_name_that_is_two_hosts_is_refused(site: AdminSite, disk: str) -> None:
    """T66: two sections with one SP_OURID: nobody can tell which is meant by either name; the
    client id is one."""
    shared_stage.attach(site.stage, 2, disk)
    (site.folder / "etc" / "storpool.conf.d" / "spare.conf").write_text("[spare]\nSP_OURID=2\n")
    for name in ("host2.example", "spare", "HOST2"):
        said = complained(site.run("attachments", "--client", name), 1)
        assert "client 2 is 2 hosts in /etc/storpool.conf, host2.example and spare" in said
    assert [each["host"] for each in document(site, "--client", "2")["attachments"]] == [
        "host2.example or spare"
    ]


def test_a_folder_of_devices_that_cannot_be_looked_at(site: AdminSite, disk: str) -> None:
    """T66: no device is said to be missing, or closed, because their folder does not open; the
    reason is told."""
    shared_stage.attach(site.stage, 1, disk)
    folder = Path(site.stage.simulator.hosts[1]) / "dev" / "storpool-byid"
    aside = folder.rename(folder.with_name("aside"))
    folder.symlink_to(folder)
    try:
        found, lines = document(site, **on(site, 1)), listed(site, **on(site, 1))
    finally:
        folder.unlink()
        aside.rename(folder)
    (entry,) = found["attachments"]
    assert (entry["open"], entry["device_missing"]) == (None, False)
    assert "Too many levels of symbolic links" in found["blind"]
    assert "NO DEVICE" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--client", "77"), 1, "there is no client 77 in the StorPool cluster"),
        (
            ("--client", "1" * 5000),
            1,
            "there is no client 11111111111111111111... in the StorPool cluster",
        ),
        (
            ("--client", "nohost"),
            1,
            'the host "nohost" is not in /etc/storpool.conf: give its SP_OURID',
        ),
        (("--disk", "x"), 1, 'the disk\'s id is not a UUID ("x")'),
        (("--disk", NOWHERE), 1, f"there is no disk {NOWHERE} of oVirt's"),
        (("--database", "x"), 1, "--database is not valid"),
        (("more",), 2, "unexpected extra argument"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    site: AdminSite, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """T23: exit code 1 or 2, and nothing on stdout."""
    assert words in complained(site.run("attachments", *arguments), code)


def test_looking_changes_nothing(site: AdminSite, disk: str) -> None:
    """T66: only questions are sent, and no row is written."""
    shared_stage.attach(site.stage, 1, disk)
    tables = ("node", "operation", "asked", "meta")
    before = [
        shared_stage.sql(site.stage.database, f"TABLE storpool_ovirt.{name}") for name in tables
    ]
    site.stage.simulator.clear_calls()
    listed(site)
    assert shared_stage.writes(site.stage.simulator) == []
    assert before == [
        shared_stage.sql(site.stage.database, f"TABLE storpool_ovirt.{name}") for name in tables
    ]


# What connect_volume notes


@pytest.mark.parametrize(
    "connector",
    ["null", "{}", '{"host": null}', '{"host": "a\\u0000\\ud800"}', '{"ip": "127.0.0.1"}'],
)
def test_a_connector_without_a_host_is_noted_without_one(
    site: AdminSite, disk: str, connector: str
) -> None:
    """T66: connect_volume succeeds, and the listing works with what there is."""
    shared_stage.attach(site.stage, 1, disk)
    shared_stage.answered(site.stage.engine.run("connect_volume", disk, connector))
    (entry,) = document(site)["attachments"]
    assert (entry["asked_at"] is not None, entry["purpose"]) == (True, "vm")
    noted = shared_stage.sql(
        site.stage.database, "SELECT hosts->0->>'host', hosts->1->>'host' FROM storpool_ovirt.asked"
    )
    assert noted == [(None, "host1.example")]


def test_the_note_costs_no_call(site: AdminSite, disk: str) -> None:
    """T66: the first connect_volume asks StorPool as often as get_connection_info, which notes
    nothing.

    For a disk that was connected before it is looked whether the mark that it is shareable is right
    (shareable.py).
    """
    host = json.dumps(site.stage.host1.connector_info)
    for verb, *arguments in (
        ["connect_volume", host],
        ["get_connection_info"],
        ["connect_volume", host],
    ):
        site.stage.engine.run(verb, disk, *arguments).require()
    text = (site.stage.engine.log_folder / "managedblock" / "storpool-adapter.log").read_text()
    done = [line.split() for line in text.splitlines() if " verb_done " in line][-3:]
    costs = [[word for word in words if word.startswith(("api=", "sql="))] for words in done]
    assert costs[1:] == [["api=1", "sql=2"], ["api=3", "sql=3"]]
    assert costs[0] == ["api=1", "sql=5"]


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
    wrong = site.stage.database.url.replace(f":{site.stage.database.port}/", ":1/")
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
    assert "StorPool refused" in complained(said, 1)


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
