"""Whether storpool-vm-agent does its work, where somebody has turned it on."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import errors, installation, presence, rights, text
from storpool_ovirt.agent import hypervisor
from storpool_ovirt.doctor import asking, checks, host_steps
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.checks import Action, Check, Result, Site
from storpool_ovirt.host import device_paths, domain_xml
from storpool_ovirt.setup import services, vm_agent
from storpool_ovirt.setup import site as setup_site

UNIT = vm_agent.UNIT
# libvirt keeps a document here for each VM that runs, as it is now; for root alone.
RUNNING_VMS = "/run/libvirt/qemu"
WAITS = "waits for "  # how its status begins where something that it needs is not there
_FACTS = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "StatusText",
    "FragmentPath",
    "MainPID",
)
_ON = ("enabled", "enabled-runtime", "linked", "linked-runtime")
_UNSEEN = "guests do not see that a disk has grown, and stay frozen after a snapshot that fails"
_START = f"systemctl restart {UNIT}"
_LOOK = f"journalctl -u {UNIT} -n 50"
_FIXES = {  # by what it waits for
    "the libvirt binding": "dnf install python3-libvirt",
    "libvirt": "systemctl status libvirtd; virsh -r list",
    "StorPool": "see host-storpool-api",
}


def service(site: Site) -> Iterator[Result]:
    """Ask systemd for the service, and what it says of itself."""
    command = ["systemctl", "show", *(f"--property={each}" for each in _FACTS), UNIT]
    answer = asking.ask(site, command)
    if answer.code != 0:
        yield checks.unknown(f"systemctl show {UNIT}: {answer.said}")
        return
    facts = services.told(answer.out, _FACTS)
    is_on = facts["UnitFileState"] in _ON or facts["ActiveState"] == "active"
    if facts["LoadState"] not in ("loaded", "masked", "not-found"):
        yield checks.unknown(f"systemctl show {UNIT} says that it is {facts['LoadState'] or '?'}")
    elif not is_on:
        yield checks.ok(_off(site))
    elif facts["ActiveState"] != "active":
        state = f"{facts['ActiveState']}, {facts['SubState']}"
        yield Result(
            checks.WARNING,
            f"{UNIT} is enabled and does not run ({state})",
            _UNSEEN,
            f"{_LOOK}; {_START}",
        )
    else:
        pid = text.number(facts["MainPID"], 0, 1 << 31) or 0
        yield _running(site, facts["StatusText"], pid)
    if is_on:
        yield from _unit(site, facts["FragmentPath"])


def _running(site: Site, status: str, pid: int) -> Result:
    """Return what is so of a service that runs."""
    if status.startswith(WAITS):
        missing = status[len(WAITS) :]
        fix = next((fix for name, fix in _FIXES.items() if missing.startswith(name)), _LOOK)
        return Result(checks.WARNING, f"{UNIT} {status}", _UNSEEN, fix)
    program = site.path(f"{setup_site.Site(setup_site.HOST).code}/__init__.py")
    if pid and presence.there(program) and host.is_older(pid, program):
        return Result(
            checks.WARNING,
            f"{UNIT} was started before its program was renewed",
            "programs of two releases were never tried together",
            _START,
            action=Action(_START, _restart),
        )
    return checks.ok(f"it runs: {status or 'it says nothing of itself'}")


def _restart(root: str) -> str:
    del root
    host.act(["systemctl", "restart", UNIT])
    return f"{UNIT} was restarted"


def _unit(site: Site, path: str) -> Iterator[Result]:
    """Look whether the unit is that of this release: it says what the service may do."""
    if not path:
        return
    shipped = rights.read(setup_site.Site(setup_site.HOST).shipped(vm_agent.SHIPPED))
    if rights.read(site.path(path)) == shipped:
        yield checks.ok("it is that of this release", path)
        return
    # Setup leaves what a person has changed, and tells how to compare.
    again = host_steps.again("vm-agent-unit").fix
    own = path == vm_agent.PLACE and installation.is_packaged()
    fix = f"move {path} away; systemctl daemon-reload; {_START}" if own else again
    cause = f"{path} is not the unit of this release"
    risk = "the service may do more than it needs, or less"
    yield Result(checks.WARNING, cause, risk, fix, path)


def _off(site: Site) -> str:
    """Return that it is off, and for which VMs here it would be of use."""
    there = _whole_vms(site)
    if not there:
        return f"{UNIT} is off"
    named = ", ".join(there[:3]) + (" and more" if len(there) > 3 else "")
    return (
        f"{UNIT} is off; VMs here have StorPool disks alone ({named}): it would thaw them after"
        f" snapshots and show them when a disk grows; {vm_agent.TURN_ON} turns it on"
    )


def _whole_vms(site: Site) -> list[str]:
    """Return the VMs that run here and whose disks are all StorPool's; none where nobody may look:
    it is advice, and no fault."""
    found = []
    try:
        folder = site.path(RUNNING_VMS)
        for name in sorted(presence.listed(folder)):
            if name.endswith(".xml") and _is_whole(site, rights.read(f"{folder}/{name}")):
                found.append(name[: -len(".xml")])
    except (errors.Error, OSError):
        return []
    return found


def _is_whole(site: Site, document: bytes) -> bool:
    root = domain_xml.parsed(document)
    disks = [each for each in root.below("disk") if each.get("device") not in hypervisor.NO_DISKS]
    paths = [domain_xml.path_of(each) for each in disks]
    return bool(paths) and all(each and device_paths.global_ids(each, site.root) for each in paths)


CHECKS = host.masked(
    Check("host-vm-agent", "guests are thawed and see their disks grow, where asked for", service),
)
