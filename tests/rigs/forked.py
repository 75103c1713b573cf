"""Runs of one program that share its start: for tests that run it some hundred times, each time to
disturb its work.

A keeper has started Python and imported what the program imports. Each run is a fork of it: a
process with its own id, session, arguments, folder and pipes, to be killed and waited for as any
other. Starting Python takes most of what a run of ours takes, and is the same in each of them;
whoever uses this also has real starts (`subprocess.Popen`) to compare with.

As a program, this file is the keeper.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

REQUEST_BYTES = 1 << 20  # an argument has at most 128 KiB
LIMIT_SECONDS = 30.0
READY = b"ready"


class Keeper:
    """A process that has imported these parts of a program, with this environment."""

    def __init__(self, parts: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; a part is a module, or a function without arguments (`module:function`) that
        imports more."""
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(LIMIT_SECONDS)
        self._turn = threading.Lock()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno()), *parts],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )
        if self._socket.recv(REQUEST_BYTES) != READY:
            self.close()
            raise ImportError(f"not all of {parts} can be imported (stderr has the trace)")

    @contextlib.contextmanager
    def started(
        self,
        argv: Sequence[str],
        folder: Path,
        umask: int,
        environment: Mapping[str, str] | None = None,
        *,
        is_apart: bool = False,
    ) -> Iterator[Run]:
        """Give a run of the Python program `argv[0]`, with pipes for stdin and for stdout, which
        takes stderr too unless that is apart; it is gone afterwards.

        Without an `environment` it has the keeper's.
        """
        order = {"argv": [*map(str, argv)], "folder": str(folder), "umask": umask}
        if environment is not None:
            order["environment"] = dict(environment)
        run = self._start(order, is_apart)
        try:
            yield run
        finally:
            run.kill()
            run.wait(LIMIT_SECONDS)
            for pipe in (run.stdin, run.stdout, run.stderr):
                if pipe is not None:
                    pipe.close()

    def _start(self, order: Mapping[str, Any], is_apart: bool) -> Run:
        stdin, ours = os.pipe()
        output, stdout = os.pipe()
        errors, stderr = os.pipe() if is_apart else (None, stdout)
        try:
            pid = self._ask(order, [stdin, stdout, stderr])
        finally:
            for each in {stdin, stdout, stderr}:
                os.close(each)
        readable = None if errors is None else os.fdopen(errors, "rb", 0)
        return Run(self, pid, os.fdopen(ours, "wb", 0), os.fdopen(output, "rb", 0), readable)

    def status(self, pid: int) -> int:
        """Return the exit status of a run that has ended, negative for a signal; once."""
        return self._ask({"ended": pid}, [])

    def close(self) -> None:
        """End the keeper."""
        self._socket.close()
        self._process.wait(LIMIT_SECONDS)

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        with self._turn:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            return int(self._socket.recv(REQUEST_BYTES))


class Run:
    """One run: what a `subprocess.Popen` offers to those that wait for its end."""

    def __init__(
        self,
        keeper: Keeper,
        pid: int,
        stdin: IO[bytes],
        stdout: IO[bytes],
        stderr: IO[bytes] | None,
    ) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._readers: list[_Reader] | None = None
        self._keeper = keeper
        # Whose id this is stays so until `status` is asked for
        self._alive = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return how it ended, or None."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._alive, number)

    def kill(self) -> None:
        """Kill it, if it runs."""
        self.send_signal(signal.SIGKILL)

    def communicate(
        self, sent: bytes | None = None, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """Send its stdin, and its end; return stdout and stderr when it has ended.

        Raises subprocess.TimeoutExpired, as `wait`; what was said till then is given next time.
        """
        if self._readers is None:
            pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
            self._readers = [_Reader(pipe) for pipe in pipes]
            # A request has less than a pipe takes; who is gone before it reads gets none
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(sent or b"")
            self.stdin.close()
        self.wait(timeout)
        said = [reader.whole() for reader in self._readers]
        return said[0], said[1] if len(said) > 1 else b""

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and _is_over(self._alive, seconds):
            self.returncode = self._keeper.status(self.pid)
            os.close(self._alive)
        return self.returncode


class _Reader(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._said = b""
        self.start()

    def run(self) -> None:
        """Read."""
        while data := os.read(self._pipe.fileno(), 1 << 16):
            self._said += data

    def whole(self) -> bytes:
        """Return all that was said, when its last writer has gone."""
        self.join(LIMIT_SECONDS)
        return self._said


def _is_over(alive: int, seconds: float | None) -> bool:
    waiting = select.poll()  # `select` takes no file from the 1,024th on
    waiting.register(alive, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else 1000 * seconds))


def keep(orders: socket.socket, parts: Sequence[str]) -> None:
    """Import the parts; then start a run for each order, and tell how it ended when asked, until
    nobody is left to ask."""
    for part in parts:
        module, _, function = part.partition(":")
        imported = importlib.import_module(module)
        if function:
            getattr(imported, function)()
    gc.collect()
    gc.freeze()  # what is never written to stays shared
    orders.send(READY)
    while True:
        text, descriptors, _, _ = socket.recv_fds(orders, REQUEST_BYTES, 3)
        if not text:
            return
        order = json.loads(text)
        if "ended" in order:
            _, status = os.waitpid(order["ended"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if not answer:
                orders.close()
                become(order, *descriptors)
            for each in descriptors:
                os.close(each)
        orders.send(str(answer).encode())


def become(order: Mapping[str, Any], stdin: int, stdout: int, stderr: int) -> None:
    """Be the program that was ordered, to its end."""
    if "environment" in order:
        os.environ.clear()
        os.environ.update(order["environment"])
    os.setsid()
    os.chdir(order["folder"])
    os.umask(order["umask"])
    for own, given in enumerate((stdin, stdout, stderr)):
        os.dup2(given, own)
    os.closerange(3, max(stdin, stdout, stderr) + 1)
    for name in ("stdin", "stdout", "stderr"):
        _open_again(name)
    sys.argv = order["argv"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit(0)


def _open_again(name: str) -> None:
    """Have a standard stream be what it is for a program that is started with a pipe: the keeper's
    own could be wound back, and Python remembers that."""
    old = getattr(sys, name)
    raw = io.FileIO(old.fileno(), "r" if name == "stdin" else "w", closefd=False)
    buffered = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
    made = io.TextIOWrapper(buffered, old.encoding, old.errors, line_buffering=old.line_buffering)
    setattr(sys, name, made)
    setattr(sys, f"__{name}__", made)


if __name__ == "__main__":
    keep(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
