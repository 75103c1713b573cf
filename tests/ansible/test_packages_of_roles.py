"""Both roles with our packages, which the real dnf installs and erases; stand-ins for oVirt's."""

from __future__ import annotations

import shutil
import sys
import uuid
from typing import TYPE_CHECKING

import played_machines
import pytest
from controller import TREE
from played_machines import HOST_TASKS

import storpool_ovirt
from ovirt_demo import vdsm_rows
from rigs import built_packages, stock_packages

if TYPE_CHECKING:
    from pathlib import Path

    from rigs.machine import Machine

FOLDER = "/var/tmp/packages"
TOGETHER = {
    place: sorted(f"storpool-ovirt-{each}" for each in built_packages.TOGETHER[place])
    for place in ("engine", "host")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, packages: dict[str, Path]) -> Path:
    """A folder with our packages, and one below it with those of others."""
    built_packages.needed("dnf", "createrepo_c")
    folder = tmp_path_factory.mktemp("packages")
    (folder / "theirs").mkdir()
    work = folder / "work"
    theirs = [stock_packages.system(work, "3.11.2"), *stock_packages.engine(work, "4.5.7")]
    for each in (*theirs, *stock_packages.vdsm(work, "4.50.7")):
        shutil.copy(each, folder / "theirs")
    for kind, each in packages.items():
        if kind != "src":
            shutil.copy(each, folder)
    return folder


@pytest.fixture
def bare(bare_machine: Machine, folder: Path) -> Machine:
    """A machine without anything of ours, whose packages are rpm's."""
    bare_machine.see(folder, FOLDER)
    bare_machine.do("rm -rf /var/lib/rpm; mkdir -p /var/lib/rpm /etc/yum.repos.d; rpm --initdb")
    bare_machine.do(f"rpm -i {FOLDER}/theirs/system-*.rpm")
    return bare_machine


def engine(bare: Machine) -> played_machines.Site:
    """Make it Engine's machine."""
    bare.do(f"rpm -i {FOLDER}/theirs/ovirt-engine-*.rpm")
    # What plays engine-config is started by the Python that is there.
    bare.do("mkdir -p /opt/storpool-ovirt/bin; ln -s /usr/bin/python3 /opt/storpool-ovirt/bin/")
    site = played_machines.engine(bare)
    bare.do("rm -r /opt/storpool-ovirt")
    return site


def host(bare: Machine) -> played_machines.Site:
    """Make it a host."""
    bare.do(f"rpm -i {FOLDER}/theirs/vdsm-*.rpm")
    return played_machines.host(bare)


def here(machine: Machine) -> list[str]:
    """Return which of our packages are installed."""
    return sorted(machine.do("rpm -qa --queryformat '%{NAME}\\n' 'storpool-ovirt*'").split())


def test_a_host_is_set_up_from_files_and_taken_off(bare: Machine, folder: Path) -> None:
    """Files of the controller, which are all that is needed; check mode tells it and changes
    nothing, a second run finds all done; what is erased is ours alone."""
    site = host(bare)
    names = [next(folder.glob(f"{each}-[0-9]*.rpm")).name for each in TOGETHER["host"]]
    given = {"package_files": [f"{FOLDER}/{each}" for each in names], "gpgcheck": False}
    before = site.tree()
    checked = site.from_packages("--check", **given).check()
    assert "storpool-ovirt setup host would be run" in checked.text
    assert (site.tree(), here(bare)) == (before, [])
    site.from_packages(**given).check()
    assert here(bare) == TOGETHER["host"]
    assert "/usr/libexec/vdsm/hooks/before_vm_start/50_storpool" in site.tree()
    site.from_packages(**given).check(changed=0)
    site.from_packages(state="absent").check()
    assert here(bare) == []
    assert bare.do("rpm -q vdsm system")
    assert not bare.path("/var/cache/storpool-ovirt").exists()
    left = site.tree().keys() - before.keys()
    assert all(each.startswith(("/var/log/", "/var/lib/dnf", "/etc/dnf")) for each in left), left


def test_engine_is_set_up_from_a_repository(bare: Machine) -> None:
    """By the name of one package, which brings the others; unsigned ones are refused unless that is
    allowed; hosts that Engine adds know the repository."""
    site = engine(bare)
    bare.do(f"mkdir /repository; cp {FOLDER}/*.rpm /repository; createrepo_c --quiet /repository")
    given = {"repository": "file:///repository"}
    assert "is not signed" in site.from_packages(**given).failure()
    assert here(bare) == []
    site.from_packages(**given, gpgcheck=False).check()
    assert here(bare) == TOGETHER["engine"]
    assert "file:///repository" in bare.read(HOST_TASKS)
    site.from_packages(state="absent").check()
    assert here(bare) == []
    assert bare.do("ls /etc/yum.repos.d") == ""


def test_a_package_that_refuses_to_go_is_the_failure(bare: Machine, tmp_path: Path) -> None:
    """While a volume is attached the host's package stays, and its sentence is what is told."""
    site = host(bare)
    files = " ".join(f"{FOLDER}/{name}-*.noarch.rpm" for name in TOGETHER["host"])
    bare.do(f"rpm -i {files}")
    volume = str(uuid.uuid4())
    vdsm_rows.Rows(tmp_path / "rows")[volume] = {
        "vol_id": volume,
        "connection_info": {"adapter": "storpool", "data": {"global_id": "abc.b.1"}},
        "path": "/dev/storpool-byid/abc.b.1",
        "attachment": {},
    }
    bare.see(tmp_path, "/rows")
    bare.do('mkdir -p "${1%/*}"; cp /rows/rows "$1"', vdsm_rows.DATABASE)
    link = f"{vdsm_rows.RUN_FOLDER}/{uuid.uuid4()}_{volume}"
    bare.do('mkdir -p "${1%/*}"; ln -s /dev/null "$1"', link)
    failure = site.from_packages(state="absent").failure()
    assert "1 volume of StorPool's is attached to this host" in failure
    assert here(bare) == TOGETHER["host"]


def test_a_release_is_installed_by_pip(bare_machine: Machine) -> None:
    """In a virtual environment, with hashes for all that is not ours; once, and not again as long
    as the version is the same; taken off, nothing is left but logs."""
    site = played_machines.host(bare_machine)
    before = site.tree()
    # What is written into this tree is written into the machine's own copy of it.
    python = bare_machine.do('readlink -f "$1"', sys.executable).strip()
    given = {"install": "pip", "pip_release": str(TREE), "pip_python": python}
    checked = site.from_packages("--check", **given).check()
    assert f"{storpool_ovirt.__version__} would be installed in /opt/storpool-ovirt" in checked.text
    assert not bare_machine.path("/opt/storpool-ovirt").exists()
    played = site.from_packages(**given)
    if "No matching distribution" in played.text or "Connection" in played.text:
        pytest.skip("the package index cannot be reached")
    played.check()
    done = bare_machine.run("/opt/storpool-ovirt/bin/storpool-ovirt", "--version", user="vdsm")
    assert done.stdout == f"storpool-ovirt {storpool_ovirt.__version__}\n"
    hook = "/usr/libexec/vdsm/hooks/before_vm_start/50_storpool"
    assert bare_machine.do('readlink "$1"', hook) == "/opt/storpool-ovirt/bin/storpool-vm-hook\n"
    site.from_packages(**given).check(changed=0)
    site.from_packages(**given, state="absent").check()
    assert not bare_machine.path("/opt/storpool-ovirt").exists()
    left = site.tree().keys() - before.keys()
    assert all(each.startswith("/var/log/") for each in left), left
