"""snapshots.py, snapshots_text.py: which snapshots are of one moment, whose they are, and what is
missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rigs import moment_rows, shared_stage
from rigs.admin_site import AdminSite, told
from rigs.disk_model import GIB
from rigs.moment_rows import KEY, VM
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import rows_seen, snapshots, snapshots_text

SHARED = "90000000-0000-4000-8000-000000000000"
OTHER_VM = "cccccccc-0000-4000-8000-000000000000"


def look(yard: Yard, with_space: bool = False, vm: str | None = None) -> snapshots.Listing:
    """List the snapshots, and check that looking changed nothing."""
    yard.simulator.advance(2)  # what was deleted is gone by then, and not while it looks
    before = yard.world()
    yard.queries()
    with yard.administrator("snapshots") as work:
        found = snapshots.look(work, with_space)
    assert all(
        query.startswith(("GET ", "POST KV/Set", "POST KV/Create")) for query in yard.queries()
    )
    assert yard.world() == before
    return found if vm is None else snapshots.of_vm(found, vm)


def lines(found: snapshots.Listing) -> list[str]:
    """Return what people read of a listing."""
    made_at = max((each.at for each in found.groups), default=0.0)
    return list(snapshots_text.text(found, made_at + 120))


@pytest.fixture
def group(yard: Yard) -> moment_rows.Moment:
    """Give a moment of two disks, of which no verb asked for the second one's."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", OTHER, 2 * GIB)
    return moment_rows.made(yard, [DISK, OTHER], claimed=[DISK])


def test_a_group_is_told_with_its_members(yard: Yard, group: moment_rows.Moment) -> None:
    """T78: its moment, its VM, of each member disk, snapshot and size, and what oVirt was not
    given."""
    found = look(yard)
    [moment] = found.groups
    assert (moment.consistency, moment.lacking, found.singles) == (snapshots.VM, (), ())
    head, counts, empty, title, request, *members = lines(found)
    assert head.endswith(f", location {yard.location}")
    assert counts == "1 moment of several disks with 2 snapshots, 0 snapshots of one disk"
    assert empty == ""
    assert title.startswith(f"VM {VM}, 20")
    assert title.endswith("Z (2 min): 2 disks at one moment, 1 given to oVirt")
    assert request == f"  request {KEY}, {group.mark}"
    assert [line.split() for line in members] == [
        ["disk", disk, "snapshot", uuid, f"~{yard.global_id(uuid)}", size, "GiB", *state.split()]
        for (disk, uuid), size, state in zip(
            group.snapshots.items(), "12", ("given to oVirt", "NOT GIVEN to oVirt")
        )
    ]


def test_programs_get_the_same_facts(yard: Yard, group: moment_rows.Moment) -> None:
    """T78: one document, in which nothing is cut."""
    yard.verb("create", CLONE, GIB)
    single = yard.verb("snapshot", CLONE)
    found = json.loads(json.dumps(snapshots_text.document(look(yard), 0.0)))
    assert (found["location"], found["missing"], found["elsewhere"]) == (yard.location, 0, 0)
    assert found["vm"] is None
    [moment] = found["groups"]
    facts = {key: value for key, value in moment.items() if key not in ("at", "members")}
    assert facts == {
        "vm": VM,
        "consistency": "vm",
        "mark": group.mark,
        "correlation_id": KEY,
        "action": None,
        "note": None,
        "lacking": [],
        "others": [],
    }
    assert moment["members"][1] == {
        "snapshot": group.snapshots[OTHER],
        "disk": OTHER,
        "volume": OTHER,
        "global_id": yard.global_id(group.snapshots[OTHER]),
        "size_bytes": 2 * GIB,
        "freed_bytes": None,
        "claimed": False,
        "missing": False,
        "at": moment["at"],
    }
    [alone] = found["singles"]
    assert (alone["consistency"], alone["snapshot"], alone["vm"]) == ("disk", single, None)


def test_space_is_told_where_it_is_asked_for(yard: Yard, group: moment_rows.Moment) -> None:
    """Only then has StorPool to look at all of its snapshots."""
    assert all(member.freed_bytes is not None for member in look(yard, True).groups[0].members)
    assert sum("  frees " in line for line in lines(look(yard, True))) == len(group.snapshots)
    with yard.administrator("snapshots") as work:
        yard.queries()
        snapshots.look(work)
        assert not [query for query in yard.queries() if "Space" in query]


@pytest.mark.parametrize("what", ["VM", "nothing"])
def test_only_one_vms_are_told(yard: Yard, group: moment_rows.Moment, what: str) -> None:
    """T78: of single disks those whose volume the VM has now; disks of several VMs are of none."""
    assert group.mark
    singles = []
    for disk, tags in ((CLONE, {"cvm": VM}), (SHARED, {"cvm": VM, "ovirt-share": "1"})):
        yard.verb("create", disk, GIB)
        yard.ask(f"VolumeUpdate/{yard.address(disk)}", {"tags": tags})
        singles.append(yard.verb("snapshot", disk))
    found = look(yard, vm=VM if what == "VM" else OTHER_VM)
    assert [each.uuid for each in found.singles] == (singles[:1] if what == "VM" else [])
    assert len(found.groups) == (what == "VM")
    assert len(look(yard).singles) == 2


def test_a_snapshot_that_storpool_lacks_is_told(yard: Yard, group: moment_rows.Moment) -> None:
    """T78: the group is not whole any more, and the audit is named."""
    yard.ask(f"SnapshotDelete/ovirt--{group.snapshots[DISK]}", {})
    found = look(yard)
    [moment] = found.groups
    assert (moment.consistency, moment.lacking) == (snapshots.INCOMPLETE, (DISK,))
    said = lines(found)
    assert said[2] == "1 snapshot is missing in StorPool: storpool-ovirt audit"
    assert said[4].endswith(
        "INCOMPLETE, 1 of 2 disks at one moment, 1 missing in StorPool, 1 given to oVirt"
    )
    assert look(yard, vm=VM).missing == 1
    assert look(yard, vm=OTHER_VM).missing == 0
    assert said[6].endswith("MISSING in StorPool")
    assert said[7].endswith("NOT GIVEN to oVirt")


def test_what_is_deleted_while_it_looks_is_not_missing(
    yard: Yard, group: moment_rows.Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mapping is read once more before anything is called missing."""
    read, due = rows_seen.read, [group.snapshots[DISK]]

    def then_removed(*looked: Any) -> rows_seen.Rows:
        found = read(*looked)
        while due:
            yard.verb("remove", due.pop())
        return found

    monkeypatch.setattr(rows_seen, "read", then_removed)
    with yard.administrator("snapshots") as work:
        found = snapshots.look(work)
    assert (found.missing, found.groups[0].lacking) == (0, (DISK,))


def test_a_moment_of_which_all_was_deleted_is_not_told(
    yard: Yard, group: moment_rows.Moment
) -> None:
    """oVirt has deleted the snapshot of the VM."""
    for uuid in group.snapshots.values():
        yard.verb("remove", uuid)
    assert look(yard).groups == ()


def test_a_moment_that_failed_is_told(yard: Yard, group: moment_rows.Moment) -> None:
    """T78: oVirt was told that it failed, and why."""
    for uuid in group.snapshots.values():
        yard.verb("remove", uuid)
    yard.sql("UPDATE storpool_ovirt.moment SET state = 'failed', note = 'no space'")
    assert look(yard).groups[0].consistency == snapshots.FAILED
    assert lines(look(yard))[3].endswith("FAILED, and oVirt was told so: no space")


@pytest.mark.parametrize("left", [0, 2])
def test_what_failed_is_not_counted_as_made(
    yard: Yard, group: moment_rows.Moment, left: int
) -> None:
    """T78: nor what it has left."""
    for uuid in list(group.snapshots.values())[left:]:
        yard.verb("remove", uuid)
    yard.sql("UPDATE storpool_ovirt.moment SET state = 'failed'")
    rest = f" with {left} snapshots left" if left else ""
    counts = lines(look(yard))[1]
    assert counts.startswith("0 moments of several disks with 0 snapshots, 0 snapshots of one disk")
    assert counts.endswith(f", 1 failed moment{rest}")


def test_what_was_deleted_since_is_no_alarm(yard: Yard, group: moment_rows.Moment) -> None:
    """T78: as it is with one that no verb asked for, once that is deleted: what is left is of one
    moment still."""
    yard.reconcile()
    found = look(yard)
    [moment] = found.groups
    assert (moment.consistency, moment.lacking, found.missing) == (snapshots.LEFT, (OTHER,), 0)
    assert [each.uuid for each in moment.members] == [group.snapshots[DISK]]
    assert lines(found)[3].endswith(f": 1 of 2 disks left of one moment, none any more of {OTHER}")


# What is of the same request, and not of its moment


def of_request(yard: Yard, disk: str, key: str = KEY, **tags: str) -> str:
    """Snapshot another disk alone, as a verb of the request does that finds no tag of its VM."""
    yard.verb("create", disk, GIB)
    yard.ask(f"VolumeUpdate/{yard.address(disk)}", {"tags": tags})
    return str(yard.verb("snapshot", disk, correlation_id=key))


@pytest.mark.parametrize("vm", ["", VM])
def test_a_disk_that_lost_its_tag_is_told_at_the_group(
    yard: Yard, group: moment_rows.Moment, vm: str
) -> None:
    """T78: its snapshot is of the same request, at another moment; also where the VM has started
    since, and its disk has the tag again."""
    single = of_request(yard, CLONE, KEY.upper(), cvm=vm)
    found = look(yard, vm=VM)
    [moment] = found.groups
    assert (moment.consistency, found.singles) == (snapshots.PART, ())
    assert [each.uuid for each in moment.others] == [single]
    said = lines(found)
    assert said[1] == "1 moment of several disks with 2 snapshots, 1 snapshot of one disk"
    assert said[3].endswith("1 given to oVirt; +1 disk of the same request, at another moment")
    assert single in said[7]
    assert said[7].endswith(", made alone")
    [document] = snapshots_text.document(found, 0.0)["groups"]
    assert document["consistency"] == "part"
    assert [each["snapshot"] for each in document["others"]] == [single]
    assert document["mark"] == group.mark


@pytest.mark.parametrize(
    "what", ["another request", "another VM", "long after", "one of its disks"]
)
def test_what_is_of_something_else_is_not_told_there(
    yard: Yard, group: moment_rows.Moment, what: str
) -> None:
    """T78: an export of several VMs has one request for all, and a client may have one for all it
    ever does."""
    tags = {"cvm": OTHER_VM} if what == "another VM" else {}
    key = OTHER_VM if what == "another request" else KEY
    if what == "one of its disks":
        yard.sql("UPDATE storpool_ovirt.moment SET volumes = volumes || %s::uuid", CLONE)
    if what == "long after":
        yard.simulator.advance(snapshots.SAME_REQUEST_SECONDS + 60)
    single = of_request(yard, CLONE, key, **tags)
    found = look(yard)
    assert [each.uuid for each in found.singles] == [single]
    assert found.groups[0].others == ()
    assert group.mark


def test_where_a_request_is_for_several_vms_a_tag_has_to_tell(
    yard: Yard, group: moment_rows.Moment
) -> None:
    """T78: a disk without one is shown alone, as it may be of either."""
    second = moment_rows.made(yard, [DISK, OTHER], claimed=[DISK, OTHER])
    yard.sql("UPDATE storpool_ovirt.moment SET vm = %s WHERE id = %s", OTHER_VM, second.number)
    single = of_request(yard, CLONE)
    assert [each.uuid for each in look(yard).singles] == [single]
    yard.ask(f"VolumeUpdate/{yard.address(CLONE)}", {"tags": {"cvm": OTHER_VM}})
    of_moment = {each.moment.id: each.others for each in look(yard).groups}
    assert [each.uuid for each in of_moment[second.number]] == [single]
    assert of_moment[group.number] == ()


def test_disks_that_could_not_be_of_the_moment_are_told(
    yard: Yard, group: moment_rows.Moment
) -> None:
    """T78: the verb that made it wrote which, and why."""
    note = f"disk {CLONE} is in cluster zzz9.b"
    yard.sql("UPDATE storpool_ovirt.moment SET note = %s WHERE id = %s", note, group.number)
    found = look(yard)
    assert found.groups[0].consistency == snapshots.PART
    assert lines(found)[3].endswith(f"1 given to oVirt; not of this moment: {note}")


def test_a_moment_whose_process_died_has_failed(yard: Yard, group: moment_rows.Moment) -> None:
    """T78: whoever reads it; as long as the process lives it is being made."""
    yard.sql("UPDATE storpool_ovirt.moment SET state = 'begun'")
    with yard.holder(DISK):
        yard.sql(
            "UPDATE storpool_ovirt.operation SET kind = 'make', node = %s", group.snapshots[DISK]
        )
        assert look(yard).groups[0].consistency == snapshots.MAKING
        said = lines(look(yard))
        assert said[1].endswith(", 1 moment being made")
        assert said[3].endswith("2 disks, being made right now")
    assert look(yard).groups[0].consistency == snapshots.FAILED


# The command


def test_it_lists_single_snapshots_too(site: AdminSite, disk: str) -> None:
    """Of one disk each, oldest first, with their time; exit code 0."""
    uuids = [site.stage.engine.run("create_snapshot", disk).guid() for _ in range(2)]
    head, counts, empty, title, *rows = told(site.run("snapshots"), 0)
    assert head.endswith(f", location {site.location()}")
    assert counts == "0 moments of several disks with 0 snapshots, 2 snapshots of one disk"
    assert (empty, title) == ("", "of one disk each, with no other disk of the same moment")
    assert sorted(row.split()[3] for row in rows) == sorted(uuids)
    assert all(" s)" in row or " min)" in row for row in rows)
    found = json.loads("\n".join(told(site.run("snapshots", "--json"), 0)))
    assert sorted(each["snapshot"] for each in found["singles"]) == sorted(uuids)
    assert found["api"].endswith(f":{site.stage.simulator.port}")


@pytest.mark.usefixtures("disk")
def test_a_vm_without_snapshots_has_none(site: AdminSite) -> None:
    """Nothing is no failure, but it is said: the id may be another's."""
    vm = shared_stage.new_id()
    said = told(site.run("snapshots", "--vm", vm.upper()), 0)[1:]
    assert said == [f"no snapshot of VM {vm} is known: {snapshots_text.WHERE_VM_IDS_ARE}"]


@pytest.mark.usefixtures("disk")
def test_a_name_that_nobody_knows_here_is_refused(site: AdminSite) -> None:
    """T24: in one sentence that tells what to give, and as a document for programs."""
    said = site.run("snapshots", "--vm", "web01")
    assert (said.returncode, said.stdout) == (2, "")
    assert '"web01" is no UUID, and Engine\'s database, which has the names, cannot' in said.stderr
    assert "error" in json.loads(site.run("snapshots", "--vm", "web01", "--json").stdout)


def test_without_tables_it_says_so(yard: Yard) -> None:
    """T24: it makes none."""
    yard.sql("DROP SCHEMA storpool_ovirt CASCADE")
    with pytest.raises(errors.NotFound):
        look_only(yard)


def look_only(yard: Yard) -> None:
    """Begin to list."""
    with yard.administrator("snapshots"):
        pass
