"""A create that finds its name taken looks what the volume was made of: it never ends with another
create's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs.core_fixtures import Core
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, binding, volumes
from storpool_ovirt.cluster.plans import Owner, Plan, Policy

if TYPE_CHECKING:
    from collections.abc import Callable


def made_by_hand(yard: Yard, **origin: str) -> None:
    """Let there be a volume that carries the name and the tags of the clone, and is made of
    this."""
    size = {} if origin else {"size": GIB, "template": "hybrid"}
    yard.ask(
        "VolumeCreate", {"name": f"ovirt--{CLONE}", "tags": yard.tags(CLONE), **size, **origin}
    )


def empty(_: Yard) -> dict[str, str]:
    """Make it empty."""
    return {}


def of_the_volume(yard: Yard) -> dict[str, str]:
    """Make it of the disk."""
    return {"baseOn": yard.address(DISK)}


def of_another_volume(yard: Yard) -> dict[str, str]:
    """Make it of another disk."""
    return {"baseOn": yard.address(OTHER)}


def of_its_snapshot(yard: Yard) -> dict[str, str]:
    """Make it of a snapshot of the disk that somebody else made at another time."""
    yard.ask(f"VolumeSnapshot/{yard.address(DISK)}", {"name": "of-somebody"})
    return {"parent": "of-somebody"}


@pytest.fixture
def disks(yard: Yard) -> Yard:
    """Make two disks of one size."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", OTHER, GIB)
    return yard


@pytest.mark.parametrize(
    "way", [empty, of_another_volume, of_its_snapshot], ids=lambda way: way.__name__
)
def test_a_clone_takes_no_volume_with_other_data(
    disks: Yard, way: Callable[[Yard], dict[str, str]]
) -> None:
    """T60, T87: a volume of its name, tags and size that was made of something else is a conflict,
    and stays."""
    made_by_hand(disks, **way(disks))
    before = disks.ask("VolumesList")
    with pytest.raises(errors.Conflict, match="another source"):
        disks.verb("clone", DISK, CLONE)
    assert disks.ask("VolumesList") == before
    assert CLONE not in disks.see().rows


def test_a_clone_whose_transient_snapshot_is_there_is_found_again(disks: Yard) -> None:
    """T71: StorPool still tells that a volume was made of the disk, so it is that clone."""
    made_by_hand(disks, **of_the_volume(disks))
    disks.verb("clone", DISK, CLONE)
    assert disks.see().rows[CLONE].global_id == disks.global_id(CLONE)


@pytest.mark.parametrize("right", [True, False])
def test_a_clone_of_a_snapshot_stands_on_it(disks: Yard, right: bool) -> None:
    """T71, T60: a volume that stands on the snapshot is that clone; one that stands on a younger
    one is not."""
    snapshot, younger = disks.verb("snapshot", DISK), disks.verb("snapshot", DISK)
    made_by_hand(disks, parent=disks.address(snapshot if right else younger))
    if right:
        disks.ask(f"VolumeSnapshot/~{disks.global_id(CLONE)}", {"name": "of-volumecare"})
        disks.verb("clone", snapshot, CLONE)
        return
    with pytest.raises(errors.Conflict, match="another source"):
        disks.verb("clone", snapshot, CLONE)


def test_an_empty_disk_takes_no_clone_of_its_size(disks: Yard) -> None:
    """T60, T27: a create finds a clone of its name, tags and size: the disk would not be empty, so
    it is a conflict."""
    made_by_hand(disks, **of_the_volume(disks))
    with pytest.raises(errors.Conflict, match="another source"):
        disks.verb("create", CLONE, GIB)


def forgotten(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, verb: str, *arguments: Any
) -> Callable[[], None]:
    """Have a verb die with its create under way, and be taken back; return what lets the create
    take effect."""
    bodies: list[Any] = []

    def sent(_client: api.Client, body: Any) -> str:
        bodies.append(dict(body))
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "volume_create", sent)
        with pytest.raises(Death):
            yard.verb(verb, *arguments)
    return lambda: yard.ask("VolumeCreate", bodies[0])


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (("create", CLONE, GIB), ("clone", DISK, CLONE)),
        (("clone", DISK, CLONE), ("create", CLONE, GIB)),
        (("clone", OTHER, CLONE), ("clone", DISK, CLONE)),
    ],
    ids=["empty, then a clone", "a clone, then empty", "a clone of another"],
)
def test_a_request_that_comes_late_is_no_answer_to_another_one(
    disks: Yard, monkeypatch: pytest.MonkeyPatch, first: tuple[Any, ...], then: tuple[Any, ...]
) -> None:
    """T87, T60: what an earlier create of the same id made after it was given up is never taken for
    this one's.

    It is deleted, as it is known for what it is, and the create is done.
    """
    comes = [forgotten(disks, monkeypatch, *first)]
    create = api.Client.volume_create

    def overtaken(client: api.Client, body: Any) -> str:
        while comes:
            comes.pop()()
        return create(client, body)

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "volume_create", overtaken)
        disks.verb(*then)
    source = disks.see().things[f"ovirt--{CLONE}"].tags.get(names.TAG_SOURCE)
    assert source == (disks.global_id(DISK) if then[0] == "clone" else None)
    disks.verb(*then)
    assert disks.see().rows[CLONE].state == "live"


def test_a_verb_that_died_is_not_finished_with_what_an_earlier_one_made(
    disks: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T71, T87: two creates of one id died; what came of the first is not the second one's
    result."""
    comes = forgotten(disks, monkeypatch, "create", CLONE, GIB)
    with pytest.raises(errors.NotFound):
        disks.verb("extend", CLONE, GIB)  # takes the first one back
    forgotten(disks, monkeypatch, "clone", DISK, CLONE)
    comes()
    with pytest.raises(errors.NotFound):
        disks.verb("extend", CLONE, GIB)
    assert CLONE not in disks.see().rows
    disks.verb("clone", DISK, CLONE)
    assert disks.see().things[f"ovirt--{CLONE}"].tags[names.TAG_SOURCE] == disks.global_id(DISK)


def test_a_clone_is_known_after_its_transient_snapshot_is_gone(disks: Yard) -> None:
    """T71: StorPool tells nothing of a clone's source later on; its tag does, so the repetition
    finds it."""
    disks.simulator.switches.set({"linger": "0"})
    assert disks.die_made("clone", DISK, CLONE) == CLONE
    disks.verb("clone", DISK, CLONE)
    assert disks.see().rows[CLONE].state == "live"
    assert disks.see().things[f"ovirt--{CLONE}"].tags[names.TAG_SOURCE] == disks.global_id(DISK)


def test_a_lost_answer_makes_one_clone(disks: Yard) -> None:
    """T87: within one verb too its own work is known by the tag."""
    disks.simulator.switches.set({"linger": "0"})
    disks.verb("clone", DISK, CLONE, fault=Fault("reset_after", query="VolumeCreate"))
    assert disks.see().rows[CLONE].global_id == disks.global_id(CLONE)


def test_a_disk_of_a_template_with_a_parent_is_found_again(core: Core) -> None:
    """T1: where a template's volumes stand on a snapshot, so does a disk that nothing was copied
    into."""
    source = volumes.create(core.client(), Plan(Owner("golden"), GIB, Policy(template="nvme")))
    volumes.snapshot(core.client(), source, Plan(Owner("golden-image")))
    set_parent(core, "golden-image")
    tags = names.tags(CLONE, "0123abcd", CLONE)
    plan = Plan(
        Owner(names.object_name(CLONE), tags),
        GIB,
        Policy(template="nvme"),
        source_tag=names.TAG_SOURCE,
    )
    made = volumes.create(core.client(), plan)
    assert core.client().volume(plan.name).parent == "golden-image"
    assert volumes.create(core.client(), plan) == made
    with pytest.raises(errors.Conflict, match="another source"):
        volumes.create(
            core.client(),
            Plan(Owner(plan.name, tags), GIB, Policy(template="hdd"), source_tag=names.TAG_SOURCE),
        )


def set_parent(core: Core, snapshot: str) -> None:
    """Let a template's new volumes stand on a snapshot."""
    official = binding.load().Api(
        core.simulator.host, core.simulator.port, "1556560560218011653", transientRetries=0
    )
    official.volumeTemplateUpdate("nvme", {"parent": snapshot})
