"""Flows, starts, plugs and fences once more, while every other reading call is answered by an
instance that is behind.

StorPool's management has several instances, and one that has just taken over may not know what the
last one did. A pytest plugin: each test of these modules is run twice, but for those that count
calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ovirt_demo.simulator import Simulator

BEHIND = "behind"
# More changes than a program makes before it looks, so that its own work is not there either.
CHANGES = "5"
MODULES = (
    "test_fence_agent",
    "test_fence_host",
    "test_flows",
    "test_flows_snapshots",
    "test_vm_hook",
    "test_vm_hook_refusals",
)
# They tell a call by its place among others, or leave something behind that the same test does not
# expect.
COUNTING = (
    "test_a_start_leaves_the_disks_to_this_host_alone",
    "test_an_ordinary_start",
    "test_it_asks_the_cluster_once_for_all_disks",
    "test_before_a_migration_the_source_only_looks",
    "test_somebody_attaches_it_meanwhile",
    "test_the_hook_writes_one_line_for_each_change",
    "test_at_any_other_point_nothing_is_taken",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests of these modules run with both kinds of instances."""
    once = metafunc.module.__name__ not in MODULES or metafunc.function.__name__ in COUNTING
    if "instance" in metafunc.fixturenames and not once:
        metafunc.parametrize("instance", ["", BEHIND], ids=["active", BEHIND], indirect=True)


@pytest.fixture
def instance(request: pytest.FixtureRequest) -> str:
    """Tell which instance answers every other reading call: the active one, or one that is
    behind."""
    return str(getattr(request, "param", ""))


def let_answer(simulator: Simulator, kind: str) -> None:
    """Have that kind of instance answer every other reading call."""
    simulator.set_switches(lag=CHANGES if kind == BEHIND else "0")
