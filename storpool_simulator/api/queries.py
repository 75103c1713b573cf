"""What a row of the table of calls is, and what its handler is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from storpool_simulator import errors, switches
from storpool_simulator.model import fields, snapshots
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry


@dataclass(frozen=True)
class Call:
    """One call: the parts of its path, and its parsed body (None when there was none).

    `single` is a call with MultiCluster that is about its cluster alone: a row of AllClusters.
    `stop` is a fault that strikes while a group is made.
    """

    query: str
    cluster: Cluster
    args: tuple[str, ...]
    body: Any
    multi_cluster: bool
    single: bool = False
    stop: snapshots.Stop | None = None

    @property
    def name(self) -> str:
        """The object that the path names."""
        return self.args[0]

    @property
    def switches(self) -> switches.Switches:
        """The cluster's switches."""
        return self.cluster.switches

    def number(self, place: int = 0) -> int:
        """Return a part of the path that is a number, or raise InvalidParamError."""
        text = self.args[place]
        if not (text.isascii() and text.isdigit()):
            raise errors.InvalidParamError(f"{self.query}: '{text}' is not a number.")
        return int(text)

    def fields(self) -> fields.Fields:
        """Return the body as an object, an empty one when there is none [pve]."""
        value = {} if self.body is None else self.body
        return fields.Fields(value, self.query, self.switches)

    def volume(self) -> Entry:
        """Return the volume that the path names, or raise NoSuchObjectError."""
        return self.cluster.catalog.volume(self.name)

    def snapshot(self) -> Entry:
        """Return the snapshot that the path names, or raise NoSuchObjectError."""
        return self.cluster.catalog.snapshot(self.name)


@dataclass(frozen=True)
class Query:
    """One row of the table; `arity` is the number of path components after the query.

    `names_object`: with MultiCluster it is answered by the cluster that has what the path names.
    `measures`: before it is answered, the data of attached objects is measured.
    """

    name: str
    method: str
    handle: Callable[[Call], Any]
    arity: int = 0
    plain: bool = True
    multi_cluster: bool = False
    names_object: bool = False
    measures: bool = False


def get(
    name: str, handle: Callable[[Call], Any], arity: int = 0, *, measures: bool = False
) -> Query:
    """Return the row of a reading call that is about its cluster alone."""
    return Query(name, "GET", handle, arity, measures=measures)


def post(
    name: str, handle: Callable[[Call], Any], arity: int = 0, *, multi_cluster: bool = False
) -> Query:
    """Return the row of a changing call.

    With `multi_cluster` it has that form as well; a name in its path is that of an object.
    """
    names = multi_cluster and arity == 1
    return Query(name, "POST", handle, arity, multi_cluster=multi_cluster, names_object=names)
