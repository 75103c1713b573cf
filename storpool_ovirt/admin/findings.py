"""What an audit finds: its kinds, how bad it is, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from storpool_ovirt import sizes

if TYPE_CHECKING:
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import mapping

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))

# What is younger may still be under way: a request that was sent by a dead process, a disk between
# two calls of Engine.
GRACE_SECONDS = 900.0

LEAK, UNDELIVERED, UNFINISHED, UNMAPPED = "leak", "undelivered answer", "unfinished", "unmapped"
REVERTED, MOVED = "another id", "another cluster"
KEPT, TWIN, LOST = "kept by others", "another Engine", "lost mapping"
RESERVED = "reserved"
TRASH, FULL = "trash", "nearly full"
COPY = "copy"
CLASS, MIXED, POLICY = "unknown class", "mixed policies", "policy drift"
PROPERTY, ROOM, DEFAULT = "VM property", "no room", "policy default"
NOBODYS = "policy of nobody"
GHOST, ATTACHMENT, TAGS, SIZE, FOREIGN, CLUSTER = (
    "ghost",
    "stale attachment",
    "tag drift",
    "size drift",
    "foreign",
    "wrong cluster",
)
INFO, WARNING, CRITICAL = "info", "warning", "critical"


class Action(NamedTuple):
    """What reconcile can do: SETTLE an operation, DELETE an object, DETACH it, write its TAGS or
    its row's SIZE, or have its row FOLLOW it to another global id; of a snapshot that no verb gave
    to oVirt DISCARD it, or KEEP it, as oVirt has it; END a group of snapshots that died, which is
    `number` then; PURGE an entry of the trash, which is `uuid` then."""

    kind: str
    uuid: str
    disk: str
    global_id: str = ""
    number: int = 0


SETTLE, DELETE, DETACH, RETAG, RESIZE = "settle", "delete", "detach", "retag", "resize"
FOLLOW = "follow"
DISCARD, KEEP, END = "discard", "keep", "end"
PURGE = "purge"


@dataclass(frozen=True)
class Finding:
    """One disagreement.

    `mend` is the step for a person; `action` what reconcile does, where it can be sure.
    """

    kind: str
    severity: str
    what: str
    uuid: str
    disk: str
    cause: str
    mend: str
    age_seconds: float | None = None
    action: Action | None = None


def of_node(  # noqa: PLR0913  what a finding has, but for what its node tells
    node: mapping.Node,
    *,
    kind: str,
    severity: str,
    cause: str,
    mend: str,
    what: str = "",
    age_seconds: float | None = None,
    action: Action | None = None,
) -> Finding:
    """Return a finding on the object of a row; `what` names it where its kind and its id are not
    enough."""
    return Finding(
        kind=kind,
        severity=severity,
        what=what or f"{node.kind} {node.uuid}",
        uuid=node.uuid,
        disk=node.root,
        cause=cause,
        mend=mend,
        age_seconds=age_seconds,
        action=action,
    )


def with_step(
    found: Finding, severity: str, cause: str, mend: str, action: Action | None = None
) -> Finding:
    """Return a finding with another cause, and another step that mends it."""
    return replace(found, severity=severity, cause=cause, mend=mend, action=action)


def is_old(finding: Finding, grace_seconds: float) -> bool:
    """Return whether a finding is past the grace period; what has no age is as old as it looks."""
    return finding.age_seconds is None or finding.age_seconds >= grace_seconds


def named(kind: str, uuid: str, thing: api.Volume | None) -> str:
    """Return the words for an object, with its global id where it is there."""
    return f"{thing.kind} {uuid} (~{thing.global_id})" if thing is not None else f"{kind} {uuid}"


def gib(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / sizes.GIB:g} GiB"


def amount(size_bytes: int) -> str:
    """Return so many bytes as people read it: "1.5 GiB"."""
    for unit_bytes, unit in _UNITS:
        if abs(size_bytes) >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes} B"
