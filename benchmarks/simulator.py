"""What the simulator costs with 300,000 volumes and snapshots beside one with ten.

    pip install '.[demo]'              # not --editable: its import hook would be measured too
    python benchmarks/simulator.py     # some two minutes; --objects and --runs make it shorter

Two simulators run, each a process with a state of its own that is planted first: one with few
objects, one with many. Single calls go to both by turns, so a machine that is busy now and idle
then does not count; then to the large one alone, with and without somebody who reads its lists
without a pause. The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from ovirt_demo import children
from storpool_simulator.model import population

TOKEN = "benchmark"  # noqa: S105  of a simulator on the loopback interface
GIB, MIB, MIB_KIB = 1 << 30, 1 << 20, 1 << 10
FEW = 9
START_SECONDS = 10  # of a processor
GROWTH = 1.15
BESIDE = 20
KIB_PER_OBJECT = 2.0
LISTS = ("VolumesList", "SnapshotsList")
READER = """
import http.client, sys, time
host, port, token, *queries = sys.argv[1:]
while True:
    for query in queries:
        began = time.perf_counter()
        connection = http.client.HTTPConnection(host, int(port), timeout=600)
        headers = {"Authorization": f"Storpool v1:{token}"}
        connection.request("GET", f"/ctrl/1.0/{query}", headers=headers)
        reply, length = connection.getresponse(), 0
        while True:
            part = reply.read(1 << 20)
            length += len(part)
            if not part:
                break
        connection.close()
        print(query, length, time.perf_counter() - began, flush=True)
"""


@dataclass(frozen=True)
class Place:
    """A simulator that runs: where it is, and what it cost until it was ready."""

    host: str
    port: int
    pid: int
    wall_seconds: float
    cpu_seconds: float

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one call, which must succeed, and return its data."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        sent = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Storpool v1:{TOKEN}"}
        connection.request(method, path, sent, headers)
        reply = json.loads(connection.getresponse().read())
        connection.close()
        if "error" in reply:
            raise RuntimeError(f"{method} {path}: {reply}")
        return reply.get("data")

    def get(self, query: str) -> Any:
        """Make a reading call."""
        return self.call("GET", f"/ctrl/1.0/{query}")

    def post(self, query: str, body: Any) -> Any:
        """Make a changing call."""
        return self.call("POST", f"/ctrl/1.0/{query}", body)

    def mib(self, what: str) -> float:
        """Return VmRSS, which is now, or VmHWM, which was most."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{what}:\s+(\d+) kB", status, re.M)
        return int(found.group(1)) / MIB_KIB if found else 0.0


def main() -> int:
    """Measure, print, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        planted = [plant(folder / "few", FEW), plant(folder / "many", options.objects)]
        few, many = (stack.enter_context(running(folder / each)) for each in ("few", "many"))
        missed = starts(planted, few, many, options.objects)
        missed += singles(few, many, options.runs)
        missed += beside_lists(many, options.runs)
        missed += memory(few, many, options.objects)
    return bool(missed)


def plant(folder: Path, objects: int) -> float:
    """Write the state of a cluster, a third of it volumes; return the seconds it took."""
    began = time.perf_counter()
    with population.planted(folder, templates={"nvme": None}) as planted:
        for number in range(objects // 3):
            identity = f"{number:036d}"
            planted.disk(
                f"ovirt--{identity}",
                GIB,
                "nvme",
                snapshots=[f"ovirt--{identity}-{age}" for age in (1, 2)],
                tags={"virt": "ovirt", "ovirt-uuid": identity, "ovirt-loc": "0a1b2c3d"},
            )
    return time.perf_counter() - began


@contextlib.contextmanager
def running(state: Path) -> Iterator[Place]:
    """Give a simulator with this state, a process of its own."""
    argv = [str(children.find("storpool-simulator")), "--token", TOKEN, "--state", str(state)]
    began = time.perf_counter()
    process = subprocess.Popen([*argv, "--devices", "file"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        wall = time.perf_counter() - began
        yield Place(ready["host"], ready["port"], process.pid, wall, cpu_seconds(process.pid))
    finally:
        process.terminate()
        process.wait(60)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def starts(planted: Sequence[float], few: Place, many: Place, objects: int) -> int:
    """Tell what planting and starting take."""
    print(f"{'':28} {FEW:>9,} objects  {objects:>9,} objects")
    print(f"{'planted':28} {planted[0]:15.2f} s {planted[1]:15.2f} s")
    print(f"{'start':28} {few.wall_seconds:15.2f} s {many.wall_seconds:15.2f} s")
    print(f"{'  of these a processor':28} {few.cpu_seconds:15.2f} s {many.cpu_seconds:15.2f} s")
    sentence = f"a start with all of them takes less than {START_SECONDS} s of a processor"
    return verdict(many.cpu_seconds < START_SECONDS, sentence)


def singles(few: Place, many: Place, runs: int) -> int:
    """Time single calls in both, side by side, and tell them."""
    print(f"\n{'single call':28} {'few':>17}  {'many':>17}   many / few   ({runs} rounds)")
    worst = 0.0
    for name, prepared in CALLS.items():
        calls = [prepared(place) for place in (few, many)]
        times: list[tuple[float, float]] = []
        for turn in range(runs + 5):
            taken = {at: timed(calls[at], turn) for at in sorted((0, 1), reverse=bool(turn % 2))}
            times.append((taken[0], taken[1]))
        ratio = statistics.median(large / small for small, large in times[5:])
        worst = max(worst, ratio)
        medians = [statistics.median(each) * 1000 for each in zip(*times[5:])]
        print(f"{name:28} {medians[0]:14.2f} ms  {medians[1]:14.2f} ms {ratio:12.2f}")
    return verdict(worst < GROWTH, f"no single call takes {GROWTH} times as long with many")


def timed(call: Callable[[int], object], turn: int) -> float:
    """Make a call and return its seconds."""
    began = time.perf_counter()
    call(turn)
    return time.perf_counter() - began


def _lagging(place: Place) -> Callable[[int], object]:
    key = place.get("Volume/ovirt--" + "0" * 36)[0]["globalId"]

    def call(_turn: int) -> object:
        fault = {"kind": "old", "query": "Volume", "changes": 5}
        place.call("POST", "/simulator/faults", fault)
        return place.get(f"Volume/~{key}")

    return call


def _attaching(place: Place) -> Callable[[int], object]:
    place.call("POST", "/simulator/clients/1", {"status": "running"})

    def call(turn: int) -> object:
        item = {"volume": "ovirt--" + "0" * 36, ("detach" if turn % 2 else "rw"): [1]}
        return place.post("VolumesReassignWait", {"reassign": [item]})

    return call


def _creating(place: Place) -> Callable[[int], object]:
    def call(turn: int) -> object:
        return place.post("VolumeCreate", {"name": f"n{turn}", "size": GIB, "template": "nvme"})

    return call


# Name, and what makes the call ready in a cluster.
CALLS: dict[str, Callable[[Place], Callable[[int], object]]] = {
    "Volume by name": lambda place: lambda _turn: place.get("Volume/ovirt--" + "0" * 36),
    "Volume, 5 changes ago": _lagging,
    "VolumeTemplatesStatus": lambda place: lambda _turn: place.get("VolumeTemplatesStatus"),
    "VolumeCreate": _creating,
    "VolumeUpdate of tags": lambda place: (
        lambda turn: place.post("VolumeUpdate/n0", {"tags": {"turn": str(turn)}})
    ),
    "VolumeSnapshot": lambda place: lambda _turn: place.post("VolumeSnapshot/n1", {}),
    "attach and detach": _attaching,
}


def beside_lists(place: Place, runs: int) -> int:
    """Time single calls while somebody reads lists, and tell them beside those without."""
    both = [CALLS[name](place) for name in ("Volume by name", "VolumeUpdate of tags")]
    alone = sorted(timed(both[turn % 2], turn) for turn in range(2 * runs))
    beside: list[float] = []
    with reading(place) as lists:
        while len(beside) < 2 * runs or len(lists) < len(LISTS):
            beside.append(timed(both[len(beside) % 2], len(beside)))
        beside.sort()
        read = [*lists]
    print(f"\n{'Volume, VolumeUpdate':38} {'median':>10} {'99 of 100':>12} {'longest':>12}")
    for name, times in (("alone", alone), (f"beside {' and '.join(LISTS)}", beside)):
        cells = [statistics.median(times), times[len(times) * 99 // 100], times[-1]]
        shown = [f"{each * 1000:.1f} ms" for each in cells]
        print(f"{name:38} {shown[0]:>10} {shown[1]:>12} {shown[2]:>12}   ({len(times)} calls)")
    for query, seconds, mib in read[: len(LISTS)]:
        print(f"{query + ' meanwhile':38} {seconds * 1000:7.0f} ms {mib:8.0f} MiB")
    slow, longest = beside[len(beside) * 99 // 100], max(seconds for _, seconds, _ in read)
    sentence = f"99 of 100 singles beside lists take less than 1/{BESIDE} of the longest list"
    return verdict(slow < longest / BESIDE, sentence)


@contextlib.contextmanager
def reading(place: Place) -> Iterator[list[tuple[str, float, float]]]:
    """Give a time in which lists are read without a pause: query, seconds and MiB of each."""
    lists: list[tuple[str, float, float]] = []
    argv = [sys.executable, "-IS", "-c", READER, place.host, str(place.port), TOKEN, *LISTS]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def note() -> None:
        for line in process.stdout or ():
            query, length, seconds = line.split()
            lists.append((query, float(seconds), int(length) / MIB))

    noting = threading.Thread(target=note)
    noting.start()
    try:
        yield lists
    finally:
        process.terminate()
        process.wait()
        noting.join()


def memory(few: Place, many: Place, objects: int) -> int:
    """Tell what the simulators hold, and held at most."""
    print(f"\n{'memory':28} {'few':>17}  {'many':>17}")
    for name, what in (("now", "VmRSS"), ("at most", "VmHWM")):
        print(f"{name:28} {few.mib(what):13.0f} MiB  {many.mib(what):13.0f} MiB")
    kib = (many.mib("VmHWM") - few.mib("VmHWM")) * MIB_KIB / objects
    sentence = f"{kib:.2f} KiB for each object at most, less than {KIB_PER_OBJECT}"
    return verdict(kib < KIB_PER_OBJECT, sentence)


def verdict(met: bool, sentence: str) -> int:
    """Print whether a target is met; return 1 where it is missed."""
    print(f"{'met   ' if met else 'missed'}  {sentence}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
