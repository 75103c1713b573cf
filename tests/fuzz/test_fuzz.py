"""The fuzzers, each with a few inputs; thousands by hand: docs/fuzzing.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rigs import transports

HERE = Path(__file__).parent
SECONDS = 300.0


@pytest.mark.parametrize(
    ("program", "inputs", "way"),
    [("fuzz_doors", 500, ""), ("fuzz_replies", 60, "wire"), ("fuzz_replies", 30, "binding")],
)
def test_no_input_brings_a_program_out_of_its_bounds(
    program: str, inputs: int, way: str, tmp_path: Path
) -> None:
    """T73, T74, T75: no trace, no success that is none, no secret, one line, within its limit,
    undone; by either way to StorPool."""
    argv = [
        sys.executable,
        str(HERE / f"{program}.py"),
        "--seed",
        "4",
        "--inputs",
        str(inputs),
        "--processes",
        "25",
    ]
    done = subprocess.run(
        argv,
        cwd=tmp_path,
        env={**os.environ, transports.VARIABLE: way},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    ran = re.search(r"seed 4: (\d+) inputs", done.stdout)
    assert ran
    assert int(ran[1]) >= inputs


def test_the_fuzzer_finds_what_is_planted(tmp_path: Path) -> None:
    """A program that traces, repeats a secret or hangs is found, and it is told how to have it
    again."""
    planted = (
        "import sys, os, time; sys.path[:0] = [sys.argv.pop(1), sys.argv.pop(1)]\n"
        "import fuzz_doors\n"
        "def trace(argv): raise ValueError(argv)\n"
        "def tell(argv, limits): return os.write(1, fuzz_doors.TOKEN.encode()) and 1\n"
        "def succeed(argv, limits): return 0\n"
        "fuzz_doors.adapter.main, fuzz_doors.helper.main = trace, tell\n"
        "def hang(argv, limits): time.sleep(60)\n"
        "fuzz_doors.agent.main, fuzz_doors.vm_hook.main = hang, succeed\n"
        "import fuzzing; fuzzing.main('', fuzz_doors.fuzz)\n"
    )
    argv = [sys.executable, "-c", planted, str(HERE), str(HERE.parent), "--inputs", "5"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    for fault in (
        "says Traceback",
        "says a secret",
        "did not end within",
        "hook exit code 0",
        "--seed 1 --first ",
    ):
        assert fault in done.stdout, done.stdout + done.stderr
