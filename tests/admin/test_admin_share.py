"""`storpool-ovirt shareable`: an administrator's word that several VMs may have a disk, and its
undoing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import flows
from rigs import refusals
from rigs.admin_site import AdminSite, opened_site, told
from rigs.shared_stage import new_id, post, volumes, writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rigs.stage_fixtures import Stage

MARK = "ovirt-share"


@pytest.fixture
def site(shared: Stage, tmp_path: Path) -> Iterator[AdminSite]:
    """Give an empty stage and an administrator's shell."""
    with opened_site(shared, tmp_path) as made:
        yield made


def tags(site: AdminSite, volume: str) -> Any:
    """Return the tags of a volume."""
    return volumes(site.stage.simulator)[volume]["tags"]


@pytest.mark.parametrize("known", [True, False], ids=["with the mapping", "without"])
def test_a_disk_is_marked_and_the_mark_taken_away(site: AdminSite, known: bool) -> None:
    """Each is told, a repeat changes nothing, the other tags stay; a host without Engine's database
    can do it too."""
    disk = flows.create_disk(site.stage.domain, 1)
    before = tags(site, disk.id)
    where = () if known else ("--options", str(site.folder / "options.json"))
    site.run("audit")  # it writes the options

    def run(*arguments: str) -> list[str]:
        return told(site.run("shareable", *where, disk.id, *arguments, told=known), 0)

    assert run() == [
        f"disk {disk.id} is marked as shareable now: a plug leaves it to the hosts that have it"
    ]
    assert tags(site, disk.id) == {**before, MARK: "1"}
    assert run() == [f"disk {disk.id} was marked as shareable already, so nothing was changed"]
    [line] = run("--not")
    assert line.startswith(
        f"disk {disk.id} is not marked as shareable any more: a plug takes it, or is refused"
    )
    assert tags(site, disk.id) == before
    assert run("--not") == [f"disk {disk.id} was not marked as shareable, so nothing was changed"]


def test_a_dry_run_changes_nothing(site: AdminSite) -> None:
    """T72: it tells what would be done, and refuses what would be refused."""
    disk = flows.create_disk(site.stage.domain, 1)
    before = tags(site, disk.id)

    def run(*arguments: str) -> list[str]:
        return told(site.run("shareable", disk.id, "--dry-run", *arguments), 0)

    would, sends = run()
    assert would == f"disk {disk.id} would be marked as shareable"
    assert sends.startswith("  would send: POST VolumeUpdate/~")
    assert '"ovirt-share": "1"' in sends
    assert run("--not") == [
        f"disk {disk.id} was not marked as shareable, so nothing would be changed"
    ]
    assert tags(site, disk.id) == before
    told(site.run("shareable", disk.id), 0)
    marked = tags(site, disk.id)
    site.stage.simulator.clear_calls()
    assert run() == [f"disk {disk.id} was marked as shareable already, so nothing would be changed"]
    would, sends = run("--not")
    assert would == f"the mark of disk {disk.id} as shareable would be taken away"
    assert '"ovirt-share": ""' in sends
    assert tags(site, disk.id) == marked
    assert writes(site.stage.simulator) == []
    for host in site.stage.hosts.values():
        flows.run_vm(site.stage.domain, host, dataclasses.replace(disk))
    assert "is marked as shareable still" in refusals.of_command(
        site.run("shareable", disk.id, "--not", "--dry-run"), 1
    )
    for host in site.stage.hosts.values():
        host.detach_volume(site.stage.domain.id, disk.id)


def test_the_mark_stays_while_several_hosts_have_it(site: AdminSite) -> None:
    """T81: two VMs may write it at that moment; who they are is told, and nothing is changed."""
    disk = flows.create_disk(site.stage.domain, 1)
    told(site.run("shareable", disk.id), 0)
    for host in site.stage.hosts.values():
        flows.run_vm(site.stage.domain, host, dataclasses.replace(disk))
    sentence = refusals.of_command(site.run("shareable", disk.id, "--not"), 1)
    assert "is attached to client 1, client 2, and is marked as shareable still" in sentence
    assert tags(site, disk.id)[MARK] == "1"
    site.stage.host2.detach_volume(site.stage.domain.id, disk.id)
    told(site.run("shareable", disk.id, "--not"), 0)
    assert MARK not in tags(site, disk.id)
    site.stage.host1.detach_volume(site.stage.domain.id, disk.id)


def test_the_disk_means_its_active_volume(site: AdminSite) -> None:
    """After a preview that stays, it is that one that a VM writes; a snapshot is nothing that can
    be shared."""
    disk = flows.create_disk(site.stage.domain, 1)
    snapshot = flows.create_snapshot(site.stage.domain, disk)
    flows.preview(site.stage.domain, disk, snapshot)
    flows.commit_preview(site.stage.domain, disk)
    told(site.run("shareable", disk.id), 0)
    assert tags(site, disk.active)[MARK] == "1"
    assert MARK not in tags(site, disk.id)
    assert "is nothing that a VM writes: name the disk" in refusals.of_command(
        site.run("shareable", snapshot), 1
    )


def test_only_ovirts_volumes_are_marked(site: AdminSite) -> None:
    """T76, S6: what was handed to another owner, what is no disk, and what is no id: refused, and
    nothing changed."""
    disk = flows.create_disk(site.stage.domain, 1)
    post(
        site.stage.simulator,
        f"VolumeUpdate/ovirt--{disk.id}",
        {"tags": {**tags(site, disk.id), "virt": "cs"}},
    )
    assert "is another owner's by its tags: it is left alone" in refusals.of_command(
        site.run("shareable", disk.id), 1
    )
    assert MARK not in tags(site, disk.id)
    assert "there is no volume of oVirt's disk" in refusals.of_command(
        site.run("shareable", new_id()), 1
    )
    assert "is not a UUID" in refusals.of_command(site.run("shareable", "pvc-77"), 2)


def test_volumes_of_the_cinder_driver(site: AdminSite) -> None:
    """oVirt's stock path: the name that Cinder's driver gives tells the volume, which no mapping of
    ours knows."""
    image = new_id()
    name = f"os--volume-{image}"
    post(
        site.stage.simulator, "VolumeCreate", {"name": name, "size": 1 << 30, "template": "hybrid"}
    )
    told(site.run("shareable", image), 0)
    [there] = [each for each in site.stage.simulator.api("VolumesList") if each["name"] == name]
    assert there["tags"] == {MARK: "1"}


@pytest.mark.parametrize("arguments", [(), ("--not",)])
def test_what_storpool_refuses_is_not_told_to_be_done(
    site: AdminSite, arguments: tuple[str, ...]
) -> None:
    """The sentence is StorPool's, the exit code 1, and the mark as it was."""
    disk = flows.create_disk(site.stage.domain, 1)
    if arguments:
        told(site.run("shareable", disk.id), 0)
    before = tags(site, disk.id)
    site.stage.simulator.inject("error_200", query="VolumeUpdate", name="invalidParam")
    assert ": invalidParam: injected" in refusals.of_command(
        site.run("shareable", disk.id, *arguments), 1
    )
    assert tags(site, disk.id) == before
