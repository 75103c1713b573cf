"""`storpool-ovirt doctor` as people, monitoring and support have it: on a machine, as a process."""

from __future__ import annotations

import configparser
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import doctor_samples as samples
import pytest
from doctor_ground import doctor, document, give_checks, patience

if TYPE_CHECKING:
    from rigs.machine import Machine

TREE = Path(__file__).parents[2]
THERE = "Check('{0}-there', 'it is there', functools.partial(there, '/there')),"
TOLD = "Check('{0}-told', 'it is told', told),"
SILENT = "Check('{0}-silent', 'it answers', silent),"
UNKNOWN = "Check('{0}-unknown', 'it is known', lambda site: [unknown('no tool')]),"
FINE = "Check('{0}-fine', 'it is fine', lambda site: [ok('yes')]),"


@pytest.mark.parametrize(
    ("rows", "code"),
    [(FINE, 0), (FINE + TOLD + UNKNOWN, 1), (TOLD + THERE, 2), (FINE + UNKNOWN, 3)],
)
def test_the_exit_code_is_the_worst(machine: Machine, rows: str, code: int) -> None:
    """As monitoring has it: 3 where it is not known, and nothing worse was found."""
    give_checks(machine, host=rows.format("host"))
    verdict = doctor(machine, "host", code=code).stdout.splitlines()
    assert any(line.startswith(("OK:", "WARNING:", "CRITICAL:", "UNKNOWN:")) for line in verdict)


def test_what_a_machine_is_is_found_out(machine: Machine) -> None:
    """Nothing of oVirt's: one sentence; Engine, Vdsm, or both: as what it is; or as is said."""
    give_checks(machine, engine=TOLD.format("engine"), host=TOLD.format("host"))
    neither = doctor(machine, code=3)
    assert neither.stdout == ""
    assert neither.stderr.startswith("storpool-ovirt: this machine has neither oVirt Engine nor")
    assert neither.stderr.count("\n") == 1
    machine.write("/etc/ovirt-engine/engine.conf.d/10-x.conf", "")
    assert document(machine, code=1)["place"] == "engine"
    machine.write("/etc/vdsm/vdsm.conf", "")
    both = document(machine, code=1)
    assert both["place"] == "engine and host"
    assert [each["id"] for each in both["checks"]] == ["engine-told"] * 2 + ["host-told"] * 2
    assert [each["cause"] for each in both["checks"][1::2]] == ["place engine", "place host"]
    assert document(machine, "host", code=1)["place"] == "host"
    samples.check_document(both)


def test_fix_mends_and_looks_again(machine: Machine) -> None:
    """First only told, then done; what is told then is what is so now, and a second time there is
    nothing to do."""
    give_checks(machine, host=THERE.format("host"))
    planned = document(machine, "host", "--fix", "--dry-run", code=2)
    assert [each["state"] for each in planned["mended"]] == ["would do"]
    assert planned["checks"][0]["fixable"]
    samples.check_document(planned)
    assert machine.run("test", "-e", "/there").returncode == 1
    lines = doctor(machine, "host", "--fix", code=0).stdout.splitlines()
    assert lines[2:5] == ["done      host-there: make /there", "          /there is there", ""]
    assert lines[-1].startswith("OK: 1 fine")
    again = document(machine, "host", "--fix", code=0)
    assert again["mended"] == []
    samples.check_document(again)


def test_a_step_that_fails_is_told(machine: Machine) -> None:
    """With its reason, and what was wrong stays wrong."""
    give_checks(machine, host=(THERE + THERE.replace("there'", "also'")).format("host"))
    machine.write("/var/hindered", "")
    failed = document(machine, "host", "--fix", code=2)
    samples.check_document(failed)
    assert [(each["state"], each["outcome"]) for each in failed["mended"]] == [
        ("failed", "/there: No space left on device"),
        ("failed", "/also: No space left on device"),
    ]


def test_what_is_written_is_what_is_told(machine: Machine) -> None:
    """For monitoring and for support, each with its mode, and without a secret."""
    give_checks(machine, host=(TOLD + FINE).format("host"))
    files = ("--write", "/var/x.json", "--write", "/var/x.prom", "--html", "/var/x.html")
    told = document(machine, "host", *files, code=1)
    assert json.loads(machine.read("/var/x.json")) == told
    assert 'storpool_ovirt_doctor_check{check="host-told"} 1\n' in machine.read("/var/x.prom")
    page = machine.read("/var/x.html")
    assert 'data-check="host-fine"' in page
    assert "SECRET" not in page
    modes = machine.do("stat -c '%a %U' /var/x.json /var/x.prom /var/x.html").splitlines()
    assert modes == ["644 root", "644 root", "640 root"]
    assert doctor(machine, "host", *files, code=1).stdout.endswith("\npage: /var/x.html\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["host", "--html", "/etc/passwd"], "/etc/passwd is there, and is no file of doctor's"),
        (["host", "--write", "/no/x.json"], "/no/x.json cannot be written (No such file"),
        (["host", "--dry-run"], "--dry-run tells what --fix would do: give both"),
        (["nowhere"], "'nowhere' is not one of 'engine', 'host'"),
        (["host", "--limit", "nan"], "'--limit'"),
    ],
)
def test_what_is_wrongly_asked_is_refused_before_anybody_waits(
    machine: Machine, arguments: list[str], said: str
) -> None:
    """In one sentence; monitoring takes 1 and 2 for what was found, so it is 3."""
    give_checks(machine, host=SILENT.format("host"))
    before = machine.tree("/etc")
    patience_seconds = patience()
    began = time.monotonic()
    refused = doctor(machine, *arguments, code=3)
    assert time.monotonic() - began < patience_seconds / 2
    assert said in refused.stderr
    assert (refused.stdout, refused.stderr.count("\n")) == ("", 1)
    assert machine.tree("/etc") == before


def test_a_terminal_without_letters_of_others_has_it_too(machine: Machine) -> None:
    """What it cannot show is told by its number; no colour, no box, nothing that moves."""
    look = "lambda site: [unknown('domain \u0421\u0425\u0414 \x1b[31m')]"
    give_checks(machine, host=f"Check('host-named', 'it is named', {look}),")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = machine.run("storpool-ovirt", "doctor", "host", env=ascii_only)
    assert done.returncode == 3, done
    assert "domain \\u0421\\u0425\\u0414 \\x1b[31m" in done.stdout
    assert done.stdout.isascii()
    assert done.stdout.replace("\n", "").isprintable()


def test_a_check_that_never_ends_holds_nobody_up(machine: Machine) -> None:
    """T73: all of it ends within ten seconds, as seen from outside, and the others are told."""
    give_checks(machine, host=(SILENT + FINE).format("host"))
    patience_seconds = patience()
    began = time.monotonic()
    told = document(machine, "host", code=3)
    assert time.monotonic() - began < patience_seconds
    assert [each["result"] for each in told["checks"]] == ["unknown", "ok"]
    began = time.monotonic()
    document(machine, "host", "--limit", "1", code=3)
    assert time.monotonic() - began < patience_seconds / 2


def test_who_breaks_it_off_leaves_nothing_behind(machine: Machine) -> None:
    """The checks that run end with it, in the moment; one sentence says what happened."""
    give_checks(machine, host=SILENT.format("host"))
    script = """
        storpool-ovirt doctor host 2>/said & pid=$!
        until [ -n "$(cat /proc/$pid/task/$pid/children)" ]; do sleep 0.1; done
        kill -TERM $pid; code=0; wait $pid || code=$?
        echo $code; cat /said; cat /proc/[0-9]*/cmdline | tr '\\0' ' '
    """
    code, said, left = machine.do(script).split("\n", 2)
    assert code == "130"
    assert said.startswith("storpool-ovirt: interrupted")
    assert "/bin/storpool-ovirt" not in left


def test_the_daily_unit_runs_and_leaves_the_result(machine: Machine) -> None:
    """Its command line works as it stands, once systemd has made the folder; the unit fails by the
    codes for critical and not known alone."""
    unit = configparser.ConfigParser(strict=False, delimiters=["="])
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(TREE / "etc/systemd/system/storpool-ovirt-doctor.service")
    service = unit["Service"]
    assert (service["SuccessExitStatus"], service["StateDirectory"]) == ("1", "storpool-ovirt")
    machine.write("/etc/vdsm/vdsm.conf", "")
    give_checks(machine, host=TOLD.format("host"))
    machine.do("mkdir /var/lib/storpool-ovirt")
    machine.do("ln -s /opt/storpool-ovirt/bin/storpool-ovirt /usr/sbin")
    done = machine.run(*service["ExecStart"].split())
    assert done.returncode == 1, done.stderr
    samples.check_document(json.loads(machine.read("/var/lib/storpool-ovirt/doctor.json")))
    timer = (TREE / "etc/systemd/system/storpool-ovirt-doctor.timer").read_text()
    assert "OnCalendar=daily" in timer
