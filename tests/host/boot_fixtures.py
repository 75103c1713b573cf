"""A host that lost its power, and what a reader of it asks: fixtures and questions of the boot
hook's tests.

A pytest plugin, named in conftest.py behind flow_stage. Imports of what needs the demo's
requirements are inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import boot_stage
from rigs.shared_stage import volumes
from storpool_ovirt.host import vdsm_rows

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.vdsm import Host
    from rigs.flow_stage import Play

NOTHING: dict[str, Any] = {"rows": [], "rules": {}, "links": {}}


@pytest.fixture
def fresh(play: Play) -> Iterator[Play]:
    """Give the stage with hosts that have just been started, and leave nothing of Vdsm's on
    them."""
    for host in (play.host1, play.host2):
        host.reboot()
    play.cluster.clear_calls()
    yield play
    for host in (play.host1, play.host2):
        for rule in boot_stage.files(host, vdsm_rows.RULES_FOLDER):
            rule.unlink()
        host.local(vdsm_rows.DATABASE).unlink(missing_ok=True)


@pytest.fixture
def vm_disk(fresh: Play) -> Iterator[Disk]:
    """Give a disk of 1 GiB."""
    from ovirt_demo import flows

    disk = flows.create_disk(fresh.domain, 1)
    yield disk
    flows.delete_disk(fresh.domain, disk)


@pytest.fixture
def left(fresh: Play, vm_disk: Disk) -> Disk:
    """Give a disk whose VM was on host 1 when that lost its power; StorPool has attached it again
    at boot."""
    crash(fresh, vm_disk)
    fresh.cluster.clear_calls()
    return vm_disk


def crash(play: Play, disk: Disk) -> None:
    """Start a VM on host 1 and take the host's power away."""
    guest = play.start(disk, play.host1)
    guest.write(0, "before the crash")
    guest.stop()
    play.host1.reboot()


def global_id(play: Play, disk: Disk) -> str:
    """Return the disk's global id."""
    found: str = volumes(play.cluster)[disk.active]["globalId"]
    return found


def device(play: Play, disk: Disk) -> Path:
    """Return where the disk's device is on host 1."""
    return play.host1.local(f"/dev/storpool-byid/{global_id(play, disk)}")


def runs_again(play: Play, disk: Disk, host: Host | None = None) -> None:
    """Start the VM and find its data, and stop it."""
    guest = play.start(disk, host or play.host1)
    assert guest.read(0) == "before the crash"
    play.stop(disk, guest)


def forced(play: Play) -> list[Any]:
    """List the calls that carried force."""
    return [call for call in play.cluster.calls() if "'force': True" in str(call["body"])]
