"""StorPool's official binding: loaded without what it does not need, its calls sent within one
limit by Python's own HTTP client.

Calls, paths and bodies are those of `storpool.spapi.Api`; its retries are not used, as it repeats
any POST after a reset connection, also a create that may have taken effect.
"""

from __future__ import annotations

import _thread
import contextlib
import http.client
import importlib
import io
import socket
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from storpool_ovirt import config
from storpool_ovirt.cluster import answers, requests, transport, wire

_LOADING = _thread.allocate_lock()  # threading's own is that one, but would be loaded for it


def load() -> types.ModuleType:
    """Return `storpool.spapi`, loaded without `confget`.

    Only the binding's configuration reader needs confget; with pyparsing it is half of the import
    time, and under cinderlib, which puts a false pyparsing in place, it cannot be imported at all.
    A stand-in loads the real one at first use, so the binding stays whole for whoever shares this
    process. The binding also greets on stderr when simplejson is absent; Engine would read that.
    """
    with _LOADING:  # a client loads it with its first call, and a process may have several
        if "storpool.spapi" not in sys.modules and "confget" not in sys.modules:
            stand_in = types.ModuleType("confget")
            stand_in.__getattr__ = lambda name: getattr(importlib.import_module("confget"), name)  # type: ignore[method-assign]
            sys.modules["confget"] = stand_in
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    importlib.import_module("storpool.spapi")
            finally:
                del sys.modules["confget"]
        return importlib.import_module("storpool.spapi")


class Official(transport.Transport):
    """The way of programs that nobody waits for, and of all where `sp_transport` says so."""

    def __init__(self, settings: config.Api) -> None:
        super().__init__(settings, Wire(settings.host, settings.port))
        self._spapi = load()
        self._api = _telling(self._spapi)

    def request(self, method: str, args: tuple[object, ...]) -> requests.Request:
        """Return what the binding sends for a call; raise Invalid where it refuses it."""
        if method == "allClusters":
            return "GET", True, requests.ALL_CLUSTERS, None
        try:
            verb, has_form, query, body = getattr(self._api, method)(*args, returnRawAPIData=True)
        except self._spapi.InvalidArgumentError as error:
            raise transport.Invalid(str(error)) from error
        return verb, has_form, query, None if body is None else requests.written(body)

    def _path(self, query: str, is_for_all: bool, cluster: str | None) -> str:
        return str(self._spapi._format_path(query, is_for_all, clusterName=cluster))


def _telling(spapi: types.ModuleType) -> Any:
    """Return an object with all methods of `storpool.spapi.Api`, which tell what they would
    send."""

    class Telling(spapi.Api):  # type: ignore[misc,name-defined]  # the binding has no types
        def __call__(  # what all of the binding's methods call; the names are its own
            self,
            method: str,
            multiCluster: bool,  # noqa: N803
            query: str,
            json: Any = None,
            clusterName: str | None = None,  # noqa: N803, ARG002
        ) -> Any:
            return method, multiCluster, query, spapi.clear_none(json)

    return Telling()


class Wire(wire.Wire):
    """The way to one host by Python's own HTTP client."""

    def _exchange(self, end: float) -> wire.Exchange:
        connection, address = self.connected(end)
        return Exchange(self, _Limited(connection, end), address, end)


class Exchange(wire.Exchange):
    """A request that is under way by Python's own HTTP client."""

    def __init__(self, there: Wire, connection: _Limited, address: Any, end: float) -> None:
        super().__init__(there, connection, address, end)
        self._client = http.client.HTTPConnection(there.host, there.port)
        self._client.sock = connection
        self._response: http.client.HTTPResponse | None = None

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send the request."""
        with _translated():
            self._client.request(method, path, body, dict(headers))

    def _received(self) -> tuple[int, str, Iterator[bytes]]:
        with _translated():
            self._response = self._client.getresponse()
        told = self._response.getheader("Date", "")
        return self._response.status, told, _pieces(self._response)

    def close(self) -> None:
        """End the connection."""
        # Left open after a failure, an answer that ends with its connection would keep the socket.
        if self._response is not None:
            self._response.close()
        self._client.close()
        super().close()


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Give a body to its end, whatever length its header says."""
    while True:
        with _translated():
            try:
                piece = response.read(answers.PIECE_BYTES)
            except OverflowError as error:  # a chunk whose length is no number of this machine's
                raise http.client.HTTPException(f"a length that is none ({error})") from error
            if not piece:
                break
        yield piece
    if response.length:  # announced, and not come: `read` of a part does not complain
        raise answers.Malformed(str(http.client.IncompleteRead(b"", response.length)))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError:  # also the one that is http.client's too
        raise
    except http.client.HTTPException as error:
        raise answers.Malformed(str(error) or error.__class__.__name__) from error


class _Limited(socket.socket):
    """A socket whose reads and writes all end by one moment."""

    def __init__(self, connection: Any, end: float) -> None:
        super().__init__(fileno=connection.detach())
        self._end = end

    def recv_into(self, *arguments: Any, **facts: Any) -> int:  # what http.client's reader calls
        self.settimeout(wire.left(self._end))
        return super().recv_into(*arguments, **facts)

    def sendall(self, *arguments: Any, **facts: Any) -> None:
        self.settimeout(wire.left(self._end))  # Python's own limit here is one for all of it
        super().sendall(*arguments, **facts)
