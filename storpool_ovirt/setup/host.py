"""The steps on a host.

Their order: what keeps two hosts from writing one disk is there before anything can be attached,
and goes after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_ovirt import config, errors, installation, names, presence, storpool_conf
from storpool_ovirt.host import boot_sweep, vm_points
from storpool_ovirt.setup import locks, placing, services, vm_agent
from storpool_ovirt.setup.guard import HELPER, PIECE, VDSM, Hook
from storpool_ovirt.setup.links import Link
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import DONE, NEEDS_YOU, NOT_NEEDED, Found, Restart, Row, Step, Told
from storpool_ovirt.setup.sudoers import Sudoers
from storpool_ovirt.setup.things import File, Folder, Shipped
from storpool_ovirt.setup.trusted import Trusted

HOOKS = f"{VDSM}/hooks"
SCRIPT = "50_storpool"
LOGS = "/var/log/storpool-ovirt"
PERSISTED = "/var/imgbased/persisted-rpms"
_OURS_THERE = tuple(f"storpool-ovirt-{each}-" for each in ("common", "admin", "host"))


class Wishes(NamedTuple):
    """What a person says about a host; `vm_agent`: on or off, None is as it is."""

    vm_agent: bool | None = None


def steps(site: Site, wishes: Wishes) -> list[Step]:
    """Return the plan of a host."""
    return [
        *([Node(site)] if site.is_node else []),
        *([] if site.is_packaged else [Trusted(site)]),
        Folder(
            site,
            ("log-folder", "the folder of root's logs"),
            "/var/log/storpool-ovirt",
            "root",
            0o700,
        ),
        File(
            site,
            ("tmpfiles", "the folder of locks, made at each boot"),
            Shipped(
                "/etc/tmpfiles.d/storpool-ovirt.conf",
                "tmpfiles.d/storpool-ovirt.conf",
                packages_path="/usr/lib/tmpfiles.d/storpool-ovirt.conf",
            ),
        ),
        *_doors(site),
        File(
            site,
            ("sudoers", "user vdsm may ask root by these doors"),
            Shipped(
                "/etc/sudoers.d/storpool-ovirt",
                "sudoers.d/storpool-ovirt",
                mode=0o440,
                judge=Sudoers(site.root),
            ),
        ),
        *_hooks(site),
        File(
            site,
            ("multipath", "multipathd leaves StorPool's devices alone"),
            Shipped(
                "/etc/multipath/conf.d/storpool-ovirt.conf",
                "multipath.conf.d/storpool-ovirt.conf",
                reader=services.Multipathd(site.root),
            ),
        ),
        Link(
            site,
            ("helper", "the program that Vdsm runs for attach and detach"),
            HELPER,
            site.program("managedvolume-helper-storpool"),
        ),
        Link(
            site,
            ("os-brick", "the package that a Vdsm up to 4.50.7 finds us by"),
            PIECE,
            f"{site.code}/host/os_brick_piece/os_brick",
        ),
        Link(
            site,
            ("fence-agent", "the agent, where Vdsm looks for one"),
            "/usr/sbin/fence_storpool",
            site.program("fence_storpool"),
        ),
        File(
            site,
            ("logrotate", "the rotation of the logs"),
            Shipped("/etc/logrotate.d/storpool-ovirt-host", "logrotate.d/storpool-ovirt-host"),
        ),
        *vm_agent.steps(site, wishes.vm_agent),
        Settings(site),
    ]


def restarts(site: Site, rows: Sequence[Row]) -> list[Restart]:
    """Return what somebody has to restart, after a plan was done, or would be."""
    return [*_of_vdsmd(site, rows), *vm_agent.restarts(site)]


def _of_vdsmd(site: Site, rows: Sequence[Row]) -> list[Restart]:
    states = {row.id: row.found.state for row in rows}
    state = states.get("os-brick")
    is_new = state == "would change"
    if state in ("done", "changed"):
        started = services.started_at(site.root, "vdsmd")
        is_new = 0 < started < placing.changed_at(site.path(PIECE))
        is_new = is_new or (state == "changed" and not services.is_booted(site.root))
    if not is_new:
        return []
    # Each update of the package puts it there anew, and nobody can tell from that it is the first.
    update = "" if state != "done" else "; if this was an update alone it has it already"
    return [
        Restart(
            "vdsmd",
            f"it looks for {PIECE} when it starts{update}",
            "it leaves VMs alone, and is best done in maintenance: systemctl restart vdsmd, then"
            " Management, Refresh Capabilities in Engine (or Activate)",
        )
    ]


def tidy(site: Site) -> None:
    """Take away the locks that nobody holds, and what the boot hook remembers of this boot."""
    if site.is_packaged or site.has_packages:
        return
    folder = site.root + locks.FOLDER
    for name in presence.listed(folder):
        if name != locks.SETUP:
            locks.tidied(f"{folder}/{name}")


def _doors(site: Site) -> list[Step]:
    if site.is_packaged:
        return []
    return [
        Link(
            site,
            (f"{word}-door", f"root's door for {whom}"),
            f"{installation.PACKAGES_PROGRAMS}/storpool-{word}-door",
            site.program(f"storpool-{word}-door"),
        )
        for word, whom in (("vm", "the hook"), ("fence", "the fence agent"))
    ]


def _hooks(site: Site) -> list[Step]:
    fencing = [
        _hook(site, point, f"one writer for each disk, at {point}")
        for point, each in vm_points.POINTS.items()
        if each.refuses
    ]
    boot = Hook(
        site,
        ("boot-hook", "what an earlier boot left blocks no VM"),
        f"{HOOKS}/{boot_sweep.POINT}/{SCRIPT}",
        site.program("storpool-boot-hook"),
    )
    untagging = [
        _hook(site, point, "an unplugged disk is in no snapshot of its VM")
        for point, each in vm_points.POINTS.items()
        if not each.refuses
    ]
    return [*fencing, boot, *untagging]


def _hook(site: Site, point: str, title: str) -> Step:
    return Hook(
        site,
        (f"hook-{point.replace('_', '-')}", title),
        f"{HOOKS}/{point}/{SCRIPT}",
        site.program("storpool-vm-hook"),
    )


class Node(Told):
    """oVirt Node keeps nothing of /usr through an upgrade but what dnf has put aside."""

    id = "node"
    title = "the packages, where an upgrade of oVirt Node finds them"

    def __init__(self, site: Site) -> None:
        self._site = site

    def look(self) -> Found:
        """As Step has it."""
        there = presence.listed(self._site.path(PERSISTED))
        lacking = [each[:-1] for each in _OURS_THERE if not any(each in one for one in there)]
        if not lacking:
            return Found(DONE, f"{PERSISTED} has them")
        return Found(
            NEEDS_YOU,
            f"{PERSISTED} has no {' and no '.join(lacking)}: an upgrade of Node would lose what is"
            " here, and VMs would start unfenced",
            "install the packages with dnf on this host (dnf reinstall, where rpm has them)",
        )

    def look_back(self) -> Found:
        """As Step has it."""
        return Found(NOT_NEEDED, "dnf put it there")


class Settings(Told):
    """Which StorPool client this host is, and its way to the API: by /etc/storpool.conf, which root
    reads at each call. So it may be written anew at any time, by any tool."""

    id = "storpool-conf"
    title = "the host's way to StorPool"

    def __init__(self, site: Site) -> None:
        self._site = site

    def look(self) -> Found:
        """As Step has it."""
        root = self._site.root
        try:
            settings = config.host(root, environment=False)
            ids = storpool_conf.client_ids(root)
            storpool_conf.section_of(settings.client_id, ids)
        except errors.InputError as error:
            return Found(NEEDS_YOU, f"{error.what} {error.why}", error.advice)
        told = f"this is client {settings.client_id} of the API at {settings.api.host}"
        own = {names.client_id(each) for each in ids.values()}
        if settings.client_id not in own:
            return Found(
                NEEDS_YOU,
                f"{told}, by a line before all sections of {storpool_conf.FILE}",
                "give each host its own section: that line makes each reader this client",
            )
        return Found(DONE, told)

    def look_back(self) -> Found:
        """As Step has it."""
        return Found(NOT_NEEDED, f"{storpool_conf.FILE} is StorPool's, and stays")
