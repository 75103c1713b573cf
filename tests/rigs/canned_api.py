"""An HTTP server that answers what a test has written down, one entry for each request: for the
client's edge cases.

It knows nothing of StorPool; what StorPool does is the simulator's part.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union

RESET = "reset"  # the connection is reset after the request was read
CLOSE = "close"  # the connection ends without an answer
DRIP = "drip"  # one byte now and then, for ever

Answer = Union[str, tuple[int, Any]]


@dataclass
class Request:
    """What the client sent."""

    method: str
    path: str
    body: bytes
    authorization: str


@dataclass
class Canned:
    """The running server: its port, what it was asked, and what it still has to say."""

    port: int
    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)


def ok(data: Any) -> Answer:
    """A success as StorPool sends it."""
    return 200, {"generation": 1, "data": data}


def refused(name: str, descr: str = "no", status: int = 400, transient: bool = False) -> Answer:
    """An error object as StorPool sends it."""
    return status, {
        "error": {"name": name, "descr": descr, "transient": transient},
        "generation": 1,
    }


@contextlib.contextmanager
def answering(answers: Sequence[Answer]) -> Iterator[Canned]:  # noqa: C901  its classes count
    """Serve these answers in order on a free port; the last one is repeated."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            canned.requests.append(
                Request(self.command, self.path, body, self.headers.get("Authorization", ""))
            )
            self.give(canned.answers.pop(0) if len(canned.answers) > 1 else canned.answers[0])

        def give(self, answer: Answer) -> None:
            if answer == RESET:
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()
            elif answer == DRIP:
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
                    while not canned.stopped.wait(0.05):
                        self.wfile.write(b" ")
                        self.wfile.flush()
            elif answer != CLOSE:
                status, content = answer
                payload = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(int(status))
                self.end_headers()
                self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the tests look at `requests`."""

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that went away is what many of these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    canned = Canned(server.server_port, list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield canned
    finally:
        canned.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
