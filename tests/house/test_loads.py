"""What each program that somebody waits for loads, from its start to its end.

Engine waits for each verb, Vdsm for each attach, and a guest may be frozen meanwhile. A module is
0.15 to 0.4 ms of that, and one of Python's own may bring twenty others. docs/development.md tells
how it is kept so.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rigs.door_stage import Volume
from rigs.loads import Loaded, Program
from rigs.shared_stage import post, volumes
from storpool_ovirt import names

if TYPE_CHECKING:
    from rigs.door_stage import DoorStage
    from rigs.stage_fixtures import Stage

VM = "a0000000-0000-4000-8000-00000000000a"

# Modules of others: nearly all of these are compiled, and load none.
START = "__future__ _collections _operator errno gc"
JSON = f"{START} _json"
STORPOOL = f"{JSON} _socket itertools select"
DATABASE = "_datetime psycopg2 psycopg2._psycopg psycopg2.errors"
DOMAIN_XML = "pyexpat pyexpat.errors pyexpat.model"
ADAPTER = f"{STORPOOL} {DATABASE}"
# To wait for hosts, an attachment's lock is looked at.
WITH_HOSTS = f"{ADAPTER} fcntl"
# It makes an id of a name: by the second where a Python is built without the first.
CHECKING = f"{ADAPTER} math _sha1 _blake2 _hashlib hashlib"


class Most(NamedTuple):
    """How many modules of ours a program loads at most, and which of others."""

    ours: int
    others: str


VERBS = {
    "save_device": Most(23, JSON),
    "disconnect_volume": Most(23, JSON),
    "create_snapshot, made before": Most(43, ADAPTER),
    "create_volume": Most(57, ADAPTER),
    "connect_volume": Most(61, ADAPTER),
    "get_connection_info": Most(60, ADAPTER),
    "storage_stats": Most(63, CHECKING),
    "extend_volume": Most(63, WITH_HOSTS),
    "create_snapshot": Most(66, ADAPTER),
    "create_snapshot of a VM": Most(72, ADAPTER),
    "clone_volume": Most(60, ADAPTER),
    "create_volume_from_snapshot": Most(66, WITH_HOSTS),
    "remove_snapshot": Most(61, ADAPTER),
    "delete_volume": Most(61, ADAPTER),
    "delete_volume, kept": Most(68, WITH_HOSTS),
}
ON_HOSTS = {
    "attach": Most(39, f"{STORPOOL} fcntl"),
    "detach": Most(37, f"{STORPOOL} fcntl"),
    "start without disks": Most(22, f"{START} {DOMAIN_XML}"),
    "start": Most(53, f"{STORPOOL} fcntl {DOMAIN_XML}"),
    "plug": Most(54, f"{STORPOOL} fcntl {DOMAIN_XML}"),
    "unplug": Most(50, f"{STORPOOL} fcntl {DOMAIN_XML}"),
}
BY_ROOT = {
    "start, asking root": Most(25, f"{JSON} {DOMAIN_XML} select"),
    "door": Most(58, f"{STORPOOL} fcntl"),
    "fence, asking root": Most(40, f"{STORPOOL} fcntl"),
    "fence door": Most(47, f"{STORPOOL} fcntl"),
}


def check(loaded: Loaded, most: Most) -> None:
    """Check what was loaded."""
    assert sorted(loaded.others - set(most.others.split())) == []
    assert len(loaded.ours) <= most.ours, f"{len(loaded.ours)}: {' '.join(sorted(loaded.ours))}"


@pytest.fixture(scope="module")
def verbs(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    """Run each verb where it has work to do; return what each has loaded."""
    from ovirt_demo import engine

    stage, folder = module_stage, tmp_path_factory.mktemp("programs")
    program = Program(folder / "storpool-adapter", "engine.adapter")
    caller = engine.Engine(
        folder / "engine", program.path, dict(stage.engine.options), stage.database.url
    )
    found: dict[str, Loaded] = {}

    def run(verb: str, *arguments: str, key: str = "", what: str = "") -> str:
        result = caller.run(verb, *arguments, correlation_id=key or str(uuid.uuid4())).require()
        found[what or verb] = program.loaded()
        return result.answer or ""

    disk, other, clone = (str(uuid.uuid4()) for _ in range(3))
    for each in (disk, other):  # the first one also makes the tables
        run("create_volume", each, "1")
        run("connect_volume", each, "{}")
    run("storage_stats", "true")
    run("extend_volume", disk, "2")
    run("get_connection_info", disk)
    run("save_device", disk, "{}")
    snapshot = run("create_snapshot", disk)
    run("clone_volume", disk, clone)
    run("create_volume_from_snapshot", disk, snapshot)
    run("remove_snapshot", snapshot, disk)
    run("disconnect_volume", disk)
    run("delete_volume", clone, what="delete_volume, kept")
    run("clone_volume", disk, clone)
    caller.options["sp_delete_delay"] = "0"
    run("delete_volume", clone)
    for each in (disk, other):
        name = names.object_name(each)
        tags = {**volumes(stage.simulator)[each]["tags"], names.TAG_VM: VM}
        post(stage.simulator, f"VolumeUpdate/{name}", {"tags": tags})
        post(stage.simulator, "VolumesReassignWait", {"reassign": [{"volume": name, "rw": [1]}]})
    key = str(uuid.uuid4())
    run("create_snapshot", disk, key=key, what="create_snapshot of a VM")
    run("create_snapshot", other, key=key, what="create_snapshot, made before")
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_what_it_uses(verbs: dict[str, Loaded], verb: str) -> None:
    """One that changes nothing, one whose answer is there already, and those that do something."""
    check(verbs[verb], VERBS[verb])


@pytest.fixture(scope="module")
def on_hosts(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    """Run the programs of a host on one; return what each has loaded."""
    from ovirt_demo import flows, hooks, vdsm

    stage, folder = module_stage, tmp_path_factory.mktemp("programs")
    found: dict[str, Loaded] = {}
    helper = Program(folder / "helper", "host.helper")
    host = vdsm.Host(stage.simulator.hosts[1], helper.path, name="host1.example")
    host.local("/var/log/vdsm").mkdir(parents=True, exist_ok=True)  # else syslog is loaded
    disk = flows.create_disk(stage.domain, 1)
    devices = flows.run_vm(stage.domain, host, disk)
    found["attach"] = helper.loaded()
    hook = Program(folder / "hook", "host.vm_hook")
    points = hooks.Hooks(host)
    for point in (hooks.BEFORE_VM_START, hooks.BEFORE_DISK_HOTPLUG, hooks.AFTER_DISK_HOTUNPLUG):
        points.install(point, hook.path)
    points.before_vm_start(hooks.domain_xml())
    found["start without disks"] = hook.loaded()
    points.before_vm_start(hooks.domain_xml(hooks.disk_xml(devices[0], "vda")))
    found["start"] = hook.loaded()
    points.before_disk_hotplug(hooks.disk_xml(devices[0], "vda"))
    found["plug"] = hook.loaded()
    points.after_disk_hotunplug(hooks.disk_xml(devices[0], "vda"))
    found["unplug"] = hook.loaded()
    flows.stop_vm(stage.domain, disk)
    found["detach"] = helper.loaded()
    return found


@pytest.mark.parametrize("moment", ON_HOSTS)
def test_a_program_of_a_host_loads_what_it_uses(on_hosts: dict[str, Loaded], moment: str) -> None:
    """The helper and the hooks; a VM without disks of ours waits for next to nothing."""
    check(on_hosts[moment], ON_HOSTS[moment])


def test_who_asks_root_loads_what_it_uses(doors: DoorStage) -> None:
    """Who has no token needs nothing that talks to StorPool; root's doors load what they do."""
    python, folders = doors.programs.python, [str(doors.programs.folder / "library")]
    root = f"root={str(doors.root)!r}"
    door = Program(doors.door, "host.vm_door", "main", root, python, folders)
    hook = Program(doors.hook, "host.vm_hook", "run", "", python, folders)
    done = doors.start(Volume(doors.cluster, [1, 2]))
    assert (done.returncode, done.stderr) == (0, "")
    found = {"start, asking root": hook.loaded(), "door": door.loaded()}
    door = Program(doors.fence_door, "fence.door", "main", root, python, folders)
    agent = Program(doors.agent, "fence.agent", "run", "", python, folders)
    doors.cluster.set_client(2, status="down")
    conf = doors.local("/etc/storpool.conf.d/hosts.conf")
    conf.parent.mkdir(exist_ok=True)
    conf.write_text("[host2.example]\nSP_OURID=2\n")
    done = doors.fence(action="off", plug="host2.example")
    conf.unlink()
    assert done.returncode == 0, done.stderr
    found.update({"fence, asking root": agent.loaded(), "fence door": door.loaded()})
    for what, most in BY_ROOT.items():
        check(found[what], most)


def test_the_binding_is_loaded_without_its_readers_of_settings(tmp_path: Path) -> None:
    """Where it is chosen: what reads StorPool's files for it is slow, and its greeting must not
    reach Engine."""
    code = """
import sys
for name in ("confget", "pyparsing", "click", "rich", "werkzeug", "storpool_simulator"):
    sys.modules[name] = None
del sys.modules["confget"]
from storpool_ovirt.cluster import binding
binding.load()
assert sys.modules.get("confget") is None and sys.modules.get("pyparsing") is None
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
