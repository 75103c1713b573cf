"""`storpool-ovirt domain NAME --create`: through Engine's API, once, whatever comes in between."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from domain_site import NAME, Site, api, module_api, module_site, site

from rigs import refusals, rest_engine

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["api", "module_api", "module_site", "site"]
DEFAULT = ("--data-center", "Default")


def test_a_domain_is_added_and_active(site: Site, api: rest_engine.RestEngine) -> None:
    """T-domain: Engine has it with the options that were typed, active in its data center; a
    second run changes nothing."""
    words = site.create(api, "--option", f"sp_template={site.template}", *DEFAULT)
    first, second = site.told(*words), site.told(*words)
    assert (first["state"], first["changed"]) == ("created", True)
    assert (second["state"], second["changed"]) == ("there", False)
    assert first["left"] == second["left"] == ""
    log = site.machine.root / "var/log/ovirt-engine/managedblock/storpool-ovirt.log"
    lines = [line for line in log.read_text().splitlines() if " domain_" in line]
    assert [line.split()[3] for line in lines[-2:]] == ["domain_added", "domain_attached"]
    stored = site.stored()
    assert stored["adapter"] == "storpool"
    assert stored["sp_template"] == site.template
    assert stored["sp_auth_token_file"] == str(site.machine.token_file())
    assert stored["volume_backend_name"] == NAME
    assert site.attached() == [("Default", 3)]
    assert not api.sessions, "each log-in was ended"


def test_progress_is_told_and_no_secret(site: Site, api: rest_engine.RestEngine) -> None:
    """Each step is on stderr while it is done, what came of it on stdout."""
    said = site.domain(*site.create(api, *DEFAULT))
    assert said.returncode == 0, said
    steps = said.stderr.splitlines()
    assert [word for step in steps for word in ("adds", "attaching", "active") if word in step] == [
        "adds",
        "attaching",
        "active",
    ]
    assert said.stdout == f"storage domain {NAME} is added and active in data center Default\n"
    assert api.password not in said.stdout + said.stderr


def test_the_token_can_be_a_sensitive_option(site: Site, api: rest_engine.RestEngine) -> None:
    """Engine gets it among the sensitive ones, and it is compared there."""
    token = str(site.machine.token_file())
    words = site.create(api, "--token-file", token, "--token-as-option")
    assert site.told(*words)["state"] == "created"
    assert "sp_auth_token_file" not in site.stored()
    assert site.told(*words)["state"] == "there"
    said = site.domain(*site.create(api))
    assert 'the sensitive option "sp_auth_token" is not wanted' in refusals.of_command(said)


def test_without_a_data_center_it_is_said_what_is_left(
    site: Site, api: rest_engine.RestEngine
) -> None:
    """It is added; attached it is by a later run, that adds nothing."""
    said = site.domain(*site.create(api))
    assert said.stdout.endswith("attach it to a data center before it can have disks\n"), said
    assert site.attached() == []
    done = site.told(*site.create(api, *DEFAULT))
    assert (done["state"], done["changed"]) == ("there", True)
    assert site.attached() == [("Default", 3)]
    assert sum(each == "POST storagedomains" for each in api.asked) == 1


def test_what_is_not_active_yet_is_waited_for(site: Site, api: rest_engine.RestEngine) -> None:
    """Locked for a while, or in maintenance, where it is activated: active is what counts."""
    api.statuses = ["active", "locked", "maintenance", "active"]
    said = site.domain(*site.create(api, *DEFAULT))
    assert said.returncode == 0, said
    assert "it is locked there" in said.stderr
    assert any(each.endswith("/activate") for each in api.asked)


@pytest.mark.parametrize("end", ["storagedomains", "/activate"])
def test_killed_in_between_a_second_run_finishes(
    site: Site, api: rest_engine.RestEngine, end: str
) -> None:
    """Killed while Engine attaches or activates: run again, it goes on with what is there."""
    if end == "/activate":
        api.statuses = ["active", "maintenance"]
        api.hang("POST", end)
    words = site.machine.command("domain", NAME, *site.address, *site.create(api, *DEFAULT))
    site.machine.token_file()
    process = subprocess.Popen(
        words, env=site.machine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        while f"POST {end}" not in "\n".join(api.asked) and not any(
            each.startswith("POST datacenters") and each.endswith(end) for each in api.asked
        ):
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    api.let_go()
    deadline = time.monotonic() + 20
    while not site.tables.execute(
        "SELECT 1 FROM storage_domain_static WHERE storage_name = %s", NAME
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = site.told(*site.create(api, *DEFAULT))
    assert done["state"] == "there"
    assert site.attached() == [("Default", 3)]
    assert sum(each == "POST storagedomains" for each in api.asked) == 1


def test_added_but_not_attached_is_told(site: Site, api: rest_engine.RestEngine) -> None:
    """Engine refuses the attach: what was done, Engine's own words, and what to do."""
    center = "/".join(["datacenters", _center(site), "storagedomains"])
    api.fault_next("POST", center, 409, "[Cannot attach Storage. The Data Center is not up.]")
    sentence = refusals_last(site.domain(*site.create(api, *DEFAULT)))
    assert f"storage domain {NAME} was added, but is not active in data center Default" in sentence
    assert "Operation Failed: Cannot attach Storage. The Data Center is not up." in sentence
    assert "run this again" in sentence
    assert site.told(*site.create(api, *DEFAULT))["changed"]


def _center(site: Site) -> str:
    ((center,),) = site.tables.execute("SELECT id::text FROM storage_pool")
    return str(center)


def refusals_last(said: subprocess.CompletedProcess[str]) -> str:
    """Return the sentence behind the progress on stderr of a run that failed."""
    assert (said.returncode, said.stdout) == (1, ""), said
    last = said.stderr.splitlines()[-1]
    assert last.startswith("storpool-ovirt: ")
    return refusals.check_sentence(last[len("storpool-ovirt: ") :])


def test_engine_refuses_the_domain(site: Site, api: rest_engine.RestEngine) -> None:
    """Its reason and its detail are in the sentence, and nothing is there."""
    api.works = lambda _options: False
    sentence = refusals_last(site.domain(*site.create(api)))
    assert "Failed to connect to Managed Block Storage." in sentence
    assert "engine.log" in sentence
    assert "[" not in sentence


def test_a_wrong_password_is_told(site: Site, api: rest_engine.RestEngine) -> None:
    """Engine's words for it, who it was, and no password."""
    words = site.create(api)
    api.password = "another"
    sentence = refusals_last(site.domain(*words))
    assert f"Engine refused to let {api.user} in" in sentence
    assert "password is incorrect" in sentence
    assert rest_engine.PASSWORD not in sentence


def test_a_foreign_certificate_is_told(
    site: Site, api: rest_engine.RestEngine, tmp_path: Path
) -> None:
    """Another CA: nothing is sent, and the sentence says which file has to vouch."""
    other, _ = rest_engine.certificates(tmp_path / "other")
    words = [*site.create(api), "--ca-file", str(other)]
    sentence = refusals_last(site.domain(*words))
    assert f"its certificate has to be vouched for by {other}" in sentence
    assert api.asked == []


UNREACHABLE = {
    "nobody listens": ("https://localhost:1/ovirt-engine/api", "check that ovirt-engine and httpd"),
    "no such name": ("https://engine.invalid/ovirt-engine/api", "correct --url, or the DNS"),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_an_engine_out_of_reach_is_told(site: Site, api: rest_engine.RestEngine, case: str) -> None:
    """What is wrong decides what is to be done."""
    url, told = UNREACHABLE[case]
    sentence = refusals_last(site.domain(*site.create(api), "--url", url))
    assert url in sentence
    assert told in sentence


def test_what_is_not_engines_api_is_told(site: Site, api: rest_engine.RestEngine) -> None:
    """A web page where the API should be."""
    url = api.url.replace("/ovirt-engine/api", "/somewhere")
    assert "is this its API, like" in refusals_last(site.domain(*site.create(api), "--url", url))


def test_another_engine_is_told(site: Site, api: rest_engine.RestEngine) -> None:
    """One that knows no host of this one's: nothing is added there."""
    api.fault_next("GET", _host(site), 404, "Entity not found")
    sentence = refusals_last(site.domain(*site.create(api)))
    assert "is another Engine than that of this machine" in sentence
    assert site.tables.execute("SELECT 1 FROM cinder_storage") == []


def _host(site: Site) -> str:
    rows = site.tables.execute("SELECT vds_id::text FROM vds_static WHERE vds_name = 'host1'")
    return f"hosts/{rows[0][0]}"


@pytest.mark.parametrize("request_end", ["/sso/oauth/token", "storagedomains"])
def test_an_engine_that_hangs_is_given_up(
    site: Site, api: rest_engine.RestEngine, request_end: str
) -> None:
    """In the log-in too, where oVirt's library has no limit; a domain may have been added then."""
    api.hang("POST", request_end)
    began = time.monotonic()
    said = site.domain(*site.create(api), "--limit", "4")
    assert time.monotonic() - began < 15
    sentence = refusals_last(said)
    if request_end == "storagedomains":
        assert "may have been added" in sentence
        assert "run this again" in sentence


def test_what_is_not_given_is_this_machines(site: Site, api: rest_engine.RestEngine) -> None:
    """Engine's name and port, and its CA, as engine-setup left them."""
    conf = site.machine.root / "etc/ovirt-engine/engine.conf.d/10-setup-protocols.conf"
    conf.write_text(f"ENGINE_FQDN=localhost\nENGINE_PROXY_HTTPS_PORT={api.port}\n")
    ca_file = site.machine.root / "etc/pki/ovirt-engine/ca.pem"
    ca_file.parent.mkdir(parents=True, exist_ok=True)
    ca_file.write_bytes(api.ca_file.read_bytes())
    words = site.create(api)
    kept = words[: words.index("--url")] + words[words.index("--user") : words.index("--ca-file")]
    try:
        assert site.told(*kept)["state"] == "created"
    finally:
        conf.unlink()


def test_without_ovirts_library_it_is_said_how_it_comes(
    site: Site, api: rest_engine.RestEngine, tmp_path: Path
) -> None:
    """T24: one sentence, before anything is asked."""
    missing = "raise ModuleNotFoundError('x', name='ovirtsdk4')\n"
    (tmp_path / "ovirtsdk4.py").write_text(missing)
    site.machine.token_file()
    words = ["domain", NAME, *site.address, *site.create(api)]
    sentence = refusals.of_command(
        site.machine.run(*words, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    )
    assert "ovirtsdk4 is not installed: run  " in sentence
    assert "pip install ovirt-engine-sdk-python" in sentence
    (tmp_path / "ovirtsdk4.py").write_text("raise ImportError('libcurl.so.4: no such file')\n")
    again = site.machine.run(*words, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    assert "cannot be loaded (libcurl.so.4: no such file)" in refusals.of_command(again)
    assert api.asked == []


MISUSED = [
    ("--url", "https://x"),
    ("--create",),
    ("--create", "--user", "x"),
]


@pytest.mark.parametrize("words", MISUSED)
def test_what_does_nothing_alone_is_refused(site: Site, words: tuple[str, ...]) -> None:
    """Exit code 2, before anything is asked."""
    said = site.machine.run("domain", NAME, *words)
    assert said.returncode == 2, said
    assert "create" in said.stderr


BAD = {
    "http": (["--url", "http://localhost/ovirt-engine/api"], "send the password for all to read"),
    "no address": (["--url", "https://[::1/"], "is no address of Engine's"),
    "a login in it": (["--url", "https://admin:secret@engine/"], "is no address of Engine's"),
    "no CA": (["--ca-file", "/nowhere/ca.pem"], "/nowhere/ca.pem (--ca-file) is missing"),
    "no password": (["--password-file", "/nowhere/x"], "/nowhere/x (--password-file) cannot be"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_way_to_engine_is_one_sentence(
    site: Site, api: rest_engine.RestEngine, case: str
) -> None:
    """Nothing is asked, and nothing is changed."""
    words, told = BAD[case]
    assert told in refusals_last(site.domain(*site.create(api), *words))
    assert api.asked == []
