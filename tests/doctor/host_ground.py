"""A host on which all is well, as a machine that may be broken: Vdsm's files as far as they matter,
our links to the programs that pip put there, and stand-ins of the tools that cannot be had here.

A module that uses it takes the fixtures `host_layer`, `cluster` and `host` from here.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import ovirt_demo
from ovirt_demo import simulator
from rigs.machine import PREFIX, Machine
from storpool_ovirt.privilege import sudo_request

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
PLAYERS = Path(ovirt_demo.__file__).with_name("players")
LIBEXEC = "/usr/libexec/vdsm"
HOOKS = f"{LIBEXEC}/hooks"
VDSMS = "/usr/lib/python3/dist-packages/vdsm"  # where this machine's /usr/bin/python3 finds it
POINTS = ("before_vm_start", "before_disk_hotplug", "before_vm_migrate_source")
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
# Whoever runs until the machine ends; its words are those of the daemon.
DAEMON = "#!/bin/sh\nsleep 1000\nexit 0\n"
DRIVER = """
import json, sys, time
from storpool_ovirt.doctor import checks, run, tables
wanted, fix = sys.argv[2:], sys.argv[1] == "fix"
table = [each for each in tables.of("host") if each.id in wanted or not wanted]
assert {each.id for each in table} >= {*wanted}, wanted
found = run.examined(checks.Site("host"), table, 9.0)
for each in found:
    action = each.result.action
    if fix and action:
        action.do("")
    print(json.dumps({"id": each.check.id, "result": each.result.result, "cause":
        each.result.cause, "risk": each.result.risk, "fix": each.result.fix, "subject":
        each.result.subject, "action": action.what if action else "", "seconds": each.seconds}))
"""


class Found(NamedTuple):
    """One result of a check, as a program reads it."""

    id: str
    result: str
    cause: str
    risk: str
    fix: str
    subject: str
    action: str
    seconds: float


class Host:
    """The machine, and the cluster whose client 1 it is."""

    def __init__(self, machine: Machine, cluster: simulator.Simulator) -> None:
        self.machine, self.cluster = machine, cluster
        self.write, self.tool, self.do = machine.write, machine.tool, machine.do

    def look(self, *ids: str, fix: bool = False) -> list[Found]:
        """Run these checks, or all, and return what they find; `fix` does what they offer."""
        done = self.machine.run(
            f"{PREFIX}/bin/python3", "-c", DRIVER, "fix" if fix else "look", *ids
        )
        assert done.returncode == 0, done.stderr
        assert self.cluster.token not in done.stdout + done.stderr
        return [Found(**json.loads(line)) for line in done.stdout.splitlines()]

    def worst(self, id: str) -> Found:  # noqa: A002  what it is called everywhere
        """Return the worst that one check finds."""
        order = ("critical", "warning", "unknown", "ok")
        return min(self.look(id), key=lambda each: order.index(each.result))

    def start_vdsm(self) -> None:
        """Have both daemons run, as they do from now on."""
        for name in ("supervdsmd", "vdsmd"):
            self.machine.start(f"{LIBEXEC}/{name}", env={"PYTHONPATH": LIBEXEC})
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
    put(layer, "/etc/vdsm/vdsm.conf", "")
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
    for door in DOORS:
        link(layer, door, f"{PREFIX}/bin/{Path(door).name}")
    for name, mode in (
        ("sudoers.d/storpool-ovirt", 0o440),
        ("multipath/conf.d/storpool-ovirt.conf", 0o644),
        ("logrotate.d/storpool-ovirt-host", 0o644),
    ):
        put(layer, f"/etc/{name}", (REPOSITORY / "etc" / name).read_text(), mode)
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


# What each of the others says where all is well.
TOOLS: dict[str, str] = {}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[simulator.Simulator]:
    """A simulator; client 1 is the host that is looked at."""
    folder = tmp_path_factory.mktemp("cluster")
    hosts = {number: folder / f"host{number}" for number in (1, 2)}
    with simulator.running(folder / "simulator", hosts, devices="file") as running:
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
    machine.write(CONF, (Path(cluster.hosts[1]) / "etc/storpool.conf").read_text(), 0o600)
    machine.see(Path(cluster.hosts[1]) / "dev/storpool-byid", "/dev/storpool-byid")
    yield Host(machine, cluster)
    machine.end()
