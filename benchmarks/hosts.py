"""How long Vdsm waits for the helper and for the start hook, as whole processes, beside a floor.

    python benchmarks/hosts.py [--runs 20] [--volumes 20000] [--os-brick PYTHON]

The floor is what no program on a host can do without: a Python that imports what HTTP needs and
makes one request to the same simulator. Each round runs, side by side, the floor, the helper's
attach and detach, and the hook for a VM without disks of StorPool's, with one, with eight, and with
one that another host still holds open. Then attach, detach and connector_info as a released Vdsm
has them done, by its stock helper (a stand-in) and our os_brick in its folder: without a real
os-brick, and with the one of PYTHON, as root; beside that what os-brick alone takes there to attach
a volume for which it does nothing. The cluster has many other volumes, as none of these may
list them. The exit code is 1 when a target is missed; README.md tells what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verbs import compared, fill_cluster, verdict

from ovirt_demo import children, hooks, host_software, releases, simulator, vdsm

HERE, ELSEWHERE = 1, 2
DISKS = 8
MOST_FLOORS = {
    "attach": 3.0,
    "detach": 3.0,
    "hook, no disk of ours": 1.5,
    "hook, 1 disk": 3.0,
    "attach, released": 4.0,
    "detach, released": 4.0,
}
# What os-brick asks about a host, as root.
COMMANDS = {"sudo": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"', "multipathd": ""}
NOTHING = {"driver_volume_type": "local", "data": {"device_path": "/dev/null"}}
MOST_CALLS = {
    "attach": 2,
    "detach": 1,
    "hook, no disk of ours": 0,
    # Barrier, volume, clients, who has it, the request, who has it now, clients.
    "hook, 1 disk": 7,
    "hook, 1 disk, taken": 7,
}

FLOOR = """
import http.client, json, sys
host, port, token = sys.argv[1:]
api = http.client.HTTPConnection(host, int(port))
api.request("GET", "/ctrl/1.0/ServicesList", headers={"Authorization": "Storpool v1:" + token})
assert json.loads(api.getresponse().read())
"""


def main() -> int:
    """Measure, print the table and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=20, help="how often each runs (default: %(default)s)"
    )
    parser.add_argument(
        "--volumes", type=int, default=20_000, help="other volumes (default: %(default)s)"
    )
    parser.add_argument(
        "--os-brick",
        metavar="PYTHON",
        help="a Python that has os-brick; without it nothing is measured with one",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = fill_cluster(folder / "cluster" / "state", options.volumes)
        hosts = {number: folder / f"host{number}" for number in (HERE, ELSEWHERE)}
        with simulator.running(folder / "cluster", hosts, devices="file") as cluster:
            yard = Yard(cluster, list(ids.items())[:DISKS], options.os_brick)
            yard.round()  # the first barrier of a cluster makes its bucket
            yard.forget()
            for number in range(options.runs):
                print(f"round {number + 1} of {options.runs} ...", file=sys.stderr)
                yard.round()
    return report(yard)


class Yard:
    """Two hosts of one cluster, and the times and calls of what was measured on the first."""

    def __init__(
        self, cluster: simulator.Simulator, disks: list[tuple[str, str]], os_brick: str | None
    ) -> None:
        self._cluster = cluster
        self._disks = disks
        helper = children.find("managedvolume-helper-storpool")
        self._hosts = {number: vdsm.Host(root, helper) for number, root in cluster.hosts.items()}
        self._hooks = hooks.Hooks(self._hosts[HERE])
        self._hooks.install(hooks.BEFORE_VM_START, children.find("storpool-vm-hook"))
        self._stock = {"released": Stock(self._hosts[HERE], sys.executable)}
        if os_brick:
            self._stock["os-brick"] = Stock(self._hosts[HERE], os_brick)
        self.seconds: dict[str, list[float]] = {}
        self.floors: dict[str, list[float]] = {}
        self.calls: dict[str, int] = {}

    def round(self) -> None:
        """Run everything once."""
        one, host = self._info(0), self._hosts[HERE]
        row = {
            "vol_id": self._disks[0][0],
            "connection_info": one,
            "path": "/dev/x",
            "attachment": {},
        }
        self._measure("attach", lambda: host.attach(one))
        self._measure("hook, no disk of ours", lambda: self._start(0))
        self._measure("hook, 1 disk", lambda: self._start(1))
        self._measure("detach", lambda: host.detach(row))
        for name, stock in self._stock.items():
            self._measure(f"attach, {name}", lambda stock=stock: stock.run("attach", one))
            self._measure(f"detach, {name}", lambda stock=stock: stock.run("detach", row))
            self._measure(f"info, {name}", lambda stock=stock: stock.run("connector_info"))
        if "os-brick" in self._stock:
            alone = self._stock["os-brick"]
            self._measure("os-brick alone", lambda: alone.run("attach", NOTHING))
            self._measure("info, os-brick alone", lambda: alone.run("connector_info", piece=False))
        for number in range(DISKS):
            host.attach(self._info(number))
        self._measure(f"hook, {DISKS} disks", lambda: self._start(DISKS))
        device = self._hosts[ELSEWHERE].local(self._hosts[ELSEWHERE].attach(one)["path"])
        with device.open("r+b"):
            self._measure("hook, 1 disk, taken", lambda: self._start(1))
        for number in range(DISKS):
            host.detach({**row, "connection_info": self._info(number)})

    def forget(self) -> None:
        """Take nothing of what was measured so far into account."""
        for measured in (self.seconds, self.floors, self.calls):
            measured.clear()

    def _info(self, number: int) -> dict[str, Any]:
        disk, global_id = self._disks[number]
        data = {"volume": disk, "global_id": global_id, "access_mode": "rw"}
        return {"adapter": "storpool", "driver_volume_type": "storpool", "data": data}

    def _start(self, count: int) -> None:
        disks = [
            hooks.disk_xml(
                {"path": f"/dev/storpool-byid/{global_id}", "vol_id": disk},
                f"vd{at}",
                managed=False,
            )
            for at, (disk, global_id) in enumerate(self._disks[:count])
        ]
        self._hooks.before_vm_start(hooks.domain_xml(*disks))

    def _measure(self, name: str, work: Callable[[], object]) -> None:
        self._cluster.clear_calls()
        self.floors.setdefault(name, []).append(self._floor())
        self._cluster.clear_calls()
        began = time.perf_counter()
        work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        self.calls[name] = max(len(self._cluster.calls()), self.calls.get(name, 0))

    def _floor(self) -> float:
        began = time.perf_counter()
        argv = [
            sys.executable,
            "-c",
            FLOOR,
            self._cluster.address,
            str(self._cluster.port),
            self._cluster.token,
        ]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return time.perf_counter() - began


class Stock:
    """Vdsm's stock helper on a host, run by a Python: that of a released Vdsm, with our os_brick in
    its folder."""

    def __init__(self, host: vdsm.Host, python: str) -> None:
        software = host_software.HostSoftware(host, releases.VDSM_4_50_7)
        software.install()
        software.integrate()
        self._python = python
        self._folder = host.local(host_software.LIBEXEC)
        self._alone = host.root / "alone"  # the stock helper without ours beside it
        self._alone.mkdir(exist_ok=True)
        stock = self._alone / "managedvolume-helper"
        stock.write_bytes((self._folder / "managedvolume-helper").read_bytes())
        commands = host.root / "commands"
        commands.mkdir(exist_ok=True)
        for name, body in COMMANDS.items():
            (commands / name).write_text(f"#!/bin/sh\n{body}\n")
            (commands / name).chmod(0o755)
        path = f"{commands}:{Path(python).parent}:{os.environ['PATH']}"
        self._site = host.local(host_software.SITE)
        self._environment = {**host.environment, "PATH": path, "PYTHONWARNINGS": "ignore"}

    def run(self, verb: str, sent: Any = None, *, piece: bool = True) -> None:
        """Run it, with ours or without."""
        folder = self._folder if piece else self._alone
        subprocess.run(
            [self._python, str(folder / "managedvolume-helper"), verb],
            input=json.dumps(sent).encode() if sent else b"",
            env={**self._environment, "PYTHONPATH": f"{folder}:{self._site}"},
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )


def report(yard: Yard) -> int:
    """Print the table, and for each target whether it is met; return the exit code."""
    print(f"{'program':24} {'floor':>7} {'program':>8} {'/ floor':>14} {'API':>5}")
    slow, talking = [], []
    for name, times in yard.seconds.items():
        ratio, error = compared(times, yard.floors[name])
        base, own = (statistics.median(each) * 1000 for each in (yard.floors[name], times))
        print(
            f"{name:24} {base:4.0f} ms {own:5.0f} ms {ratio:7.2f} +-{error:4.2f}"
            f" {yard.calls[name]:4}"
        )
        slow += [f"{name} takes {ratio:.2f}"] * (ratio > MOST_FLOORS.get(name, ratio))
        talking += [f"{name} makes {yard.calls[name]}"] * (
            yard.calls[name] > MOST_CALLS.get(name, DISKS + 5)
        )
    print()
    verdict("no program above its floors", slow)
    verdict("no program with more API calls than planned", talking)
    return int(bool(slow or talking))


if __name__ == "__main__":
    sys.exit(main())
