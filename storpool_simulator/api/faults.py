"""Faults on demand: what networks and failing management services do to a client.

A fault waits for its call: any call, or the next one of a query. `refuse` and `stop` without a
query happen at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from storpool_simulator import errors

KINDS = (
    "transient",  # an error with transient:true; nothing happens to the cluster
    "error_200",  # an error in a reply of status 200 [spapi]; nothing happens
    "bad_gateway",  # 502 with a page that is not JSON; nothing happens
    "delay",  # the call is made after some seconds
    "hang",  # the call is never made; the connection is closed without an answer after some seconds
    "old",  # a reading call is answered from some changes ago, by an instance that is behind
    "part",  # of a group of snapshots only the first ones can be made
    "reset_before",  # RST; nothing happens
    "reset_after",  # the call is made once, then RST in place of the answer
    "refuse",  # connects are refused for some seconds; calls under way are answered
    "stop",  # the same, and calls under way are reset: a management service that moves elsewhere
)
CLOSING = ("refuse", "stop")
_GROUP = "VolumesGroupSnapshot"
# 300 s is the time-out of the binding [spapi].
_DEFAULT_SECONDS = {"delay": 1.0, "hang": 300.0, "refuse": 1.0, "stop": 1.0}


@dataclass(frozen=True)
class Fault:
    """One fault; `times` is how often it still strikes."""

    kind: str
    query: str | None = None
    times: int = 1
    seconds: float = 0
    name: str | None = None
    descr: str | None = None
    changes: int = 1


class Doors(Protocol):
    """The listening socket, for the faults that close it."""

    def shut(self, seconds: float, *, reset: bool) -> None:
        """Refuse connects for so long; with `reset` also reset the calls under way."""

    def open(self) -> None:
        """Accept connects again."""


class Faults:
    """The faults that are waiting."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []
        self._cleared = threading.Event()

    def add(self, kind: str, **facts: object) -> None:
        """Add a fault behind the others; the facts are the fields of `Fault`.

        `refuse` and `stop` without a query happen now: when this returns, connects are refused.
        Raises InvalidParamError for facts that make no fault.
        """
        fault = _parse({"kind": kind, **facts})
        if fault.kind in CLOSING and fault.query is None:
            self.shut(fault)
            return
        with self._lock:
            self._waiting.append(fault)

    def shut(self, fault: Fault) -> None:
        """Carry out `refuse` or `stop`."""
        self._doors.shut(fault.seconds, reset=fault.kind == "stop")

    def take(self, query: str, *, part: bool = False) -> Fault | None:
        """Return the first fault that is meant for this call, and use up one of its times.

        Whether a group can be made whole is one thing (`part`), what becomes of the call another:
        one of each may strike it.
        """
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.query in (None, query) and (fault.kind == "part") == part:
                    if fault.times > 1:
                        self._waiting[index] = replace(fault, times=fault.times - 1)
                    else:
                        del self._waiting[index]
                    return fault
        return None

    def waiting(self) -> list[Fault]:
        """Return the faults that have not struck yet, oldest first."""
        with self._lock:
            return list(self._waiting)

    def forget(self) -> None:
        """Forget the faults that have not struck yet; calls that are delayed or hang stay so."""
        with self._lock:
            self._waiting.clear()

    def clear(self) -> None:
        """Forget all faults, wake the calls that are delayed or hang, and accept connects again."""
        self.forget()
        with self._lock:
            self._cleared.set()
            self._cleared = threading.Event()
        self._doors.open()

    def pause(self, seconds: float) -> None:
        """Wait that long, or until `clear`."""
        self._cleared.wait(seconds)


def _parse(given: Mapping[str, object]) -> Fault:
    unknown = sorted(set(given) - set(Fault.__dataclass_fields__))
    if unknown:
        raise errors.InvalidParamError(f"a fault has no '{unknown[0]}'")
    kind = given.get("kind")
    if kind not in KINDS:
        raise errors.InvalidParamError(f"'kind' is one of {', '.join(KINDS)}, not '{kind}'")
    query = _text(given, "query")
    if kind == "part" and query not in (None, _GROUP):
        raise errors.InvalidParamError(f"'part' is a fault of {_GROUP}, not of {query}")
    return Fault(
        kind=str(kind),
        seconds=_seconds(given.get("seconds", _DEFAULT_SECONDS.get(str(kind), 0.0))),
        times=_count(given, "times"),
        changes=_count(given, "changes"),
        query=_GROUP if kind == "part" else query,
        name=_text(given, "name"),
        descr=_text(given, "descr"),
    )


def _seconds(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
        raise errors.InvalidParamError("'seconds' is a number of at least 0")
    return float(value)


def _count(given: Mapping[str, object], key: str) -> int:
    value = given.get(key, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise errors.InvalidParamError(f"'{key}' is an integer of at least 1")
    return value


def _text(given: Mapping[str, object], key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise errors.InvalidParamError(f"'{key}' is a string")
    return value
