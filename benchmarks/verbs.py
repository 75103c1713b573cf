"""How long each verb takes as a whole process, beside a floor, and how many calls and statements it
costs.

    python benchmarks/verbs.py [--runs 20] [--volumes 20000]

Two clusters and two mapping databases run side by side, one with 10 volumes, one with many. Each
round runs every verb once against both and, right beside it, the floor: a Python that imports what
no adapter can do without, opens one database connection and makes one HTTP request to the same
simulator. So whatever slows the machine slows all of them. The exit code is 1 when a target is
missed. README.md tells what was measured, and where.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import storpool_simulator as embedded
from ovirt_demo import children, database, engine, simulator, vdsm
from storpool_simulator.model import requests, volumes

FEW = 10
GIB = 1 << 30
HOST = 1  # client id of the one host

# No verb may take longer than this many floors, nor differ between the clusters by more than this
# part of its time.
MOST_FLOORS = 2.0
MOST_GROWTH = 0.10

FLOOR = """
import http.client, sys
import psycopg2
host, port, user, password, name, api_host, api_port, token = sys.argv[1:]
base = psycopg2.connect(host=host, port=port, user=user, password=password, dbname=name)
api = http.client.HTTPConnection(api_host, int(api_port))
api.request("GET", "/ctrl/1.0/ServicesList", headers={"Authorization": "Storpool v1:" + token})
assert api.getresponse().read()
"""


@dataclass(frozen=True)
class Target:
    """One verb in one situation: the arguments (by what they stand for), and how many API calls it
    may make."""

    name: str
    verb: str
    arguments: tuple[str, ...]
    most_calls: int


# In the order of one disk's life; the words stand for the ids of that round. Every verb runs where
# it has work to do.
TARGETS = (
    Target("create_volume", "create_volume", ("disk", "1"), 1),
    Target("storage_stats", "storage_stats", ("true",), 2),
    Target("extend_volume", "extend_volume", ("disk", "2"), 3),
    Target("connect_volume", "connect_volume", ("disk", "{}"), 1),
    Target("get_connection_info", "get_connection_info", ("disk",), 1),
    Target("save_device", "save_device", ("disk", "{}"), 0),
    Target("create_snapshot", "create_snapshot", ("disk",), 3),
    Target("extend_volume, attached", "extend_volume", ("disk", "3"), 4),
    Target("clone_volume", "clone_volume", ("disk", "clone"), 3),
    Target(
        "create_volume_from_snapshot", "create_volume_from_snapshot", ("disk", "create_snapshot"), 4
    ),
    Target("remove_snapshot", "remove_snapshot", ("create_snapshot", "disk"), 3),
    Target("disconnect_volume", "disconnect_volume", ("disk",), 0),
    Target("delete_volume", "delete_volume", ("clone",), 3),
)


@dataclass
class Side:
    """One cluster with one Engine, and the times of its verbs by target."""

    cluster: simulator.Simulator
    caller: engine.Engine
    base: database.Database
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {target.name: [] for target in TARGETS}
    )
    calls: dict[str, int] = field(default_factory=dict)
    statements: dict[str, int] = field(default_factory=dict)

    def round(self) -> dict[str, str]:
        """Return what the words stand for in a new round: ids of objects that are not there yet."""
        return {"disk": str(uuid.uuid4()), "clone": str(uuid.uuid4())}

    def run(self, target: Target, ids: dict[str, str]) -> None:
        """Run one verb, with its time, its calls and its statements."""
        arguments = [ids.get(word, word) for word in target.arguments]
        correlation_id = str(uuid.uuid4())
        self.cluster.clear_calls()
        answer, seconds = timed(
            self.caller.argv(target.verb, *arguments, correlation_id=correlation_id), self.caller
        )
        self.seconds[target.name].append(seconds)
        self.calls[target.name] = max(len(self.cluster.calls()), self.calls.get(target.name, 0))
        self.statements[target.name] = max(
            self._statements(correlation_id), self.statements.get(target.name, 0)
        )
        if target.verb in ("create_snapshot", "connect_volume"):
            ids[target.verb] = answer.partition(":")[2]

    def attach(self, ids: dict[str, str]) -> None:
        """Attach the disk on the host, for the verb that waits for hosts."""
        host = vdsm.Host(self.cluster.hosts[HOST], children.find("managedvolume-helper-storpool"))
        host.attach(json.loads(ids["connect_volume"]))

    def clean(self, ids: dict[str, str]) -> None:
        """Delete what the round has made, so that clusters keep their sizes."""
        timed(self.caller.argv("delete_volume", ids["disk"], correlation_id="clean"), self.caller)

    def _statements(self, correlation_id: str) -> int:
        log = self.caller.log_folder / "managedblock" / "storpool-adapter.log"
        for line in reversed(log.read_text(encoding="utf-8").splitlines() if log.exists() else []):
            if f" {correlation_id} verb_done " in line:
                return int(dict(word.split("=", 1) for word in line.split() if "=" in word)["sql"])
        return 0  # a verb that needs neither the cluster nor the database has no line


def main() -> int:
    """Measure, print the table and the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=20, help="how often each verb runs (default: %(default)s)"
    )
    parser.add_argument(
        "--volumes", type=int, default=20_000, help="in the large cluster (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user where we are root
        server = stack.enter_context(database.running(Path(folder)))
        few = stack.enter_context(side(Path(folder) / "few", server, FEW))
        many = stack.enter_context(side(Path(folder) / "many", server, options.volumes))
        floors = measure(few, many, options.runs)
    return report(few, many, floors, options.volumes)


@contextlib.contextmanager
def side(folder: Path, server: database.Database, count: int) -> Iterator[Side]:
    """Start a cluster with that many volumes and as many rows, and an Engine for it."""
    print(f"a cluster with {count} volumes ...", file=sys.stderr)
    folder.mkdir()
    base = server.fresh(f"benchmark_{folder.name}")
    ids = fill_cluster(folder / "cluster" / "state", count)
    with simulator.running(folder / "cluster", {HOST: folder / "host"}, devices="file") as cluster:
        caller = engine.Engine(
            folder / "engine", children.find("storpool-adapter"), cluster.driver_options(), base.url
        )
        made = Side(cluster, caller, base)
        timed(
            caller.argv("storage_stats", "true", correlation_id="first"), caller
        )  # makes the tables
        unknown = str(uuid.uuid4())
        timed(
            caller.argv("delete_volume", unknown, correlation_id="second"), caller
        )  # makes where barriers are kept
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


def measure(few: Side, many: Side, runs: int) -> dict[str, list[float]]:
    """Run all verbs in both clusters as often as asked, each beside a floor; return the floors'
    times by target."""
    floors: dict[str, list[float]] = {target.name: [] for target in TARGETS}
    for number in range(runs):
        print(f"round {number + 1} of {runs} ...", file=sys.stderr)
        sides = [(each, each.round()) for each in ((few, many) if number % 2 else (many, few))]
        for target in TARGETS:
            if target.name.endswith("attached"):
                for each, ids in sides:
                    each.attach(ids)
            floors[target.name].append(floor(few))
            for each, ids in sides:
                each.run(target, ids)
        for each, ids in sides:
            each.clean(ids)
    return floors


def floor(side: Side) -> float:
    """Return how long the least that any adapter must do takes."""
    where = (
        side.base.login.host,
        str(side.base.login.port),
        side.base.login.user,
        side.base.login.password,
        side.base.name,
    )
    api = (side.cluster.address, str(side.cluster.port), side.cluster.token)
    return timed([sys.executable, "-c", FLOOR, *where, *api], side.caller)[1]


def timed(argv: list[str], caller: engine.Engine) -> tuple[str, float]:
    """Run a process as Engine does; return the last line of what it printed, and its time."""
    began = time.perf_counter()
    done = subprocess.run(
        argv,
        env=caller.environment,
        cwd=caller.programs,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    seconds = time.perf_counter() - began
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise SystemExit(f"{Path(argv[0]).name} {argv[1]} failed: {text}")
    return text, seconds


def report(few: Side, many: Side, floors: dict[str, list[float]], volumes_count: int) -> int:
    """Print the table, and for each target whether it is met; return the exit code.

    Ratios are medians of the ratios of runs that stood side by side, so that a machine that gets
    slow and fast again does not count; `+-` is the standard error of that median.
    """
    print(
        f"{'verb':28} {'floor':>7} {'verb':>7} {'/ floor':>13} {'many':>8} {'/ few':>14} {'API':>5}"
        f" {'SQL':>4}"
    )
    slow, growing, talking = [], [], []
    for target in TARGETS:
        name = target.name
        times = floors[name], few.seconds[name], many.seconds[name]
        base, small, large = (statistics.median(each) * 1000 for each in times)
        ratio, ratio_error = compared(few.seconds[name], floors[name])
        growth, growth_error = compared(many.seconds[name], few.seconds[name])
        calls, statements = max(few.calls[name], many.calls[name]), few.statements[name]
        print(
            f"{name:28} {base:4.0f} ms {small:4.0f} ms {ratio:6.2f} +-{ratio_error:4.2f}"
            f" {large:5.0f} ms {growth - 1:+6.1%} +-{growth_error:4.1%} {calls:4} {statements:4}"
        )
        slow += [f"{name} takes {ratio:.2f}"] * (ratio > MOST_FLOORS)
        growing += [f"{name} takes {growth - 1:+.1%}"] * (growth > 1 + MOST_GROWTH)
        talking += [f"{name} makes {calls} in place of {target.most_calls}"] * (
            calls > target.most_calls
        )
    print()
    verdict(f"no verb above {MOST_FLOORS} floors", slow)
    verdict("no verb with more API calls than planned", talking)
    verdict(
        f"with {volumes_count} volumes each verb within {MOST_GROWTH:.0%} of its time with {FEW}",
        growing,
    )
    return int(bool(slow or growing or talking))


def verdict(target: str, misses: list[str]) -> None:
    """Print whether a target is met."""
    print(
        f"{'missed' if misses else 'met':8}{target}" + (f": {', '.join(misses)}" if misses else "")
    )


def compared(times: list[float], others: list[float]) -> tuple[float, float]:
    """Return the median of the ratios of runs that stood side by side, and its standard error."""
    ratios = [time_ / other for time_, other in zip(times, others)]
    middle = statistics.median(ratios)
    distance = statistics.median(abs(each - middle) for each in ratios)
    return (
        middle,
        1.2533 * 1.4826 * distance / len(ratios) ** 0.5,
    )  # of a median, from the median distance to it


if __name__ == "__main__":
    sys.exit(main())
