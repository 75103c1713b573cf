"""The last words of the programs: a log, an answer and standard streams that are full, stopped,
closed or missing."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import children
from rigs.shared_stage import answered, make_disk, sql
from storpool_ovirt import deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rigs.stage_fixtures import Stage

# What ends at once with a sentence, in a folder that stands for a host without any settings.
PROGRAMS = {
    "storpool-adapter": ["no-such-verb"],
    "managedvolume-helper-storpool": ["attach"],
    "storpool-vm-hook": [],
    "fence_storpool": ["-o", "off", "-n", "1"],
    "storpool-boot-hook": [],
}
# To start and to end on a machine with much to do.
SLACK_SECONDS = 20
# Of the log no line is ever taken: that of a syslog that is stopped.
STALLED = """
import sys, time
from storpool_ovirt import log
log._to_syslog = lambda program, text: time.sleep(600)
import storpool_ovirt.{module}
sys.argv = {argv}
storpool_ovirt.{module}.run()
"""


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Give the writing end of a pipe that holds all it can, and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def hostile() -> None:
    """Start it with its alarm ignored and blocked."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})


def environment(folder: Path) -> dict[str, str]:
    """Return where no host is, but the folders of the logs."""
    for each in (
        "var/log/vdsm",
        "var/log/ovirt-engine/managedblock",
        "etc",
        "var/lib/vdsm/storage",
    ):
        (folder / each).mkdir(parents=True, exist_ok=True)
    (folder / "etc/storpool.conf").write_text("SP_API_HTTP_HOST=x\n")
    (folder / "var/lib/vdsm/storage/managedvolume.db").write_bytes(
        b"not a database"
    )  # the boot hook's complaint
    return {
        **os.environ,
        "STORPOOL_OVIRT_ROOT": str(folder),
        "ENGINE_LOG": str(folder / "var/log/ovirt-engine"),
    }


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_answer_that_nobody_takes_ends_the_program(tmp_path: Path, program: str) -> None:
    """T73: a pipe that is full, and never read: it is killed by its own alarm, also where that was
    ignored."""
    began = time.monotonic()
    with full_pipe() as writing:
        done = subprocess.run(
            [children.find(program), *PROGRAMS[program]],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=environment(tmp_path),
            timeout=60,
            preexec_fn=hostile,
        )
    assert done.returncode == -signal.SIGALRM
    assert time.monotonic() - began < deadline.END_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        ("engine.adapter", ["a", "no-such-verb"]),
        ("host.helper", ["h", "attach"]),
        ("host.vm_hook", ["before"]),
        ("fence.agent", ["f", "-o", "off", "-n", "1"]),
        ("host.boot_hook", ["b"]),
    ],
)
def test_a_log_service_that_is_stopped_ends_the_program(
    tmp_path: Path, module: str, argv: list[str]
) -> None:
    """T73: the log line of a failure goes to a syslog that takes nothing."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STALLED.format(module=module, argv=argv)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        env={
            **os.environ,
            "STORPOOL_OVIRT_ROOT": str(tmp_path / "nothing"),
            "ENGINE_LOG": str(tmp_path / "nothing"),
            **_broken_database(tmp_path, module),
        },
    )
    assert done.returncode == -signal.SIGALRM, done
    assert time.monotonic() - began < deadline.END_SECONDS + SLACK_SECONDS


def _broken_database(folder: Path, module: str) -> dict[str, str]:
    """Give the boot hook, which has nothing to say on a host without StorPool, something to
    complain of."""
    if module != "host.boot_hook":
        return {}
    (folder / "var/lib/vdsm/storage").mkdir(parents=True)
    (folder / "var/lib/vdsm/storage/managedvolume.db").write_bytes(b"not a database")
    return {"STORPOOL_OVIRT_ROOT": str(folder)}


def test_a_log_that_stalls_after_the_answer_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    """T72, T73: Engine has the answer, the journal says so, and the exit code does too."""
    disk = make_disk(stage.engine)
    argv = stage.engine.argv("create_snapshot", disk, correlation_id="stalled")
    code = STALLED.format(module="engine.adapter", argv=[str(each) for each in argv])
    # With a log that is no file every line goes to syslog; that of the snapshot itself is let pass.
    code = code.replace(
        "lambda program, text: time", 'lambda program, text: "verb_done" in text and time'
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        env={**os.environ, **stage.engine.environment, "ENGINE_LOG": str(tmp_path / "nothing")},
    )
    assert done.returncode == 0, done
    assert done.stdout.startswith(b"stalled:")
    assert sql(
        stage.database, "SELECT count(*) FROM storpool_ovirt.operation WHERE state <> 'undone'"
    ) == [(0,)]


def closing(*descriptors: int) -> Callable[[], None]:
    """Return what closes these before the program starts."""
    return lambda: [os.close(each) for each in descriptors] and None


@pytest.mark.parametrize("with_log", [True, False])
@pytest.mark.parametrize("missing", [(1,), (0, 1), (0, 1, 2)], ids=str)
def test_an_adapter_without_stdout_delivers_nothing(
    stage: Stage, tmp_path: Path, missing: tuple[int, ...], with_log: bool
) -> None:
    """T71, T72: the answer goes nowhere, not into the log either: exit code 1, and the journal has
    the claim."""
    disk = make_disk(stage.engine)
    log_folder = {} if with_log else {"ENGINE_LOG": str(tmp_path / "nothing")}
    done = subprocess.run(
        stage.engine.argv("create_snapshot", disk, correlation_id="closed"),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        preexec_fn=closing(*missing),
        env={**os.environ, **stage.engine.environment, **log_folder},
    )
    assert done.returncode == 1
    states = sql(
        stage.database, "SELECT state FROM storpool_ovirt.operation WHERE state <> 'undone'"
    )
    assert states == [("undelivered",)]
    answered(stage.engine.run("extend_volume", disk, "2"))


@pytest.mark.parametrize("missing", [(0,), (0, 1), (1,)], ids=str)
def test_a_helper_whose_streams_are_closed(tmp_path: Path, missing: tuple[int, ...]) -> None:
    """T24: one sentence on stderr, about stdin where that is missing, and no internal error."""
    done = subprocess.run(
        [children.find("managedvolume-helper-storpool"), "attach"],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        preexec_fn=closing(*missing),
        env=environment(tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"stdin is not JSON"), done.stderr
    assert b"stdin is not JSON" in (tmp_path / "var/log/vdsm/storpool-helper.log").read_bytes()


@pytest.mark.parametrize("number", [6, 7])
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_more_files(tmp_path: Path, program: str, number: int) -> None:
    """T24: with no descriptor to spare it still ends with words of its own, and no trace."""
    given: dict[str, Any] = environment(tmp_path)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))

    done = subprocess.run(
        [children.find(program), *PROGRAMS[program]],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=given,
        timeout=60,
        preexec_fn=limit,
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said, said
    assert said.count(b"\n") == 1


def test_a_disk_that_is_full_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """What does not fit goes to syslog, whole, and the next line is one of its own."""
    path = tmp_path / "a.log"
    code = f"""
import json, resource
from storpool_ovirt import log
told = []
log._to_syslog = lambda program, text: told.append(text)
journal = log.Log("test", {str(path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
journal.line("first", fact="x" * 200)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps(told))
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    assert json.loads(said.stdout) == [f"- first fact={'x' * 200}"]
    assert path.stat().st_size == 150
