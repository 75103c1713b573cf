"""vm_policy.py and volumes.change: the tag that names a VM, beside what says whose a volume is."""

from __future__ import annotations

import pytest

from rigs.clock import Clock
from rigs.core_fixtures import Core
from rigs.starts import UUIDS, bare, made, side
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, vm_tags, volumes
from storpool_ovirt.host import vm_policy

VM, OTHER = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee"
TAG = vm_tags.Tag("cvm", VM)


def follow(core: Core, alone: list[api.Volume], shared: list[api.Volume] | None = None) -> None:
    """Have these name the VM, and those none."""
    wished = vm_policy.Wish(TAG)
    vm_policy.silent_follow(
        core.client(), side(core, Clock()), wished, alone=alone, not_its=shared or []
    )


def preview(core: Core) -> api.Volume:
    """Make what a preview's volume is by name and tags: the longest of ours."""
    tags = names.tags(UUIDS[1], "0a1b2c3d", UUIDS[0])
    target = bare(core, names.object_name(UUIDS[1]), tags)
    return core.client().volume(f"~{target.global_id}")


@pytest.mark.parametrize("update", ["merge", "replace"])
@pytest.mark.parametrize("empty", ["remove", "keep"])
def test_one_request_for_each_that_differs(core: Core, update: str, empty: str) -> None:
    """T78, T79: what does not name the VM gets it, and keeps its other tags; what does is not
    asked for; taken away it is as it was."""
    core.simulator.switches.set({"tag_update": update, "tag_empty": empty})
    targets = [made(core, uuid) for uuid in UUIDS[:2]]
    client = core.client()
    before = [client.volume(f"~{each.global_id}") for each in targets]
    core.queries()
    follow(core, before)
    assert core.queries().count("VolumeUpdate") == 2
    there = [client.volume(f"~{each.global_id}") for each in targets]
    assert [each.tags for each in there] == [{**each.tags, "cvm": VM} for each in before]
    core.queries()
    follow(core, there)
    assert core.queries() == ()
    follow(core, [], shared=there[:1])
    found = [client.volume(f"~{each.global_id}").tags for each in targets]
    assert [names.vm_of(each, "cvm") for each in found] == ["", VM]
    assert {key: value for key, value in found[0].items() if value} == before[0].tags


@pytest.mark.parametrize("update", ["merge", "replace"])
def test_a_previews_volume_has_room(core: Core, update: str) -> None:
    """T5, T78: its disk is written in the short form then, by the one function that changes tags,
    and it is still the same owner's; without room for that nothing is sent."""
    core.simulator.switches.set({"tag_update": update})
    before = preview(core)
    follow(core, [before])
    client = core.client()
    after = client.volume(f"~{before.global_id}")
    assert names.vm_of(after.tags, "cvm") == VM
    assert names.root_of(after.tags) == UUIDS[0] != after.tags[names.TAG_ROOT]
    assert names.owner_marks(after.name, after.tags) == names.owner_marks(before.name, before.tags)
    # What was read before it got the short form may still be changed by who read it.
    assert volumes.change(client, before, tags={"cvm": OTHER})
    assert not volumes.change(client, before, tags={names.TAG_ROOT: UUIDS[0], "cvm": OTHER})
    core.queries()
    with pytest.raises(errors.InputError, match="StorPool takes 199"):
        volumes.change(client, after, tags={"note": "x" * 30})
    assert "VolumeUpdate" not in core.queries()


def test_a_name_that_grows_leaves_less_room(core: Core) -> None:
    """The tags are those that fit beside the name that the volume gets in the same request."""
    tags = names.tags(UUIDS[1], "0a1b2c3d", UUIDS[0])
    target = bare(core, "x", tags)
    client = core.client()
    there = client.volume(f"~{target.global_id}")
    assert volumes.change(client, there, name="y" * 20, tags={"note": "1"})
    there = client.volume(f"~{target.global_id}")
    assert there.tags[names.TAG_ROOT] == UUIDS[0]
    assert volumes.change(client, there, name="y" * 60, tags={"note": "1" * 20})
    short = client.volume(f"~{target.global_id}").tags[names.TAG_ROOT]
    assert names.root_of({names.TAG_ROOT: short}) == UUIDS[0] != short


def test_what_is_not_ours_is_not_written(core: Core) -> None:
    """A volume of the Cinder driver's, or of nobody's: no snapshot of a VM has it, so its tags stay
    as they are."""
    cinders = bare(core, f"os--volume-{UUIDS[2]}", {})
    others = bare(core, "web1", {"virt": "one"})
    client = core.client()
    there = [client.volume(f"~{each.global_id}") for each in (cinders, others)]
    core.queries()
    follow(core, there)
    assert core.queries() == ()


def test_nobody_knows_the_vm(core: Core) -> None:
    """Without a VM, or without a key, nothing is asked."""
    there = core.client().volume(f"~{made(core, UUIDS[0]).global_id}")
    core.queries()
    vm_policy.silent_follow(
        core.client(), side(core, Clock()), vm_policy.NOTHING, alone=[there], not_its=[there]
    )
    assert core.queries() == ()


def test_one_that_cannot_be_tagged_leaves_the_others(core: Core) -> None:
    """Handed over since it was read, or gone: one line of the log each, and the next one gets
    it."""
    client = core.client()
    handed, gone, good = (client.volume(f"~{made(core, uuid).global_id}") for uuid in UUIDS[:3])
    core.post(f"VolumeUpdate/~{handed.global_id}", {"tags": {"virt": "one"}})
    core.post(f"VolumeDelete/~{gone.global_id}", {})
    follow(core, [handed, gone, good])
    assert "cvm" not in client.volume(f"~{handed.global_id}").tags
    assert client.volume(f"~{good.global_id}").tags["cvm"] == VM
    log = (core.folder / "test.log").read_text()
    assert log.count(" vm_not_tagged ") == 2
    assert log.count(" vm_tagged ") == 1


def test_an_api_that_is_gone_is_asked_once(core: Core) -> None:
    """T78: the tag of one volume takes the time that all have, and the others are not tried."""
    client = core.client()
    there = [client.volume(f"~{made(core, uuid).global_id}") for uuid in UUIDS[:3]]
    clock = Clock()
    core.simulator.faults.add("bad_gateway", times=10**6, query="VolumeUpdate")
    vm_policy.silent_follow(
        api.Client(core.settings(), side(core, clock).deadline, clock.sleep),
        side(core, clock),
        vm_policy.Wish(TAG),
        alone=there,
    )
    assert clock.now <= vm_tags.SECONDS + 1
    assert (core.folder / "test.log").read_text().count(" vm_not_tagged ") == 1
