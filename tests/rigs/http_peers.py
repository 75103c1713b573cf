"""The ground of servers that misbehave on purpose: a free port, a thread for each client, and no
word about clients that go away, as that is what many tests are about."""

from __future__ import annotations

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Handler(BaseHTTPRequestHandler):
    """One request; `serve` answers it."""

    server: Server

    def do_GET(self) -> None:
        """Answer a request without a body."""
        self.serve()

    def do_POST(self) -> None:
        """Answer a request with a body."""
        self.serve()

    def serve(self) -> None:
        """Answer any request."""
        raise NotImplementedError

    def read_body(self) -> bytes:
        """Return what the client sent."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def pass_on(self, host: str, port: int, body: bytes, limit_seconds: float) -> tuple[int, bytes]:
        """Ask another server the same; return status and body of its reply."""
        connection = http.client.HTTPConnection(host, port, timeout=limit_seconds)
        headers = {
            "Authorization": self.headers.get("Authorization", ""),
            "Content-Type": "application/json",
        }
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body or None, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()

    def log_message(self, *_: Any) -> None:
        """Say nothing: tests look at what was asked."""

    def finish(self) -> None:
        """End, whatever the client has done to the connection."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()


class Server(ThreadingHTTPServer):
    """Who listens on a free port of this machine; `facts`: what its handlers work with."""

    daemon_threads = True

    def __init__(self, handler: type[Handler], facts: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.facts = facts

    def handle_error(self, *_: Any) -> None:
        """Clients that break off are what this is for."""


@contextlib.contextmanager
def serving(handler: type[Handler], facts: Any) -> Iterator[int]:
    """Serve until the end of the block, and give the port."""
    server = Server(handler, facts)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
