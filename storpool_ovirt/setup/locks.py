"""Locks: a run of setup is alone on its machine, and takes no lock away that somebody holds.

Who unlinks a lock holds it, and who has taken one looks whether it is still the file of that name:
so no two hold it, though each run leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from storpool_ovirt import errors, rights
from storpool_ovirt.setup import placing

FOLDER, SETUP = "/run/storpool-ovirt", "setup.lock"
# As often may other runs end between the making of the lock and its taking.
_TRIES = 20


@contextlib.contextmanager
def alone(root: str) -> Iterator[None]:
    """Hold off other runs; raise Conflict while there is one, InputError without a lock."""
    folder = root + FOLDER
    path = f"{folder}/{SETUP}"
    lock = _taken(folder, path)
    try:
        yield
    finally:
        try:
            placing.removed(path, placing.look(path))
            placing.emptied(folder)
        finally:
            os.close(lock)


def tidied(path: str) -> None:
    """Take a file away that may be a lock, and that nobody holds."""
    seen = placing.look(path)
    if seen.kind != placing.FILE:
        return
    try:
        lock = rights.opened(path, os.O_RDONLY)
    except OSError:  # gone, or another thing by now
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(lock, path):
            placing.removed(path, seen)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def _taken(folder: str, path: str) -> int:
    try:
        for _ in range(_TRIES):
            lock = rights.private(folder, SETUP)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = _is_at(lock, path)
            except BaseException:
                os.close(lock)
                raise
            if is_ours:
                return lock
            os.close(lock)
    except BlockingIOError:
        pass
    except OSError as error:
        raise errors.InputError(
            f"the lock {path}",
            f"cannot be made or opened ({error.strerror})",
            "correct that, then run this again",
        ) from error
    raise errors.Conflict("this machine", "is being set up by another run of this", "wait for it")


def _is_at(lock: int, path: str) -> bool:
    """Return whether an open lock is still the file of that name."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(lock), there)
