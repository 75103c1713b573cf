"""What a role refuses or leaves to people: a clear sentence, and a failure where that is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import played_machines
import pytest
from played_machines import TOKEN

if TYPE_CHECKING:
    from rigs.machine import Machine

NO_DATABASE = "it is not set up, and without it Engine refuses each action on managed block storage"


@pytest.mark.parametrize(
    ("role", "given", "sentence"),
    [
        ("engine", {"state": "presnt"}, "value of engine_storpool_state must be one of: "),
        ("engine", {"domains": [{"options": {}}]}, "missing required arguments: name"),
        ("engine", {"tokn": TOKEN}, "engine has no engine_storpool_tokn: its README has all"),
        ("host", {"restart_vdsm": True}, "host has no host_storpool_restart_vdsm: its README"),
        ("host", {"command": "/no/such"}, "/no/such is not there: say by host_storpool_install"),
    ],
)
def test_a_mistyped_variable_is_refused(
    machine: Machine, role: str, given: dict[str, Any], sentence: str
) -> None:
    """A wrong value, and a wrong name too, which would be left out without a word; nothing was
    done, and no secret is shown."""
    site = getattr(played_machines, role)(machine)
    before = site.tree()
    assert sentence in site.play("-vvv", **given).failure()
    assert site.tree() == before


def test_what_setup_leaves_to_people_is_a_failure_or_a_warning(machine: Machine) -> None:
    """With its words: which step, and what to do; also in check mode."""
    site = played_machines.engine(machine)
    machine.do("rm /etc/ovirt-engine/engine.conf.d/*")
    checked = site.play("--check").failure()
    assert NO_DATABASE in checked
    assert "engine-setup --reconfigure-optional-components" in checked
    assert NO_DATABASE in site.play(needs_you="warn").check().sentences


def test_what_setup_refuses_is_the_failure(machine: Machine) -> None:
    """All of it, or one step: in its words."""
    site = played_machines.host(machine)
    machine.do("mv /usr/libexec/vdsm /usr/libexec/vdsm-of-another")
    assert "this machine has no " in site.play().failure()
    machine.do("mv /usr/libexec/vdsm-of-another /usr/libexec/vdsm")
    machine.tool("visudo", "echo no such syntax; exit 1")
    failure = site.play().failure()
    assert (
        "user vdsm may ask root by these doors: the file for sudo is refused by visudo" in failure
    )


def test_a_tree_whose_setup_cannot_be_taken_back_is_left(machine: Machine) -> None:
    """Without its program nobody can look whether disks are attached: also in check mode."""
    site = played_machines.host(machine)
    site.play().check()
    machine.do(f"rm {played_machines.COMMAND}")
    before = site.tree()
    for words in (("--check",), ()):
        failure = site.play(*words, state="absent", install="pip").failure()
        assert f"{played_machines.COMMAND} is not there, so what setup made cannot be" in failure
    assert site.tree() == before
    assert machine.path("/opt/storpool-ovirt/bin/storpool-vm-hook").exists()
    machine.do("rm -r /opt/storpool-ovirt")
    site.play(state="absent", install="pip").check(changed=0)


def test_vdsmd_is_never_restarted_under_a_vm(machine: Machine) -> None:
    """Also where it is asked to be, and setup says that it has to be; that is told."""
    site = played_machines.host(machine)
    machine.write("/run/libvirt/qemu/web.xml", "<domstatus/>")
    played = site.play(restart_vdsmd=True).check()
    assert "vdsmd is not restarted: VMs run here" in played.text
    assert (site.served(), "Restart vdsmd" in played.changed) == ([], False)


@pytest.mark.parametrize("role", ["engine", "host"])
def test_what_doctor_finds_is_a_failure_where_that_is_asked(machine: Machine, role: str) -> None:
    """From the result on that is named, each with its cause and what to do."""
    site = getattr(played_machines, role)(machine)
    told = site.part("doctor", doctor_fails_on="never").check()
    failed = site.part("doctor", doctor_fails_on="unknown").failure()
    found = json.loads(machine.run(played_machines.COMMAND, "doctor", role, "--json").stdout)
    wrong = {f"{each['result']}: {each['id']}: " for each in found["checks"]} - {
        f"ok: {each['id']}: " for each in found["checks"]
    }
    assert wrong
    assert all(each in told.sentences and each in failed for each in wrong)


def test_timers_are_enabled_once(machine: Machine) -> None:
    """Those that are named."""
    site = played_machines.engine(machine)
    timers = ["storpool-ovirt-audit.timer", "storpool-ovirt-doctor.timer"]
    site.part("timers", timers=timers).check()
    assert site.served() == [f"{verb} {each}" for each in timers for verb in ("enable", "start")]
    site.part("timers", timers=timers).check(changed=0)
