"""What a verb may leave that was given up on: its intent and perhaps its object, a part of a
delete; and nothing else.

Each function takes over into the model what is there, and fails where the verb cannot explain it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from rigs.disk_model import DELETING, LIVE, PLANNED, REMOVED, Argument, Model, Node, Row

if TYPE_CHECKING:
    from rigs.disk_rig import Seen

MAKING = ("create", "clone", "snapshot", "preview")
DROPPING = ("delete", "remove")


def adopt(model: Model, seen: Seen, touched: set[str], verb: str, *arguments: Argument) -> None:
    """Take over what `verb` left; `touched` are the ids that it may have changed."""
    new = seen.rows.keys() - model.nodes.keys()
    assert len(new) <= (verb in MAKING), f"{verb} made more than one row"
    for uuid in touched & model.nodes.keys():
        _adopt_object(model, seen, model.nodes[uuid], verb, *arguments)
        _adopt_row(model, seen, model.nodes[uuid], verb, *arguments)
    for uuid in new:
        model.nodes[uuid] = _new(model, seen, seen.rows[uuid], str(arguments[0]))


def _adopt_object(model: Model, seen: Seen, node: Node, verb: str, *arguments: Argument) -> None:
    thing = seen.things.get(f"ovirt--{node.uuid}")
    if thing is None and node.exists:
        assert verb in DROPPING or node.state == PLANNED, f"{node.uuid} is gone"
        assert not any(holder == node.uuid for holder, _ in model.open), (
            f"{node.uuid} was open and is gone"
        )
    if thing is not None and not node.exists and node.source in model.nodes:
        node.data = copy.copy(model.nodes[node.source].data)  # it was made just now
    elif thing is not None and node.exists:
        assert thing.size_bytes in (node.real_bytes, *arguments), (
            f"{node.uuid} has {thing.size_bytes} bytes"
        )
    node.exists = thing is not None
    node.real_bytes = thing.size_bytes if thing is not None else node.real_bytes
    listed = {
        (node.uuid, client_id)
        for global_id, client_id, _ in seen.attached
        if global_id == node.global_id
    }
    model.attached = {each for each in model.attached if each[0] != node.uuid or each in listed}


def _adopt_row(model: Model, seen: Seen, node: Node, verb: str, *arguments: Argument) -> None:
    row = seen.rows.get(node.uuid)
    if row is None:
        assert not node.exists, f"{node.uuid} has no row any more"
        assert verb in DROPPING or node.state == PLANNED, f"{node.uuid} was forgotten"
        del model.nodes[node.uuid]
        return
    size_bytes, state = row.size_bytes, row.state
    finished = {LIVE} if node.state == PLANNED else set()
    after = {"delete": {DELETING}, "remove": {DELETING, REMOVED}}.get(verb, finished)
    assert state in {node.state, *after}, f"{node.uuid} became {state}"
    assert size_bytes in (node.size_bytes, *arguments) or state == PLANNED, (
        f"{node.uuid} has a row of {size_bytes} bytes"
    )
    node.size_bytes, node.state = size_bytes, state
    node.active, node.replaced = row.active, row.replaced


def _new(model: Model, seen: Seen, row: Row, source: str) -> Node:
    """Return the node of a row that was not there before."""
    uuid, size_bytes, state = row.uuid, row.size_bytes, row.state
    node = Node(uuid, row.kind, row.root, None, size_bytes)
    if row.source is not None:
        assert row.source == source, f"{uuid} was made from another node"
        node = model.from_source(uuid, row.kind, source)
    node.root, node.size_bytes, node.state = row.root, size_bytes, state
    node.active, node.replaced = row.active, row.replaced
    node.real_bytes = max(node.real_bytes, size_bytes)
    node.exists = f"ovirt--{uuid}" in seen.things
    assert state == PLANNED or (state == LIVE and node.exists), f"{uuid} is {state}"
    return node
