"""children.py of the demo: where programs are, and how they end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from demo_callers import write_program

from ovirt_demo import children

# Where programs are


def test_program_is_found_on_path_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is one clear sentence."""
    write_program(tmp_path / "some-toy", "true")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert children.find("some-toy") == tmp_path / "some-toy"
    with pytest.raises(children.ProgramMissing, match=r"no-such-toy is neither in .* nor on PATH"):
        children.find("no-such-toy")


def test_end_kills_what_does_not_listen(tmp_path: Path) -> None:
    """A child that ignores the request is gone after the limit all the same."""
    import signal
    import subprocess

    toy = write_program(tmp_path / "toy", 'trap "" TERM; echo ready; while :; do sleep 0.1; done')
    with subprocess.Popen([toy], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        assert children.end(process, signal.SIGTERM, limit_seconds=0.3) == -signal.SIGKILL
    assert time.monotonic() - began < 5
