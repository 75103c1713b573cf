"""The installed programs at work: started where and how oVirt starts them, by their users, with the
Python of the system and what the packages have."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import package_root
import pytest

import storpool_ovirt
from rigs.built_packages import PACKAGES, TREE, launchers, query
from rigs.stage_fixtures import Stage
from rigs.stock_packages import HOOKS
from storpool_ovirt.admin import commands

PROGRAMS = "/usr/libexec/storpool-ovirt"
VDSM = "/usr/libexec/vdsm"
NAMES = [
    line.partition(" = ")[0]
    for line in launchers.entry_points(TREE / "setup.py")["console_scripts"]
    if line.partition(" = ")[0] not in launchers.BY_PIP
]
Copied = Callable[[str], package_root.Root]


@pytest.fixture
def copied(installed: Copied, tmp_path: Path, module_stage: Stage) -> Copied:
    """Return a machine that has the packages, and sees the cluster of this module."""

    def having(place: str) -> package_root.Root:
        root = installed(place).copy(tmp_path / place)
        root.see(module_stage.folder)
        module_stage.folder.chmod(0o755)
        return root

    tmp_path.chmod(0o755)
    return having


def test_each_program_of_setup_py_is_in_one_package(packages: dict[str, Path]) -> None:
    """But the simulator, which comes with pip alone."""
    found = [
        path.rpartition("/")[2]
        for name in PACKAGES
        for path in query(packages[name], "--list")
        if path.startswith(f"{PROGRAMS}/")
    ]
    assert sorted(found) == sorted(NAMES)


@pytest.mark.parametrize("place", ["engine", "host"])
def test_each_says_who_it_is(installed: Copied, place: str) -> None:
    """Started by hand, as root and as anybody; and it compiles nothing anew, nor leaves a file."""
    root = installed(place)
    before = root.files()
    compiled = {each: root.path(each).stat().st_mtime_ns for each in before if ".pyc" in each}
    there = [each for each in NAMES if root.path(f"{PROGRAMS}/{each}").exists()]
    assert there
    for each in there:
        for user in ("root", "ovirt"):
            done = root.run(f"{PROGRAMS}/{each}", "--version", user=user, PYTHONPATH="/tmp")
            said = (done.returncode, done.stdout, done.stderr)
            assert said == (0, f"{each} {storpool_ovirt.__version__}\n", "")
    assert root.files() == before
    assert compiled
    assert {each: root.path(each).stat().st_mtime_ns for each in compiled} == compiled


def test_all_that_is_imported_is_compiled(installed: Copied) -> None:
    """Programs of user vdsm and ovirt could keep nothing of it."""
    for place in ("engine", "host"):
        root = installed(place)
        sources = [
            each
            for each in root.files()
            if each.startswith("/usr/lib/storpool-ovirt/") and each.endswith(".py")
        ]
        for each in sources:
            folder, _, name = each.rpartition("/")
            kept = root.path(f"{folder}/__pycache__").glob(f"{name[:-3]}.cpython-*.pyc")
            assert len([*kept]) == 1, each


def test_what_else_is_installed_is_not_taken_for_ours(copied: Copied) -> None:
    """Other versions of our libraries, broken .pth files, what the environment names: nothing of
    it is loaded, and nothing said about it on Engine's stream."""
    root = copied("engine")
    home = Path(f"{root.folder}-python")
    subprocess.run(["cp", "-a", str(root.python.home), str(home)], check=True)
    root.python = root.python._replace(home=home)
    site = next(root.python.home.glob("lib/python3*/site-packages"))
    for name in ("storpool", "six", "click", "rich", "storpool_ovirt"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("raise SystemExit('somebody else')\n")
    (site / "broken.pth").write_text("import nothing_of_this_name\n")
    for program in ("storpool-adapter", "storpool-ovirt"):
        done = root.run(f"{PROGRAMS}/{program}", "--help", PYTHONPATH=str(site), user="ovirt")
        assert (done.returncode, done.stderr) == (0, "")
    done = root.run(f"{PROGRAMS}/storpool-adapter", "x", "{}", user="ovirt", cwd="/tmp")
    assert done.stdout.startswith("error:")
    assert "somebody else" not in done.stdout


def verb(root: package_root.Root, stage: Stage, name: str, *arguments: str) -> str:
    """Run a verb as a released Engine does: through the dispatcher; return the answer."""
    correlation = str(uuid.uuid4())
    given = stage.engine.argv(name, *arguments, correlation_id=correlation)[1:]
    folder = "/usr/share/ovirt-engine/cinderlib"
    done = root.run("./cinderlib-client.py", *given, user="ovirt", cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith(f"{correlation}:")
    return done.stdout.rstrip("\n").partition(":")[2]


@pytest.fixture
def host(copied: Copied, module_stage: Stage) -> Iterator[package_root.Root]:
    """A host of the cluster with Vdsm 4.50.7 and us; its /etc/storpool.conf is the cluster's."""
    root = copied("host")
    shutil.copy(module_stage.host1.root / "etc" / "storpool.conf", root.path("/etc/storpool.conf"))
    return root


def test_a_disk_lives(copied: Copied, host: package_root.Root, module_stage: Stage) -> None:
    """Engine's user has one made through the dispatcher, root attaches it through Vdsm's own
    helper, an administrator sees it, and it goes."""
    engine, disk = copied("engine"), str(uuid.uuid4())
    assert json.loads(verb(engine, module_stage, "storage_stats", "true"))
    verb(engine, module_stage, "create_volume", disk, "1")
    info = json.loads(verb(engine, module_stage, "connect_volume", disk, '{"host": "h"}'))
    assert info["adapter"] == "storpool"
    seen = {"STORPOOL_OVIRT_ROOT": str(module_stage.host1.root)}
    helper = ["/usr/bin/python3", f"{VDSM}/managedvolume-helper"]
    attached = host.run(*helper, "attach", stdin=json.dumps(info), PYTHONPATH=VDSM, **seen)
    assert (attached.returncode, attached.stderr) == (0, "")
    answer = json.loads(attached.stdout)
    row = {"vol_id": disk, "connection_info": info, "path": answer["path"], "attachment": answer}
    detached = host.run(*helper, "detach", stdin=json.dumps(row), PYTHONPATH=VDSM, **seen)
    assert (detached.returncode, detached.stdout, detached.stderr) == (0, "{}\n", "")
    options = engine.path("/tmp/options.json")
    options.write_text(json.dumps(module_stage.engine.options))
    where = ["--options", "/tmp/options.json", "--database", module_stage.engine.database_url]
    unit = configparser.ConfigParser(delimiters=["="])
    unit.read(engine.path("/usr/lib/systemd/system/storpool-ovirt-audit.service"))
    daily = unit["Service"]
    audit = engine.run(*daily["ExecStart"].split(), *where, user=daily["User"])
    assert audit.returncode in (0, int(daily["SuccessExitStatus"])), audit.stdout + audit.stderr
    verb(engine, module_stage, "delete_volume", disk)
    assert host.verified("vdsm", "storpool-ovirt-host", "storpool-ovirt-common") == []


def test_hooks_doors_and_agent_run(host: package_root.Root, module_stage: Stage) -> None:
    """As their users, from the folders where Vdsm looks for them."""
    domain = host.path("/tmp/domain.xml")
    domain.write_text("<domain><devices/></domain>")
    for point in HOOKS[:4]:
        root_element = (
            "<disk/>" if point.endswith(("hotplug", "hotunplug")) else "<domain><devices/></domain>"
        )
        domain.write_text(root_element)
        hook = f"{VDSM}/hooks/{point}/50_storpool"
        bare = host.run(hook, user="vdsm")
        assert bare.returncode == (1 if point == "after_disk_hotunplug" else 2)
        assert "_hook_domxml is not set" in bare.stderr
        done = host.run(hook, user="vdsm", _hook_domxml="/tmp/domain.xml", vmId="x")
        assert (done.returncode, done.stderr) == (0, ""), point
    boot = host.run(f"{VDSM}/hooks/before_vdsm_start/50_storpool")
    assert (boot.returncode, boot.stderr) == (0, "")
    assert host.path("/run/storpool-ovirt").is_dir()
    for door, code in (("storpool-vm-door", 2), ("storpool-fence-door", 1)):
        asked = host.run(f"{PROGRAMS}/{door}", stdin="nonsense\n")
        assert asked.returncode == code, asked
        assert asked.stdout
    status = host.run("/usr/sbin/fence_storpool", "-o", "status", "-n", "2")
    assert status.returncode == 0, status
    assert [path.name for path in host.path("/var/log/storpool-ovirt").iterdir()]


def without_driver(root: package_root.Root) -> None:
    """Have the root a Python of its own, without psycopg2."""
    home = Path(f"{root.folder}-python")
    subprocess.run(["cp", "-a", str(root.python.home), str(home)], check=True)
    root.python = root.python._replace(home=home)
    shutil.rmtree(next(home.glob("lib/python3*/site-packages")) / "psycopg2")


def test_a_host_has_the_command(host: package_root.Root) -> None:
    """As root it lists there who has what, and tells what each command takes, without a library for
    databases; a command that needs one says so in one sentence."""
    without_driver(host)
    done = host.run("/usr/sbin/storpool-ovirt", "attachments")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for name in commands.TABLE.keys() - {"demo"}:
        done = host.run("/usr/sbin/storpool-ovirt", name, "--help")
        assert (done.returncode, done.stderr) == (0, ""), name
    audit = host.run("/usr/sbin/storpool-ovirt", "audit")
    assert audit.returncode == 3
    assert audit.stderr.endswith("psycopg2 is not installed: run  dnf install python3-psycopg2\n")
    assert audit.stderr.count("\n") == 1
    assert host.verified("storpool-ovirt-admin", "storpool-ovirt-host") == []


def test_what_is_missing_comes_from_packages(copied: Copied) -> None:
    """T24: EL's psycopg2, or what we bundle; pip would be the system's. The demo is not here."""
    root = copied("engine")
    without_driver(root)
    audit = root.run("/usr/sbin/storpool-ovirt", "audit")
    assert audit.returncode == 3
    assert audit.stderr.endswith("psycopg2 is not installed: run  dnf install python3-psycopg2\n")
    options = '{"adapter": "storpool", "sp_api_http_host": "h", "sp_auth_token": "1"}'
    asked = ("delete_volume", options, "postgresql://u:p@127.0.0.1:1/d", "id", str(uuid.uuid4()))
    adapter = root.run(f"{PROGRAMS}/storpool-adapter", *asked, user="ovirt")
    assert adapter.stdout.endswith("run  dnf install python3-psycopg2\n"), adapter
    demo = root.run("/usr/sbin/storpool-ovirt", "demo")
    assert demo.stderr.endswith("run  make demo  in a clone of the sources\n")
    listed = root.run("/usr/sbin/storpool-ovirt", "--help").stdout
    assert " audit " in listed
    assert " demo " not in listed
    shutil.rmtree(root.path("/usr/lib/storpool-ovirt/bundled-admin/click"))
    audit = root.run("/usr/sbin/storpool-ovirt", "audit")
    again = "dnf reinstall storpool-ovirt-common storpool-ovirt-admin"
    assert audit.stderr.endswith(f"click is not installed: run  {again}\n")
