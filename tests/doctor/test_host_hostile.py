"""doctor host where somebody of this host has laid something out for root: it is no way to root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_ground import CONF, HOOKS, LIBEXEC, SD, SUDOERS

from ovirt_demo.vdsm_rows import DATABASE

if TYPE_CHECKING:
    from host_ground import Host

MARK = "/root/somebody-was-root"
AS_ROOT = f"""import os
if os.getuid() == 0:
    open({MARK!r}, "w").close()
"""
NOBODY = "65534:65534"
OPEN = "nobody ALL=(ALL) NOPASSWD: ALL"


def _is_there(host: Host, path: str) -> bool:
    return host.machine.run("test", "-e", path).returncode == 0


def test_nobodys_process_gives_root_no_environment(host: Host) -> None:
    """It has supervdsmd's words, and where Python looks for modules a module of its own."""
    host.write("/evil/sitecustomize.py", AS_ROOT, owner=NOBODY)
    start = "import os; os.execve('/bin/sleep', ['/evil/x/supervdsmd', '100'], dict(os.environ))"
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    process = host.machine.start(
        *command, "/usr/bin/python3", "-c", start, env={"PYTHONPATH": "/evil"}
    )
    while "/evil/x/supervdsmd" not in host.do("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'"):
        assert process.poll() is None
    assert host.worst("host-vdsm-helper").result == "ok"
    assert host.worst("host-vdsm-restart").cause == "vdsmd and supervdsmd does not run"
    assert not _is_there(host, MARK)


def test_a_daemon_of_somebody_else_is_none(host: Host) -> None:
    """Root's file, and another user than the daemon's."""
    for name in ("supervdsmd", "vdsmd"):
        host.machine.start(f"{LIBEXEC}/{name}", user="qemu")
    while host.do("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").count(f"{LIBEXEC}/") < 2:
        pass
    assert host.worst("host-vdsm-restart").cause == "vdsmd and supervdsmd does not run"


def test_rules_that_others_wrote_come_into_force_by_no_fix(host: Host) -> None:
    """They stay what sudo passes over."""
    host.write(SUDOERS, f"{OPEN}\n", 0o666)
    before = host.machine.tree(SUDOERS)
    host.look("host-sudoers", fix=True)
    assert host.machine.tree(SUDOERS) == before
    assert host.do('stat -c "%a" "$1"', SUDOERS).strip() == "666"
    assert OPEN in host.machine.read(SUDOERS)


def test_mending_starts_the_systems_own_tools(host: Host) -> None:
    """Whatever folder and PATH the caller has."""
    host.write("/evil/chmod", f"#!/bin/sh\ntouch {MARK}\n", 0o755, NOBODY)
    host.do(f"chmod 0644 {CONF}")
    path = {"PATH": ":/evil:/usr/sbin:/usr/bin:/sbin:/bin"}
    host.machine.run(
        "/opt/storpool-ovirt/bin/storpool-ovirt", "doctor", "host", "--fix", cwd="/evil", env=path
    )
    assert not _is_there(host, MARK)
    assert host.do('stat -c "%a" "$1"', CONF).strip() == "640"


MANY = """
/usr/bin/python3 - "$1" <<'END'
import json, os, sqlite3, sys, uuid
os.makedirs("/run/vdsm/managedvolumes"); os.makedirs("/dev/storpool-byid")
with sqlite3.connect(sys.argv[1]) as database:
    for number in range(2000):
        volume, path = str(uuid.uuid4()), f"/dev/storpool-byid/abc.b.{number + 4096:x}"
        os.symlink("/dev/null", path)
        os.symlink(path, f"/run/vdsm/managedvolumes/11111111-2222-4333-8444-555555555555_{volume}")
        info = {"adapter": "storpool", "data": {"volume": volume}}
        values = (volume, path, json.dumps(info), json.dumps({"path": path}))
        database.execute("INSERT INTO volumes VALUES (?, ?, ?, ?, NULL, datetime('now'))", values)
END
chown vdsm:kvm "$1"
"""


def test_two_thousand_disks_are_looked_at_in_time(host: Host) -> None:
    """Each as quickly as when there is one alone."""
    host.do(MANY, DATABASE)
    found = host.worst("host-disk-stale")
    assert (found.result, found.cause[:17]) == ("ok", "2000 rows of ours"), found


def test_a_name_in_vdsms_database_is_no_command(host: Host) -> None:
    """Root pastes what is told as the fix."""
    disk = host.attach()
    name = f"x;cd ..;cd root;touch {MARK.rpartition('/')[2]};#"
    host.sql("DELETE FROM volumes")
    host.row(name, disk.global_id)
    host.do(
        'rm /run/vdsm/managedvolumes/*; ln -s "$1" "$2"; touch -h -d "3 hours ago" /dev/sp-1 "$1"',
        f"/dev/storpool-byid/{disk.global_id}",
        f"/run/vdsm/managedvolumes/{SD}_{name}",
    )
    host.do('touch -d "3 hours ago" /dev/sp-1')
    found = host.worst("host-disk-idle")
    assert (found.result, found.subject) == ("warning", name), found
    assert found.fix == "look with  storpool-ovirt attachments  which disk it is"


def test_no_mending_lets_disks_be_attached_without_a_hook(host: Host) -> None:
    """A hook that is not ours stays, and so the helper that is missing does not come back."""
    hook, helper = (
        f"{HOOKS}/before_vm_start/50_storpool",
        f"{LIBEXEC}/managedvolume-helper-storpool",
    )
    host.do(f"rm {hook} {helper}")
    host.write(hook, "#!/bin/sh\nexit 0\n", 0o755)
    done = host.machine.run("/opt/storpool-ovirt/bin/storpool-ovirt", "doctor", "host", "--fix")
    (told,) = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert "host-programs" in told, done
    assert not _is_there(host, helper)
