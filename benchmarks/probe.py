"""Where the time of a Python process goes, told by the process itself: `where.py` has it imported
first.

Imports are timed at the place where Python makes them, each without those that it makes itself, and
told by kind; what has no kind of its own has that of the library which asked for it. The network is
timed where a process waits for it: in the methods of `_socket`, and in `select`, by which the
database driver waits. The rest is told as times: of the start, and of the end.

The environment has where to tell it, and the port of StorPool's API; whatever else is talked to is
the database.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()

import _frozen_importlib  # noqa: E402  the clock comes first
import _socket  # noqa: E402
import atexit  # noqa: E402
import posix  # noqa: E402
import select  # noqa: E402
import sys  # noqa: E402

LOADED = time.monotonic()

TELL, API_PORT = b"STORPOOL_BENCHMARK_TELL", b"STORPOOL_BENCHMARK_API_PORT"
HTTP, DRIVER, OURS, CINDER, STANDARD = "http", "driver", "ours", "cinder", "standard"
API, DATABASE = "api", "database"
# By the first word of a module's name. What is neither Python's own nor asked for by these is
# Cinder's.
KINDS = {
    "storpool_ovirt": OURS,
    "cinder_driver": OURS,
    "storpool": HTTP,
    "confget": HTTP,
    "http": HTTP,
    "psycopg2": DRIVER,
    "_psycopg": DRIVER,
    "least": OURS,
}
FOR_JYTHON = "org"  # asked for by Python's own modules, and never there
ASKING = (HTTP, DRIVER, CINDER)  # kinds that what they import gets too


class Probe:
    """What was spent so far, by kind; the stack has the imports that go on."""

    def __init__(self) -> None:
        # Who talks to a network needs these two, too
        self.spent = {STANDARD: LOADED - BEGAN}
        self.modules = {STANDARD: 2}
        self.is_told = False
        self._stack: list[tuple[str, list[float]]] = []
        self._find_and_load = _frozen_importlib._find_and_load
        self._api_port = int(posix.environ[API_PORT])
        self._of_api: set[int] = set()

    def load(self, name: str, import_: object) -> object:
        """Import a module in place of Python's own function."""
        kind = self._kind(name.partition(".")[0])
        inner = [0.0]
        self._stack.append((kind, inner))
        began = time.monotonic()
        try:
            return self._find_and_load(name, import_)
        finally:
            whole = time.monotonic() - began
            self._stack.pop()
            self.add(kind, whole - inner[0])
            self.modules[kind] = self.modules.get(kind, 0) + 1
            if self._stack:
                self._stack[-1][1][0] += whole

    def add(self, kind: str, seconds: float) -> None:
        """Count what was spent."""
        self.spent[kind] = self.spent.get(kind, 0.0) + seconds

    def connects(self, descriptor: int, address: object) -> None:
        """Remember whose a socket is."""
        is_api = isinstance(address, tuple) and address[1] == self._api_port
        (self._of_api.add if is_api else self._of_api.discard)(descriptor)

    def waited(self, descriptor: int, began: float) -> None:
        """Count a wait that began then."""
        kind = API if descriptor in self._of_api else DATABASE
        self.add(kind, time.monotonic() - began)

    def tell(self) -> None:
        """Write what was measured, once: the last thing that the program does."""
        if self.is_told:
            return
        self.is_told = True
        ended = time.monotonic()
        lines = [f"began {BEGAN!r}", f"ended {ended!r}"]
        lines += [f"{kind} {seconds!r}" for kind, seconds in self.spent.items()]
        lines += [f"modules.{kind} {count}" for kind, count in self.modules.items()]
        lines.append(f"told {time.monotonic()!r}")
        # Not by open(): what the program has not loaded is not loaded for this.
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC
        file = posix.open(posix.environ[TELL], flags, 0o600)
        posix.write(file, "\n".join(lines).encode())
        posix.close(file)

    def _kind(self, word: str) -> str:
        if word in KINDS:
            return KINDS[word]
        asking = self._stack[-1][0] if self._stack else STANDARD
        if asking in ASKING:
            return asking
        return STANDARD if word in sys.stdlib_module_names or word == FOR_JYTHON else CINDER


def watch() -> Probe:
    """Begin; what was measured is told at the program's end, by `os._exit` or by itself."""
    probe = Probe()
    atexit.register(probe.tell)
    _frozen_importlib._find_and_load = probe.load
    _watch_sockets(probe)
    _watch_select(probe)
    leave = posix._exit

    def _exit(status: int) -> None:
        probe.tell()
        leave(status)

    posix._exit = _exit
    if "os" in sys.modules:
        sys.modules["os"]._exit = _exit  # type: ignore[attr-defined]
    return probe


def _watch_sockets(probe: Probe) -> None:
    plain = _socket.socket

    def timed(name: str):
        method = getattr(plain, name)

        def call(self, *args):
            if name == "connect":
                probe.connects(self.fileno(), args[0])
            began = time.monotonic()
            try:
                return method(self, *args)
            finally:
                probe.waited(self.fileno(), began)

        return call

    names = ("connect", "connect_ex", "send", "sendall", "recv", "recv_into")
    methods = {name: timed(name) for name in names}
    _socket.socket = type("socket", (plain,), {"__slots__": (), **methods})
    _socket.SocketType = _socket.socket


def _watch_select(probe: Probe) -> None:
    plain_select, plain_poll = select.select, select.poll

    def timed_select(reading, writing, failing, *limit):
        began = time.monotonic()
        try:
            return plain_select(reading, writing, failing, *limit)
        finally:
            for each in (*reading, *writing)[:1]:
                probe.waited(each if isinstance(each, int) else each.fileno(), began)

    class Poll:
        """A poll object; of what it waits for the last one is taken."""

        def __init__(self) -> None:
            self._poll, self._last = plain_poll(), -1

        def register(self, file, *events) -> None:
            self._last = file if isinstance(file, int) else file.fileno()
            self._poll.register(file, *events)

        modify = register

        def unregister(self, file) -> None:
            self._poll.unregister(file)

        def poll(self, *limit):
            began = time.monotonic()
            try:
                return self._poll.poll(*limit)
            finally:
                probe.waited(self._last, began)

    select.select, select.poll = timed_select, Poll
