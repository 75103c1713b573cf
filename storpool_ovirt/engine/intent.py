"""What an operation is about to do: written into the journal before its first side effect.

Whoever comes after an operation that died reads it again there, as a `Plan`. Rows of older versions
tell less; what is not told is None or empty.
"""

from __future__ import annotations

from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storpool_ovirt.cluster import plans

# GROW is for each change of a volume that stays: its size, or its data (`Over`).
MAKE, GROW, DROP = "make", "grow", "drop"
_TEXTS = (
    "kind",
    "api",
    "cluster",
    "placeholder",
)  # what decides whose row it is, and where its objects are


class Intent(NamedTuple):
    """What is to be done: to MAKE, GROW or DROP a node of a disk; `plan` is written as JSON."""

    kind: str
    disk: str
    node: str
    plan: Mapping[str, object]


class Kept(NamedTuple):
    """What a delete keeps of one object: its entry in the trash, and the tags that it had."""

    entry: str
    tags: Mapping[str, str]


class Trash(NamedTuple):
    """What a delete keeps, by the ids of the nodes, and until when, in seconds since 1970; the
    `deletion` is what its entries have in common."""

    deletion: str
    ends_at: int
    kept: Mapping[str, Kept]


class Other(NamedTuple):
    """Another disk of the same restore, and the entry of its copy in the trash."""

    disk: str
    entry: str


class Over(NamedTuple):
    """What data are written over a volume's: those of the snapshot with the global id `source`.

    Before that the trash gets a copy of the volume as the entry `entry`, until `ends_at`, in
    seconds since 1970. `begun`: the copies of all disks of the operation are there, so it goes
    forward from here on, on this disk and on the `others`, or back on all of them.
    """

    source: str
    entry: str
    ends_at: int
    begun: bool = False
    others: tuple[Other, ...] = ()


class Plan(NamedTuple):
    """What the journal tells of an operation, as far as anybody asks for it again.

    `kind` is that of the object to be made, `parent` and `base_on` are global ids of what it is
    made of. `api` is the address that it was sent to, `cluster` the one that the domain was pinned
    to. `nodes` are the ids of what is to be deleted, `trash` is what of it is kept, `copy` the id
    of their copies in another location. `placeholder` is the global id of the empty volume that
    gives way to what comes out of the trash (`restoring.py`), with `policy_tags`. `over` is told
    where data are written over (`overwriting.py`).
    """

    kind: str | None = None
    api: str | None = None
    cluster: str | None = None
    template: str | None = None
    parent: str | None = None
    base_on: str | None = None
    source_tag: str = ""
    nodes: tuple[str, ...] = ()
    placeholder: str | None = None
    policy_tags: tuple[tuple[str, str], ...] = ()
    trash: Trash | None = None
    copy: str | None = None
    over: Over | None = None

    def is_elsewhere(self, api: str) -> bool:
        """Return whether it was sent to another address than `api`, whose "does not exist" may then
        mean nothing."""
        return self.api is not None and self.api != api


def making(kind: str, plan: plans.Plan, api: str, cluster: str | None) -> Mapping[str, object]:
    """Return what is written of an object that is to be made; one mapping may serve several
    clusters.

    The keys are those of all versions, `tags` are the owner's.
    """
    owner, policy = plan.owner, plan.policy
    written = {
        "kind": kind,
        "name": owner.name,
        "tags": dict(owner.tags),
        "size_bytes": plan.size_bytes,
        "template": policy.template,
        "parent": plan.parent,
        "base_on": plan.base_on,
        "replication": policy.replication,
        "never": list(owner.never),
        "source_tag": plan.source_tag,
        "api": api,
        "cluster": cluster,
    }
    return {**written, "policy_tags": dict(policy.tags)} if policy.tags else written


def growing(size_bytes: int, was: int) -> Mapping[str, object]:
    """Return what is written of a volume that is to get a size in bytes."""
    return {"size_bytes": size_bytes, "was": was}


def writing_over(over: Over, api: str, cluster: str | None) -> Mapping[str, object]:
    """Return what is written of a volume whose data are to be written over.

    A program that does not know of this reads its size, and closes the entry.
    """
    others = [each._asdict() for each in over.others]
    return {"over": {**over._asdict(), "others": others}, "api": api, "cluster": cluster}


def dropping(
    uuids: Sequence[str], trash: Trash | None = None, copy: str | None = None
) -> Mapping[str, object]:
    """Return what is written of nodes that are to be deleted, of what is kept of them, and of their
    copy in another location."""
    if copy is not None:
        return {**dropping(uuids, trash), "copy": copy}
    if trash is None:
        return {"nodes": list(uuids)}
    kept = {
        uuid: {"entry": each.entry, "tags": dict(each.tags)} for uuid, each in trash.kept.items()
    }
    written = {"deletion": trash.deletion, "ends_at": trash.ends_at, "kept": kept}
    return {"nodes": list(uuids), "trash": written}


def parse(written: object) -> Plan:
    """Return what the journal has in `plan`; raise ValueError for what no version can have
    written."""
    if not isinstance(written, dict):
        raise ValueError("not an object")  # noqa: TRY004  the reader asks one question of a row
    odd = [key for key in _TEXTS if not isinstance(written.get(key), (str, type(None)))]
    if odd:
        raise ValueError(f"{odd[0]} is no text")
    return Plan(
        kind=_text(written, "kind"),
        api=_text(written, "api"),
        cluster=_text(written, "cluster"),
        template=_text(written, "template"),
        parent=_text(written, "parent"),
        base_on=_text(written, "base_on"),
        source_tag=_text(written, "source_tag") or "",
        nodes=_texts(written, "nodes"),
        placeholder=_text(written, "placeholder"),
        policy_tags=_pairs(written, "policy_tags") if written.get("placeholder") else (),
        trash=_trash(written.get("trash")),
        copy=_text(written, "copy"),
        over=_over(written.get("over")),
    )


def _text(written: Mapping[str, object], key: str) -> str | None:
    value = written.get(key)
    return value if isinstance(value, str) else None


def _texts(written: Mapping[str, object], key: str) -> tuple[str, ...]:
    values = written.get(key)
    return tuple(map(str, values)) if isinstance(values, list) else ()


def _pairs(written: Mapping[str, object], key: str) -> tuple[tuple[str, str], ...]:
    values = written.get(key)
    if not isinstance(values, dict):
        return ()
    return tuple((str(name), str(value)) for name, value in values.items())


def _trash(written: object) -> Trash | None:
    if written is None:
        return None
    try:
        kept = {
            str(uuid): Kept(
                str(each["entry"]), {str(key): str(each["tags"][key]) for key in each["tags"]}
            )
            for uuid, each in written["kept"].items()  # type: ignore[index]
        }
        return Trash(str(written["deletion"]), int(written["ends_at"]), kept)  # type: ignore[index]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("what it keeps is not told") from error


def _over(written: object) -> Over | None:
    if written is None:
        return None
    try:
        return Over(
            source=str(written["source"]),  # type: ignore[index]
            entry=str(written["entry"]),  # type: ignore[index]
            ends_at=int(written["ends_at"]),  # type: ignore[index]
            begun=written["begun"] is True,  # type: ignore[index]
            others=tuple(
                Other(str(each["disk"]), str(each["entry"]))
                for each in written.get("others", ())  # type: ignore[attr-defined]
            ),
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ValueError("what it writes over is not told") from error
