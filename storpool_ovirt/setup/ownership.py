"""Whether all that root runs by our programs is root's alone: they, Python, and what it reads.

Each link is followed to its end: of a virtual environment the interpreter is one.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection

from storpool_ovirt import presence, rights

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FIRST_LINE_BYTES = 4096
_LIBRARIES = ("site-packages", "dist-packages")


def others(programs: str, code: str) -> str:
    """Return the first path that another user than root can change, or nothing."""
    files = [*_interpreters(programs), f"{sys.prefix}/pyvenv.cfg"]
    for file in files:
        if presence.there(file) and _is_others(file):
            return os.path.realpath(file)
    folders = [programs, code, *_folders()]
    for each in folders:
        if rights.holder(each) is not None:
            return each
    read = {os.path.realpath(each) for each in folders if presence.there(each)}
    for top in sorted(read):
        if not any(top.startswith(f"{other}/") for other in read):
            found = _in_tree(top, read)
            if found:
                return found
    return ""


def _folders() -> list[str]:
    """Return where Python looks for modules; not what came in the caller's environment, which our
    programs do without."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = os.path.dirname(os.__file__)
    return [own, *(each for each in sys.path if os.path.isabs(each) and each not in given)]


def _interpreters(programs: str) -> list[str]:
    """Return what runs our programs, as their first lines say, and runs us."""
    found = {interpreter_of(f"{programs}/{name}") for name in presence.listed(programs)}
    found.add(sys.executable)
    return sorted(each for each in found if os.path.isabs(each))


def _in_tree(top: str, read: Collection[str]) -> str:
    """Return the first path in a tree, or above it, that another user than root can change.

    Beside Python's own modules lie libraries of the whole machine, which a virtual environment does
    not read.
    """
    if rights.holder(top) is not None:
        return top
    left = [top]
    while left:
        path = left.pop()
        if os.path.basename(path) in _LIBRARIES and path not in read:
            continue
        facts = os.lstat(path)
        if stat.S_ISLNK(facts.st_mode):
            if _is_others(path):
                return os.path.realpath(path)
            continue
        if facts.st_uid != 0 or facts.st_mode & _OTHERS_WRITE:
            return path
        if stat.S_ISDIR(facts.st_mode):
            left += [f"{path}/{name}" for name in presence.listed(path)]
    return ""


def is_roots_alone(path: str) -> bool:
    """Return whether nobody but root can change what is at a path, or put something else there.

    Links are followed. Raises OSError where it cannot be looked at.
    """
    facts = os.stat(path)
    return not facts.st_uid and not facts.st_mode & _OTHERS_WRITE and rights.holder(path) is None


def interpreter_of(path: str) -> str:
    """Return what the first line of a script names, "" for what has none, or cannot be read."""
    try:
        first = rights.read(path).partition(b"\n")[0]
    except OSError:  # a program is larger than any text
        return ""
    words = first[2:_FIRST_LINE_BYTES].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""


def _is_others(path: str) -> bool:
    """Return whether another user can change a file, or have another in its place."""
    if presence.there(path):
        return not is_roots_alone(path)
    return rights.holder(path) is not None
