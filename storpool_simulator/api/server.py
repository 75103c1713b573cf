"""The listening socket and its connections, on werkzeug's threaded server; faults shut and open it.

While it is shut the port stays bound, but nobody listens: connects get ECONNREFUSED, and no other
program takes the port.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from werkzeug import serving

from storpool_simulator import errors
from storpool_simulator.api.application import DroppedError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)
_BACKLOG = 128  # as werkzeug's own servers
_POLL_SECONDS = 0.02  # how long the accept loop may take to notice that it is to end


class Server:
    """The server of one application; faults shut and open it, `close` ends it."""

    def __init__(self, host: str, port: int) -> None:
        """Bind the address: connects are refused until `start`.

        Raises StartError when the address cannot be had.
        """
        try:
            self._reserved: socket.socket | None = _bound(host, port)
        except OSError as problem:
            raise errors.StartError(f"cannot listen on {host}:{port}: {problem.strerror}") from None
        self.host, self.port = host, self._reserved.getsockname()[1]
        self._application: WSGIApplication | None = None
        self._lock = threading.RLock()
        self._running: tuple[serving.BaseWSGIServer, socket.socket, threading.Thread] | None = None
        self._timer: threading.Timer | None = None
        self._connections: set[socket.socket] = set()

    def start(self, application: WSGIApplication) -> None:
        """Begin to serve this application."""
        self._application = application
        self.open()

    def open(self) -> None:
        """Listen, if that is not so already."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._running is not None or self._reserved is None or self._application is None:
                return
            listening, self._reserved = self._reserved, None
            listening.listen(_BACKLOG)
            server = serving.make_server(
                self.host,
                self.port,
                self._application,
                threaded=True,
                request_handler=_Handler,
                passthrough_errors=True,
                fd=listening.fileno(),
            )
            thread = threading.Thread(
                target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True, name="simulator"
            )
            thread.start()
            self._running = (server, listening, thread)

    def shut(self, seconds: float, *, reset: bool) -> None:
        """Refuse connects for so many seconds; `reset` also cuts the calls under way by RST."""
        with self._lock:
            self._shut()
            if reset:
                for connection in self._connections:
                    _reset(connection)
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(seconds, self.open)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Stop for good."""
        with self._lock:
            self._application = None
            if self._timer is not None:
                self._timer.cancel()
            self._shut()
            if self._reserved is not None:
                self._reserved.close()
                self._reserved = None

    def enter(self, connection: Any) -> None:
        """Note that a call of the API has come in on this connection."""
        with self._lock:
            self._connections.add(connection)

    def leave(self, connection: Any) -> None:
        """Note that the call is answered, or never will be."""
        with self._lock:
            self._connections.discard(connection)

    def _shut(self) -> None:
        if self._running is None:
            return
        server, listening, thread = self._running
        self._running = None
        server.shutdown()
        thread.join()
        listening.close()
        self._reserved = _bound(self.host, self.port)


class _Handler(serving.WSGIRequestHandler):
    """One connection; after one HTTP/1.0 reply it is closed, as the real API does [kb]."""

    protocol_version = "HTTP/1.0"
    disable_nagle_algorithm = True  # head and body of a reply are two small writes

    def handle(self) -> None:
        """Answer the call; a connection that somebody has cut is nothing to report."""
        try:
            super().handle()
        except OSError as problem:
            _log.debug("connection lost: %s", problem)
            self.close_connection = True

    def connection_dropped(
        self,
        error: BaseException,
        environ: WSGIEnvironment | None = None,  # noqa: ARG002  werkzeug's signature
    ) -> None:
        """Drop the connection as a fault wants it."""
        self.close_connection = True
        if isinstance(error, DroppedError) and error.reset:
            _reset(self.connection)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  werkzeug's name
        """Write no access log: the record of calls says who called what."""


def _bound(host: str, port: int) -> socket.socket:
    family = serving.select_address_family(host, port)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _reset(connection: socket.socket) -> None:
    """Send RST from any thread.

    A connect to "no address" dissolves the connection; its descriptor stays valid.
    """
    unspecified = bytes(16)  # a struct sockaddr whose family is AF_UNSPEC
    fd = connection.fileno()
    if fd >= 0 and _libc.connect(fd, unspecified, len(unspecified)) != 0:
        _log.debug("reset: %s", os.strerror(ctypes.get_errno()))


_libc = ctypes.CDLL(None, use_errno=True)
