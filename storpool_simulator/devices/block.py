"""The data path: `python -m storpool_simulator.devices.block`, one process for each state folder.

StorPool's client goes on when the API is killed, so this is not a thread of the API: it outlives
that, and a restarted API takes it over. When no API has been there for the linger time it removes
every device and ends by itself.

Threads: the kernel is answered by one; each connection has its own, because changing a loop device
waits for answers to the kernel, and a change that waits for a held volume must not stop the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import socketserver
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from storpool_simulator.devices import blockcontrol, blockdevices, fuse

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK_SECONDS = 10.0  # our choice: how long a predecessor may take to end
_LOOK_SECONDS = 1.0  # a signal that another thread takes wakes nobody
FIRST_SECONDS = 20.0  # our choice: how long the API that has just started this one may take to come

Answer = dict[str, Any]


class _EndingError(Exception):
    """It is too late: this process is about to end, and a new one has to be started."""


class Process:
    """The requests, and the life of the process."""

    def __init__(self, devices: blockdevices.BlockDevices, linger_seconds: float) -> None:
        self._devices = devices
        self._linger_seconds = linger_seconds
        self._changed = threading.Condition()
        self._present = 0
        self._alone_until = time.monotonic() + max(linger_seconds, FIRST_SECONDS)
        self._ending = False
        self._links: list[Path] = []

    def wait(self) -> None:
        """Return when it is time to end."""
        with self._changed:
            while not self._ending:
                left = self._alone_until - time.monotonic()
                if not self._present and left <= 0:
                    self._ending = True
                else:
                    self._changed.wait(_LOOK_SECONDS if self._present else left)

    def end(self) -> None:
        """Remove all devices, and the links to them."""
        devices = {one["device"] for one in self._devices.listed()}
        for folder in self._links:
            with contextlib.suppress(FileNotFoundError):
                for link in folder.iterdir():
                    if link.is_symlink() and str(link.readlink()) in devices:
                        link.unlink()
        self._devices.end()

    def do(self, line: bytes, connection: Connection) -> None:
        """Carry out one request and answer it."""
        try:
            request = json.loads(line)
            verb = _VERBS[request.pop("do")]
        except (ValueError, TypeError, LookupError, AttributeError):
            connection.answer({"error": "that is no request"})
            return
        try:
            verb(self, connection, **request)
        except (OSError, TypeError) as problem:
            # The system refuses, or the facts are not those of the verb.
            connection.answer({"error": str(problem)})

    def _stay(self, connection: Connection, links: list[str]) -> None:
        with self._changed:
            if self._ending:
                raise _EndingError
            self._present += 1
            self._links = [Path(folder) for folder in links]
            self._changed.notify_all()
        try:
            connection.answer({"pid": os.getpid(), "nodes": self._devices.listed()})
            connection.wait_for_end()
        finally:
            with self._changed:
                self._present -= 1
                self._alone_until = time.monotonic() + self._linger_seconds
                self._changed.notify_all()

    def _show(self, connection: Connection, client: int, global_id: str, **wanted: Any) -> None:
        device = self._devices.show(client, global_id, blockdevices.Wanted(**wanted))
        connection.answer({"device": device})

    def _hide(self, connection: Connection, client: int, global_id: str, cut: bool) -> None:
        self._devices.hide(client, global_id, cut)
        connection.answer({})

    def _resize(self, connection: Connection, global_id: str, size_bytes: int) -> None:
        self._devices.resize(global_id, size_bytes)
        connection.answer({})

    def _hold(self, connection: Connection, global_ids: list[str]) -> None:
        self._devices.files.hold(global_ids)
        try:
            connection.answer({})
            connection.wait_for_end()
        finally:
            self._devices.files.release(global_ids)

    def _delay(self, connection: Connection, client: int, seconds: float) -> None:
        self._devices.files.delay(client, seconds)
        connection.answer({})

    def _end(self, connection: Connection) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        connection.answer({})


_VERBS: dict[str, Callable[..., None]] = {
    "stay": Process._stay,
    "show": Process._show,
    "hide": Process._hide,
    "resize": Process._resize,
    "hold": Process._hold,
    "delay": Process._delay,
    "end": Process._end,
}


class Connection(socketserver.StreamRequestHandler):
    """One request of an API."""

    server: _Control

    def handle(self) -> None:
        """Read the request and have it done; whoever is gone before the answer needs none."""
        with contextlib.suppress(_EndingError, BrokenPipeError, ConnectionResetError):
            line = self.rfile.readline()
            if line:
                self.server.process.do(line, self)

    def answer(self, facts: Answer) -> None:
        """Send the one line."""
        self.wfile.write(json.dumps(facts).encode() + b"\n")

    def wait_for_end(self) -> None:
        """Return when the other side has closed the connection, or has died."""
        with contextlib.suppress(ConnectionResetError):
            self.rfile.read(1)


class _Control(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    process: Process


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the data path of one state folder until it ends; return 0.

    Says `ready` on stdout when devices can be asked for.
    """
    parser = argparse.ArgumentParser(
        prog="python -m storpool_simulator.devices.block", description="data path"
    )
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--linger", type=float, default=blockcontrol.LINGER_SECONDS)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the API, which says what to do
    os.umask(0o077)
    state = os.open(options.state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    blockcontrol.lock(state, LOCK_SECONDS)  # held until this process is gone
    _allow_many_files()
    devices = blockdevices.BlockDevices(options.state)
    threading.Thread(target=_serve, args=(devices.files,), name="fuse", daemon=True).start()
    process = Process(devices, options.linger)
    try:
        _listen(state, process)
        print("ready", flush=True)  # noqa: T201  the starter waits for it
        process.wait()
    finally:
        process.end()
    return 0


def _listen(state: int, process: Process) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(blockcontrol.SOCKET, dir_fd=state)
    control = _Control(blockcontrol.socket_path(state), Connection)
    control.process = process
    threading.Thread(target=control.serve_forever, name="control", daemon=True).start()


def _serve(files: fuse.Server) -> None:
    try:
        files.serve()
    except BaseException:
        # Without this thread every I/O would hang for ever: when the process is gone, it fails.
        traceback.print_exc()
    os._exit(1)


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _leave(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
