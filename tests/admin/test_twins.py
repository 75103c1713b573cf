"""twins.py: the same Engine restored twice is told; reconcile and rebuild wait until somebody says
which one it is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING

import pytest

from rigs import refusals
from rigs.admin_site import AdminSite, told
from rigs.disk_model import GIB
from rigs.yard import DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import audit, findings, survey, twins
from storpool_ovirt.engine import claims, disks, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600.0


@contextlib.contextmanager
def engine_on(yard: Yard, machine: str, ago: float = 0.0) -> Iterator[tree.Work]:
    """Give an Engine with this database that runs on another machine, so many seconds ago."""
    root = yard.folder / machine
    for path, text in (("etc/machine-id", machine), ("proc/sys/kernel/random/boot_id", "first")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")
    with yard.administrator() as engine:
        yield dataclasses.replace(engine, root=str(root), now=lambda: time.time() - ago)


def works(yard: Yard, machine: str, ago: float = 0.0) -> None:
    """Have an Engine on a machine ask for the domain's space."""
    with engine_on(yard, machine, ago) as engine:
        disks.stats(engine)
        engine.mapping.journal.delivered()


def found(yard: Yard, machine: str) -> list[findings.Finding]:
    """Return what the audit finds on a machine."""
    with engine_on(yard, machine) as engine:
        return list(audit.report(survey.look(engine), 0).findings)


def test_both_engines_are_told_of_the_other(yard: Yard) -> None:
    """T79: critical while both work; who is claimed as the one silences it where it is, and the
    other is still told."""
    works(yard, "living")
    assert found(yard, "living") == []
    works(yard, "copy")
    for here, other in (("copy", "living"), ("living", "copy")):
        (twin,) = found(yard, here)
        assert (twin.kind, twin.severity) == ("another Engine", "critical")
        assert f"machine {other}" in twin.what
        assert twin.mend.endswith("storpool-ovirt claim")
    with engine_on(yard, "copy") as engine:
        claims.take(engine)
    assert found(yard, "copy") == []
    assert [each.kind for each in found(yard, "living")] == ["another Engine"]


def test_one_that_is_silent_for_long_is_a_warning(yard: Yard) -> None:
    """T79: a test that was forgotten, or an Engine that was replaced."""
    works(yard, "copy", 5 * HOUR)
    works(yard, "living")
    (twin,) = found(yard, "living")
    assert twin.severity == "warning"
    assert twin.age_seconds is not None
    assert 5 * HOUR <= twin.age_seconds < 6 * HOUR


@pytest.mark.parametrize(("ago", "refused"), [(0.0, True), (5 * HOUR, False)])
def test_a_copy_works_on_nothing_while_the_living_one_has_the_disks(
    yard: Yard, ago: float, refused: bool
) -> None:
    """T79: reconcile and rebuild end with the way out; the one that has the location works on."""
    works(yard, "living", ago)
    works(yard, "copy")
    with engine_on(yard, "living") as engine:
        twins.check_holder(survey.look(engine))
    with engine_on(yard, "copy") as engine:
        view = survey.look(engine)
        expected = pytest.raises(errors.Conflict, match=r"machine living.*storpool-ovirt claim")
        with expected if refused else contextlib.nullcontext():
            twins.check_holder(view)


def test_the_audit_from_another_machine_goes_by_the_database(yard: Yard) -> None:
    """T72: who looks from elsewhere, with --database, is no other Engine; one with another database
    is."""
    works(yard, "living")
    with engine_on(yard, "an-administrators") as engine:
        view = survey.look(engine, here=False)
        assert list(twins.of_claims(view)) == []
        assert view.claim is not None
        stranger = dataclasses.replace(view.claim.engine, database="another")
        others = dataclasses.replace(
            view, claim=dataclasses.replace(view.claim, others=(stranger,))
        )
        assert len(list(twins.of_claims(others))) == 1


def test_a_store_that_does_not_answer_is_no_finding(yard: Yard) -> None:
    """T72: nothing rests on a claim."""
    works(yard, "living")
    works(yard, "copy")
    with yard.trouble("error_200", query="KV/Get", times=9):
        assert found(yard, "copy") == []


# A location that lives is not taken over


def lost(yard: Yard) -> str:
    """Lose the mapping of an Engine with a disk, and begin with a new one; return the old
    location."""
    old = yard.location
    yard.verb("create", DISK, GIB)
    yard.sql("DELETE FROM storpool_ovirt.node")
    yard.sql("DELETE FROM storpool_ovirt.operation")
    yard.sql("UPDATE storpool_ovirt.meta SET location = 'aaaaaaaa'")
    return old


def signs(yard: Yard, location: str, machine: str = "new") -> list[str]:
    """Return the signs of life that a rebuild on a machine sees."""
    with engine_on(yard, machine) as engine:
        view = survey.look(engine)
        return twins.signs(engine, view, location)


def test_what_was_just_made_and_what_is_attached_is_a_sign(yard: Yard) -> None:
    """T79: without a claim, what StorPool shows has to do; what is old and attached nowhere is
    dead."""
    old = lost(yard)
    global_id = yard.global_id(DISK)
    assert [f"volume ~{global_id} of it was made" in each for each in signs(yard, old)] == [True]
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": f"~{global_id}", "rw": [2]}]})
    assert "1 of its objects are attached at client 2" in signs(yard, old)
    yard.ask("VolumesReassignWait", {"reassign": [{"volume": f"~{global_id}", "detach": [2]}]})
    yard.simulator.advance(1)
    with engine_on(yard, "new", -twins.RECENT_SECONDS) as engine:
        assert twins.signs(engine, survey.look(engine), old) == []


def test_a_claim_of_another_machine_is_a_sign(yard: Yard) -> None:
    """T79: an Engine with another database that was at work within the last hours."""
    works(yard, "living")
    with yard.administrator() as engine:
        claim = claims.read(engine.client, yard.location)
        assert claim is not None
        told = dataclasses.replace(
            claim, engine=dataclasses.replace(claim.engine, database="another")
        )
        claims._write(engine.client, yard.location, told)
    old = lost(yard)
    assert "machine living" in signs(yard, old)[0]


def test_the_lost_database_of_this_very_machine_is_no_sign(yard: Yard) -> None:
    """T85: whatever is attached: the VMs run on while Engine's database is restored."""
    works(yard, "living")
    old = lost(yard)
    assert signs(yard, old, "living") == []
    yard.ask(
        "VolumesReassignWait", {"reassign": [{"volume": f"~{yard.global_id(DISK)}", "rw": [2]}]}
    )
    assert signs(yard, old, "living") == []


def test_the_command_refuses_until_it_is_told_twice(site: AdminSite, disk: str) -> None:
    """T79: with the signs, the option, and nothing changed; a dry run tells the signs too."""
    from rigs import shared_stage

    location = site.location()
    shared_stage.attach(site.stage, 1, disk)
    with_kv = f"KV/Set/{claims.BUCKET}"
    shared_stage.post(site.stage.simulator, with_kv, {"set": {location: ""}})
    shared_stage.sql(site.stage.database, "DROP SCHEMA storpool_ovirt CASCADE")
    before = shared_stage.state(site.stage.simulator)
    sentence = refusals.of_command(site.run("rebuild", "--location", location), 1)
    assert "are attached at client 1" in sentence
    assert f"--even-if-it-lives {location}" in sentence
    assert "does not repeat" in refusals.of_command(
        site.run("rebuild", "--location", location, "--even-if-it-lives", "deadbeef"), 1
    )
    assert any(
        "a sign that" in line
        for line in told(site.run("rebuild", "--location", location, "--dry-run"), 0)
    )
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'storpool_ovirt'"
    assert shared_stage.sql(site.stage.database, tables) == [(0,)]
    assert shared_stage.state(site.stage.simulator) == before
    told(site.run("rebuild", "--location", location, "--even-if-it-lives", location), 0)
    assert shared_stage.rows(site.stage.database)[0].uuid == disk


def test_the_command_says_who_it_is(site: AdminSite) -> None:
    """T79: a dry run tells only; then the location is this Engine's, and the audit is well."""
    location = site.location()
    claim = json.dumps(
        {
            "engine": {
                "machine": "m",
                "database": "d",
                "boot": "b",
                "host": "другой",
                "at": time.time(),
            },
            "boots": [],
            "others": [],
        }
    )
    from rigs import shared_stage

    shared_stage.post(site.stage.simulator, f"KV/Set/{claims.BUCKET}", {"set": {location: claim}})
    assert told(site.run("audit"), 2)[2].startswith("CRITICAL another Engine: the Engine on ")
    assert "storpool-ovirt claim" in refusals.of_command(site.run("reconcile"), 1)
    where = ("--database", site.stage.database.url, "--options", str(site.folder / "options.json"))
    refused = site.run("policy", "sync", *where, told=False)
    assert "storpool-ovirt claim" in refusals.of_command(refused, 1)
    first, *_ = told(site.run("reconcile", "--dry-run"), 1)  # T72: it is refused in earnest
    assert first.startswith(f"would be refused: location {location} is that of the Engine on")
    was, is_now, makes, sends = told(site.run("claim", "--dry-run"), 0)
    assert makes == f"  would send: POST KV/Create/{claims.BUCKET}"
    assert sends.startswith(f"  would send: POST KV/Set/{claims.BUCKET} ")
    assert was.startswith(f"location {location} was that of the Engine on ")
    assert is_now.startswith("it would be that of the Engine on ")
    assert told(site.run("audit"), 2)
    told(site.run("claim"), 0)
    assert told(site.run("audit"), 0)[-1].startswith("OK")
    told(site.run("reconcile"), 0)
