"""The requests that we make, as StorPool's official binding makes them: a row for each method of
its that `Client` calls.

A row is held to the binding by a test: path, HTTP method, the form for several clusters, and a body
that its own schemas take. The checks here say yes to what is plain, which is all that we ever make;
what they do not know they leave to the binding, which takes it or says what is wrong with it.
"""

from __future__ import annotations

from storpool_ovirt import documents
from storpool_ovirt.cluster import replies
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    # The HTTP method, whether there is a form for several clusters, the path behind it, the body.
    Request = tuple[str, bool, str, Optional[bytes]]
    Check = Callable[[Any], bool]
    Row = tuple[str, bool, str, tuple[Check, ...], Optional[tuple[Any, ...]]]

# What is asked of all clusters at once to hear whether each of them answers: the smallest of the
# queries that others send so (CloudStack's plugin and OpenNebula's add-on of StorPool). The binding
# has no method for it.
ALL_CLUSTERS = "AllClusters/VolumeTemplatesStatus"

# The characters and the limits of `storpool.sptypes`.
_DIGITS = "0123456789"
_SMALL = "abcdefghijklmnopqrstuvwxyz"
_GLOBAL_ID = f"{_DIGITS}{_SMALL}."
_WORD = f"{_DIGITS}{_SMALL}{_SMALL.upper()}_-"
_NAME = f"{_WORD}.:"
_NAME_SIZE, _KEY_SIZE = 200, 1023
_LOCATION_SIZE = 64
_ID_DOTS = 2
_CLIENT_MAX = 4095
_SECTOR_BYTES = 512
_REPLICATION_MAX = 3
_NO_NAMES = ("list", "status")  # which are calls of their own in a path


def reads(method: str) -> bool:
    """Return whether a call changes nothing."""
    return REQUESTS[method][0] == "GET"


def plain(method: str, args: tuple[Any, ...]) -> Request | None:
    """Return what is sent for a call of the binding's `method`; None where it is not plain."""
    verb, has_form, query, kinds, schema = REQUESTS[method]
    if len(args) != len(kinds) + (schema is not None):
        return None
    for is_plain, value in zip(kinds, args):
        if not is_plain(value):
            return None
        query += f"/{value}"
    if schema is None:
        return verb, has_form, query, None
    body = _body(schema, args[-1])
    return None if body is None else (verb, has_form, query, written(body))


def written(body: object) -> bytes:
    """Return a body as it is sent."""
    return documents.written(body).encode("ascii")


def _body(schema: tuple[Any, ...], given: Any) -> dict[str, Any] | None:
    """Return a body as the binding would send it, None where it is not plain."""
    if type(given) is not dict:
        return None
    made: dict[str, Any] = {}
    count = 0
    for name, kind, *default in schema:
        if name in given:
            value = _value(kind, given[name])
            if value is None:
                return None
            made[name] = value
            count += 1
        elif default:
            made[name] = default[0]
        elif name in _NEEDED:
            return None
    return made if count == len(given) else None


def _value(kind: Any, given: Any) -> Any:
    """Return a value as it is sent, None where it is not plain; `kind` is a check, or what the
    items of a list may be."""
    if not isinstance(kind, tuple):
        return given if kind(given) else None
    if type(given) is not list:
        return None
    made = [_item(kind, each) for each in given]
    return None if None in made else made


def _item(kinds: tuple[tuple[Any, ...], ...], given: Any) -> dict[str, Any] | None:
    for schema in kinds:
        made = _body(schema, given)
        if made is not None:
            return made
    return None


def _text(value: Any, characters: str, size: int, least: int = 1) -> bool:
    """Return whether it is a text of these characters alone."""
    return type(value) is str and least <= len(value) < size and not value.strip(characters)


def _number(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # no boolean, and no number of a class


def _name(value: Any) -> bool:
    return _text(value, _NAME, _NAME_SIZE) and value not in _NO_NAMES


def _address(value: Any) -> bool:
    """Return whether it addresses an object: by its name, or by `~globalId`."""
    if type(value) is not str or value[:1] != "~":
        return _name(value)
    global_id = value[1:]
    return (
        _text(global_id, _GLOBAL_ID, _NAME_SIZE - 1)
        and global_id.count(".") == _ID_DOTS
        and all(global_id.split("."))
    )


def _addresses(value: Any) -> bool:
    return type(value) is list and all(map(_address, value))


def _global(value: Any) -> bool:
    """Return whether it is a global id, which stands without `~` here."""
    return type(value) is str and value[:1] != "~" and _address(f"~{value}")


def _location(value: Any) -> bool:
    return _text(value, _NAME, _LOCATION_SIZE) and value not in _NO_NAMES


def _template(value: Any) -> bool:
    return _text(value, _WORD, _NAME_SIZE) and value not in _NO_NAMES


def _client(value: Any) -> bool:
    return _number(value, 1, _CLIENT_MAX)


def _bucket(value: Any) -> bool:
    return _text(value, _NAME, _KEY_SIZE)


def _size(value: Any) -> bool:
    return type(value) is int and value > 0 and value % _SECTOR_BYTES == 0


def _replication(value: Any) -> bool:
    return _number(value, 1, _REPLICATION_MAX)


def _tags(value: Any) -> bool:
    return type(value) is dict and all(
        _text(key, _NAME, _NAME_SIZE) and _text(each, _NAME, _NAME_SIZE, 0)
        for key, each in value.items()
    )


def _pairs(value: Any) -> bool:
    return type(value) is dict and all(
        type(key) is str and len(key) < _KEY_SIZE and type(each) is str
        for key, each in value.items()
    )


def _whole(value: Any) -> bool:
    return type(value) is int


def _limit(value: Any) -> bool:
    is_none = type(value) is str and value == replies.UNLIMITED
    return is_none or (type(value) is int and value >= 0)


def _flag(value: Any) -> bool:
    return type(value) is bool


def _clients(value: Any) -> bool:
    return type(value) is list and all(map(_client, value))


def _losers(value: Any) -> bool:
    return _clients(value) or (type(value) is str and value == "all")


def _elsewhere(value: Any) -> bool:
    return type(value) is str and value == "export"  # the others take it from whoever has it


# The fields of each body that we send, in the order in which the binding sends them. A third part
# is what it sends where we say nothing.
_NEEDED = frozenset(
    (
        *("volume", "snapshot", "volumes", "reassign", "toSnapshot", "set", "location"),
        *("remoteLocation", "remoteId", "remoteSnapshots", "globalSnapshotId"),
    )
)
_POLICY = (("replication", _replication), ("bw", _limit), ("iops", _limit), ("tags", _tags))
_VOLUME_CREATE = (
    *_POLICY,
    ("name", _name),
    ("size", _size),
    ("parent", _address),
    ("template", _template),
    ("baseOn", _address),
)
_VOLUME_UPDATE = (*_POLICY, ("rename", _name), ("size", _size), ("template", _template))
_SNAPSHOT_CREATE = (("name", _name), ("deleteAfter", _whole), ("tags", _tags))
_SNAPSHOT_UPDATE = (
    *_POLICY,
    ("rename", _name),
    ("template", _template),
    ("deleteAfter", _whole),
)
_GROUP = (("volumes", ((("volume", _address), ("name", _name), ("tags", _tags)),)),)
_GROUP_BACKUP = (("location", _location), ("volumes", _addresses), ("tags", _tags))
_FROM_REMOTE = (
    ("remoteLocation", _location),
    ("remoteId", _global),
    ("name", _name),
    ("template", _template),
    ("tags", _tags),
)
_GIVEN_UP = (
    (
        "remoteSnapshots",
        ((("location", _location), ("globalSnapshotId", _global), ("deleteAfter", _whole)),),
    ),
)
_LOST = (("detach", _losers), ("ro", _clients))
_REASSIGN = (
    (
        "reassign",
        (
            (
                ("volume", _address),
                *_LOST,
                ("rw", _clients),
                ("force", _flag, False),
                ("onRemoteAttached", _elsewhere),
            ),
            (("snapshot", _address), *_LOST, ("force", _flag, False)),
        ),
    ),
    ("attachTimeout", _whole),
)

# The HTTP method, whether there is a form for several clusters, what the path begins with and what
# goes on in it, and the body.
REQUESTS: dict[str, Row] = {
    "servicesList": ("GET", False, "ServicesList", (), None),
    "locationsList": ("GET", False, "LocationsList", (), None),
    "clustersList": ("GET", False, "ClustersList", (), None),
    "allClusters": ("GET", True, ALL_CLUSTERS, (), None),
    "clientsConfigDump": ("GET", False, "ClientsConfigDump", (), None),
    "clientConfigWait": ("GET", False, "ClientConfigWait", (_client,), None),
    "volumesList": ("GET", True, "VolumesList", (), None),
    "volumesSpace": ("GET", True, "VolumesSpace", (), None),
    "volumeList": ("GET", True, "Volume", (_address,), None),
    "volumeCreate": ("POST", True, "VolumeCreate", (), _VOLUME_CREATE),
    "volumeUpdate": ("POST", True, "VolumeUpdate", (_address,), _VOLUME_UPDATE),
    "volumeDelete": ("POST", True, "VolumeDelete", (_address,), None),
    "volumeRevert": ("POST", True, "VolumeRevert", (_address,), (("toSnapshot", _address),)),
    "snapshotsList": ("GET", True, "SnapshotsList", (), None),
    "snapshotsSpace": ("GET", True, "SnapshotsSpace", (), None),
    "snapshotList": ("GET", True, "Snapshot", (_address,), None),
    "snapshotCreate": ("POST", True, "VolumeSnapshot", (_address,), _SNAPSHOT_CREATE),
    "snapshotCreateGroup": ("POST", True, "VolumesGroupSnapshot", (), _GROUP),
    "snapshotUpdate": ("POST", False, "SnapshotUpdate", (_address,), _SNAPSHOT_UPDATE),
    "snapshotDelete": ("POST", True, "SnapshotDelete", (_address,), None),
    "exportsList": ("GET", False, "ExportsList", (), None),
    "snapshotsRemoteList": ("GET", False, "SnapshotsRemoteList", (), None),
    "volumesGroupBackup": ("POST", True, "VolumesGroupBackup", (), _GROUP_BACKUP),
    "snapshotFromRemote": ("POST", False, "SnapshotFromRemote", (), _FROM_REMOTE),
    "snapshotsRemoteUnexport": ("POST", False, "SnapshotsRemoteUnexport", (), _GIVEN_UP),
    "attachmentsList": ("GET", True, "AttachmentsList", (), None),
    "volumesReassignWait": ("POST", True, "VolumesReassignWait", (), _REASSIGN),
    "volumeTemplatesStatus": ("GET", False, "VolumeTemplatesStatus", (), None),
    "volumeTemplateDescribe": ("GET", False, "VolumeTemplateDescribe", (_template,), None),
    "kvsGet": ("GET", False, "KV/Get", (_bucket, _bucket), None),
    "kvsCreate": ("POST", False, "KV/Create", (_bucket,), None),
    "kvsUpdate": (
        "POST",
        False,
        "KV/Set",
        (_bucket,),
        (("runIfVersionIs", _whole), ("set", _pairs)),
    ),
}
# The calls whose reply does not say "ok": what they made is all that they answer.
WITHOUT_OK = frozenset(("snapshotCreateGroup",))
