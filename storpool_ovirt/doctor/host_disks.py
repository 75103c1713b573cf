"""Whether the disks that are attached here are used as they have to be: nothing stale in Vdsm's
books, nothing left over, and nobody but QEMU on top of them."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable

from storpool_ovirt import names, presence, text
from storpool_ovirt.doctor import asking, checks, host_steps, host_storpool
from storpool_ovirt.doctor import host_facts as host
from storpool_ovirt.doctor.asking import As
from storpool_ovirt.doctor.checks import Action, Check, Result, Site
from storpool_ovirt.host import openers, run_links, vdsm_rows

BLOCKED = "Vdsm refuses to attach this volume again (errors 927 and 929), and its VM does not start"
LEFT = "it stays attached for ever, a delete of the disk waits for it, and hosts are kept from it"
CLEARS = "a restart of vdsmd clears it where StorPool says it is closed, and VMs outlive that"
# A VM that stops has its disks detached within moments; one that is restored may take minutes.
IDLE_SECONDS = 3600.0
SHOWN_MAX = 20
MULTIPATH_FILE = "/etc/multipath/conf.d/storpool-ovirt.conf"
RECONFIGURE = "multipathd reconfigure"
_DEVICE_OF_OURS = "sp-0"
DEVICES_FILE = "/etc/lvm/devices/system.devices"
_NO_SETTING = 5  # ECMD_FAILED: "Configuration node ... not found"
_REST = "r|.*|"  # how Vdsm's filter ends: all that was not named
_LVM_FIX = "vdsm-tool config-lvm-filter -y"
_PVS = ["pvs", "-a", "--noheadings", "--separator", "|", "-o", "pv_name,vg_name,pv_fmt"]
_SEES = "LVM of this host may use volume groups of guests, and write to their disks"


@dataclass(frozen=True)
class Disk:
    """A row of Vdsm's for a volume of ours: whether its run link leads to a device, and whether
    there is one."""

    row: vdsm_rows.Row
    is_live: bool
    is_here: bool

    @property
    def path(self) -> str:
        """The link to its device."""
        return names.device_path(self.row.global_id or "")


def _disks(site: Site) -> list[Disk]:
    rows = [row for row in host.rows(site) if row.ours]
    live = run_links.live(site.root) if rows else set()
    return [Disk(row, row.vol_id in live, _is_here(site, row.global_id)) for row in rows]


def _device(site: Site, global_id: str) -> str:
    return site.path(names.device_path(global_id))


def _of_each(found: Sequence[Result], well: str) -> Iterator[Result]:
    """Yield what is wrong, of the first that are; or that nothing is."""
    yield from found[:SHOWN_MAX]
    if len(found) > SHOWN_MAX:
        yield checks.unknown(f"{len(found) - SHOWN_MAX} more are not told")
    if not found:
        yield checks.ok(well)


def stale(site: Site) -> Iterator[Result]:
    """Look for rows of an earlier boot, or of a volume that was taken away."""
    disks = _disks(site)
    if not all(each.is_live and each.is_here for each in disks):
        # A row comes before its device, and goes after it.
        time.sleep(min(host_storpool.SETTLE_SECONDS, site.left() / 4))
        disks = _disks(site)
    found = [_stale(each) for each in disks if not (each.is_live and each.is_here)]
    yield from _of_each(found, f"{len(disks)} rows of ours, each with its link and its device")


def _stale(disk: Disk) -> Result:
    if disk.row.global_id is None:
        cause = "its row does not tell one volume of StorPool's"
        fix = "look at it with  sqlite3 -readonly /var/lib/vdsm/storage/managedvolume.db"
        return Result(checks.WARNING, cause, BLOCKED, fix, disk.row.vol_id)
    what = (
        "it has a device, and no run link of this boot"
        if disk.is_here
        else "its device is not here: it was taken from this host, or is of an earlier boot"
    )
    return Result(
        checks.WARNING,
        f"Vdsm has a row, but {what}; {CLEARS}",
        BLOCKED,
        host.RESTART,
        disk.row.vol_id,
    )


def taken(site: Site) -> Iterator[Result]:
    """Compare the volumes that Vdsm has attached with those that StorPool says are."""
    host.settings(site)  # where it makes no sense nothing was compared
    live = [each for each in _disks(site) if each.is_live and each.is_here]
    own, listed = host_storpool.attached(site) if live else (0, [])
    mine = [each for each in listed if each.client_id == own]
    view = openers.look(site.root) if live else None
    found = []
    for disk in live:
        name = names.object_name(disk.row.vol_id)
        if not any(each.is_of(disk.row.global_id or "", name) for each in mine):
            device = view.devices.get(disk.row.global_id or "") if view else None
            who = (_openers(device) if device else "") or "nobody"
            cause = (
                f"Vdsm has it attached, and StorPool not to client {own}; {who} has it open here"
            )
            risk = "it was taken from this host: a VM that has it here writes to nothing"
            fix = f"stop that VM here; {_who_has(disk.row.vol_id)}"
            found.append(Result(checks.CRITICAL, cause, risk, fix, disk.row.vol_id))
    yield from _of_each(found, f"all {len(live)} that Vdsm has attached are attached in StorPool")


def rowless(site: Site) -> Iterator[Result]:
    """Look for oVirt's volumes that are attached here, and of which Vdsm knows nothing."""
    own, listed = host_storpool.attached(site)
    mine = [each for each in listed if each.client_id == own and _is_here(site, each.global_id)]
    ours = [each for each in mine if names.uuid_of(each.name) is not None]
    rows = host.rows(site) if ours else []
    linked = run_links.linked(site.root)
    view = openers.look(site.root) if ours else None
    found = []
    for each in ours:
        words = [word for word in (each.global_id, names.uuid_of(each.name)) if word]
        if each.global_id in linked or any(row.mentions(word) for row in rows for word in words):
            continue
        device = view.devices.get(each.global_id or "") if view else None
        who = _openers(device) if device else ""
        cause = f"it is attached here ({who or 'closed'}), and Vdsm has no row of it"
        let_go = f"detach {each.name} from client {own} alone, by StorPool's own tools"
        fix = "stop what has it open" if who else f"{let_go}, when no VM with it starts here"
        risk = f"{LEFT}; storpool-host-in-use does not see it"
        found.append(Result(checks.WARNING, cause, risk, fix, each.name))
    yield from _of_each(found, f"all {len(ours)} of oVirt's that are attached here have a row")


def _is_here(site: Site, global_id: str | None) -> bool:
    return global_id is not None and presence.there(_device(site, global_id))


def _who_has(vol_id: str) -> str:
    """Return what tells of a volume; Vdsm's word for it may be anything, and is no command then."""
    if not names.UUID.fits(vol_id):
        return "look with  storpool-ovirt attachments  which disk it is"
    return f"storpool-ovirt attachments --disk {shlex.quote(vol_id)}  on Engine's machine"


def _openers(device: openers.Device) -> str:
    processes = [
        f"VM {each.vm} (pid {each.pid})" if each.vm else f"{each.name} (pid {each.pid})"
        for each in device.processes
    ]
    return ", ".join([*processes, *device.above][:3])


def idle(site: Site) -> Iterator[Result]:
    """Look for volumes that are attached here for long, and that nobody has open."""
    live = [each for each in _disks(site) if each.is_live and each.is_here]
    view = openers.look(site.root) if live else None
    found = []
    for disk in live:
        device = view.devices.get(disk.row.global_id or "") if view else None
        age = time.time() - device.made_at if device else 0.0
        if device and device.open is False and age > IDLE_SECONDS:
            cause = f"it is attached here for {age / 3600:.0f} h, and nobody has it open"
            fix = _who_has(disk.row.vol_id)
            found.append(Result(checks.WARNING, cause, LEFT, fix, disk.row.vol_id))
    yield from _of_each(found, f"none of {len(live)} is attached for an hour without a use")


def qemu(site: Site) -> Iterator[Result]:
    """Look whose the devices are that Vdsm gave to QEMU, and read one of them as QEMU does."""
    live = [each for each in _disks(site) if each.is_live and each.is_here]
    wanted = (_uid(host.VDSM), _gid(host.QEMU))
    found = []
    for disk in live:
        path = site.path(disk.path)
        facts = os.stat(path)
        if (facts.st_uid, facts.st_gid) != wanted:
            found.append(_foreign(path, facts, disk.row.vol_id))
    if live and not found:
        path = site.path(live[0].path)
        words = ["dd", f"if={path}", "of=/dev/null", "bs=4096", "count=1"]
        answer = asking.ask(site, words, As(host.QEMU))
        if answer.code != 0:
            cause = f"user qemu cannot read {path}: {answer.said}"
            fix = f"namei -l {shlex.quote(path)}; ausearch -m avc -c qemu-kvm -ts recent"
            found.append(Result(checks.CRITICAL, cause, _NO_QEMU, fix, live[0].row.vol_id))
    yield from _of_each(found, f"QEMU can open the {len(live)} that Vdsm has attached")


_NO_QEMU = "QEMU cannot open the disk: its VM does not start"


def _foreign(path: str, facts: os.stat_result, vol_id: str) -> Result:
    node = os.path.realpath(path)
    action = Action(f"chown vdsm:qemu {shlex.quote(node)}", functools.partial(_give, path=path))
    cause = f"{path} is user {facts.st_uid}'s and group {facts.st_gid}'s, not vdsm:qemu"
    return Result(checks.CRITICAL, cause, _NO_QEMU, action.what, vol_id, action)


def _give(root: str, path: str) -> str:
    del root  # the path has it
    host.act(["chown", "vdsm:qemu", path])
    return f"{path} is vdsm:qemu"


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise asking.Missing(f"user {name} is not known here") from None


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise asking.Missing(f"group {name} is not known here") from None


def links(site: Site) -> Iterator[Result]:
    """Ask udev whether the links by id are its own: Vdsm's rule finds a device by them."""
    listed = presence.listed(site.path(names.DEVICE_FOLDER))
    here = [each for each in listed if names.GLOBAL_ID.fits(each)]
    found = []
    for global_id in here[:SHOWN_MAX]:
        node = os.path.realpath(_device(site, global_id))
        answer = asking.ask(site, ["udevadm", "info", "-q", "symlink", node])
        if answer.code != 0:
            raise asking.Silent(f"udevadm info {node} fails: {answer.said}")
        if names.device_path(global_id)[len("/dev/") :] not in answer.out.split():
            link = names.device_path(global_id)
            cause = f"udev does not know {link}, by StorPool's rules, as a link of {node}"
            risk = "Vdsm's rule does not give the device to QEMU, and a VM may not start"
            fix = f"udevadm trigger --settle {shlex.quote(node)}"
            found.append(Result(checks.WARNING, cause, risk, fix, global_id))
    yield from _of_each(found, f"udev knows the links of {len(here)} devices")


def holders(site: Site) -> Iterator[Result]:
    """Look what the kernel has on top of StorPool's devices: maps, mounts, swap."""
    view = openers.look(site.root)
    found = []
    for global_id, device in view.devices.items():
        if device.above:
            above = ", ".join(device.above[:3])
            cause = f"{above} is on top of {device.path} on this host"
            risk = "the volume can never be detached, and this host may write to a guest's disk"
            fix = f"{_fix_of(device.above[0])}; then see host-multipath and host-lvm"
            found.append(Result(checks.CRITICAL, cause, risk, fix, global_id))
    if not found and not view.all_listed:
        yield checks.unknown(view.blind or "devices cannot be listed")
        return
    yield from _of_each(found, f"nothing is on top of {len(view.devices)} devices")


def _fix_of(above: str) -> str:
    label = re.search(r"\((.*)\)", above)
    if above.startswith("dm-"):
        name = shlex.quote(label.group(1) if label else above)
        return f"multipath -f {name}, or  dmsetup info {name}  and  vgchange -an  of its group"
    return "unmount, or end, what is there"


def multipath(site: Site) -> Iterator[Result]:
    """Ask multipathd itself which devices it leaves alone."""
    answer = asking.ask(site, ["multipathd", "show", "config"])
    if answer.code != 0 or "{" not in answer.out:
        yield checks.unknown(f"multipathd show config: {answer.said}", "systemctl start multipathd")
        return
    if _leaves_alone(answer.out):
        yield checks.ok("multipathd leaves StorPool's devices alone")
        return
    cause = "multipathd does not leave StorPool's devices (sp-...) alone"
    risk = "it makes a map on top of each, and then none can be detached, and no VM can be migrated"
    if presence.there(site.path(MULTIPATH_FILE)):
        action = Action(RECONFIGURE, _reconfigure)
        cause += f"; {MULTIPATH_FILE} is there, and not what it runs with"
        yield Result(checks.CRITICAL, cause, risk, RECONFIGURE, action=action)
    else:
        cause += f"; {site.path(MULTIPATH_FILE)} is not there"
        yield Result(checks.CRITICAL, cause, risk, *_multipath_again())


def _multipath_again() -> tuple[str, str, Action | None]:
    """Return the fix, no subject and the action that bring the file back and have it read."""
    again = host_steps.again("multipath")
    fix = f"{again.fix}; {RECONFIGURE}"
    if again.action is None:
        return fix, "", None
    return fix, "", Action(fix, functools.partial(_put_back, first=again.action.do))


def _put_back(root: str, first: Callable[[str], str]) -> str:
    return f"{first(root)}; {_reconfigure(root)}"


def _leaves_alone(config: str) -> bool:
    """Return whether the names of StorPool's devices are on the black list, and no exception."""
    section, listed = "", {"blacklist": False, "blacklist_exceptions": False}
    for line in text.lines(config):
        words = line.split()
        if words[-1:] == ["{"]:
            section = section or words[0]
        elif words[:1] == ["}"] and not line.startswith((" ", "\t")):
            section = ""
        elif section in listed and words[:1] == ["devnode"]:
            listed[section] |= _matches(line.partition("devnode")[2].strip(' \t"'))
    return listed["blacklist"] and not listed["blacklist_exceptions"]


def _matches(pattern: str) -> bool:
    inverted = pattern.startswith("!")
    try:
        return (re.search(pattern[inverted:], _DEVICE_OF_OURS) is not None) != inverted
    except re.error:  # the C library's expressions are not quite Python's
        return False


def _reconfigure(_root: str) -> str:
    host.act(["multipathd", "reconfigure"])
    return "multipathd has read its files again"


def lvm(site: Site) -> Iterator[Result]:
    """Ask LVM whether it uses listed devices alone, and whether it sees any of StorPool's."""
    seen = _seen_by_lvm(site)
    if seen:
        groups = ", ".join(sorted(group for group in seen.values() if group)) or "no group"
        cause = f"LVM of this host sees {', '.join(sorted(seen)[:3])} ({groups})"
        yield Result(checks.CRITICAL, cause, _SEES, _LVM_FIX)
    listed = _uses_listed_alone(site)
    if listed:
        yield checks.ok(listed)
    elif not seen:
        cause = "LVM of this host uses each device that it finds: it has no list and no filter"
        yield Result(checks.WARNING, cause, _SEES, _LVM_FIX)


def _uses_listed_alone(site: Site) -> str:
    """Return how LVM is kept to the devices that it is to use, "" where it is not.

    Without that file it counts as off (lvmdevices(8)). Vdsm's older way is a filter.
    """
    asked = asking.ask(site, ["lvmconfig", "--type", "full", "devices/use_devicesfile"])
    _check_answered(asked)
    is_on = asked.code == 0 and text.stripped(asked.out).endswith("=1")
    if is_on and presence.there(site.path(DEVICES_FILE)):
        return f"LVM uses the devices of {DEVICES_FILE} alone"
    filtered = asking.ask(site, ["lvmconfig", "devices/filter"])
    _check_answered(filtered)
    return "LVM has a filter that ends with all" if _REST in filtered.out else ""


def _check_answered(answer: asking.Answer) -> None:
    """Raise Silent where lvmconfig fails, but for a setting that it does not have (code 5)."""
    if answer.code not in (0, _NO_SETTING):
        raise asking.Silent(f"lvmconfig fails: {answer.said}")


def _seen_by_lvm(site: Site) -> dict[str, str]:
    """Return the physical volumes that LVM sees on StorPool's devices, with their groups."""
    answer = asking.ask(site, _PVS)
    found = {}
    for line in text.lines(answer.out):
        device, _, rest = line.strip(" \t").partition("|")
        group, _, kind = rest.partition("|")
        is_ours = re.match(r"/dev/(sp-[0-9]|storpool)", device) is not None
        if is_ours and (group or kind):
            found[device] = group
    if answer.code != 0 and not found:
        raise asking.Silent(f"pvs fails: {answer.said}")
    return found


CHECKS = host.masked(
    Check("host-disk-stale", "Vdsm has no row of an earlier boot", stale),
    Check("host-disk-taken", "what Vdsm has attached was not taken from this host", taken),
    Check("host-disk-rowless", "Vdsm knows of all that is attached here", rowless),
    Check("host-disk-idle", "nothing is attached here that nobody uses", idle),
    Check("host-disk-qemu", "QEMU can open the disks", qemu),
    Check("host-disk-links", "links to devices are udev's", links),
    Check("host-disk-holders", "nothing but QEMU uses the devices", holders),
    Check("host-multipath", "multipathd leaves StorPool's devices alone", multipath),
    Check("host-lvm", "LVM of this host does not see guests' disks", lvm),
)
