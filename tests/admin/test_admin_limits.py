"""Each command of `storpool-ovirt` ends within its limit, with the true reason, whatever the API or
the database do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from rigs import canned_api, refusals
from rigs.admin_site import AdminSite
from rigs.yard import DISK
from storpool_ovirt.admin import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_SECONDS = 3
# What a command may take beyond its limit: its net, and to start and end on a machine with much to
# do.
SLACK_SECONDS = limits.LAST_SECONDS + 12
START_SECONDS = 60  # until a program asks its API, on such a machine

COMMANDS = (
    ["audit"],
    ["reconcile"],
    ["reconcile", "--remove", DISK],
    ["rebuild"],
    ["attachments"],
    ["mend", DISK],
    ["claim"],
)


def run(
    site: AdminSite, arguments: list[str], port: int, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command against another API, with a short limit."""
    path = site.folder / "other.json"
    path.write_text(
        json.dumps({**site.stage.engine.options, "sp_api_http_port": str(port), **options})
    )
    started = time.monotonic()
    said = site.run(*arguments, "--options", str(path), "--limit", str(LIMIT_SECONDS))
    assert time.monotonic() - started < LIMIT_SECONDS + SLACK_SECONDS
    return said


@contextlib.contextmanager
def dripping() -> Iterator[int]:
    """Serve a peer that sends a byte now and then, for ever."""
    with canned_api.answering([canned_api.DRIP]) as canned:
        yield canned.port


@contextlib.contextmanager
def silent(reached: threading.Event | None = None) -> Iterator[int]:
    """Serve a peer that takes connections and says nothing; `reached` is set when one has come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    if reached is not None:
                        reached.set()

        thread = threading.Thread(target=take)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in held:
            each.close()


@pytest.mark.parametrize("peer", [dripping, silent])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_api_that_never_answers_is_one_sentence(
    site: AdminSite, disk: str, arguments: list[str], peer: Any
) -> None:
    """T73: the reason is the API, and which one, not that something took long."""
    arguments = [disk if each == DISK else each for each in arguments]
    with peer() as port:
        said = run(site, arguments, port)
    sentence = refusals.of_command(said, 3 if arguments[0] == "audit" else 1)
    assert f"StorPool API at 127.0.0.1:{port}" in sentence


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_database_that_never_answers_is_one_sentence(
    site: AdminSite, arguments: list[str]
) -> None:
    """T73: the reason is the database; `attachments` goes on without it, as it is asked most when
    much is broken."""
    with silent() as port:
        url = f"postgresql://ovirt:secret-word@127.0.0.1:{port}/nowhere"
        started = time.monotonic()
        said = site.run(*arguments, "--database", url, "--limit", str(LIMIT_SECONDS))
        assert time.monotonic() - started < LIMIT_SECONDS + SLACK_SECONDS
    assert "secret-word" not in said.stdout + said.stderr
    if arguments == ["attachments"]:
        assert (said.returncode, said.stderr) == (0, "")
        assert "times are missing: waited for the mapping database" in said.stdout
        return
    sentence = refusals.of_command(said, 3 if arguments[0] == "audit" else 1)
    assert "database" in sentence


ODD = {
    "null": None,
    "a number": 7,
    "a list of nulls": [None],
    "a list of lists": [[]],
    "an object": {"volumes": 1},
    "null ids": [{"name": "x", "globalId": None, "size": None, "templateName": None, "tags": None}],
    "infinity": [
        {"name": "x", "globalId": "a.b.1", "size": 1e999, "templateName": "t", "tags": {}}
    ],
    "odd tags": [
        {"name": "x", "globalId": "a.b.1", "size": 1, "templateName": "t", "tags": [1, 2]}
    ],
}


@pytest.mark.parametrize("arguments", [["audit"], ["attachments"]], ids=" ".join)
@pytest.mark.parametrize("what", ODD)
def test_an_odd_answer_is_one_sentence(site: AdminSite, arguments: list[str], what: str) -> None:
    """T24: what StorPool cannot have meant is the reason, and not an error of ours."""
    with canned_api.answering([canned_api.ok(ODD[what])]) as canned:
        said = run(site, arguments, canned.port)
    sentence = refusals.of_command(said, 3 if arguments[0] == "audit" else 1)
    assert "internal error" not in sentence
    assert f"127.0.0.1:{canned.port}" in sentence


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_command_that_is_told_to_end_says_so(
    site: AdminSite, number: signal.Signals, code: int
) -> None:
    """T24: one sentence that it can be run again, and the exit code of an interruption."""
    from ovirt_demo import children

    at_work = threading.Event()
    with silent(at_work) as port:
        path = site.folder / "other.json"
        path.write_text(json.dumps({**site.stage.engine.options, "sp_api_http_port": str(port)}))
        command = [
            children.find("storpool-ovirt"),
            "reconcile",
            "--database",
            site.stage.database.url,
            "--options",
            path,
        ]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **site.stage.engine.environment,
                "STORPOOL_OVIRT_ROOT": str(site.folder),
            },
            # A shell that runs the tests in the background has them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as process:
            try:
                assert at_work.wait(START_SECONDS), "it never asked the API"
                process.send_signal(number)
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
    assert (process.returncode, out, err.count("\n")) == (code, "", 1)
    assert "run it again" in err
