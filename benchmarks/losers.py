"""How long a start takes that takes its disk from a host which learns that late.

    python benchmarks/losers.py [--runs 10]

StorPool's VolumesReassignWait may wait for the host that loses a disk, or only for the one that
gets it (the simulator's switch `reassign_wait_for`); then the hook waits itself, by looking at how
far each client is. Each round runs the whole start hook with both values, with a loser that is in
step and with losers that take some time. The exit code is 1 when a start makes more API calls than
planned, or takes much longer than the loser; README.md tells what was measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from timing import verdict
from verbs import fill_cluster

from ovirt_demo import children, hooks, simulator, vdsm

HERE, ELSEWHERE = 1, 2
VALUES = ("affected", "gaining")
LATE_SECONDS = (0.0, 0.1, 0.5, 2.0)
# Barrier, volume, clients, who has it, the request, who has it now, clients.
CALLS = 7
# A look comes at most half a second after what it looks for.
MOST_SECONDS_MORE = 1.0
LOOK_SECONDS = 0.005


def main() -> int:
    """Measure, print the table and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=10, help="how often each runs (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (disk,) = list(fill_cluster(folder / "cluster" / "state", 10).items())[:1]
        hosts = {number: folder / f"host{number}" for number in (HERE, ELSEWHERE)}
        with simulator.running(folder / "cluster", hosts, devices="file") as cluster:
            yard = Yard(cluster, *disk)
            yard.round()  # the first barrier of a cluster makes its bucket
            yard.measured.clear()
            for number in range(options.runs):
                print(f"round {number + 1} of {options.runs} ...", file=sys.stderr)
                yard.round()
    return report(yard.measured)


class Yard:
    """Two hosts of one cluster; `measured` has seconds and API calls by value and lateness."""

    def __init__(self, cluster: simulator.Simulator, disk: str, global_id: str) -> None:
        self._cluster = cluster
        helper = children.find("managedvolume-helper-storpool")
        self._hosts = {number: vdsm.Host(root, helper) for number, root in cluster.hosts.items()}
        self._hooks = hooks.Hooks(self._hosts[HERE])
        self._hooks.install(hooks.BEFORE_VM_START, children.find("storpool-vm-hook"))
        path = {"path": f"/dev/storpool-byid/{global_id}", "vol_id": disk}
        self._domain = hooks.domain_xml(hooks.disk_xml(path, "vda", managed=False))
        data = {"volume": disk, "global_id": global_id, "access_mode": "rw"}
        self._info: dict[str, Any] = {
            "adapter": "storpool",
            "driver_volume_type": "storpool",
            "data": data,
        }
        self.measured: dict[tuple[str, float], list[tuple[float, int]]] = {}

    def round(self) -> None:
        """Run everything once, the two values side by side."""
        for late_seconds in LATE_SECONDS:
            for value in VALUES:
                self._cluster.set_switches(reassign_wait_for=value)
                for host in self._hosts.values():
                    host.attach(self._info)
                result = self._start(late_seconds)
                self.measured.setdefault((value, late_seconds), []).append(result)

    def _start(self, late_seconds: float) -> tuple[float, int]:
        self._cluster.clear_calls()
        learning = threading.Thread(target=self._learn, args=(late_seconds,))
        if late_seconds:
            self._cluster.set_client(ELSEWHERE, behind=True)
            learning.start()
        began = time.perf_counter()
        self._hooks.before_vm_start(self._domain)
        seconds = time.perf_counter() - began
        if late_seconds:
            learning.join()
        return seconds, len(self._cluster.calls())

    def _learn(self, late_seconds: float) -> None:
        """Let the loser take the change over, so long after it was asked for."""
        while not any(call["query"] == "VolumesReassignWait" for call in self._cluster.calls()):
            time.sleep(LOOK_SECONDS)
        time.sleep(late_seconds)
        self._cluster.set_client(ELSEWHERE, behind=False)


def report(measured: dict[tuple[str, float], list[tuple[float, int]]]) -> int:
    """Print the table, and for each target whether it is met; return the exit code."""
    print(f"{'the loser takes':16} {'StorPool waits for':20} {'start':>8} {'API calls':>10}")
    slow, talking = [], []
    in_step = {value: _median(measured[value, 0.0]) for value in VALUES}
    for (value, late_seconds), results in measured.items():
        seconds, calls = _median(results), max(calls for _, calls in results)
        who = "all affected" if value == "affected" else "those that gain"
        print(f"{late_seconds:14.1f} s {who:20} {seconds * 1000:5.0f} ms {calls:10}")
        case = f"{value}, {late_seconds} s"
        more_seconds = seconds - in_step[value] - late_seconds
        slow += [f"{case}: {more_seconds:.1f} s more"] * (more_seconds > MOST_SECONDS_MORE)
        is_quiet = value == "affected" or not late_seconds
        talking += [f"{case}: {calls}"] * (is_quiet and calls > CALLS)
    print()
    verdict("no start takes much longer than the loser", slow)
    verdict("no call more where StorPool waits, or nobody has to", talking)
    return int(bool(slow or talking))


def _median(results: list[tuple[float, int]]) -> float:
    return statistics.median(seconds for seconds, _ in results)


if __name__ == "__main__":
    sys.exit(main())
