"""`storpool-ovirt demo`, as a user runs it: the whole story, and what is left when it is
interrupted."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovirt_demo import children, interruption
from storpool_ovirt.admin import command

STORY_LIMIT_SECONDS = 120  # 8 s on an idle machine
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the demo a folder for temporary files that any user may enter, so that the database's
    are there too."""
    with tempfile.TemporaryDirectory(
        prefix="storpool-ovirt-test-"
    ) as name:  # pytest's own are closed to others
        folder = Path(name)
        folder.chmod(0o711)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setenv("COLUMNS", "100")
        yield folder


@pytest.fixture
def adopted() -> Iterator[set[int]]:
    """Be the one to whom processes go whose parent is gone, so that none can hide; give the
    children so far."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield living_children()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def living_children() -> set[int]:
    """List the children of this process."""
    return {
        int(pid)
        for file in Path("/proc/self/task").glob("*/children")
        for pid in file.read_text().split()
    }


def start_demo(*arguments: str) -> subprocess.Popen[str]:
    """Start the demo with its output in a pipe."""
    return subprocess.Popen(
        [children.find("storpool-ovirt"), "demo", *arguments],
        text=True,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def loops(prefix: str) -> list[str]:
    """List the loop devices whose backing file begins so."""
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return [
        file.read_text().strip()
        for file in files
        if Path(file.read_text().strip()).name.startswith(prefix)
    ]


def assert_nothing_left(temporary: Path, before: set[int]) -> None:
    """No process, no mount, no file."""
    deadline = time.monotonic() + 5
    while living_children() - before and time.monotonic() < deadline:
        for pid in (
            living_children() - before
        ):  # the demo's own ends are known; what has ended since is reaped here
            os.waitpid(pid, os.WNOHANG)
    assert living_children() <= before
    assert str(temporary) not in Path("/proc/self/mountinfo").read_text()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("devices", ["auto", "file"])
def test_story_is_told_and_nothing_is_left(
    temporary: Path, adopted: set[int], devices: str
) -> None:
    """A disk's whole life, with real block devices where the kernel allows, and with plain
    files."""
    with start_demo("--devices", devices) as demo:
        output, _ = demo.communicate(timeout=STORY_LIMIT_SECONDS)
    assert demo.returncode == 0, output
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 100
    for said in (
        "create_volume",
        "VolumeCreate",
        "VolumesReassignWait rw:1",
        "remove_snapshot",
        "extend_volume",
        "is refused",
        "force:True",
    ):
        assert said in output
    assert "open at client 1" in " ".join(
        output.partition("is refused")[2].split()
    )  # the refusal names the host
    last = output.splitlines()[-1]
    assert last.startswith(
        "Left in the cluster: 0 volumes, 0 snapshots, 0 attachments, 0 devices on hosts"
    )
    assert_nothing_left(temporary, adopted)


def test_the_day_is_played_on_a_release(temporary: Path, adopted: set[int]) -> None:
    """`--release`: which one is played stands in the first line; Engine starts the file of that
    release and hosts tell their type; in the end it is all taken off."""
    with start_demo("--release", "4.5.7") as demo:
        output, _ = demo.communicate(timeout=STORY_LIMIT_SECONDS)
    assert demo.returncode == 0, output
    assert output.startswith("A disk's whole life on Engine 4.5.7 and Vdsm 4.50.7: ")
    assert max(map(len, output.splitlines())) <= 100
    said = " ".join(output.split())
    for each in (
        "storpool-engine-divert on: /usr/share/ovirt-engine/cinderlib/cinderlib-client.py leads to",
        "Engine starts cinderlib-client.py in /usr/share/ovirt-engine/cinderlib",
        "Vdsm 2 host2.example is ready takes type: local",
        "force:True",
        "Admin finds nothing of it as before",
    ):
        assert each in said
    assert output.splitlines()[-1].startswith("Left in the cluster: 0 volumes, 0 snapshots, 0")
    assert_nothing_left(temporary, adopted)


def test_an_unknown_release_is_one_sentence(temporary: Path) -> None:
    """With the names that there are; nothing was begun."""
    with start_demo("--release", "4.5.9") as demo:
        output, _ = demo.communicate(timeout=STORY_LIMIT_SECONDS)
    assert (demo.returncode, output.count("\n")) == (2, 1)
    assert "'4.5.9' is no release that is played here: take 4.5.4, 4.5.7, master" in output
    assert not list(temporary.iterdir())


def test_a_world_to_type_in_stays_until_a_signal(temporary: Path, adopted: set[int]) -> None:
    """`--stay`: each line that it tells to type does its work in another shell; nothing is left
    when it ends."""
    with start_demo("--stay", "--devices", "file") as demo:
        assert demo.stdout is not None
        try:
            for line in demo.stdout:
                if "In another terminal" in line:
                    break
            script = "".join(itertools.islice(demo.stdout, 8))
            done = subprocess.run(
                ["bash", "-ec", script],
                check=False,
                capture_output=True,
                text=True,
                timeout=STORY_LIMIT_SECONDS,
            )
        finally:
            demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=STORY_LIMIT_SECONDS)
    assert script.lstrip().startswith(f"export STORPOOL_OVIRT_ROOT={temporary}/")
    assert (done.returncode, done.stderr) == (0, "")
    for said in ("OK: mapping, cluster and hosts agree", "qc gold, it had none", "1 deletion"):
        assert said in done.stdout
    assert (demo.returncode, "The world ends here" in output) == (0, True)
    assert_nothing_left(temporary, adopted)


def test_a_world_of_a_release_does_not_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and nothing is begun."""
    assert command.main(["storpool-ovirt", "demo", "--stay", "--release", "4.5.7"]) == 2
    assert "--stay goes without --release" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGINT, "whole life"),  # before anything is up
        (signal.SIGTERM, "host1.example is ready"),  # with --release: one host has its daemons
        (signal.SIGINT, "letter"),  # a file system is mounted on host 1
        (signal.SIGTERM, "Commit the preview"),
        (signal.SIGTERM, "Migrate"),  # the device is on both hosts
        (signal.SIGINT, "of the lost host"),  # a guest's device was taken away
    ],
)
def test_interrupted_story_leaves_nothing(
    temporary: Path, adopted: set[int], number: signal.Signals, after: str
) -> None:
    """Ctrl-C and SIGTERM stop processes, unmount and detach devices, and remove files, wherever
    they come."""
    prefix = ""
    with start_demo(*(["--release", "4.5.7"] if "ready" in after else [])) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if after in line:
                break
        for state in temporary.glob("*/storpool/state"):
            facts = state.stat()
            prefix = f"storpool-simulator-{facts.st_dev:x}-{facts.st_ino:x}-"
        demo.send_signal(number)
        output, _ = demo.communicate(timeout=STORY_LIMIT_SECONDS)
    assert demo.returncode == 128 + number, output
    assert f"interrupted by {number.name}" in output
    assert "Traceback" not in output
    assert not prefix or not loops(prefix)
    assert_nothing_left(temporary, adopted)


def test_missing_program_is_one_clear_sentence(temporary: Path) -> None:
    """Where the simulator is not installed, the demo says so and leaves nothing."""
    code = """
import pathlib, sys
import ovirt_demo
from ovirt_demo import children
children.find = lambda name: pathlib.Path("/none")
sys.exit(ovirt_demo.run())
"""
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith("The demo cannot run here: ")
    assert "Traceback" not in result.stdout + result.stderr
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("module", ["click", "rich", "psycopg2"])
def test_missing_library_is_one_clear_sentence(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the demo's requirements the command tells how to get them."""
    for name in [
        name
        for name in sys.modules
        if name.startswith("ovirt_demo") or name.split(".")[0] == module
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert command.main(["storpool-ovirt", "demo"]) == 1
    said = capsys.readouterr().err
    assert f"{module} is not installed" in said
    assert said.endswith("is not installed: run  make demo  in a clone of the sources\n")


def test_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and no trace."""
    assert command.main(["storpool-ovirt", "no-such-verb"]) == 2
    assert "No such command" in capsys.readouterr().err


def test_signal_counts_where_it_is_looked_for_or_when_it_comes_twice() -> None:
    """Nothing is torn in the middle by the first one; the second one is for who cannot wait; none
    disturbs the end."""
    with interruption.watched() as watch:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(interruption.Interrupted, match="SIGTERM"):
            watch.check()
        signal.raise_signal(signal.SIGINT)
        watch.check()
    with interruption.watched():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(interruption.Interrupted, match="SIGINT"):
            signal.raise_signal(signal.SIGINT)
    with interruption.watched() as watch:
        watch.check()
