"""`policy set` and `policy clear`: on disks and on VMs, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import policy_yard, trash_yard
from rigs.deaths import Death
from rigs.disk_model import GIB
from rigs.policy_yard import OTHER_VM, VM, put, tag, tags
from rigs.yard import CLONE, DISK, MANY_TIMES, OTHER, Yard
from storpool_ovirt import errors, names
from storpool_ovirt.admin import policy_defaults, policy_targets
from storpool_ovirt.engine import policies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.engine_database import EngineDatabase


@pytest.fixture
def engine(yard: Yard, database_server: Database) -> Iterator[EngineDatabase]:
    """Give Engine's database with a VM of two disks, and a disk of none."""
    for disk in (DISK, OTHER, CLONE):
        yard.verb("create", disk, GIB)
    with policy_yard.engine_of(yard, database_server) as made:
        policy_yard.has_disk(made, DISK, "web01_root")
        policy_yard.has_disk(made, OTHER, "web01_data")
        policy_yard.has_disk(made, CLONE, "spare")
        policy_yard.has_vm(made, VM, "web01", DISK, OTHER)
        for disk in (DISK, OTHER):
            tag(yard, disk, cvm=VM)
        yield made


@pytest.fixture(autouse=True)
def _beside(engine: EngineDatabase) -> None:
    """Have Engine's database in each test."""


def test_a_disk_gets_a_class(yard: Yard) -> None:
    """By its id or its alias; the others stay, and its own one comes back with clear."""
    tag(yard, DISK, qc="bronze")
    assert put(yard, DISK, qos="silver") == [
        f"disk {DISK} (web01_root): qc silver, it had bronze",
    ]
    assert put(yard, "web01_root", qos="gold") == [
        f"disk {DISK} (web01_root): qc gold, it had silver"
    ]
    assert tags(yard, DISK)["qc"] == "gold"
    assert tags(yard, OTHER) == {"cvm": VM}
    put(yard, DISK, qos=None)
    assert tags(yard, DISK) == {"cvm": VM, "qc": "bronze"}


def test_a_vm_gets_both(yard: Yard) -> None:
    """All of its disks, and no other; a disk's own word is stronger, whichever came first."""
    put(yard, OTHER, qos="gold")
    put(yard, "web01", qos="silver", vc="hourly")
    assert tags(yard, DISK)["qc"] == "silver"
    assert tags(yard, OTHER)["qc"] == "gold"
    assert {tags(yard, each)["vc-policy"] for each in (DISK, OTHER)} == {"hourly"}
    assert tags(yard, CLONE) == {}
    put(yard, OTHER, qos=None)
    assert tags(yard, OTHER)["qc"] == "silver"
    put(yard, VM, qos=None, vc=None)
    for disk in (DISK, OTHER):
        assert tags(yard, disk) == {"cvm": VM}


def test_what_is_explicitly_none(yard: Yard) -> None:
    """An empty word takes away what a weaker level says."""
    put(yard, VM, qos="silver")
    put(yard, DISK, qos="")
    assert "qc" not in tags(yard, DISK)
    assert tags(yard, OTHER)["qc"] == "silver"


def test_a_vm_is_not_left_mixed(yard: Yard) -> None:
    """F53: one policy for one disk of two would have VolumeCare ignore the VM: refused, and the way
    is told."""
    before = rows(yard)
    with pytest.raises(errors.Conflict, match=f"policy set {VM} --vc-policy"):
        put(yard, DISK, vc="hourly")
    assert rows(yard) == before
    put(yard, CLONE, vc="hourly")
    put(yard, VM, vc="hourly")
    put(yard, DISK, vc="hourly")  # the same as all
    with pytest.raises(errors.Conflict, match=f"policy clear {DISK} --vc-policy first"):
        put(yard, VM, vc="daily")
    assert {tags(yard, each)["vc-policy"] for each in (DISK, OTHER)} == {"hourly"}


def test_what_is_cleared_may_leave_several(yard: Yard) -> None:
    """F53: what was said is taken back all the same, and that VolumeCare ignores the VM now is
    told."""
    put(yard, VM, vc="hourly")
    tag(yard, DISK, vc_policy="daily", virtp="")
    assert put(yard, VM, vc=None)[-1].startswith(f"VM {VM} has disks with several policies now: ")


def rows(yard: Yard) -> list[tuple[object, ...]]:
    """Return what administrators have said, and all tags of services."""
    said = yard.sql("SELECT scope, id, qos, vc FROM storpool_ovirt.policy ORDER BY 1, 2")
    return [*said, *((disk, tags(yard, disk)) for disk in (DISK, OTHER, CLONE))]


def test_one_that_fails_takes_all_back(yard: Yard) -> None:
    """F53: StorPool refuses the second volume: the first is as before, and so is the row."""
    put(yard, VM, vc="hourly")
    before = rows(yard)
    yard.simulator.faults.add("delay", query="VolumeUpdate", seconds=0)
    with yard.trouble("error_200", query="VolumeUpdate"), pytest.raises(errors.Error):
        put(yard, VM, vc="daily")
    assert rows(yard) == before


def test_what_a_host_wrote_meanwhile_stays(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T76: between the first volume and the failure of the second a VM starts: what its host has
    written is not put back."""
    for kind in ("delay", "reset_before", "error_200"):
        yard.simulator.faults.add(kind, query="VolumeUpdate", seconds=0)
    yard.meanwhile(monkeypatch, lambda: tag(yard, DISK, vc_policy="weekly"))
    with pytest.raises(errors.Error):
        put(yard, VM, qos="gold", vc="daily")
    yard.simulator.faults.clear()
    assert (tags(yard, DISK).get("qc"), tags(yard, DISK)["vc-policy"]) == (None, "weekly")


def test_where_it_cannot_be_taken_back_a_sync_does(yard: Yard) -> None:
    """F53: StorPool is away from the second volume on: the row is as before, and the audit tells
    what is not, until a sync."""
    put(yard, VM, vc="hourly")
    before = rows(yard)
    yard.simulator.faults.add("delay", query="VolumeUpdate", seconds=0)
    with (
        yard.trouble("reset_before", query="VolumeUpdate", times=MANY_TIMES),
        pytest.raises(errors.Error),
    ):
        put(yard, VM, vc="daily")
    kinds = {each.kind for each in policy_yard.findings(yard)}
    assert kinds == {"mixed policies", "policy drift"}
    policy_yard.sync(yard)
    assert rows(yard) == before
    assert policy_yard.findings(yard) == []


@pytest.mark.parametrize("at", range(1, 30))
def test_it_dies_anywhere(yard: Yard, at: int) -> None:
    """T72: whatever dies, a sync makes it whole: with the word that the table has."""
    put(yard, VM, vc="hourly")
    try:
        with trash_yard.dying(at):
            put(yard, VM, vc="daily")
    except Death:
        policy_yard.sync(yard)
    found = {tags(yard, disk)["vc-policy"] for disk in (DISK, OTHER)}
    [(said,)] = yard.sql("SELECT vc FROM storpool_ovirt.policy")
    assert found == {said}


def test_without_engine_the_tags_tell(yard: Yard, engine: EngineDatabase) -> None:
    """Elsewhere than on Engine's machine ids work, and a VM's disks are those that name it."""
    engine.execute("DROP TABLE vm_device")
    put(yard, VM, qos="silver")
    assert [tags(yard, each).get("qc") for each in (DISK, OTHER, CLONE)] == [
        "silver",
        "silver",
        None,
    ]
    with pytest.raises(errors.NotFound):
        put(yard, "no such name", qos="silver")
    engine.execute("DROP TABLE base_disks")
    with pytest.raises(errors.InputError, match="is no UUID"):
        put(yard, "web01", qos="silver")


def test_what_is_nobody(yard: Yard, engine: EngineDatabase) -> None:
    """One sentence: unknown ids and names, and a name that several have."""
    for given in ("f0000000-0000-4000-8000-0000000000ff", "nobody"):
        with pytest.raises(errors.NotFound, match="there is no disk or VM"):
            put(yard, given, qos="silver")
    for given in ("wep01", "WEB01"):
        with pytest.raises(errors.NotFound, match=r'in Engine.s database: do you mean "web01"'):
            put(yard, given, qos="silver")
    engine.execute("UPDATE base_disks SET disk_alias = 'web01' WHERE disk_id = %s", CLONE)
    with pytest.raises(errors.InputError, match="is the name of 2 disks and VMs"):
        put(yard, "web01", qos="silver")


def test_a_name_of_one_kind(yard: Yard, engine: EngineDatabase) -> None:
    """Where only a disk can be meant, a VM of that name is none, and the other way round; an id is
    taken as it is."""
    engine.execute("UPDATE base_disks SET disk_alias = 'web01' WHERE disk_id = %s", CLONE)
    with yard.administrator("space") as work:
        assert policy_targets.id_of(work, "web01", policies.DISK) == CLONE
        assert policy_targets.id_of(work, " web01", policies.VM) == VM
        assert policy_targets.id_of(work, OTHER.upper(), policies.VM) == OTHER
        for typed in ("web02", "web01_root"):
            with pytest.raises(errors.Mistyped, match='there is no VM "web0'):
                policy_targets.id_of(work, typed, policies.VM)
        with pytest.raises(errors.Unnamed, match="the empty UUID"):
            policy_targets.id_of(work, names.NIL_UUID)
        assert policy_targets.node(work, "web01").uuid == CLONE
        with pytest.raises(errors.Mistyped):
            policy_targets.node(work, OTHER_VM)


def test_what_has_no_room_is_refused(yard: Yard) -> None:
    """Before anything is changed; also where only the VM that it may have later leaves none, or it
    would throw the other one out."""
    tag(yard, DISK, vc_policy="daily")
    before = rows(yard)
    for disk, said in (
        (DISK, {"qos": "g" * 60}),
        (CLONE, {"vc": "x" * 60}),
        (DISK, {"qos": "g" * 46}),
    ):
        with pytest.raises(errors.InputError, match="has no room"):
            put(yard, disk, **said)
    assert rows(yard) == before
    put(yard, CLONE, qos="g" * 40)


def test_a_value_whose_note_has_no_room_is_refused(yard: Yard) -> None:
    """The value itself would fit, also `none`: the disk could not have its own back."""
    tag(yard, DISK, qc="silver", vc_policy="weekly", cvm=VM)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    before, has = rows(yard), tags(yard, preview)
    assert has == {"cvm": VM, "qc": "silver", "vc-policy": "weekly"}
    for said in ({"qos": "gold"}, {"qos": ""}, {"vc": "no"}):
        with pytest.raises(errors.InputError, match="has no room, with the note of what the disk"):
            put(yard, DISK, **said)
    assert (rows(yard), tags(yard, preview)) == (before, has)


def test_a_default_without_room_on_a_preview_is_refused(yard: Yard) -> None:
    """As with the options: the VM of the preview would have disks with several policies."""
    with yard.administrator("policy-default") as work:
        for said in ({"qos": "gold", "vc": "weekly-and-much"}, {"vc": "x" * 19}):
            with pytest.raises(errors.InputError, match="leaves no room for vc-policy on the"):
                policy_defaults.put(work, None, said)
        policy_defaults.put(work, None, {"vc": "x" * 12})
        with pytest.raises(errors.InputError, match="leaves no room"):
            policy_defaults.put(work, None, {"qos": "golden"})
        policy_defaults.put(work, None, {"qos": "gold"})


def test_a_shareable_disk_is_no_vms(yard: Yard, engine: EngineDatabase) -> None:
    """What is said of a VM does not reach it: it is several VMs'."""
    engine.execute("UPDATE base_disks SET shareable = true WHERE disk_id = %s", OTHER)
    put(yard, VM, qos="silver", vc="hourly")
    assert tags(yard, DISK)["qc"] == "silver"
    assert "qc" not in tags(yard, OTHER)


def test_a_preview_gets_it(yard: Yard) -> None:
    """The volume that the VM writes is the one."""
    snapshot = yard.verb("snapshot", CLONE)
    preview = yard.verb("preview", snapshot)
    put(yard, CLONE, qos="gold")
    assert tags(yard, preview)["qc"] == "gold"
    assert "qc" not in tags(yard, CLONE)
