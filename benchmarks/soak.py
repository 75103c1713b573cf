"""Whether anything grows: ten thousand verbs, two at a time, against one simulator and one
PostgreSQL.

    python benchmarks/soak.py [--verbs 10000] [--stretch 500] [--seed 20]

Disks live their lives again and again, each verb a process as Engine starts it; now and then one is
refused, and now and then one is killed half-way and repeated. A stretch ends when all its disks
are deleted, so whatever is left then is a leak. Each line tells one stretch; in the end the first
stands beside the last. The exit code is 1 when rows, objects, connections or descriptors grew,
when memory or time grew by more than a quarter, or when a verb did not do what it should. Time is
judged in floors (floors.py), so that a machine that gets slower does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import floors
import timing

from ovirt_demo import children, database, engine, simulator, vdsm

AT_ONCE = 2
HOST = 1  # client id of the one host
MOST_GROWTH = 1.25
MOST_TOLD = 20  # wrong outcomes that are printed
ATTACHED_LIVES = 4  # every so many lives the disk is attached on the host
KILLS = 0.04  # part of the verbs that are first started and killed
KILL_SECONDS = 0.05  # a verb lives about as long
ENDS = {signal.SIGKILL: " killed", 256: " refused"}  # by what the system tells of an end
SETTLE_SECONDS = (
    5.0  # for what ends a moment after the verb: backends of PostgreSQL, threads of the simulator
)
CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
Line = dict[str, float]
"""What is measured at the end of a stretch, by the names of the columns."""

# The kernel counts what a process had before its exec as its own memory, so programs are started by
# one that is small.
LAUNCHER = """
import json, os, select, subprocess, sys, time
for line in sys.stdin:
    kill_after, start = json.loads(line)
    began = time.perf_counter()
    process = subprocess.Popen(
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **start
    )
    if kill_after is not None and not select.select([process.stdout], [], [], kill_after)[0]:
        process.kill()
    answer = process.stdout.readline()
    try:
        descriptors = len(os.listdir("/proc/%d/fd" % process.pid))
    except OSError:
        descriptors = 0  # it was gone before we looked
    answer += process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = status
    for pipe in (process.stdin, process.stdout):
        pipe.close()
    print(json.dumps([answer.decode(), status, seconds, used.ru_maxrss, descriptors]), flush=True)
"""

# What a life tries in vain, one of these in each; the words stand for ids of that life.
REFUSED = (
    ("extend_volume", "unknown", "2"),
    ("create_volume", "disk", "3"),
    ("extend_volume", "disk", "1"),
    ("clone_volume", "unknown", "late"),
    ("connect_volume", "unknown", "{}"),
    ("remove_snapshot", "disk", "disk"),
    ("create_snapshot", "snapshot"),
)


@dataclass(frozen=True)
class Done:
    """One process that has ended."""

    output: str
    status: int
    seconds: float
    resident_kib: int
    descriptors: int


class Launcher:
    """The small program that starts the others, one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, argv: list[str], caller: engine.Engine, kill_after: float | None = None) -> Done:
        """Run a process as Engine does; killed when it has not answered after so many seconds."""
        start = {"args": argv, "env": caller.environment, "cwd": str(caller.programs)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([kill_after, start]), file=self._process.stdin, flush=True)
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@dataclass
class Soak:
    """Cluster, database and Engine, and what has been done in this stretch."""

    cluster: simulator.Simulator
    base: database.Database
    caller: engine.Engine
    seed: int
    lives: Iterator[int] = field(default_factory=itertools.count)
    ended: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    log_bytes: int = 0
    verbs: list[Done] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def stretch(self, launchers: list[Launcher], until: int) -> None:
        """Live lives until there were so many verbs in all."""
        self.verbs, self.floors, self.log_bytes = [], [], self._log_size()

        def work(launcher: Launcher) -> None:
            while len(self.ended) < until:
                Life(self, launcher, next(self.lives)).run()

        with ThreadPoolExecutor(len(launchers)) as pool:
            list(pool.map(work, launchers))

    def measure(self, lines: list[Line]) -> Line:
        """Print and return what there is now; what goes by itself a moment later is given time for
        that."""
        self.cluster.clear_calls()
        self.cluster.advance(10)  # what the cluster deletes in the background is gone
        opened = min((line["simulator_fds"] for line in lines), default=None)
        line = {**self._done(), **_left(self.base, self.cluster), **_size(self.cluster, opened)}
        if not lines:
            print(" ".join(f"{name:>10}" for name in line))
        print(
            " ".join(f"{_number(value):>{max(10, len(name))}}" for name, value in line.items()),
            flush=True,
        )
        return line

    def forgotten(self) -> list[str]:
        """Let the journal's memory of what was taken back grow old, run one verb, and return what
        is left of it."""
        with contextlib.closing(self.base.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE storpool_ovirt.operation SET until = until - interval '2 days'")
            disk = str(uuid.uuid4())
            self.caller.run("create_volume", disk, "1").require()
            self.caller.run("delete_volume", disk).require()
            cursor.execute("SELECT verb FROM storpool_ovirt.operation")
            return [verb for (verb,) in cursor.fetchall()]

    def _done(self) -> Line:
        return {
            "verbs": len(self.ended),
            "seconds": statistics.median([done.seconds for done in self.verbs] or [0]),
            "floors": statistics.median(self.floors or [0]),
            "adapter_kib": max((done.resident_kib for done in self.verbs), default=0),
            "adapter_fds": max((done.descriptors for done in self.verbs), default=0),
            "log_per_verb": (self._log_size() - self.log_bytes) / (len(self.verbs) or 1),
        }

    def _log_size(self) -> int:
        log = self.caller.log_folder / "managedblock" / "storpool-adapter.log"
        return log.stat().st_size if log.exists() else 0


class Life:
    """A disk's life: all verbs, with what goes wrong in it chosen by its number."""

    def __init__(self, soak: Soak, launcher: Launcher, number: int) -> None:
        self._soak = soak
        self._launcher = launcher
        self._number = number
        self._chance = random.Random(soak.seed * 1_000_003 + number)  # noqa: S311  # the same lives in each run
        self._ids = {
            word: str(uuid.uuid4()) for word in ("disk", "clone", "copy", "late", "unknown")
        }
        self._done: list[Done] = []

    def run(self) -> None:
        """Live it; whatever happens, everything is deleted in the end."""
        floors = [self._floor()]
        with self._told():
            self._grow_up()
            floors.append(self._floor())
            self._branch()
        for word in ("clone", "copy", "late", "disk"):
            with self._told():
                self._verb("delete_volume", word)
        self._soak.verbs += self._done
        self._soak.floors.append(
            statistics.median(done.seconds for done in self._done) / statistics.mean(floors)
        )

    def _grow_up(self) -> None:
        self._verb("create_volume", "disk", "1")
        self._verb("storage_stats", "true")
        info = json.loads(self._verb("connect_volume", "disk", "{}"))
        if self._number % ATTACHED_LIVES == 0:
            cluster = self._soak.cluster
            vdsm.Host(cluster.hosts[HOST], children.find("managedvolume-helper-storpool")).attach(
                info
            )
        self._verb("save_device", "disk", "{}")
        self._verb("extend_volume", "disk", "2")
        self._verb("get_connection_info", "disk")

    def _branch(self) -> None:
        self._ids["snapshot"] = self._verb("create_snapshot", "disk")
        self._ids["preview"] = self._verb("create_volume_from_snapshot", "disk", "snapshot")
        self._verb("connect_volume", "preview", "{}")
        self._verb("delete_volume", "preview")
        self._verb("clone_volume", "disk", "clone")
        self._verb("clone_volume", "snapshot", "copy")
        self._verb("create_snapshot", "disk")
        self._verb(*REFUSED[self._number % len(REFUSED)], refused=True)
        self._verb("remove_snapshot", "snapshot", "disk")
        self._verb("disconnect_volume", "disk")

    def _floor(self) -> float:
        """Return how long the least that any adapter must do takes now (floors.py)."""
        argv = floors.old(self._soak.cluster, self._soak.base)
        return self._launcher.run(argv, self._soak.caller).seconds

    def _verb(self, verb: str, *words: str, refused: bool = False) -> str:
        """Run a verb, sometimes one that is killed first, and return its answer."""
        arguments = [self._ids.get(word, word) for word in words]
        if self._chance.random() < KILLS:
            self._start(verb, arguments, self._chance.uniform(0, KILL_SECONDS))
        done, correlation_id = self._start(verb, arguments)
        self._done.append(done)
        head = "error:" if refused else f"{correlation_id}:"
        right = (
            (done.status == 0) != refused
            and done.output.startswith(head)
            and done.output.count("\n") == 1
        )
        assert right, (
            f"life {self._number}: {verb} {' '.join(words)} ended with {done.status}: {done.output}"
        )
        return done.output[len(head) : -1]

    def _start(
        self, verb: str, arguments: list[str], kill_after: float | None = None
    ) -> tuple[Done, str]:
        correlation_id = str(uuid.uuid4())
        argv = self._soak.caller.argv(verb, *arguments, correlation_id=correlation_id)
        done = self._launcher.run(argv, self._soak.caller, kill_after)
        self._soak.ended.append(f"{verb}{ENDS.get(done.status, '')}")
        return done, correlation_id

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (AssertionError, vdsm.VdsmError) as wrong:
            self._soak.wrong.append(str(wrong).strip())


def main() -> int:
    """Soak, print a line for each stretch and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--verbs", type=int, default=10_000, help="how many in all (default: %(default)s)"
    )
    parser.add_argument(
        "--stretch", type=int, default=500, help="verbs between two lines (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=20, help="chooses what is killed (default: %(default)s)"
    )
    options = parser.parse_args()
    with started(options.seed) as soak, contextlib.ExitStack() as stack:
        launchers = [stack.enter_context(contextlib.closing(Launcher())) for _ in range(AT_ONCE)]
        lines = [soak.measure([])]
        for until in (*range(options.stretch, options.verbs, options.stretch), options.verbs):
            soak.stretch(launchers, until)
            lines.append(soak.measure(lines))
        return report(lines, soak)


@contextlib.contextmanager
def started(seed: int) -> Iterator[Soak]:
    """Start a cluster with one host, a database and an Engine; the tables are made."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        base = stack.enter_context(database.running(folder)).fresh("soak")
        cluster = stack.enter_context(
            simulator.running(folder / "cluster", {HOST: folder / "host"})
        )
        # What would be in the trash at the end is as it has to be, and grows with each round
        options = {**cluster.driver_options(), "sp_delete_delay": "0"}
        adapter = children.find("storpool-adapter")
        caller = engine.Engine(folder / "engine", adapter, options, base.url)
        caller.run("storage_stats", "true").require()
        yield Soak(cluster, base, caller, seed)


def report(lines: list[Line], soak: Soak) -> int:
    """Print the first stretch beside the last, and for each target whether it is met; return the
    exit code."""
    begin, first, last = lines[0], lines[1], lines[-1]
    print(f"\n{'':18}{'first':>12}{'last':>12}{'ratio':>8}")
    for name in first:
        ratio = last[name] / first[name] if first[name] else 1.0
        print(f"{name:18}{_number(first[name]):>12}{_number(last[name]):>12}{ratio:8.2f}")
    print(
        "\n"
        + ", ".join(f"{verb} {count}" for verb, count in sorted(Counter(soak.ended).items()))
        + "\n"
    )
    kept = [
        name
        for name in last
        if name.startswith(("rows", "objects", "connections")) and last[name] > begin[name]
    ]
    opened = [name for name in last if name.endswith("_fds") and last[name] > first[name]]
    grown = [
        name
        for name in ("floors", "adapter_kib", "simulator_kib")
        if last[name] > MOST_GROWTH * first[name]
    ]
    timing.verdict("no row, object or connection is left", kept)
    forgotten = soak.forgotten()
    timing.verdict(
        "what a killed verb began and another took back is remembered for a day, and then"
        " forgotten",
        forgotten,
    )
    timing.verdict("no more descriptors than in the first stretch", opened)
    timing.verdict(
        f"time and memory within {MOST_GROWTH:g} times those of the first stretch", grown
    )
    timing.verdict("each verb ended as it should", soak.wrong[:MOST_TOLD])
    return int(bool(kept or forgotten or opened or grown or soak.wrong))


def _left(base: database.Database, cluster: simulator.Simulator) -> Line:
    """Count what the verbs have left: connections, rows and bytes of our tables, objects."""
    with contextlib.closing(base.connect()) as connection, connection.cursor() as cursor:

        def asked(statement: str) -> list[Any]:
            cursor.execute(statement)
            return [value for (value,) in cursor.fetchall()]

        tables = asked(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'storpool_ovirt' ORDER BY 1"
        )
        rows = {
            f"rows_{table}": asked(f"SELECT count(*) FROM storpool_ovirt.{table}")[0]
            for table in tables
        }
        undone = asked("SELECT count(*) FROM storpool_ovirt.operation WHERE state = 'undone'")[0]
        # What failed is kept for a day too, as the verbs after it have to know
        failed = asked("SELECT count(*) FROM storpool_ovirt.moment WHERE state = 'failed'")[0]
        rows["rows_moment"] -= failed
        rows["rows_operation"] -= undone
        sizes = [
            asked(f"SELECT pg_total_relation_size('storpool_ovirt.{table}')")[0] for table in tables
        ]
        return {
            "connections": _settled(lambda: asked(CONNECTIONS)[0], 0),
            "rows": sum(rows.values()),
            **rows,
            "undone": undone,
            "bytes": sum(sizes),
            "objects": sum(cluster.objects(being_deleted=True).values()),
        }


def _size(cluster: simulator.Simulator, opened: float | None) -> Line:
    """Tell what memory and descriptors the simulator has with its child, the data path; waits for
    `opened` of these."""
    tasks = Path(f"/proc/{cluster.pid}/task").glob("*/children")
    family = [cluster.pid, *(int(pid) for task in tasks for pid in task.read_text().split())]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in family)
    return {
        "simulator_kib": pages * os.sysconf("SC_PAGESIZE") // 1024,
        "simulator_fds": _settled(
            lambda: sum(len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in family), opened
        ),
    }


def _settled(read: Callable[[], int], before: float | None) -> int:
    """Read until it is as low as it was, for a while at most."""
    end = time.monotonic() + SETTLE_SECONDS
    value = read()
    while before is not None and value > before and time.monotonic() < end:
        value = read()
    return value


def _number(value: float) -> str:
    return f"{value:.3f}" if value % 1 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
