"""Which tests are fast, and which take long and so begin first: by what was measured for each file.

A pytest plugin, named in conftest.py. `pytest --note-seconds` writes the table `seconds.txt` anew
for the files that it runs; it need not be exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "seconds.txt"
# Some hundred times as many tests as a file has; and none that one would wait for
FAST_MEAN, FAST_LONGEST = 0.1, 2.0


class Pace(NamedTuple):
    """How many seconds the tests of a file take: each, and the longest one."""

    mean: float
    longest: float

    @property
    def fast(self) -> bool:
        """Whether they are for the inner loop."""
        return self.mean <= FAST_MEAN and self.longest <= FAST_LONGEST


UNKNOWN = Pace(1000.0, 1000.0)  # a new file, which may take long


def table() -> dict[str, Pace]:
    """Return the pace of each file, by its path below tests/."""
    lines = (line.split() for line in TABLE.read_text().splitlines() if line[:1] != "#")
    return {name: Pace(float(mean), float(longest)) for mean, longest, name in lines}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--note-seconds", action="store_true", help=f"write {TABLE.name} anew for what is run"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, and take the times where they are wanted."""
    config.addinivalue_line("markers", "fast: measured to be; `make check` runs these")
    if config.getoption("--note-seconds") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Notes())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is fast. With several workers, begin with the files that have the longest tests:
    none of them shall be alone at the end."""
    paces = table()
    of = {item.path: paces.get(_name(item.path), UNKNOWN) for item in items}
    for item in items:
        if of[item.path].fast:
            item.add_marker(pytest.mark.fast)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -of[item.path].longest)


class Notes:
    """What each test has taken, set-up and end included."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note it."""
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the table."""
        files = defaultdict(list)
        for nodeid, seconds in self._seconds.items():
            files[_name(Path(nodeid.partition("::")[0]).absolute())].append(seconds)
        paces = table()
        paces.update({name: Pace(sum(all_) / len(all_), max(all_)) for name, all_ in files.items()})
        lines = [
            f"{pace.mean:8.3f} {pace.longest:8.2f}  {name}\n"
            for name, pace in sorted(paces.items())
            if (TESTS / name).exists()
        ]
        TABLE.write_text(_HEAD + "".join(lines))


_HEAD = "# Seconds of a file's tests: the mean, the longest; see rigs/pace.py\n"


def _name(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()
