"""`storpool-ovirt attachments`, as an administrator runs it on Engine's machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attachments_ground import document, global_id, listed, on

from rigs import refusals, shared_stage
from rigs.admin_site import AdminSite

NOWHERE = "77777777-7777-4777-8777-777777777777"


pytestmark = pytest.mark.usefixtures("named_hosts")


# On Engine's machine


def test_nothing_is_attached(site: AdminSite, disk: str) -> None:
    """T66: where it looked, that there is nothing, and that open and closed are known elsewhere;
    exit code 0."""
    database = site.stage.database
    server = f"{database.login.host}:{database.login.port}"
    where = f"mapping {database.name} at {server}, location {site.location()}"
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
        said = refusals.of_command(site.run("attachments", "--client", name), 1)
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
        (("--disk", "x"), 2, 'it is not a UUID ("x")'),
        (("--disk", NOWHERE), 2, f"there is no disk {NOWHERE} of oVirt's"),
        (("--database", "x"), 1, "--database is not valid"),
        (("more",), 2, "unexpected extra argument"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    site: AdminSite, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """T23: exit code 1 or 2, and nothing on stdout."""
    assert words in refusals.of_command(site.run("attachments", *arguments), code)


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
    """T66: connect_volume asks StorPool as often as get_connection_info, which notes nothing.

    For a disk that was connected before, that is one call more, the barrier: another host may have
    it, and it may have been reverted a moment ago.
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
    assert costs[1:] == [["api=2", "sql=1"], ["api=2", "sql=2"]]
    # The first one keeps StorPool's number of the volume, too (reverts.py).
    assert costs[0] == ["api=1", "sql=3"]
