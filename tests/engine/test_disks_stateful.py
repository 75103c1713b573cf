"""Random lives of disks: every verb, attach, write, fault, death and restart, held against a model
after each step."""

from __future__ import annotations

import collections
import os
from typing import TYPE_CHECKING, Any, ClassVar

import random_lives
from disk_life import DISKS, FOREIGN, DiskLife, accepted, choose, mandatory_tags
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rigs import kept_tags, players, services
from rigs.disk_model import GIB, LIVE, OFFSETS
from rigs.disk_rig import CLIENTS, Death, DiskRig, Fault
from rigs.tag_updates import TAG_UPDATES
from storpool_ovirt import errors

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database

LIVES, STEPS = 20, 40  # about half a minute

# Points of StorPool's API that are not known for certain: all of this must hold with every value.
SWITCHES = {
    "busy_error": ("busy", "invalidParam", "preconditionViolation"),
    "detach_absent": ("ok", "error"),
    "delete_attached_snapshot": ("busy", "invalidParam", "preconditionViolation"),
    "error_status": ("by_name", "500"),
    "list_order": ("created", "reversed"),
    "unnamed_auto_name": ("gid", "serial"),
    "bad_name_error": ("invalidParam", "objectDoesNotExist"),
    "reply_fields": ("newest", "binding"),
    "string_numbers": ("true", "false"),
    "detach_and_rw": ("ok", "error"),
    "empty_item": ("ok", "error"),
    "empty_reference": ("absent", "error"),
    "reassign_wait_for": ("affected", "gaining"),
    "attach_timeout_covers": ("all", "missing"),
    "space_limit": ("none", "stored", "provisioned"),
    "linger": ("1", "0", "3600"),
    "tag_update": TAG_UPDATES,
    "lag": ("0", "1", "6"),
    "volumecare_tags": players.SNAPSHOT_TAGS,
}
QUERIES = tuple(
    (
        "VolumeCreate VolumeSnapshot Volume Snapshot VolumeUpdate VolumeDelete SnapshotDelete "
        "VolumesReassignWait AttachmentsList ClientsConfigDump"
    ).split()
)
# What a verb has to overcome by itself.
OVERCOME = ("transient", "bad_gateway", "reset_before", "reset_after")


def _comparable(variant: dict[str, Any]) -> dict[str, Any]:
    """Several clusters have no generation in common: what is promised of old answers is promised of
    one cluster."""
    lag = "0" if variant["multicluster"] else variant["switches"]["lag"]
    return {**variant, "switches": {**variant["switches"], "lag": lag}}


variants = st.fixed_dictionaries(
    {
        "switches": st.fixed_dictionaries(
            {name: st.sampled_from(values) for name, values in SWITCHES.items()}
        ),
        "multicluster": st.booleans(),
        "pinned": st.booleans(),
        "template": st.sampled_from([None, "hybrid"]),
    }
).map(_comparable)
faults = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.builds(
        Fault, st.sampled_from(OVERCOME), st.sampled_from([None, *QUERIES]), st.integers(1, 3)
    ),
    st.builds(Fault, st.sampled_from(("refuse", "error_200")), st.sampled_from(QUERIES)),
    st.builds(Fault, st.just("death"), lines=st.integers(1, 90)),
)
numbers = st.integers(0, 999)  # picks one of what there is at that moment
sizes_gib = st.integers(1, 4)
offsets = st.sampled_from(OFFSETS)
octets = st.integers(1, 255)


class Disks(DiskLife, RuleBasedStateMachine):
    """One Engine, three hosts, and what may happen to its disks."""

    passes: ClassVar[collections.Counter[str]] = collections.Counter()

    @initialize(variant=variants, gib=sizes_gib, policy=st.sampled_from([{}, kept_tags.DOMAIN]))
    def start(self, variant: dict[str, Any], gib: int, policy: dict[str, str]) -> None:
        """A new cluster, of one of the kinds that StorPool may be, and a disk."""
        folder = self.folder / str(next(self.folders))
        folder.mkdir()
        # An address of this process alone, so that a restart finds its port free.
        host = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        self.rig = DiskRig(folder, self.database, FOREIGN, host, **variant, policy=policy)
        self.foreign = self.rig.see().foreign
        self.ask("create", DISKS[0], gib * GIB)

    # What Engine asks

    @rule(number=numbers, gib=sizes_gib, fault=faults, again=st.booleans())
    def create(self, number: int, gib: int, fault: Fault | None, again: bool) -> None:
        """T1, T2, T27."""
        self.ask("create", self.target(number), gib * GIB, fault=fault, again=again)

    @rule(source=numbers, number=numbers, fault=faults, again=st.booleans())
    def clone(self, source: int, number: int, fault: Fault | None, again: bool) -> None:
        """T1, T3, T6."""
        self.ask("clone", self.any_id(source), self.target(number), fault=fault, again=again)

    @rule(number=numbers, fault=faults, again=st.booleans())
    def snapshot(self, number: int, fault: Fault | None, again: bool) -> None:
        """T17."""
        self.ask("snapshot", self.any_id(number), fault=fault, again=again)

    @rule(number=numbers, fault=faults, again=st.booleans())
    def preview(self, number: int, fault: Fault | None, again: bool) -> None:
        """A volume from any node of a tree."""
        self.ask("preview", self.any_id(number), fault=fault, again=again)

    @precondition(lambda self: self.previewed())
    @rule(number=numbers, fault=faults, again=st.booleans())
    def undo(self, number: int, fault: Fault | None, again: bool) -> None:
        """Engine deletes the preview: what was active before it is active again."""
        self.ask("delete", choose(self.previewed(), number).uuid, fault=fault, again=again)

    @precondition(lambda self: self.previewed())
    @rule(number=numbers, fault=faults)
    def commit(self, number: int, fault: Fault | None) -> None:
        """Engine removes all that was made from the same snapshot, be it snapshot or volume."""
        kept = choose(self.previewed(), number)
        for sibling in [
            each.uuid for each in self.model.tree(kept.root) if each.source == kept.source
        ]:
            if sibling != kept.uuid:
                self.ask("remove", sibling, fault=fault, again=True)

    @rule(number=numbers, gib=sizes_gib, fault=faults, again=st.booleans())
    def extend(self, number: int, gib: int, fault: Fault | None, again: bool) -> None:
        """T20, T82."""
        self.ask("extend", self.any_id(number), gib * GIB, fault=fault, again=again)

    @rule(number=numbers, fault=faults, again=st.booleans())
    def remove(self, number: int, fault: Fault | None, again: bool) -> None:
        """T18."""
        self.ask("remove", self.any_id(number), fault=fault, again=again)

    @rule(number=numbers, fault=faults, again=st.booleans())
    def delete(self, number: int, fault: Fault | None, again: bool) -> None:
        """T7 to T10."""
        self.ask("delete", self.any_id(number), fault=fault, again=again)

    @rule(number=numbers, fault=faults, again=st.booleans())
    def connect(self, number: int, fault: Fault | None, again: bool) -> None:
        """T14; Vdsm compares the answer with an older one for ever."""
        self.ask("connection", self.any_id(number), fault=fault, again=again)

    # What hosts do

    @precondition(lambda self: self.model.nodes)
    @rule(
        number=numbers,
        client_id=st.sampled_from(CLIENTS),
        fault=faults,
        offset=offsets,
        byte=octets,
    )
    def connect_and_attach(
        self, number: int, client_id: int, fault: Fault | None, offset: int, byte: int
    ) -> None:
        """A VM starts, or is migrated to here; it reads and writes."""
        uuid = choose([*self.model.nodes], number)
        self.ask("connection", uuid)
        if self.model.refusal("connection", uuid) is None:
            self.attach(uuid, client_id, fault)
            self.check_data(uuid, client_id)
            self.write_block(uuid, client_id, offset, byte)

    @precondition(lambda self: self.described)
    @rule(number=numbers, client_id=st.sampled_from(CLIENTS), fault=faults)
    def attach_from_memory(self, number: int, client_id: int, fault: Fault | None) -> None:
        """T11, T14: what was described long ago, and may be gone."""
        self.attach(choose([*self.described], number), client_id, fault)

    @precondition(lambda self: self.described)
    @rule(number=numbers, client_id=st.sampled_from(CLIENTS), fault=faults)
    def detach(self, number: int, client_id: int, fault: Fault | None) -> None:
        """T16, T36, T70; an open device stays."""
        uuid = choose([*self.described], number)
        self.log("detach", uuid, client_id, fault)
        refusal = "InUse" if (uuid, client_id) in self.model.open else None
        data = self.described[uuid]
        try:
            self.the_rig.detach(client_id, data, fault)
        except (errors.Error, Death) as error:
            if not accepted(error, refusal, fault):
                raise
            if isinstance(error, Death) and refusal is None:
                listed = {
                    (global_id, client) for global_id, client, _ in self.the_rig.see().attached
                }
                if (data["global_id"], client_id) not in listed:
                    self.model.attached.discard((uuid, client_id))
            return
        assert refusal is None
        self.model.attached.discard((uuid, client_id))

    @precondition(lambda self: self.model.attached)
    @rule(number=numbers, declared=st.booleans())
    def open_or_close(self, number: int, declared: bool) -> None:
        """A VM starts or stops to use a device: for real, or as the simulator is told."""
        uuid, client_id = choose(sorted(self.model.attached), number)
        self.log("open or close", uuid, client_id)
        global_id = self.global_id(uuid)
        declared_open = self.the_rig.declared[client_id]
        if (uuid, client_id) in self.held:
            os.close(self.held.pop((uuid, client_id)))
        elif global_id in declared_open:
            declared_open.discard(global_id)
        elif declared:
            declared_open.add(global_id)
        else:
            self.held[(uuid, client_id)] = os.open(
                self.the_rig.device(client_id, global_id), os.O_RDONLY
            )
        self.the_rig.declare(client_id)
        self.model.open ^= {(uuid, client_id)}

    @precondition(lambda self: self.writable())
    @rule(number=numbers, offset=offsets, byte=octets)
    def write(self, number: int, offset: int, byte: int) -> None:
        """A guest writes: to this volume alone, whatever was made from it or before it."""
        uuid, client_id = choose(self.writable(), number)
        self.write_block(uuid, client_id, offset, byte)

    @precondition(lambda self: self.model.attached)
    @rule(number=numbers)
    def read(self, number: int) -> None:
        """A guest reads what was written to this volume."""
        self.check_data(*choose(sorted(self.model.attached), number))

    @rule(number=numbers)
    def service_pass(self, number: int) -> None:
        """T76: VolumeCare or storpool_qos looks at all volumes, others' too."""
        self.log("pass", number % 2)
        self.the_rig.beside().play(number)
        self.foreign = self.the_rig.see().foreign

    @precondition(lambda self: self.model.attached)
    @rule()
    def restart_storpool(self) -> None:
        """Management moves; hosts hold open what they held."""
        self.log("restart")
        for (uuid, client_id), descriptor in self.held.items():
            os.close(descriptor)
            self.the_rig.declared[client_id].add(self.global_id(uuid))
        self.held.clear()
        self.the_rig.restart()

    # What always holds

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        """Rows, objects, sizes, tags (T79), attachments and devices are the model's; others' are
        untouched (T76)."""
        if self.rig is None:
            return
        seen = self.learn(self.rig.see())
        model = self.model.nodes
        assert seen.rows == {uuid: node.row() for uuid, node in model.items()}
        expected = {f"ovirt--{uuid}": node for uuid, node in model.items() if node.exists}
        assert {name: (thing.kind, thing.global_id) for name, thing in seen.things.items()} == {
            name: (node.kind, node.global_id or seen.things[name].global_id)
            for name, node in expected.items()
        }
        for name, node in expected.items():
            assert seen.things[name].size_bytes == node.real_bytes, name
            tags = dict(seen.things[name].tags)
            assert (tags.pop("ovirt-src", None) is not None) == (
                node.uuid == node.root and node.source is not None
            )
            policy = {key: tags.pop(key) for key in kept_tags.POLICY if key in tags}
            assert tags == mandatory_tags(node, seen.location), name
            self.check_policy(node, policy)
        assert seen.attached == {
            (self.global_id(uuid), client_id, "rw" if model[uuid].kind == "volume" else "ro")
            for uuid, client_id in self.model.attached
        }
        for uuid, client_id in self.model.attached:
            assert (
                self.rig.device(client_id, self.global_id(uuid)).stat().st_size
                == model[uuid].real_bytes
            )
        assert seen.foreign == self.foreign
        assert {*seen.pending} == {(each.kind, each.disk, each.uuid) for each in self.model.pending}
        assert self.rig.forced() == []
        self.sound = True

    def teardown(self) -> None:
        """The data of every node is what was written; then deleting all disks leaves nothing."""
        try:
            if self.rig is not None and self.sound:
                self.close_all()
                self.end_well()
        finally:
            for descriptor in self.held.values():
                os.close(descriptor)
            if self.rig is not None:
                self.passes.update(self.rig.beside().done)
                self.rig.close()

    def end_well(self) -> None:
        """Read everything, delete everything, find nothing but what was there before."""
        for uuid in [each.uuid for each in self.model.nodes.values() if each.state == LIVE]:
            self.ask("connection", uuid)
            self.attach(uuid, 2, None)
            self.check_data(uuid, 2)
        for root in {node.root for node in self.model.nodes.values()}:
            self.ask("delete", root)
        seen = self.the_rig.see()
        assert (seen.rows, seen.things, seen.attached, seen.foreign) == (
            {},
            {},
            set(),
            self.foreign,
        )


def test_random_lives_of_disks(database: Database, tmp_path: Path) -> None:
    """T1 to T3, T6 to T11, T14, T16 to T18, T20, T36, T70, T76, T79: whatever happens in whatever
    order, it holds, also while VolumeCare and storpool_qos are at work."""
    random_lives.lived(Disks, LIVES, STEPS, database, tmp_path)
    assert services.idle(Disks.passes) == []
