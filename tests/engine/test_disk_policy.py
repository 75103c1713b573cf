"""disk_policy.py: what a new disk gets, level by level, and that nothing of it fails a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import names
from storpool_ovirt.engine import policies

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("qc", "vc-policy", "virtp")


def has(yard: Yard, uuid: str) -> dict[str, str]:
    """Return what a volume has by policy."""
    tags = yard.see().things[f"ovirt--{uuid}"].tags
    return {key: tags[key] for key in KEYS if tags.get(key)}


def say(yard: Yard, scope: str, uuid: str, **said: str) -> None:
    """Write what an administrator says."""
    with yard.engine() as work:
        key = uuid or work.domain.key
        work.mapping.write(policies.set_to(scope, key, said))


def tag(yard: Yard, uuid: str, **tags: str) -> None:
    """Write tags to a volume by hand; `_` stands for a hyphen."""
    named = {key.replace("_", "-"): value for key, value in tags.items()}
    yard.ask(f"VolumeUpdate/ovirt--{uuid}", {"tags": named})


def raw(yard: Yard, uuid: str) -> Mapping[str, object]:
    """Return a volume as StorPool tells it."""
    [found] = yard.ask(f"Volume/ovirt--{uuid}")
    return dict(found)


def log(yard: Yard) -> str:
    """Return the log of all verbs."""
    return (yard.folder / "verbs.log").read_text()


# A disk that is made of nothing


@pytest.mark.parametrize(
    ("options", "said", "found"),
    [
        ({}, {}, {}),
        ({"qos_class": "gold", "vc_policy": "daily"}, {}, {"qc": "gold", "vc-policy": "daily"}),
        ({"qos_class": "gold"}, {"qos": "silver"}, {"qc": "silver"}),
        ({}, {"qos": "silver", "vc": "no"}, {"qc": "silver", "vc-policy": "no"}),
        ({"qos_class": "gold"}, {"qos": ""}, {}),
        ({"qos_class": "glod", "qos_classes": ("gold",)}, {}, {}),
    ],
)
def test_a_new_disk_gets_what_its_domain_gives(
    yard: Yard, options: dict[str, object], said: dict[str, str], found: dict[str, str]
) -> None:
    """The administrator's word above the options; a class that there is not is not written."""
    yard.given(**options)
    if said:
        say(yard, policies.DOMAIN, "", **said)
    yard.verb("create", DISK, GIB)
    assert has(yard, DISK) == found
    assert yard.report().findings == ()


def test_the_free_tags_and_the_limits_of_a_domain(yard: Yard) -> None:
    """On each new volume; limits only where no class has its own."""
    yard.given(tags=(("cost", "4711"), ("owner", "it")), iops=1000, bandwidth_mib=3)
    yard.verb("create", DISK, GIB)
    assert raw(yard, DISK)["tags"] == {**yard.tags(DISK), "cost": "4711", "owner": "it"}
    assert (raw(yard, DISK)["iops"], raw(yard, DISK)["bw"]) == (1000, 3072)
    yard.verb("clone", DISK, CLONE)
    assert (raw(yard, CLONE)["iops"], raw(yard, CLONE)["bw"]) == (1000, 3072)
    preview = yard.verb("preview", yard.verb("snapshot", DISK))
    assert (raw(yard, preview)["iops"], raw(yard, preview)["bw"]) == (1000, 3072)
    say(yard, policies.DOMAIN, "", qos="gold")
    yard.verb("create", OTHER, GIB)
    assert (raw(yard, OTHER)["iops"], raw(yard, OTHER)["bw"]) == ("-", "-")
    assert has(yard, OTHER) == {"qc": "gold"}


def test_what_has_no_room_is_left_out_and_told(yard: Yard) -> None:
    """T5: the disk is made all the same, with what is more important."""
    yard.given(qos_class="g" * 64, vc_policy="d" * 64, tags=(("a", "b" * 64), ("c", "d")))
    yard.verb("create", DISK, GIB)
    assert raw(yard, DISK)["tags"] == {**yard.tags(DISK), "qc": "g" * 64}
    assert "tags_left_out" in log(yard)
    assert "tags=vc-policy,a,c" in log(yard)
    yard.verb("clone", DISK, CLONE)
    yard.verb("preview", yard.verb("snapshot", DISK))


def test_a_domain_without_a_policy_costs_nothing_and_one_with_one_no_question(yard: Yard) -> None:
    """As many calls and as many round trips, for a create and for a clone."""

    def cost(*verb: object) -> tuple[int, int]:
        yard.queries()
        with yard.engine() as work:
            from storpool_ovirt.engine import disks

            getattr(disks, str(verb[0]))(work, *verb[1:])
            work.mapping.journal.delivered()
            statements = work.mapping.session.statements
        return len(yard.queries()), statements

    yard.verb("create", OTHER, GIB)  # the first one of a cluster asks once more
    yard.verb("clone", OTHER, CLONE)
    yard.verb("delete", CLONE)
    plain = cost("create", DISK, GIB), cost("clone", DISK, CLONE)
    for each in (DISK, CLONE):
        yard.verb("delete", each)
    yard.given(qos_class="gold", vc_policy="daily", tags=(("cost", "1"),))
    say(yard, policies.DOMAIN, "", qos="silver")
    assert (cost("create", DISK, GIB), cost("clone", DISK, CLONE)) == plain
    assert has(yard, CLONE) == {"qc": "silver", "vc-policy": "daily"}


def test_a_repeated_create_leaves_what_an_administrator_has_changed(yard: Yard) -> None:
    """Also where the first answer was lost, and the domain says something else by now."""
    yard.given(qos_class="gold")
    yard.undelivered("create", DISK, GIB)
    tag(yard, DISK, qc="silver")
    yard.given(qos_class="iron", vc_policy="daily")
    yard.verb("create", DISK, GIB)
    assert has(yard, DISK) == {"qc": "silver"}


@pytest.mark.parametrize("name", ["create", "clone"])
def test_a_make_that_died_is_made_with_its_policy(yard: Yard, name: str) -> None:
    """T71: killed before and after the request, and repeated."""
    yard.given(qos_class="gold", vc_policy="daily")
    yard.verb("create", OTHER, GIB)
    arguments = (DISK, GIB) if name == "create" else (OTHER, DISK)
    yard.die_planned(name, *arguments)
    yard.verb(name, *arguments)
    assert has(yard, DISK) == {"qc": "gold", "vc-policy": "daily"}
    yard.verb("delete", DISK)
    yard.die_made(name, *arguments)
    yard.verb(name, *arguments)
    assert has(yard, DISK) == {"qc": "gold", "vc-policy": "daily"}


# A disk that is made of another one


@pytest.mark.parametrize(
    ("source", "said", "found"),
    [
        ({}, {}, {"qc": "gold"}),
        ({"qc": "silver", "vc_policy": "daily"}, {}, {"qc": "silver", "vc-policy": "daily"}),
        # What a VM's property, or the administrator's word on the VM, put there is the VM's
        ({"qc": "iron", "virtp": "p-silver"}, {}, {"qc": "silver"}),
        ({"qc": "iron", "virtp": "v-"}, {}, {"qc": "gold"}),
        ({"qc": "iron", "virtp": "P-"}, {}, {"qc": "gold"}),
        # What he has said of the disk is the disk's
        ({"qc": "iron", "virtp": "a-silver"}, {}, {"qc": "iron"}),
        ({"virtp": "a-silver"}, {}, {}),
        ({"qc": "silver"}, {"qos": "iron", "vc": "no"}, {"qc": "iron", "vc-policy": "no"}),
        ({"qc": "silver"}, {"qos": ""}, {}),
    ],
)
@pytest.mark.parametrize("way", ["volume", "snapshot"])
def test_a_clone_gets_what_its_source_disk_has_of_its_own(
    yard: Yard, source: dict[str, str], said: dict[str, str], found: dict[str, str], way: str
) -> None:
    """Also by one of its snapshots, which have nothing of it; else what the domain gives. Its VM it
    does not get, nor who gave what."""
    yard.verb("create", DISK, GIB)
    tag(yard, DISK, **source, cvm=OTHER)
    yard.given(qos_class="gold")
    if said:
        say(yard, policies.DISK, DISK, **said)
    of = yard.verb("snapshot", DISK) if way == "snapshot" else DISK
    yard.verb("clone", of, CLONE)
    assert has(yard, CLONE) == found
    assert "cvm" not in yard.see().things[f"ovirt--{CLONE}"].tags
    if way == "snapshot":
        snapshot = yard.see().things[f"ovirt--{of}"].tags
        assert not {*KEYS} & {*snapshot}


@pytest.mark.parametrize("kind", ["error_200", "reset_before", "hang"])
def test_a_clone_is_made_whatever_becomes_of_that_look(yard: Yard, kind: str) -> None:
    """The class of the snapshot's disk cannot be asked for: the domain's counts."""
    yard.verb("create", DISK, GIB)
    tag(yard, DISK, qc="silver")
    yard.given(qos_class="gold")
    snapshot = yard.verb("snapshot", DISK)
    with yard.trouble(kind, query=f"Volume/ovirt--{DISK}", times=100, seconds=0.1):
        yard.verb("clone", snapshot, CLONE)
    assert has(yard, CLONE)["qc"] in ("gold", "silver")
    yard.verb("delete", CLONE)
    # The disk's first volume is gone: the one of the preview is the disk's
    preview = yard.verb("preview", snapshot)
    yard.verb("connect", preview, None)
    yard.verb("remove", DISK)
    yard.verb("clone", snapshot, CLONE)
    assert has(yard, CLONE) == {"qc": "silver"}


def test_a_clone_of_a_snapshot_of_a_previewed_disk(yard: Yard) -> None:
    """What the volume has that the VM writes: the one before it has only what it had, and no policy
    of VolumeCare's any more."""
    yard.verb("create", DISK, GIB)
    tag(yard, DISK, qc="silver", vc_policy="daily")
    yard.given(vc_policy="no")
    snapshot = yard.verb("snapshot", DISK)
    tag(yard, yard.verb("preview", snapshot), qc="iron")
    yard.verb("clone", snapshot, CLONE)
    assert has(yard, CLONE) == {"qc": "iron", "vc-policy": "daily"}
    # The same where what a dead operation has left is put right first
    yard.die_planned("extend", DISK, 2 * GIB)
    yard.verb("clone", snapshot, OTHER)
    assert has(yard, OTHER) == {"qc": "iron", "vc-policy": "daily"}


# What becomes of it later


def test_tags_survive_what_verbs_do_to_a_disk(yard: Yard) -> None:
    """T79: growth, snapshots, connect; and a row that is made again."""
    yard.given(qos_class="gold", vc_policy="daily")
    yard.verb("create", DISK, GIB)
    tag(yard, DISK, virtp="ap6.silverno")
    said = {"qc": "gold", "vc-policy": "daily", "virtp": "ap6.silverno"}
    say(yard, policies.DISK, DISK, qos="gold")
    yard.verb("extend", DISK, 2 * GIB)
    yard.verb("connect", DISK, None)
    yard.verb("remove", yard.verb("snapshot", DISK))
    assert has(yard, DISK) == said
    yard.sql("DELETE FROM storpool_ovirt.node")
    yard.sql("DELETE FROM storpool_ovirt.operation")
    yard.rebuild(yard.location)
    assert has(yard, DISK) == said
    assert yard.sql("SELECT id, qos FROM storpool_ovirt.policy") == [(DISK, "gold")]
    yard.verb("snapshot", DISK)
    assert has(yard, DISK) == said
    assert names.is_ours(raw(yard, DISK)["tags"], DISK, yard.location)  # type: ignore[arg-type]


@pytest.mark.parametrize("left_by", ["us", "an old program"])
def test_an_id_that_is_used_again_has_nothing_of_its_last_disk(yard: Yard, left_by: str) -> None:
    """F53: what was said of a disk is gone with it, also where a program deleted it that does not
    know the table; what is said of others stays."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", OTHER, GIB)
    say(yard, policies.DISK, OTHER, qos="iron")
    say(yard, policies.VM, DISK, qos="iron")
    say(yard, policies.DISK, DISK, qos="gold", vc="daily")
    yard.verb("delete", DISK)
    if left_by == "us":
        assert said_of(yard) == [("disk", OTHER), ("vm", DISK)]
    else:
        say(yard, policies.DISK, DISK, qos="gold", vc="daily")
    yard.verb("create", DISK, GIB)
    assert said_of(yard) == [("disk", OTHER), ("vm", DISK)]


def test_a_disk_that_lives_on_keeps_what_was_said_of_it(yard: Yard) -> None:
    """Its first volume is deleted while a preview is written; a create is repeated."""
    yard.undelivered("create", DISK, GIB)
    say(yard, policies.DISK, DISK, qos="gold")
    yard.verb("create", DISK, GIB)
    assert said_of(yard) == [("disk", DISK)]
    yard.verb("connect", yard.verb("preview", yard.verb("snapshot", DISK)), None)
    yard.verb("remove", DISK)
    assert said_of(yard) == [("disk", DISK)]
    yard.verb("delete", DISK)
    assert said_of(yard) == []


def said_of(yard: Yard) -> list[tuple[object, ...]]:
    """Return of whom an administrator has said something."""
    return yard.sql("SELECT scope, id FROM storpool_ovirt.policy ORDER BY 1, 2")
