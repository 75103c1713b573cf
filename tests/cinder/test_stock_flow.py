"""Cinder's own StorPool driver and os-brick's own connector work on the simulator, unchanged: it
does what they rely on, whichever way it settles what no source tells."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from rigs import clusters, stock_host

# What does not end well, and why: StorPool's refusals, and what is wrong in the driver itself.
REFUSED = {
    "create again": "objectExists",
    "snapshot again": "objectExists",
    "delete while open": "(busy|invalidParam): 'os--volume-[-0-9a-f]+' is open at client 1",
    "snapshot of nothing": "objectDoesNotExist",
    "extend of nothing": "objectDoesNotExist",
    "revert of nothing": "objectDoesNotExist",
    "from nothing": "objectDoesNotExist",
    # It hands a dictionary over as keywords that its client does not take.
    "retype": r"^TypeError: .*volume_update\(\) got an unexpected keyword argument 'template'",
}
PROGRAM = str(Path(__file__).with_name("stock_flow.py"))
LEAST = 34  # steps


@pytest.mark.parametrize(
    ("devices", "switches"),
    [
        ("file", ""),
        ("file", "busy_error=invalidParam revert_identity=all detach_absent=ok"),
        ("file", "revert_identity=keep revert_size=snapshot error_status=500 tag_update=replace"),
        ("file", "strict=false linger=0 lag=0 list_order=reversed"),
        ("loop", ""),
    ],
)
def test_volumes_live_whole_lives(tmp_path: Path, devices: str, switches: str) -> None:
    """Create, type, statistics, attach, write, snapshot, clone, revert, extend, retype, migrate,
    detach while open, delete: each step ends as it does on StorPool, with the data that it should
    have."""
    if importlib.util.find_spec("os_brick.initiator.storpool_utils") is None:
        pytest.skip("this Cinder's own driver needs storpool.spopenstack, which is not installed")
    stock_host.need()
    clusters.need_devices(devices, tmp_path)
    said: dict[str, str] = json.loads(
        stock_host.run(tmp_path, PROGRAM, str(tmp_path / "work"), devices, *switches.split())
    )
    assert len(said) >= LEAST
    assert said.keys() >= REFUSED.keys()
    for step, outcome in said.items():
        assert re.search(REFUSED.get(step, "^ok$"), outcome), f"{step}: {outcome}"
