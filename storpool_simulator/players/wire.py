"""The cluster as a program beside it sees it: the API by HTTP, the simulator's clock and switches.

CallError           a call that changed nothing for certain, or may have changed something
 |- RefusedError    the API answered with an error
 |   +- GoneError    what the call names does not exist, or no longer
 |- AwayError       there was no answer that makes sense: refused, cut off, late, no JSON
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LIMIT = 60.0  # seconds for one call; our own: as long as a pass of QoS may take
# The services work on the active node of the management [kb], so no old answer reaches them.
_INSTANCE = {"Simulator-Instance": "active"}


class CallError(Exception):
    """A call failed; the text is one sentence."""


class RefusedError(CallError):
    """The API answered with an error."""

    def __init__(self, query: str, facts: Mapping[str, Any]) -> None:
        self.query = query
        self.name = str(facts.get("name", ""))
        self.descr = str(facts.get("descr", ""))
        super().__init__(f"{query}: {self.name}: {self.descr}")


class GoneError(RefusedError):
    """What the call names does not exist, or no longer."""


class AwayError(CallError):
    """There was no answer that makes sense: whether anything changed is not known."""

    def __init__(self, query: str, why: object) -> None:
        super().__init__(f"{query}: no answer ({why})")


@dataclass(frozen=True)
class Api:
    """One program's way to the API of a cluster."""

    host: str
    port: int
    token: str
    program: str

    def get(self, query: str) -> Any:
        """Return the data of a reading call; raises CallError."""
        return self._data("GET", query, None)

    def post(self, query: str, body: Any) -> Any:
        """Return the data of a changing call; raises CallError."""
        return self._data("POST", query, body)

    def pairs(self, bucket: str) -> dict[str, str]:
        """Return a bucket of the key-value store, an empty one when there is none."""
        try:
            return dict(self.get(f"KV/List/{bucket}")["pairs"])
        except GoneError:
            return {}

    def store(self, bucket: str, pairs: Mapping[str, str]) -> None:
        """Write pairs into a bucket, which is made when there is none; "" removes a key."""
        try:
            self.post(f"KV/Set/{bucket}", {"set": dict(pairs)})
        except GoneError:
            self._create_bucket(bucket)
            self.post(f"KV/Set/{bucket}", {"set": dict(pairs)})

    def now(self) -> float:
        """Return the time of the simulator's clock in seconds."""
        return float(self._control("clock")["now"])

    def switches(self) -> dict[str, str]:
        """Return the values of the simulator's switches."""
        return dict(self._control("switches"))

    def _create_bucket(self, bucket: str) -> None:
        try:
            self.post(f"KV/Create/{bucket}", {})
        except RefusedError as problem:  # somebody else was faster
            if problem.name != "objectExists":
                raise

    def _control(self, noun: str) -> Any:
        value = self._exchange("GET", f"/simulator/{noun}", None)
        if not isinstance(value, dict):
            raise AwayError(noun, "no JSON object")
        return _accepted(noun, value)

    def _data(self, method: str, query: str, body: Any) -> Any:
        value = self._exchange(method, f"/ctrl/1.0/{query}", body)
        if not isinstance(value, dict) or not {"data", "error"} & set(value):
            raise AwayError(query, "not an answer of StorPool's API")
        return _accepted(query, value)["data"]

    def _exchange(self, method: str, path: str, body: Any) -> Any:
        text = None if body is None else json.dumps(body)
        headers = {
            "Authorization": f"Storpool v1:{self.token}",
            "User-Agent": self.program,
            **_INSTANCE,
        }
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_LIMIT)
        try:
            connection.request(method, path, text, headers)
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise AwayError(path.rpartition("1.0/")[2], problem or type(problem)) from problem
        finally:
            connection.close()


def _accepted(query: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is no refusal, or raise RefusedError."""
    if "error" not in value:
        return value
    is_gone = value["error"].get("name") == "objectDoesNotExist"
    raise (GoneError if is_gone else RefusedError)(query, value["error"])
