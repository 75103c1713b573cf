"""The things that setup puts in places, but for links: files with the text that we ship, folders.

A thing of somebody else's in a place of ours is told and left.
"""

from __future__ import annotations

import pwd
import re
import time
from typing import NamedTuple, Protocol

from storpool_ovirt import errors, installation, presence, rights, text
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.setup import placing
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import (
    DONE,
    NEEDS_YOU,
    NOT_NEEDED,
    WOULD_CHANGE,
    WOULD_UNDO,
    Found,
)

ROOT = (0, 0)
# multipathd answers before it has read all of its files again.
READ_SECONDS = 5.0
PACKAGES = "it comes with our packages, and goes with them"
# A comment; not sudo's "#36" (a user) or "#include", nor one that goes on in the next line.
_COMMENT = re.compile(r"#(?!include|-?\d).*(?<!\\)\Z|#\Z")


class Reader(Protocol):
    """A service that has read a file of ours, or has to be told of it."""

    def has(self, path: str) -> bool:
        """Return whether it knows what is in the file; True where it does not run."""

    def tell(self) -> None:
        """Have it read its files again; nothing where it does not run."""


class Judge(Protocol):
    """Who says what is wrong with a file of ours before a service reads it."""

    def check(self, path: str) -> None:
        """Raise one of our errors for a file that must not be put in place."""

    def whole(self) -> str:
        """Return what is wrong with it and all others of its kind together, or nothing."""

    def takes(self, path: str, content: bytes, shipped: bytes) -> bool:
        """Return whether a file that somebody changed still does all that ours does."""


class Shipped(NamedTuple):
    """A text that we ship: its place, its name among our files, who must take it, and who reads it.

    `packages_path` is where our packages have it, where that is another place.
    """

    path: str
    name: str
    mode: int = 0o644
    judge: Judge | None = None
    reader: Reader | None = None
    packages_path: str = ""


class File:
    """A file with the text that we ship."""

    def __init__(self, site: Site, names: tuple[str, str], shipped: Shipped) -> None:
        self.id, self.title = names
        self._site = site
        self._path = site.path(shipped.path)
        self._packages_path = site.path(shipped.packages_path or shipped.path)
        self._shipped = site.shipped(shipped.name)
        self._mode, self._judge, self._reader = shipped.mode, shipped.judge, shipped.reader
        self._against = ""  # what is wrong with all such files together, once ours is among them

    def look(self) -> Found:
        """As Step has it."""
        if self._site.is_packaged:
            return self._look_packaged()
        if self._against:
            return Found(
                NEEDS_YOU,
                f"{self._path} was taken back: with it, this is wrong: {self._against}",
                "move away the other file that says the same, then run this again",
            )
        return self._look_at(placing.look(self._path))

    def do(self) -> None:
        """As Step has it."""
        if self._site.is_packaged:  # it is there, and was not read yet
            self._tell(self._packages_path)
            return
        content, seen = self._content(), placing.look(self._path)
        is_right = seen.content == content and self._is_roots(seen) and seen.kind == placing.FILE
        if not is_right or placing.is_left(self._path):
            make_way(self._site, self._path)
            self._site.record.file(self._path, content)
            self._place(content, seen)
        if not self._against:
            self._tell(self._path)

    def look_back(self) -> Found:
        """As Step has it."""
        is_packages = self._path == self._packages_path
        if is_packages and (self._site.is_packaged or self._site.has_packages):
            return Found(NOT_NEEDED, f"{self._path}: {PACKAGES}")
        seen = placing.look(self._path)
        if placing.is_left(self._path) or self._is_ours(seen):
            return Found(WOULD_UNDO, f"{self._path} is there")
        if seen.kind == placing.MISSING:
            return Found(NOT_NEEDED, f"{self._path} is not there")
        return Found(
            NEEDS_YOU,
            f"{self._path} is not as we made it, and is left",
            f"remove it if nobody needs it: rm {self._path}",
        )

    def undo(self) -> None:
        """As Step has it."""
        seen = placing.look(self._path)
        placing.removed(self._path, seen if self._is_ours(seen) else placing.Seen(placing.MISSING))
        self._site.record.forget(self._path)
        if self._reader is not None:
            self._reader.tell()

    def _look_at(self, seen: placing.Seen) -> Found:
        if seen.kind == placing.MISSING:
            return Found(WOULD_CHANGE, f"{self._path} is not there")
        if seen.kind != placing.FILE:
            return foreign(self._path, seen)
        content = self._content()
        if seen.content == content:
            return self._look_at_ours(seen)
        if self._site.record.is_files(self._path, seen.content):
            return Found(WOULD_CHANGE, f"{self._path} is that of another release of ours")
        return self._look_at_changed(seen, content)

    def _tell(self, path: str) -> None:
        if self._reader is None:
            return
        self._reader.tell()
        for _ in polls(Deadline(READ_SECONDS), time.sleep):
            if self._reader.has(path):
                break

    def _place(self, content: bytes, seen: placing.Seen) -> None:
        """Put it there; where that spoils what was good, put back what was there."""
        check = None if self._judge is None else self._judge.check
        was_good = self._judge is not None and not self._judge.whole()
        placing.file(self._path, placing.New(content, self._mode, ROOT, check), seen)
        self._against = self._judge.whole() if self._judge is not None and was_good else ""
        if not self._against:
            return
        ours = placing.look(self._path)
        if seen.kind == placing.FILE:
            old = placing.New(seen.content, seen.mode, (seen.uid, seen.gid))
            placing.file(self._path, old, ours)
            self._site.record.file(self._path, seen.content)
        else:
            placing.removed(self._path, ours)
            self._site.record.forget(self._path)

    def _look_packaged(self) -> Found:
        seen = placing.look(self._packages_path)
        if seen.kind == placing.FILE:
            if self._reader is not None and not self._reader.has(self._packages_path):
                return Found(WOULD_CHANGE, f"{self._packages_path} was not read yet")
            return Found(DONE, f"{self._packages_path} is there: {PACKAGES}")
        again = installation.mend(self._site.place)
        what = "not there" if seen.kind == placing.MISSING else seen.words
        return Found(NEEDS_YOU, f"{self._packages_path} is {what}", again)

    def _look_at_ours(self, seen: placing.Seen) -> Found:
        if not self._is_roots(seen):
            return Found(WOULD_CHANGE, f"{self._path} has the wrong mode or owner ({seen.had})")
        if placing.is_left(self._path):
            return Found(WOULD_CHANGE, f"{self._path} is there, and what a dead run left")
        if self._reader is not None and not self._reader.has(self._path):
            return Found(WOULD_CHANGE, f"{self._path} was not read yet")
        return Found(DONE, f"{self._path} is there")

    def _look_at_changed(self, seen: placing.Seen, content: bytes) -> Found:
        """Return what to say of a file that somebody wrote: enough where all of ours is in it, and
        nothing is that takes it back."""
        compare = f"diff {self._path} {self._shipped}"
        if not self._is_enough(seen, content):
            return Found(
                NEEDS_YOU,
                f"{self._path} is not as we ship it, and is left",
                f"compare: {compare} (to have ours, remove it, then run this)",
            )
        if not self._is_roots(seen):
            return Found(
                NEEDS_YOU,
                f"{self._path} has more than we ship, and the wrong mode or owner ({seen.had})",
                f"compare: {compare}, then  chown root:root {self._path} &&"
                f" chmod {self._mode:04o} {self._path}",
            )
        if self._reader is not None and not self._reader.has(self._path):
            return Found(
                NEEDS_YOU,
                f"{self._path} has more than we ship, and was not read yet",
                "have its service read its files again",
            )
        return Found(DONE, f"{self._path} has more than we ship, and is left as it is")

    def _is_enough(self, seen: placing.Seen, content: bytes) -> bool:
        if told_lines(seen.content) == told_lines(content) and self._judge is None:
            return True
        return self._judge is not None and self._judge.takes(self._path, seen.content, content)

    def _is_roots(self, seen: placing.Seen) -> bool:
        return (seen.mode, seen.uid, seen.gid) == (self._mode, *ROOT)

    def _is_ours(self, seen: placing.Seen) -> bool:
        if seen.kind != placing.FILE:
            return False
        known = self._site.record.is_files(self._path, seen.content)
        return known or seen.content == self._content()

    def _content(self) -> bytes:
        try:
            return rights.read(self._shipped)
        except OSError as error:
            again = f"run  {installation.mend(self._site.place)}"
            raise errors.ConfigError(
                self._shipped, f"cannot be read ({error.strerror})", again
            ) from error


class Folder:
    """A folder of one user's."""

    def __init__(
        self, site: Site, names: tuple[str, str], path: str, owner: str, mode: int
    ) -> None:
        self.id, self.title = names
        self._site = site
        self._path = site.path(path)
        self._owner = owner
        self._mode = mode

    def look(self) -> Found:
        """As Step has it."""
        seen = placing.look(self._path)
        if seen.kind == placing.MISSING:
            return Found(WOULD_CHANGE, f"{self._path} is not there")
        if seen.kind != placing.FOLDER:
            return foreign(self._path, seen)
        ids = self._ids()
        if (seen.uid, seen.gid, seen.mode) == (*ids, self._mode):
            if placing.is_left(self._path):
                return Found(WOULD_CHANGE, f"{self._path} is there, and what a dead run left")
            return Found(DONE, f"{self._path} is there")
        had = f"{self._path} has the mode {seen.mode:04o}, user {seen.uid} and group {seen.gid}"
        if self._site.record.is_folders(self._path):
            return Found(WOULD_CHANGE, had)
        owner = f"{self._owner}:{self._owner}"
        how = f"chown {owner} {self._path} && chmod {self._mode:04o} {self._path}"
        return Found(NEEDS_YOU, had, how)

    def do(self) -> None:
        """As Step has it."""
        make_way(self._site, self._path)
        seen = placing.look(self._path)
        if seen.kind == placing.MISSING:
            self._site.record.folder(self._path)
            placing.folder(self._path, self._mode, self._ids())
        else:
            placing.owned(self._path, self._mode, self._ids(), seen)

    def look_back(self) -> Found:
        """As Step has it."""
        seen = placing.look(self._path)
        if seen.kind == placing.MISSING and not placing.is_left(self._path):
            return Found(NOT_NEEDED, f"{self._path} is not there")
        if not self._site.record.is_folders(self._path):
            return Found(NOT_NEEDED, f"{self._path} is not one that setup made")
        if presence.listed(self._path):
            return Found(NOT_NEEDED, f"{self._path} stays: something is in it")
        return Found(WOULD_UNDO, f"{self._path} is there")

    def undo(self) -> None:
        """As Step has it."""
        placing.emptied(placing.second_name(self._path))
        placing.emptied(self._path)
        self._site.record.forget(self._path)

    def _ids(self) -> tuple[int, int]:
        account: pwd.struct_passwd = self._site.account(self._owner)
        return account.pw_uid, account.pw_gid


class Parents:
    """The folders that were missing above all others: the last to go."""

    id = "folders"
    title = "the folders above"

    def __init__(self, site: Site) -> None:
        self._site = site

    def look(self) -> Found:
        """As Step has it."""
        return Found(DONE, "each is made with the first thing in it")

    def do(self) -> None:
        """As Step has it."""

    def look_back(self) -> Found:
        """As Step has it."""
        ours = [each for each in self._site.record.folders if not presence.listed(each)]
        if not ours:
            return Found(NOT_NEEDED, "no folder that setup made is left empty")
        return Found(WOULD_UNDO, f"{', '.join(ours)}: setup made it, and nothing is in it")

    def undo(self) -> None:
        """As Step has it."""
        for each in self._site.record.folders:
            if placing.emptied(each):
                self._site.record.forget(each)


def make_way(site: Site, path: str) -> None:
    """Make the folders that are missing above a path, for all to read."""
    for each in placing.above(path):
        site.record.folder(each)
        placing.folder(each, 0o755, ROOT)


def told_lines(content: bytes) -> list[str]:
    """Return the lines of a text, but comments and empty ones."""
    lines = [each.strip() for each in text.lines(content.decode("utf-8", "replace"))]
    return [each for each in lines if each and not _COMMENT.match(each)]


def foreign(path: str, seen: placing.Seen) -> Found:
    """Return what to say of a thing of somebody else's in a place of ours."""
    return Found(
        NEEDS_YOU,
        f"{path} is {seen.words}, which is not ours, and is left",
        "move it away if nobody needs it, then run this again",
    )
