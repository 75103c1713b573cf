"""The dispatcher behind Engine's name is none any more: who writes to that name writes through the
link, and no verb of any domain works then."""

from __future__ import annotations

import shutil

import pytest
from diversion_ground import STARTS, Machine, facts

from storpool_ovirt import errors
from storpool_ovirt.engine import dispatcher

PATCH = "#!/usr/bin/python3\nprint('a patch of the client')\n"


@pytest.fixture
def spoiled(machine: Machine) -> Machine:
    """An administrator's `cp patch cinderlib-client.py`, diverted."""
    machine.diversion().on()
    patch = machine.root / "patch"
    patch.write_text(PATCH)
    shutil.copyfile(patch, machine.client)
    assert machine.own.read_text() == PATCH
    return machine


def test_status_tells_that_it_is_broken(spoiled: Machine) -> None:
    """And that the file may be wanted."""
    code, said = spoiled.diversion().status()
    assert code == 1
    assert said.startswith(f"broken: {spoiled.client} leads to {spoiled.own}, which is no disp")
    assert f"what was written to {dispatcher.CLIENT} is in it: copy it if anybody wants" in said


def test_on_gives_engines_own_file_back(spoiled: Machine) -> None:
    """So that other domains live; what was written stays where it is, and once the dispatcher has
    come again so does the diversion."""
    stock = facts(spoiled.kept)
    with pytest.raises(errors.ConfigError, match=r"is no dispatcher of ours.*Engine's own again"):
        spoiled.diversion().on()
    assert facts(spoiled.client) == stock
    assert not spoiled.kept.exists()
    assert spoiled.own.read_text() == PATCH
    with pytest.raises(errors.ConfigError, match="is no dispatcher of ours"):
        spoiled.diversion().on()
    assert facts(spoiled.client) == stock
    spoiled.own.write_text(STARTS)
    spoiled.diversion().on()
    assert spoiled.client.readlink() == spoiled.own
    assert spoiled.diversion().status()[0] == 0


def test_off_gives_it_back_too(spoiled: Machine) -> None:
    """Also where that dispatcher is of another installation."""
    stock = facts(spoiled.kept)
    spoiled.diversion(spoiled.other).off()
    assert facts(spoiled.client) == stock


def test_another_installation_takes_over(spoiled: Machine) -> None:
    """Its dispatcher works."""
    spoiled.diversion(spoiled.other).on()
    assert spoiled.client.readlink() == spoiled.other
    assert spoiled.diversion(spoiled.other).status()[0] == 0


def test_where_nothing_can_be_given_back(spoiled: Machine) -> None:
    """Engine's own file is gone too: nothing is changed, and it is told."""
    spoiled.kept.unlink()
    with pytest.raises(errors.ConfigError, match="is no dispatcher of ours"):
        spoiled.diversion().on()
    assert spoiled.client.readlink() == spoiled.own
    assert spoiled.diversion().status()[1].startswith("broken: ")


def test_a_working_link_is_left_by_an_installation_that_does_not_work(spoiled: Machine) -> None:
    """Ours is spoiled, the other one is in place."""
    spoiled.diversion(spoiled.other).on()
    with pytest.raises(errors.ConfigError, match="is no dispatcher of ours"):
        spoiled.diversion().on()
    assert spoiled.client.readlink() == spoiled.other
