"""Integrity: what a guest writes while Engine's verbs run on its disk is what is read back, here
and in each copy.

A writer on host 1 never pauses (blocks.py); copies are read on host 2, attached there as an
administrator would. After each test the cluster must hold exactly what it held before: fixture
`play`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import blocks
import pytest
from blocks import BLOCK, Image

from ovirt_demo import flows
from rigs.flow_stage import BOTH, Play
from rigs.helper_stage import wait_for_call
from rigs.shared_stage import GIB, at_once, attach, new_id, post, snapshots, volumes

if TYPE_CHECKING:
    from ovirt_demo.engine import Result

BESIDE = True  # StorPool's services make passes all the while

END = GIB // BLOCK
# So many that a copy takes a while, in which writes would come between.
PLACES = [
    0,
    END - 1,
    *random.Random(20).sample(range(2, END - 2, 2), 598),
]  # the same places each time
WATCHED = sorted(
    {*PLACES, *(place + 1 for place in PLACES[2::8])}
)  # the odd ones are never written
BEYOND = [place + END for place in PLACES]
SPREAD = 127  # a prime: what reads zeros is looked at in all parts of a disk
QUERIES = {
    "create_snapshot": "VolumeSnapshot",
    "clone_volume": "VolumeCreate",
    "create_volume_from_snapshot": "VolumeCreate",
    "extend_volume": "VolumeUpdate",
    "remove_snapshot": "SnapshotDelete",
    "delete_volume": "VolumeDelete",
}
FAULT_SECONDS = 0.2
TROUBLES = ("transient", "reset_before", "reset_after", "delay", "stop", "killed")
NO_TROUBLE = [("loop", ""), ("file", "")]
EACH_TROUBLE = pytest.mark.parametrize(
    ("play", "trouble"), [*NO_TROUBLE, *(("", trouble) for trouble in TROUBLES)], indirect=True
)
SOME_TROUBLE = pytest.mark.parametrize(
    ("play", "trouble"), [*NO_TROUBLE, ("", "stop"), ("", "killed")], indirect=True
)
"""What happens to the calls of each verb: nothing, on both kinds of devices; or a fault."""


@dataclass
class Running:
    """A disk of 1 GiB that is written on host 1, and the disks that were made from it."""

    play: Play
    disk: flows.Disk
    device: Path
    writer: blocks.Writer
    trouble: str = ""
    made: list[str] = field(default_factory=list)

    @property
    def journal(self) -> blocks.Journal:
        """What the writer did."""
        return self.writer.journal

    def run(self, verb: str, *arguments: str) -> Result:
        """Run a verb with trouble on its way until it succeeds, as Engine or its user would."""
        if self.trouble == "killed":
            self._killed(verb, *arguments)
        elif self.trouble:
            self.play.cluster.inject(self.trouble, query=QUERIES[verb], seconds=FAULT_SECONDS)
        result = self.play.stage.engine.run(verb, *arguments).require()
        assert self.play.cluster.control("GET", "faults") == [], "the trouble never came"
        return result

    def _killed(self, verb: str, *arguments: str) -> None:
        """Kill the adapter after it has asked: what it asked for happens while the next one is at
        work."""
        self.play.cluster.clear_calls()
        self.play.cluster.inject("delay", query=QUERIES[verb], seconds=FAULT_SECONDS)
        with self.play.stage.engine.started(verb, *arguments, correlation_id=new_id()):
            wait_for_call(self.play.stage, QUERIES[verb])

    def snapshot(self) -> tuple[str, blocks.Moment]:
        """Take a snapshot of the disk; return it and when it was taken."""
        with self.writer.moment() as moment:
            snapshot = self.run("create_snapshot", self.disk.id).guid()
        return snapshot, moment

    def preview(self, snapshot: str) -> str:
        """Make a volume that shows a snapshot."""
        return self.run("create_volume_from_snapshot", self.disk.id, snapshot).guid()

    def clone(self, source: str) -> tuple[str, blocks.Moment]:
        """Make a disk from a volume or a snapshot; return it and when it was made."""
        clone = new_id()
        self.made.append(clone)
        with self.writer.moment() as moment:
            self.run("clone_volume", source, clone)
        return clone, moment

    def shown(self, volume: str, places: list[int] = WATCHED) -> Image:
        """Read a volume on host 2."""
        return on_host2(
            self.play, {"volume": f"~{volumes(self.play.cluster)[volume]['globalId']}"}, places
        )

    def content(self, snapshot: str) -> Image:
        """Read a snapshot itself on host 2."""
        return on_host2(
            self.play,
            {"snapshot": f"~{snapshots(self.play.cluster)[snapshot]['globalId']}"},
            WATCHED,
        )

    def check(self) -> None:
        """Stop writing and check the disk, on its own host and on the other one."""
        self.writer.stop()
        for image in (blocks.read(self.device, WATCHED), self.shown(self.disk.id)):
            self.journal.check_newest(image)


def on_host2(play: Play, item: dict[str, str], places: list[int]) -> Image:
    """Read a volume or a snapshot on host 2, attached there for just this."""
    [(kind, address)] = item.items()
    right = "rw" if kind == "volume" else "ro"
    post(play.cluster, "VolumesReassignWait", {"reassign": [{**item, right: [2]}]})
    try:
        return blocks.read(play.host2.local(f"/dev/storpool-byid/{address[1:]}").resolve(), places)
    finally:
        post(play.cluster, "VolumesReassignWait", {"reassign": [{**item, "detach": [2]}]})


@pytest.fixture
def trouble(request: pytest.FixtureRequest) -> str:
    """Give what happens to the calls of each verb; "" is nothing."""
    return getattr(request, "param", "")


@pytest.fixture
def running(play: Play, trouble: str) -> Iterator[Running]:
    """Give a disk under write; all that is made from it is deleted in the end."""
    disk = flows.create_disk(play.domain, 1)
    [described] = flows.run_vm(play.domain, play.host1, disk)
    device = play.host1.local(described["managed_path"]).resolve()
    with blocks.writing(device, "the guest", PLACES) as writer:
        running = Running(play, disk, device, writer, trouble)
        yield running
    running.trouble = ""
    play.cluster.clear_faults()
    flows.stop_vm(play.domain, disk)
    for each in (disk.id, *running.made):
        running.run("delete_volume", each)


# Copies of a disk under write


@EACH_TROUBLE
def test_each_copy_of_a_disk_under_write_is_its_state_of_one_moment(running: Running) -> None:
    """Integrity, T27: snapshot and clone of a volume under write hold all that was stored, nothing
    later, no gap.

    What is written afterwards is never seen in them, and the volume itself loses nothing.
    """
    snapshot, taken = running.snapshot()
    clone, made = running.clone(running.disk.id)
    preview = running.preview(snapshot)
    first, second = running.shown(preview), running.shown(clone)
    running.journal.check_moment(first, taken)
    running.journal.check_moment(second, made)
    running.writer.go_on(100)
    running.run("delete_volume", preview)
    of_snapshot, _ = running.clone(snapshot)
    assert running.shown(of_snapshot) == first
    assert running.shown(clone) == second
    running.check()


@BOTH
def test_writes_to_a_preview_stay_in_the_preview(running: Running) -> None:
    """Integrity: a preview that is written on host 2 changes neither the volume nor its snapshot,
    nor they it."""
    snapshot, _ = running.snapshot()
    before = running.content(snapshot)
    preview = running.preview(snapshot)
    device = attach(running.play.stage, 2, preview).resolve()
    with blocks.writing(device, "the preview", PLACES[::2]) as writer:
        running.writer.go_on(100)
    seen = blocks.read(device, WATCHED)
    writer.journal.check_newest(seen, base=before)
    clone, _ = running.clone(snapshot)
    assert running.shown(clone) == before
    assert blocks.read(device, WATCHED) == seen
    running.run("delete_volume", preview)
    assert running.content(snapshot) == before
    running.check()


@SOME_TROUBLE
def test_removing_a_middle_snapshot_changes_no_other(running: Running) -> None:
    """Integrity, T37: of three snapshots the middle one goes; the others, its clone and the volume
    read as before."""
    snapshots = [running.snapshot() for _ in range(3)]
    contents = [running.content(snapshot) for snapshot, _ in snapshots]
    for content, (_, taken) in zip(contents, snapshots):
        running.journal.check_moment(content, taken)
    clone, _ = running.clone(snapshots[1][0])
    running.run("remove_snapshot", snapshots[1][0], running.disk.id)
    running.writer.go_on(100)
    assert [running.content(snapshots[number][0]) for number in (0, 2)] == [
        contents[0],
        contents[2],
    ]
    assert running.shown(clone) == contents[1]
    running.check()


# Growing


@SOME_TROUBLE
def test_a_disk_that_grows_under_write(running: Running) -> None:
    """Integrity, T27, T38: the new space reads zeros and takes data; the old part and older
    snapshots keep theirs."""
    old, _ = running.snapshot()
    before = running.content(old)
    running.run("extend_volume", running.disk.id, "2")
    assert not any(blocks.read(running.device, [*BEYOND, *range(END, 2 * END, SPREAD)]).values())
    with blocks.writing(running.device, "new space", BEYOND) as beyond, beyond.moment() as above:
        snapshot, below = running.snapshot()
    preview = running.preview(snapshot)
    running.journal.check_moment(running.shown(preview), below)
    beyond.journal.check_moment(running.shown(preview, BEYOND), above)
    running.run("delete_volume", preview)
    preview = running.preview(old)
    assert running.shown(preview, [*WATCHED, *BEYOND]) == {**before, **dict.fromkeys(BEYOND)}
    running.run("delete_volume", preview)
    beyond.journal.check_newest(blocks.read(running.device, BEYOND))
    running.check()


# Whole lives


@BOTH
def test_a_new_disk_shows_nothing_of_a_deleted_one(running: Running) -> None:
    """T27: a disk made after another one with data was deleted reads zeros, there and everywhere
    else."""
    running.check()
    flows.stop_vm(running.play.domain, running.disk)
    flows.delete_disk(running.play.domain, running.disk)
    disk = new_id()
    running.made.append(disk)
    running.run("create_volume", disk, "1")
    assert not any(running.shown(disk, [*WATCHED, *range(0, END, SPREAD)]).values())


@BOTH
def test_clones_outlive_their_source(running: Running) -> None:
    """Integrity, T37: the disk goes with its snapshots; its clones and a clone of a clone hold what
    they held."""
    snapshot, taken = running.snapshot()
    clones = [running.clone(source) for source in (running.disk.id, snapshot)]
    clones.append(running.clone(clones[0][0]))
    running.check()
    flows.stop_vm(running.play.domain, running.disk)
    flows.delete_disk(running.play.domain, running.disk)
    found = [running.shown(clone) for clone, _ in clones]
    assert found[2] == found[0]
    running.journal.check_moment(found[0], clones[0][1])
    running.journal.check_moment(found[1], taken)


# What breaks under the writer


@pytest.mark.parametrize("play", ["loop"], indirect=True)
def test_a_host_cut_off_in_the_middle_of_writes(running: Running) -> None:
    """Integrity, 3.17: the writer gets errors; all that was stored is there on another host, and no
    block is torn."""
    item = {
        "volume": f"~{volumes(running.play.cluster)[running.disk.id]['globalId']}",
        "detach": [1],
        "force": True,
    }
    post(running.play.cluster, "VolumesReassign", [item])
    running.writer.join()
    with pytest.raises(OSError, match="Input/output error"):
        running.writer.stop()
    running.journal.check_newest(running.shown(running.disk.id))


def test_storpool_dies_in_the_middle_of_a_snapshot(running: Running) -> None:
    """Integrity: the management is killed while it makes a snapshot; the one that comes of it is of
    one moment."""
    stage, cluster = running.play.stage, running.play.cluster

    def die() -> None:
        wait_for_call(stage, "VolumeSnapshot")
        cluster.kill()
        cluster.start()

    cluster.clear_calls()
    cluster.inject("delay", query="VolumeSnapshot", seconds=FAULT_SECONDS)
    with running.writer.moment() as taken:
        result, _ = at_once(lambda: stage.engine.run("create_snapshot", running.disk.id), die)
        snapshot = (
            result if result.succeeded else stage.engine.run("create_snapshot", running.disk.id)
        ).guid()
    running.writer.go_on(100)
    running.journal.check_moment(running.content(snapshot), taken)
    running.check()


def test_a_torn_or_misplaced_block_is_seen() -> None:
    """Integrity: halves of two writes are no block, nor is one that belongs elsewhere."""
    first, second = (blocks.pack("the guest", 7, number) for number in (1, 2))
    assert blocks.unpack(second, 7) == blocks.Block("the guest", 2)
    for data, place in (
        (first[:512] + second[512:], 7),
        (first[:512] + bytes(BLOCK - 512), 7),
        (first, 8),
    ):
        with pytest.raises(AssertionError, match=f"block {place}"):
            blocks.unpack(data, place)


@pytest.mark.parametrize(
    ("sequences", "wrong"),
    [
        ((1, 3), ""),
        ((4, 7), ""),
        ((0, 3), "place 0 is too old"),
        ((1, 7), "place 0 is older than the others"),
        ((4, 10), "after the call had ended"),
        ((4, 9), "nobody wrote number 9"),
    ],
)
def test_a_copy_that_is_no_state_of_one_moment_is_seen(
    sequences: tuple[int, int], wrong: str
) -> None:
    """Integrity: the checks above see a lost block, a gap and a block that came too late."""
    journal = blocks.Journal("the guest")
    journal.writes.update({0: [blocks.Write(1, 2), blocks.Write(4, 5)]})
    journal.writes.update({1: [blocks.Write(3, 6), blocks.Write(7, 8), blocks.Write(10)]})
    image = {
        place: blocks.Block("the guest", number) if number else None
        for place, number in enumerate(sequences)
    }
    with pytest.raises(AssertionError, match=wrong) if wrong else contextlib.nullcontext():
        journal.check_moment(image, blocks.Moment(3, 9))
