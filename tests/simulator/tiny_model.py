"""A second reading of StorPool's rules, tiny: what there is, and what each call makes of it.

Names, ids, sizes, parents, tags, attachments, what is deleted or transient, templates, the
key-value store. No data, no devices, no times but those of deletes. It shares no code with the
simulator and knows nothing of HTTP: where the two disagree, the sources of docs/simulator.md decide
who is wrong. `tiny_rules` has what the calls do.

A call that breaks several rules may be refused for any of them: nobody tells which one is looked at
first. What no source tells at all is `Unasked`.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MISSING, EXISTS, WRONG = "objectDoesNotExist", "objectExists", "invalidParam"
CLIENTS = (1, 2, 7)
LONGEST = 200  # bytes of name and tags together [kb]


class Unasked(Exception):
    """Nobody knows what StorPool does with such a call, so it is not made."""


@dataclass(eq=False)
class Template:
    """A template; its name may change."""

    name: str
    size: int | None = None
    parent: Thing | None = None


@dataclass(eq=False)
class Thing:
    """A volume or a snapshot. `label` is how the calls of a history name it.

    `ids` are the ids that it has had, the last is that of now; `kept` is one that still leads to
    it, by the name `~kept`. `size` is None until the cluster has said it. Nobody gave a name to one
    that is `automatic`; one that is `generated` gets a name that the answer tells.
    """

    label: str
    volume: bool
    name: str | None
    size: int | None
    parent: Thing | None = None
    template: Template | None = None
    tags: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    kept: str | None = None
    source: str | None = None
    automatic: bool = False
    generated: bool = False
    bound: bool = False
    transient: bool = False
    deleted: bool = False
    delete_at: float = 0
    gone_at: float = 0
    clients: dict[int, str] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    @property
    def listed(self) -> tuple[str, ...]:
        """The names by which lists may have it."""
        if self.deleted:
            return (f"*{self.ids[-1]}", *(() if self.name is None else (f"*{self.name}",)))
        return (self.name or f"~{self.kept or self.ids[-1]}",)

    @property
    def usable(self) -> bool:
        """Whether it is neither about to go nor collected at any time."""
        return not (self.deleted or self.transient)


class Model:
    """All that there is, and the values of the switches that say how it behaves."""

    def __init__(self, switches: Mapping[str, str], templates: tuple[str, ...]) -> None:
        self.switches = dict(switches)
        self.things: list[Thing] = []
        self.templates = [Template(name) for name in templates]
        self.buckets: dict[str, tuple[int, dict[str, str]]] = {}
        self.now = 0.0
        self.faults: set[str] = set()
        self.made: list[Thing] = []
        self.reverted: Thing | None = None

    def trial(self) -> Model:
        """Return a copy for one call, which has no faults yet."""
        other = copy.deepcopy(self)
        other.faults, other.made, other.reverted = set(), [], None
        return other

    # what is looked up

    def labelled(self, label: str) -> Thing | None:
        """Return what the history calls so, as long as it is there."""
        return next((each for each in self.things if each.label == label), None)

    def find(self, key: str) -> Thing | None:
        """Return what has a name or, for `~id`, this id now; ids are looked for among names too
        [git 76ce668]."""
        for each in self.things:
            if key == f"~{each.ids[-1]}" or (not each.deleted and key == each.name):
                return each
        kept = (each for each in self.things if each.kept and key == f"~{each.kept}")
        return next(kept, None)

    def volume(self, key: str) -> Thing | None:
        """Return a volume; None and a fault where there is none, or where none can be."""
        found = self.find(key)
        if "@" in key:  # in names of snapshots only [sptypes]
            return self.fault(self.switches["bad_name_error"])
        return found if found is not None and found.volume else self.fault(MISSING)

    def snapshot(self, key: str) -> Thing | None:
        """Return a snapshot that may be used; None and a fault where there is none."""
        found = self.find(key)
        if found is None or found.volume or found.deleted:
            return self.fault(MISSING)
        if found.transient:  # it may be collected at any time [sptypes]
            raise Unasked
        return found

    def template(self, name: str | None) -> Template | None:
        """Return a template; None and a fault where there is none."""
        if name is None:
            return None
        found = (each for each in self.templates if each.name == name)
        return next(found, None) or self.fault(MISSING)

    def children(self, thing: Thing) -> list[Thing]:
        """Return what stands on a snapshot."""
        return [each for each in self.things if each.parent is thing]

    def chain(self, thing: Thing) -> Iterator[Thing]:
        """Yield the parents, nearest first."""
        parent = thing.parent
        while parent is not None:
            yield parent
            parent = parent.parent

    def on_volume(self, thing: Thing) -> tuple[str, ...]:
        """Return what lists may say as the volume that a snapshot is a parent of [sptypes]."""
        reach = None if self.is_on("on_volume", "chain") else 1
        above = [
            each
            for each in self.things
            if each.volume and thing in itertools.islice(self.chain(each), reach)
        ]
        made_of = [each for each in above if thing.source == each.ids[-1]]
        nothing = "-" if self.is_on("on_volume_none", "dash") else ""
        return tuple(each.listed[0] for each in made_of or above) or (nothing,)

    # what rules have in common

    def fault(self, name: str) -> None:
        """Note a reason to refuse the call."""
        self.faults.add(name)

    def is_on(self, switch: str, value: str) -> bool:
        """Return whether a switch has this value."""
        return self.switches[switch] == value

    def check_name(self, name: str | None, owner: Thing | None = None) -> None:
        """Volumes and snapshots share one space of names [kb]."""
        holder = None if not name else self.find(name)
        if holder is not None and holder is not owner:
            self.fault(EXISTS)

    def check_length(self, name: str | None, tags: Mapping[str, str]) -> None:
        """Name and tags are at most 200 bytes together [kb]."""
        length = len(name or "") + sum(len(key) + len(text) for key, text in tags.items())
        if length > LONGEST and self.is_on("name_tags_limit", "true"):
            self.fault(WRONG)

    def busy_when(self, condition: bool, switch: str | None = None) -> None:
        """What is attached or open is not taken away [csi] [brick]."""
        if condition:
            self.fault("busy" if switch is None else self.switches[switch])

    def add(self, thing: Thing) -> Thing:
        """Put something new in; its id comes with the answer."""
        thing.ids = [f"new.{thing.label}"]
        self.things.append(thing)
        self.made.append(thing)
        return thing

    def doom(self, thing: Thing) -> None:
        """Begin to delete a snapshot [sptest]."""
        thing.deleted, thing.bound, thing.delete_at = True, False, 0
        thing.gone_at = self.now + float(self.switches["linger"])

    def remove(self, thing: Thing) -> None:
        """Take something out; what stood on it stands on its parent."""
        for child in self.children(thing):
            child.parent = thing.parent
        self.things.remove(thing)

    def settle(self) -> None:
        """Collect what is done with, the earliest first, until nothing is."""
        while True:
            loose = [each for each in self.things if not each.volume and not each.clients]
            done = [each for each in loose if self._is_done(each)]
            over = [each for each in loose if self._is_over(each)]
            if done:
                self.remove(min(done, key=lambda each: each.gone_at))
            elif over:
                self.doom(over[0])
            else:
                return

    def _is_done(self, thing: Thing) -> bool:
        """Return whether it is deleted or transient, and can be taken out of its chain."""
        is_late = (thing.deleted or thing.transient) and thing.gone_at <= self.now
        return is_late and (thing.transient or len(self.children(thing)) <= 1)

    def _is_over(self, thing: Thing) -> bool:
        """Return whether its time is over, or it was bound and nothing stands on it."""
        if thing.deleted:
            return False
        is_due = bool(thing.delete_at) and thing.delete_at <= self.now
        return is_due or (thing.bound and not self.children(thing))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.settle()

    # what an answer tells

    def learn(self, answers: list[tuple[str, str | None]]) -> None:
        """Take the ids and automatic names of what was made from an answer.

        Raises AssertionError for an automatic name that is not `<volume>@<something>` [kb].
        """
        for thing, (global_id, automatic) in zip(self.made, answers):
            thing.ids = [global_id]
            if thing.generated:
                origin = self.find(f"~{thing.source}")
                if origin is not None and origin.name is not None:
                    assert (automatic or "").startswith(f"{origin.name}@"), automatic
                thing.name = automatic
        for each in self.things:
            if each.source is not None:
                known = (made for made in self.made if each.source == f"new.{made.label}")
                each.source = next((made.ids[-1] for made in known), each.source)
