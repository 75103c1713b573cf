"""Engine's flows with snapshots, previews and commits, replayed with real data.

After each the cluster must hold exactly what it held before: fixture `play`.
"""

from __future__ import annotations

import pytest

from ovirt_demo import flows
from ovirt_demo.engine import VerbFailed
from rigs.flow_stage import BOTH, Play

BESIDE = True  # StorPool's services make passes all the while


@BOTH
def test_preview_and_undo(play: Play) -> None:
    """3.10, 3.11: a snapshot of a running VM is one point in time; a preview shows it, an undo
    brings back the rest."""
    disk = flows.create_disk(play.domain, 1)
    guest = play.start(disk, play.host1)
    guest.write(0, "one")
    snapshot = flows.create_snapshot(play.domain, disk)
    guest.write(0, "two")
    guest.write(1, "more")
    play.stop(disk, guest)
    preview = flows.preview(play.domain, disk, snapshot)
    assert play.nodes(disk) == {disk.id, snapshot, preview}
    guest = play.start(disk, play.host1)
    assert (guest.read(0), guest.read(1)) == ("one", "")
    guest.write(0, "lost by the undo")
    play.stop(disk, guest)
    flows.undo_preview(play.domain, disk)
    assert play.nodes(disk) == {disk.id, snapshot}
    assert play.reads(disk, "two", "more")
    flows.remove_snapshot(play.domain, disk, snapshot)
    assert play.reads(disk, "two", "more")
    flows.delete_disk(play.domain, disk)


def test_the_worked_sequence_of_previews_and_commits(play: Play) -> None:
    """3.12, T10, T37: two commits of one snapshot, with remove_snapshot of a volume; each node
    keeps its own data."""
    disk = flows.create_disk(play.domain, 1)

    def write(text: str) -> None:
        guest = play.start(disk, play.host1)
        guest.write(0, text)
        play.stop(disk, guest)

    write("one")
    first = flows.create_snapshot(play.domain, disk)
    write("two")
    second = flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, first)
    flows.undo_preview(play.domain, disk)
    assert play.nodes(disk) == {*disk.images} == {disk.id, first, second}
    v2 = flows.preview(play.domain, disk, first)
    assert flows.commit_preview(play.domain, disk) == [second]
    assert play.nodes(disk) == {*disk.images} == {disk.id, first, v2}
    assert play.reads(disk, "one")
    write("three")
    third = flows.create_snapshot(play.domain, disk)
    v3 = flows.preview(play.domain, disk, third)
    assert flows.commit_preview(play.domain, disk) == []
    assert play.reads(disk, "three")
    write("four")
    v4 = flows.preview(play.domain, disk, first)
    assert flows.commit_preview(play.domain, disk) == [v2]
    assert play.nodes(disk) == {*disk.images} == {disk.id, first, third, v3, v4}
    assert play.reads(disk, "one")
    flows.remove_snapshot(play.domain, disk, first)
    assert play.nodes(disk) == {*disk.images} == {disk.id, third, v3, v4}
    clone = flows.clone_disk(play.domain, disk, third)
    assert play.reads(clone, "three")
    assert play.reads(disk, "one")
    flows.delete_disk(play.domain, disk)
    assert play.nodes(disk) == set()
    assert play.reads(clone, "three")
    flows.delete_disk(play.domain, clone)


def test_delete_in_the_middle_of_a_preview(play: Play) -> None:
    """3.13: a disk with snapshots of several volumes and an open preview goes by one verb that
    names the disk alone."""
    disk = flows.create_disk(play.domain, 1)
    first = flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, first)
    flows.commit_preview(play.domain, disk)
    flows.create_snapshot(play.domain, disk)
    flows.preview(play.domain, disk, first)
    assert len(play.nodes(disk)) == 5
    guest = play.start(disk, play.host1)
    with pytest.raises(VerbFailed, match="is open at client 1"):
        flows.delete_disk(play.domain, disk)
    assert len(play.nodes(disk)) == 5
    play.stop(disk, guest)
    flows.delete_disk(play.domain, disk)
    assert play.nodes(disk) == set()
