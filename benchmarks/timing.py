"""How a process is timed, and how what was timed is compared and judged."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """What a piece of work took: by the wall clock, and of a processor in all children that ended
    meanwhile."""

    seconds: float
    cpu_seconds: float

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


class Watch:
    """Begins when it is made; `taken` tells what has been taken since."""

    def __init__(self) -> None:
        self._cpu = _children_seconds()
        self._began = time.perf_counter()

    def taken(self) -> Taken:
        """Return what was taken so far."""
        seconds = time.perf_counter() - self._began
        return Taken(seconds, _children_seconds() - self._cpu)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(
    argv: Sequence[str], environment: Mapping[str, str], folder: Path | str = "/"
) -> tuple[str, Taken]:
    """Run a process as Engine does; return the last line of what it printed, and what it took."""
    watch = Watch()
    done = subprocess.run(
        argv,
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    taken = watch.taken()
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise SystemExit(f"{Path(argv[0]).name} {argv[1]} failed: {text}")
    return text, taken


def middle(times: Sequence[Taken]) -> float:
    """Return the median of the wall clock's milliseconds."""
    return statistics.median(each.seconds for each in times) * 1000


def cpu(times: Sequence[Taken]) -> float:
    """Return the median of the processor's milliseconds."""
    return statistics.median(each.cpu_seconds for each in times) * 1000


def ratio(times: Sequence[Taken], others: Sequence[Taken]) -> tuple[float, float]:
    """Return `compared` of their wall clock times."""
    return compared([each.seconds for each in times], [each.seconds for each in others])


def compared(times: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Return the median of the ratios of runs that stood side by side, and its standard error.

    So a machine that gets slow and fast again does not count.
    """
    ratios = [time_ / other for time_, other in zip(times, others)]
    half = statistics.median(ratios)
    distance = statistics.median(abs(each - half) for each in ratios)
    return (
        half,
        1.2533 * 1.4826 * distance / len(ratios) ** 0.5,
    )  # of a median, from the median distance to it


def verdict(target: str, misses: Sequence[str]) -> bool:
    """Print whether a target is met; return whether it is missed."""
    print(
        f"{'missed' if misses else 'met':8}{target}" + (f": {', '.join(misses)}" if misses else "")
    )
    return bool(misses)
