"""The benchmark of the simulator runs, and tells each target; its numbers are not for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "simulator.py"
LIMIT_SECONDS = 120  # ours: it takes some seconds; a loaded machine gets some room


def test_it_says_of_each_target_whether_it_is_met() -> None:
    """Four targets, each met or missed, and the exit code is that of the verdicts; a start with so
    few takes no ten seconds of a processor anywhere."""
    argv = [sys.executable, str(PROGRAM), "--objects", "900", "--runs", "3"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("met ", "missed "))]
    assert len(verdicts) == 4, done.stdout
    assert verdicts[0].split(None, 1)[0] == "met"
    assert done.returncode == ("missed" in done.stdout), done.stdout
