"""`storpool-ovirt rebuild`, and how the command finds the database and the API: words and exit
codes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from rigs import refusals, shared_stage
from rigs.admin_site import AdminSite, told
from rigs.disk_rig import TOKEN
from rigs.engine_conf_files import SETUP, lines, write
from rigs.host_files import NODE
from storpool_ovirt.admin import command
from storpool_ovirt.engine import claims

# Rebuild


def test_a_lost_mapping_is_rebuilt(site: AdminSite, disk: str) -> None:
    """T85: the locations are named, a refusal and a dry run leave not even a table, and the next
    audit is well."""
    site.stage.engine.run("create_snapshot", disk).require()
    before, location = shared_stage.rows(site.stage.database), site.location()
    shared_stage.sql(site.stage.database, "DROP SCHEMA storpool_ovirt CASCADE")
    assert "storpool-ovirt rebuild makes its tables again" in refusals.of_command(
        site.run("audit"), 3
    )
    assert f"the locations there are: {location} (1 disk)" in refusals.of_command(
        site.run("rebuild"), 1
    )
    assert "location deadbeef has no object" in refusals.of_command(
        site.run("rebuild", "--location", "deadbeef"), 1
    )
    plan = f"location {location}: 1 volume and 1 snapshot of 1 disk to take in"
    assert told(site.run("rebuild", "--location", location, "--dry-run"), 0) == [
        plan,
        "  would write to the mapping database",
    ]
    assert "rebuild makes its tables again" in refusals.of_command(site.run("audit"), 3)
    assert shared_stage.sql(site.stage.database, "SELECT to_regnamespace('storpool_ovirt')") == [
        (None,)
    ]
    written = [plan, "2 rows written: now run storpool-ovirt audit"]
    assert told(site.run("rebuild", "--location", location), 0) == written
    after = shared_stage.rows(site.stage.database)
    for name in ("uuid", "kind", "root", "source", "size_bytes", "state", "global_id"):
        assert [getattr(row, name) for row in after] == [getattr(row, name) for row in before]
    assert told(site.run("audit"), 0)[-1] == "OK: mapping, cluster and hosts agree"


def test_a_database_that_was_lost_unseen_is_no_green_audit(site: AdminSite, disk: str) -> None:
    """T72, T85: Engine made tables anew and the old disks are there: a warning, but for locations
    that others claim."""
    there, location = site.stage.database, site.location()
    shared_stage.sql(there, "DROP SCHEMA storpool_ovirt CASCADE")
    site.stage.engine.run("storage_stats", "true").require()
    said = told(site.run("audit"), 1)
    assert any(
        f"these locations of the cluster: {location} (1 disk, 1 object)" in line for line in said
    )
    assert any(f"storpool-ovirt rebuild --dry-run --location {location}" in line for line in said)
    claim_of(site, location, machine="another", at=time.time() - 60)
    assert told(site.run("audit"), 0)[-1] == "OK: mapping, cluster and hosts agree"
    claim_of(site, location, machine="another", at=time.time() - 86400)
    told(site.run("audit"), 1)
    told(site.run("rebuild", "--location", location, "--even-if-it-lives", location), 0)
    assert "lost mapping" not in site.run("audit").stdout
    assert disk in shared_stage.volumes(site.stage.simulator)


def claim_of(site: AdminSite, location: str, machine: str, at: float) -> None:
    """Write who has a location, and when that one was at work."""
    engine = {"machine": machine, "database": "1", "boot": "1", "host": "other.example", "at": at}
    value = json.dumps({"engine": engine, "boots": [], "others": []})
    shared_stage.post(site.stage.simulator, f"KV/Set/{claims.BUCKET}", {"set": {location: value}})


# Where the database and the API are


def test_engines_files_tell_where_everything_is(site: AdminSite, disk: str) -> None:
    """On Engine's machine nothing needs to be given: Engine's own file and storpool.conf are
    read."""
    there = site.stage.database
    password = "".join(f"\\{char}" if char in ':\\"$' else char for char in there.login.password)
    facts = {
        "HOST": there.login.host,
        "PORT": str(there.login.port),
        "USER": there.login.user,
        "DATABASE": there.name,
    }
    write(site.folder, **{SETUP: lines("CINDERLIB_DB_", PASSWORD=password, **facts)})
    simulator = site.stage.simulator
    (site.folder / "etc" / "storpool.conf").write_text(
        f"SP_API_HTTP_HOST={simulator.address}\nSP_API_HTTP_PORT={simulator.port}\n[{NODE}]\nSP_OURID=9\n"
        f"SP_AUTH_TOKEN={simulator.token}\n"
    )
    head, _, verdict = told(site.run("audit", told=False), 0)
    assert f"mapping {there.name} at" in head
    assert verdict.startswith("OK")
    assert disk in shared_stage.volumes(simulator)


def test_without_any_of_it_the_sentence_says_what_to_give(site: AdminSite) -> None:
    """T75: storpool.conf first, then the database; exit code 3 for who could not look."""
    assert "storpool.conf" in refusals.of_command(site.run("audit", told=False), 3)
    (site.folder / "etc").mkdir()
    (site.folder / "etc" / "storpool.conf").write_text(
        "SP_API_HTTP_HOST=127.0.0.1\nSP_AUTH_TOKEN=1234567\n"
    )
    assert refusals.of_command(site.run("audit", told=False), 3).endswith(
        "run this on Engine's machine, or give --database"
    )
    assert refusals.of_command(site.run("reconcile", told=False), 1).endswith("give --database")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a wrong token": ({"sp_auth_token": TOKEN}, "unauthorized"),
    "a wrong token is told where it is": (
        {"sp_auth_token": TOKEN},
        "correct the token in sp_auth_token",
    ),
    "no address": (
        {"sp_api_http_host": "http://x"},
        "driver option sp_api_http_host is not a host name",
    ),
    "another cluster": ({"sp_cluster_id": "zz.z"}, "does not reach cluster zz.z"),
    "another cluster without a call's name": (
        {"sp_cluster_id": "zz.z"},
        "correct sp_api_http_host or sp_cluster_id",
    ),
    "an address with a port": ({"sp_api_http_host": "10.0.0.1:81"}, "has a port in it"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_option_is_one_sentence(site: AdminSite, what: str) -> None:
    """T75: without a trace and without the token."""
    options, said = WRONG[what]
    path = site.folder / "wrong.json"
    path.write_text(json.dumps({**site.stage.engine.options, **options}))
    sentence = refusals.of_command(site.run("audit", "--options", str(path)), 3)
    assert said.lower() in sentence.lower()
    assert TOKEN not in sentence


@pytest.mark.parametrize(
    ("text", "said"), [(None, "cannot be read"), ("[]", "not a JSON object"), ("{", "not JSON")]
)
def test_a_file_of_options_that_is_none_is_one_sentence(
    site: AdminSite, text: str | None, said: str
) -> None:
    """T75: the sentence says what is wrong with it."""
    path = site.folder / "wrong.json"
    if text is not None:
        path.write_text(text)
    sentence = refusals.of_command(site.run("audit", "--options", str(path)), 3)
    assert said in sentence
    assert f"{path} (--options)" in sentence
    assert text is None or 'like {"sp_api_http_host"' in sentence


@pytest.mark.parametrize("wrong", ["password", "port", "no URL", "no password"])
def test_a_database_that_is_not_there_is_one_sentence(site: AdminSite, wrong: str) -> None:
    """T75: without the password."""
    there = site.stage.database
    login = there.login
    url = {
        "password": f"postgresql://{login.user}:guessed@{login.host}:{login.port}/{there.name}_no",
        "port": f"postgresql://{login.user}:guessed@{login.host}:1/{there.name}",
        "no URL": "guessed@nowhere",
        "no password": f"postgresql://{login.user}@{login.host}:{login.port}/{there.name}",
    }[wrong]
    sentence = refusals.of_command(site.run("audit", "--database", url), 3)
    assert "guessed" not in sentence
    assert "database" in sentence
    assert (
        wrong != "no password" or "--database has no password: give postgresql://USER" in sentence
    )


@pytest.mark.parametrize(
    "arguments", [("audit", "--grace", "-1"), ("audit", "x"), ("reconcile", "--remove")]
)
def test_what_was_typed_wrong_is_a_usage_error(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence; the words are those of the command line's library."""
    assert command.main(["storpool-ovirt", *arguments]) in (2, 3)
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_wrong_option_of_an_audit_is_not_critical() -> None:
    """T72: 2 is monitoring's word for a lost disk; who could not look says 3."""
    assert command.main(["storpool-ovirt", "audit", "--no-such-option"]) == 3


@pytest.mark.parametrize("verb", ["audit", "reconcile", "rebuild"])
def test_help_tells_the_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What --database, --options and --dry-run take."""
    assert command.main(["storpool-ovirt", verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--database" in said
    assert "--options" in said
    assert ("--dry-run" in said) == (verb != "audit")
