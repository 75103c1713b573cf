"""rigs/hung.py: a test that hangs costs its process, and not the whole run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_a_test_that_hangs_ends_its_process_and_says_where(tmp_path: Path) -> None:
    """Of several processes the others go on, and pytest tells the test."""
    tests = tmp_path / "test_it.py"
    tests.write_text(
        "import time\ndef test_that_hangs():\n    time.sleep(60)\ndef test_another():\n    pass\n"
    )
    words = (
        "-q -c /dev/null -p rigs.hung -p xdist -p no:cacheprovider --longest-seconds=2 -n2".split()
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(tests)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        cwd=tmp_path,
        env={"PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 1, done.stderr
    assert "test_it.py::test_that_hangs" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert 'test_it.py", line 3 in test_that_hangs' in done.stdout + done.stderr
