"""The life of disks in one cluster, and the model that it is held against: the steps that the
machine of test_disks_stateful.py is made of."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import disk_aftermath
from hypothesis import note

from rigs import kept_tags
from rigs.disk_model import BLOCK, Argument, Model, Node, Pending
from rigs.disk_rig import CLIENTS, Death, DiskRig, Fault, Seen
from storpool_ovirt import errors

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

# The ids that Engine gives to disks; few, so that repeats and conflicts come often.
DISKS = tuple(f"d{number}000000-0000-4000-8000-000000000000" for number in range(4))
UNKNOWN = "e0000000-0000-4000-8000-000000000000"
# There is an object of this name, made by another Engine
FOREIGN = "f0000000-0000-4000-8000-000000000000"
# What a verb may give up on, with one clear error.
GIVEN_UP = ("refuse", "error_200", "death")


class DiskLife:
    """One Engine and three hosts; `database` and `folders` are set by the test."""

    database: Database
    folders: itertools.count[int]
    folder: Path

    def __init__(self) -> None:
        super().__init__()  # of the machine
        self.model = Model(frozenset({FOREIGN}))
        self.described: dict[str, dict[str, str]] = {}
        self.held: dict[tuple[str, int], int] = {}
        self.sound = False
        self.rig: DiskRig | None = None

    # Steps that rules share

    def ask(
        self, verb: str, *arguments: Argument, fault: Fault | None = None, again: bool = False
    ) -> None:
        """Run a verb and hold its outcome against the model; `again`: repeat it when it was given
        up on."""
        if FOREIGN in arguments and fault is not None and fault.kind in GIVEN_UP:
            # An intent that can never be carried out: a case of its own, not one of these lives
            fault = None
        self.log(verb, *arguments, fault)
        if self.settle(verb, *arguments) and fault is not None and fault.kind in GIVEN_UP:
            fault = None  # what dies while it puts right what died: test_settlement_again.py
        refusal = self.model.refusal(verb, *arguments)
        touched = self.model.touched(verb, *arguments)
        try:
            answer = self.the_rig.verb(verb, *arguments, fault=fault)
        except (errors.Error, Death) as error:
            if not accepted(error, refusal, fault):
                raise
            if named(error) == refusal:
                return
            self.log("  gave up:", repr(error))
            seen = self.the_rig.see()
            disk_aftermath.adopt(self.model, seen, touched, verb, *arguments)
            self.model.pending = [Pending(*each) for each in seen.pending]
            if again:
                self.ask(verb, *arguments)
            return
        assert refusal is None, f"{verb} should have raised {refusal}"
        self.model.apply(verb, *arguments, made=answer if isinstance(answer, str) else "")
        if verb == "connection":
            self.check_description(str(arguments[0]), answer)

    def settle(self, verb: str, *arguments: Argument) -> bool:
        """Tell the model that a verb puts right what died on the disks that it meets; false when
        nothing had died."""
        settled = False
        while met := self.model.meets(verb, *arguments):
            disk, named_there = met[0]
            self.log("  settled:", disk)
            before = [*self.model.pending]
            self.model.settle(disk, named_there)
            if self.model.pending == before:
                return settled
            settled = True
            if verb == "clone" and self.model.refusal("connection", str(arguments[0])) is not None:
                return True
        return settled

    def attach(self, uuid: str, client_id: int, fault: Fault | None) -> None:
        """Attach what was described; a failure leaves nothing of it."""
        self.log("attach", uuid, client_id, fault)
        data = self.described[uuid]
        node = self.model.nodes.get(uuid)
        refusal = (
            None if node and node.exists and node.global_id == data["global_id"] else "NotFound"
        )
        try:
            path = self.the_rig.attach(client_id, data, fault)
        except (errors.Error, Death) as error:
            if not accepted(error, refusal, fault):
                raise
            if isinstance(error, Death) and refusal is None:
                listed = {
                    (global_id, client) for global_id, client, _ in self.the_rig.see().attached
                }
                self.model.attached |= (
                    {(uuid, client_id)} if (data["global_id"], client_id) in listed else set()
                )
            return
        assert refusal is None
        assert path == f"/dev/storpool-byid/{data['global_id']}"
        self.model.attached.add((uuid, client_id))

    def check_description(self, uuid: str, answer: Any) -> None:
        """The same object for the same volume, from the first time on."""
        self.learn(self.the_rig.see())
        node = self.model.nodes[uuid]
        mode = "rw" if node.kind == "volume" else "ro"
        data = {"volume": uuid, "global_id": node.global_id, "access_mode": mode}
        assert answer == {"adapter": "storpool", "driver_volume_type": "storpool", "data": data}
        self.described[uuid] = answer["data"]

    def write_block(self, uuid: str, client_id: int, offset: int, byte: int) -> None:
        """Fill a block of a volume with this byte, through the device of a host, if there are
        such."""
        if (uuid, client_id) in self.writable() and offset < self.model.nodes[uuid].real_bytes:
            self.log("write", uuid, client_id, offset, byte)
            with self.the_rig.device(client_id, self.global_id(uuid)).open("r+b") as device:
                device.seek(offset)
                device.write(bytes([byte]) * BLOCK)
            self.model.nodes[uuid].data[offset] = byte

    def check_data(self, uuid: str, client_id: int) -> None:
        """What a host reads is what was written to this node or to what it was made from."""
        if (uuid, client_id) not in self.model.attached:
            return
        node = self.model.nodes[uuid]
        with self.the_rig.device(client_id, self.global_id(uuid)).open("rb") as device:
            for offset, byte in node.read().items():
                device.seek(offset)
                assert device.read(BLOCK) == bytes([byte]) * BLOCK, f"{uuid} at {offset}"

    def learn(self, seen: Seen) -> Seen:
        """Learn the global ids that StorPool gave: a row's own from then on, an object's as long as
        it is there."""
        for uuid, row in seen.rows.items():
            if uuid in self.model.nodes and self.model.nodes[uuid].global_id is None:
                self.model.nodes[uuid].global_id = row.global_id
        return seen

    def close_all(self) -> None:
        """All VMs stop."""
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()
        self.model.open.clear()
        for client_id in CLIENTS:
            self.the_rig.declared[client_id].clear()
            self.the_rig.declare(client_id)

    # What there is to choose from

    @property
    def the_rig(self) -> DiskRig:
        """The rig of this life."""
        assert self.rig is not None
        return self.rig

    def any_id(self, number: int) -> str:
        """An id of any node, or one that means nothing to this Engine."""
        strange = {0: UNKNOWN, 1: FOREIGN}.get(number % 20)
        return strange or choose([*self.model.nodes] or [UNKNOWN], number)

    def target(self, number: int) -> str:
        """An id for a new disk: mostly one of those that disks get, at times one of another
        node."""
        strange = {0: FOREIGN, 1: self.any_id(number // 20)}.get(number % 20)
        return strange or choose([*DISKS], number)

    def previewed(self) -> list[Node]:
        """The volumes that were made from another node of their disk."""
        return [
            node
            for node in self.model.nodes.values()
            if node.kind == "volume" and node.uuid != node.root
        ]

    def writable(self) -> list[tuple[str, int]]:
        """The attachments through which a guest may write."""
        return [
            each
            for each in sorted(self.model.attached)
            if self.model.nodes[each[0]].kind == "volume"
        ]

    def global_id(self, uuid: str) -> str:
        """The global id of what was described once."""
        return self.described[uuid]["global_id"]

    def check_policy(self, node: Node, found: dict[str, str]) -> None:
        """The class that the domain gives is on all volumes of the disk, and nothing of a policy on
        a snapshot, which VolumeCare would take for a disk (T79)."""
        wanted = kept_tags.POLICY if self.the_rig.has_policy and node.kind == "volume" else {}
        assert found.items() <= wanted.items(), node
        assert not wanted or found.get("qc") == wanted["qc"], node

    def log(self, *words: object) -> None:
        """Tell the step; and until the invariants are seen to hold after it, they may not."""
        self.sound = False
        note(" ".join(str(word) for word in words if word is not None))


def choose(things: list[Any], number: int) -> Any:
    """Return the n-th of these, counted round and round."""
    return things[number % len(things)]


def named(error: BaseException) -> str:
    """Return the name of the class that a caller asks for."""
    asked = (errors.NotFound, errors.Conflict, errors.InUse)
    return next(
        (each.__name__ for each in asked if isinstance(error, each)), error.__class__.__name__
    )


def accepted(error: BaseException, refusal: str | None, fault: Fault | None) -> bool:
    """Tell whether a verb may raise this: what the model foretells, or what a fault allows that it
    may give up on."""
    if named(error) == refusal:
        return True
    given_up = {"death": Death, "refuse": errors.ApiUnavailable, "error_200": errors.Rejected}
    return fault is not None and fault.kind in GIVEN_UP and isinstance(error, given_up[fault.kind])


def mandatory_tags(node: Node, location: str) -> dict[str, str]:
    """Return all tags of an object, told once more in plain words."""
    tags = {"virt": "ovirt", "ovirt-uuid": node.uuid, "ovirt-loc": location}
    return tags if node.uuid == node.root else {**tags, "ovirt-root": node.root}
