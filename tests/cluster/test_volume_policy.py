"""volumes.py: tags that change by what an object has now, ids in their short form, and how fast a
volume may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs.core_fixtures import TOKEN
from rigs.tag_updates import with_both
from storpool_ovirt import names
from storpool_ovirt.cluster import binding, volumes
from storpool_ovirt.cluster.plans import Limits, Owner, Plan, Policy

if TYPE_CHECKING:
    from rigs.core_fixtures import Core
    from storpool_ovirt.cluster import api

GIB = 1 << 30
ID, ROOT, VM = (f"{digit * 8}-1111-4111-8111-{digit * 12}" for digit in "123")
NAME = names.object_name(ID)
TAGS = names.tags(ID, "0123abcd", ROOT)
LONGEST = {names.TAG_VM: VM, "qc": "gold", "vc-policy": "daily"}


def made(core: Core, policy: Policy) -> api.Volume:
    """Make a preview's volume with this policy; return what StorPool has."""
    global_id = volumes.create(core.client(), Plan(Owner(NAME, TAGS), GIB, policy))
    return core.client().volume(names.address(global_id))


def raw(core: Core) -> dict[str, object]:
    """Return the volume as StorPool tells it."""
    official = binding.load().Api(
        core.simulator.host, core.simulator.port, TOKEN, transientRetries=0
    )
    [found] = [each for each in official.volumesList(returnRawAPIData=True) if each["name"] == NAME]
    return dict(found)


@with_both
def test_what_changes_may_depend_on_what_is_there_now(core: Core, tag_update: str) -> None:
    """T79: between the look and the write somebody else has written, and that is seen."""
    core.simulator.switches.set({"tag_update": tag_update})
    seen = made(core, Policy({"qc": "silver"}))
    volumes.change(core.client(), seen, tags={"qc": "gold", "by": "admin"})
    asked = []

    def changed(now: api.Volume) -> dict[str, str]:
        asked.append(now.tags["qc"])
        return {} if "by" in now.tags else {"qc": "iron"}

    assert not volumes.change(core.client(), seen, tags=changed)
    assert asked == ["gold"]
    assert core.objects()[NAME].tags == {**TAGS, "qc": "gold", "by": "admin"}
    assert volumes.change(core.client(), seen, tags=lambda now: {"qc": now.tags["qc"] + "1"})
    assert core.objects()[NAME].tags["qc"] == "gold1"


@with_both
def test_an_id_that_is_short_in_storpool_is_long_for_all_that_reads(
    core: Core, tag_update: str
) -> None:
    """T5, T76: made with it, changed with it, found again by a repeat, and long again where there
    is room."""
    core.simulator.switches.set({"tag_update": tag_update})
    there = made(core, Policy(LONGEST))
    told = raw(core)["tags"]
    assert isinstance(told, dict)
    assert len(told[names.TAG_UUID]) == len(told[names.TAG_ROOT]) == 22
    assert there.tags[names.TAG_UUID] == ID
    assert names.root_of(there.tags) == ROOT
    assert core.objects()[NAME].tags == there.tags
    assert made(core, Policy(LONGEST)).global_id == there.global_id
    assert not volumes.change(core.client(), there, tags=LONGEST)
    assert volumes.change(core.client(), there, tags={"qc": "iron"})
    now = core.objects()[NAME]
    assert names.is_ours(now.tags, ID, "0123abcd")
    assert now.tags["qc"] == "iron"
    assert volumes.change(core.client(), now, tags={**dict.fromkeys(LONGEST, "")})
    assert core.objects()[NAME].tags[names.TAG_UUID] == ID


def test_how_fast_a_new_volume_may_be(core: Core) -> None:
    """What nothing is said of is StorPool's matter; it takes KiB where people say MiB."""
    made(core, Policy(limits=Limits(1000, 200)))
    assert (raw(core)["iops"], raw(core)["bw"]) == (1000, 200 * 1024)


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        (Limits(), ("-", "-")),
        (Limits(iops=7), (7, "-")),
        (Limits(bandwidth_mib=1), ("-", 1024)),
    ],
)
def test_how_fast_a_volume_may_be_from_now_on(
    core: Core, limits: Limits, found: tuple[object, object]
) -> None:
    """No limit is lifted that nobody speaks of, and no tag is touched."""
    there = made(core, Policy({"qc": "gold"}))
    core.queries()
    volumes.limit(core.client(), there.global_id, limits)
    assert bool(core.queries()) == (limits != Limits())
    assert (raw(core)["iops"], raw(core)["bw"]) == found
    assert core.objects()[NAME].tags == there.tags
