"""The objects of the simulated cluster: frozen values, one for each row of the state.

Fields are named for what they hold, not for the wire; `views` turns them into StorPool's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar, cast

SECTOR_SIZE = 512  # [sptypes]
OBJECT_SIZE = 32 << 20  # an object is at most 32 MiB [sptypes]
MAX_CLIENT_DISKS = 1024  # [sptypes] MAX_CLIENT_DISKS
MAX_CLIENT_ID = 4095  # [sptypes] MAX_CLIENT_ID
UNLIMITED = -1  # how "-" is kept in bw and iops
DEFAULT_GROUP = "default"  # the placement group of what names none
DEFAULT_REPLICATION = 3  # StorPool's usual number of copies
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"  # of the last part of a global id [sptypes]
DEFAULT_CAPACITY = 100 << 40  # of a template that was given none: large enough not to matter


_Class = TypeVar("_Class", bound=type)


def slotted(plain: _Class) -> _Class:
    """Return a dataclass with slots in the place of a dict for each value.

    It is what `dataclass(slots=True)` does from Python 3.10 on. Of what there is by the hundred
    thousand it takes a fifth of the memory: Python shares the keys of dicts up to 30 keys only.
    """
    names = tuple(field.name for field in fields(cast("Any", plain)))
    left_out = {*names, "__dict__", "__weakref__"}
    body = {name: value for name, value in vars(plain).items() if name not in left_out}
    made = type(plain)(plain.__name__, plain.__bases__, {**body, "__slots__": names})
    made.__qualname__ = plain.__qualname__
    return made


@slotted
@dataclass(frozen=True)
class Entry:
    """A volume or a snapshot; both live in one namespace [kb].

    `global_id` is the first id it had, and ours: of the row, the data file and the devices. A
    revert may give it another one on the wire, `reverted_id`. Who talks of it says `wire_id`.
    `backup_of` is the snapshot, elsewhere, that this one was made of by a backup [git 2152d9a].
    `has_file`: its data file must be there; what never held data needs none.

    `moved_to` is the cluster that owns it now: what is here is the source of a move that goes on.
    `moves` counts its moves. A `slave` is a copy of what another cluster owns [sptypes] mcState.
    """

    global_id: str
    number: int
    snapshot: bool
    name: str | None
    size_bytes: int
    parent_id: str | None
    template_id: int
    replication: int
    place_all: str
    place_tail: str
    place_head: str
    bw: int
    iops: int
    reuse_server: bool
    tags: Mapping[str, str]
    created_at: int
    stored_bytes: int = 0
    created_from: str | None = None
    auto_name: bool = False
    bound: bool = False
    transient: bool = False
    deleted: bool = False
    delete_at: int = 0
    gone_at: float = 0
    reverted_id: str | None = None
    created_from_number: int = 0
    backup_of: str | None = None
    backup_of_number: int = 0
    moved_to: str | None = None
    moves: int = 0
    slave: bool = False
    limit_type: str = "total"
    has_file: bool = False

    # Of these there are a few values only, which all rows that are read share.
    REPEATED: ClassVar[tuple[str, ...]] = ("place_all", "place_tail", "place_head", "limit_type")

    @property
    def wire_id(self) -> str:
        """The global id by which it is known since its last revert [git 76ce668] [pve 7d8e8b0]."""
        return self.reverted_id or self.global_id

    @property
    def own_name(self) -> str | None:
        """The name that somebody gave it.

        None also for one whose name is the id that it lost by a revert: `~old` [git 76ce668].
        """
        return None if self.kept_id is not None else self.name

    @property
    def kept_id(self) -> str | None:
        """The id that it lost by a revert and that still leads to it, by the name `~old`."""
        is_kept = self.name is not None and self.name.startswith("~")
        return self.name[1:] if self.name is not None and is_kept else None

    @property
    def listed_name(self) -> str:
        """The name in lists: `~gid` when there is none [readme 7.1.0].

        The mark of a doomed snapshot is `*`.
        """
        if self.name is not None:
            return self.name
        return f"*{self.wire_id}" if self.deleted else f"~{self.wire_id}"


@dataclass(frozen=True)
class Template:
    """A set of defaults for volumes; 0 bytes of size means none."""

    number: int
    name: str
    capacity_bytes: int
    parent_id: str | None = None
    size_bytes: int = 0
    replication: int = DEFAULT_REPLICATION
    place_all: str = DEFAULT_GROUP
    place_tail: str = DEFAULT_GROUP
    place_head: str = DEFAULT_GROUP
    bw: int = UNLIMITED
    iops: int = UNLIMITED
    reuse_server: bool = False
    tags: Mapping[str, str] | None = None
    limit_type: str = "total"


@dataclass(frozen=True)
class Attachment:
    """One object on one client."""

    global_id: str
    client_id: int
    read_only: bool
    position: int

    @property
    def key(self) -> tuple[str, int]:
        """The key of the row: an object is on a client once."""
        return self.global_id, self.client_id


@dataclass(frozen=True)
class Client:
    """A host that the cluster knows.

    A client that is `behind` runs, but does not take over the configuration. `generation` is what
    it had seen when it went down or fell behind.
    """

    client_id: int
    running: bool
    generation: int = 0
    behind: bool = False

    @property
    def in_step(self) -> bool:
        """Whether it is up and takes over every change."""
        return self.running and not self.behind


@dataclass(frozen=True)
class Bucket:
    """A bucket of the key-value store."""

    name: str
    version: int
    pairs: Mapping[str, str]


def location_of(cluster_id: str) -> str:
    """Return the location of a cluster: the first part of its id [sptypes]."""
    return cluster_id.partition(".")[0]


@dataclass(frozen=True)
class Location:
    """Another location, as a cluster knows it; buffers of TCP in bytes do nothing."""

    location_id: str
    name: str
    send_buffer_bytes: int = 0
    receive_buffer_bytes: int = 0


@dataclass(frozen=True)
class Neighbour:
    """Another cluster, as a cluster knows it: its name is the knowing cluster's own for it."""

    cluster_id: str
    name: str

    @property
    def location_id(self) -> str:
        """The location: the first part of the id."""
        return location_of(self.cluster_id)


@dataclass(frozen=True)
class Move:
    """The data of objects that another cluster owns now, and that still come from here.

    `left_bytes` is what was on its way at the moment `since`, from when on the bridges have been up
    and need `seconds_per_gib`; None: they are cut.
    """

    global_id: str
    target_id: str
    global_ids: Sequence[str]
    left_bytes: float
    seconds_per_gib: float = 0
    since: float | None = None


@dataclass(frozen=True)
class Bridge:
    """A bridge of other clusters: `remote_id` is a cluster's id, or a location's for all of it.

    `minimum_delete_delay` is in seconds; None: this side lets the other schedule no deletes [kb].
    """

    ip: str
    public_key: str
    remote_id: str
    minimum_delete_delay: int | None = None
    no_crypto: bool = False

    def leads_to(self, cluster_id: str) -> bool:
        """Whether it leads to this cluster."""
        return self.remote_id in (cluster_id, location_of(cluster_id))


@dataclass(frozen=True)
class PlacementGroup:
    """A named set of disks."""

    name: str
    number: int
    disks: Sequence[int]


@dataclass(frozen=True)
class Disk:
    """What an operator has said about a disk; moments and spans are in seconds, 0 is not so."""

    disk_id: int
    description: str = ""
    soft_eject: str = "off"
    scrub_started_at: float = 0
    scrub_paused_at: float = 0
    scrub_paused_for: float = 0


@dataclass(frozen=True)
class Maintenance:
    """A node in maintenance; the duration is in seconds."""

    node_id: int
    started_at: int
    duration: int
    description: str


@dataclass(frozen=True)
class Export:
    """A snapshot that all clusters of a location may see and copy.

    `backup_id` is the backup that is being made of it there [sptypes]; None for a plain export.
    """

    global_id: str
    location_id: str
    backup_id: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The key of the row: a snapshot is exported to a location once."""
        return self.global_id, self.location_id


@dataclass(frozen=True)
class VolumeExport:
    """A volume that clients of another cluster of the location may attach."""

    global_id: str
    cluster_id: str

    @property
    def key(self) -> tuple[str, str]:
        """The key of the row: a volume is exported to a cluster once."""
        return self.global_id, self.cluster_id


@dataclass(frozen=True)
class Copy:
    """The data of a snapshot of ours that come from another cluster; both have to be there for it.

    `left_bytes` is what was on its way at the moment `since`, from when on the bridges have been up
    and need `seconds_per_gib`; None: they are cut. `filled`: the data are here already, as somebody
    has read them. `failed`: they will never come.
    """

    global_id: str
    source_cluster: str
    source_id: str
    backup: bool
    left_bytes: float
    seconds_per_gib: float = 0
    since: float | None = None
    filled: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Work:
    """A revert whose copy is under way; the next start redoes it when the process dies in it."""

    volume_id: str
    snapshot_id: str


@dataclass(frozen=True)
class Meta:
    """Facts about the cluster as a whole."""

    cluster_id: str
    cluster_name: str
    created_at: int
    generation: int = 1
    last_number: int = 0
    clock_offset: float = 0


def global_id(cluster_id: str, number: int) -> str:
    """Return the global id of an object: `<location>.<subcluster>.<id>` [sptypes]."""
    digits = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return f"{cluster_id}.{digits}"
