"""The command line of fuzzers that run numbered cases: how many, and the first one's seed."""

from __future__ import annotations

import logging
import sys
from typing import Callable

CASES = 1000


def main(run: Callable[[int, int], list[str]], argv: list[str]) -> int:
    """Run the cases and tell what did not hold; return 1 when there was anything."""
    logging.disable(logging.CRITICAL)
    cases = int(argv[0]) if argv else CASES
    faults = run(cases, int(argv[1]) if len(argv) > 1 else 0)
    sys.stdout.write("\n".join([*faults, f"{cases} cases, {len(faults)} faults"]) + "\n")
    return bool(faults)
