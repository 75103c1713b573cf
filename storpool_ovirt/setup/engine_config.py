"""Keys of Engine's that are lists, shared by all that is installed beside it: our entries are
merged into them, and taken out alone.

They are read and written by `engine-config` (ovirt-engine 4.5.7, EngineConfigLogic.java). `-g KEY`
prints a line `KEY: VALUE version: VERSION` for each version that there is. `-s KEY=VALUE
--cver=VERSION` sets one whole; `-m`, which appends, is refused for most keys and would leave an
older entry of the same name beside a new one. It says what is wrong on stdout and ends with 1. A
fence key can be set to anything but nothing (FenceConfigValueHelper.java).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from storpool_ovirt import errors, names, text, tool
from storpool_ovirt.setup.record import Record
from storpool_ovirt.setup.steps import DONE, NEEDS_YOU, NOT_NEEDED, WOULD_CHANGE, WOULD_UNDO, Found

PROGRAM = "engine-config"
# A Java that starts, and asks Engine's database.
LIMIT_SECONDS = 60.0
GENERAL = "general"  # the version of what has none
_CLASS = re.compile(r"\[(?:\\.|[^\[\]\\])*\]", re.DOTALL)


class List(NamedTuple):
    """A key that is a list: between what its entries stand, what their names end with, and whether
    they have patterns, of which engine-config takes a list without any."""

    key: str
    separator: str
    ends_name: str
    has_patterns: bool = False


class Entry(NamedTuple):
    """What is ours in a list: its name is what nobody else's is, and its whole text.

    `keeps`: another text of that name is somebody's choice, and stays.
    """

    list: List
    name: str
    text: str
    keeps: bool = False

    def is_ours(self, entry: str) -> bool:
        """Return whether an entry of the list is this one."""
        if self.keeps:
            return entry.strip() == self.text
        return name_of(entry, self.list) == self.name


FENCE_TYPES = List("CustomVdsFenceType", ",", "")
FENCE_OPTIONS = List("CustomVdsFenceOptionMapping", ";", ":")
VM_PROPERTIES = List("UserDefinedVMProperties", ";", "=", has_patterns=True)
# docs/fencing.md: the agent's port is a client id, and goes to it as it is.
FENCE_AGENT = (
    Entry(FENCE_TYPES, "storpool", "storpool"),
    Entry(FENCE_OPTIONS, "storpool", "storpool:port=port"),
)
# What Engine takes for the properties of a VM that a hook follows (`policy/properties.py`): it ends
# an entry, and what somebody gives, at a semicolon, and has room for 4,000 characters of all
# properties of a VM (CustomPropertiesUtils.java, vm_static).
_ANY_POLICY = "^[A-Za-z0-9_.:, -]{0,4000}$"
VM_POLICY = tuple(
    Entry(VM_PROPERTIES, name, f"{name}={_ANY_POLICY}", keeps=True)
    for name in (names.PROPERTY_QOS, names.PROPERTY_VC)
)


def entries(value: str, of: List) -> list[str]:
    """Return the entries of a list."""
    return [each for each in _pieces(value, of) if each.strip()]


def name_of(entry: str, of: List) -> str:
    """Return the name of an entry."""
    return (entry.partition(of.ends_name)[0] if of.ends_name else entry).strip()


def merged(value: str, ours: Entry) -> str:
    """Return a list with our entry in it once, in the place of the first of that name, else at its
    end; all others as they were. Where ours keeps what has its name, a list that has that is left
    as it is.

    A separator that ends the list is taken for ours: engine-config refuses an entry that is empty.
    """
    of, kept, has_it = ours.list, [], False
    if not value.strip():
        return ours.text
    for each in _pieces(value, of):
        if name_of(each, of) != ours.name:
            kept.append(each)
        elif ours.keeps:
            return value
        elif not has_it:
            kept.append(each if each.strip() == ours.text else ours.text)
            has_it = True
    if has_it:
        return of.separator.join(kept)
    return of.separator.join([*(kept if kept[-1].strip() else kept[:-1]), ours.text])


def without(value: str, ours: Entry) -> str:
    """Return a list without our entry, all others as they were."""
    found, of = _pieces(value, ours.list), ours.list
    kept = [each for each in found if not ours.is_ours(each)]
    return value if len(kept) == len(found) else of.separator.join(kept)


def _pieces(value: str, of: List) -> list[str]:
    """Return what stands between the separators, also nothing: joined it is the list again.

    A separator within brackets, or behind a backslash, is part of a regular expression.
    """
    found, at, start = [], 0, 0
    while at < len(value):
        if value[at] == of.separator:
            found.append(value[start:at])
            start = at + 1
        at = _behind(value, at) if of.has_patterns else at + 1
    return [*found, value[start:]]


def _behind(value: str, at: int) -> int:
    """Return where what is at a place of a list ends: a character, one behind a backslash, or a
    class of a regular expression. A bracket that nobody closes is a character."""
    if value[at] == "\\":
        return at + 2
    end = _CLASS.match(value, at)
    return end.end() if end else at + 1


def read(key: str) -> dict[str, str]:
    """Return the value of a key for each version that there is."""
    ended = tool.run(PROGRAM, "-g", key, seconds=LIMIT_SECONDS)
    if ended.code != 0:
        raise errors.InputError(
            f"{PROGRAM} -g {key}",
            f"failed ({ended.said})",
            "correct that: Engine's database has to run",
        )
    line = re.compile(rf"{re.escape(key)}: ?(.*) version: ?(\S+)\Z", re.DOTALL)
    matches = [found for found in map(line.match, text.lines(ended.out)) if found]
    if not matches:
        raise errors.InputError(
            f"{PROGRAM} -g {key}", "printed no value", "run it, and see what is wrong"
        )
    return {found[2]: found[1].strip() for found in matches}


def write(key: str, value: str, version: str) -> None:
    """Set a key of one version."""
    arguments = ["-s", f"{key}={value}", f"--cver={version}"]
    ended = tool.run(PROGRAM, *arguments, seconds=LIMIT_SECONDS)
    if ended.code != 0:
        raise errors.InputError(
            f"{PROGRAM} -s {key}=...", f"failed ({ended.said})", "correct that, then run this again"
        )


class Entries:
    """Our entries in lists of Engine's, for some versions; without any for all that there are."""

    def __init__(  # what it is, what is ours, and who writes it down
        self,
        called: tuple[str, str],
        ours: Sequence[Entry],
        record: Record,
        versions: Sequence[str] = (),
        wanted: bool = True,
    ) -> None:
        self.id, self.title = called
        self._ours = ours
        self._record = record
        self._versions = versions
        self._is_wanted = wanted
        self._read: dict[str, dict[str, str]] = {}  # until it is changed: each look takes seconds

    def look(self) -> Found:
        """As Step has it."""
        if not self._is_wanted:
            return Found(NOT_NEEDED, "it was not asked for")
        if tool.found(PROGRAM) is None:
            return Found(NEEDS_YOU, f"{PROGRAM} is not here", "run this on Engine's machine")
        changes = self._changes(merged)
        if not changes:
            return Found(DONE, f"{self._keys()} {self._have()} {self._names()}")
        lacking = sorted({of.key for of, _, _ in changes})
        lack = f"{' and '.join(lacking)} {'lacks' if len(lacking) == 1 else 'lack'}"
        return Found(WOULD_CHANGE, f"{lack} {self._names()}")

    def do(self) -> None:
        """As Step has it."""
        for of, version, value in self._changes(merged):
            self._write(of, version, value)

    def look_back(self) -> Found:
        """As Step has it."""
        if tool.found(PROGRAM) is None:
            return Found(NOT_NEEDED, f"{PROGRAM} is not here")
        changes = self._changes(without)
        if not changes:
            return Found(NOT_NEEDED, f"{self._keys()} {self._have()} nothing of ours")
        alone = [of.key for of, _, value in changes if not value and not of.has_patterns]
        if len(alone) == len(changes):
            return self._only_ours(alone)
        ours = sorted({of.key for of, _, _ in changes})
        have = "has" if len(ours) == 1 else "have"
        return Found(WOULD_UNDO, f"{', '.join(ours)} {have} {self._names()}")

    def undo(self) -> None:
        """As Step has it."""
        for of, version, value in self._changes(without):
            if value or of.has_patterns:
                self._write(of, version, value)

    def _only_ours(self, keys: Sequence[str]) -> Found:
        """Return what to say where engine-config takes no empty value."""
        named = " or ".join(f"option_name = '{key}'" for key in keys)
        sql = f"update vdc_options set option_value = '' where {named}"  # noqa: S608 for a person
        return Found(
            NEEDS_YOU,
            f"{' and '.join(keys)} have {self._names()} alone, and {PROGRAM} lets nobody empty"
            " a fence key: it is left, and does no harm",
            f'/usr/share/ovirt-engine/dbscripts/engine-psql.sh -c "{sql}"',
        )

    def _changes(self, change: Callable[[str, Entry], str]) -> list[tuple[List, str, str]]:
        """Return which keys of which versions would be changed, and to what."""
        changes = []
        for of in self._lists():
            self._read[of.key] = self._read.get(of.key) or read(of.key)
            for version, value in self._read[of.key].items():
                new = value
                for ours in self._ours:
                    new = change(new, ours) if ours.list == of else new
                if (not self._versions or version in self._versions) and new != value:
                    changes.append((of, version, new))
        return changes

    def _write(self, of: List, version: str, value: str) -> None:
        self._read.pop(of.key, None)
        self._record.configured()
        write(of.key, value, version)

    def _lists(self) -> list[List]:
        return list(dict.fromkeys(ours.list for ours in self._ours))

    def _keys(self) -> str:
        return " and ".join(of.key for of in self._lists())

    def _have(self) -> str:
        return "has" if len(self._lists()) == 1 else "have"

    def _names(self) -> str:
        return " and ".join(dict.fromkeys(ours.name for ours in self._ours))
