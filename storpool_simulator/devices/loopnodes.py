"""Devices for root: loop devices whose data path is a process of its own (the module block)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storpool_simulator.devices import blockcontrol, blockdevices, nodes, openers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# Not imported here: it would be there twice, once as __main__.
PROGRAM = "storpool_simulator.devices.block"
# Our choice: a start takes 0.3 s, and waits at most half of this for a predecessor's end.
START_SECONDS = 20.0
# Our choice: the longest wait is for a volume that is held while it is copied.
ANSWER_SECONDS = 60.0
PACKAGES = Path(__file__).resolve().parents[2]
# Python finds these without help, and they are wrong in front of the standard library.
INSTALLED = frozenset({"site-packages", "dist-packages"})


class LoopNodes:
    """The loop devices of one state folder.

    Every call is a connection of its own, so any thread may make it.
    """

    def __init__(self, state: Path, links: Sequence[Path], linger_seconds: float) -> None:
        self._state = state.resolve()
        self._links = links
        self._linger_seconds = linger_seconds
        self._state_fd = -1
        self._devices: dict[nodes.Key, Path] = {}
        self._presence: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def start(self) -> dict[nodes.Key, Path]:
        """Take over the data path that an earlier run left, or start one; return its devices."""
        self._state_fd = os.open(self._state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        found = self._stay()
        if found is None:
            self._spawn()
            found = self._stay()
        if found is None:
            raise nodes.DeviceError(
                f"the data path of {self._state} ended as soon as it had started; see its"
                f" {blockcontrol.LOG}"
            )
        self._devices = found
        return dict(found)

    def show(self, client_id: int, node: nodes.Node) -> Path:
        """Have the loop device there, and return its path."""
        answer = self._call(
            "show",
            client=client_id,
            global_id=node.global_id,
            path=str(node.path.resolve()),
            size_bytes=node.size_bytes,
            read_only=node.read_only,
        )
        device = self._devices[(client_id, node.global_id)] = Path(answer["device"])
        return device

    def check_hide(self, keys: Collection[nodes.Key]) -> None:
        """Do nothing: each attachment has a device of its own, so none has to be refused."""

    def hide(self, keys: Collection[nodes.Key], cut: bool) -> None:
        """Let go of the loop devices.

        One that is still open stays until it is closed, and answers errors only.
        """
        for key in keys:
            self._call("hide", client=key[0], global_id=key[1], cut=cut)
            self._devices.pop(key, None)

    def holders(self, client_id: int, global_id: str) -> tuple[str, ...]:
        """Return who holds the loop device open."""
        device = self._devices.get((client_id, global_id))
        return () if device is None else openers.of_device(device, self._pid)

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Have all loop devices of this object follow."""
        self._call("resize", global_id=global_id, size_bytes=size_bytes)

    @contextlib.contextmanager
    def quiesce(self, global_ids: Iterable[str]) -> Iterator[None]:
        """Hold writes for as long as a connection lives.

        If this process dies inside, they go on.
        """
        connection, _ = self._ask("hold", global_ids=list(global_ids))
        with connection:
            yield

    def delay(self, client_id: int, seconds: float) -> None:
        """Delay every read and write of this host, on what is attached now or later."""
        self._call("delay", client=client_id, seconds=seconds)

    def close(self) -> None:
        """Have everything removed, and wait until the process is gone."""
        if self._state_fd < 0:
            return
        with contextlib.suppress(nodes.DeviceError):  # it may have been killed
            self._call("end")
        if self._presence is not None:
            self._presence.close()
        self._wait_until_gone()
        for name in (blockcontrol.SOCKET, blockcontrol.LOG, blockcontrol.LOCK):
            (self._state / name).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (self._state / blockdevices.MOUNT).rmdir()
        os.close(self._state_fd)
        self._state_fd = -1
        self._devices.clear()

    def _stay(self) -> dict[nodes.Key, Path] | None:
        try:
            connection, answer = self._ask("stay", links=[str(folder) for folder in self._links])
        except nodes.DeviceError:
            return None
        self._presence = connection
        self._pid = answer["pid"]
        return {(one["client"], one["global_id"]): Path(one["device"]) for one in answer["nodes"]}

    def _spawn(self) -> None:
        arguments = ["--state", str(self._state), "--linger", str(self._linger_seconds)]
        log_path = self._state / blockcontrol.LOG
        log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(log_fd, "ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                # What ends the API, like Ctrl-C in its terminal, is not for the data path.
                start_new_session=True,
            )
        assert self._child.stdout is not None  # noqa: S101  for the type checker
        with self._child.stdout as pipe:
            waiting = select.poll()  # `select` takes no file from the 1,024th on
            waiting.register(pipe, select.POLLIN)
            ready = waiting.poll(1000 * START_SECONDS) and pipe.readline()
        if not ready:
            self._child.kill()
            self._child.wait(START_SECONDS)
            lines = log_path.read_text(errors="replace").splitlines()
            last = lines[-1] if lines else "it said nothing"
            raise nodes.DeviceError(f"the data path did not start: {last}")

    def _call(self, verb: str, **facts: object) -> dict[str, Any]:
        connection, answer = self._ask(verb, **facts)
        connection.close()
        return answer

    def _ask(self, verb: str, **facts: object) -> tuple[socket.socket, dict[str, Any]]:
        """Send one request on a connection of its own; return the connection and the reply."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(blockcontrol.socket_path(self._state_fd))
            connection.sendall(json.dumps({"do": verb, **facts}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except OSError as problem:
            connection.close()
            raise nodes.DeviceError(
                f"the data path of {self._state} does not answer to {verb}: {problem}"
            ) from problem
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it has ended"}
        if "error" in answer:
            connection.close()
            raise nodes.DeviceError(
                f"the data path of {self._state} could not {verb}: {answer['error']}"
            )
        return connection, answer

    def _wait_until_gone(self) -> None:
        try:
            if self._child is not None:
                self._child.wait(START_SECONDS)
            os.close(blockcontrol.lock(self._state_fd, START_SECONDS))
        except (TimeoutError, subprocess.TimeoutExpired) as problem:
            raise nodes.DeviceError(f"process {self._pid}, the data path: {problem}") from problem


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if PACKAGES.name not in INSTALLED:
        folders = [str(PACKAGES), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    return environment
