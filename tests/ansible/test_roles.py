"""Both roles on a machine: check mode, once, again, broken, taken off."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import played_machines
import pytest
from played_machines import HOST_TASKS, POST_TASKS, Site, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs.machine import Machine

# Whatever setup has put there, spoiled in every way that a file or a folder can be; by the title of
# the step that mends it.
ENGINE_BROKEN = {
    "the folder of the adapter's log": "chmod 0755 /var/log/ovirt-engine/managedblock",
    "the program that Engine runs for each verb": (
        "rm /usr/share/ovirt-engine/managedblock/storpool-adapter"
    ),
    "the command storpool-ovirt": "rm /usr/local/sbin/storpool-ovirt",
    "the program that keeps the dispatcher in its place": "rm -r /usr/libexec/storpool-ovirt",
    "the dispatcher, which an Engine up to 4.5.7 needs": (
        "cd /usr/share/ovirt-engine/cinderlib && mv cinderlib-client.py.ovirt cinderlib-client.py"
    ),
    "the dispatcher, before each start of Engine": (
        "rm -r /etc/systemd/system/ovirt-engine.service.d"
    ),
    "the rotation of the logs": "rm /etc/logrotate.d/storpool-ovirt-engine",
    "StorPool's token for Engine": "chmod 0644 /etc/ovirt-engine/storpool-ovirt/token",
    "the fence agent among Engine's": "engine-config -s CustomVdsFenceType=another",
    "the properties by which a VM says its QoS class and its policy": (
        "engine-config -s UserDefinedVMProperties=other=.* --cver=4.7"
    ),
}
DOCTOR = "Ask storpool-ovirt doctor"
_HOOKS = "/usr/libexec/vdsm/hooks"
HOST_BROKEN = {
    "the folder of root's logs": "chmod 0755 /var/log/storpool-ovirt",
    "root's door for the hook": "rm /usr/libexec/storpool-ovirt/storpool-vm-door",
    "root's door for the fence agent": "rm /usr/libexec/storpool-ovirt/storpool-fence-door",
    "user vdsm may ask root by these doors": "chmod 0644 /etc/sudoers.d/storpool-ovirt",
    "one writer for each disk, at before_vm_start": f"rm -r {_HOOKS}/before_vm_start/50_storpool",
    "one writer for each disk, at before_disk_hotplug": f"rm -r {_HOOKS}/before_disk_hotplug",
    "what an earlier boot left blocks no VM": f"rm {_HOOKS}/before_vdsm_start/50_storpool",
    "multipathd leaves StorPool's devices alone": "rm -r /etc/multipath/conf.d",
    "the program that Vdsm runs for attach and detach": (
        "rm /usr/libexec/vdsm/managedvolume-helper-storpool"
    ),
    "the package that a Vdsm up to 4.50.7 finds us by": "rm /usr/libexec/vdsm/os_brick",
    "the agent, where Vdsm looks for one": "rm /usr/sbin/fence_storpool",
    "the folder of locks, made at each boot": "rm /etc/tmpfiles.d/storpool-ovirt.conf",
}


@pytest.fixture(params=["engine", "host"])
def site(request: pytest.FixtureRequest, machine: Machine) -> Site:
    """Each of both, with nothing set up."""
    make = played_machines.engine if request.param == "engine" else played_machines.host
    return make(machine)


class _Health(http.server.BaseHTTPRequestHandler):
    """Engine's page of its health: it is up at the second question."""

    asked = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).asked += 1
        self.send_response(200 if self.asked > 1 else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def health() -> Iterator[list[str]]:
    """Where such a page is, in words for the role."""
    _Health.asked = 0
    with http.server.HTTPServer(("127.0.0.1", 0), _Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}/"
        yield ["-e", f"__engine_health_page={page}", "-e", "__engine_health_delay=1"]
        server.shutdown()


def test_check_mode_tells_what_is_done_then_and_once_is_enough(
    site: Site, health: list[str]
) -> None:
    """It changes nothing; what it promised is done by the first run, which shows no secret at -vvv,
    and nothing by the second; taken off, all is as it was.

    A service is restarted where that is asked and setup says that it has to be, and then Engine is
    waited for; doctor is asked at the end, and not in check mode, as it would tell what the role is
    about to mend.
    """
    service = {"engine": "ovirt-engine", "host": "vdsmd"}[site.role]
    asked = {f"restart_{service.removeprefix('ovirt-')}": True}
    before = site.tree()
    checked = site.play("--check", *health, **asked, doctor=True, doctor_fails_on="unknown").check()
    assert (site.tree(), site.served(), _Health.asked) == (before, [], 0)
    assert len(steps(checked)) > 5
    assert DOCTOR not in checked.text
    given = {"doctor": True, "doctor_fails_on": "never", **asked}
    first = site.play("-vvv", "--diff", *health, **given).check(changed=checked.counts["changed"])
    assert (first.changed, steps(first)) == (checked.changed, steps(checked))
    assert f"{service}: " in first.text
    assert site.served() == [f"restart {service}"]
    assert _Health.asked == (2 if site.role == "engine" else 0)
    assert first.text.index(DOCTOR) > first.text.index(f"Restart {service}")
    whole = site.tree()
    assert steps(site.play(*health).check(changed=0)) == []
    gone = site.play("--check", state="absent").check()
    assert site.tree() == whole
    undone = site.play(state="absent").check()
    assert undone.changed == gone.changed
    assert site.tree() == before


def test_what_was_broken_is_mended_and_only_that(site: Site) -> None:
    """Each link, file, folder, mode and setting: the next run names those steps and no other, and
    the tree is what it was; what somebody else has changed beside ours stays. Nothing is restarted,
    as nobody asked for it."""
    site.play().check()
    whole = site.tree()
    broken = ENGINE_BROKEN if site.role == "engine" else HOST_BROKEN
    site.machine.do("\n".join(f"({each})" for each in broken.values()))
    if site.role == "engine":
        site.machine.do('rm "$1"; echo "# spoiled" >>"$2"', POST_TASKS, HOST_TASKS)
    assert site.tree() != whole
    mended = site.play().check(changed=3 if site.role == "engine" else 1)
    assert steps(mended) == sorted(broken)
    assert (site.tree(), site.served()) == (whole, [])
    if site.role == "engine":
        asked = site.machine.run("engine-config", "-g", "CustomVdsFenceType").stdout
        assert asked == "CustomVdsFenceType: another,storpool version: general\n"


def test_the_service_for_guests_is_as_it_is_told(machine: Machine) -> None:
    """Off at first, and left as it is unless a variable says so; on and off by setup's own step,
    once each."""
    site = played_machines.host(machine)
    unit = "storpool-vm-agent.service"
    site.play().check()
    assert site.served() == []
    site.play(vm_agent="enabled").check(changed=1)
    assert site.served() == [f"enable {unit}"]
    for variables in ({"vm_agent": "enabled"}, {}):
        site.play(**variables).check(changed=0)
    site.play(vm_agent="disabled").check(changed=1)
    assert site.served() == [f"enable {unit}", f"disable {unit}"]
