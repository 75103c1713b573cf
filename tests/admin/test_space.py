"""space.py, space_roles.py, space_parts.py, space_text.py: what takes space, and whose it is."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, FOREIGN, OTHER, Yard
from storpool_ovirt import errors, trash_names
from storpool_ovirt.admin import space, space_parts, space_text
from storpool_ovirt.admin.space_roles import DISK as VOLUME
from storpool_ovirt.admin.space_roles import (
    KEPT,
    LEAVING,
    PREVIEW,
    RESERVED,
    ROLES,
    SNAPSHOT,
    Thing,
)
from storpool_ovirt.admin.space_roles import OTHER as OTHERS
from storpool_simulator.api.summaries import Summaries

MIB = 1 << 20
VM = "aaaaaaaa-0000-4000-8000-000000000000"


def look(yard: Yard) -> space.Seen:
    """Look, and check that each of the two accounts was asked for once, and nothing changed."""
    yard.simulator.advance(2)  # what was deleted is gone by then
    before = yard.world()
    yard.queries()
    with yard.administrator("space") as work:
        found = space.look(work)
    asked = yard.queries()
    assert sorted(query for query in asked if "Space" in query) == [
        "GET SnapshotsSpace",
        "GET VolumesSpace",
    ]
    assert not [query for query in asked if "List" in query]
    assert yard.world() == before
    return found


def part(yard: Yard, name: str, *arguments: Any) -> Any:
    """Return a part of the account, and check that its document is one."""
    seen = look(yard)
    with yard.administrator("space") as work:
        tools = () if name in ("of_trash", "of_others") else (work,)
        found = getattr(space_parts, name)(*tools, seen, *arguments)
    document = found.document()
    assert json.loads(json.dumps(document)) == document
    assert list(space_text.lines(found))[-1] == space_text.MEANING
    return found


def write(yard: Yard, uuid: str, start: int, length: int) -> None:
    """Write so many MiB of what is no zeros to a volume, as its VM does."""
    item = {"volume": f"ovirt--{uuid}", "rw": [1]}
    yard.ask("VolumesReassignWait", {"reassign": [item]})
    with yard.device(1, yard.global_id(uuid)).open("r+b") as device:
        device.seek(start * MIB)
        device.write(random.Random(start).randbytes(length * MIB))
    item = {"volume": f"ovirt--{uuid}", "detach": "all"}
    yard.ask("VolumesReassignWait", {"reassign": [item]})


def stored(yard: Yard) -> int:
    """Return what the simulator's own books have as stored, of all templates and of none."""
    return sum(each["storedSize"] for each in yard.ask("VolumeTemplatesStatus")) + sum(
        each["storedSize"]
        for query in ("VolumesSpace", "SnapshotsSpace")
        for each in yard.ask(query)
        if not each["templateName"]
    )


def thing(seen: space.Seen, uuid: str) -> Thing:
    """Return the object of an id."""
    [found] = [each for each in seen.things if each.uuid == uuid]
    return found


@pytest.fixture
def tree(yard: Yard) -> list[str]:
    """Give a disk with 4 MiB, a snapshot, 2 MiB, a snapshot and 1 MiB, and one cloned from the
    first snapshot with 3 MiB of its own; return the snapshots."""
    yard.verb("create", DISK, GIB)
    write(yard, DISK, 0, 4)
    first = yard.verb("snapshot", DISK)
    write(yard, DISK, 8, 2)
    second = yard.verb("snapshot", DISK)
    write(yard, DISK, 16, 1)
    yard.verb("clone", first, CLONE)
    write(yard, CLONE, 32, 3)
    return [first, second]


def test_each_block_counts_once(yard: Yard, tree: list[str]) -> None:
    """F68: each object has a role, and what all of them store is what StorPool's own books have."""
    seen = look(yard)
    held = {each.uuid: (each.role, each.stored_bytes // MIB) for each in seen.things if each.uuid}
    assert held == {
        DISK: (VOLUME, 1),
        tree[0]: (SNAPSHOT, 4),
        tree[1]: (SNAPSHOT, 2),
        CLONE: (VOLUME, 3),
    }
    sums = space.sums(seen.things)
    assert sum(each.stored_bytes for each in sums.values()) == stored(yard) == 10 * MIB
    assert sum(each.objects for each in sums.values()) == len(seen.things)
    assert thing(seen, DISK).used_bytes == 7 * MIB
    assert thing(seen, CLONE).used_bytes == 7 * MIB
    assert seen.used_bytes == 14 * MIB
    assert seen.overhead_bytes == -4 * MIB  # the clone has 4 MiB in common with its source
    assert (seen.unseen, seen.elsewhere) == (0, 0)


def test_what_all_of_a_disk_frees(yard: Yard, tree: list[str]) -> None:
    """F68: of what a clone stands on nothing is promised; without the clone all of it goes."""
    found = {each.disk: each for each in space.largest(look(yard), 0)[0]}
    assert list(found) == [DISK, CLONE]
    assert (found[DISK].stored_bytes, found[DISK].freed_bytes) == (7 * MIB, 3 * MIB)
    assert (found[CLONE].stored_bytes, found[CLONE].freed_bytes) == (3 * MIB, 3 * MIB)
    yard.ask(f"VolumeDelete/ovirt--{CLONE}", {})
    seen = look(yard)
    assert seen.unseen == 1
    [alone], count = space.largest(seen, 1)
    assert (alone.disk, alone.freed_bytes, count) == (DISK, 7 * MIB, 1)
    before = stored(yard)
    yard.ask(f"VolumeDelete/ovirt--{DISK}", {})
    for each in tree:
        yard.ask(f"SnapshotDelete/ovirt--{each}", {})
        yard.simulator.advance(2)
    assert before - stored(yard) == alone.freed_bytes


@pytest.mark.parametrize("seed", range(6))
def test_sums_of_any_trees(yard: Yard, seed: int) -> None:
    """F68: of random snapshots, clones and others' objects: the sums are StorPool's, and a disk
    frees at least what is told."""
    dice = random.Random(seed)
    yard.verb("create", DISK, GIB)
    sources = [DISK]
    for number in range(8):
        of = dice.choice(sources)
        write(yard, of, 4 * dice.randrange(8), 1 + dice.randrange(3))
        if dice.random() < 0.3:
            yard.ask(f"VolumeSnapshot/ovirt--{of}", {"name": f"by-hand-{number}"})
        elif dice.random() < 0.4:
            clone = f"{number:08x}-0000-4000-8000-000000000000"
            yard.verb("clone", yard.verb("snapshot", of), clone)
            sources.append(clone)
        else:
            yard.verb("snapshot", of)
    seen = look(yard)
    assert sum(each.stored_bytes for each in space.sums(seen.things).values()) == stored(yard)
    by_template = space.by_template(seen.things)
    status = {each["name"]: each["storedSize"] for each in yard.ask("VolumeTemplatesStatus")}
    for name, told in status.items():
        has = by_template.get(name, {})
        assert sum(each.stored_bytes for each in has.values()) == told
    for each in space.largest(seen, 0)[0]:
        before = stored(yard)
        for one in each.own:
            kind = one.kind.capitalize()
            yard.ask(f"{kind}Delete/~{one.global_id}", {})
            yard.simulator.advance(2)
        assert before - stored(yard) >= each.freed_bytes


def test_whose_an_object_is(yard: Yard) -> None:
    """F68: others' and what others keep of our disks are apart, each with its owner."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", snapshot)
    tags = yard.ask(f"Volume/ovirt--{DISK}")[0]["tags"]
    yard.ask(f"VolumeSnapshot/ovirt--{DISK}", {"name": "daily"})
    yard.ask(f"VolumeSnapshot/ovirt--{DISK}", {"name": "copied", "tags": tags})
    yard.ask("VolumeCreate", {"name": "one-1", "size": GIB, "tags": {"virt": "one"}})
    elsewhere = {**tags, "ovirt-loc": "99999999", "ovirt-uuid": OTHER}
    yard.ask("VolumeCreate", {"name": f"ovirt--{OTHER}", "size": GIB, "tags": elsewhere})
    yard.ask("VolumeCreate", {"name": f"os--volume-{OTHER}", "size": GIB})
    seen = look(yard)
    roles = {each.called: (each.role, each.disk, each.owner) for each in seen.things}
    ours = {f"ovirt--{DISK}": VOLUME, f"ovirt--{snapshot}": SNAPSHOT, f"ovirt--{preview}": PREVIEW}
    for name, role in ours.items():
        assert roles[name] == (role, DISK, "")
    assert roles["daily"] == roles["copied"] == (KEPT, DISK, "")
    assert roles["one-1"] == (OTHERS, "", "another platform (virt=one)")
    assert roles[f"ovirt--{OTHER}"] == (OTHERS, "", "the Engine of location 99999999")
    assert roles[f"os--volume-{OTHER}"] == (OTHERS, "", "Cinder")
    assert {each.called for each in space.trees(seen, [DISK])[0].kept} == {"daily", "copied"}
    found = part(yard, "of_others", 0)
    assert found.owners["another platform (virt=one)"].objects >= 1
    assert found.owners[space.KEPT_OF_OURS].objects == 2
    assert sum(each.objects for each in found.owners.values()) == len(found.things)


def test_a_release_that_does_not_tell_of_what_a_snapshot_was_made(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F68: then what a volume of ours stands on is kept of it, and nothing else."""
    yard.verb("create", DISK, GIB)
    yard.ask("VolumeCreate", {"name": "theirs", "size": GIB})
    for of, name in (("theirs", "third"), (f"ovirt--{DISK}", "first"), (f"ovirt--{DISK}", "new")):
        yard.ask(f"VolumeSnapshot/{of}", {"name": name})
    told = Summaries._snapshot_part

    def untold(self: Summaries, entry: Any) -> Any:
        view = told(self, entry)
        return {key: view[key] for key in view if not key.startswith("createdFrom")}

    monkeypatch.setattr(Summaries, "_snapshot_part", untold)
    roles = {each.called: (each.role, each.disk) for each in look(yard).things}
    assert roles["first"] == roles["new"] == (KEPT, DISK)
    assert roles["third"] == (OTHERS, "")


def test_what_was_not_given_to_ovirt(yard: Yard) -> None:
    """F68: a snapshot of a VM's moment that no verb asked for is told apart."""
    from rigs import moment_rows

    for disk in (DISK, OTHER):
        yard.verb("create", disk, GIB)
    group = moment_rows.made(yard, [DISK, OTHER], claimed=[DISK])
    seen = look(yard)
    assert thing(seen, group.snapshots[OTHER]).role == RESERVED
    assert thing(seen, group.snapshots[DISK]).role == SNAPSHOT


def test_what_is_going_is_told_as_such(yard: Yard) -> None:
    """F68: StorPool deletes a snapshot in its own time; what it still stores counts."""
    yard.verb("create", DISK, GIB)
    write(yard, DISK, 0, 2)
    snapshot = yard.verb("snapshot", DISK)
    yard.ask(f"SnapshotDelete/ovirt--{snapshot}", {})
    with yard.administrator("space") as work:
        seen = space.look(work)
    [going] = [each for each in seen.things if each.role == LEAVING]
    assert going.disk == DISK
    assert sum(each.stored_bytes for each in seen.things) == stored(yard)


def test_what_has_no_row_is_ours_all_the_same(yard: Yard, tree: list[str]) -> None:
    """F68: by tags and name; that it has none is said."""
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", tree[0])
    seen = look(yard)
    assert (thing(seen, tree[0]).role, thing(seen, tree[0]).mapped) == (SNAPSHOT, False)
    assert "1 object of ours has no row in the mapping" in "\n".join(
        space_text.lines(part(yard, "of_all", 20))
    )


def test_a_reverted_volume_is_its_disks(yard: Yard, tree: list[str]) -> None:
    """F68: also under the global id that a revert gave it."""
    yard.simulator.switches.set({"revert_identity": "all"})
    before = thing(look(yard), DISK).global_id
    yard.revert(f"ovirt--{DISK}", f"ovirt--{tree[0]}")
    seen = look(yard)
    found = thing(seen, DISK)
    assert (found.role, found.mapped, seen.unseen) == (VOLUME, True, 0)
    assert found.global_id != before


def test_one_disk_by_any_of_its_ids(yard: Yard, tree: list[str]) -> None:
    """F68: each object with its size, what it stores, and what it uses or frees."""
    yard.ask(f"VolumeSnapshot/ovirt--{DISK}", {"name": "daily"})
    for uuid in (DISK, tree[1]):
        document = part(yard, "of_disk", uuid).document()["disk"]
        assert (document["disk"], document["stored_bytes"]) == (DISK, 6 * MIB)
        assert document["kept"]["stored_bytes"] == MIB  # what the disk held itself before
        assert [(each["role"], each["uuid"]) for each in document["nodes"]] == [
            ("disk", DISK),
            ("snapshot", tree[0]),
            ("snapshot", tree[1]),
            ("kept", None),
        ]
        volume, first, *_ = document["nodes"]
        assert (volume["used_bytes"], volume["freed_bytes"]) == (7 * MIB, None)
        assert (first["used_bytes"], first["freed_bytes"]) == (None, 0)
    with pytest.raises(errors.NotFound, match="of oVirt's in the StorPool cluster"):
        part(yard, "of_disk", FOREIGN)


def test_a_vms_disks_by_their_tag(yard: Yard, tree: list[str]) -> None:
    """F68: where Engine does not tell; a VM that has none is refused."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"tags": {"cvm": VM}})
    assert tree
    found = part(yard, "of_vm", VM)
    assert ([each.disk for each in found.trees], found.source) == ([DISK], "tag")
    said = list(space_text.lines(found))
    assert said[3] == f"VM {VM}: 1 disk (by the tag of their volumes), which store 7.0 MiB"
    with pytest.raises(errors.NotFound, match="a VM's id is in its details"):
        part(yard, "of_vm", OTHER)


def test_the_account_of_everything(yard: Yard, tree: list[str]) -> None:
    """F68: people read what programs get, with the moment and what it took."""
    found = part(yard, "of_all", 1)
    said = list(space_text.lines(found))
    assert "volumes as of 20" in said[1]
    assert [line.split()[-2:] for line in said if line.startswith("their snapshots")] == [
        ["6.0", "MiB"]
    ]
    assert "1 disks of 2, by what they store with their snapshots" in said
    document = found.document()
    assert list(document["totals"]) == list(ROLES)
    assert [each["query"] for each in document["scans"]] == ["VolumesSpace", "SnapshotsSpace"]
    assert document["stored_bytes"] == 10 * MIB
    assert document["overhead_bytes"] == -4 * MIB
    assert (document["disks"], len(document["largest"])) == (2, 1)
    assert document["largest"][0]["snapshots"] == {
        "objects": 2,
        "size_bytes": 2 * GIB,
        "stored_bytes": 6 * MIB,
    }
    templates = {each["template"]: each for each in document["templates"]}
    assert set(templates) >= {each["name"] for each in yard.ask("VolumeTemplatesStatus")}
    assert sum(each["ours_stored_bytes"] for each in templates.values()) == 10 * MIB
    assert tree


# The trash


def trashed(yard: Yard, tree: list[str]) -> str:
    """Have a snapshot of the disk be in the trash as a delete leaves it there, with a date; return
    its entry."""
    entry = "77777777-0000-4000-8000-000000000000"
    until = int(time.time()) + 3600
    yard.sql("DELETE FROM storpool_ovirt.node WHERE uuid = %s", tree[0])
    body = {
        "rename": trash_names.name(entry),
        "tags": {trash_names.TAG: trash_names.mark(until)},
        "deleteAfter": 3600,
    }
    yard.ask(f"SnapshotUpdate/ovirt--{tree[0]}", body)
    return entry


def test_the_trash_is_told_with_its_dates(yard: Yard, tree: list[str]) -> None:
    """F68: by name and tags, or by the mapping's own table where these got lost; apart from the
    disk, whose it was; and whose clone still needs it."""
    entry = trashed(yard, tree)
    found = part(yard, "of_trash")
    [there] = found.things
    assert (there.uuid, there.disk, there.stored_bytes) == (tree[0], DISK, 4 * MIB)
    assert there.goes_at > 0
    assert found.freed_bytes == 0  # a snapshot and a clone stand on it
    said = list(space_text.lines(found))
    assert said[3].startswith("1 object in the trash, which store 4.0 MiB; without all of it")
    assert "free from 20" in said[4]
    assert part(yard, "of_disk", entry).tree.trash == [there]
    tree_of = {each.disk: each for each in part(yard, "of_all", 0).largest}
    assert (tree_of[DISK].stored_bytes, len(tree_of[DISK].trash)) == (3 * MIB, 1)
    yard.sql(
        "INSERT INTO storpool_ovirt.trash (entry, deletion, disk, node, kind, global_id,"
        " size_bytes, active, template, tags, created_at, ends_at, correlation_id)"
        " VALUES (%s, %s, %s, %s, 'snapshot', %s, 1, false, '', '{}', now(), now(), '')",
        *(entry, entry, DISK, tree[0], there.global_id),
    )
    yard.ask(f"SnapshotUpdate/~{there.global_id}", {"rename": "lost", "tags": {"ovirt-uuid": ""}})
    [again] = part(yard, "of_trash").things
    assert (again.uuid, again.disk, again.called) == (tree[0], DISK, "lost")


def test_what_would_stay_for_ever_is_said(yard: Yard, tree: list[str]) -> None:
    """F68: StorPool deletes nothing by itself that has no date."""
    trashed(yard, tree)
    yard.ask(f"SnapshotUpdate/~{thing(look(yard), tree[0]).global_id}", {"deleteAfter": 0})
    assert any("WITHOUT A DATE" in line for line in space_text.lines(part(yard, "of_trash")))
