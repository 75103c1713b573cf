"""Hosts that cannot have a disk of ours: each refusal is clear, and leaves nothing in StorPool, no
row, no rule and no link. And when ours is taken off everywhere, nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ovirt_demo import flows, releases, vdsm, vdsm_rows
from ovirt_demo.engine import VerbFailed
from rigs import boot_stage
from rigs.release_stage import Site

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.host_software import HostSoftware
BESIDE = True  # StorPool's services make passes all the while

NEW, OLD = releases.VDSM_MASTER, releases.VDSM_4_50_7


@pytest.fixture
def disk(released: Site) -> Iterator[Disk]:
    """Give a disk, on an Engine and hosts that are fit for it; they are so again after the test."""
    released.be(releases.ENGINE_4_5_7, OLD, OLD)
    made = flows.create_disk(released.domain, 1)
    yield made
    for software in released.software.values():
        software.be_strict(strict=False)
        software.have_os_brick(there=False)
        software.integrate()
        software.upgrade(OLD)
    released.refresh()
    flows.delete_disk(released.domain, made)


def be(software: HostSoftware, release: releases.Vdsm) -> None:
    """Have a host with this release, of which Engine knows nothing new."""
    software.upgrade(release)


def nothing_of(released: Site, disk: Disk) -> bool:
    """Tell whether a refused attach on host 1 has left nothing anywhere."""
    kept = boot_stage.kept(released.host1)
    assert kept == {"rows": [], "rules": {}, "links": {}}
    assert not [*released.host1.local("/dev/storpool-byid").iterdir()]
    return released.on_hosts(disk.id) == set()


def test_a_vdsm_that_is_too_old_is_refused_by_name(released: Site, disk: Disk) -> None:
    """Vdsm 4.50.5 takes neither type: Engine gets one sentence before anything is attached, and
    starts the VM on the next host."""
    released.software[1].upgrade(releases.VDSM_4_50_5)
    released.refresh(1)
    assert released.host1.connector_info["storpool_volume_type"] == "none"
    with pytest.raises(VerbFailed, match=r"4\.50\.5\.1"):
        released.start(disk, released.host1)
    assert nothing_of(released, disk)
    released.stop(disk, released.start(disk, released.host2))


@pytest.mark.parametrize("before", [OLD, NEW], ids=lambda each: each.name)
def test_engine_does_not_know_yet_that_it_is_too_old(
    released: Site, disk: Disk, before: releases.Vdsm
) -> None:
    """What the host said before is answered still: Vdsm has the helper attach, refuses the type
    (2009), and undoes it all."""
    released.be(releases.ENGINE_4_5_7, before, OLD)
    released.software[1].upgrade(releases.VDSM_4_50_5)
    with pytest.raises(vdsm.VdsmError) as caught:
        released.start(disk, released.host1)
    assert caught.value.code == vdsm.UNSUPPORTED_DRIVER
    assert nothing_of(released, disk)


def test_a_strict_vdsm_refuses_the_adapter(released: Site, disk: Disk) -> None:
    """api_strict_mode on a release, whose schema has no `adapter`: refused before anything is done;
    its own capabilities pass, as nothing is added to them."""
    released.software[1].be_strict(strict=True)
    released.software[1].restart()
    released.refresh(1)
    assert "storpool_volume_type" not in released.host1.connector_info
    with pytest.raises(vdsm.VdsmError, match="adapter") as caught:
        released.start(disk, released.host1)
    assert caught.value.code == vdsm.INVALID_PARAMETERS
    assert nothing_of(released, disk)


def test_a_strict_master_works(released: Site, disk: Disk) -> None:
    """Its schema has `adapter`, and the host adds nothing to what it says."""
    released.software[1].be_strict(strict=True)
    released.be(releases.ENGINE_4_5_7, NEW, OLD)
    released.stop(disk, released.start(disk, released.host1))


@pytest.mark.parametrize("has_os_brick", [True, False], ids=["EL9", "EL10"])
def test_a_host_without_ours_refuses(released: Site, disk: Disk, *, has_os_brick: bool) -> None:
    """Its own os-brick has nothing that it could attach, or there is none: no VM starts, whatever
    Engine knows of it from before, and nothing is left."""
    software = released.software[1]
    software.have_os_brick(there=has_os_brick)
    software.separate()
    software.restart()
    with pytest.raises(vdsm.VdsmError) as caught:
        released.start(disk, released.host1)
    assert caught.value.code == (vdsm.HELPER_FAILED if has_os_brick else vdsm.NOT_SUPPORTED)
    assert nothing_of(released, disk)


@pytest.mark.parametrize("release", [OLD, NEW], ids=lambda each: each.name)
def test_beside_the_distributions_os_brick(
    released: Site, disk: Disk, release: releases.Vdsm
) -> None:
    """Its words about the host get our key; our disks are attached and detached by our helper."""
    released.software[1].have_os_brick(there=True)
    released.software[1].restart()
    released.be(releases.ENGINE_4_5_7, release, OLD)
    released.refresh(1)
    said = released.host1.connector_info
    assert (said["host"], said.get("storpool_volume_type")) == (
        "played",
        None if release is NEW else "local",
    )
    released.stop(disk, released.start(disk, released.host1))


def test_everything_is_taken_off(released: Site, disk: Disk) -> None:
    """After the last VM: no file, no link, no row of ours, and Engine's own client is in its
    place."""
    released.stop(disk, released.start(disk, released.host1))
    for number, software in released.software.items():
        software.separate()
        software.restart()
        assert software.left() == []
        assert not [*released.stage.hosts[number].local(vdsm_rows.RULES_FOLDER).glob("*")]
    released.engine_software.separate()
    client = released.engine_software.client
    assert released.engine_software.left() == []
    assert not client.is_symlink()
    del released.stage.engine.options["adapter"]
    try:
        answer = released.stage.engine.run("storage_stats", "true").require().answer
    finally:
        released.stage.engine.options["adapter"] = "storpool"
    assert answer == "the stock client ran storage_stats"
    released.engine_software.integrate()
