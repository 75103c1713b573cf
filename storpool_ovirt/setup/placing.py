"""Changes in folders of the system: each is one rename or unlink, seen by others whole or not.

A thing is made under a second name beside its place and renamed. Whoever dies before that leaves
the second name, which the next run takes away. No program reads a file of such a name: it is
hidden, and ends with `~` (sudo, logrotate, systemd, multipathd and Vdsm's hooks all pass it over).

Root works where only root can replace anything; elsewhere with the rights of whoever could
(rights.py), and what is made there is that user's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from storpool_ovirt import errors, presence, rights

MISSING, LINK, FILE, FOLDER, OTHER = "missing", "link", "file", "folder", "other"
_WORDS = {FILE: "a file", FOLDER: "a folder", OTHER: "neither a file nor a folder"}


@dataclass(frozen=True)
class Seen:
    """What stands at a path; of a link where it leads, of a file what is in it."""

    kind: str
    target: str = ""
    content: bytes = b""
    uid: int = 0
    gid: int = 0
    mode: int = 0

    @property
    def had(self) -> str:
        """Its mode and whose it is, for a sentence."""
        return f"{self.mode:04o}, user {self.uid}, group {self.gid}"

    @property
    def words(self) -> str:
        """What it is, for a sentence."""
        return f"a link to {self.target}" if self.kind == LINK else _WORDS.get(self.kind, self.kind)


class New(NamedTuple):
    """A file that is to be made; `check` looks at it under its second name, and raises one of our
    errors where it must not be used."""

    content: bytes
    mode: int
    owner: tuple[int, int]
    check: Callable[[str], None] | None = None


def look(path: str) -> Seen:
    """Return what is at a path; raise Unseen where that cannot be looked at."""
    target = presence.target(path)
    if target is not None:
        return Seen(LINK, target)
    try:
        facts = os.lstat(path)
        kind = _kind(facts.st_mode)
        content = rights.read(path) if kind == FILE else b""
    except (FileNotFoundError, NotADirectoryError):
        return Seen(MISSING)
    except OSError as error:
        raise presence.unseen(path, error) from error
    return Seen(kind, "", content, facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))


def link(path: str, target: str, seen: Seen) -> None:
    """Put a link in the place of what was `seen` there; raise Conflict where that has changed."""
    with _changing(path) as new:
        os.symlink(target, new)
        _rename(new, path, seen)


def file(path: str, made: New, seen: Seen) -> None:
    """Put a file in the place of what was `seen` there; raise Conflict where that has changed, and
    what its check raises: then nothing changes."""
    with _changing(path) as new:
        opened = rights.opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write(opened, made.content)
            os.fchown(opened, *made.owner)
            os.fchmod(opened, made.mode)
            os.fsync(opened)
        finally:
            os.close(opened)
        if made.check is not None:
            made.check(new)
        _rename(new, path, seen)


def folder(path: str, mode: int, owner: tuple[int, int]) -> None:
    """Make a folder with this owner, group and mode, where there is nothing."""
    with _changing(path, owner[0]) as new:
        os.mkdir(new, 0o700)
        if os.geteuid() == 0:
            os.chown(new, *owner)
        os.chmod(new, mode)
        _rename(new, path, Seen(MISSING))


def owned(path: str, mode: int, owner: tuple[int, int], seen: Seen) -> None:
    """Give what was `seen` at a path its owner, group and mode."""
    with _changing(path, owner[0]):
        made = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if _kind(os.fstat(made).st_mode) != seen.kind:
                raise errors.Conflict(path, "was replaced at this moment", "run this again")
            if os.geteuid() == 0:
                os.fchown(made, *owner)
            os.fchmod(made, mode)
        finally:
            os.close(made)


def removed(path: str, seen: Seen) -> None:
    """Take away the link or the file that was `seen` at a path; raise Conflict where that has
    changed."""
    with _changing(path):
        _check_unchanged(path, seen)
        if seen.kind != MISSING:
            os.unlink(path)


def emptied(path: str) -> bool:
    """Take a folder away if it is empty; return whether it is gone."""
    try:
        with rights.taken(rights.of(path)):
            os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:  # not empty, or a mount point: it is somebody's
        return False
    return True


def changed_at(path: str) -> float:
    """Return when a thing came to its place, in seconds since 1970; 0 where it is not there."""
    try:
        return os.lstat(path).st_ctime
    except FileNotFoundError:
        return 0.0
    except OSError as error:
        raise presence.unseen(path, error) from error


def is_left(path: str) -> bool:
    """Return whether a run that died has left something of ours beside a place."""
    return presence.named(second_name(path))


def second_name(path: str) -> str:
    """Return the name under which a thing is made."""
    return f"{os.path.dirname(path)}/.{os.path.basename(path)}.storpool-ovirt~"


def above(path: str) -> list[str]:
    """Return the folders that are missing above a path, the highest first."""
    missing: list[str] = []
    here = os.path.dirname(path)
    while here not in ("", "/") and not presence.there(here):
        missing.insert(0, here)
        here = os.path.dirname(here)
    return missing


@contextlib.contextmanager
def _changing(path: str, user: int = 0) -> Iterator[str]:
    """Give the second name of a path, with nothing there, and the rights to work with; `user` may
    be who could replace what is there."""
    new = second_name(path)
    try:
        holder = rights.of(os.path.dirname(path))
        if holder is not None and holder.uid != user:
            raise errors.ConfigError(
                os.path.dirname(path),
                f"can be replaced by the user with the id {holder.uid}",
                "let it, and the folders above it, be root's alone",
            )
        with rights.taken(holder):
            _tidy(new)
            try:
                yield new
            except BaseException:
                _tidy(new)
                raise
    except OSError as error:
        raise errors.InputError(
            path, f"cannot be changed ({error.strerror})", "correct that, then run this again"
        ) from error


def _tidy(new: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(new)
        except IsADirectoryError:
            os.rmdir(new)


def _rename(new: str, path: str, seen: Seen) -> None:
    _check_unchanged(path, seen)
    os.rename(new, path)
    above_it = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above_it)
    finally:
        os.close(above_it)


def _check_unchanged(path: str, seen: Seen) -> None:
    if look(path) != seen:
        raise errors.Conflict(path, "was replaced at this moment", "run this again")


def _write(made: int, content: bytes) -> None:
    rest = content
    while rest:
        rest = rest[os.write(made, rest) :]


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return FILE
    return FOLDER if stat.S_ISDIR(mode) else OTHER
