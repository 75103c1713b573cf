"""The API as HTTP: paths, token, envelope, errors, faults. What a call does is not decided here.

Path: `/ctrl/1.0/[RemoteCommand/<name or ~cid>/][MultiCluster/]<Query>[/<arguments>]` [spapi].
Everything under `/simulator/` is the control port.
"""

from __future__ import annotations

import errno
import hmac
import itertools
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Request, Response

from storpool_simulator import errors
from storpool_simulator.api import calls, control, faults, multicluster, queries, recorder, slices
from storpool_simulator.devices import devices
from storpool_simulator.model import snapshots
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.players import stage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger(__name__)
_API = "/ctrl/1.0/"
WHOLE = 1 << 18  # characters: our choice; a longer reply is sent while it is made
# A header of ours, and its value: the active instance is to answer.
INSTANCE, ACTIVE = "Simulator-Instance", "active"
_ERROR_PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>\n"


class DroppedError(ConnectionError):
    """The connection is to be closed without an answer: with `reset` by RST, else in good order."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Connections(Protocol):
    """The connections of the calls under way, for the faults that reset them."""

    def enter(self, connection: Any) -> None:
        """Note that a call has come in on this socket."""

    def leave(self, connection: Any) -> None:
        """Note that the call is answered, or never will be."""


@dataclass(frozen=True)
class _Target:
    """The parts of a path."""

    query: str
    args: tuple[str, ...]
    cluster: str | None
    multi_cluster: bool
    all_clusters: bool


class Application:
    """The WSGI application of one cluster."""

    def __init__(  # noqa: PLR0913, PLR0917  what a simulator is made of
        self,
        cluster: Cluster,
        token: str,
        injected: faults.Faults,
        calls_made: recorder.Recorder,
        connections: Connections,
        players: stage.Stage,
    ) -> None:
        self._cluster = cluster
        self._authorization = f"Storpool v1:{token}".encode()
        self._faults = injected
        self._recorder = calls_made
        self._connections = connections
        self._turns = itertools.count()
        self._control = control.Control(cluster, injected, calls_made, players)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        response = self._api(request) if request.path.startswith(_API) else self._other(request)
        return response(environ, start_response)

    def _other(self, request: Request) -> Response:
        try:
            self._check_token(request)
            return _reply(self._control.answer(request.method, request.path, _body(request)))
        except errors.ApiError as error:
            return self._refusal(error)

    def _api(self, request: Request) -> Response:
        target = _target(request.path[len(_API) :])
        record = self._recorder.add(
            recorder.Record(request.method, target.query, request.path, _shown_body(request))
        )
        connection = request.environ.get("werkzeug.socket")
        self._connections.enter(connection)
        try:
            response = self._with_faults(request, target)
        except BaseException:
            self._connections.leave(connection)
            raise
        if response.is_sequence:
            self._connections.leave(connection)
        else:  # it goes on while it is sent
            response.call_on_close(lambda: self._connections.leave(connection))
        record.status = response.status_code
        return response

    def _with_faults(self, request: Request, target: _Target) -> Response:
        try:
            self._check_token(request)
        except errors.ApiError as error:
            return self._refusal(error)
        self._faults.pause(self._cluster.switches.number("latency") / 1000)
        part = self._faults.take(target.query, part=True)
        fault = self._faults.take(target.query)
        if fault is None:
            instance = self._instance(target, request.headers.get(INSTANCE))
            return self._answer(request, target, instance, part)
        if fault.kind == "old":
            return self._answer(request, target, self._instance(target, None, fault.changes))
        if fault.kind in ("transient", "error_200"):
            return self._injected_error(fault)
        if fault.kind == "bad_gateway":
            return Response(_ERROR_PAGE, status=502, content_type="text/html")
        if fault.kind in ("delay", "hang"):
            self._faults.pause(fault.seconds)
        if fault.kind in ("hang", "reset_before"):
            raise DroppedError(reset=fault.kind == "reset_before")
        response = self._answer(request, target, self._cluster, part)
        if fault.kind in faults.CLOSING:
            self._faults.shut(fault)
        if fault.kind in ("reset_after", "stop"):
            raise DroppedError(reset=True)
        return response

    def _injected_error(self, fault: faults.Fault) -> Response:
        descr = fault.descr or f"injected: {fault.kind}"
        if fault.kind == "transient":
            name = fault.name or "notReady"
            return self._refusal(errors.ApiError(descr, name=name, status=503, transient=True))
        name = fault.name or "invalidParam"
        return self._refusal(errors.ApiError(descr, name=name, status=200), fixed=True)

    def _instance(
        self, target: _Target, asked_for: str | None, behind: int | None = None
    ) -> Cluster:
        """Return the cluster as the instance knows it that answers this call.

        A reading call may be answered from some changes ago: as many as the fault says (`behind`),
        or, for every other call, as many as the switch `lag` says. A caller that asks for the
        active instance gets the present: tests do, which have to know what is so. ClientConfigWait
        gets the present too, because it waits for it.
        """
        query = calls.TABLE.get(target.query)
        is_reading = query is not None and query.method == "GET"
        if not is_reading or target.query == "ClientConfigWait" or asked_for == ACTIVE:
            return self._cluster
        if behind is None:
            behind = self._cluster.switches.number("lag") if next(self._turns) % 2 == 0 else 0
        return self._cluster.as_it_was(behind) if behind else self._cluster

    def _answer(
        self,
        request: Request,
        target: _Target,
        cluster: Cluster,
        part: faults.Fault | None = None,
    ) -> Response:
        try:
            if target.cluster is not None:
                # what it says, refusals too, is of its own generation
                cluster = cluster.federation.named(cluster, target.cluster)
            return _reply(self._data(request, target, cluster, part))
        except errors.ApiError as error:
            return self._refusal(self._named(error), cluster=cluster)
        except devices.DeviceError as error:
            return self._internal_error(str(error))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EFBIG:
                too_large = errors.NoSpaceError("No file can be so large on this machine.")
                return self._refusal(too_large, cluster=cluster)
            _log.exception("%s failed", target.query)
            return self._internal_error(f"{type(error).__name__}: {error}")

    def _named(self, error: errors.ApiError) -> errors.ApiError:
        """Return the error with the name that a switch gives it."""
        is_other = self._cluster.switches["bad_name_error"] == "objectDoesNotExist"
        if isinstance(error, errors.ImpossibleNameError) and is_other:
            return errors.NoSuchObjectError(error.descr)
        return error

    def _internal_error(self, descr: str) -> Response:
        return self._refusal(errors.ApiError(descr, name="internalError", status=500))

    def _data(
        self, request: Request, target: _Target, cluster: Cluster, part: faults.Fault | None
    ) -> dict[str, Any]:
        query = self._query(request.method, target)
        args = target.args
        if len(args) > query.arity > 0:  # a key of the key-value store may contain a slash
            args = (*args[: query.arity - 1], "/".join(args[query.arity - 1 :]))
        if len(args) != query.arity or not all(args):
            count = {0: "no name", 1: "one name"}.get(query.arity, f"{query.arity} names")
            raise self._unknown(f"{target.query} takes {count} in its path.", 404)
        body = self._parsed_body(request)
        stop = None if part is None else _stop(part)
        call = queries.Call(target.query, cluster, args, body, target.multi_cluster, stop=stop)
        if target.all_clusters:
            data = multicluster.of_each(query, call)
            return {"generation": cluster.generation, "data": data}
        answer = calls.answer(query, call)
        reply = {"generation": answer.generation, "data": answer.data}
        # beside the data of a MultiCluster call: the cluster that has the object [addon mc]
        return {**reply, "clusterId": answer.cluster_id} if target.multi_cluster else reply

    def _query(self, method: str, target: _Target) -> queries.Query:
        query = calls.TABLE.get(target.query)
        if query is None:
            raise self._unknown(f"Unknown query '{target.query}'.", 404)
        if query.method != method:
            raise self._unknown(f"Query '{target.query}' is a {query.method}.", 405)
        if not self._has_form(query, target):
            raise self._unknown(f"Query '{target.query}' has no such form.", 404)
        return query

    def _has_form(self, query: queries.Query, target: _Target) -> bool:
        is_both = target.cluster is not None and target.multi_cluster
        if is_both and self._cluster.switches["remote_multicluster"] == "refuse":
            return False
        if target.all_clusters:
            return query.name in calls.ALL_CLUSTERS
        if not target.multi_cluster:
            return query.plain
        doubt = calls.DOUBTFUL.get(query.name)
        return query.multi_cluster and (doubt is None or self._cluster.switches.on(doubt))

    def _unknown(self, descr: str, status: int) -> errors.ApiError:
        name = self._cluster.switches["unknown_query_error"]
        return errors.ApiError(descr, name=name, status=status)

    def _parsed_body(self, request: Request) -> Any:
        if request.method == "GET":
            return None
        try:
            return _body(request)
        except errors.ApiError as error:
            name = self._cluster.switches["bad_json_error"]
            raise errors.ApiError(error.descr, name=name) from error

    def _check_token(self, request: Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, self._authorization):
            name = self._cluster.switches["unauthorized_error"]
            descr = "The authorization token is missing or wrong."
            raise errors.ApiError(descr, name=name, status=401)

    def _refusal(
        self, error: errors.ApiError, *, fixed: bool = False, cluster: Cluster | None = None
    ) -> Response:
        by_name = fixed or self._cluster.switches["error_status"] == "by_name"
        status = error.status if by_name else 500
        generation = (cluster or self._cluster).generation
        return _reply({"error": error.facts(), "generation": generation}, status)


def _target(rest: str) -> _Target:
    parts = rest.split("/")
    target = _Target("", (), None, multi_cluster=False, all_clusters=False)
    if parts[0] == "RemoteCommand" and len(parts) > 1:
        target, parts = replace(target, cluster=parts[1]), parts[2:]
    if parts[:1] == ["MultiCluster"]:
        target, parts = replace(target, multi_cluster=True), parts[1:]
        if parts[:1] == ["AllClusters"]:
            target, parts = replace(target, all_clusters=True), parts[1:]
    length = 2 if parts[:1] == ["KV"] else 1
    return replace(target, query="/".join(parts[:length]), args=tuple(parts[length:]))


def _stop(fault: faults.Fault) -> snapshots.Stop:
    name = fault.name or errors.NoSpaceError.name
    error = errors.ApiError(fault.descr or "injected: part", name=name, status=507)
    return snapshots.Stop(fault.changes, error)


def _body(request: Request) -> Any:
    text = request.get_data()
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for lists in lists without end
        raise errors.InvalidParamError("The body is not JSON.") from None


def _shown_body(request: Request) -> Any:
    try:
        return _body(request)
    except errors.ApiError:
        return request.get_data(as_text=True)


def _reply(value: Any, status: int = 200) -> Response:
    """Return a reply with the documented headers: JSON, and `Cache-control: private` [kb].

    What is long is sent while it is made; then it ends with the connection, as HTTP/1.0 has it.
    """
    headers = {"Content-Type": "application/json", "Cache-control": "private"}
    pieces = slices.text(value)
    start, length = [], 0
    for piece in pieces:
        start.append(piece)
        length += len(piece)
        if length > WHOLE:
            body = itertools.chain(start, pieces)
            return Response(map(str.encode, body), status=status, headers=headers)
    return Response("".join(start), status=status, headers=headers)
