"""A file with what doctor found, for monitoring or for support: it is whole, or it is the one
before.

It is written beside its name and then takes that name, so nobody reads half of it, and a link in
its place leads nobody anywhere. Only an earlier file of doctor's is replaced: whoever mistypes a
path loses nothing.
"""

from __future__ import annotations

import os
import stat

from storpool_ovirt import errors, rights

# What the first lines of each of our files have, whatever its kind.
MARK = b"storpool-ovirt doctor"
_MARK_WITHIN_BYTES = 4096
_ADVICE = "name another file, or take that away"


def check(path: str) -> None:
    """Raise ConfigError where a file could not be written: asked before anybody waits."""
    try:
        with rights.taken(_user(path)):
            _check_place(path)
    except OSError as error:
        raise _refused(path, error) from error


def write(path: str, content: str, mode: int) -> None:
    """Write a file, with this mode whatever the umask; raise ConfigError where that cannot be."""
    try:
        with rights.taken(_user(path)):
            _check_place(path)
            _replace(path, content.encode("utf-8", "backslashreplace"), mode)
    except OSError as error:
        raise _refused(path, error) from error


def _user(path: str) -> rights.User | None:
    """Return with whose rights to write: those of who would own a new file there, so that an older
    one of somebody else's is refused."""
    return rights.of(_beside(path))


def _beside(path: str) -> str:
    return f"{path}.{os.getpid()}.new"


def _check_place(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.basename(path) or not stat.S_ISDIR(os.stat(folder).st_mode):
        raise errors.ConfigError(path, "is no name of a file in a folder", "name a file")
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise errors.ConfigError(path, "is there, and is no plain file", _ADVICE)
    if facts.st_uid != os.geteuid():
        raise errors.ConfigError(path, "is another user's file", _ADVICE)
    file = rights.opened(path, os.O_RDONLY)
    try:
        first = os.read(file, _MARK_WITHIN_BYTES)
    finally:
        os.close(file)
    if MARK not in first:
        raise errors.ConfigError(path, "is there, and is no file of doctor's", _ADVICE)


def _replace(path: str, content: bytes, mode: int) -> None:
    beside = _beside(path)
    file = rights.opened(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _refused(path: str, error: OSError) -> errors.ConfigError:
    return errors.ConfigError(
        path, f"cannot be written ({error.strerror})", "is its folder there, and yours to write?"
    )
