"""How long Vdsm waits for the helper and for the start hook, as whole processes, beside a floor.

    python benchmarks/hosts.py [--runs 20] [--volumes 20000] [--os-brick PYTHON]
                               [--before FOLDER] [--start pip] [--starts 5]

The floor is what a program on a host usually cannot do without: a Python that imports what HTTP
needs and makes one request to the same simulator. Each round runs, side by side, the floor, the
helper's attach and detach, and the hook for a VM without disks of StorPool's, with one, with eight,
with eight that are already what the VM's custom properties say, and with one that another host
still holds open. Then attach, detach and connector_info as a
released Vdsm has them done, by its stock helper (a stand-in) and our os_brick in its folder:
without a real os-brick, and with the one of PYTHON, as root; beside that what os-brick alone takes
there to attach a volume for which it does nothing. The cluster has many other volumes, as none of
these may list them.

Then a VM with 32 disks is started: all that Engine and Vdsm run for it, one after the other
(vm_starts.py). With `--before` the programs in that folder run side by side with ours, on hosts and
disks of their own. The exit code is 1 when a target is missed; README.md tells what was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import floors
import installed
import timing
import vm_starts
from timing import Taken, verdict
from verbs import fill_cluster

from ovirt_demo import database, hooks, host_software, releases, simulator, vdsm

DISKS = 8
MOST_FLOORS = {
    "attach": 1.2,
    "detach": 1.2,
    "hook, no disk of ours": 1.0,
    "hook, 1 disk": 1.2,
    "attach, released": 2.0,
    "detach, released": 2.0,
    f"hook, {DISKS} disks": 1.4,
    f"hook, {DISKS} disks, policy": 1.4,
}
# What os-brick asks about a host, as root.
COMMANDS = {"sudo": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"', "multipathd": ""}
NOTHING = {"driver_volume_type": "local", "data": {"device_path": "/dev/null"}}
# All others make none.
MOST_CALLS = {
    **dict.fromkeys(("attach", "attach, released", "attach, os-brick"), 2),
    **dict.fromkeys(("detach", "detach, released", "detach, os-brick"), 1),
    # Barrier, volume, clients, who has it, the request, who has it now, clients.
    "hook, 1 disk": 7,
    "hook, 1 disk, taken": 7,
    f"hook, {DISKS} disks": 7 + DISKS - 1,  # one more for each
    f"hook, {DISKS} disks, policy": 7 + DISKS - 1,  # what is said already is not said again
}
Step = tuple[str, Callable[[], object]]


def main() -> int:
    """Measure, print the tables and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=20, help="how often each runs (default: %(default)s)"
    )
    parser.add_argument(
        "--starts", type=int, default=5, help="how often a VM is started (default: %(default)s)"
    )
    parser.add_argument("--disks", type=int, default=32, help="of that VM (default: %(default)s)")
    parser.add_argument(
        "--volumes", type=int, default=20_000, help="other volumes (default: %(default)s)"
    )
    parser.add_argument(
        "--os-brick",
        metavar="PYTHON",
        help="a Python that has os-brick; without it nothing is measured with one",
    )
    installed.add_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        programs = {"now": installed.this(options.start, folder / "now")}
        if options.before:
            programs["before"] = installed.of(options.before, options.start, folder / "before")
        places = {number: folder / f"host{number}" for number in range(1, 2 * len(programs) + 1)}
        ids = iter(fill_cluster(folder / "cluster" / "state", options.volumes).items())
        cluster = stack.enter_context(simulator.running(folder / "cluster", places, devices="file"))
        yards = {}
        for number, (which, found) in enumerate(programs.items()):
            here, elsewhere = 2 * number + 1, 2 * number + 2
            disks = list(itertools.islice(ids, DISKS))
            yards[which] = Yard(cluster, found, (here, elsewhere), disks)
        yards["now"].install_stock(options.os_brick)
        measured = Measured(cluster, list(yards.values()))
        measured.round(0)  # the first barrier of a cluster makes its bucket
        measured.forget()
        for number in range(options.runs):
            print(f"round {number + 1} of {options.runs} ...", file=sys.stderr)
            measured.round(number)
        missed = report(measured)
        server = stack.enter_context(database.running(folder))
        starts = [
            vm_starts.Starts(
                cluster,
                server,
                found,
                yards[which].hosts[0],
                folder / f"vm-{which}",
                options.disks,
            )
            for which, found in programs.items()
        ]
        missed |= vm_starts.measure(starts, options.starts)
    return int(missed)


class Yard:
    """Two hosts of one cluster with the programs of one installation, whose first one is
    measured."""

    def __init__(
        self,
        cluster: simulator.Simulator,
        programs: installed.Installation,
        numbers: tuple[int, int],
        disks: list[tuple[str, str]],
    ) -> None:
        self._disks = disks
        helper = programs.find("managedvolume-helper-storpool")
        self.hosts = [vdsm.Host(cluster.hosts[number], helper) for number in numbers]
        self._hooks = hooks.Hooks(self.hosts[0])
        self._hook = programs.find("storpool-vm-hook")
        self._link = self._hooks.install(hooks.BEFORE_VM_START, self._hook)
        self._stock: dict[str, Stock] = {}

    def install_stock(self, os_brick: str | None) -> None:
        """Have a released Vdsm's stock helper there too, and one with os-brick."""
        self._stock["released"] = Stock(self.hosts[0], sys.executable)
        if os_brick:
            self._stock["os-brick"] = Stock(self.hosts[0], os_brick)
        self._link.unlink()  # which now leads to the program of pip
        self._link.symlink_to(self._hook)

    def steps(self) -> Iterator[Step]:
        """Yield what is to be measured in a round, each to be run before the next is asked for."""
        one, (host, elsewhere) = self._info(0), self.hosts
        row = {
            "vol_id": self._disks[0][0],
            "connection_info": one,
            "path": "/dev/x",
            "attachment": {},
        }
        yield "attach", lambda: host.attach(one)
        yield "hook, no disk of ours", lambda: self._start(0)
        yield "hook, 1 disk", lambda: self._start(1)
        yield "detach", lambda: host.detach(row)
        for number in range(DISKS):
            host.attach(self._info(number))
        yield f"hook, {DISKS} disks", lambda: self._start(DISKS)
        said = {"sp_qos": f"gold,{self._disks[0][0]}:silver", "sp_vc_policy": "daily"}
        self._start(DISKS, said)
        yield f"hook, {DISKS} disks, policy", lambda: self._start(DISKS, said)
        self._start(DISKS)  # which takes it back
        device = elsewhere.local(elsewhere.attach(one)["path"])
        with device.open("r+b"):
            yield "hook, 1 disk, taken", lambda: self._start(1)
        for number in range(DISKS):
            host.detach({**row, "connection_info": self._info(number)})
        for name, stock in self._stock.items():
            yield f"attach, {name}", lambda stock=stock: stock.run("attach", one)
            yield f"detach, {name}", lambda stock=stock: stock.run("detach", row)
            yield f"info, {name}", lambda stock=stock: stock.run("connector_info")
        if "os-brick" in self._stock:
            alone = self._stock["os-brick"]
            yield "os-brick alone", lambda: alone.run("attach", NOTHING)
            yield "info, os-brick alone", lambda: alone.run("connector_info", piece=False)

    def _info(self, number: int) -> dict[str, Any]:
        disk, global_id = self._disks[number]
        data = {"volume": disk, "global_id": global_id, "access_mode": "rw"}
        return {"adapter": "storpool", "driver_volume_type": "storpool", "data": data}

    def _start(self, count: int, properties: hooks.Properties = hooks.NONE) -> None:
        disks = [
            hooks.disk_xml(
                {"path": f"/dev/storpool-byid/{global_id}", "vol_id": disk},
                f"vd{at}",
                managed=False,
            )
            for at, (disk, global_id) in enumerate(self._disks[:count])
        ]
        self._hooks.before_vm_start(hooks.domain_xml(*disks), properties=properties)


class Measured:
    """What was measured of each step: the floor, what it took in each yard, and the calls in the
    first."""

    def __init__(self, cluster: simulator.Simulator, yards: list[Yard]) -> None:
        self._cluster = cluster
        self._yards = yards
        self.floors: dict[str, list[Taken]] = {}
        self.took: list[dict[str, list[Taken]]] = [{} for _ in yards]
        self.calls: dict[str, int] = {}

    def round(self, number: int) -> None:
        """Run everything once, the yards side by side and in changing order."""
        for steps in itertools.zip_longest(*(yard.steps() for yard in self._yards)):
            name = steps[0][0]
            self.floors.setdefault(name, []).append(self._floor())
            pairs = [(place, step[1]) for place, step in enumerate(steps) if step]
            for place, work in reversed(pairs) if number % 2 else pairs:
                self._cluster.clear_calls()
                watch = timing.Watch()
                work()
                self.took[place].setdefault(name, []).append(watch.taken())
                if not place:
                    made = len(self._cluster.calls())
                    self.calls[name] = max(made, self.calls.get(name, 0))

    def forget(self) -> None:
        """Take nothing of what was measured so far into account."""
        for measured in (self.floors, self.calls, *self.took):
            measured.clear()

    def _floor(self) -> Taken:
        return timing.run(floors.old_host(self._cluster), dict(os.environ))[1]


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


def report(measured: Measured) -> bool:
    """Print the table, and for each target whether it is met; return whether one is missed."""
    now, *before = measured.took
    print(
        f"{'program':24} {'floor':>7} {'program':>8} {'cpu':>7} {'/ floor':>14}"
        f"{'   before / before' if before else ''} {'API':>5}"
    )
    slow, talking = [], []
    for name, times in now.items():
        beside, calls = measured.floors[name], measured.calls[name]
        ratio, error = timing.ratio(times, beside)
        cells = (
            f"{name:24} {timing.middle(beside):4.0f} ms {timing.middle(times):5.0f} ms"
            f" {timing.cpu(times):4.0f} ms {ratio:7.2f} +-{error:4.2f}"
        )
        for each in before:
            others = each.get(name)
            cells += (
                f" {timing.middle(others):6.0f} ms {timing.ratio(times, others)[0]:8.2f}"
                if others
                else f"{'':19}"
            )
        print(f"{cells} {calls:5}")
        slow += [f"{name} takes {ratio:.2f}"] * (ratio > MOST_FLOORS.get(name, ratio))
        talking += [f"{name} makes {calls}"] * (calls > MOST_CALLS.get(name, 0))
    print()
    missed = verdict("no program above its floors", slow)
    return verdict("no program with more API calls than planned", talking) or missed


if __name__ == "__main__":
    sys.exit(main())
