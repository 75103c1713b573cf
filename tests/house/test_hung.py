"""rigs/hung.py: a test that hangs costs its process, and not the whole run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run these tests with two workers and a limit of two seconds for each test."""
    file = folder / "test_it.py"
    file.write_text(tests)
    words = (
        "-q -c /dev/null -p rigs.hung -p xdist -p no:cacheprovider --longest-seconds=2 -n2".split()
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        cwd=folder,
        env={"PYTHONPATH": str(TESTS)},
    )


def test_a_test_that_hangs_ends_its_process_and_says_where(tmp_path: Path) -> None:
    """Of several processes the others go on, and pytest tells the test."""
    done = run(
        tmp_path,
        "import time\ndef test_that_hangs():\n    time.sleep(60)\ndef test_another():\n    pass\n",
    )
    assert done.returncode == 1, done.stderr
    assert "test_it.py::test_that_hangs" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert 'test_it.py", line 3 in test_that_hangs' in done.stdout + done.stderr


def test_a_forked_child_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It has no part in the pipes by which pytest-xdist hears that its parent has ended."""
    done = run(
        tmp_path,
        "import os, time\n"
        "def test_that_hangs():\n"
        "    if not os.fork():\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"
        "    time.sleep(60)\n"
        "def test_another():\n    pass\n",
    )
    assert done.returncode == 1, done.stderr
    assert "1 failed, 1 passed" in done.stdout
