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
from typing import Any, Union

from rigs import http_peers

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


def refusal(name: str, descr: str = "no", status: int = 400, transient: bool = False) -> Answer:
    """An error object as StorPool sends it."""
    return status, {
        "error": {"name": name, "descr": descr, "transient": transient},
        "generation": 1,
    }


class _Handler(http_peers.Handler):
    """Give the next answer, whatever was asked."""

    def serve(self) -> None:
        canned: Canned = self.server.facts
        authorization = self.headers.get("Authorization", "")
        canned.requests.append(Request(self.command, self.path, self.read_body(), authorization))
        self._give(canned.answers.pop(0) if len(canned.answers) > 1 else canned.answers[0])

    def _give(self, answer: Answer) -> None:
        if answer == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif answer == DRIP:
            self._drip()
        elif answer != CLOSE:
            status, content = answer
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(int(status))
            self.end_headers()
            self.wfile.write(payload)

    def _drip(self) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
            while not self.server.facts.stopped.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()


@contextlib.contextmanager
def answering(answers: Sequence[Answer]) -> Iterator[Canned]:
    """Serve these answers in order on a free port; the last one is repeated."""
    canned = Canned(0, list(answers))
    with http_peers.serving(_Handler, canned) as canned.port:
        try:
            yield canned
        finally:
            canned.stopped.set()
