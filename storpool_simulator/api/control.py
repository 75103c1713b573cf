"""The control port, ``/simulator/...`` beside the API: faults, record of calls, clients, clock,
switches."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable

from storpool_simulator import errors
from storpool_simulator.api import faults, recorder
from storpool_simulator.devices import devices
from storpool_simulator.model import attachments, objects
from storpool_simulator.model.cluster import Cluster

_ROOT = "/simulator/"


class Control:
    """Answers control requests; values in, values out."""

    def __init__(
        self, cluster: Cluster, injected: faults.Faults, calls_made: recorder.Recorder
    ) -> None:
        self._cluster = cluster
        self._faults = injected
        self._recorder = calls_made
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "faults"): lambda _body: [asdict(fault) for fault in injected.waiting()],
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): lambda _body: injected.clear(),
            ("GET", "calls"): lambda _body: [asdict(record) for record in calls_made.list()],
            ("DELETE", "calls"): lambda _body: calls_made.clear(),
            ("GET", "clients"): lambda _body: self._clients(),
            ("GET", "clock"): lambda _body: {"now": cluster.now()},
            ("POST", "clock"): self._advance,
            ("GET", "switches"): lambda _body: cluster.switches.items(),
            ("POST", "switches"): self._set_switches,
        }

    def answer(self, method: str, path: str, body: Any) -> Any:
        """Carry out one request; ``{"ok": true}`` when there is nothing to tell. ApiError."""
        rest = path[len(_ROOT) :] if path.startswith(_ROOT) else ""
        noun, _, name = rest.partition("/")
        if method == "POST" and noun == "clients" and name:
            self._set_client(name, body)
            return {"ok": True}
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
            return {
                str(client.client_id): {
                    "status": "running" if client.running else "down",
                    "behind": client.behind,
                    "open": sorted(self._cluster.declared_open.get(client.client_id, ())),
                    "forced": [
                        global_id
                        for global_id, one in self._cluster.forced
                        if one == client.client_id
                    ],
                }
                for client in self._cluster.catalog.clients
            }

    def _set_client(self, name: str, body: Any) -> None:
        facts = _object(body)
        status, opened, delay, behind = (
            facts.pop(key, None) for key in ("status", "open", "delay", "behind")
        )
        if not name.isdigit() or not 1 <= int(name) <= objects.MAX_CLIENT_ID:
            raise errors.InvalidParamError(
                f"a client id is a number from 1 to {objects.MAX_CLIENT_ID}, not '{name}'"
            )
        if status not in (None, "running", "down"):
            raise errors.InvalidParamError(f"'status' is 'running' or 'down', not '{status}'")
        if opened is not None and not (
            isinstance(opened, list) and all(isinstance(one, str) for one in opened)
        ):
            raise errors.InvalidParamError("'open' is a list of global ids")
        if not isinstance(behind, (bool, type(None))) or (behind and status == "down"):
            raise errors.InvalidParamError(
                "'behind' is true or false, and true for a client that runs"
            )
        if delay is not None and not _is_seconds(delay):
            raise errors.InvalidParamError("'delay' is a number of seconds of at least 0")
        _nothing_left(facts)
        if delay is not None:
            self._delay(int(name), delay)
        running = None if status is None else status == "running"
        attachments.set_client(
            self._cluster, int(name), running=running, opened=opened, behind=behind
        )

    def _delay(self, client_id: int, seconds: float) -> None:
        try:
            self._cluster.devices.delay(client_id, seconds)
        except devices.DeviceError as problem:
            raise errors.InvalidParamError(str(problem)) from problem

    def _advance(self, body: Any) -> Any:
        facts = _object(body)
        seconds = facts.pop("advance", None)
        if not _is_seconds(seconds):
            raise errors.InvalidParamError("'advance' is a number of seconds of at least 0")
        _nothing_left(facts)
        return {"now": self._cluster.advance(seconds)}

    def _set_switches(self, body: Any) -> Any:
        self._cluster.switches.set(_object(body))
        return self._cluster.switches.items()


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise errors.InvalidParamError("the body is a JSON object")
    return dict(body)


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _nothing_left(facts: dict[str, Any]) -> None:
    if facts:
        raise errors.InvalidParamError(f"unknown field '{sorted(facts)[0]}'")
