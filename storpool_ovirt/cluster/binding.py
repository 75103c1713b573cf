"""StorPool's official binding: loaded without what it does not need, its calls sent over our wire.

Calls, paths and bodies are those of `storpool.spapi.Api`; its retries are not used, as it repeats
any POST after a reset connection, also a create that may have taken effect.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import http.client
import importlib
import io
import json
import sys
import types
from collections.abc import Mapping
from typing import Any, Callable

from storpool_ovirt import config
from storpool_ovirt.cluster import replies, ways, wire

# What is asked of all clusters at once to hear whether each of them answers: the smallest of the
# queries that others send so (CloudStack's plugin and OpenNebula's add-on of StorPool).
ALL_CLUSTERS = "AllClusters/VolumeTemplatesStatus"
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


def over_wire(spapi: types.ModuleType, settings: config.Api) -> Any:
    """Return an object with all methods of `storpool.spapi.Api`, with its paths and its checks,
    over our wire.

    `seconds` is the limit of the next request, `generation` that of the last answer, 0 where it
    had none. `make` makes a value of each entry of the next answer's list, which is read piece by
    piece then, and is a `lists.Entries`. `way` is how a cluster is asked that a call for several
    clusters names; without `pin` it is the address' own that is asked, whatever a call names.
    """
    there = wire.Wire(settings.host, settings.port)
    headers = {"Authorization": f"Storpool v1:{settings.token.reveal()}"}

    class OverWire(spapi.Api):  # type: ignore[misc,name-defined]  # the binding has no types
        seconds = 0.0
        generation = 0
        make: Callable[[Mapping[str, Any]], object] | None = None
        way = ways.Way.TOGETHER
        pin = True

        def allClusters(  # noqa: N802  as the binding's own methods, which lack it
            self,
            clusterName: str | None = None,  # noqa: N803
            returnRawAPIData: bool = True,  # noqa: N803, ARG002
        ) -> Any:
            return self("GET", True, ALL_CLUSTERS, clusterName=clusterName)

        allClusters.spDoc = types.SimpleNamespace(method="GET")  # type: ignore[attr-defined]

        def __call__(  # what all of the binding's methods call; the names are its own
            self,
            method: str,
            multiCluster: bool,  # noqa: N803
            query: str,
            json: Any = None,
            clusterName: str | None = None,  # noqa: N803
        ) -> Any:
            self.generation = 0
            is_for_all = multiCluster and settings.multicluster
            if not self.pin or (is_for_all and self.way is not ways.Way.TOGETHER):
                clusterName = None  # noqa: N806  as the binding has it
            path = spapi._format_path(query, is_for_all, clusterName=clusterName)
            sent = _body(spapi.clear_none(json))
            if self.make is None:
                answer = there.request(method, path, sent, headers, self.seconds)
                reply = replies.document(answer.body)
            else:
                from storpool_ovirt.cluster import lists  # who asks for one object does without

                read = functools.partial(lists.read, make=self.make)
                answer = there.request(method, path, sent, headers, self.seconds, read=read)
                reply = answer.body
            self.generation = replies.number(reply, "generation", 0)
            if answer.status != http.client.OK or "error" in reply:
                replies.part(reply, "error")
                raise spapi.ApiError(answer.status, reply)
            return reply["data"]

    return OverWire()


def _body(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
