"""How the machines of hypothesis are run that live random lives in one cluster after another."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.stateful import RuleBasedStateMachine

    from ovirt_demo.database import Database


def lived(
    machine: type[RuleBasedStateMachine],
    lives: int,
    steps: int,
    database: Database,
    folder: Path,
) -> None:
    """Live so many lives of a machine, which finds `database`, `folder` and `folders` in itself.

    STORPOOL_OVIRT_LIVES is how many lives are tried, for who looks for defects; then a failure is
    also made small, which takes minutes.
    """
    pytest.importorskip("werkzeug", reason="the simulator's requirements are not installed")
    wanted = os.environ.get("STORPOOL_OVIRT_LIVES")
    placed = {"database": database, "folder": folder, "folders": itertools.count()}
    run_state_machine_as_test(
        type("Lives", (machine,), placed),
        settings=settings(
            max_examples=int(wanted or lives),
            stateful_step_count=steps,
            derandomize=not wanted,
            phases=[Phase.generate, Phase.shrink] if wanted else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
