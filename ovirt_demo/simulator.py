"""The installed `storpool-simulator` as a child process, and a client for its control port."""

from __future__ import annotations

import contextlib
import http.client
import json
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovirt_demo import children

PROGRAM = "storpool-simulator"
TEMPLATE = "hybrid"
START_LIMIT_SECONDS = 30.0  # ours: it takes well under a second
STOP_LIMIT_SECONDS = 20.0  # ours: each attached device has to be taken down
REQUEST_LIMIT_SECONDS = 30.0
CONTROL = "/simulator"
API = "/ctrl/1.0"
TRASH = "ovirt-trash--"  # what the names of deleted disks begin with, as long as they are kept
# Whoever looks from outside wants to know what is so, whichever instance answers others.
ACTIVE_INSTANCE = {"Simulator-Instance": "active"}


class NoStart(Exception):
    """The simulator did not come up: the end of what it said."""

    def __init__(self, said: str) -> None:
        super().__init__(f"{PROGRAM} did not start: {said.strip()[-1000:] or 'it said nothing'}")


class Refused(Exception):
    """The simulator refused a request that is not under test."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        self.status = status
        super().__init__(
            f"{PROGRAM} answered {method} {path} with {status}:"
            f" {body[:300].decode(errors='replace')}"
        )


class Simulator:
    """A simulator with its state in `folder`.

    `hosts` has one folder for each host by client id. It may be stopped, killed and started again:
    it comes back on the same port with the same state.
    """

    def __init__(  # noqa: PLR0913  what its command line takes
        self,
        folder: Path,
        hosts: Mapping[int, Path],
        *,
        token: str = "1234567890123456789",  # noqa: S107  of an API on the loopback, for seconds
        templates: Sequence[str] = (TEMPLATE,),
        devices: str = "auto",
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.hosts = dict(hosts)
        self.token = token
        self.templates = tuple(templates)
        self.devices = devices
        self.options = tuple(options)
        self.address = "127.0.0.1"
        self.port = 0
        self.log = folder / "simulator.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    def driver_options(self) -> dict[str, str]:
        """Return what an administrator gives to Engine for a domain on this cluster."""
        return {
            "adapter": "storpool",
            "sp_api_http_host": self.address,
            "sp_api_http_port": str(self.port),
            "sp_auth_token": self.token,
            "sp_template": self.templates[0].partition(":")[0],
            # Here as many disks go within minutes as elsewhere within weeks
            "sp_max_deletes": "0",
            "volume_backend_name": "sp-domain",
        }

    def start(self) -> None:
        """Start it and wait for its line; raises NoStart and children.ProgramMissing."""
        for folder in (self.folder, *self.hosts.values()):
            folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._argv(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for us; the simulator ends when we say so
            )
        self._process = process
        try:
            self._read_ready(process)
        except BaseException:
            children.kill(process)
            raise
        finally:
            if process.stdout:
                process.stdout.close()

    def stop(self) -> int | None:
        """End it with SIGTERM and return its exit status; killed when that takes too long."""
        process, self._process = self._process, None
        return children.end(process, signal.SIGTERM, STOP_LIMIT_SECONDS) if process else None

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        process, self._process = self._process, None
        if process:
            children.kill(process)

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port with the same state."""
        self.stop()
        self.start()

    def inject(self, kind: str, **facts: Any) -> None:
        """Add a fault of this kind; docs/simulator.md has the kinds and their facts."""
        self.control("POST", "faults", {"kind": kind, **facts})

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.control("DELETE", "faults")

    def calls(self) -> list[dict[str, Any]]:
        """Return the API calls since the start or the last clear_calls()."""
        answer: list[dict[str, Any]] = self.control("GET", "calls")
        return answer

    def clear_calls(self) -> None:
        """Forget the API calls so far."""
        self.control("DELETE", "calls")

    def clients(self) -> dict[int, dict[str, Any]]:
        """Return the state of each host by client id.

        It has its status, the devices declared open there, and those taken from it by force.
        """
        clients = self.control("GET", "clients")
        return {int(client_id): facts for client_id, facts in clients.items()}

    def set_client(self, client_id: int, **state: Any) -> None:
        """Change a host.

        It is status="running" or "down", open=[global ids] for devices declared open.
        """
        self.control("POST", f"clients/{client_id}", state)

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock on."""
        self.control("POST", "clock", {"advance": seconds})

    def set_switches(self, **switches: str) -> None:
        """Choose what is not known about StorPool for certain."""
        self.control("POST", "switches", switches)

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the control port, and return its answer; raises Refused and OSError."""
        return self._request(method, f"{CONTROL}/{path}", body)

    def api(self, query: str, body: Any = None) -> Any:
        """Ask the API as a program that is not under test would, and return the data.

        It is a GET, or a POST if there is a body. Raises Refused and OSError.
        """
        return self._request("GET" if body is None else "POST", f"{API}/{query}", body)["data"]

    def objects(self, *, being_deleted: bool = False) -> dict[str, int]:
        """Return how many volumes, snapshots and attachments are in the cluster, without what is in
        the trash.

        StorPool deletes snapshots in the background; those that it has begun with count only if
        asked for.
        """
        queries = {
            "volumes": "VolumesList",
            "snapshots": "SnapshotsList",
            "attachments": "AttachmentsList",
        }
        counts = {}
        for what, query in queries.items():
            found = self.api(query)
            counts[what] = sum(
                (being_deleted or not one.get("deleted")) and not _is_trash(one) for one in found
            )
        return counts

    def _argv(self) -> list[str]:
        argv = [str(children.find(PROGRAM))]
        argv += ["--listen", f"{self.address}:{self.port}", "--token", self.token]
        argv += ["--state", str(self.folder / "state"), "--devices", self.devices]
        for template in self.templates:
            argv += ["--template", template]
        for client_id, folder in self.hosts.items():
            argv += ["--host", f"{client_id}={folder}"]
        return [*argv, *self.options]

    def _read_ready(self, process: subprocess.Popen[bytes]) -> None:
        line = _read_line(process)
        try:
            ready = json.loads(line)
            self.address, self.port = ready["host"], int(ready["port"])
        except (ValueError, KeyError, TypeError) as error:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise NoStart(f"{line.decode(errors='replace')}{said}") from error

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(
            self.address, self.port, timeout=REQUEST_LIMIT_SECONDS
        )
        with contextlib.closing(connection):
            headers = {
                "Authorization": f"Storpool v1:{self.token}",
                "Content-Type": "application/json",
                **ACTIVE_INSTANCE,
            }
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read()
        if response.status != http.client.OK:
            raise Refused(method, path, response.status, answer)
        return json.loads(answer)


@contextlib.contextmanager
def running(folder: Path, hosts: Mapping[int, Path], **options: Any) -> Iterator[Simulator]:
    """Give a simulator for as long as the block lasts; the options are those of Simulator."""
    simulator = Simulator(folder, hosts, **options)
    try:
        simulator.start()
        yield simulator
    finally:
        simulator.stop()


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    """Return the first line of a child's output.

    It is cut short when the child ends or the limit is reached.
    """
    deadline = time.monotonic() + START_LIMIT_SECONDS
    line = bytearray()
    if process.stdout is None:
        return b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            byte = process.stdout.read(1)
            if not byte:
                break
            line += byte
    return bytes(line)


def _is_trash(one: Mapping[str, Any]) -> bool:
    return str(one.get("name", "")).startswith(TRASH)
