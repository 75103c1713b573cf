"""A host on which all is well, as a machine that may be broken: Vdsm's files as far as they matter,
our links to the programs that pip put there, and stand-ins of the tools that cannot be had here.

A module that uses it takes the fixtures `host_layer`, `cluster` and `host` from here.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import looking
import pytest
from looking import Found, Wanted

import ovirt_demo
import storpool_ovirt
from ovirt_demo import simulator, vdsm_rows
from rigs import clusters
from rigs.machine import PREFIX, USERS, Machine
from storpool_ovirt.privilege import sudo_request

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = Path(storpool_ovirt.__file__).parent / "setup" / "files"
PLAYERS = Path(ovirt_demo.__file__).with_name("players")
LIBEXEC = "/usr/libexec/vdsm"
HOOKS = f"{LIBEXEC}/hooks"
VDSMS = "/usr/lib/python3/dist-packages/vdsm"  # where this machine's /usr/bin/python3 finds it
POINTS = (
    "before_vm_start",
    "before_disk_hotplug",
    "before_vm_migrate_source",
    "after_disk_hotunplug",
)
CONF = "/etc/storpool.conf"
SUDOERS = "/etc/sudoers.d/storpool-ovirt"
DOORS = (sudo_request.DOOR, sudo_request.FENCE_DOOR)
RELEASED = ("rbd", "iscsi", "lightos", "local")
VERSION = "4.50.7"

# What Vdsm does when it is asked (v4.50.7: common/hooks.py, host/caps.py).
CAPABILITIES = """#!/usr/bin/python3
import glob, hashlib, json, os, subprocess, sys
assert sys.argv[1:] == ["Host", "getCapabilities"], sys.argv
helper = ["/usr/bin/python3", "/usr/libexec/vdsm/managedvolume-helper", "connector_info"]
done = subprocess.run(helper, capture_output=True, env={"PYTHONPATH": "/usr/libexec/vdsm"})
told = {"software_version": "VERSION", "hooks": {}}
if done.returncode == 0:
    told["connector_info"] = json.loads(done.stdout)
os.setgroups([107, 179]); os.setgid(36); os.setuid(36)
for path in glob.glob("/usr/libexec/vdsm/hooks/*/*"):
    if os.path.isfile(path) and os.access(path, os.X_OK):
        point, name = path.split("/")[-2:]
        try:
            digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
        except OSError:
            digest = ""
        told["hooks"].setdefault(point, {})[name] = {"checksum": digest}
print(json.dumps(told))
""".replace("VERSION", VERSION)
# static/libexec/vdsm/get-conf-item asks Python's configparser too.
GET_CONF_ITEM = """#!/usr/bin/python3
import configparser, sys
_, file, section, item, default = sys.argv
config = configparser.ConfigParser()
config.read(file)
print(config.get(section, item, fallback=default))
"""
# lib/vdsm/tool/configurators/managedvolumedb.py: there, vdsm's, of version 1.
VDSM_TOOL = """#!/usr/bin/python3
import os, sqlite3, sys
assert sys.argv[1:] == ["is-configured", "--module", "managedvolumedb"], sys.argv
facts = os.stat("/var/lib/vdsm/storage/managedvolume.db")
assert (facts.st_uid, facts.st_gid) == (36, 36), "it is not vdsm's"
with sqlite3.connect("file:/var/lib/vdsm/storage/managedvolume.db?mode=ro", uri=True) as database:
    assert database.execute("SELECT version FROM versions").fetchall() == [(1,)]
"""
MULTIPATH = """
defaults {
	user_friendly_names "no"
}
blacklist {
	devnode "!^(sd[a-z]|sp-[0-9]+)"
	devnode "^sp-[0-9]+"
	device {
		vendor "x"
	}
}
blacklist_exceptions {
	property "(SCSI_IDENT_|ID_WWN)"
}
"""
# What the other tools say where all is well.
TOOLS = {
    "multipathd": """
case $* in
"show config") cat /run/multipath 2>/dev/null || cat /etc/multipath-shown ;;
reconfigure) rm -f /run/multipath ;;
esac""",
    "lvmconfig": """[ "$*" != devices/filter ] || exit 5; echo use_devicesfile=1""",
    "pvs": "echo '  /dev/vda3|onn|lvm2'; echo '  /dev/vda1||'",
    "udevadm": """
for each in /dev/storpool-byid/*; do
    [ "$(realpath $each)" != "$4" ] || echo "storpool-byid/${each##*/}"
done""",
    "systemctl": """
case $* in
"is-active storpool_block") echo active ;;
"is-active fapolicyd") echo inactive; exit 3 ;;
"show --property=LoadState "*) cat /run/vm-agent 2>/dev/null || echo LoadState=not-found ;;
"show --property=After vdsmd.service") echo "After=multipathd.service storpool_block.service" ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac""",
    "ausearch": "echo '<no matches>' >&2; exit 1",
    "getenforce": "echo Enforcing",
    "fapolicyd-cli": "echo 'Trust database is consistent'",
    "rpm": """
case $* in
"-q --qf %{VERSION} vdsm") printf 4.50.7 ;;
*) echo "package ${3:-$2} is not installed"; exit 1 ;;
esac""",
}
# Whoever runs until the machine ends; its words are those of the daemon.
DAEMON = "#!/bin/sh\nsleep 1000\nexit 0\n"


class Disk(NamedTuple):
    """A volume of oVirt's in the cluster."""

    id: str
    global_id: str

    @property
    def name(self) -> str:
        """What StorPool calls it."""
        return f"ovirt--{self.id}"


SD = "11111111-2222-4333-8444-555555555555"
# A plain file stands for the node: where it matters here they are alike.
NODE = """
mkdir -p /dev/storpool-byid /run/vdsm/managedvolumes
chown vdsm:kvm /run/vdsm /run/vdsm/managedvolumes
truncate -s 1M "$1"; chown vdsm:qemu "$1"; chmod 0660 "$1"; ln -s "$1" "$2"
"""
# The first as `vdsm-tool configure` makes it, the second as Vdsm adds a row.
SQL = """
/usr/bin/python3 - "$@" <<'END'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    if sys.argv[3:]:
        database.execute(sys.argv[2], sys.argv[3:])
    else:
        database.executescript(sys.argv[2])
END
chown vdsm:kvm "$1"
"""
ROW = "INSERT OR REPLACE INTO volumes VALUES (?, ?, ?, ?, NULL, datetime('now'))"


class Host:
    """The machine, and the cluster whose client 1 it is."""

    def __init__(self, machine: Machine, cluster: simulator.Simulator) -> None:
        self.machine, self.cluster = machine, cluster
        self.write, self.tool, self.do = machine.write, machine.tool, machine.do
        self.took = 0.0  # the last look, in seconds

    def look(self, *ids: str, fix: bool = False) -> list[Found]:
        """Run these checks, or all, and return what they find; `fix` does what they offer."""
        wanted = Wanted("host", ids, 8, fix)
        found, _, self.took = looking.look(self.machine, wanted, [self.cluster.token])
        return found

    def worst(self, id: str) -> Found:  # noqa: A002  what it is called everywhere
        """Return the worst that one check finds."""
        order = ("critical", "warning", "unknown", "ok")
        return min(self.look(id), key=lambda each: order.index(each.result))

    def attach(self, number: int = 1) -> Disk:
        """Have a volume of oVirt's attached here as Vdsm does it, on the node /dev/sp-NUMBER."""
        disk = self.volume()
        self.cluster.api("VolumesReassignWait", {"reassign": [{"volume": disk.name, "rw": [1]}]})
        self.do(NODE, f"/dev/sp-{number}", f"/dev/storpool-byid/{disk.global_id}")
        self.row(disk.id, disk.global_id)
        path = f"/dev/storpool-byid/{disk.global_id}"
        self.do('ln -s "$1" "$2"', path, vdsm_rows.link(SD, disk.id))
        return disk

    def row(self, vol_id: str, global_id: str) -> None:
        """Have Vdsm's row of a volume of ours."""
        info = {
            "adapter": "storpool",
            "driver_volume_type": "local",
            "data": {"volume": vol_id, "global_id": global_id, "access_mode": "rw"},
        }
        path = f"/dev/storpool-byid/{global_id}"
        self.sql(ROW, vol_id, path, json.dumps(info), json.dumps({"path": path}))

    def sql(self, statement: str, *values: str) -> None:
        """Change Vdsm's database."""
        self.do(SQL, vdsm_rows.DATABASE, statement, *values)

    def volume(self) -> Disk:
        """Make a volume of oVirt's that is attached nowhere."""
        vol_id = str(uuid.uuid4())
        tags = {"virt": "ovirt", "ovirt-uuid": vol_id}
        made = {"name": f"ovirt--{vol_id}", "size": 1 << 20, "template": "hybrid", "tags": tags}
        return Disk(vol_id, str(self.cluster.api("VolumeCreate", made)["globalId"]))

    def start_vdsm(self) -> None:
        """Have both daemons run, as they do from now on."""
        for name, user in (("supervdsmd", "root"), ("vdsmd", "vdsm")):
            self.machine.start(f"{LIBEXEC}/{name}", user=user, env={"PYTHONPATH": LIBEXEC})
        for _ in range(500):
            if self.do("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").count(f"{LIBEXEC}/") >= 2:
                return
        raise AssertionError("vdsmd does not start")


def put(layer: Path, name: str, text: str, mode: int = 0o644, owner: int = 0) -> Path:
    """Write a file of a layer."""
    path = layer / name[1:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def link(layer: Path, name: str, target: str) -> None:
    """Make a link of a layer."""
    path = layer / name[1:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def vdsm_files(layer: Path) -> None:
    """Put what Vdsm's package has, as far as we meet it."""
    helper = (PLAYERS / "managedvolume_helper.py").read_text()
    put(layer, f"{LIBEXEC}/managedvolume-helper", helper)
    put(layer, f"{LIBEXEC}/get-conf-item", GET_CONF_ITEM, 0o755)
    for name in ("vdsmd", "supervdsmd"):
        put(layer, f"{LIBEXEC}/{name}", DAEMON, 0o755)
    put(layer, f"{VDSMS}/__init__.py", "")
    put(layer, f"{VDSMS}/storage/__init__.py", "")
    player = (PLAYERS / "managedvolume.py").read_text()
    types = re.sub(r"(?m)^SUPPORTED_DRIVERS = .*$", f"SUPPORTED_DRIVERS = {RELEASED!r}", player)
    put(layer, f"{VDSMS}/storage/managedvolume.py", types)
    put(layer, "/usr/sbin/vdsm-client", CAPABILITIES, 0o755)
    put(layer, "/usr/sbin/vdsm-tool", VDSM_TOOL, 0o755)
    put(layer, "/etc/vdsm/vdsm.conf", "")
    put(layer, "/etc/multipath-shown", MULTIPATH)
    put(layer, "/etc/lvm/devices/system.devices", "")
    # Without an entry here PAM takes the user for locked, and sudo asks for a password.
    entries = [f"{user}:!!:19000::::::" for user in USERS]
    theirs = Path("/etc/shadow").read_text().splitlines()
    put(layer, "/etc/shadow", "\n".join([*theirs, *entries]) + "\n", 0o640)
    for folder in ("/var/log/vdsm", "/var/lib/vdsm/storage"):
        place = layer / folder[1:]
        place.mkdir(parents=True)
        os.chown(place, 36, 36)


def our_files(layer: Path) -> None:
    """Put ours there as docs/install.md has it."""
    link(
        layer,
        f"{LIBEXEC}/managedvolume-helper-storpool",
        f"{PREFIX}/bin/managedvolume-helper-storpool",
    )
    minor = "python{}.{}".format(*sys.version_info[:2])
    piece = f"{PREFIX}/lib/{minor}/site-packages/storpool_ovirt/host/os_brick_piece/os_brick"
    link(layer, f"{LIBEXEC}/os_brick", piece)
    for point in POINTS:
        link(layer, f"{HOOKS}/{point}/50_storpool", f"{PREFIX}/bin/storpool-vm-hook")
    link(layer, f"{HOOKS}/before_vdsm_start/50_storpool", f"{PREFIX}/bin/storpool-boot-hook")
    link(layer, "/usr/sbin/fence_storpool", f"{PREFIX}/bin/fence_storpool")
    for door in DOORS:
        link(layer, door, f"{PREFIX}/bin/{Path(door).name}")
    for name, mode in (
        ("sudoers.d/storpool-ovirt", 0o440),
        ("multipath/conf.d/storpool-ovirt.conf", 0o644),
        ("logrotate.d/storpool-ovirt-host", 0o644),
    ):
        put(layer, f"/etc/{name}", (SHIPPED / name.replace("/conf.d", ".conf.d")).read_text(), mode)
    (layer / "var/log/storpool-ovirt").mkdir(parents=True, mode=0o700)


@pytest.fixture(scope="session")
def host_layer(machine_layers: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What such a host has beyond a machine with our programs."""
    layer = tmp_path_factory.mktemp("host-layer")
    vdsm_files(layer)
    our_files(layer)
    for name, script in TOOLS.items():
        put(layer, f"/usr/sbin/{name}", f"#!/bin/sh\n{script}\n", 0o755)
    for folder in (layer, *(each for each in layer.rglob("*") if each.is_dir())):
        if not folder.is_symlink() and folder.name != "storpool-ovirt":
            folder.chmod(0o755)
    return layer


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[simulator.Simulator]:
    """A simulator; client 1 is the host that is looked at."""
    folder = tmp_path_factory.mktemp("cluster")
    hosts = {number: folder / f"host{number}" for number in (1, 2)}
    with clusters.process(folder / "simulator", hosts, devices="file") as running:
        yield running


@pytest.fixture
def host(
    machine_layers: tuple[Path, Path],
    host_layer: Path,
    cluster: simulator.Simulator,
    tmp_path: Path,
) -> Iterator[Host]:
    """A host on which all is well, for one test."""
    machine = Machine(tmp_path / "machine", *machine_layers, host_layer)
    try:
        machine.write(CONF, (Path(cluster.hosts[1]) / "etc/storpool.conf").read_text(), 0o600)
        machine.do(SQL, vdsm_rows.DATABASE, vdsm_rows.SCHEMA)
        yield Host(machine, cluster)
    finally:
        machine.end()
        cluster.clear_faults()
        cluster.set_client(1, status="running")
        listed = cluster.api("AttachmentsList")
        items = [
            {"volume": each["volume"], "detach": [each["client"]], "force": True} for each in listed
        ]
        if items:
            cluster.api("VolumesReassignWait", {"reassign": items})
