"""The file that a released Engine starts for each verb, and what stands in its place.

Two names in one folder: `cinderlib-client.py`, which Engine starts, and the same with `.ovirt`,
which keeps Engine's own file while the first is a link to our dispatcher. Each change here is one
rename, link or unlink, so that Engine finds a whole file at any moment, and whoever dies between
two of them leaves a state that `read` knows. Engine's file itself is never written, only named: its
content, owner, mode, time and SELinux label stay.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from storpool_ovirt import errors, presence, rights
from storpool_ovirt.engine import dispatcher

FOLDER = "/usr/share/ovirt-engine/cinderlib"
# A file of the same package beside it, in every release that has the client: where it is missing
# too the package is gone, not the file alone.
OF_THE_SAME_PACKAGE = "config.py"
_NEW = f".{dispatcher.CLIENT}.storpool-ovirt"  # a name of ours on its way to be another

MISSING = "missing"
STOCK = "Engine's own file"
LINK = "a link to our dispatcher"
COPY = "a copy of our dispatcher"
FOREIGN = "a link of somebody else's"
OTHER = "no regular file"


@dataclass(frozen=True)
class Entry:
    """What stands at one of the two names: its kind, where a link leads, which file it is, and
    whether it may be executed at all."""

    kind: str
    target: str = ""
    file: tuple[int, int] = (0, 0)
    executable: bool = True


@dataclass(frozen=True)
class State:
    """Both names, and whether the package that the client belongs to is there."""

    client: Entry
    kept: Entry
    packaged: bool

    @property
    def is_one_file(self) -> bool:
        """Whether both are names of one file, as between the two steps of a diversion."""
        return self.client.kind == self.kept.kind == STOCK and self.client.file == self.kept.file


class Place:
    """The folder of the client, on a host whose `/` is `root`."""

    def __init__(self, root: str = "") -> None:
        self.folder = root + FOLDER
        self.client = f"{self.folder}/{dispatcher.CLIENT}"
        self.kept = f"{self.folder}/{dispatcher.STOCK}"
        self._new = f"{self.folder}/{_NEW}"

    def read(self) -> State:
        """Return what is there; raise Unseen where that cannot be looked at, and ConfigError where
        others than root can replace it."""
        if not presence.named(self.folder):
            return State(Entry(MISSING), Entry(MISSING), packaged=False)
        _check_roots(self.folder)
        packaged = presence.named(f"{self.folder}/{OF_THE_SAME_PACKAGE}")
        return State(_entry(self.client), _entry(self.kept), packaged)

    def keep(self) -> None:
        """Give Engine's file its second name, in place of an older one."""
        with _changing(self.kept):
            os.link(self.client, self._new, follow_symlinks=False)
            os.rename(self._new, self.kept)

    def divert(self, seen: Entry, target: str) -> None:
        """Let Engine's name lead to our dispatcher; raise Conflict where what was `seen` there is
        there no more."""
        with _changing(self.client):
            os.symlink(target, self._new)
            self._check_unchanged(seen)
            os.rename(self._new, self.client)

    def give_back(self, seen: Entry) -> None:
        """Let Engine's name be that of its own file again, as it was; raise Conflict as `divert`
        does."""
        with _changing(self.client):
            self._check_unchanged(seen)
            os.rename(self.kept, self.client)

    def forget(self) -> None:
        """Take the second name away."""
        with _changing(self.kept):
            os.unlink(self.kept)

    def tidy(self) -> None:
        """Take away what a death between two steps left of our own names."""
        if presence.named(self._new):
            with _changing(self._new):
                os.unlink(self._new)

    def is_left(self) -> bool:
        """Return whether a run that died has left a name of ours beside Engine's own file."""
        state = self.read()
        ours = state.kept.kind in (STOCK, COPY, LINK)
        return presence.named(self._new) or (ours and state.client.kind == STOCK)

    def _check_unchanged(self, seen: Entry) -> None:
        """A package may put a newer file there at this moment: that one must not be lost."""
        if _entry(self.client) != seen:
            raise errors.Conflict(self.client, "was replaced at this moment", "run this again")

    def leave(self) -> None:
        """Take the folder away where a package left it empty because of our file."""
        with contextlib.suppress(OSError):  # not empty: it is somebody's
            os.rmdir(self.folder)


def is_ours(target: str) -> bool:
    """Return whether a link leads to a dispatcher of ours, of whichever installation."""
    return os.path.basename(target) == dispatcher.PROGRAM


def _entry(path: str) -> Entry:
    target = presence.target(path)
    if target is not None:
        return Entry(LINK if is_ours(target) else FOREIGN, target)
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode):
            return Entry(OTHER)
        content = rights.read(path)
    except FileNotFoundError:
        return Entry(MISSING)
    except OSError as error:
        raise presence.unseen(path, error) from error
    kind = COPY if dispatcher.starts_ours(content) else STOCK
    return Entry(kind, "", (facts.st_dev, facts.st_ino), bool(facts.st_mode & 0o111))


def _check_roots(folder: str) -> None:
    """Raise ConfigError where another user can replace the folder: root would work for that one."""
    try:
        holder = rights.of(folder)
    except OSError as error:
        raise presence.unseen(folder, error) from error
    if holder is not None:
        raise errors.ConfigError(
            folder,
            f"can be replaced by user {holder.uid}",
            "let it, and the folders above it, be root's alone",
        )


@contextlib.contextmanager
def _changing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise errors.InputError(
            path,
            f"cannot be changed ({error.strerror})",
            "run this as root, where /usr can be written",
        ) from error
