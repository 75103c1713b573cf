"""The verbs that Engine knows: their arguments, how each is read, and what does them."""

from __future__ import annotations

from storpool_ovirt import documents, errors, names, sizes, text
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Argument(NamedTuple):
    """One argument of a verb: its name in messages, how it is read, and whether the verb needs it
    at all."""

    name: str
    parse: Callable[[str, str], Any]
    used: bool = True


class Verb(NamedTuple):
    """One verb: its arguments, and the function of `disks` that does it; None: a success that
    changes nothing.

    The gate is the one that Engine runs before it has the domain, whose options nobody can correct
    afterwards. `claims`: another verb may have done it already (`claim.py`).
    """

    arguments: tuple[Argument, ...]
    does: str | None
    is_gate: bool = False
    claims: bool = False


def _size_bytes(given: str, what: str) -> int:
    size_gib = text.number(given, 1, sizes.GIB_MAX)
    if size_gib is None:
        raise errors.InputError(
            what,
            f"is not a size ({names.shown(given)})",
            f"give whole GiB from 1 to {sizes.GIB_MAX}",
        )
    return size_gib * sizes.GIB


def _object(given: str, what: str) -> object:
    value = documents.parse(given, what, "Engine passes what the host reported")
    if not (isinstance(value, dict) or value is None):
        raise errors.InputError(
            what, "is not a JSON object", "Engine passes what the host reported"
        )
    return value


def _refresh(given: str, what: str) -> bool:
    if given not in ("true", "false"):
        raise errors.InputError(
            what, f"is neither true nor false ({names.shown(given)})", "Engine passes true"
        )
    return given == "true"


VOLUME = Argument("volume id", names.uuid)
SNAPSHOT = Argument("snapshot id", names.uuid)
ANY_VOLUME = VOLUME._replace(used=False)
SIZE = Argument("size", _size_bytes)

# The snapshot's id alone decides in the last two, which get their ids in opposite order. The
# attachment is the host's matter: disconnect_volume (which names no host, and comes for one side of
# a migration while the other runs) and save_device do nothing.
VERBS: dict[str, Verb] = {
    "create_volume": Verb((VOLUME, SIZE), "create"),
    "delete_volume": Verb((VOLUME,), "delete"),
    "connect_volume": Verb((VOLUME, Argument("connector info", _object)), "connect"),
    "disconnect_volume": Verb((VOLUME,), None),
    "extend_volume": Verb((VOLUME, SIZE), "extend"),
    "save_device": Verb((VOLUME, Argument("device", _object)), None),
    "get_connection_info": Verb((VOLUME,), "connection"),
    "storage_stats": Verb((Argument("refresh", _refresh, used=False),), "stats", is_gate=True),
    "clone_volume": Verb(
        (Argument("source volume id", names.uuid), Argument("new volume id", names.uuid)), "clone"
    ),
    "create_snapshot": Verb((VOLUME,), "snapshot", claims=True),
    "remove_snapshot": Verb((SNAPSHOT, ANY_VOLUME), "remove"),
    "create_volume_from_snapshot": Verb((ANY_VOLUME, SNAPSHOT), "preview"),
}
