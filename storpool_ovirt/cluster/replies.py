"""What StorPool's API answers, as values: each field is read by one function, which takes nothing
for granted.

A reply may come from a release that nobody here has seen, or from a proxy. What is not what the
official binding says (`storpool.sptypes`) is `OddReply`, whatever it is: no number that is none, no
missing id, travels further in.
"""

from __future__ import annotations

from storpool_ovirt import documents, names
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple, dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeVar

    from storpool_ovirt.cluster.words import Words

    _T = TypeVar("_T", bound=Any)  # what has the kind, the global id and the owner of a volume

# Sizes and generations are signed numbers of 64 bits, times are seconds since 1970
# (`storpool.sptypes`).
NUMBER_MAX = (1 << 63) - 1
TEXT_MAX = 4096  # no name, tag or status of StorPool's is nearly as long
# StorPool's word for a client that it has no contact with (`storpool.sptypes.ClientConfigStatus`).
DOWN = "down"

UNLIMITED = "-"  # of what may have a limit (`storpool.sptypes.unlimitedInt`)
NEVER = 0.0  # one number for all that have none

_NEEDED: Any = object()
_MARK = b"\xef\xbb\xbf"


class OddReply(ValueError):
    """A part of a reply is missing or is not what it should be."""


class RemoteClient(int):
    """A client of another cluster of the name space: its number means another host here.

    It equals no client of ours, and goes to StorPool only in requests to its own cluster.
    """

    cluster_id: str

    def __new__(cls, number: int, cluster_id: str) -> RemoteClient:
        """Make one of its number there and its cluster."""
        made = super().__new__(cls, number)
        made.cluster_id = cluster_id
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteClient) and (int(self), self.cluster_id) == (
            int(other),
            other.cluster_id,
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((int(self), self.cluster_id))

    def __str__(self) -> str:
        return f"{int(self)} of cluster {self.cluster_id}"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Volume(NamedTuple):
    """A volume or a snapshot as StorPool lists it (`storpool.sptypes.VolumeSummary`,
    `SnapshotSummary`). It is a tuple, as 300,000 of them may be held.

    `parent` is the name or `~globalId` of the snapshot that it stands on; `created_at` is in
    seconds since 1970, `serial` (the visible id, which stays over a revert) orders what was made in
    the same second. `first_id` is the global id that it had before any revert, where that is told.
    `goes_at` is when StorPool deletes a snapshot by itself, in seconds since 1970; 0 is never.
    Of what a snapshot was made `made_from` is the global id at that time, `made_from_serial` the
    visible id, 0 where that is not told.
    `cluster_id` is where it lives, as far as StorPool tells (only with several clusters);
    `owned_elsewhere`: this is the source of a move, or a copy of what another cluster owns.
    """

    kind: str
    global_id: str
    name: str
    size_bytes: int
    tags: Mapping[str, str]
    template: str
    made_from: str | None
    dying: bool
    transient: bool = False
    parent: str = ""
    created_at: float = 0.0
    serial: int = 0
    first_id: str | None = None
    goes_at: float = 0.0
    made_from_serial: int = 0
    cluster_id: str | None = None
    owned_elsewhere: bool = False

    def was_made_of(self, source: Volume) -> bool:
        """Return whether this is a snapshot of that volume, whichever global id it had then."""
        if self.made_from is None:
            return False
        if self.made_from_serial and source.serial:
            same_cluster = names.cluster_of(self.made_from) == names.cluster_of(source.global_id)
            return same_cluster and self.made_from_serial == source.serial
        return self.made_from in (
            source.global_id,
            source.first_id,
            names.kept_id(source.name),
        )


class Attachment(NamedTuple):
    """One volume or snapshot on one client (`storpool.sptypes.AttachmentDesc`).

    `cluster_id` is the client's, told only with several clusters.
    """

    name: str
    global_id: str | None
    client_id: int
    access_mode: str
    cluster_id: str | None = None

    @property
    def address(self) -> str:
        """`~globalId`, or the name where an older release gives no id."""
        return names.address(self.global_id) if self.global_id else self.name

    def seen_from(self, cluster_id: str | None) -> Attachment:
        """Return it with the client as this cluster's, or as another one's."""
        if self.cluster_id in (None, cluster_id):
            return self
        return self._replace(client_id=RemoteClient(self.client_id, str(self.cluster_id)))

    def is_of(self, global_id: str, name: str | None) -> bool:
        """Return whether this is an attachment of that object.

        Older releases give a name and no global id. After a revert the id is another one, and an
        unnamed volume has its old id as its name: that, StorPool alone gives.
        """
        if self.global_id == global_id or self.name == names.address(global_id):
            return True
        is_told = self.global_id is None or names.kept_id(name) is not None
        return is_told and self.name == name

    def may_be_of(self, global_id: str, name: str | None) -> bool:
        """Return whether this may be an attachment of that object.

        A volume with a name may get another id by a revert too, and then its name is all that this
        list tells. So "not attached" is said only of what is not meant by its name either.
        """
        return self.is_of(global_id, name) or (name is not None and self.name == name)


@dataclass(frozen=True)
class Template:
    """A template's space for client data: replication is already accounted
    (`VolumeTemplateStatusDesc.stored`)."""

    name: str
    capacity_bytes: int
    free_bytes: int
    provisioned_bytes: int = 0


@dataclass(frozen=True)
class Pair:
    """A value of the key-value store, and the version of its bucket, which grows with each
    change."""

    value: str
    version: int


@dataclass(frozen=True)
class ClientStatus:
    """How far a client has come with the cluster's configuration, which is of `generation`
    (`ClientConfigStatus`)."""

    client_id: int
    client_generation: int
    status: str
    generation: int = 0


def document(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object that a body holds.

    Raises OddReply for anything else, however it is odd.
    """
    try:
        # A byte order mark is no part of a text; Python has a codec of its own for it.
        text = body[len(_MARK) if body.startswith(_MARK) else 0 :].decode()
        return mapping(documents.read(text), "the answer")
    except (ValueError, RecursionError) as error:  # also numbers of more digits than Python reads
        raise OddReply("it is not what StorPool sends") from error


def number(raw: Mapping[str, Any], key: str, default: int = _NEEDED, least: int = 0) -> int:
    """Return a whole number from `least` up to 63 bits; `default` where there is none, or null.

    Raises OddReply.
    """
    value = raw.get(key)
    if value is None and default is not _NEEDED:
        return default
    # A boolean is an int to Python, and 1.0 is one to JSON.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= NUMBER_MAX:
        raise OddReply(f"{key} is no number")
    return value


def text(raw: Mapping[str, Any], key: str, default: str = _NEEDED) -> str:
    """Return a text; `default` where there is none, or null. Raises OddReply."""
    value = raw.get(key)
    if value is None and default is not _NEEDED:
        return default
    if not isinstance(value, str) or len(value) > TEXT_MAX or not _is_utf8(value):
        raise OddReply(f"{key} is no text")
    return value


def global_id(raw: Mapping[str, Any], key: str, default: str | None = _NEEDED) -> str | None:
    """Return a global id; `default` where there is none, null, or an empty one. Raises OddReply."""
    value = raw.get(key)
    if value in (None, "") and default is not _NEEDED:
        return default
    if not isinstance(value, str) or not names.GLOBAL_ID.fits(value):
        raise OddReply(f"{key} is no global id")
    return value


def part(raw: object, key: str) -> Mapping[str, Any]:
    """Return an object inside another one. Raises OddReply."""
    return mapping(mapping(raw).get(key), key)


def mapping(raw: object, what: str = "an entry") -> Mapping[str, Any]:
    """Return what has to be a JSON object. Raises OddReply."""
    if not isinstance(raw, dict):
        raise OddReply(f"{what} is no object")
    return raw


def listed(raw: object) -> list[Any]:
    """Return what has to be a list. Raises OddReply."""
    if not isinstance(raw, list):
        raise OddReply("it is no list")
    return raw


def entries(raw: object) -> Sequence[Mapping[str, Any]]:
    """Return what has to be a list of JSON objects. Raises OddReply."""
    return [mapping(each) for each in listed(raw)]


def volume(kind: str, raw: Mapping[str, Any], words: Words | None = None) -> Volume:
    """Return a volume or a snapshot (`kind`).

    Of what is in `words` already that is used: a snapshot has its volume's id, its volume has its
    name, and all have one template.
    """
    name = text(raw, "name")
    # A snapshot that is being deleted stays in the lists with a name that starts with "*"
    # (`SnapshotSummary.deleted`).
    dying = name.startswith("*") or bool(raw.get("deleted"))
    found = Volume(
        kind=kind,
        global_id=str(global_id(raw, "globalId")),
        name=name,
        size_bytes=number(raw, "size"),
        tags=tags(raw, words),
        template=text(raw, "templateName"),
        made_from=global_id(raw, "createdFromGlobalId", None),
        dying=dying,
        transient=bool(raw.get("transient")),
        parent=text(raw, "parentName", ""),
        created_at=float(number(raw, "creationTimestamp", 0)),
        serial=number(raw, "visibleVolumeId", 0),
        first_id=global_id(raw, "preservedGlobalId", None),
        goes_at=float(number(raw, "targetDeleteDate", 0)) or NEVER,
        made_from_serial=number(raw, "createdFromVisibleVolumeId", 0),
        cluster_id=_cluster_id(raw),
        owned_elsewhere=bool(raw.get("volumeMoveSource"))
        or text(raw, "mcState", "") == "slaveCopy",
    )
    return found if words is None else _in_words(found, words)


def limited(kind: str, raw: Mapping[str, Any]) -> tuple[Volume, dict[str, object]]:
    """Return a volume with its limits as a request would say them; of older releases, which may
    tell none, nothing. Raises OddReply."""
    return volume(kind, raw), {
        key: UNLIMITED if raw[key] == UNLIMITED else number(raw, key)
        for key in ("iops", "bw")
        if raw.get(key) is not None
    }


def _in_words(found: Volume, words: Words) -> Volume:
    known, named, other = words.ids.setdefault, words.names.setdefault, words.others.setdefault
    return found._replace(
        global_id=known(found.global_id, found.global_id),
        name=named(found.name, found.name),
        size_bytes=other(found.size_bytes, found.size_bytes),
        template=other(found.template, found.template),
        made_from=found.made_from and known(found.made_from, found.made_from),
        parent=named(found.parent, found.parent),
        first_id=found.first_id and known(found.first_id, found.first_id),
        cluster_id=other(found.cluster_id, found.cluster_id),
    )


def owners(listed: Sequence[_T]) -> list[_T]:
    """Return each object once: what moves is listed by two clusters, and its owner counts.

    A source or a copy whose owner is not listed stays: it exists, whoever answers for it.
    """
    if not any(each.owned_elsewhere for each in listed):
        return [*listed]
    owned = {(each.kind, each.global_id) for each in listed if not each.owned_elsewhere}
    return [
        each
        for each in listed
        if not each.owned_elsewhere or (each.kind, each.global_id) not in owned
    ]


def silent_clusters(raw: object) -> list[str]:
    """Return the clusters that did not answer a call to all of them (`AllClusters/`), and why.

    CloudStack's plugin of StorPool reads the same: a row has `response`, or `error`.
    """
    return [
        f"{text(row, 'clusterName', '') or text(row, 'clusterId', '')}:"
        f" {text(part(row, 'error'), 'name', '')}"
        for row in entries(mapping(raw).get("clusters"))
        if "response" not in row
    ]


def cluster_ids(raw: object) -> frozenset[str]:
    """Return the ids of the clusters in the answer to a call to all of them; none where not each of
    them is told."""
    found = [_cluster_id(row) for row in entries(mapping(raw).get("clusters"))]
    ids = frozenset(filter(None, found))
    return ids if None not in found else frozenset()


def space(raw: Mapping[str, Any]) -> tuple[str, int]:
    """Return a snapshot's global id, and the bytes that its delete would free."""
    return str(global_id(raw, "globalId")), number(raw, "spaceUsed")


def held(raw: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bytes that a volume or snapshot stores itself, and its `spaceUsed`: of a volume
    what it holds with its parents, of a snapshot what its delete would free."""
    return number(raw, "storedSize"), number(raw, "spaceUsed")


def attachment(raw: Mapping[str, Any], words: Words | None = None) -> Attachment:
    """Return an attachment; of what is in `words` already that is used."""
    mode = text(raw, "rights")
    if mode not in ("rw", "ro"):
        raise OddReply("rights are neither rw nor ro")
    name, of = text(raw, "volume"), global_id(raw, "globalId", None)
    client_id, cluster_id = number(raw, "client", least=1), _cluster_id(raw)
    if words is not None:
        name, of = words.names.get(name, name), of and words.ids.get(of, of)
        cluster_id = words.others.setdefault(cluster_id, cluster_id)
    return Attachment(name, of, client_id, "ro" if mode == "ro" else "rw", cluster_id)


def template(raw: Mapping[str, Any]) -> Template:
    """Return a template's space."""
    stored = part(raw, "stored")
    return Template(
        text(raw, "name"),
        number(stored, "capacity"),
        number(stored, "free"),
        number(raw, "size", 0),
    )


def parent(raw: object) -> str:
    """Return the name of the snapshot that a template's volumes stand on; "" where there is
    none."""
    return text(mapping(raw), "parentName", "")


def client_status(raw: Mapping[str, Any]) -> ClientStatus:
    """Return how far a client has come."""
    seen = number(raw, "clientGeneration")
    return ClientStatus(
        number(raw, "id", least=1), seen, text(raw, "configStatus"), number(raw, "generation", seen)
    )


def pair(raw: object, key: str) -> Pair:
    """Return one pair of a bucket."""
    return Pair(text(part(raw, "pairs"), key), number(mapping(raw), "version"))


def group(raw: object) -> dict[str, str]:
    """Return the global id of each new snapshot of a group by that of its volume.

    A volume that was reverted is there by the id that it had too, where that is its name.
    """
    made = {}
    for each in entries(mapping(raw).get("snapshots")):
        snapshot = str(global_id(each, "snapshotGlobalId"))
        kept = names.kept_id(text(each, "volume", ""))
        made.update(dict.fromkeys((kept, str(global_id(each, "volumeGlobalId"))), snapshot))
    return {volume: snapshot for volume, snapshot in made.items() if volume is not None}


def _cluster_id(raw: Mapping[str, Any]) -> str | None:
    value = text(raw, "clusterId", "")
    if value and not names.CLUSTER_ID.fits(value):
        raise OddReply("clusterId is none")
    return value or None


def tags(raw: Mapping[str, Any], words: Words | None = None) -> dict[str, str]:
    """Return the tags of an object, its own id in them as oVirt prints it; of what is in `words`
    already that is used. Raises OddReply."""
    given = raw.get("tags")
    there = {} if given is None else mapping(given, "tags")
    read = names.with_long_uuid({key: text(there, key) for key in there})
    return read if words is None else words.tags(read)


def _is_utf8(value: str) -> bool:
    """Return whether a text can be written anywhere: JSON may hold half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
