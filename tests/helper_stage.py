"""The helper on the hosts of the shared stage: its runs, and what StorPool lists after them.

A pytest plugin, named in conftest.py behind shared_stage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shared_stage import attached, check_sentence, connection_info, make_disk
from stage_fixtures import Stage

if TYPE_CHECKING:
    from storpool_ovirt.demo.vdsm import HelperRun, Host

Info = dict[str, Any]

# The installed program with its limits cut, for what would else be minutes of waiting.
HASTY = """#!{python}
import sys
from storpool_ovirt import api, attachments, vdsm_helper
vdsm_helper.DEADLINE_SECONDS, vdsm_helper.LAST_SECONDS = 3.0, 1.0
attachments.ATTACH_TIMEOUT_SECONDS, attachments.DEVICE_SECONDS, attachments.CLOSE_SECONDS = 1, 1.0, 0.5
attachments.UNDO_SECONDS = 0.8
api.REQUEST_SECONDS, api.RETRY_SECONDS = 1.5, 1.5
sys.exit(vdsm_helper.main())
"""


@pytest.fixture
def info(shared: Stage) -> Info:
    """Give the connection info of a new disk."""
    info = connection_info(shared, make_disk(shared.engine))
    shared.simulator.clear_calls()
    return info


@pytest.fixture
def hasty(shared: Stage, tmp_path: Path) -> Host:
    """Give host 1 with a helper that gives up much sooner."""
    from storpool_ovirt.demo import vdsm

    program = tmp_path / "hasty-helper"
    program.write_text(HASTY.format(python=sys.executable))
    program.chmod(0o755)
    return vdsm.Host(shared.host1.root, program, name=shared.host1.name)


def attach(host: Host, info: Info) -> HelperRun:
    """Run the helper's attach with what Vdsm sends."""
    return host.helper("attach", {"connection_info": info})


def detach(host: Host, info: Info) -> HelperRun:
    """Run the helper's detach with the row that Vdsm keeps."""
    path = f"/dev/storpool-byid/{info['data']['global_id']}"
    row = {"vol_id": info["data"]["volume"], "path": path, "attachment": {"type": "block", "path": path}}
    return host.helper("detach", {**row, "connection_info": info})


def answered(run: HelperRun) -> bytes:
    """Check that the helper succeeded and said nothing on stderr, and return its stdout."""
    assert (run.returncode, run.stderr) == (0, b""), run
    return run.stdout


def device(host: Host, info: Info) -> Path:
    """Return where the device is on this machine."""
    return host.local(f"/dev/storpool-byid/{info['data']['global_id']}")


def on_hosts(stage: Stage, info: Info) -> set[tuple[int, str]]:
    """List the clients that have the volume, and how."""
    return {(client, rights) for _, client, rights in attached(stage.simulator, info["data"]["global_id"])}


def refused(run: HelperRun) -> str:
    """Check that the helper refused with exit code 1, an empty stdout and one sentence on stderr, and return it."""
    assert (run.returncode, run.stdout) == (1, b""), run
    line = run.stderr.decode()
    assert line.endswith("\n")
    return check_sentence(line[:-1])


def wait_for_call(stage: Stage, query: str, *, answered: bool = False) -> None:
    """Return as soon as the simulator has been asked this (`answered`: has answered it)."""
    for _ in range(3000):
        for call in stage.simulator.calls():
            if call["query"] == query and (call["status"] is not None or not answered):
                return
    raise AssertionError(query)
