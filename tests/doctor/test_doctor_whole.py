"""The command with all of its checks: on Engine's machine and on a host, well and broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import doctor_samples as samples
import pytest

from rigs.machine import PREFIX
from storpool_ovirt.doctor import tables

if TYPE_CHECKING:
    from engine_ground import ServedMachine
    from host_ground import Host

    from rigs.machine import Machine

PAGE = "/var/doctor.html"


def told(machine: Machine, place: str, *more: str) -> dict[str, Any]:
    """Return the document of a look; each check is in it, and on the page too."""
    done = machine.run("storpool-ovirt", "doctor", place, "--json", "--html", PAGE, *more)
    assert done.stderr == "", done
    facts: dict[str, Any] = json.loads(done.stdout)
    samples.check_document(facts)
    assert {each["id"] for each in facts["checks"]} == {each.id for each in tables.of(place)}
    page = machine.read(PAGE)
    assert page.count("data-check=") == len(facts["checks"])
    assert not [each for each in facts["checks"] if "internal error" in each["cause"]]
    return facts


def of(facts: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a check that has one thing to look at found."""
    [found] = [each for each in facts["checks"] if each["id"] == name]
    return dict(found)


def test_engines_machine(served: ServedMachine) -> None:
    """All that can be well there is; what is broken is found, mended by --fix and by nothing else,
    and no secret is on the page."""
    served.domain("fast", sp_auth_token_file=served.token())
    well = told(served.machine, "engine")
    assert not [each for each in well["checks"] if each["result"] == "critical"]
    served.do("rm -r /var/log/ovirt-engine/managedblock")
    broken = told(served.machine, "engine")
    assert of(broken, "engine-log-folder")["result"] != "ok"
    assert of(broken, "engine-log-folder")["fixable"]
    before = served.machine.tree("/etc", "/usr/share/ovirt-engine")
    mended = told(served.machine, "engine", "--fix")
    fixable = {each["id"] for each in broken["checks"] if each["fixable"]}
    assert {each["id"]: each["state"] for each in mended["mended"]} == dict.fromkeys(
        fixable, "done"
    )
    assert of(mended, "engine-log-folder")["result"] == "ok"
    after = served.machine.tree("/etc", "/usr/share/ovirt-engine")
    assert all("ovirt-engine.service.d" in name for name, _ in after.items() ^ before.items())
    shown = served.machine.read(PAGE) + json.dumps([well, broken, mended])
    for secret in served.secrets:
        assert secret not in shown


@pytest.mark.parametrize("user", ["ovirt", "nobody"])
def test_whoever_is_not_root_sees_less(served: ServedMachine, user: str) -> None:
    """And is told so: nothing is taken for broken because this user may not look."""
    served.domain("fast", sp_auth_token_file=served.token())
    done = served.machine.run(
        *("setpriv", "--reuid=nobody", "--clear-groups") if user == "nobody" else (),
        *("storpool-ovirt", "doctor", "engine", "--json"),
        user="root" if user == "nobody" else user,
    )
    facts = json.loads(done.stdout)
    samples.check_document(facts)
    wrong = [each for each in facts["checks"] if each["result"] == "critical"]
    assert not wrong
    if user == "nobody":
        assert "unknown" in {each["result"] for each in facts["checks"]}


def test_a_host(host: Host) -> None:
    """The same on a host."""
    well = told(host.machine, "host")
    assert not [each for each in well["checks"] if each["result"] == "critical"]


def without_psycopg2(machine: Machine, place: str) -> list[dict[str, Any]]:
    """Return what was found where the database's library is not installed."""
    code = (
        "import sys; sys.modules['psycopg2'] = None; from storpool_ovirt.admin import command;"
        " sys.exit(command.main(['storpool-ovirt', 'doctor', *sys.argv[1:], '--json']))"
    )
    done = machine.run(f"{PREFIX}/bin/python3", "-c", code, place)
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    samples.check_document(facts)
    assert "internal error" not in done.stdout
    return list(facts["checks"])


def test_a_host_needs_no_library_of_a_database(host: Host) -> None:
    """It has none: nothing there asks for one."""
    assert "psycopg2" not in str(without_psycopg2(host.machine, "host"))


def test_a_library_that_engines_machine_lacks(served: ServedMachine) -> None:
    """Each check that needs it could not look, and tells the command that brings it back."""
    found = without_psycopg2(served.machine, "engine")
    lacks = [each for each in found if each["cause"] == "psycopg2 is not installed"]
    assert {"engine-database", "engine-domain-stats"} <= {each["id"] for each in lacks}
    assert {each["result"] for each in lacks} == {"unknown"}
    assert all("pip install --require-hashes" in each["fix"] for each in lacks)
