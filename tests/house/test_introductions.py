"""Each program says who it is to whoever types `--help` or `--version`."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import storpool_ovirt
from ovirt_demo import children

PROGRAMS = sorted(
    each.name
    for each in metadata.distribution("storpool-ovirt").entry_points
    if each.group == "console_scripts"
)
# Those that somebody waits for: any other argument is refused as ever.
WAITED_FOR = [each for each in PROGRAMS if each not in ("storpool-ovirt", "storpool-simulator")]
LINES_MAX = 40  # storpool-ovirt's has a line for each command
LIMIT_SECONDS = 60


def said_by(
    program: str, *arguments: str, root: Path | None = None, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing on its stdin, where `root` stands for `/`."""
    return subprocess.run(
        [children.find(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
        env={"PATH": "/usr/bin:/bin", "STORPOOL_OVIRT_ROOT": str(root or "/nowhere")},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_tells_what_it_is(program: str, tmp_path: Path) -> None:
    """What it is, its exit codes and where its log is, for people; it looks at nothing, and leaves
    nothing."""
    said = said_by(program, "--help", root=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert program in said.stdout.splitlines()[0]
    assert "exit code" in " ".join(said.stdout.lower().split())
    assert "log" in said.stdout.lower()
    assert 8 < said.stdout.count("\n") <= LINES_MAX
    assert max(map(len, said.stdout.replace(str(tmp_path), "").splitlines())) <= 110
    assert "\x1b" not in said.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_version_is_the_one_of_the_distribution(program: str) -> None:
    """One number, told by all; setup.py has it from there too."""
    said = said_by(program, "--version")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"{program} {storpool_ovirt.__version__}\n"
    assert metadata.version("storpool-ovirt") == storpool_ovirt.__version__


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_that_nobody_can_read_is_no_trace(program: str) -> None:
    """A full disk is an exit code."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        said = said_by(program, "--help", stdout=full)
    finally:
        os.close(full)
    assert said.returncode != 0
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("program", WAITED_FOR)
def test_only_alone_it_is_help(program: str, tmp_path: Path) -> None:
    """Whoever gives more than that wants something done: it is refused, never a success."""
    for arguments in (("--help", "x"), ("x", "--help"), ("--version", "--help")):
        said = said_by(program, *arguments, root=tmp_path)
        assert said.returncode != 0, arguments
        assert len((said.stdout + said.stderr).splitlines()) == 1, arguments
