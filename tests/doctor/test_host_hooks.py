"""doctor host, the hooks: those that Vdsm would skip without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from host_ground import HOOKS, LIBEXEC, POINTS, PREFIX

if TYPE_CHECKING:
    from host_ground import Host

FOLDER = f"{HOOKS}/before_vm_start"
START = f"{FOLDER}/50_storpool"
PROGRAM = f"{PREFIX}/bin/storpool-vm-hook"
BOOT = f"{HOOKS}/before_vdsm_start/50_storpool"
SETUP = "storpool-ovirt setup host"
MARKER = "/run/storpool-ovirt/boot-hook.done"


def test_all_is_well(host: Host) -> None:
    """Each point is a result of its own; nothing of it needs anything to be done."""
    found = host.look("host-hook-run", "host-hook-reported", "host-hook-elsewhere")
    assert {each.result for each in found} == {"ok"}, found
    for check in ("host-hook-run", "host-hook-reported"):
        assert [each.subject for each in found if each.id == check] == [*POINTS]
    assert not any(each.fix or each.risk or each.action for each in found)


class Broken(NamedTuple):
    """What somebody did, and what is told: the words, the step, whether `--fix` mends it."""

    script: str
    said: str
    fix: str = ""
    mends: bool = False


RUN = {
    "gone": Broken(f"rm {START}", "50_storpool is not there", SETUP, mends=True),
    "dangling": Broken(f"ln -sfn /nowhere {START}", "leads nowhere", f"rm {START}; {SETUP}"),
    "mode": Broken(
        f"chmod 0700 {PROGRAM}", f"user vdsm cannot use {PROGRAM}", "chmod -R a+rX", mends=True
    ),
    "narrow umask": Broken(
        f"chmod -R go= {PREFIX}", f"user vdsm cannot use {PREFIX} ", "chmod -R a+rX", mends=True
    ),
    "closed library": Broken(
        f"chmod 0700 {PREFIX}/lib/python3*/site-packages/storpool_ovirt", "ends with code"
    ),
    "closed folder": Broken(f"chmod 0711 {FOLDER}", "cannot list", "storpool-ovirt setup host"),
    "closed way": Broken(
        "chmod 0750 /opt", "user vdsm cannot use /opt ", "install where user vdsm can read"
    ),
    "no interpreter": Broken(
        f"sed -i '1s,.*,#!/no/python3,' {PROGRAM}", "is for /no/python3, which"
    ),
    "other program": Broken(f"ln -sfn /bin/true {START}", "ends with code 0"),
    "two versions": Broken(f"sed -i s/vm_hook/no_such/ {PROGRAM}", "no_such"),
}


@pytest.mark.parametrize("broken", RUN.values(), ids=RUN)
def test_a_hook_that_vdsm_cannot_run_is_critical(host: Host, broken: Broken) -> None:
    """Its risk is told, and the step that mends it; what a mode alone keeps away `--fix` opens."""
    host.do(broken.script)
    found = host.worst("host-hook-run")
    assert (found.result, bool(found.action)) == ("critical", broken.mends), found
    assert broken.said in found.cause
    assert found.fix.startswith(broken.fix)
    assert "unfenced" in found.risk or "two writers" in found.risk
    if broken.mends:
        host.look("host-hook-run", fix=True)
        assert host.worst("host-hook-run").result == "ok"


def test_without_vdsms_user_nobody_can_look(host: Host) -> None:
    """A machine without Vdsm: neither good nor bad."""
    host.do("sed -i /^vdsm:/d /etc/passwd")
    found = host.worst("host-hook-run")
    assert (found.result, found.cause) == ("unknown", "user vdsm is not known here")


def test_what_vdsm_does_not_count_is_critical(host: Host) -> None:
    """By its own word, not ours."""
    host.do(f"chmod 0700 {PROGRAM}")
    found = host.worst("host-hook-reported")
    assert found.result == "critical"
    assert "does not count" in found.cause


def test_other_content_than_vdsm_reads_is_critical(host: Host) -> None:
    """The sum that Vdsm tells is not that of the file."""
    host.do("sed -i 's/sha256(/sha256(b\"x\" + /' /usr/sbin/vdsm-client")
    assert host.worst("host-hook-reported").result == "critical"


@pytest.mark.parametrize(
    "script",
    [
        "rm /usr/sbin/vdsm-client",
        "echo exit 3 >/usr/sbin/vdsm-client",
        "printf '#!/bin/sh\\necho x' >/usr/sbin/vdsm-client",
    ],
    ids=["missing", "fails", "no JSON"],
)
def test_a_vdsm_that_does_not_answer_is_unknown(host: Host, script: str) -> None:
    """It may be stopped for maintenance."""
    host.do(script)
    assert {each.result for each in host.look("host-hook-reported")} == {"unknown"}


def test_a_hook_at_a_foreign_point_is_critical(host: Host) -> None:
    """There it refuses, and Vdsm obeys."""
    folder = f"{HOOKS}/before_vm_migrate_destination"
    host.do(f"mkdir {folder}; ln -s {PROGRAM} {folder}/50_storpool")
    found = host.worst("host-hook-elsewhere")
    assert (found.result, found.fix) == ("critical", f"rm {folder}/50_storpool")


def test_the_boot_hook_is_as_vdsmd_left_it(host: Host) -> None:
    """Not run yet, run before it was there, not come to its end, done."""
    assert host.worst("host-hook-boot").result == "ok"
    host.start_vdsm()
    found = host.worst("host-hook-boot")
    assert found.result == "warning"
    assert "did not come to its end" in found.cause
    host.do(f"ln -sfn {PREFIX}/bin/storpool-boot-hook {BOOT}")
    found = host.worst("host-hook-boot")
    assert "started before" in found.cause
    assert found.fix.startswith("systemctl restart vdsmd")
    host.do(f"{BOOT}")
    found = host.worst("host-hook-boot")
    assert (found.result, found.cause) == ("ok", "it came to its end in this boot")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"rm {BOOT}", "is not there"),
        (f"chmod 0644 {PREFIX}/bin/storpool-boot-hook", "root cannot run"),
        (f"ln -sfn /bin/false {BOOT}", "fails"),
    ],
)
def test_a_boot_hook_that_root_cannot_run_is_critical(host: Host, script: str, said: str) -> None:
    """Rows of the boot before would block VMs."""
    host.do(script)
    found = host.worst("host-hook-boot")
    assert found.result == "critical"
    assert said in found.cause


def test_it_is_unknown_where_the_marker_cannot_be_seen(host: Host) -> None:
    """A link in a circle is in its place."""
    host.do(f"mkdir -p /run/storpool-ovirt; ln -s boot-hook.done {MARKER}")
    assert host.worst("host-hook-boot").result == "unknown"


def test_only_root_looks_as_vdsm(host: Host) -> None:
    """Another user is told so, and nothing is called broken."""
    driver = f"{LIBEXEC}/driver"
    host.write(
        driver,
        "from storpool_ovirt.doctor import checks, run, tables\n"
        "table = [each for each in tables.of('host') if each.id == 'host-hook-run']\n"
        "print(run.examined(checks.Site('host'), table, 5.0)[0].result)\n",
    )
    done = host.machine.run(f"{PREFIX}/bin/python3", driver, user="ovirt")
    assert "run this as root" in done.stdout
    assert "unknown" in done.stdout
