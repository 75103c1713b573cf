"""Helpers on two hosts, several at a time, some of them killed: what has to be afterwards, and a
look at it.

A volume is on one host, or on two while it migrates; only one helper of it runs at a time, as
Engine has it.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import queue
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, TypeVar

from crowd import LIMIT_SECONDS

from ovirt_demo import simulator, vdsm
from rigs import helper_stage
from rigs.clock import wait_until
from rigs.helper_stage import Info, device
from rigs.shared_stage import answered, at_once, read, write
from rigs.stage_fixtures import Stage

_T = TypeVar("_T")

HOSTS, AT_A_TIME = (1, 2), 4
KILLED = 0.25  # of the changes, before they are made in full
# When helpers are killed, and what makes that moment last. Other helpers may meet the fault first,
# each of them once.
FAULTS: dict[str, dict[str, Any]] = {
    "locked": {"kind": "delay", "seconds": LIMIT_SECONDS, "times": AT_A_TIME},
    "asked": {"kind": "delay", "seconds": LIMIT_SECONDS, "times": AT_A_TIME},
    "done": {"kind": "reset_after", "times": AT_A_TIME},
    "away": {"kind": "stop", "seconds": 0.5},
}
STAMP_BYTES = 64


@dataclass
class Drive:
    """A volume, and what has to be so: who has it attached, and what was written to it last."""

    info: Info
    random: random.Random
    runs: int
    moments: Iterator[str]
    hosts: set[int] = field(default_factory=set)
    stamp: bytes = bytes(STAMP_BYTES)


class Hosts:
    """The helpers of two hosts, many at a time, some of them killed."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.killed: collections.Counter[tuple[str, str]] = collections.Counter()
        self._one_kill = threading.Lock()

    def step(self, drive: Drive) -> None:
        """Do one of the things that Engine may do with a volume where it is now, and look whether
        it was done."""
        here = next(iter(drive.hosts), drive.random.choice(HOSTS))
        other = HOSTS[here == HOSTS[0]]
        if not drive.hosts:
            self._change(drive, "attach", here)
        else:
            steps = [self._migrate, self._detach, self._attach_again, self._detach_elsewhere]
            drive.random.choice(steps)(drive, here, other)
        self._check(drive)

    def run(self, drives: Sequence[Drive]) -> None:
        """Do something with one volume after the other, with some at a time, until each has had its
        runs."""
        waiting: queue.SimpleQueue[Drive] = queue.SimpleQueue()
        for drive in drives:
            waiting.put(drive)

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    drive = waiting.get_nowait()
                    self.step(drive)
                    if drive.runs > 0:
                        waiting.put(drive)

        at_once(*[work] * AT_A_TIME)

    def settle(self, drive: Drive) -> None:
        """Attach to each host and detach again: whatever had happened before."""
        for host in HOSTS:
            drive.hosts.add(host)
            self._run(drive, "attach", host)
            self._check(drive)
            self._run(drive, "detach", host)
            drive.hosts.discard(host)
        self._check(drive)

    def _migrate(self, drive: Drive, source: int, destination: int) -> None:
        self._change(drive, "attach", destination)
        if destination in drive.hosts:
            self._check(drive)
            answered(self.stage.engine.run("disconnect_volume", drive.info["data"]["volume"]))
            self._check(drive)
            self._change(drive, "detach", source)
        if len(drive.hosts) > 1:
            self._run(drive, "detach", source)
            drive.hosts.discard(source)

    def _detach(self, drive: Drive, here: int, _other: int) -> None:
        self._change(drive, "detach", here)

    def _attach_again(self, drive: Drive, here: int, _other: int) -> None:
        self._run(drive, "attach", here)

    def _detach_elsewhere(self, drive: Drive, _here: int, other: int) -> None:
        self._run(drive, "detach", other)

    def _change(self, drive: Drive, action: str, host: int) -> None:
        """Attach or detach; where that is killed first, either do it again or do the opposite."""
        if drive.random.random() < KILLED:
            self._kill(drive, action, host, next(drive.moments))
            action = drive.random.choice(("attach", "detach"))
        self._run(drive, action, host)
        (drive.hosts.add if action == "attach" else drive.hosts.discard)(host)

    def _run(self, drive: Drive, action: str, host: int) -> None:
        drive.runs -= 1
        call = helper_stage.attach if action == "attach" else helper_stage.detach
        answer = helper_stage.answered(call(self.stage.hosts[host], drive.info))
        global_id = drive.info["data"]["global_id"]
        path = {"type": "block", "path": f"/dev/storpool-byid/{global_id}"}
        assert json.loads(answer) == (path if action == "attach" else {})

    def _check(self, drive: Drive) -> None:
        """Look at the cluster's list, at the devices, and at the data, which every host reads and
        then writes anew."""
        assert self._on(drive) == drive.hosts
        for host in HOSTS:
            node = device(self.stage.hosts[host], drive.info)
            assert node.is_symlink() == node.exists() == (host in drive.hosts)
            if host in drive.hosts:
                assert read(node, STAMP_BYTES) == drive.stamp
                drive.stamp = drive.random.getrandbits(8 * STAMP_BYTES).to_bytes(STAMP_BYTES, "big")
                write(node, drive.stamp)

    def _kill(self, drive: Drive, action: str, host: int, moment: str) -> None:
        """Run a helper and kill it at this moment of its run; what it has asked for by then is done
        afterwards."""
        drive.runs -= 1
        fault = {"query": "VolumesReassignWait", **FAULTS[moment]}
        with self._one_kill, _cleared(self.stage.simulator):
            before = len(self._calls(drive, host))
            self.stage.simulator.inject(**fault)
            with _helper(self.stage.hosts[host], action, drive.info) as process:
                reached = {
                    "locked": lambda: f" {process.pid} " in Path("/proc/locks").read_text(),
                    "asked": lambda: len(self._calls(drive, host)) > before,
                    "done": lambda: (host in self._on(drive)) == (action == "attach"),
                    "away": lambda: not _reachable(self.stage.simulator),
                }[moment]
                wait_until(
                    lambda: process.poll() is not None or reached(), f"{action} to be {moment}"
                )
                process.kill()
            self.killed[action, moment] += process.returncode == -signal.SIGKILL
        if fault["kind"] == "delay":
            wait_until(
                lambda: all(call["status"] for call in self._calls(drive, host)[before:]),
                "the call's end",
            )

    def _on(self, drive: Drive) -> set[int]:
        return {
            host for host, _ in _patiently(lambda: helper_stage.on_hosts(self.stage, drive.info))
        }

    def _calls(self, drive: Drive, host: int) -> list[dict[str, Any]]:
        """List the calls that attached or detached the volume on this host."""
        item = f"~{drive.info['data']['global_id']}"
        return [
            call
            for call in _patiently(self.stage.simulator.calls)
            if call["query"] == "VolumesReassignWait"
            for each in call["body"]["reassign"]
            if each["volume"] == item and [host] in (each.get("rw"), each.get("detach"))
        ]


@contextlib.contextmanager
def _helper(host: vdsm.Host, action: str, info: Info) -> Iterator[subprocess.Popen[bytes]]:
    """Start a helper as Vdsm does, and give the process; it has ended afterwards."""
    with subprocess.Popen(
        [host.helper_path, action],
        cwd="/",
        env=host.environment,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps({"connection_info": info}).encode())
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _cleared(cluster: simulator.Simulator) -> Iterator[None]:
    """Take the faults back afterwards."""
    try:
        yield
    finally:
        _patiently(cluster.clear_faults)


def _patiently(question: Callable[[], _T]) -> _T:
    """Ask until there is an answer: a management service that fails over takes everybody's
    connection along."""
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            return question()
        except (OSError, http.client.HTTPException):
            if time.monotonic() > end:
                raise


def _reachable(cluster: simulator.Simulator) -> bool:
    try:
        cluster.clients()
    except (OSError, http.client.HTTPException):
        return False
    return True
