"""Which objects of the cluster may be that of a row, or of an id: by the mapped id, by the name, by
the tags.

An object is an Engine's by its tags and its name together: copies of the tags alone are made by
whoever copies a volume with them (a snapshot by hand, VolumeCare, a backup). Such an object is
kept by others.
"""

from __future__ import annotations

from storpool_ovirt import names
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import mapping
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHOWN = 5  # objects that one sentence names
NAME_MAX = 100  # of a name: longer than each of ours


class Candidates(NamedTuple):
    """What may be the object of a row; of one kind only, but for what has the row's global id or
    name.

    `mapped` has the row's global id, `named` its name, `tagged` (without those two) its tags.
    """

    mapped: api.Volume | None
    named: api.Volume | None
    tagged: tuple[api.Volume, ...]

    @property
    def best(self) -> tuple[api.Volume, ...]:
        """What is the object as far as can be told: one, or several of which a person chooses; none
        where it is gone.

        Tags are asked only where neither id nor name tell anything.
        """
        found = {each.global_id: each for each in (self.mapped, self.named) if each is not None}
        return tuple(found.values()) or self.tagged


def of(things: Iterable[api.Volume], node: mapping.Node, location: str) -> Candidates:
    """Return what may be the object of a row, among all objects of the cluster."""
    mapped, named, tagged = None, None, []
    for each in things:
        if each.global_id == node.global_id:
            mapped = each
        if each.name == names.object_name(node.uuid):
            named = each
        elif each.kind == node.kind and names.is_ours(each.tags, node.uuid, location):
            tagged.append(each)
    return Candidates(mapped, named, tuple(each for each in tagged if each is not mapped))


def living(client: api.Client) -> list[api.Volume]:
    """Return all volumes and snapshots but those that StorPool itself is about to drop, as of
    now."""
    client.be_current()
    listed = (*client.volumes(), *client.snapshots())
    return [each for each in listed if not is_fleeting(each)]


def is_fleeting(thing: api.Volume) -> bool:
    """Return whether StorPool itself is about to drop an object."""
    return thing.dying or thing.transient


def is_named(thing: api.Volume) -> bool:
    """Return whether an object has the name that goes with its tags, and is of a kind that they can
    be of.

    A snapshot belongs to a disk, which is a volume: one that is tagged as a disk itself has copied
    tags.
    """
    uuid = thing.tags.get(names.TAG_UUID, "")
    is_member = thing.kind == "volume" or names.root_of(thing.tags) not in ("", uuid)
    return thing.name == names.object_name(uuid) and is_member


def said(thing: api.Volume) -> str:
    """Return how an object is named to a person who has to choose: by its kind, its name, its
    id."""
    return f"{thing.kind} {names.shown(thing.name, NAME_MAX)} (~{thing.global_id})"


def those(things: Sequence[api.Volume]) -> str:
    """Return how several are named; of many the first ones."""
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return ", ".join(said(each) for each in things[:SHOWN]) + more


def owner(thing: api.Volume, location: str) -> str:
    """Return to whom an object belongs where its tags say that it is not this Engine's; "" where
    none says so."""
    if names.is_foreign(thing.tags):
        return f"another platform ({names.TAG_PLATFORM}={_plain(thing.tags[names.TAG_PLATFORM])})"
    other = thing.tags.get(names.TAG_LOCATION, "")
    return f"the Engine of location {_plain(other)}" if other not in ("", location) else ""


def other_id(thing: api.Volume, uuid: str) -> str:
    """Return the id that an object's tag names, where that is not this one; "" where it names this
    one, or none."""
    tagged = thing.tags.get(names.TAG_UUID, "")
    return tagged if tagged != uuid else ""


def wrong_tags(thing: api.Volume, node: mapping.Node, location: str) -> dict[str, str]:
    """Return the tags to be written so that an object carries those of a row; an empty value takes
    a tag away."""
    wanted = names.tags(node.uuid, location, node.root)
    wrong = {key: wanted[key] for key in names.differing(wanted, thing.tags)}
    if node.uuid == node.root and names.root_of(thing.tags) not in ("", node.root):
        wrong[names.TAG_ROOT] = ""
    return wrong


def _plain(text: str) -> str:
    return text if text.isalnum() else names.shown(text)
