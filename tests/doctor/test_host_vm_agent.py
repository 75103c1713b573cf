"""doctor host, the service for guests: on and at work, on and not, off where it would be of use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import PREFIX, SHIPPED

if TYPE_CHECKING:
    from host_ground import Host

CHECK = "host-vm-agent"
CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"
UNIT = "/etc/systemd/system/storpool-vm-agent.service"
ON = "LoadState=loaded UnitFileState=enabled"
RUNS = f"{ON} ActiveState=active SubState=running"
OFF = "LoadState=loaded UnitFileState=disabled ActiveState=inactive SubState=dead"
DOCUMENT = """<domstatus><domain><devices>
<disk type='block' device='disk'><source dev='{}'/><target dev='sda'/></disk>
<disk type='block' device='disk'><source {}/><target dev='sdb'/></disk>
<disk type='file' device='cdrom'><source file='/rhev/x.iso'/><target dev='sdc'/></disk>
</devices></domain></domstatus>"""
# It may not have begun yet.
STARTED = (
    "for each in $(seq 100); do pidof -s sleep && exit; timeout 0.1 tail -f /dev/null || :; done"
)


def says(facts: str, status: str = "", *more: str) -> str:
    """Return a script after which systemd says this of the service, whose unit is in place."""
    lines = [*facts.split(), f"StatusText={status}", f"FragmentPath={UNIT}", *more]
    told = "\\n".join(lines)
    return f"printf '{told}\\n' >/run/vm-agent; cp /srv/unit {UNIT}"


CASES = [
    Case(CHECK, says(RUNS, "2 VMs"), OK, "it runs: 2 VMs"),
    Case(CHECK, says(OFF), OK, "is off"),
    Case(CHECK, says(OFF.replace("disabled", "masked")), OK, "is off"),
    Case(CHECK, "rm -f /run/vm-agent", OK, "is off"),
    Case(
        CHECK,
        says(f"{ON} ActiveState=failed SubState=failed"),
        WARNING,
        "is enabled and does not run (failed, failed)",
        "journalctl -u storpool-vm-agent.service",
    ),
    Case(
        CHECK,
        says(f"{ON} ActiveState=activating SubState=auto-restart"),
        WARNING,
        "does not run (activating, auto-restart)",
    ),
    Case(
        CHECK,
        says(RUNS, "waits for the libvirt binding: No module named libvirt"),
        WARNING,
        "waits for the libvirt binding",
        "dnf install python3-libvirt",
    ),
    Case(
        CHECK,
        says(RUNS, "waits for libvirt: no socket"),
        WARNING,
        "waits for libvirt: no socket",
        "systemctl status libvirtd",
    ),
    Case(
        CHECK,
        says(RUNS, "waits for StorPool: refused"),
        WARNING,
        "waits for StorPool",
        "see host-storpool-api",
    ),
    Case(
        CHECK,
        says(RUNS) + f"; echo '# more' >>{UNIT}",
        WARNING,
        "is not the unit of this release",
        "storpool-ovirt setup host",
    ),
    Case(CHECK, says(RUNS) + f"; rm {UNIT}", UNKNOWN, UNIT),
    Case(CHECK, says("LoadState=bad-setting"), UNKNOWN, "says that it is bad-setting"),
    Case(CHECK, "rm -f /usr/sbin/systemctl", UNKNOWN, "", alone=True),
]


@pytest.fixture
def host_with_unit(host: Host) -> Host:
    """A host with the unit that we ship, where setup put it."""
    unit = SHIPPED / "systemd" / "storpool-vm-agent.service"
    host.write("/srv/unit", unit.read_text())
    host.write(UNIT, unit.read_text())
    return host


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_what_is_wrong_with_the_service_is_found(host_with_unit: Host, group: list[Case]) -> None:
    """By what systemd and it itself say; off is no fault."""
    host_cases.play(host_with_unit, group)


def test_a_service_of_an_earlier_release_is_restarted(host_with_unit: Host) -> None:
    """It was started, then its program was renewed; `--fix` restarts it, which nobody notices."""
    running = host_with_unit.machine.start("/bin/sleep", "1000")
    pid = host_with_unit.do(STARTED).split()[0]
    code = f"{PREFIX}/lib/python3*/site-packages/storpool_ovirt/__init__.py"
    host_with_unit.do(says(RUNS, "2 VMs", f"MainPID={pid}"))
    host_with_unit.do(f"touch {code}")
    found = host_with_unit.worst(CHECK)
    assert found.result == WARNING
    assert "before its program was renewed" in found.cause
    assert (found.fix, found.action) == ("systemctl restart storpool-vm-agent.service",) * 2
    assert running.poll() is None


@pytest.mark.parametrize(("second", "is_told"), [("dev", True), ("file='/rhev/image'", False)])
def test_vms_that_it_would_serve_are_advice(
    host_with_unit: Host, second: str, is_told: bool
) -> None:
    """Off is told with the VMs that have StorPool disks alone; with an image disk it would leave
    their freeze to Engine."""
    disks = [f"/dev/storpool-byid/{host_with_unit.attach(number).global_id}" for number in (1, 2)]
    second = f"dev='{disks[1]}'" if second == "dev" else second
    host_with_unit.write("/run/libvirt/qemu/vm1.xml", DOCUMENT.format(disks[0], second), 0o600)
    host_with_unit.do(says(OFF))
    found = host_with_unit.worst(CHECK)
    assert found.result == OK
    assert ("(vm1)" in found.cause) == is_told
    assert ("setup host --vm-agent" in found.cause) == is_told
