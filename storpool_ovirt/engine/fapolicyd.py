"""fapolicyd: a file that no package has under its name is not to be started, or opened by Python.

Engine's RPM brings fapolicyd (ovirt-engine.spec.in). The files of RPMs are trusted by their paths,
so Engine's own client under its second name needs a line in a trust file of ours
(fapolicyd-cli(8)).
"""

from __future__ import annotations

import hashlib
import os
import stat

from storpool_ovirt import errors, presence, rights, text, tool

PROGRAM = "/usr/sbin/fapolicyd-cli"
TRUST_FILE = "storpool-ovirt"
TRUST_FOLDER = "/etc/fapolicyd/trust.d"
# It reads the trust files and hashes one small file; nothing waits for the daemon.
PROGRAM_SECONDS = 10.0
_MAX_BYTES = 64 << 20  # no library of pip's is larger


def trust(root: str, path: str) -> str:
    """Have a file trusted as it is now; return what went wrong, or nothing.

    Nothing is done where there is no fapolicyd, or the file is trusted already.
    """
    if not presence.there(root + PROGRAM):
        return ""
    lines = _lines(root, path)
    if lines == [_line(path, rights.TEXT_MAX_BYTES)]:
        return ""
    if lines:
        _run(root, "--file", "delete", path, "--trust-file", TRUST_FILE)
    why = _run(root, "--file", "add", path, "--trust-file", TRUST_FILE)
    update(root)
    return f"fapolicyd does not trust {path} ({why})" if why else ""


def forget(root: str, path: str) -> None:
    """Take the file out of what we had trusted."""
    if presence.there(root + PROGRAM) and _lines(root, path):
        _run(root, "--file", "delete", path, "--trust-file", TRUST_FILE)
        update(root)


def untrusted(root: str, folder: str, trust_file: str) -> str:
    """Return a file of a tree that a trust file does not have as it is now, or nothing.

    A name with a blank is written in another way there, and not looked at: none of ours has one.
    """
    known = set(_read(root, trust_file))
    left = [folder]
    while left:
        path = left.pop()
        facts = os.lstat(path)
        is_told = stat.S_ISREG(facts.st_mode) and " " not in path
        if stat.S_ISDIR(facts.st_mode):
            left += [f"{path}/{name}" for name in presence.listed(path)]
        elif is_told and _line(path, _MAX_BYTES) not in known:
            return path
    return ""


def trust_folder(root: str, folder: str, trust_file: str) -> str:
    """Have all files of a tree trusted as they are now, in a trust file of their own; return what
    went wrong, or nothing."""
    why = _run(root, "--file", "add", f"{folder}/", "--trust-file", trust_file)
    update(root)
    return why


def update(root: str) -> None:
    """Have the daemon read its trust files again; where it does not run it does when it starts."""
    _run(root, "--update")


def _line(path: str, max_bytes: int) -> str:
    """Return what a trust file says of a file: `path size sha256`."""
    try:
        content = rights.read(path, max_bytes)
    except OSError as error:
        raise presence.unseen(path, error) from error
    return f"{path} {len(content)} {hashlib.sha256(content).hexdigest()}"


def _lines(root: str, path: str) -> list[str]:
    """Return what our trust file says of a path: `path size sha256`."""
    return [each for each in _read(root, TRUST_FILE) if each.startswith(f"{path} ")]


def _read(root: str, trust_file: str) -> list[str]:
    file = f"{root}{TRUST_FOLDER}/{trust_file}"
    try:
        content = rights.read(file, _MAX_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise presence.unseen(file, error) from error
    return text.lines(text.decoded(content, file, damaged=True))


def _run(root: str, *arguments: str) -> str:
    """Run its program; return why that failed, or nothing."""
    try:
        ended = tool.run(root + PROGRAM, *arguments, seconds=PROGRAM_SECONDS)
    except errors.Error as error:
        return str(error)
    return ended.said if ended.code else ""
