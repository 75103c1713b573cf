"""How long each verb takes as a whole process: by the adapter, by cinderlib with our driver, and
with the upstream one.

    python benchmarks/cinderlib.py [--runs 10]

One simulator, one PostgreSQL with a database for each way, one disk's life in each round, the ways
in turn beside each other. The cinderlib side is the least that oVirt's client of it does for a
verb: load, set up, start the driver, act. The upstream driver takes part where the installed Cinder
and os-brick have one that needs nothing else (26.0, 6.11 or newer). The exit code is 1 when the
adapter is not ahead by the factor that the documentation claims.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib import parse

import installed

from ovirt_demo import database, engine, simulator

HOST = 1  # client id of the one host
LEAST_FACTOR = 30.0  # what docs/driver.md claims at least; the table tells what it is

# In the order of one disk's life; the words stand for the ids of that round.
VERBS = (
    ("create_volume", "disk", "1"),
    ("storage_stats", "true"),
    ("extend_volume", "disk", "2"),
    ("connect_volume", "disk", "connector"),
    ("create_snapshot", "disk"),
    ("clone_volume", "disk", "clone"),
    ("create_volume_from_snapshot", "disk", "snapshot"),
    ("delete_volume", "preview"),
    ("remove_snapshot", "snapshot", "disk"),
    ("disconnect_volume", "disk"),
    ("delete_volume", "clone"),
    ("delete_volume", "disk"),
)

CLIENT = """
import json, os, sys
import cinderlib as cl
verb, driver, url, *arguments = sys.argv[1:]
if os.environ.get("UPSTREAM_CONF"):  # the upstream driver reads /etc alone
    from os_brick.initiator import storpool_utils
    storpool_utils.get_conf = lambda section=None, use_env=True: json.loads(
        os.environ["UPSTREAM_CONF"]
    )
cl.setup(disable_logs=True, persistence_config={"storage": "db", "connection": url})
backend = cl.Backend(**json.loads(driver))
ids = [each for each in arguments if len(each) == 36]
if verb == "create_volume":
    backend.create_volume(int(arguments[1]), id=ids[0])
elif verb == "storage_stats":
    print(json.dumps(backend.stats(refresh=True), default=str))
elif verb in ("remove_snapshot", "create_volume_from_snapshot"):
    snapshot = cl.Snapshot.get_by_id(ids[0] if verb == "remove_snapshot" else ids[1])
    print(snapshot.delete() if verb == "remove_snapshot" else snapshot.create_volume().id)
else:
    volume = backend.volumes_filtered(volume_id=ids[0])[0]
    if verb == "extend_volume":
        volume.extend(int(arguments[1]))
    elif verb == "connect_volume":
        print(json.dumps(volume.connect(json.loads(arguments[1])).connection_info, default=str))
    elif verb == "create_snapshot":
        print(volume.create_snapshot().id)
    elif verb == "clone_volume":
        volume.clone(id=ids[1])
    elif verb == "disconnect_volume":
        for connection in list(volume.connections):
            connection.disconnect()
    elif verb == "delete_volume":
        volume.delete()
"""


@dataclass
class Way:
    """One way to run a verb: how its process is called, and what was measured by verb."""

    name: str
    argv: Callable[..., list[str]]
    environment: dict[str, str]
    seconds: dict[int, list[float]] = field(
        default_factory=lambda: {number: [] for number in range(len(VERBS))}
    )
    calls: dict[int, int] = field(default_factory=dict)

    def run(self, verb: str, arguments: list[str]) -> tuple[str, float]:
        """Run a verb; return the last line that it printed without what Engine takes off, and its
        time."""
        began = time.perf_counter()
        done = subprocess.run(
            self.argv(verb, *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(
                f"{self.name}: {verb} failed:"
                f" {(done.stdout + done.stderr).decode(errors='replace')}"
            )
        lines = done.stdout.decode().strip().splitlines()
        return (lines[-1].removeprefix("benchmark:") if lines else ""), seconds


def main() -> int:
    """Measure, print the table, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=10, help="how often each verb runs (default: %(default)s)"
    )
    installed.add_start(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user where we are root
        server = stack.enter_context(database.running(folder))
        cluster = stack.enter_context(
            simulator.running(folder / "cluster", {HOST: folder / "host"}, devices="file")
        )
        programs = installed.this(options.start, folder / "programs")
        ours = adapter(programs.find("storpool-adapter"), folder, server, cluster)
        found = [ours, *ways(server, cluster)]
        for number in range(-1, options.runs):
            print(
                f"round {number + 1} of {options.runs} ..." if number >= 0 else "tables ...",
                file=sys.stderr,
            )
            for way in found[number % len(found) :] + found[: number % len(found)]:
                one_life(way, cluster, keep=number >= 0)
    return report(found)


def adapter(
    path: Path, folder: Path, server: database.Database, cluster: simulator.Simulator
) -> Way:
    """Return the adapter that is there."""
    base = server.fresh("benchmark_adapter")
    caller = engine.Engine(folder / "engine", path, cluster.driver_options(), base.url)
    return Way(
        "adapter",
        lambda verb, *arguments: caller.argv(verb, *arguments, correlation_id="benchmark"),
        caller.environment,
    )


def ways(
    server: database.Database, cluster: simulator.Simulator, python: str = sys.executable
) -> Iterator[Way]:
    """Yield cinderlib with each driver that this Python has."""
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    plain["PYTHONWARNINGS"] = "ignore"
    ours = {
        "volume_driver": "cinder_driver.driver.StorPoolDriver",
        "storpool_api_http_host": cluster.address,
        "storpool_api_http_port": cluster.port,
        "storpool_auth_token": cluster.token,
    }
    to_ours = {**plain, "STORPOOL_OVIRT_ROOT": str(cluster.hosts[HOST])}
    yield cinderlib_way(python, "our driver", ours, server, to_ours)
    if int(version("cinder", python).partition(".")[0]) >= 26:
        upstream = {"volume_driver": "cinder.volume.drivers.storpool.StorPoolDriver"}
        conf = {
            "SP_API_HTTP_HOST": cluster.address,
            "SP_API_HTTP_PORT": str(cluster.port),
            "SP_AUTH_TOKEN": cluster.token,
            "SP_OURID": str(HOST),
        }
        to_upstream = {**plain, "UPSTREAM_CONF": json.dumps(conf)}
        yield cinderlib_way(python, "upstream driver", upstream, server, to_upstream)


def version(name: str, python: str = sys.executable) -> str:
    """Return which version of a distribution a Python has; raise SystemExit where it has none."""
    text = "import sys; from importlib import metadata; print(metadata.version(sys.argv[1]))"
    argv = [python, "-c", text, name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} has no {name}")
    return done.stdout.strip()


def cinderlib_way(
    python: str,
    name: str,
    options: dict[str, object],
    server: database.Database,
    environment: dict[str, str],
) -> Way:
    """Return how a verb is run through cinderlib with a driver."""
    base = server.fresh(f"benchmark_{name.partition(' ')[0]}")
    login = base.login
    user, password = parse.quote(login.user, safe=""), parse.quote(login.password, safe="")
    url = f"postgresql+psycopg2://{user}:{password}@{login.host}:{login.port}/{base.name}"
    driver = json.dumps(
        {"volume_backend_name": "storpool", "storpool_template": simulator.TEMPLATE, **options}
    )
    return Way(
        name,
        lambda verb, *arguments: [python, "-c", CLIENT, verb, driver, url, *arguments],
        environment,
    )


def one_life(way: Way, cluster: simulator.Simulator, *, keep: bool) -> None:
    """Run all verbs for a new disk; keep what was measured, or not (the first time makes the
    tables)."""
    ids = {
        "disk": str(uuid.uuid4()),
        "clone": str(uuid.uuid4()),
        "connector": json.dumps({"host": os.uname().nodename}),
    }
    for number, (verb, *words) in enumerate(VERBS):
        cluster.clear_calls()
        answer, seconds = way.run(verb, [ids.get(word, word) for word in words])
        if verb == "create_snapshot":
            ids["snapshot"] = answer
        elif verb == "create_volume_from_snapshot":
            ids["preview"] = answer
        if keep:
            way.seconds[number].append(seconds)
            way.calls[number] = max(len(cluster.calls()), way.calls.get(number, 0))


def report(found: list[Way]) -> int:
    """Print the table; return 1 when the adapter is not far enough ahead of cinderlib with our
    driver, else 0."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("cinder", "cinderlib", "os-brick"))
    print(
        f"{versions}; Python {sys.version.split()[0]}; seconds (median) and API calls; factor to"
        " the adapter\n"
    )
    print(f"{'verb':28}" + "".join(f"{way.name:>26}" for way in found))
    behind = []
    for number, (verb, *words) in enumerate(VERBS):
        label = f"delete_volume, {words[0]}" if verb == "delete_volume" else verb
        middle = [statistics.median(way.seconds[number]) for way in found]
        cells = [
            f"{seconds:8.3f} s {way.calls[number]:2} calls {seconds / middle[0]:5.1f}x"
            for way, seconds in zip(found, middle)
        ]
        print(f"{label:28}" + "".join(f"{cell:>26}" for cell in cells))
        if middle[1] < LEAST_FACTOR * middle[0]:
            behind.append(label)
    print(
        f"\n{'missed' if behind else 'met':8}the adapter is ahead by {LEAST_FACTOR:g} times or"
        f" more: {behind or 'all'}"
    )
    return int(bool(behind))


if __name__ == "__main__":
    sys.exit(main())
