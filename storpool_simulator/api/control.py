"""The control port, `/simulator/...` beside the API.

It has faults, calls, clients, the clock, players and switches.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable

from storpool_simulator import errors
from storpool_simulator.api import faults, recorder
from storpool_simulator.devices import devices
from storpool_simulator.model import attachments, bridges, neighbours, objects
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.players import stage

_ROOT = "/simulator/"
_LONGEST = 10_000_000_000  # seconds: with less every date can still be told


class Control:
    """The answers to control requests; values go in, values come out."""

    def __init__(
        self,
        cluster: Cluster,
        injected: faults.Faults,
        calls_made: recorder.Recorder,
        players: stage.Stage,
    ) -> None:
        self._cluster = cluster
        self._players = players
        self._faults = injected
        self._recorder = calls_made
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "faults"): lambda _body: [asdict(fault) for fault in injected.waiting()],
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): lambda _body: injected.clear(),
            ("GET", "calls"): lambda _body: [asdict(record) for record in calls_made.list()],
            ("DELETE", "calls"): lambda _body: calls_made.clear(),
            ("GET", "counts"): lambda _body: calls_made.counts(),
            ("GET", "clients"): lambda _body: self._clients(),
            ("GET", "bridges"): lambda _body: self._bridges(),
            ("GET", "clock"): lambda _body: {"now": cluster.now()},
            ("POST", "clock"): self._advance,
            ("GET", "players"): lambda _body: players.state(),
            ("GET", "switches"): lambda _body: cluster.switches.items(),
            ("POST", "switches"): self._set_switches,
        }

    def answer(self, method: str, path: str, body: Any) -> Any:
        """Carry out one request; return its answer, `{"ok": true}` when there is none.

        Raises ApiError for a path or a body that is not known.
        """
        rest = path[len(_ROOT) :] if path.startswith(_ROOT) else ""
        noun, _, name = rest.partition("/")
        named = {"clients": self._set_client, "bridges": self._set_bridge}
        if method == "POST" and noun in named and name:
            named[noun](name, body)
            return {"ok": True}
        if method == "POST" and noun == "players" and name.endswith("/pass"):
            return self._players.play(name[: -len("/pass")])
        route = self._routes.get((method, rest))
        if route is None:
            raise errors.ApiError(f"there is no {method} {path}", name="unknownQuery", status=404)
        answer = route(body)
        return {"ok": True} if answer is None else answer

    def _add_fault(self, body: Any) -> None:
        facts = _object(body)
        kind = facts.pop("kind", None)
        self._faults.add(kind, **facts)

    def _clients(self) -> Any:
        with self._cluster.lock:
            clients = self._cluster.catalog.clients
            return {str(client.client_id): self._client(client) for client in clients}

    def _client(self, client: objects.Client) -> dict[str, Any]:
        client_id = client.client_id
        return {
            "status": "running" if client.running else "down",
            "behind": client.behind,
            "open": sorted(map(self._wire_id, self._cluster.declared_open.get(client_id, ()))),
            "forced": [gid for gid, forced in self._cluster.forced if forced == client_id],
        }

    def _wire_id(self, global_id: str) -> str:
        entry = self._cluster.catalog.entries.get(global_id)
        return global_id if entry is None else entry.wire_id

    def _set_client(self, name: str, body: Any) -> None:
        facts = _object(body)
        keys = ("status", "open", "delay", "behind")
        status, opened, delay, behind = (facts.pop(key, None) for key in keys)
        client_id = _client_id(name)
        _check_status(status)
        _check_opened(opened)
        _check_behind(behind, status)
        if delay is not None:
            _check_seconds("delay", delay)
        _nothing_left(facts)
        if delay is not None:
            self._delay(client_id, delay)
        running = None if status is None else status == "running"
        attachments.set_client(
            self._cluster, client_id, running=running, opened=opened, behind=behind
        )

    def _delay(self, client_id: int, seconds: float) -> None:
        try:
            self._cluster.devices.delay(client_id, seconds)
        except devices.DeviceError as problem:
            raise errors.InvalidParamError(str(problem)) from problem

    def _bridges(self) -> Any:
        with self._cluster.lock:
            return {one.name: self._bridge(one) for one in self._cluster.catalog.neighbours}

    def _bridge(self, other: objects.Neighbour) -> dict[str, Any]:
        link = self._cluster.federation.link(self._cluster.cluster_id, other.cluster_id)
        return {
            "status": "up" if link.up else "down",
            "minimumDeleteDelay": neighbours.minimum_delete_delay(self._cluster, other.cluster_id),
            "secondsPerGiB": link.seconds_per_gib,
        }

    def _set_bridge(self, name: str, body: Any) -> None:
        facts = _object(body)
        status, speed = facts.pop("status", None), facts.pop("secondsPerGiB", None)
        sets_delay, delay = "minimumDeleteDelay" in facts, facts.pop("minimumDeleteDelay", None)
        if status not in (None, "up", "down"):
            raise errors.InvalidParamError(f"'status' is 'up' or 'down', not '{status}'")
        for key, value in (("secondsPerGiB", speed), ("minimumDeleteDelay", delay)):
            if value is not None:
                _check_seconds(key, value)
        _nothing_left(facts)
        up = None if status is None else status == "up"
        bridges.set_link(self._cluster, name, up=up, seconds_per_gib=speed)
        if sets_delay:
            seconds = None if delay is None else int(delay)
            neighbours.set_minimum_delete_delay(self._cluster, name, seconds)

    def _advance(self, body: Any) -> Any:
        facts = _object(body)
        seconds = facts.pop("advance", None)
        _check_seconds("advance", seconds)
        _nothing_left(facts)
        return {"now": self._players.advance(seconds)}

    def _set_switches(self, body: Any) -> Any:
        self._cluster.switches.set(_object(body))
        return self._cluster.switches.items()


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise errors.InvalidParamError("the body is a JSON object")
    return dict(body)


def _client_id(name: str) -> int:
    if not name.isdigit() or not 1 <= int(name) <= objects.MAX_CLIENT_ID:
        raise errors.InvalidParamError(
            f"a client id is a number from 1 to {objects.MAX_CLIENT_ID}, not '{name}'"
        )
    return int(name)


def _check_status(status: object) -> None:
    if status not in (None, "running", "down"):
        raise errors.InvalidParamError(f"'status' is 'running' or 'down', not '{status}'")


def _check_opened(opened: object) -> None:
    if opened is None:
        return
    if not isinstance(opened, list) or not all(isinstance(one, str) for one in opened):
        raise errors.InvalidParamError("'open' is a list of global ids")


def _check_behind(behind: object, status: object) -> None:
    if not isinstance(behind, (bool, type(None))) or (behind and status == "down"):
        raise errors.InvalidParamError("'behind' is true or false, and true for a client that runs")


def _check_seconds(name: str, value: object) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _LONGEST:  # type: ignore[operator]  # a number
        raise errors.InvalidParamError(f"'{name}' is a number of seconds from 0 to {_LONGEST}")


def _nothing_left(facts: dict[str, Any]) -> None:
    if facts:
        raise errors.InvalidParamError(f"unknown field '{sorted(facts)[0]}'")
