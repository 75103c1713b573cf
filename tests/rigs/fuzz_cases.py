"""The command line of fuzzers that run numbered cases: how many, and the first one's seed."""

from __future__ import annotations

import logging
import sys
from typing import Callable

from rigs.core_fixtures import TOKEN

CASES = 1000
LONGEST = 1200  # characters of what is said


def fault_of(said: str, seconds: float, limit_seconds: float) -> str | None:
    """Return what is wrong with what was said, and when; None where nothing is."""
    if TOKEN in said:
        return "the token is told"
    if said and not said.isprintable():
        return "not one line"
    if len(said) > LONGEST:
        return f"{len(said)} characters"
    if seconds > limit_seconds:
        return f"took {seconds:.1f} s"
    return None


def main(run: Callable[[int, int], list[str]], argv: list[str]) -> int:
    """Run the cases and tell what did not hold; return 1 when there was anything."""
    logging.disable(logging.CRITICAL)
    cases = int(argv[0]) if argv else CASES
    faults = run(cases, int(argv[1]) if len(argv) > 1 else 0)
    sys.stdout.write("\n".join([*faults, f"{cases} cases, {len(faults)} faults"]) + "\n")
    return bool(faults)
