"""`storpool-ovirt audit | reconcile`, as administrators and monitoring run them: words and exit
codes."""

from __future__ import annotations

import json

from rigs import refusals, shared_stage
from rigs.admin_site import AdminSite, told

REAL_STARTS = True  # as a shell and a monitoring system start it

# Audit


def test_a_healthy_system_is_ok(site: AdminSite, disk: str) -> None:
    """T72: where it looked, what there is, and exit code 0."""
    site.stage.engine.run("create_snapshot", disk).require()
    head, _, verdict = told(site.run("audit"), 0)
    where = (
        f"mapping {site.stage.database.name} at"
        f" {site.stage.database.login.host}:{site.stage.database.login.port}"
    )
    assert head.startswith(f"{where}, location {site.location()}, StorPool API ")
    assert head.endswith(": 1 disk, 1 volume, 1 snapshot, 0 attachments")
    assert verdict == "OK: mapping, cluster and hosts agree"


def test_an_answer_that_nobody_read_is_mended(site: AdminSite, disk: str) -> None:
    """T72: exit code 1, what, since when, why, what mends it; a dry run changes nothing; then all
    is well."""
    snapshot = site.leak(disk)
    lines_of = told(site.run("audit"), 1)
    assert lines_of[2].startswith(f"WARNING  undelivered answer: snapshot {snapshot} (~")
    assert lines_of[3].split() == ["of", "disk", disk]
    assert (
        lines_of[4].strip()
        == "why:  create_snapshot (correlation id corr-5) did its work, but nobody read the answer"
    )
    assert lines_of[5].split() == ["mend:", "storpool-ovirt", "reconcile", "deletes", "it"]
    assert lines_of[6].split() == ["reconcile", "waits", "until", "it", "is", "15", "min", "old"]
    assert lines_of[-1] == "WARNING: 0 critical, 1 warning, 0 info"
    assert told(site.run("reconcile"), 0) == [
        "1 younger than the grace period of 15 min waits",
        "0 mended, 0 not; 1 for you to look at: storpool-ovirt audit",
    ]
    before = shared_stage.state(site.stage.simulator)
    assert told(site.run("reconcile", "--grace", "0", "--dry-run"), 0)[-1] == "1 would be mended"
    assert shared_stage.state(site.stage.simulator) == before
    what, why, plan, done, sum_ = told(site.run("reconcile", "--grace", "0"), 0)
    assert what.startswith(f"undelivered answer: snapshot {snapshot}")
    assert (why[:8], plan[:8]) == ("  why:  ", "  plan: ")
    assert (done, sum_) == ("  done: taken back: deleted", "1 mended, 0 not")
    assert told(site.run("audit"), 0)[-1] == "OK: mapping, cluster and hosts agree"


def test_a_lost_volume_is_critical(site: AdminSite, disk: str) -> None:
    """T72: exit code 2; a row is forgotten only by name."""
    shared_stage.make_disk(site.stage.engine)
    site.lose(disk)
    lines_of = told(site.run("audit"), 2)
    assert lines_of[2].startswith(f"CRITICAL ghost: volume {disk} (~")
    assert lines_of[-1] == "CRITICAL: 1 critical, 0 warning, 0 info"
    assert told(site.run("reconcile", "--grace", "0"), 0) == [
        "0 mended, 0 not; 1 for you to look at: storpool-ovirt audit"
    ]
    assert told(site.run("reconcile", "--remove", disk, "--dry-run"), 0) == [
        f"would forget volume {disk}",
        "  would write to the mapping database",
    ]
    assert told(site.run("reconcile", "--remove", disk), 0) == [f"forgot volume {disk}"]
    assert told(site.run("audit"), 0)[-1] == "OK: mapping, cluster and hosts agree"


def test_programs_read_json(site: AdminSite, disk: str) -> None:
    """T72: the same facts under fixed names, with the same exit codes."""
    document = json.loads(site.run("audit", "--json").stdout)
    assert (document["severity"], document["findings"], document["location"]) == (
        "ok",
        [],
        site.location(),
    )
    snapshot = site.leak(disk)
    said = site.run("audit", "--json", "--grace", "0")
    document = json.loads(said.stdout)
    assert (said.returncode, document["severity"], document["grace_seconds"]) == (1, "warning", 0)
    (found,) = document["findings"]
    facts = {key: found[key] for key in ("kind", "severity", "uuid", "disk", "reconcile")}
    expected = ("undelivered answer", "warning", snapshot, disk, "settle")
    assert tuple(facts.values()) == expected
    assert set(found) == {*facts, "what", "cause", "age_seconds", "mend"}
    counts = {
        "disks": 1,
        "volumes": 1,
        "snapshots": 1,
        "attachments": 0,
        "busy": 0,
        "elsewhere": 0,
        "operations": 1,
    }
    assert document["counts"] == counts
    young = json.loads(site.run("audit", "--json").stdout)["findings"][0]
    assert young["reconcile"] is None


def test_what_could_not_be_mended_is_told(site: AdminSite, disk: str) -> None:
    """T9, T72: a leak that a host has attached is not done, and the exit code tells."""
    snapshot = site.leak(disk)
    attach = {"snapshot": f"ovirt--{snapshot}", "ro": [1]}
    shared_stage.post(site.stage.simulator, "VolumesReassignWait", {"reassign": [attach]})
    lines_of = told(site.run("reconcile", "--grace", "0"), 1)
    assert lines_of[-2].startswith("  not done: ")
    assert lines_of[-1] == "0 mended, 1 not"


def test_a_refused_step_is_told_and_the_others_are_done(site: AdminSite, disk: str) -> None:
    """T72: exit code 1, the reason, and a count."""
    site.leak(disk)
    site.leak(shared_stage.make_disk(site.stage.engine))
    site.stage.simulator.inject("error_200", query="SnapshotDelete")
    lines_of = told(site.run("reconcile", "--grace", "0"), 1)
    assert [line[:12] for line in lines_of if line.startswith(("  done", "  not"))] == [
        "  not done: ",
        "  done: take",
    ]
    assert lines_of[-1] == "1 mended, 1 not"


# Reconcile by name


def test_an_attached_object_is_detached_by_name(site: AdminSite, disk: str) -> None:
    """Of each host where it is closed."""
    shared_stage.attach(site.stage, 1, disk)
    expected = f"would detach volume ovirt--{disk} where it is closed, of client 1"
    would, sends = told(site.run("reconcile", "--detach", disk, "--dry-run"), 0)
    assert would == expected
    assert sends.startswith("  would send: POST VolumesReassignWait {")
    assert shared_stage.attached(site.stage.simulator) != set()
    assert told(site.run("reconcile", "--detach", disk), 0) == [
        f"detached volume ovirt--{disk} from client 1"
    ]
    assert shared_stage.attached(site.stage.simulator) == set()


def test_what_is_in_the_mapping_is_not_removed(site: AdminSite, disk: str) -> None:
    """T76: one sentence, exit code 1, nothing changed."""
    before = shared_stage.state(site.stage.simulator)
    address = f"~{shared_stage.volumes(site.stage.simulator)[disk]['globalId']}"
    assert refusals.of_command(site.run("reconcile", "--remove", address), 1).endswith(
        "in the mapping: delete its disk in oVirt"
    )
    assert "is there" in refusals.of_command(site.run("reconcile", "--remove", disk), 1)
    assert shared_stage.state(site.stage.simulator) == before


# The log


def test_nothing_secret_is_in_the_log(site: AdminSite, disk: str) -> None:
    """T75: what was changed is in it, with who did it."""
    site.leak(disk)
    told(site.run("reconcile", "--grace", "0"), 0)
    text = (site.stage.engine.log_folder / "managedblock" / "storpool-ovirt.log").read_text()
    assert "reconcile-" in text
    assert "snapshot_deleted" in text
    for secret in (site.stage.database.login.password, site.stage.simulator.token):
        assert secret not in text
