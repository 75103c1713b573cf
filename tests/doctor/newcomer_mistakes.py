"""What may break on a newcomer's machines: a row for each, of which a test takes some by chance.

Whatever it is, doctor has to tell of it by its check, and of nothing else but what follows from it;
and what it prints has to mend it.
"""

from __future__ import annotations

from typing import NamedTuple

CODE = "/usr/lib/storpool-ovirt/storpool_ovirt"
PROGRAMS = "/usr/libexec/storpool-ovirt"
HOOKS = "/usr/libexec/vdsm/hooks"
TOKEN = "/etc/ovirt-engine/storpool-ovirt/token"
SUDOERS = "/etc/sudoers.d/storpool-ovirt"
CINDERLIB = "/usr/share/ovirt-engine/cinderlib"
STOP = 'for each in $(ps -eo pid,args | grep "[{}]{}" | cut -c1-8); do kill $each; done'


class Mistake(NamedTuple):
    """What somebody does, as a shell script; the check that has to tell of it, whose fix is then
    done; and the checks that have to tell too, as they need what is broken."""

    place: str
    check: str
    script: str
    follow: tuple[str, ...] = ()


def _option(change: str) -> str:
    psql = "/usr/share/ovirt-engine/dbscripts/engine-psql.sh"
    return (
        f"""{psql} -c "UPDATE cinder_storage SET driver_options = driver_options || '{change}'" """
    )


_STATS, _RPM = "engine-domain-stats", "engine-packages"
_HOOK = ("host-hook-reported", "host-packages")
_DOOR = ("host-door", "host-fence-agent")
_VDSM = ("host-vdsm-helper", "host-vdsm-connector-info", "host-packages")

MISTAKES = {
    "the token is closed": Mistake("engine", "engine-token", f"chmod 0600 {TOKEN}", (_STATS,)),
    "the token is root's": Mistake("engine", "engine-token", f"chown root:root {TOKEN}", (_STATS,)),
    "the token's folder is closed": Mistake(
        "engine", _RPM, f"chmod 0700 {TOKEN.rpartition('/')[0]}", (_STATS, "engine-token")
    ),
    "the dispatcher is gone": Mistake(
        "engine",
        "engine-dispatcher",
        f"cd {CINDERLIB}; mv cinderlib-client.py.ovirt cinderlib-client.py",
        (_STATS,),
    ),
    "the adapter's link is gone": Mistake(
        "engine",
        "engine-adapter",
        "rm /usr/share/ovirt-engine/managedblock/storpool-adapter",
        (_STATS, _RPM),
    ),
    "the adapter is root's alone": Mistake(
        "engine", "engine-adapter", f"chmod 0700 {PROGRAMS}/storpool-adapter", (_STATS, _RPM)
    ),
    "a file of the code is gone": Mistake("engine", _RPM, f"rm {CODE}/engine/disks.py", (_STATS,)),
    "the folder of the log is root's": Mistake(
        "engine",
        "engine-log-folder",
        "chown root:root /var/log/ovirt-engine/managedblock",
        (_RPM,),
    ),
    "the drop-in is gone": Mistake(
        "engine",
        "engine-service",
        "rm /usr/lib/systemd/system/ovirt-engine.service.d/50-storpool-ovirt.conf",
        (_RPM,),
    ),
    "an option is misspelt": Mistake(
        "engine", "engine-domain-options", _option('{\\"sp_templat\\": \\"x\\"}'), (_STATS,)
    ),
    "the adapter is misspelt": Mistake(
        "engine", "engine-domain-adapter", _option('{\\"adapter\\": \\"storpol\\"}')
    ),
    "Engine has ended": Mistake("engine", "engine-running", STOP.format("j", "boss.server")),
    "Engine has not read its settings": Mistake(
        "engine",
        "engine-running",
        "sleep 2; touch -d '1 second ago' /etc/ovirt-engine/engine.conf.d/10-setup-cinderlib.conf",
    ),
    "the hook is root's alone": Mistake(
        "host",
        "host-hook-run",
        f"chmod 0700 {PROGRAMS}/storpool-vm-hook",
        (*_HOOK, "host-programs"),
    ),
    "the start's hook is gone": Mistake(
        "host",
        "host-hook-run",
        f"rm {HOOKS}/before_vm_start/50_storpool",
        (*_HOOK, "host-programs"),
    ),
    "the plug's hook is gone": Mistake(
        "host", "host-hook-run", f"rm {HOOKS}/before_disk_hotplug/50_storpool", _HOOK
    ),
    "the migration's hook is gone": Mistake(
        "host", "host-hook-run", f"rm {HOOKS}/before_vm_migrate_source/50_storpool", _HOOK
    ),
    "a hook is where none belongs": Mistake(
        "host",
        "host-hook-elsewhere",
        f"cd {HOOKS}; mkdir before_vm_migrate_destination;"
        f" ln -s {PROGRAMS}/storpool-vm-hook before_vm_migrate_destination/50_storpool",
    ),
    "multipathd has other settings": Mistake(
        "host", "host-multipath", "echo 'defaults {' >/run/multipath"
    ),
    "everybody reads storpool.conf": Mistake(
        "host", "host-token-reach", "chmod 0644 /etc/storpool.conf"
    ),
    "the file for sudo is gone": Mistake(
        "host", "host-sudoers", f"rm {SUDOERS}", (*_DOOR, "host-packages")
    ),
    "the file for sudo is everybody's": Mistake(
        "host", "host-sudoers", f"chmod 0666 {SUDOERS}", (*_DOOR, "host-sudo-syntax")
    ),
    "os_brick is gone": Mistake("host", "host-vdsm-piece", "rm /usr/libexec/vdsm/os_brick", _VDSM),
    "the helper is gone": Mistake(
        "host",
        "host-programs",
        "rm /usr/libexec/vdsm/managedvolume-helper-storpool",
        _VDSM,
    ),
    "root's door cannot be run": Mistake(
        "host",
        "host-programs",
        f"chmod 0644 {PROGRAMS}/storpool-vm-door",
        ("host-door", "host-packages"),
    ),
    "user vdsm has root's door": Mistake(
        "host", "host-code-owner", f"chown vdsm {PROGRAMS}/storpool-vm-door", ("host-packages",)
    ),
    "a group may write the code": Mistake(
        "host", "host-code-owner", f"chmod g+w {CODE}/host", ("host-packages",)
    ),
    "the fence agent is gone": Mistake("host", "host-packages", "rm /usr/sbin/fence_storpool"),
    "StorPool's service is down": Mistake(
        "host", "host-storpool-service", "touch /run/block-is-down"
    ),
    "everybody writes the logs": Mistake(
        "host", "host-logs", "chmod 0777 /var/log/storpool-ovirt", ("host-packages",)
    ),
    "QEMU has no right to a device": Mistake(
        "host", "host-disk-qemu", 'chown root:root "$(realpath /dev/storpool-byid/*)"'
    ),
    "the boot hook did not end": Mistake("host", "host-hook-boot", "rm -r /run/storpool-ovirt"),
    "vdsmd has ended": Mistake("host", "host-vdsm-restart", STOP.format("l", "ibexec/vdsm/vdsmd")),
}
