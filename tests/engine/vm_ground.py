"""VMs with several disks, their snapshots as Engine asks for them, and what holds of those whatever
went wrong.

Engine asks for one disk after another under one correlation id, and goes on after a failure: a VM's
snapshot has failed then. Where every verb failed it takes all back; where some have not, it keeps
what it was told (reference: CreateSnapshotDisk and its callback in ovirt-engine).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rigs import disk_rig, shared_stage
from storpool_ovirt import errors
from storpool_ovirt.cluster import volumes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rigs.yard import Yard

# Told once more in plain words: the VM that a volume belongs to, that several may have it, and what
# snapshots of one moment have in common.
VM_TAG, SHARED_TAG, MARK = "cvm", "ovirt-share", "ovirt-moment"
# Of an object: where guests write which turn it is.
TURN_BYTES = 8
A_MINUTE = 61.0  # and a second: an action is over then


@dataclass(frozen=True)
class Vm:
    """A VM that runs on a host, with the volumes that it writes."""

    tag: str
    disks: tuple[str, ...]
    client: int = 1


@dataclass
class Action:
    """A snapshot of a VM: what was answered for each volume, in the order in which Engine asked;
    None where the verb failed.

    `was_written`: the tables told of that failure when its first verb had failed.
    """

    correlation_id: str
    answers: dict[str, str | None] = field(default_factory=dict)
    was_written: bool = False

    @property
    def told(self) -> list[str]:
        """The snapshots that Engine knows."""
        return [each for each in self.answers.values() if each is not None]

    @property
    def is_whole(self) -> bool:
        """Whether Engine has a snapshot of each disk that it asked for."""
        return None not in self.answers.values()

    @property
    def after_failure(self) -> list[str]:
        """The volumes that were asked for after a verb had failed, and had an answer."""
        answers = [*self.answers.items()]
        failed = [number for number, (_, answer) in enumerate(answers) if answer is None]
        return [volume for volume, answer in answers[min(failed, default=0) :] if answer and failed]


def running(
    rig: disk_rig.DiskRig,
    count: int = 3,
    client: int = 1,
    name: str | None = None,
    disks: Sequence[str] = (),
) -> Vm:
    """Make a VM with so many disks, or with disks of these ids, and start it on a host."""
    ids = disks or [shared_stage.new_id() for _ in range(count)]
    vm = Vm(name or shared_stage.new_id(), tuple(made(rig, each) for each in ids), client)
    for disk in vm.disks:
        plug(rig, disk, vm.client)
        tag(rig, disk, vm.tag)
    return vm


def made(rig: disk_rig.DiskRig, uuid: str | None = None) -> str:
    """Make a disk, and return its id."""
    disk = uuid or shared_stage.new_id()
    rig.verb("create", disk, shared_stage.GIB)
    return disk


def plug(rig: disk_rig.DiskRig, volume: str, client: int) -> None:
    """Attach a volume to a host."""
    rig.attach(client, rig.verb("connection", volume)["data"])


def tag(rig: disk_rig.DiskRig, volume: str, vm: str, *, shared: bool | None = None) -> None:
    """Tag a volume with the VM that it belongs to, or with none, with the means of the hooks.

    `shared`: whether it is marked as shareable from now on.
    """
    mark = {} if shared is None else {SHARED_TAG: "1" if shared else ""}
    with rig.engine() as work:
        there = work.client.volume(f"ovirt--{volume}")
        volumes.change(work.client, there, tags={VM_TAG: vm, **mark})


def unplug(rig: disk_rig.DiskRig, volume: str, client: int) -> None:
    """Take a volume from a host by hand, as if it had crashed: its tags stay."""
    item = {"volume": f"ovirt--{volume}", "detach": [client], "force": True}
    rig.ask("VolumesReassignWait", {"reassign": [item]})


def moments(rig: disk_rig.DiskRig, correlation_id: str) -> list[tuple[Any, ...]]:
    """Return id, state and volumes of the groups that have this key, oldest first."""
    return rig.sql(
        "SELECT id, state, volumes::text[] FROM storpool_ovirt.moment WHERE key = %s ORDER BY id",
        correlation_id,
    )


def traces(rig: disk_rig.DiskRig, correlation_id: str) -> set[tuple[str, int]]:
    """Return what tells later verbs of this key that one has failed; one that was killed early
    leaves nothing."""
    entries = rig.sql(
        "SELECT id FROM storpool_ovirt.operation WHERE correlation_id = %s AND state <> 'undone'",
        correlation_id,
    )
    failed = [each[0] for each in moments(rig, correlation_id) if each[1] != "made"]
    return {*(("entry", number) for (number,) in entries), *(("group", each) for each in failed)}


def unclaimed(rig: disk_rig.DiskRig) -> set[str]:
    """Return the snapshots that no verb has answered with."""
    return {
        uuid for (uuid,) in rig.sql("SELECT uuid::text FROM storpool_ovirt.node WHERE reserved")
    }


def age(rig: disk_rig.DiskRig, seconds: float) -> None:
    """Let all groups be older by so much."""
    rig.sql(
        "UPDATE storpool_ovirt.moment SET made_at = made_at - make_interval(secs => %s)", seconds
    )


def wrong(seen: disk_rig.Seen, action: Action, grouped: Sequence[str] | None = None) -> list[str]:
    """Tell what is wrong with what Engine was told of an action.

    `grouped` are the volumes whose snapshots have to be of one moment; all of it, if not given.
    """
    found = [f"{each} was told and is gone" for each in gone(seen, action.told)]
    if action.was_written:
        found += [
            f"{each} has an answer after a failure"
            for each in action.after_failure
            if grouped is None or each in grouped
        ]
    marks = {
        volume: _mark(seen, snapshot)
        for volume, snapshot in action.answers.items()
        if snapshot is not None and (grouped is None or volume in grouped)
    }
    if len(marks) > 1 and (len({*marks.values()}) > 1 or None in marks.values()):
        found.append(f"not of one moment: {marks}")
    return found


def gone(seen: disk_rig.Seen, told: Iterable[str]) -> list[str]:
    """Return those of what Engine was told that it could not use any more."""
    return [
        uuid
        for uuid in told
        if f"ovirt--{uuid}" not in seen.things
        or uuid not in seen.rows
        or seen.rows[uuid].state != "live"
    ]


def disagreements(seen: disk_rig.Seen) -> list[str]:
    """Tell where rows, journal and cluster do not agree."""
    rows = {f"ovirt--{uuid}": row for uuid, row in seen.rows.items() if row.state != "removed"}
    found = [f"row {name} is {row.state}" for name, row in rows.items() if row.state != "live"]
    found += [f"{name} has no object" for name in rows.keys() - seen.things.keys()]
    found += [f"{name} has no row" for name in seen.things.keys() - rows.keys()]
    found += [
        f"{name} is another object"
        for name in rows.keys() & seen.things.keys()
        if rows[name].global_id != seen.things[name].global_id
    ]
    found += [
        f"snapshot {name} is of another size than its row"
        for name in rows.keys() & seen.things.keys()
        if rows[name].kind == "snapshot" and rows[name].size_bytes != seen.things[name].size_bytes
    ]
    return [*found, *(f"open: {json.dumps(each)}" for each in seen.pending)]


def _mark(seen: disk_rig.Seen, snapshot: str) -> str | None:
    thing = seen.things.get(f"ovirt--{snapshot}")
    return None if thing is None else thing.tags.get(MARK)


def act(
    rig: disk_rig.DiskRig, volumes: Iterable[str], correlation_id: str | None = None, **given: Any
) -> Action:
    """Snapshot these volumes as Engine does, with verbs in this process; `given` is for each."""
    action = Action(correlation_id or shared_stage.new_id())
    for volume in volumes:
        ask(rig, action, volume, **given)
    return action


def ask(rig: disk_rig.DiskRig, action: Action, volume: str, **given: Any) -> errors.Error | None:
    """Ask for one snapshot of an action; return the error where the verb failed."""
    try:
        action.answers[volume] = rig.verb(
            "snapshot", volume, correlation_id=action.correlation_id, **given
        )
    except errors.Error as error:
        action.answers[volume] = None
        action.was_written |= bool(moments(rig, action.correlation_id))
        return error
    return None


def unsettled(yard: Yard, *actions: Action) -> list[str]:
    """Tell what is there beside what Engine was told of in these actions, and what does not agree;
    also in the eyes of the audit."""
    seen = yard.see()
    told = {uuid for action in actions for uuid in action.told}
    there = {
        name.removeprefix("ovirt--")
        for name, thing in seen.things.items()
        if thing.kind == "snapshot"
    }
    found = [f"nobody knows {uuid}" for uuid in sorted(there - told)]
    found += [f"{uuid} was told and is gone" for uuid in gone(seen, told)]
    found += [f"{uuid} is reserved" for uuid in sorted(unclaimed(yard))]
    found += [f"audit: {each}" for each in yard.report().findings]
    return [*found, *disagreements(seen)]
