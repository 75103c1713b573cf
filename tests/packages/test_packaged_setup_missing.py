"""What `storpool-ovirt setup` says where something of the packages is missing, and on a Node."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import package_root
import pytest
from package_machine import Machine
from package_stock import Stock

HOOK = "/usr/libexec/vdsm/hooks/before_vm_start/50_storpool"
CLIENT = "/usr/share/ovirt-engine/cinderlib/cinderlib-client.py"
REINSTALL = "dnf reinstall storpool-ovirt-common storpool-ovirt-admin storpool-ovirt-{}"
PERSISTED = "/var/imgbased/persisted-rpms"


def steps(
    root: package_root.Root, place: str, *words: str, code: int = 0
) -> dict[str, dict[str, Any]]:
    """Run it; return its steps by their names."""
    done = root.run("/usr/sbin/storpool-ovirt", "setup", place, *words, "--json")
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    return {each["id"]: each for each in json.loads(done.stdout)["steps"]}


@pytest.fixture
def host(whole: Callable[..., Machine], stock: Stock) -> package_root.Root:
    """A host with all packages."""
    return whole("host", stock.vdsm).root


def test_what_is_missing_comes_from_its_package(host: package_root.Root) -> None:
    """Setup makes no file of a package's: it names the command that brings it."""
    host.path(HOOK).unlink()
    host.path("/etc/sudoers.d/storpool-ovirt").unlink()
    host.path("/usr/libexec/vdsm/os_brick").unlink()
    host.path("/usr/libexec/vdsm/os_brick").mkdir()
    before = host.files()
    told = steps(host, "host", code=1)
    for name in ("hook-before-vm-start", "sudoers"):
        assert told[name]["state"] == "needs you"
        assert told[name]["do"].endswith(REINSTALL.format("host"))
    for name in ("helper", "os-brick"):  # disks can be attached here, and nothing fences a start
        assert told[name]["state"] == "failed"
        assert "VMs would start unfenced" in told[name]["what"]
    assert host.files() == before


def test_the_dispatcher_is_put_back(whole: Callable[..., Machine], stock: Stock) -> None:
    """Where somebody, or a restore, has put Engine's own client there again."""
    root = whole("engine", stock.engine).root
    root.run("/usr/libexec/storpool-ovirt/storpool-engine-divert", "off")
    assert steps(root, "engine")["dispatcher"]["state"] == "changed"
    assert root.path(CLIENT).is_symlink()
    assert steps(root, "engine", "--undo")["dispatcher"]["state"] == "not needed"
    assert root.path(CLIENT).is_symlink()


def test_a_node_has_to_keep_the_packages(host: package_root.Root) -> None:
    """Its next upgrade has what dnf has put aside, and nothing else."""
    assert "node" not in steps(host, "host")
    host.path("/etc/os-release").write_text('ID="ol"\nVARIANT_ID="ovirt-node"\n')
    told = steps(host, "host")["node"]
    assert told["state"] == "needs you"
    assert "VMs would start unfenced" in told["what"]
    host.path(PERSISTED).mkdir(parents=True)
    for each in ("common", "admin", "host"):
        assert steps(host, "host")["node"]["state"] == "needs you"
        host.path(f"{PERSISTED}/storpool-ovirt-{each}-1.0.0-1.noarch.rpm").touch()
    assert steps(host, "host")["node"]["state"] == "done"
