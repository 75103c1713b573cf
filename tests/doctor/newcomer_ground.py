"""Engine's machine and a host as a newcomer has them: oVirt is there, and nothing of ours.

Both are copies of this machine, with rpm's own database in them. The newcomer's steps are those of
docs/install.md and docs/domains.md, done by the commands that are named there; what Engine and Vdsm
do then is played. What came of it is kept as a layer, so that a test may break a copy of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import host_ground
import psycopg2
from engine_ground import CONF_D, DEFAULTS, ServedMachine

from ovirt_demo import hooks, vdsm_rows
from rigs import (
    built_packages,
    clusters,
    engine_config_tool,
    engine_database,
    rest_engine,
    stock_packages,
)
from rigs.clock import wait_until
from rigs.machine import Machine, made_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovirt_demo.database import Database
    from ovirt_demo.simulator import Simulator

COMMAND = "/usr/sbin/storpool-ovirt"
CINDERLIB = "/usr/share/ovirt-engine/cinderlib"
LIBEXEC = host_ground.LIBEXEC
HOOK = f"{host_ground.HOOKS}/before_vm_start/50_storpool"
BOOT_HOOK = f"{host_ground.HOOKS}/before_vdsm_start/50_storpool"
RPMS = "/rpms"
OURS = {place: built_packages.TOGETHER[place] for place in ("engine", "host")}
THEIRS = {"engine": ("system", "ovirt-engine-backend", "ovirt-engine"), "host": ("system", "vdsm")}
LIBRARIES = ("psycopg2", "psycopg2_binary.libs", "ovirtsdk4", "pycurl", "pycurl.libs", "curl")
ENGINES_MARK = "-Djboss.server.default.config=ovirt-engine"
DISK_GIB = "1"
PATIENCE = 6
OPEN = 'ln -s "$1" "$2"; node="$(realpath "$1")"; chown vdsm:qemu "$node"; chmod 0660 "$node"'
# What dnf does with packages that were installed from files.
DNF = f"""
[ "$1" = reinstall ] || {{ echo "dnf: $*" >&2; exit 9; }}
shift
for each in "$@"; do set -- "$@" {RPMS}/$each-[0-9]*.rpm; shift; done
exec rpm -U --replacepkgs "$@"
"""
# Units run where /run says so, and what starts runs until the machine ends.
SYSTEMCTL = f"""
engine() {{ setsid setpriv --reuid=ovirt --regid=ovirt --clear-groups env LC_ALL=en_US.UTF-8 \\
    sh -c 'sleep 600; true' {ENGINES_MARK} x >/dev/null 2>&1 </dev/null & }}
daemon() {{ PYTHONPATH={LIBEXEC} setsid setpriv --reuid=$2 --regid=$3 --clear-groups {LIBEXEC}/$1 \\
    >/dev/null 2>&1 </dev/null & }}
end() {{ for each in $(ps -eo pid,args | grep "$1" | cut -c1-8); do kill $each; done; }}
case $* in
"is-active fapolicyd") echo inactive; exit 3 ;;
"is-enabled storpool-ovirt-audit.timer") echo disabled; exit 1 ;;
"is-active storpool_block")
    [ ! -e /run/block-is-down ] || {{ echo inactive; exit 3; }}
    echo active ;;
"start storpool_block") rm -f /run/block-is-down ;;
"show --property=After vdsmd.service") echo "After=multipathd.service storpool_block.service" ;;
"show --property=LoadState "*) printf '%s\\n' LoadState=loaded UnitFileState=disabled \\
    ActiveState=inactive SubState=dead ;;
"start ovirt-engine") engine ;;
"restart ovirt-engine") end "[j]boss.server"; engine ;;
"start vdsmd") {BOOT_HOOK}; daemon vdsmd vdsm kvm ;;
"restart vdsmd") end "[l]ibexec/vdsm/.*vdsmd"; {BOOT_HOOK}; daemon supervdsmd 0 0
    daemon vdsmd vdsm kvm ;;
daemon-reload) ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac"""
# Nobody but root logs in there: others could read Engine's command lines.
ALONE = "sed -i -E '/^(root|vdsm|ovirt|qemu|sanlock):/!s,:[^:]*$,:/usr/sbin/nologin,' /etc/passwd"


@dataclasses.dataclass
class Here:
    """One of the two machines: `place` is engine or host."""

    place: str
    machine: Machine

    def run(self, *words: str, stdin: str = "", user: str = "root", **env: str) -> str:
        """Run a command that has to succeed without a word on stderr; return what it writes."""
        done = self.machine.run(*words, stdin=stdin, user=user, env=env)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def rpm(self, *words: str) -> str:
        """Run rpm; return what it and the scriptlets say, but Debian's advice."""
        done = self.machine.run("/bin/sh", "-c", f"rpm {' '.join(words)}")
        lines = (done.stdout + done.stderr).splitlines()
        said = "\n".join(line for line in lines if not line.startswith("rpm: "))
        assert done.returncode == 0, said
        return said

    def setup(self, *words: str, stdin: str = "") -> dict[str, Any]:
        """Run `storpool-ovirt setup` for this place; return its document."""
        told = self.run(COMMAND, "setup", self.place, "--json", *words, stdin=stdin)
        found: dict[str, Any] = json.loads(told)
        return found

    def type(self, fix: str) -> None:
        """Do what a fix says: the part of it that is a command, as whoever reads it sees."""
        for part in re.split(r" {2,}|; then\b|; see\b", fix):
            word = f"{part} ".split(" ", 1)[0] or "nothing"
            there = self.machine.run("/bin/sh", "-c", f"command -v {word}").returncode == 0
            if there and word != "look":  # there is such a program, and it is not meant
                done = self.machine.run("/bin/sh", "-c", part)
                assert done.returncode == 0, (fix, done.stdout, done.stderr)
                return
        raise AssertionError(f"no command in {fix}")

    def wrong(self) -> list[dict[str, Any]]:
        """Return what doctor finds that is not as it has to be.

        What did not answer in time is asked again: whoever runs many tests at once has a slow
        machine.
        """
        for _ in range(PATIENCE):
            done = self.machine.run(COMMAND, "doctor", "--json", "--limit", "60")
            assert done.stderr == "", done.stderr
            found = [each for each in json.loads(done.stdout)["checks"] if each["result"] != "ok"]
            if not any(each["result"] == "unknown" for each in found):
                break
        return found

    def begin(self) -> None:
        """Have oVirt's packages, and a database of rpm's."""
        self.run("rpm", "--initdb")
        self.rpm("-i", *(f"{RPMS}/{name}-[0-9]*.rpm" for name in THEIRS[self.place]))

    def install(self) -> None:
        """Install ours, as README says."""
        said = self.rpm("-i", *(f"{RPMS}/storpool-ovirt-{each}-*.rpm" for each in OURS[self.place]))
        assert said == ""

    def erase(self) -> None:
        """Erase ours."""
        assert self.rpm("-e", *(f"storpool-ovirt-{each}" for each in OURS[self.place])) == ""


@dataclasses.dataclass
class Disk:
    """The newcomer's disk, attached where Engine wants its VM to run."""

    id: str
    info: dict[str, Any] = dataclasses.field(default_factory=dict)
    attachment: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def link(self) -> str:
        """The path that its VM opens."""
        return vdsm_rows.link(host_ground.SD, self.id)


class Hour:
    """What there is for an hour: two machines, StorPool, Engine's databases and its API."""

    def __init__(self, folder: Path, ours: Sequence[Path]) -> None:
        self.folder = folder
        self._layers: dict[str, Path] = {}
        self.disk = Disk(str(uuid.uuid4()))
        self._ours = ours
        self._end = contextlib.ExitStack()

    def open(self, server: Database, mapping: Database) -> None:
        """Start it all; `close` ends it."""

        hosts = {number: self.folder / f"host{number}" for number in (1, 2)}
        running = clusters.process(self.folder / "simulator", hosts, devices="file")
        self.simulator: Simulator = self._end.enter_context(running)
        self.mapping = mapping
        own = server.fresh(f"{mapping.name}_engine")
        self._end.callback(own.drop)
        self.tables = engine_database.made(own)
        self.center = self.tables.add_data_center()
        self.tables.add_data_domain("nfs", self.center)
        self.api = self._end.enter_context(rest_engine.running(self.tables, self.folder / "pki"))
        self._make_layers()

    def close(self) -> None:
        """End it all."""
        self._end.close()

    def copy(self, place: str, folder: Path) -> Here:
        """Return a machine that is what a place was when it was kept; it ends with this."""
        made = Machine(folder / place, self._layers[place])
        self._end.callback(made.end)
        made.see(self.folder / "rpms", RPMS)
        made.see(self.folder, str(self.folder))
        # pytest's own folders are closed; devices are in one.
        parents = [str(each) for each in self.folder.parents if str(each) != "/"]
        made.do('chmod a+x "$@"', *parents)
        here = Here(place, made)
        if place == "host":
            made.see(self.folder / "host1" / "dev" / "storpool-byid", "/dev/storpool-byid")
        return here

    def keep(self, here: Here) -> None:
        """Have copies that are made from now on begin as this machine is."""
        layer = self.folder / f"kept-{here.place}"
        shutil.rmtree(layer, ignore_errors=True)
        here.machine.save(layer)
        self._layers[here.place] = layer

    # What Engine's and Vdsm's own packages and services have done, before and in between.

    def ready(self, place: str) -> Here:
        """Return a machine with oVirt, as engine-setup and host deploy leave it."""
        here = self.copy(place, self.folder / "first")
        machine = here.machine
        machine.do(ALONE)
        here.begin()
        if here.place == "host":
            conf = self.folder / "host1" / "etc" / "storpool.conf"
            machine.write(host_ground.CONF, conf.read_text(), 0o600)
            machine.do(host_ground.SQL, vdsm_rows.DATABASE, vdsm_rows.SCHEMA)
            return here
        engine = ServedMachine(machine)
        engine.tables, engine.mapping, engine.simulator = self.tables, self.mapping, self.simulator
        machine.write(DEFAULTS, 'PACKAGE_VERSION="4.5.7"\nCINDERLIB_DB_ENABLE=false\n')
        machine.do(f"install -d -m 0750 -o root -g ovirt /etc/ovirt-engine {CONF_D}")
        engine.connect()
        others = {"CustomVdsFenceType": {"general": "other"}}
        others["CustomVdsFenceOptionMapping"] = {"general": "other:port=slot"}
        engine_config_tool.installed(machine, python="/usr/bin/python3", **others)
        machine.write("/var/log/ovirt-engine/engine.log", "", owner="ovirt:ovirt")
        machine.do(f"touch -d '1 hour ago' {CONF_D}/*")
        return here

    def wake(self, here: Here) -> None:
        """Start what runs there: Engine, or Vdsm's daemons behind the hook of each start."""
        machine = here.machine
        if here.place == "engine":
            here.run("systemctl", "start", "ovirt-engine")
            wait_until(lambda: ENGINES_MARK in machine.do("ps -eo args"))
            return
        machine.do("install -d -o vdsm -g kvm /run/vdsm /run/vdsm/managedvolumes")
        if self.disk.attachment:  # as udev does for Vdsm's own rule
            machine.do('ln -s "$1" "$2"', self.disk.attachment["path"], self.disk.link)
        here.run("systemctl", "restart", "vdsmd")
        wait_until(lambda: machine.do("ps -eo args").count(f"{LIBEXEC}/") >= 2)

    def refresh(self, host: Here) -> None:
        """Have Engine ask the host for its capabilities, and store them as it does."""
        told = json.loads(host.run("vdsm-client", "Host", "getCapabilities"))
        # Java's words for the map, as Engine stores it.
        java = json.dumps(told["hooks"]).replace('"', "").replace(": ", "=")
        self.tables.add_host("host1", self.center, connector=told["connector_info"], hooks=java)

    def remove_domain(self) -> None:
        """Have Engine forget it, as an administrator does there before ours is taken away."""
        for sql in (
            f"DELETE FROM {self.tables.storage}",
            "DELETE FROM storage_domain_dynamic USING storage_domain_static AS static"
            " WHERE static.id = storage_domain_dynamic.id AND static.storage_name = 'sp'",
            "DELETE FROM storage_domain_static WHERE storage_name = 'sp'",
        ):
            self.tables.execute(sql)

    def create_domain(self, engine: Here) -> str:
        """Have `storpool-ovirt domain` make one in Engine; return what it says."""
        password = "/root/password"
        engine.machine.write(password, f"{self.api.password}\n", 0o600)
        given = self.simulator.driver_options()
        keys = ("sp_api_http_host", "sp_api_http_port", "sp_template")
        options = [word for key in keys for word in ("--option", f"{key}={given[key]}")]
        login = ["--url", self.api.url, "--user", self.api.user, "--password-file", password]
        where = [*login, "--ca-file", str(self.api.ca_file), "--data-center", "Default"]
        return engine.run(COMMAND, "domain", "sp", *options, "--create", *where)

    def verb(self, engine: Here, name: str, *arguments: str) -> str:
        """Run a verb as Engine 4.5.7 does, with the options that it has stored for the domain."""
        ((options,),) = self.tables.execute(
            f"SELECT driver_options FROM {self.tables.storage}"
            " JOIN storage_domain_static ON id = storage_domain_id WHERE storage_name = 'sp'"
        )
        correlation = str(uuid.uuid4())
        given = [name, json.dumps(options), self.mapping.url, correlation, *arguments]
        words = ["/bin/sh", "-c", f'cd {CINDERLIB} && exec ./cinderlib-client.py "$@"', "sh"]
        said = engine.run(*words, *given, user="ovirt")
        assert said.startswith(f"{correlation}:"), said
        return said.rstrip("\n").partition(":")[2]

    def helper(self, host: Here, verb: str, sent: dict[str, Any]) -> dict[str, Any]:
        """Run Vdsm's helper as supervdsmd does."""
        words = ["/usr/bin/python3", f"{LIBEXEC}/managedvolume-helper", verb]
        told: dict[str, Any] = json.loads(
            host.run(*words, stdin=json.dumps(sent), PYTHONPATH=LIBEXEC)
        )
        return told

    def start_vm(self, engine: Here, host: Here) -> None:
        """Make the disk and start a VM with it: Engine's calls, Vdsm's attach, the hook."""
        self.verb(engine, "create_volume", self.disk.id, DISK_GIB)
        ((connector,),) = self.tables.execute("SELECT connector_info FROM vds_dynamic")
        info = json.loads(self.verb(engine, "connect_volume", self.disk.id, json.dumps(connector)))
        attachment = self.helper(host, "attach", info)
        self.disk.info, self.disk.attachment = info, attachment
        row = (attachment["path"], json.dumps(info), json.dumps(attachment))
        host_ground.Host(host.machine, self.simulator).sql(host_ground.ROW, self.disk.id, *row)
        # Vdsm's link, and its rule for udev.
        host.machine.do(OPEN, attachment["path"], self.disk.link)
        self.verb(engine, "save_device", self.disk.id, json.dumps({"attachment": attachment}))
        device = {"managed_path": self.disk.link, "vol_id": self.disk.id}
        host.machine.write("/tmp/vm.xml", hooks.domain_xml(hooks.disk_xml(device)), 0o644)
        host.run(HOOK, user="vdsm", _hook_domxml="/tmp/vm.xml", vmId=str(uuid.uuid4()))

    def stop_vm(self, engine: Here, host: Here) -> None:
        """Stop it: Vdsm's detach, and Engine's call."""
        assert self.helper(host, "detach", self._row()) == {}
        delete = "DELETE FROM volumes WHERE vol_id = ?"
        host_ground.Host(host.machine, self.simulator).sql(delete, self.disk.id)
        host.machine.do('rm "$1"', self.disk.link)
        self.verb(engine, "disconnect_volume", self.disk.id)

    def _row(self) -> dict[str, Any]:
        disk = self.disk
        row = {"vol_id": disk.id, "connection_info": disk.info, "attachment": disk.attachment}
        return {**row, "path": disk.attachment["path"]}

    def _make_layers(self) -> None:
        rpms = self.folder / "rpms"
        rpms.mkdir()
        version = _said("/usr/bin/python3", "import platform; print(platform.python_version())")
        stock = self.folder / "stock"
        for each in (
            stock_packages.system(stock, version),
            *stock_packages.engine(stock, "4.5.7"),
            *stock_packages.vdsm(stock, host_ground.VERSION),
            *self._ours,
        ):
            shutil.copy(each, rpms)
        for place in OURS:
            layer = made_layer(self.folder / place)
            _libraries(layer)
            host_ground.put(layer, "/etc/rpm/macros", "%_dbpath /var/lib/rpm\n")
            tools = {"dnf": DNF, "locale": "printf 'C\\nC.utf8\\nen_US.utf8\\n'"}
            if place == "host":
                host_ground.vdsm_files(layer)
                tools.update(host_ground.TOOLS)
                del tools["rpm"]
            tools["systemctl"] = SYSTEMCTL
            for name, script in tools.items():
                host_ground.put(layer, f"/usr/sbin/{name}", f"#!/bin/sh\n{script}\n", 0o755)
            for folder in (layer, *(each for each in layer.rglob("*") if each.is_dir())):
                if not folder.is_symlink():
                    folder.chmod(0o755)
            self._layers[place] = layer


def _libraries(layer: Path) -> None:
    """Put there what a distribution has for its Python."""
    code = (
        "import sys; major, minor = sys.version_info[:2]\n"
        "print(f'{sys.prefix}/{sys.platlibdir}/python{major}.{minor}/site-packages')"
    )
    site = layer / _said("/usr/bin/python3", code)[1:]
    home = Path(psycopg2.__file__).parents[1]
    for name in LIBRARIES:
        if (home / name).is_dir():
            shutil.copytree(home / name, site / name)


def _said(python: str, code: str) -> str:
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()
