"""What the start of a VM with many disks waits for: every process that Engine and Vdsm run for it
of ours, one after the other, as they do.

For each disk Engine runs connect_volume, Vdsm the helper's attach, Engine save_device; then Vdsm
runs the start hook for all of them. What Engine and Vdsm do themselves is not in it. `hosts.py`
runs it.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import installed
import timing
from timing import Taken, verdict

from ovirt_demo import database, engine, hooks, simulator, vdsm

MOST_OF_BEFORE = 0.45
CONNECT, ATTACH, SAVE, HOOK, ALL = "connect_volume", "attach", "save_device", "hook", "all of it"
PARTS = (CONNECT, ATTACH, SAVE, HOOK)


@dataclass
class Starts:
    """An Engine and a host with the programs of one installation, and a VM with its disks; `took`
    has each of its starts by part."""

    cluster: simulator.Simulator
    server: database.Database
    programs: installed.Installation
    host: vdsm.Host
    folder: Path
    disks: int
    took: dict[str, list[Taken]] = field(
        default_factory=lambda: {part: [] for part in (*PARTS, ALL)}
    )

    def __post_init__(self) -> None:
        base = self.server.fresh(f"benchmark_{self.folder.name.replace('-', '_')}")
        adapter = self.programs.find("storpool-adapter")
        options = self.cluster.driver_options()
        self._engine = installed.with_known(
            engine.Engine(self.folder / "engine", adapter, options, base.url)
        )
        self._hooks = hooks.Hooks(self.host)  # the hook is installed there
        self._disks = [str(uuid.uuid4()) for _ in range(self.disks)]
        for disk in self._disks:
            self._verb("create_volume", disk, "1")

    def start(self) -> None:
        """Start the VM, and stop it again, which is not measured."""
        began = {part: Taken(0.0, 0.0) for part in PARTS}
        rows: list[dict[str, Any]] = []
        for disk in self._disks:
            said, took = self._verb(CONNECT, disk, "{}")
            began[CONNECT] += took
            info = json.loads(said.partition(":")[2])
            watch = timing.Watch()
            attachment = self.host.attach(info)
            began[ATTACH] += watch.taken()
            device = {"vol_id": disk, "path": attachment["path"], "attachment": attachment}
            began[SAVE] += self._verb(SAVE, disk, json.dumps(device))[1]
            rows.append({**device, "connection_info": info})
        elements = [
            hooks.disk_xml(row, f"vd{number}", managed=False) for number, row in enumerate(rows)
        ]
        watch = timing.Watch()
        self._hooks.before_vm_start(hooks.domain_xml(*elements))
        began[HOOK] = watch.taken()
        for part, took in began.items():
            self.took[part].append(took)
        self.took[ALL].append(sum(began.values(), Taken(0.0, 0.0)))
        for row in rows:
            self.host.detach(row)

    def _verb(self, name: str, *arguments: str) -> tuple[str, Taken]:
        argv = self._engine.argv(name, *arguments, correlation_id="start")
        return timing.run(argv, self._engine.environment, self._engine.programs)


def measure(starts: Sequence[Starts], runs: int) -> bool:
    """Start the VMs as often as asked, side by side; print the table and whether the target is met,
    and return whether it is missed."""
    for number in range(runs):
        print(f"start {number + 1} of {runs} ...", file=sys.stderr)
        for each in starts if number % 2 else reversed(starts):
            each.start()
    if not runs:
        return False
    now, *before = (each.took for each in starts)
    vm = f"a VM with {starts[0].disks} disks"
    print(f"\n{vm:24} {'now':>8} {'cpu':>8}", end="")
    print(f"{'before':>10} {'cpu':>8} {'/ before':>14}" if before else "")
    for part, times in now.items():
        cells = f"{part:24} {timing.middle(times):5.0f} ms {timing.cpu(times):5.0f} ms"
        for each in before:
            ratio, error = timing.ratio(times, each[part])
            cells += f" {timing.middle(each[part]):6.0f} ms {timing.cpu(each[part]):5.0f} ms"
            cells += f" {ratio:7.2f} +-{error:4.2f}"
        print(cells)
    if not before:
        return False
    ratio, _ = timing.ratio(now[ALL], before[0][ALL])
    print()
    return verdict(
        f"the start of {vm} takes at most {MOST_OF_BEFORE} of before",
        [f"{ratio:.2f}"] * (ratio > MOST_OF_BEFORE),
    )
