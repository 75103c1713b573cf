"""A pytest plugin that tells at the end how many fault points were tried, also with pytest-xdist.

Tests say it with ``record_property``, which travels from xdist's workers to the terminal:
"fault_points" once for each situation, "kills" and "other_faults" for what was done at them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from diversion_ground import machine
from protocol_ground import arguments, hasty


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write one line, where anything was counted."""
    counted: Counter[str] = Counter()
    for name, value in _properties(terminalreporter):
        counted[name] += value
        counted[f"tests of {name}"] += 1
    if counted["fault_points"]:
        terminalreporter.write_line(
            f"fault points: {counted['tests of fault_points']} verbs and situations,"
            f" {counted['fault_points']} points: {counted['kills']} kills,"
            f" {counted['other_faults']} other faults"
        )


def _properties(terminalreporter: Any) -> Iterator[tuple[str, int]]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    if name in ("fault_points", "kills", "other_faults"):
                        yield name, value


__all__ = ["arguments", "hasty", "machine"]
