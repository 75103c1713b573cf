"""Test machines with Ansible on them, and the collection of this tree."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import controller
import pytest

if TYPE_CHECKING:
    from rigs.machine import Machine

# Not in [testenv:tests]: Ansible is not among what the product's tests need (tox.ini).
MISSING = importlib.util.find_spec("ansible.release") is None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs Ansible where it is not."""
    for item in items:
        if MISSING and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip("Ansible is not installed here: tox -e ansible"))


@pytest.fixture
def engine(machine: Machine) -> controller.Controller:
    """A machine with our programs, which plays roles on itself."""
    return controller.Controller(machine)
