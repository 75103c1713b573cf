"""Whatever order packages come and go in on a host: no file of Vdsm's is touched, nothing is left,
and nobody takes off by accident what is needed to detach a disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import package_root
import pytest
from package_machine import Machine, Packages
from package_stock import Stock

from ovirt_demo import vdsm_rows
from rigs.stock_packages import HOOKS

LIBEXEC = "/usr/libexec/vdsm"
LINKS = [
    *(f"{LIBEXEC}/hooks/{point}/50_storpool" for point in HOOKS),
    f"{LIBEXEC}/managedvolume-helper-storpool",
    f"{LIBEXEC}/os_brick",
    "/usr/sbin/fence_storpool",
]
SUDOERS = "/etc/sudoers.d/storpool-ovirt"
GLOBAL_ID = "ab.c.1"


@pytest.fixture
def machine(root: package_root.Root, stock: Stock, packages: Packages, newer: Packages) -> Machine:
    """A host without Vdsm and without us."""
    return Machine(root, "host", stock.vdsm, packages, newer)


@pytest.fixture
def running(whole: Callable[..., Machine], stock: Stock) -> Machine:
    """A host with Vdsm 4.50.7 and us."""
    return whole("host", stock.vdsm)


def check_whole(machine: Machine) -> None:
    """All packages are as they were built, and each link leads to a program."""
    assert machine.root.verified("vdsm", *machine.ours) == []
    for each in LINKS:
        assert machine.root.path(each).is_symlink(), each
        assert machine.root.path(each).exists(), each
    done = machine.root.run(f"{LIBEXEC}/managedvolume-helper-storpool", "--version")
    assert done.returncode == 0


@pytest.mark.parametrize(
    "steps",
    [
        ("install 4.50.7", "install ours"),
        ("install 4.50.5.1 ours", "install 4.50.7 newer"),
        ("install 4.50.5.1 ours", "again ours", "install 4.50.7", "again 4.50.7"),
        ("install 4.50.7 newer", "back ours", "back 4.50.5.1"),
        ("install 4.50.7 ours", "erase ours", "install newer"),
    ],
    ids="; ".join,
)
def test_all_orders(machine: Machine, steps: Sequence[str]) -> None:
    """T91: of coming, updates, and coming back."""
    machine.do(*steps)
    check_whole(machine)


@pytest.mark.parametrize("place", ["once", "twice"])
def test_it_goes_as_it_came(machine: Machine, place: str) -> None:
    """With Vdsm, or before it: no file is left but the log, compiled ones and those of a boot
    neither."""
    machine.do("install 4.50.7 ours")
    assert machine.root.run(f"{LIBEXEC}/hooks/before_vdsm_start/50_storpool").returncode == 0
    machine.root.path("/run/storpool-ovirt").mkdir(exist_ok=True)
    machine.root.path("/var/lib/storpool-ovirt/doctor.json").touch()  # as its timer does
    machine.do(*(["erase ours vdsm"] if place == "once" else ["erase ours", "erase vdsm"]))
    machine.check_left(["/var/log/vdsm", "/var/log/vdsm/storpool-helper.log"])


def attached(machine: Machine, adapter: str = "storpool", device: str = "/dev/null") -> Path:
    """Have Vdsm's row of a volume, and the run link that leads to its device; return the link."""
    volume = str(uuid.uuid4())
    info = {"adapter": adapter, "driver_volume_type": "local", "data": {"global_id": GLOBAL_ID}}
    rows = vdsm_rows.Rows(machine.root.path(vdsm_rows.DATABASE))
    rows[volume] = {
        "vol_id": volume,
        "connection_info": info,
        "path": f"/dev/storpool-byid/{GLOBAL_ID}",
        "attachment": {},
    }
    link = machine.root.path(f"{vdsm_rows.RUN_FOLDER}/{uuid.uuid4()}_{volume}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(device)
    return link


@pytest.mark.parametrize("step", ["erase storpool-ovirt-host", "erase ours"])
def test_an_erase_while_a_disk_is_attached_is_refused(running: Machine, step: str) -> None:
    """T92: in one sentence, and all is there as before; an update and a reinstallation are not, and
    in the end it goes."""
    link = attached(running)
    said = running.said_at(step, code=None)
    assert "1 volume of StorPool's is attached to this host" in said
    assert "--nopreun" in said
    check_whole(running)
    running.do("install newer", "again newer")
    check_whole(running)
    link.unlink()
    running.do("erase ours")
    assert not [each for each in running.root.files() if "storpool-" in each and "log" not in each]


def test_it_can_be_erased_all_the_same(running: Machine) -> None:
    """By rpm's own way to say so, which the sentence names."""
    attached(running)
    assert running.said_at("erase storpool-ovirt-host", "--nopreun") == ""
    running.do("erase ours")


@pytest.mark.parametrize(
    ("adapter", "device"), [("linstor", "/dev/null"), ("storpool", "/dev/of-an-earlier-boot")]
)
def test_what_is_not_attached_or_not_ours_keeps_nobody(
    running: Machine, adapter: str, device: str
) -> None:
    """Another vendor's disk, and a row that an earlier boot left."""
    attached(running, adapter, device)
    running.do("erase ours")


def test_a_database_that_cannot_be_read_keeps_the_package(running: Machine) -> None:
    """Nobody knows then what is attached."""
    database = running.root.path(vdsm_rows.DATABASE)
    database.parent.mkdir(parents=True, exist_ok=True)
    database.write_text("no database")
    said = running.said_at("erase ours", code=None)
    assert "cannot be seen" in said
    assert "--nopreun" in said
    check_whole(running)


def test_a_folder_in_the_place_of_our_link_is_told(machine: Machine) -> None:
    """Before a file of the package is there; without it all goes on."""
    machine.do("install 4.50.7")
    folder = machine.root.path(f"{LIBEXEC}/os_brick")
    folder.mkdir()
    said = machine.said_at("install ours", code=None)
    assert f"{LIBEXEC}/os_brick is a folder: move it away, then install again" in said
    assert not machine.root.path(f"{LIBEXEC}/managedvolume-helper-storpool").is_symlink()
    assert "not installed" in machine.root.rpm("-q", "storpool-ovirt-host", code=None)
    folder.rmdir()
    machine.do("install ours")
    check_whole(machine)


def test_an_erase_without_our_code_is_one_sentence(running: Machine) -> None:
    """storpool-ovirt-common was taken away by force: nobody can tell what is attached."""
    running.root.rpm("-e", "--nodeps", "--noscripts", "storpool-ovirt-common")
    said = running.said_at("erase storpool-ovirt-host", code=None)
    assert "storpool-ovirt-common is not here to tell" in said
    assert "Traceback" not in said


def test_the_command_stays_as_long_as_a_host_needs_it(running: Machine) -> None:
    """Nothing could look after the host: it is refused, also where rpm is not to ask who needs
    it."""
    assert "is needed by" in running.said_at("erase storpool-ovirt-admin", code=None)
    said = running.said_at("erase storpool-ovirt-admin", "--nodeps", code=None)
    assert "managedvolume-helper-storpool is still here and needs it" in said
    check_whole(running)


def test_links_that_were_made_by_hand_become_those_of_the_package(machine: Machine) -> None:
    """As README made them for pip: links in the same places that lead to another folder."""
    machine.do("install 4.50.7")
    doors = [f"/usr/libexec/storpool-ovirt/storpool-{each}-door" for each in ("vm", "fence")]
    for each in (*LINKS, *doors):
        link = machine.root.path(each)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/opt/storpool-ovirt/bin/{link.name}")
    machine.root.path(SUDOERS).write_text("# copied by hand\n")
    said = machine.said_at("install ours")
    assert said.count("\n") == 1, "what was copied stays, ours is beside it, and that is told"
    assert f"{SUDOERS} created as {SUDOERS}.rpmnew" in said
    machine.root.path(f"{SUDOERS}.rpmnew").replace(machine.root.path(SUDOERS))
    check_whole(machine)


def test_what_an_administrator_changed_stays(running: Machine) -> None:
    """An update puts its own beside it; rpm tells of it."""
    sudoers = running.root.path(SUDOERS)
    text = sudoers.read_text() + "# STORPOOL_FENCE_RUNNING\n"
    sudoers.chmod(0o640)
    sudoers.write_text(text)
    sudoers.chmod(0o440)
    running.do("install newer")
    assert sudoers.read_text() == text
