"""The API of a simulator in this process, asked without HTTP: for what a test looks at or does by
hand. The product's own calls go over HTTP, as everywhere; a look costs a tenth of that here.

The caller is nobody: no fault waits for it, no instance that is behind answers it, and the record
of calls has nothing of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storpool_simulator import Simulator


def ask(simulator: Simulator, query: str, body: object = None) -> Any:
    """Make a call, a GET or with a body a POST, and return its data; AssertionError where it is
    refused."""
    from storpool_simulator import errors
    from storpool_simulator.api import calls, queries, slices

    name, *parts = query.split("/")
    if name == "KV" and parts:
        name = f"{name}/{parts.pop(0)}"
    row = calls.TABLE[name]
    assert row.method == ("GET" if body is None else "POST"), f"{query} is a {row.method}"
    assert len(parts) == row.arity, query
    sent = None if body is None else json.loads(json.dumps(body))
    call = queries.Call(name, simulator.cluster, tuple(parts), sent, multi_cluster=False)
    try:
        answered = calls.answer(row, call)
    except errors.ApiError as refusal:
        raise AssertionError(f"{query}: {refusal.name}: {refusal.descr}") from refusal
    return json.loads("".join(slices.text(answered.data)))
