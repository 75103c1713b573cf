"""The driver's limits: whatever the peer does, in whichever thread, each operation ends in time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cinder import exception

from cinder_driver import driver
from rigs import canned_api, driver_rig
from rigs.core_fixtures import TOKEN, Core
from rigs.driver_rig import Backend, configured, volume

if TYPE_CHECKING:
    from collections.abc import Callable

SLACK_SECONDS = 4.0  # this machine may be busy


def outcome(call: Callable[[], Any]) -> tuple[str, float]:
    """Call in a thread of its own, as Cinder does; return what was said, and the seconds."""
    said: list[str] = []

    def run() -> None:
        try:
            call()
        except exception.CinderException as error:
            said.append(str(error))

    begun = time.monotonic()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return "".join(said), time.monotonic() - begun


@pytest.mark.parametrize("peer", [canned_api.DRIP, canned_api.CLOSE, canned_api.RESET])
def test_a_start_ends_in_time_in_any_thread(core: Core, backend: Backend, peer: str) -> None:
    """No signal reaches a thread: a peer that sends a byte now and then is bounded all the same,
    and told."""
    with (
        canned_api.answering([peer]) as api,
        configured(
            core, storpool_api_http_host="127.0.0.1", storpool_api_http_port=api.port
        ) as made,
    ):
        made.do_setup(driver_rig.CONTEXT)
        said, seconds = outcome(made.check_for_setup_error)
    assert "gave no usable answer" in said or "time limit" in said
    assert seconds < driver.SETUP_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("deadline", [None, 3.0])
def test_statistics_do_not_hold_up_cinders_periodic_tasks(
    core: Core, backend: Backend, monkeypatch: pytest.MonkeyPatch, deadline: float | None
) -> None:
    """They end before the next are due, where an operation may take 100 s too; a shorter limit of
    the options holds."""
    monkeypatch.setattr(driver, "STATS_SECONDS", 5.0)
    assert driver.STATS_SECONDS < 60, "Cinder asks once a minute (`backend_stats_polling_interval`)"
    with driver_rig.backend(core, storpool_deadline=deadline) as started:
        started.driver.get_volume_stats(refresh=True)  # has those of the start
        core.simulator.faults.add("hang", query="VolumeTemplatesStatus", times=50, seconds=30)
        said, seconds = outcome(lambda: started.driver.get_volume_stats(refresh=True))
        core.simulator.faults.clear()
    assert "StorPool" in said
    assert seconds < (deadline or 5.0) + SLACK_SECONDS


def test_an_operation_ends_at_its_deadline(core: Core, backend: Backend) -> None:
    """An API that hangs in the middle: the option `storpool_deadline` counts, the volume is as it
    was."""
    made = volume()
    backend.driver.create_volume(made)
    with driver_rig.backend(core, storpool_deadline=2.0) as hasty:
        core.simulator.faults.add("hang", query="VolumeUpdate", times=50, seconds=30)
        said, seconds = outcome(lambda: hasty.driver.extend_volume(made, 2))
        core.simulator.faults.clear()
    assert "VolumeUpdate" in said or "volumeUpdate" in said or "time limit" in said
    assert seconds < 2.0 + SLACK_SECONDS


EVENTLET = f"""
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import sys, time
sys.path[:0] = sys.argv[1:3]
from rigs import driver_rig
from rigs.core_fixtures import TOKEN
from cinder import exception

class Core:  # what driver_rig needs of one
    class simulator:
        host, port = "127.0.0.1", int(sys.argv[3])

beats = []
def beat():
    while True:
        beats.append(time.monotonic())
        eventlet.sleep(0.05)
eventlet.spawn(beat)
with driver_rig.configured(Core, storpool_deadline=3.0) as made:
    made.do_setup(driver_rig.CONTEXT)
    begun = time.monotonic()
    try:
        made.get_volume_stats(refresh=True)
        said = "fine"
    except exception.CinderException as error:
        said = str(error)
    assert {TOKEN!r} not in said
    eventlet.sleep(0.2)
    longest = max(after - before for before, after in zip(beats, beats[1:]))
    print(said)
    print(time.monotonic() - begun, longest)
"""


@pytest.mark.parametrize("peer", ["drip", "simulator"])
def test_a_service_with_eventlet_goes_on_meanwhile(core: Core, backend: Backend, peer: str) -> None:
    """cinder-volume reports that it is alive from another green thread: no wait of ours may hold
    that up."""
    pytest.importorskip("eventlet", reason="this release of Cinder has no eventlet")
    with canned_api.answering([canned_api.DRIP]) as api:
        port = api.port if peer == "drip" else core.simulator.port
        here = Path(__file__).parent
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                EVENTLET,
                str(here),
                str(here.parent),
                str(port),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    said, numbers = done.stdout.strip().split("\n")[-2:]
    seconds, longest = map(float, numbers.split())
    assert (said == "fine") == (peer == "simulator")
    assert seconds < 3.0 + SLACK_SECONDS
    assert longest < 2.0
