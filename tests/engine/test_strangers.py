"""strangers.py: what another platform uses, or a client has that is no host of oVirt's, is never
deleted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, OTHER
from storpool_ovirt import errors

if TYPE_CHECKING:
    from rigs.yard import Yard

pytestmark = pytest.mark.usefixtures("a_disk")

PLATFORMS = {
    "cs": ("1", "CloudStack"),
    "csi_name": ("pvc-1", "Kubernetes"),
    "nloc": ("one", "OpenNebula"),
    "pve-loc": ("a", "Proxmox VE"),
}
OURS = os.uname().nodename


def hosts(yard: Yard, **ids: int) -> None:
    """Write storpool.conf of this machine with these sections."""
    folder = yard.folder / "etc"
    folder.mkdir(exist_ok=True)
    sections = "".join(f"[{name}]\nSP_OURID={number}\n" for name, number in ids.items())
    (folder / "storpool.conf").write_text(f"SP_CLUSTER_ID=sim.a\n{sections}")


def refused(yard: Yard, verb: str, uuid: str, error: type[errors.Error] = errors.Conflict) -> str:
    """See that a delete is refused and nothing is different; return the sentence."""
    before = yard.see()
    with pytest.raises(error) as raised:
        yard.verb(verb, uuid)
    assert yard.see() == before
    return str(raised.value)


@pytest.mark.parametrize("tag", PLATFORMS)
def test_what_another_platform_uses_too_is_never_deleted(yard: Yard, tag: str) -> None:
    """T76: neither as a disk, nor with its snapshots; the sentence says who, and what to do."""
    value, platform = PLATFORMS[tag]
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": {tag: value}})
    sentence = refused(yard, "delete", DISK, errors.Foreign)
    assert f'is used by {platform} too (tag {tag}="{value}")' in sentence
    assert f"take the tag {tag} away with the StorPool CLI and delete it again" in sentence
    yard.verb("remove", snapshot)
    yard.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": {tag: ""}})
    yard.verb("delete", DISK)
    assert yard.uuids() == set()


def test_a_snapshot_that_another_platform_uses_keeps_the_disk(yard: Yard) -> None:
    """T10: all of a disk goes, or nothing."""
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"SnapshotUpdate/ovirt--{snapshot}", {"tags": {"csi_name": "pvc-1"}})
    refused(yard, "delete", DISK, errors.Foreign)
    refused(yard, "remove", snapshot, errors.Foreign)


@pytest.mark.parametrize("platform", ["one", "pve"])
def test_what_was_handed_to_another_platform_is_never_deleted(yard: Yard, platform: str) -> None:
    """T76: by the tag `virt`, as ever."""
    yard.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": {"virt": platform}})
    assert "does not carry our tags (virt)" in refused(yard, "delete", DISK, errors.Foreign)


def test_reconcile_leaves_what_another_platform_uses(yard: Yard) -> None:
    """T72, T76: also what is left of a verb that died, with a row and without one."""
    made = yard.die_made("clone", DISK, CLONE)
    yard.ask(f"VolumeUpdate/ovirt--{made}", {"tags": {"cs": "1"}})
    with pytest.raises(errors.Conflict, match="is used by CloudStack too"):
        yard.reconcile()
    assert f"ovirt--{made}" in yard.see().things
    address = yard.by_hand(OTHER)
    yard.ask(f"VolumeUpdate/{address}", {"tags": {"cs": "1"}})
    with pytest.raises(errors.Foreign, match="is used by CloudStack too"):
        yard.remove(address)


def test_the_tag_that_names_a_vm_is_no_sign(yard: Yard) -> None:
    """Who has chosen that key means VMs of oVirt's by it."""
    yard.given(vm_tag="cs")
    yard.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": {"cs": OTHER}})
    yard.verb("delete", DISK)
    assert yard.uuids() == set()


# Who has it attached


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_client_has_that_is_no_host_of_ours_is_kept(yard: Yard, whole: bool) -> None:
    """It is closed there, and may be used all the same."""
    hosts(yard, one=1, three=3)
    if whole:
        yard.verb("snapshot", DISK)
    yard.hold(f"ovirt--{DISK}", 2)
    sentence = refused(yard, "delete", DISK)
    assert "is attached to client 2, which is no host in /etc/storpool.conf on this" in sentence
    assert "nothing was deleted; is it a host of oVirt's, give /etc/storpool.conf its" in sentence
    hosts(yard, one=1, two=2)
    yard.verb("delete", DISK)
    assert yard.uuids() == set()


def _absent(_yard: Yard) -> None:
    """There is no storpool.conf."""


def _without_sections(yard: Yard) -> None:
    hosts(yard)


def _of_this_machine_alone(yard: Yard) -> None:
    hosts(yard, **{OURS: 7})


@pytest.mark.parametrize("knows", [_absent, _without_sections, _of_this_machine_alone])
def test_where_nobody_knows_the_hosts_a_closed_device_is_let_go_of(
    yard: Yard, knows: object
) -> None:
    """T9: Engine's machine may have no storpool.conf, or one that names no hosts."""
    assert callable(knows)
    knows(yard)
    yard.hold(f"ovirt--{DISK}", 2)
    yard.verb("delete", DISK)
    assert yard.uuids() == set()


@pytest.mark.parametrize("host", ["new-host", None])
def test_a_list_that_lacks_a_host_of_ours_is_no_list(yard: Yard, host: str | None) -> None:
    """T9: Engine has asked for the disk for a host that storpool.conf does not name: it may be that
    client."""
    hosts(yard, one=1, three=3)
    with yard.engine() as work:
        from storpool_ovirt.engine import disks

        connector = {"host": host} if host else {}
        disks.connect(work, DISK, connector)
    yard.hold(f"ovirt--{DISK}", 2)
    yard.verb("delete", DISK)
    assert yard.uuids() == set()


def test_a_host_that_was_asked_for_and_is_named_says_nothing_of_another(yard: Yard) -> None:
    """The list is whole as far as this disk goes."""
    hosts(yard, one=1, three=3)
    with yard.engine() as work:
        from storpool_ovirt.engine import disks

        disks.connect(work, DISK, {"host": "one"})
    yard.hold(f"ovirt--{DISK}", 2)
    refused(yard, "delete", DISK)


def test_what_is_not_attached_is_not_asked_for(yard: Yard) -> None:
    """A delete reads no storpool.conf for it, nor notes."""
    hosts(yard, one=1)
    yard.verb("create", OTHER, GIB)
    for disk in (DISK, OTHER):
        yard.verb("delete", disk)
    assert yard.uuids() == set()
