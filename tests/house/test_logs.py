"""The log files of a host's programs have the names that administrators are told."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest

from storpool_ovirt import config
from storpool_ovirt.fence import agent
from storpool_ovirt.fence import door as fence_door
from storpool_ovirt.host import vm_door, vm_hook

HOUSE = Path(__file__).parents[2]
SHIPPED = HOUSE / "storpool_ovirt" / "setup" / "files"
LOGS = (
    config.HELPER_LOG,
    vm_hook.LOG_FILE,
    vm_door.LOG_FILE,
    agent.LOG_FILE,
    fence_door.LOG_FILE,
)


@pytest.mark.parametrize("file", LOGS)
def test_a_log_is_told_and_turned(file: str) -> None:
    """A page names the file, and logrotate turns it."""
    assert any(file in page.read_text() for page in (HOUSE / "docs").glob("*.md"))
    patterns = (SHIPPED / "logrotate.d" / "storpool-ovirt-host").read_text().split()
    assert any(fnmatch.fnmatch(file, pattern) for pattern in patterns)
