"""The agent's stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_stage import Stage


@pytest.fixture
def host(tmp_path: Path) -> Stage:
    """Give a host that is a folder."""
    return Stage(tmp_path)
