"""Where the time of a verb goes: drawn as bars, from what its processes tell of themselves.

    python benchmarks/where.py [--runs 20] [--before FOLDER] [--cinderlib PYTHON] [--draw FILE]

One verb, create_snapshot, of an adapter as packages start it, of the one in `--before`, of
cinderlib in the PYTHON that has it, and of the true floor (least.py), in turn against one
simulator and one PostgreSQL. `probe.py` is in each process: it tells how long Python took to start,
what was spent on imports by kind, how long the process waited for the database and for StorPool's
API, and when it ended; what is left is the work. The times are medians; how much the probe itself
costs is told.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import chart
import cinderlib
import floors
import installed
import probe
import timing
from chart import Bar, Part

from ovirt_demo import database, engine, simulator

HOST = 1  # client id of the one host
VERB = "create_snapshot"
CALLS, TRIPS = 3, 4  # of the verb, for the least that does as much (verbs.py)
START, WORK, END = "start", "work", "end"
PARTS = (
    Part(START, "start of Python", "#7f8c9b"),
    Part(probe.STANDARD, "imports: Python's own", "#5ab4e5"),
    Part(probe.HTTP, "imports: HTTP and StorPool's binding", "#e69f00"),
    Part(probe.DRIVER, "imports: database driver", "#009e73"),
    Part(probe.OURS, "imports: ours", "#cc79a7"),
    Part(probe.CINDER, "imports: Cinder and its libraries", "#d55e00"),
    Part(probe.DATABASE, "waiting for the database", "#3f7fd0"),
    Part(probe.API, "waiting for StorPool's API", "#d9c723"),
    Part(WORK, "work", "#8a63c4"),
    Part(END, "end of the process", "#a9b0b8"),
)
HERE = str(Path(__file__).parent)
# What a process begins with.
BEGIN = f"""\
import sys
sys.path[:0] = [{HERE!r}]
import probe
probe.watch()
del sys.path[0]
"""
# Where libpq waits itself, nobody sees for how long.
SEEN = """
import psycopg2.extras
psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
"""


@dataclass
class Way:
    """One way to run the verb: as it is, and with the probe; `told` has what each run said."""

    name: str
    plain: Callable[[], object]
    probed: Callable[[Mapping[str, str]], object]
    seconds: list[float] = field(default_factory=list)
    told: list[dict[str, float]] = field(default_factory=list)

    def run(self, folder: Path, cluster: simulator.Simulator) -> None:
        """Run it once each way."""
        began = time.monotonic()
        self.plain()
        self.seconds.append(time.monotonic() - began)
        file = folder / "told"
        environment = {
            probe.TELL.decode(): str(file),
            probe.API_PORT.decode(): str(cluster.port),
        }
        began = time.monotonic()
        self.probed(environment)
        ended = time.monotonic()
        pairs = (line.split() for line in file.read_text().splitlines())
        told = {kind: float(value) for kind, value in pairs}
        file.unlink()
        parts = {part.name: told.get(part.name, 0.0) for part in PARTS}
        parts[START], parts[END] = told["began"] - began, ended - told["told"]
        parts[WORK] = (
            told["ended"] - told["began"] - sum(parts.values()) + parts[START] + parts[END]
        )
        self.told.append(parts)

    def bar(self) -> Bar:
        """Return what it took, in milliseconds."""
        taken = {
            part.name: 1000 * statistics.median(told[part.name] for told in self.told)
            for part in PARTS
        }
        return Bar(self.name, taken)


def main() -> int:
    """Measure, print the parts, draw them; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=20, help="how often each way runs (default: %(default)s)"
    )
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="programs of another one")
    parser.add_argument("--cinderlib", metavar="PYTHON", help="a Python that has cinderlib")
    parser.add_argument(
        "--draw", type=Path, metavar="FILE", help="write the bars there (SVG)", default=None
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        server = stack.enter_context(database.running(folder))
        cluster = stack.enter_context(
            simulator.running(folder / "cluster", {HOST: folder / "host"}, devices="file")
        )
        yard = Yard(folder, server, cluster)
        ways = list(yard.ways(options.before, options.cinderlib))
        for number in range(-1, options.runs):
            print(f"round {number + 1} of {options.runs} ...", file=sys.stderr)
            for way in ways if number % 2 else reversed(ways):
                way.run(folder, cluster)
                if number < 0:  # what is made once, compiled code above all
                    way.told.clear()
                    way.seconds.clear()
    bars = [way.bar() for way in ways]
    tell(bars, ways)
    if options.draw:
        title = f"Where the time of {VERB} goes"
        note = f"milliseconds of the wall clock, medians of {options.runs} runs"
        options.draw.write_text(chart.drawn(title, note, PARTS, bars))
    return 0


class Yard:
    """One cluster and one server, for all ways."""

    def __init__(
        self, folder: Path, server: database.Database, cluster: simulator.Simulator
    ) -> None:
        self._folder, self._server, self._cluster = folder, server, cluster

    def ways(self, before: Path | None, python: str | None) -> Iterator[Way]:
        """Yield all that can be had: the slowest first."""
        if python:
            yield self._cinderlib(python)
        now = self._folder / "programs-now"
        if before:
            programs = self._folder / "programs-before"
            yield self._adapter("before", installed.of(before, installed.PACKAGE, programs))
        yield self._adapter("now", installed.this(installed.PACKAGE, now))
        yield self._least()

    def _adapter(self, name: str, programs: installed.Installation) -> Way:
        base = self._server.fresh(f"where_{name}")
        adapter = programs.find("storpool-adapter")
        options = self._cluster.driver_options()
        folder = self._folder / f"engine-{name}"
        plain = installed.with_known(engine.Engine(folder, adapter, options, base.url))
        first, _, rest = programs.texts[adapter.name].partition("\n")
        launcher = adapter.with_name("storpool-adapter-probed")
        installed.write(launcher, f"{first}\n{BEGIN}{rest}")
        disk = str(uuid.uuid4())
        argv = plain.argv("create_volume", disk, "1", correlation_id="first")
        timing.run(argv, plain.environment, plain.programs)

        def run(environment: Mapping[str, str] | None = None) -> object:
            argv = plain.argv(VERB, disk, correlation_id=str(uuid.uuid4()))
            if environment:
                argv[0] = str(launcher)
            return timing.run(argv, {**plain.environment, **(environment or {})}, plain.programs)

        return Way(name, run, run)

    def _cinderlib(self, python: str) -> Way:
        *_, way = cinderlib.ways(self._server, self._cluster, python)
        disk = str(uuid.uuid4())
        way.run("create_volume", [disk, "1"])

        def probed(environment: Mapping[str, str]) -> object:
            argv = way.argv(VERB, disk)
            argv[argv.index(cinderlib.CLIENT)] = BEGIN + SEEN + cinderlib.CLIENT
            return timing.run(argv, {**way.environment, **environment})

        return Way(f"cinderlib, {way.name}", lambda: way.run(VERB, [disk]), probed)

    def _least(self) -> Way:
        argv = floors.true(self._cluster, CALLS, self._server, TRIPS)
        with_probe = [BEGIN + word if "least.main" in word else word for word in argv]
        return Way(
            "the least",
            lambda: timing.run(argv, os.environ),
            lambda environment: timing.run(with_probe, {**os.environ, **environment}),
        )


def tell(bars: Sequence[Bar], ways: Sequence[Way]) -> None:
    """Print the parts of each, their sum, and what the same takes without the probe."""
    print(f"{VERB + ', milliseconds':38}" + "".join(f"{bar.name:>28}" for bar in bars))
    for part in PARTS:
        print(f"{part.label:38}" + "".join(f"{bar.taken[part.name]:28.1f}" for bar in bars))
    print(f"{'all of it':38}" + "".join(f"{bar.whole:28.1f}" for bar in bars))
    plain = [1000 * statistics.median(way.seconds) for way in ways]
    print(f"{'all of it, without the probe':38}" + "".join(f"{each:28.1f}" for each in plain))


if __name__ == "__main__":
    sys.exit(main())
