"""How long each verb takes as a whole process, beside two floors, and how many calls and round
trips it costs.

    python benchmarks/verbs.py [--runs 20] [--volumes 20000] [--before FOLDER]

Two clusters and two mapping databases run side by side, one with 10 volumes, one with many. Each
round runs every verb once against both and, right beside it, the floors (floors.py): a Python that
imports what an adapter usually does, opens one database connection and makes one HTTP request to
the same simulator; and a bare one that does the exchange of that verb by hand. So whatever slows
the machine slows all of them. The adapter is started as packages start it; in a third cluster, with
10 volumes, as pip has it started. With `--before` the adapter in that folder, started as packages
would, runs in a cluster and a database of its own, in the same rounds. The exit code is 1 when a
target is missed. README.md tells what was measured, and where.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import floors
import installed
import timing
from timing import Taken, verdict

import storpool_simulator as embedded
from ovirt_demo import children, database, engine, simulator, vdsm
from storpool_simulator.model import requests, volumes

FEW = 10
GIB = 1 << 30
HOST = 1  # client id of the one host

# No verb may take longer than this many old floors, one that changes nothing than so many; nor may
# one differ between the clusters by more than this part of its time.
MOST_FLOORS = 0.80
MOST_FLOORS_OF_NOTHING = 0.25
MOST_GROWTH = 0.10

AT_ONCE = "at once"  # by a domain without a trash


@dataclass(frozen=True)
class Target:
    """One verb in one situation: the arguments (by what they stand for), and how many API calls and
    round trips to the database it may make."""

    name: str
    verb: str
    arguments: tuple[str, ...]
    most_calls: int
    most_trips: int

    @property
    def most_floors(self) -> float:
        """How many old floors it may take."""
        return MOST_FLOORS if self.most_trips else MOST_FLOORS_OF_NOTHING


# In the order of one disk's life; the words stand for the ids of that round. Every verb runs where
# it has work to do.
TARGETS = (
    Target("create_volume", "create_volume", ("disk", "1"), 1, 4),
    Target("storage_stats", "storage_stats", ("true",), 2, 2),
    Target("extend_volume", "extend_volume", ("disk", "2"), 3, 5),
    Target("connect_volume", "connect_volume", ("disk", "{}"), 1, 2),
    Target("get_connection_info", "get_connection_info", ("disk",), 2, 1),
    Target("save_device", "save_device", ("disk", "{}"), 0, 0),
    Target("create_snapshot", "create_snapshot", ("disk",), 3, 4),
    Target("extend_volume, attached", "extend_volume", ("disk", "3"), 4, 4),
    Target("clone_volume", "clone_volume", ("disk", "clone"), 3, 4),
    Target(
        "create_volume_from_snapshot",
        "create_volume_from_snapshot",
        ("disk", "create_snapshot"),
        4,
        4,
    ),
    Target("remove_snapshot", "remove_snapshot", ("create_snapshot", "disk"), 3, 4),
    Target("disconnect_volume", "disconnect_volume", ("disk",), 0, 0),
    Target("delete_volume", "delete_volume", ("clone",), 6, 5),
    Target("delete_volume, at once", "delete_volume", ("second",), 3, 5),
)


@dataclass
class Side:
    """One cluster with one Engine, and what its verbs took by target."""

    name: str
    cluster: simulator.Simulator
    caller: engine.Engine
    at_once: engine.Engine
    base: database.Database
    took: dict[str, list[Taken]] = field(
        default_factory=lambda: {target.name: [] for target in TARGETS}
    )
    calls: dict[str, int] = field(default_factory=dict)
    trips: dict[str, int] = field(default_factory=dict)

    def round(self) -> dict[str, str]:
        """Return what the words stand for in a new round: ids of objects that are not there yet."""
        return {word: str(uuid.uuid4()) for word in ("disk", "clone", "second")}

    def run(self, target: Target, ids: dict[str, str]) -> None:
        """Run one verb, with its time, its calls and its round trips."""
        arguments = [ids.get(word, word) for word in target.arguments]
        correlation_id = str(uuid.uuid4())
        self.cluster.clear_calls()
        caller = self.at_once if target.name.endswith(AT_ONCE) else self.caller
        answer, taken = self.verb(
            target.verb, *arguments, correlation_id=correlation_id, caller=caller
        )
        self.took[target.name].append(taken)
        self.calls[target.name] = max(len(self.cluster.calls()), self.calls.get(target.name, 0))
        self.trips[target.name] = max(self._trips(correlation_id), self.trips.get(target.name, 0))
        if target.verb in ("create_snapshot", "connect_volume"):
            ids[target.verb] = answer.partition(":")[2]

    def verb(
        self,
        name: str,
        *arguments: str,
        correlation_id: str,
        caller: engine.Engine | None = None,
    ) -> tuple[str, Taken]:
        """Run one verb as Engine does; `caller` is for another domain than the one of all."""
        caller = caller or self.caller
        argv = caller.argv(name, *arguments, correlation_id=correlation_id)
        return timing.run(argv, caller.environment, caller.programs)

    def clone(self, ids: dict[str, str]) -> None:
        """Clone the disk once more, for the verb that deletes a clone at once."""
        self.verb("clone_volume", ids["disk"], ids["second"], correlation_id="clone")

    def attach(self, ids: dict[str, str]) -> None:
        """Attach the disk on the host, for the verb that waits for hosts."""
        host = vdsm.Host(self.cluster.hosts[HOST], children.find("managedvolume-helper-storpool"))
        host.attach(json.loads(ids["connect_volume"]))

    def clean(self, ids: dict[str, str]) -> None:
        """Delete what the round has made, so that clusters keep their sizes: all but what one verb
        of it has put into the trash."""
        self.verb("delete_volume", ids["disk"], correlation_id="clean", caller=self.at_once)

    def _trips(self, correlation_id: str) -> int:
        log = self.caller.log_folder / "managedblock" / "storpool-adapter.log"
        for line in reversed(log.read_text(encoding="utf-8").splitlines() if log.exists() else []):
            if f" {correlation_id} verb_done " in line:
                return int(dict(word.split("=", 1) for word in line.split() if "=" in word)["sql"])
        return 0  # a verb that needs neither the cluster nor the database has no line


@dataclass
class Floors:
    """What both floors took beside each target."""

    old: dict[str, list[Taken]] = field(
        default_factory=lambda: {target.name: [] for target in TARGETS}
    )
    true: dict[str, list[Taken]] = field(
        default_factory=lambda: {target.name: [] for target in TARGETS}
    )

    def run(self, target: Target, side: Side) -> None:
        """Run both, the true one for what the verb has made of calls and round trips there."""
        calls = side.calls.get(target.name, target.most_calls)
        trips = side.trips.get(target.name, target.most_trips)
        environment = side.caller.environment
        old = floors.old(side.cluster, side.base)
        true = floors.true(side.cluster, calls, side.base, trips)
        self.old[target.name].append(timing.run(old, environment)[1])
        self.true[target.name].append(timing.run(true, environment)[1])


def main() -> int:
    """Measure, print the table and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=20, help="how often each verb runs (default: %(default)s)"
    )
    parser.add_argument(
        "--volumes", type=int, default=20_000, help="in the large cluster (default: %(default)s)"
    )
    installed.add_before(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        server = stack.enter_context(database.running(folder))
        now = installed.this(installed.PACKAGE, folder / "now")
        wanted = [
            ("few", FEW, now),
            ("many", options.volumes, now),
            ("pip", FEW, installed.this(installed.PIP, folder)),
        ]
        if options.before:
            other = installed.of(options.before, installed.PACKAGE, folder / "other")
            wanted.append(("before", FEW, other))
        sides = [
            stack.enter_context(side(folder / each, server, count, found.find("storpool-adapter")))
            for each, count, found in wanted
        ]
        beside = measure(sides, options.runs)
    return report(sides, beside, options.volumes)


@contextlib.contextmanager
def side(folder: Path, server: database.Database, count: int, adapter: Path) -> Iterator[Side]:
    """Start a cluster with that many volumes and as many rows, and an Engine for it."""
    print(f"a cluster with {count} volumes ...", file=sys.stderr)
    folder.mkdir()
    base = server.fresh(f"benchmark_{folder.name}")
    ids = fill_cluster(folder / "cluster" / "state", count)
    with simulator.running(folder / "cluster", {HOST: folder / "host"}, devices="file") as cluster:
        options = cluster.driver_options()
        without = {**options, "sp_delete_delay": "0"}
        caller, at_once = (  # whose first question makes the tables
            installed.with_known(engine.Engine(folder / "engine", adapter, each, base.url))
            for each in (options, without)
        )
        made = Side(folder.name, cluster, caller, at_once, base)
        # Makes where barriers are kept
        made.verb("delete_volume", str(uuid.uuid4()), correlation_id="second")
        fill_database(base, ids)
        yield made


def fill_cluster(state: Path, count: int) -> dict[str, str]:
    """Make volumes as the adapter names them, without HTTP; return their global ids by disk id."""
    made = {}
    with embedded.running(state, templates={simulator.TEMPLATE: None}) as running:
        for disk in (str(uuid.uuid4()) for _ in range(count)):
            tags = {"virt": "ovirt", "ovirt-uuid": disk, "ovirt-loc": "00000000"}
            wanted = requests.VolumeCreate(
                f"ovirt--{disk}", GIB, simulator.TEMPLATE, None, None, requests.Policy(), tags
            )
            made[disk] = volumes.create(running.cluster, wanted)[0].global_id
    return made


def fill_database(base: database.Database, ids: dict[str, str]) -> None:
    """Write a row for each of these volumes."""
    statement = (
        "INSERT INTO storpool_ovirt.node (uuid, kind, root, size_bytes, state, global_id, active,"
        " correlation_id) SELECT disk, 'volume', disk, %s, 'live', global_id, disk, 'fill' FROM"
        " unnest(%s::uuid[], %s::text[]) AS pairs (disk, global_id)"
    )
    with contextlib.closing(base.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (GIB, list(ids), list(ids.values())))
        cursor.execute("VACUUM ANALYZE storpool_ovirt.node")


def measure(sides: list[Side], runs: int) -> Floors:
    """Run all verbs in all clusters as often as asked, each beside the floors; return these."""
    beside = Floors()
    few = sides[0]
    for number in range(runs):
        print(f"round {number + 1} of {runs} ...", file=sys.stderr)
        turn = number % len(sides)
        order = [(each, each.round()) for each in sides[turn:] + sides[:turn]]
        for target in TARGETS:
            for each, ids in order:
                if target.name.endswith("attached"):
                    each.attach(ids)
                elif target.name.endswith(AT_ONCE):
                    each.clone(ids)
            beside.run(target, few)
            for each, ids in order:
                each.run(target, ids)
        for each, ids in order:
            each.clean(ids)
    return beside


def report(sides: list[Side], beside: Floors, volumes_count: int) -> int:
    """Print the table, and for each target whether it is met; return the exit code.

    Ratios are medians of the ratios of runs that stood side by side, so that a machine that gets
    slow and fast again does not count; `+-` is the standard error of that median.
    """
    few, many, pip, *before = sides
    print(
        f"{'verb':27} {'floor':>7} {'verb':>7} {'cpu':>7} {'/ floor':>12} {'true floor':>10}"
        f" {'/ true':>12} {'many':>7} {'/ few':>14} {'by pip':>7}"
        f"{' before / before' if before else ''} {'API':>4} {'SQL':>4}"
    )
    for target in TARGETS:
        name = target.name
        old, true, own = beside.old[name], beside.true[name], few.took[name]
        growth, growth_error = timing.ratio(many.took[name], own)
        cells = [
            f"{name:27} {timing.middle(old):4.0f} ms {timing.middle(own):4.0f} ms",
            f" {timing.cpu(own):4.0f} ms {_cell(own, old)}",
            f" {timing.middle(true):7.0f} ms {_cell(own, true)}",
            f" {timing.middle(many.took[name]):4.0f} ms {growth - 1:+6.1%} +-{growth_error:4.1%}",
            f" {timing.middle(pip.took[name]):4.0f} ms",
        ]
        for each in before:
            part = timing.ratio(own, each.took[name])[0]
            cells.append(f" {timing.middle(each.took[name]):4.0f} ms {part:8.2f}")
        print(f"{''.join(cells)} {_most(sides, name)[0]:4} {few.trips[name]:4}")
    print()
    return judged(few, many, beside, volumes_count)


def judged(few: Side, many: Side, beside: Floors, volumes_count: int) -> int:
    """Print whether each target is met; return the exit code."""
    slow: dict[float, list[str]] = {MOST_FLOORS: [], MOST_FLOORS_OF_NOTHING: []}
    growing, calling, asking = [], [], []
    for target in TARGETS:
        name = target.name
        ratio, _ = timing.ratio(few.took[name], beside.old[name])
        growth, _ = timing.ratio(many.took[name], few.took[name])
        calls, trips = _most([few, many], name)
        slow[target.most_floors] += [f"{name} takes {ratio:.2f}"] * (ratio > target.most_floors)
        growing += [f"{name} takes {growth - 1:+.1%}"] * (growth > 1 + MOST_GROWTH)
        calling += [f"{name} makes {calls} in place of {target.most_calls}"] * (
            calls > target.most_calls
        )
        asking += [f"{name} makes {trips} in place of {target.most_trips}"] * (
            trips > target.most_trips
        )
    missed = [
        verdict(f"no verb above {MOST_FLOORS} floors", slow[MOST_FLOORS]),
        verdict(
            f"no verb that changes nothing above {MOST_FLOORS_OF_NOTHING} floors",
            slow[MOST_FLOORS_OF_NOTHING],
        ),
        verdict("no verb with more API calls than planned", calling),
        verdict("no verb with more round trips than planned", asking),
        verdict(
            f"with {volumes_count} volumes each verb within {MOST_GROWTH:.0%} of its time with"
            f" {FEW}",
            growing,
        ),
    ]
    return int(any(missed))


def _cell(times: list[Taken], others: list[Taken]) -> str:
    ratio, error = timing.ratio(times, others)
    return f"{ratio:5.2f} +-{error:4.2f}"


def _most(sides: list[Side], name: str) -> tuple[int, int]:
    """Return the most calls and round trips that a target has made in the clusters of now."""
    now = sides[:2]
    return max(each.calls[name] for each in now), max(each.trips[name] for each in now)


if __name__ == "__main__":
    sys.exit(main())
