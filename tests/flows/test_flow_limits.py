"""Every program ends within its limit, with the true reason, whatever names, addresses and peers
do.

Real processes, in a mount namespace of their own with other name servers and another /etc/hosts:
root only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from rigs import canned_api, refusals
from rigs.shared_stage import engine_with, new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database
    from rigs.stage_fixtures import Stage

BIN = Path(sys.executable).parent
NAME = "storpool.test"
NAME_SERVER = f"127.9.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"  # of this process alone
NAMESPACE = (
    'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'
)
GLOBAL_ID = "sim.a.9"
OURS = {
    "connection_info": {
        "adapter": "storpool",
        "driver_volume_type": "storpool",
        "data": {
            "volume": "d0000000-0000-4000-8000-000000000000",
            "global_id": GLOBAL_ID,
            "access_mode": "rw",
        },
    }
}
DOMAIN = (
    "<domain><devices><disk><source"
    f' dev="/dev/storpool-byid/{GLOBAL_ID}"/></disk></devices></domain>'
)
OPTIONS = {"sp_auth_token": "1234567890", "sp_template": "hybrid"}


class Program(NamedTuple):
    """A program as its caller starts it, and how long it may take by its own limits."""

    arguments: tuple[str, ...]
    stdin: bytes
    limit_seconds: float


class Host:
    """A host's folder: its settings name the API by a name."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        (folder / "etc").mkdir(parents=True)
        (folder / "dev/storpool-byid").mkdir(parents=True)
        name = os.uname().nodename
        settings = (
            f"SP_API_HTTP_HOST={NAME}\nSP_API_HTTP_PORT={port}\n"
            f"SP_AUTH_TOKEN=1234567890\n[{name}]\nSP_OURID=1\n"
        )
        (folder / "etc/storpool.conf").write_text(settings)
        self.document = folder / "domain.xml"
        self.document.write_text(DOMAIN)
        self.resolv, self.hosts = folder / "resolv.conf", folder / "hosts"
        self.resolv.write_text(f"nameserver {NAME_SERVER}\n")
        self.hosts.write_text("127.0.0.1 localhost\n")

    def programs(self) -> dict[str, Program]:
        """Return what runs on a host."""
        point = self.folder / "usr/libexec/vdsm/hooks/before_vm_start"
        point.mkdir(parents=True, exist_ok=True)
        hook = point / "50_storpool"
        if not hook.is_symlink():
            hook.symlink_to(BIN / "storpool-vm-hook")
        agent = b"agent=fence_storpool\naction=status\nport=2\n"
        return {
            "attach": Program(
                (str(BIN / "managedvolume-helper-storpool"), "attach"),
                json.dumps(OURS).encode(),
                55,
            ),
            "detach": Program(
                (str(BIN / "managedvolume-helper-storpool"), "detach"),
                json.dumps(OURS).encode(),
                55,
            ),
            "start": Program((str(hook),), b"", 41),
            "fence agent": Program((str(BIN / "fence_storpool"),), agent, 55),
            "fence-host": Program((str(BIN / "storpool-ovirt"), "fence-host", "2"), b"", 55),
            "attachments": Program((str(BIN / "storpool-ovirt"), "attachments"), b"", 60),
        }

    def run(self, program: Program) -> tuple[int, str, float]:
        """Run a program in a namespace of its own; return its exit code, what it said, and the
        seconds that it took."""
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            NAMESPACE,
            "sh",
            str(self.resolv),
            str(self.hosts),
        ]
        environment = {
            **os.environ,
            "STORPOOL_OVIRT_ROOT": str(self.folder),
            "_hook_domxml": str(self.document),
            "ENGINE_LOG": str(self.folder),
        }
        began = time.monotonic()
        done = subprocess.run(
            [*command, *program.arguments],
            input=program.stdin,
            env=environment,
            timeout=150,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout.decode(), time.monotonic() - began


@pytest.fixture(autouse=True)
def _can_have_namespaces() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare (util-linux), for other name servers in a namespace")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespace")


@pytest.fixture
def _silent_name_server() -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((NAME_SERVER, 53))
        except OSError as error:
            pytest.skip(f"no name server can be put there: {error}")
        yield


PROGRAMS = ("attach", "detach", "start", "fence agent", "fence-host", "attachments")


@pytest.mark.usefixtures("_silent_name_server")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_silent_name_server(tmp_path: Path, name: str) -> None:
    """T73: the C library would wait for most of a minute; the program says in time that the name is
    what is wrong."""
    host = Host(tmp_path, 81)
    program = host.programs()[name]
    code, said, seconds = host.run(program)
    assert code != 0
    assert f"{NAME}:81 cannot be resolved (no name server answered" in said
    assert seconds < min(program.limit_seconds, 30)


@contextlib.contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """Have an address drop whoever connects: its queue is full, and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect((address, port))
        yield


def test_a_name_with_silent_addresses_before_the_good_one(tmp_path: Path) -> None:
    """T73: the good one is found within seconds, once for a process, and the work is done."""
    answers: list[Any] = [canned_api.ok({"ok": True, "generation": 1}), canned_api.ok([])]
    with (
        canned_api.answering(answers) as server,
        silent("127.0.0.3", server.port),
        silent("127.0.0.5", server.port),
    ):
        host = Host(tmp_path, server.port)
        host.hosts.write_text(
            "".join(f"{each} {NAME}\n" for each in ("127.0.0.3", "127.0.0.5", "127.0.0.1"))
        )
        code, said, seconds = host.run(host.programs()["attachments"])
    assert code == 0, said
    assert "0 attachments" in said
    assert seconds < 20


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_name_with_silent_addresses_only(tmp_path: Path, name: str) -> None:
    """T73: each is tried for seconds, over and over within the limit, and the reason is what they
    have in common."""
    with socket.socket() as free:
        free.bind(("127.0.0.3", 0))
        port = free.getsockname()[1]
    with silent("127.0.0.3", port), silent("127.0.0.5", port):
        host = Host(tmp_path, port)
        host.hosts.write_text(f"127.0.0.3 {NAME}\n127.0.0.5 {NAME}\n")
        program = host.programs()[name]
        code, said, seconds = host.run(program)
    assert code != 0
    assert "timed out" in said or "time limit" in said
    assert seconds < program.limit_seconds + 5


def test_a_domain_with_a_wrong_address_is_refused_soon(stage: Stage, closed_port: str) -> None:
    """T73: whoever adds a domain waits for storage_stats: it says within seconds that nothing
    listens there."""
    began = time.monotonic()
    said = refusals.of_verb(
        engine_with(stage, sp_api_http_port=closed_port).run("storage_stats", "true")
    )
    assert "connection refused" in said
    assert time.monotonic() - began < 20


@pytest.fixture
def closed_port() -> str:
    """A port where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.parametrize("verb", ["audit", "reconcile", "rebuild", "attachments"])
def test_an_api_that_drips(stage: Stage, database: Database, tmp_path: Path, verb: str) -> None:
    """T73: a byte now and then resets every time-out of a socket; the command ends within the limit
    that it has."""
    stage.engine.run("create_volume", new_id(), "1").require()  # which makes the tables
    with canned_api.answering([canned_api.DRIP]) as server:
        options = tmp_path / "options.json"
        options.write_text(
            json.dumps(
                {**OPTIONS, "sp_api_http_host": "127.0.0.1", "sp_api_http_port": server.port}
            )
        )
        command = [
            str(BIN / "storpool-ovirt"),
            verb,
            "--options",
            str(options),
            "--database",
            database.url,
        ]
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--limit", "3"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "STORPOOL_OVIRT_ROOT": str(tmp_path), "ENGINE_LOG": str(tmp_path)},
        )
    assert done.returncode != 0
    assert "StorPool" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30
