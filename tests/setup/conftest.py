"""Machines that are set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import setup_ground

from rigs import engine_config_tool

if TYPE_CHECKING:
    from rigs.machine import Machine


@pytest.fixture
def host(machine: Machine) -> setup_ground.Setup:
    """A host with Vdsm, and ours as pip has it."""
    return setup_ground.host(machine)


@pytest.fixture
def engine(machine: Machine) -> setup_ground.Setup:
    """Engine's machine of release 4.5.7, and ours as pip has it."""
    return setup_ground.engine(machine)


@pytest.fixture
def keys(engine: setup_ground.Setup) -> engine_config_tool.Keys:
    """The options of a fresh Engine there."""
    return engine_config_tool.installed(engine.machine)


@pytest.fixture(params=["host", "engine"])
def place(request: pytest.FixtureRequest, machine: Machine) -> setup_ground.Setup:
    """Each of both, whole."""
    if request.param == "host":
        return setup_ground.host(machine)
    made = setup_ground.engine(machine)
    engine_config_tool.installed(
        machine,
        CustomVdsFenceType={"general": "other"},
        CustomVdsFenceOptionMapping={"general": "other:port=ipport"},
    )
    return made
