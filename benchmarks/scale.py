"""What 1,000 to 300,000 volumes and snapshots cost: each verb, the administrator's commands, and 32
verbs at once.

    pip install '.[demo]'          # not --editable: its import hook would be measured too
    python benchmarks/scale.py     # some ten minutes; --objects and --runs make it shorter

For each size there are a cluster and a mapping database, filled beforehand: a third of the objects
are disks, each with two snapshots and attached on a host. Verbs run in the smallest and in this one
by turns, so a machine that is busy now and idle then does not count. Of verbs and commands their
processor time counts, of commands their own peak of memory too. With `--before` (the folder of
another installation's programs, or its Python) as many verbs at once run there and here by turns.
The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import installed

from ovirt_demo import children, database, engine, simulator
from storpool_simulator.model import population

SIZES = (1_000, 10_000, 100_000, 300_000)
GIB, MB = 1 << 30, 1_000_000
LOCATION = "5ca1e000"
PER_HOST = 40  # disks of one host
COLUMNS = (
    "uuid, kind, root, source, size_bytes, state, global_id, active, correlation_id, visible_id"
)
# Targets.
MOST_GROWTH = 0.10
MOST_EXPONENT = 1.1
MOST_MB = 400
LEAST_TIMES = 2.3
JUDGED = ("audit", "snapshots", "space", "rebuild", "fence-host")


@dataclass(frozen=True)
class Cost:
    """What one run of a program took; `mb` is its own peak."""

    seconds: float
    cpu_seconds: float
    mb: float


@dataclass(frozen=True)
class Site:
    """A cluster of one size, with an Engine and an administrator."""

    size: int
    folder: Path
    cluster: simulator.Simulator
    caller: engine.Engine
    base: database.Database

    @property
    def hosts(self) -> int:
        """How many hosts have disks."""
        return math.ceil(self.size // 3 / PER_HOST)

    def command(self, verb: str, *arguments: str, code: int = 0) -> Cost:
        """Run a command of the administrator's, which has to end so."""
        where = ["--options", str(self.folder / "options.json")]
        where += ["--database", self.base.url] * (verb != "fence-host")
        program = str(children.find("storpool-ovirt"))
        environment = {**self.caller.environment, "STORPOOL_OVIRT_ROOT": str(self.folder)}
        return run([program, verb, *where, *arguments], environment, code)

    def verb(self, verb: str, *arguments: str) -> str:
        """Run a verb as Engine does, and return its answer."""
        return self.caller.run(verb, *arguments).require().answer or ""

    def sql(self, statement: str) -> Any:
        """Run a statement in the mapping database; return the first value of what it gives."""
        with contextlib.closing(self.base.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None


def main() -> int:
    """Measure, print, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, nargs="+", default=SIZES)
    parser.add_argument("--runs", type=int, default=3, help="of each command (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="of the verbs (%(default)s)")
    parser.add_argument("--before", type=Path, help="another installation: its programs' folder")
    parser.add_argument("--at-once", type=int, default=32, help="verbs (%(default)s)")
    parser.add_argument("--lives", type=int, default=2, help="of a disk, each (%(default)s)")
    parser.add_argument("--plant", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plant is not None:
        return plant(options.plant, options.objects[0])
    sizes = sorted(options.objects)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        server = stack.enter_context(database.running(folder))
        least = stack.enter_context(site(folder, server, sizes[0]))
        costs = {sizes[0]: commands(least, options.runs)}
        growth = {}
        for size in sizes[1:]:
            with site(folder, server, size) as there:
                growth[size] = verbs(least, there, options.rounds)
                costs[size] = commands(there, options.runs)
        missed = told_verbs(growth, sizes[0]) + told_commands(costs)
        if options.before:
            missed += crowds(least, server, options)
    return int(missed > 0)


@contextlib.contextmanager
def site(folder: Path, server: database.Database, size: int) -> Iterator[Site]:
    """Give a cluster with so many objects, all of which are this Engine's."""
    print(f"a cluster with {size:,} objects ...", file=sys.stderr)
    place = folder / f"of-{size}"
    place.mkdir()
    state = place / "cluster" / "state"
    state.parent.mkdir()
    # A process of its own: what it takes would be counted for its parent's children.
    argv = [sys.executable, __file__, "--plant", str(state), "--objects", str(size)]
    subprocess.run(argv, check=True)
    base = server.fresh(f"scale_{size}")
    with simulator.running(place / "cluster", {}, devices="file") as cluster:
        options = {**cluster.driver_options(), "sp_delete_delay": "0"}
        (place / "options.json").write_text(json.dumps(options))
        program = children.find("storpool-adapter")
        made = Site(
            size, place, cluster, engine.Engine(place / "engine", program, options, base.url), base
        )
        made.verb("storage_stats", "true")  # makes the tables
        made.sql(f"UPDATE storpool_ovirt.meta SET location = '{LOCATION}'")
        fill(base, state.parent / "rows.tsv")
        made.verb("delete_volume", str(uuid.uuid4()))  # makes where barriers are kept
        for host in range(1, made.hosts + 1):
            cluster.set_client(host, status="running")
        yield made
    base.drop()


def plant(state: Path, size: int) -> int:
    """Write the state of a cluster, and the rows of its objects into a file beside it."""
    rows = state.parent / "rows.tsv"
    templates = {simulator.TEMPLATE: None}
    with rows.open("w") as out, population.planted(state, templates=templates) as planted:
        for number in range(size // 3):
            disk, *snapshots = (str(uuid.uuid4()) for _ in range(3))
            made = planted.disk(
                f"ovirt--{disk}",
                GIB,
                simulator.TEMPLATE,
                snapshots=[f"ovirt--{each}" for each in snapshots],
                tags=tags(disk, disk),
                snapshot_tags=[tags(each, disk) for each in snapshots],
                created_at=1_700_000_000 + 7 * number,
            )
            planted.attach(made[0], 1 + number // PER_HOST)
            for each, there in zip((disk, *snapshots), made):
                is_disk = each == disk
                kind, source = ("volume", r"\N") if is_disk else ("snapshot", disk)
                active = disk if is_disk else r"\N"
                visible = there.number if is_disk else r"\N"
                request = uuid.uuid4()
                facts = (each, kind, disk, source, GIB, "live", there.global_id, active)
                out.write("\t".join(map(str, (*facts, request, visible))) + "\n")
    return 0


def tags(of: str, disk: str) -> dict[str, str]:
    """Return the tags of an object of this Engine's, as its adapter writes them."""
    own = {"virt": "ovirt", "ovirt-uuid": of, "ovirt-loc": LOCATION}
    return own if of == disk else {**own, "ovirt-root": disk}


def fill(base: database.Database, rows: Path) -> None:
    """Write the rows of all objects."""
    with (
        contextlib.closing(base.connect()) as connection,
        connection.cursor() as cursor,
        rows.open() as lines,
    ):
        copy = f"COPY storpool_ovirt.node ({COLUMNS}) FROM STDIN"
        cursor.copy_expert(copy, lines)
        cursor.execute("VACUUM ANALYZE storpool_ovirt.node")


def run(argv: Sequence[str], environment: dict[str, str], code: int = 0) -> Cost:
    """Run a program to its end, and return what it took."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            said.seek(0)
            raise SystemExit(f"{argv[1]} ended with {process.returncode}: {said.read(2000)!r}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / MB)


def commands(there: Site, runs: int) -> dict[str, Cost]:
    """Run the administrator's commands, and return the median costs of each."""
    found: dict[str, list[Cost]] = {}
    a_disk = str(there.sql("SELECT uuid FROM storpool_ovirt.node WHERE kind = 'volume' LIMIT 1"))
    hosts = itertools.count(1)

    def fence() -> Cost:
        host = next(hosts)
        there.cluster.set_client(host, status="down")
        return there.command("fence-host", str(host))

    steps: dict[str, Callable[[], Cost]] = {
        "audit": lambda: there.command("audit"),
        "attachments": lambda: there.command("attachments"),
        "attachments --disk": lambda: there.command("attachments", "--disk", a_disk),
        "snapshots": lambda: there.command("snapshots"),
        "space": lambda: there.command("space"),
        "space --disk": lambda: there.command("space", "--disk", a_disk),
        "rebuild": lambda: rebuild(there),
        "fence-host": fence,
    }
    for name, step in steps.items():
        print(f"{name}, {there.size:,} objects ...", file=sys.stderr)
        most = min(runs, there.hosts) if name == "fence-host" else runs
        found[name] = [step() for _ in range(most)]
    return {name: middle(costs) for name, costs in found.items()}


def rebuild(there: Site) -> Cost:
    """Lose the mapping, and make it again."""
    there.sql("DROP SCHEMA storpool_ovirt CASCADE")
    told = ("--location", LOCATION, "--even-if-it-lives", LOCATION)
    cost = there.command("rebuild", *told)
    rows = there.sql("SELECT count(*) FROM storpool_ovirt.node")
    if rows < there.size // 3 * 3:
        raise SystemExit(f"rebuild wrote {rows} rows in place of {there.size // 3 * 3}")
    there.sql("ANALYZE storpool_ovirt.node")
    return cost


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the medians of time, and the most memory."""
    return Cost(
        statistics.median(each.seconds for each in costs),
        statistics.median(each.cpu_seconds for each in costs),
        max(each.mb for each in costs),
    )


def verbs(least: Site, there: Site, rounds: int) -> dict[str, float]:
    """Run a disk's life in both by turns; return how much longer each verb takes in the second
    one."""
    ratios: dict[str, list[float]] = {}
    print(f"verbs, {least.size:,} and {there.size:,} objects ...", file=sys.stderr)
    for number in range(rounds):
        both = [(each, Life(each)) for each in (least, there)]
        for step in Life.STEPS:
            taken = {
                each.size: life.step(step) for each, life in (both if number % 2 else both[::-1])
            }
            ratios.setdefault(step, []).append(taken[there.size] / taken[least.size])
    return {step: statistics.median(each) - 1 for step, each in ratios.items()}


class Life:
    """A disk from its making to its end, by verbs."""

    STEPS = (
        "create_volume",
        "connect_volume",
        "create_snapshot",
        "extend_volume",
        "remove_snapshot",
        "delete_volume",
    )

    def __init__(self, there: Site) -> None:
        self._there = there
        self._disk, self._snapshot = str(uuid.uuid4()), ""

    def step(self, verb: str) -> float:
        """Run one verb, and return its seconds of a processor, where no other one runs."""
        arguments = {
            "create_volume": (self._disk, "1"),
            "connect_volume": (self._disk, "{}"),
            "create_snapshot": (self._disk,),
            "extend_volume": (self._disk, "2"),
            "remove_snapshot": (self._snapshot, self._disk),
            "delete_volume": (self._disk,),
        }[verb]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = self._there.caller.run(verb, *arguments).require()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if verb == "create_snapshot":
            self._snapshot = done.answer or ""
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def told_verbs(growth: dict[int, dict[str, float]], least: int) -> int:
    """Print how much longer verbs take in larger clusters; return how many targets are missed."""
    if not growth:
        return 0
    print(f"{f'longer than with {least:,}':24}" + "".join(f"{size:>14,}" for size in growth))
    for step in Life.STEPS:
        print(f"{step:24}" + "".join(f"{each[step]:+14.1%}" for each in growth.values()))
    worst = max(each for size in growth.values() for each in size.values())
    print()
    sentence = f"each verb within {MOST_GROWTH:.0%} of its time there, the most {worst:+.1%}"
    return verdict(worst <= MOST_GROWTH, sentence)


def told_commands(costs: dict[int, dict[str, Cost]]) -> int:
    """Print what commands took; return how many targets are missed."""
    print(f"\n{'':20}" + "".join(f"{f'{size:,} objects':>24}" for size in costs) + "  exponent")
    exponents = {}
    for name in next(iter(costs.values())):
        each = [found[name] for found in costs.values()]
        exponents[name] = exponent([*costs], [cost.cpu_seconds for cost in each])
        cells = "".join(
            f"{cost.seconds:8.2f} {cost.cpu_seconds:6.2f} s {cost.mb:4.0f} MB" for cost in each
        )
        print(f"{name:20}{cells}{exponents[name]:10.2f}")
    print()
    most = max(found[name].mb for found in costs.values() for name in JUDGED)
    worst = max(exponents[name] for name in JUDGED)
    names = f"{', '.join(JUDGED[:-1])} and {JUDGED[-1]}"
    missed = verdict(most < MOST_MB, f"{names} take at most {most:.0f} MB, less than {MOST_MB}")
    told = f"{names} grow with an exponent of {worst:.2f} or less, at most {MOST_EXPONENT}"
    return missed + verdict(worst <= MOST_EXPONENT, told)


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Return the slope of the line that fits the logarithms best: 1 grows as the size does."""
    points = [(math.log(size), math.log(each)) for size, each in zip(sizes, times)]
    middles = [statistics.fmean(each) for each in zip(*points)]
    spread = sum((x - middles[0]) ** 2 for x, _ in points)
    return sum((x - middles[0]) * (y - middles[1]) for x, y in points) / spread if spread else 0.0


def crowds(there: Site, server: database.Database, options: argparse.Namespace) -> int:
    """Run many verbs at once here and in the other installation, by turns; return 1 where that
    brings too little."""
    programs = {"here": children.find("storpool-adapter"), "before": adapter(options.before)}
    sides = {name: beside(there, server, name, program) for name, program in programs.items()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    print(f"{options.at_once} verbs at once ...", file=sys.stderr)
    for side in sides.values():
        crowd(side, options.at_once, 1)  # loads what both read from the disk
    for number in range(options.runs):
        for name in sorted(sides, reverse=bool(number % 2)):
            rates[name].append(crowd(sides[name], options.at_once, options.lives))
    print(
        f"\n{options.at_once} verbs at once"
        + "".join(
            f"   {name}: {statistics.median(each):.1f} verbs/s" for name, each in rates.items()
        )
    )
    times = statistics.median(now / old for now, old in zip(rates["here"], rates["before"]))
    return verdict(times >= LEAST_TIMES, f"{times:.2f} times as many as before, {LEAST_TIMES}")


def adapter(given: Path) -> Path:
    """Return the adapter of an installation that is told by its programs' folder or its Python."""
    for folder in (given, given / "bin", given.parent):
        if (folder / "storpool-adapter").is_file():
            return (folder / "storpool-adapter").absolute()
    raise SystemExit(f"there is no storpool-adapter in {given}, nor beside it")


def beside(there: Site, server: database.Database, name: str, program: Path) -> Site:
    """Return another Engine for the same cluster, with an adapter of its own and a database."""
    base = server.fresh(f"crowd_{name}")
    folder = there.folder / f"engine-{name}"
    options = {**there.cluster.driver_options(), "sp_delete_delay": "0"}
    caller = installed.with_known(engine.Engine(folder, program, options, base.url))
    made = Site(there.size, there.folder, there.cluster, caller, base)
    made.verb("storage_stats", "true")
    return made


def crowd(there: Site, at_once: int, lives: int) -> float:
    """Live disks' lives, so many at once; return how many verbs a second there were."""

    def live() -> int:
        for _ in range(lives):
            life = Life(there)
            for step in Life.STEPS:
                life.step(step)
        return lives * len(Life.STEPS)

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        done = [pool.submit(live) for _ in range(at_once)]
        count = sum(each.result() for each in done)
    return count / (time.perf_counter() - began)


def verdict(met: bool, sentence: str) -> int:
    """Print whether a target is met; return 1 where it is missed."""
    print(f"{'met   ' if met else 'missed'}  {sentence}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
