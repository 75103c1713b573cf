"""placement.py: whether StorPool makes volumes without a template; the volume that tells is never
left for long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import TEMPLATE, Death, Fault
from rigs.yard import CLONE, DISK
from storpool_ovirt import errors
from storpool_ovirt.engine import disks

if TYPE_CHECKING:
    from rigs.yard import Yard


def die_before_its_delete(yard: Yard) -> None:
    """Have the first look at a domain die behind the create of its volume."""

    def die(*_: object, **__: object) -> None:
        raise Death

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(disks, "delete", die)
        with pytest.raises(Death):
            yard.verb("stats")


def refuse_its_delete(yard: Yard) -> None:
    """Have StorPool refuse to delete the volume."""
    with pytest.raises(errors.Rejected):
        yard.verb("stats", fault=Fault("error_200", query="VolumeDelete"))


def die_as_it_is_made(yard: Yard) -> None:
    """Have the look die when the volume is there, and its row does not say so."""
    yard.die_made("stats")


WAYS = [die_before_its_delete, refuse_its_delete, die_as_it_is_made]


@pytest.mark.parametrize("disk", [False, True], ids=["alone", "with a disk"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_volume_of_a_look_that_died_goes_with_the_next_one(
    yard: Yard, way: object, disk: bool
) -> None:
    """T71: Engine does not know of it, so nobody else would ever delete it; and it is no proof of
    anything."""
    way(yard)  # type: ignore[operator]
    assert len(yard.see().things) == 1
    if disk:
        yard.verb("create", DISK, GIB)
    yard.verb("stats")
    assert list(yard.see().things) == [f"ovirt--{DISK}"] * disk
    assert list(yard.see().rows) == [DISK] * disk
    assert yard.see().pending == []


def test_a_look_that_cannot_delete_an_old_one_fails_for_nothing_else(yard: Yard) -> None:
    """Another owner has that volume now: a disk proves that there is a placement, and the domain
    works."""
    die_before_its_delete(yard)
    [name] = yard.see().things
    yard.verb("create", CLONE, GIB)
    yard.ask(f"VolumeUpdate/{name}", {"tags": {"virt": "pve"}})
    assert "total_capacity_gb" in yard.verb("stats")
    assert name in {each["name"] for each in yard.ask("VolumesList")}
    yard.ask(f"VolumeUpdate/{name}", {"tags": {"virt": "ovirt"}})
    yard.verb("stats")
    assert list(yard.see().things) == [f"ovirt--{CLONE}"]


def test_a_domain_that_got_a_template_since_is_cleared_too(yard: Yard) -> None:
    """With a template nothing is tried any more, and what an earlier look left goes all the
    same."""
    die_before_its_delete(yard)
    with yard.engine("storage_stats") as engine:
        disks.stats(replace(engine, domain=replace(engine.domain, template=TEMPLATE)))
    assert yard.see().things == {}
    assert yard.see().rows == {}
