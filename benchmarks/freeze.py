"""How far apart the snapshots of one VM's disks are, and how long its guest is frozen for them.

    python benchmarks/freeze.py [--runs 3] [--disks 1 8 32] [--latency 0 5 20] [--before FOLDER]

Engine freezes the guest, then runs create_snapshot once for each disk, strictly one after the
other, and a VM whose disks are all ours it does not thaw: so the freeze that is told ends with the
last of these processes, the earliest that whoever thaws by hand can know of, or when the agent of
the host thaws the guest. Each round has every way beside the others, on one simulator and one
PostgreSQL. Where the installed Python has cinderlib it takes part, and with `--before` the adapter
of that installation, one by one. The exit code is 1 when a target is missed; README.md tells what
was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Callable

import cinderlib  # the benchmark beside this one, which runs the library of that name
import guests
import installed
import timing
from timing import compared, verdict

from ovirt_demo import database, engine, simulator

HOST = 1  # client id of the one host
TAG_VM = "cvm"  # what the start hook gives to a VM's disks
SNAPSHOTS = ("VolumeSnapshot", "VolumesGroupSnapshot")
# Two of Engine's actions on one VM are further apart; StorPool tells times in whole seconds, by
# which the agent goes.
PAUSE_SECONDS = 3.0

# The targets (README.md tells why), judged with the most disks and so many milliseconds.
MOST_AGENT_SECONDS = 1.0
MOST_OF_ONE_BY_ONE = 0.5
JUDGED_MILLISECONDS = 5

ONE_BY_ONE, GROUP, AGENT = "one by one", "group", "group, agent"
BEFORE = f"{ONE_BY_ONE}, before"


@dataclass(frozen=True)
class Case:
    """A VM with so many disks, and how long the network to StorPool's API takes."""

    disks: int
    milliseconds: int


@dataclass(frozen=True)
class Measured:
    """One snapshot of a VM.

    `apart` is the time from its first disk's snapshot to its last one's, `frozen` that of its
    guest. `is_moment`: one call made all of them.
    """

    apart_seconds: float
    frozen_seconds: float
    calls: int
    is_moment: bool


@dataclass(frozen=True)
class Vm:
    """A VM that runs: its id, and those of its disks."""

    uuid: str
    disks: Sequence[str]


@dataclass(frozen=True)
class Way:
    """One way to have the disks snapshotted: the program for one of them, and the VMs by their
    number of disks. `guests` are looked after by the agent."""

    name: str
    snapshot: Callable[[str, str], object]
    vms: dict[int, Vm]
    guests: guests.Guests | None = None


Results = dict[tuple[Case, str], list[Measured]]


def main() -> int:
    """Measure, print the table and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=3, help="how often each runs (default: %(default)s)"
    )
    parser.add_argument(
        "--disks", type=int, nargs="+", default=[1, 8, 32], help="of the VMs (default: %(default)s)"
    )
    parser.add_argument(
        "--latency",
        type=int,
        nargs="+",
        default=[0, 5, 20],
        help="of each API call, in milliseconds (default: %(default)s)",
    )
    installed.add_options(parser)
    options = parser.parse_args()
    cases = [Case(disks, late) for disks in options.disks for late in options.latency]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user where we are root
        server = stack.enter_context(database.running(Path(folder)))
        cluster = stack.enter_context(
            simulator.running(
                Path(folder) / "cluster", {HOST: Path(folder) / "host"}, devices="file"
            )
        )
        print("disks ...", file=sys.stderr)
        looked_after = guests.Guests(Path(folder) / "guests", cluster.hosts[HOST])
        yard = Yard(Path(folder), server, cluster, options.disks)
        now = installed.this(options.start, Path(folder) / "programs")
        ways = [*yard.adapter(now.find("storpool-adapter"), looked_after)]
        if options.before:
            other = installed.of(options.before, options.start, Path(folder) / "programs-before")
            ways.append(yard.before(other.find("storpool-adapter")))
        ways += yard.stock()
        stack.enter_context(looked_after.looked_after())
        results: Results = {(case, way.name): [] for case in cases for way in ways}
        for number in range(options.runs):
            print(f"round {number + 1} of {options.runs} ...", file=sys.stderr)
            turn = number % len(ways)
            for case in cases:
                for way in ways[turn:] + ways[:turn]:
                    results[case, way.name].append(measured(cluster, way, case))
    return report(results, cases, [way.name for way in ways])


@dataclass(frozen=True)
class Yard:
    """One cluster and one server, and how many disks the VMs have that each way gets."""

    folder: Path
    server: database.Database
    cluster: simulator.Simulator
    sizes: Sequence[int]

    def adapter(self, program: Path, looked_after: guests.Guests) -> Iterator[Way]:
        """Yield the adapter's ways: two Engines with one mapping, which differ in one option."""
        base = self.server.fresh("benchmark_freeze")
        one, group = (self._engine(program, base, value) for value in ("false", "true"))
        vms = self._vms(one)
        for vm in vms.values():
            looked_after.add(vm.uuid, self._start(vm, "ovirt--"))
        yield Way(ONE_BY_ONE, process(one), vms)
        yield Way(GROUP, process(group), vms)
        yield Way(AGENT, process(group), vms, looked_after)

    def before(self, program: Path) -> Way:
        """Return another adapter's way, one by one, with a mapping and VMs of its own."""
        base = self.server.fresh("benchmark_freeze_before")
        caller = self._engine(program, base, "false")
        vms = self._vms(caller)
        for vm in vms.values():
            self._start(vm, "ovirt--")
        return Way(BEFORE, process(caller), vms)

    def stock(self) -> list[Way]:
        """Return cinderlib with the upstream driver, or with ours where that one cannot be had;
        nothing where there is no cinderlib."""
        try:
            name = f"cinderlib {metadata.version('cinderlib')}"
        except metadata.PackageNotFoundError:
            print("cinderlib is not installed here, and left out", file=sys.stderr)
            return []
        *_, way = cinderlib.ways(self.server, self.cluster)
        vms = {size: Vm(str(uuid.uuid4()), _new_disks(size)) for size in self.sizes}
        for vm in vms.values():
            for disk in vm.disks:
                way.run("create_volume", [disk, "1"])
            self._start(vm, "os--volume-")
        return [Way(name, lambda disk, _action: way.run("create_snapshot", [disk]), vms)]

    def _engine(self, program: Path, base: database.Database, group: str) -> engine.Engine:
        options = {**self.cluster.driver_options(), "sp_group_snapshot": group}
        folder = self.folder / f"{base.name}-{group}"
        return installed.with_known(engine.Engine(folder, program, options, base.url))

    def _vms(self, caller: engine.Engine) -> dict[int, Vm]:
        vms = {size: Vm(str(uuid.uuid4()), _new_disks(size)) for size in self.sizes}
        for disk in (disk for vm in vms.values() for disk in vm.disks):
            _verb(caller, "create_volume", disk, "1", correlation_id="benchmark")
            # As Engine does it for a plug: from now on a host may have it.
            _verb(caller, "connect_volume", disk, "{}", correlation_id="benchmark")
        return vms

    def _start(self, vm: Vm, prefix: str) -> list[str]:
        """Have the disks of a VM as they are when it runs, attached to its host and tagged; return
        their paths there."""
        names = [prefix + disk for disk in vm.disks]
        items = [{"volume": name, "rw": [HOST]} for name in names]
        self.cluster.api("VolumesReassignWait", {"reassign": items})
        for name in names:
            self.cluster.api(f"VolumeUpdate/{name}", {"tags": {TAG_VM: vm.uuid}})
        ids = {each["name"]: each["globalId"] for each in self.cluster.api("VolumesList")}
        return [f"/dev/storpool-byid/{ids[name]}" for name in names]


def process(caller: engine.Engine) -> Callable[[str, str], object]:
    """Return how Engine has one disk snapshotted within an action."""
    return lambda disk, action: _verb(caller, "create_snapshot", disk, correlation_id=action)


def _verb(caller: engine.Engine, name: str, *arguments: str, correlation_id: str) -> None:
    argv = caller.argv(name, *arguments, correlation_id=correlation_id)
    timing.run(argv, caller.environment, caller.programs)


def _new_disks(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def measured(cluster: simulator.Simulator, way: Way, case: Case) -> Measured:
    """Have a VM snapshotted as Engine does it, and tell what that cost its guest."""
    vm, action = way.vms[case.disks], str(uuid.uuid4())
    cluster.set_switches(latency=str(case.milliseconds))
    if way.guests is not None:
        time.sleep(PAUSE_SECONDS)
    cluster.clear_calls()
    began = time.monotonic()
    if way.guests is not None:
        way.guests.freeze(vm.uuid)
    for disk in vm.disks:
        way.snapshot(disk, action)
    ended = time.monotonic() if way.guests is None else way.guests.until_thawed(vm.uuid)
    cluster.set_switches(latency="0")
    calls = cluster.calls()
    made = [call for call in calls if call["query"] in SNAPSHOTS]
    counts = [len(call["body"].get("volumes", "1")) for call in made]
    assert sum(counts) == case.disks, f"{sum(counts)} snapshots of {case.disks} disks"
    at = [call["at"] for call in made]
    return Measured(max(at) - min(at), ended - began, len(calls), counts == [case.disks])


def report(results: Results, cases: Sequence[Case], ways: Sequence[str]) -> int:
    """Print the table, and for each target whether it is met; return the exit code.

    Times are medians, `/ one by one` is the median of the ratios of snapshots that stood side by
    side: to the adapter of before, where that one takes part.
    """
    compared_with = _one_by_one(ways)
    print(
        f"{'disks':>5} {'latency':>8}  {'way':18} {'first to last':>13} {'frozen':>9}"
        f" {'/ ' + compared_with:>25} {'API calls':>10}"
    )
    for case in cases:
        for way in ways:
            found = results[case, way]
            ratio, error = compared(_frozen(found), _frozen(results[case, compared_with]))
            print(
                f"{case.disks:5} {case.milliseconds:5} ms  {way:18}"
                f" {statistics.median(each.apart_seconds for each in found) * 1000:10.0f} ms"
                f" {statistics.median(_frozen(found)) * 1000:6.0f} ms {ratio:18.2f} +-{error:4.2f}"
                f" {max(each.calls for each in found):10}"
            )
    print()
    return judged(results, cases, compared_with)


def _one_by_one(ways: Sequence[str]) -> str:
    return BEFORE if BEFORE in ways else ONE_BY_ONE


def judged(results: Results, cases: Sequence[Case], compared_with: str) -> int:
    """Print whether each target is met; return the exit code."""
    apart = [
        f"{case.disks} disks, {case.milliseconds} ms"
        for (case, way), found in results.items()
        for each in found
        if way in (GROUP, AGENT) and not (each.is_moment and each.apart_seconds == 0)
    ]
    case = max(cases, key=lambda one: (one.milliseconds == JUDGED_MILLISECONDS, one.disks))
    where = f"with {case.disks} disks at {case.milliseconds} ms"
    seconds = statistics.median(_frozen(results[case, AGENT]))
    slow = [f"{seconds:.2f} s"] * (seconds >= MOST_AGENT_SECONDS)
    ratio, _ = compared(_frozen(results[case, GROUP]), _frozen(results[case, compared_with]))
    held = [f"{ratio:.2f}"] * (ratio >= MOST_OF_ONE_BY_ONE)
    verdict("all snapshots of a group are of one moment (T78)", apart)
    verdict(
        f"{where} a guest is frozen less than {MOST_AGENT_SECONDS:g} s by the agent (T89)", slow
    )
    verdict(
        f"{where} less than {MOST_OF_ONE_BY_ONE:g} of the time of {compared_with} without it", held
    )
    return int(bool(apart or slow or held))


def _frozen(found: Sequence[Measured]) -> list[float]:
    return [each.frozen_seconds for each in found]


if __name__ == "__main__":
    sys.exit(main())
