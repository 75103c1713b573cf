"""What setup has made on this machine, as it wrote it down before it made it.

Most of what is ours shows it by itself: a link to a program of ours, a file with the text that we
ship. The record has what does not: which folders were missing, what an older release's text was,
whose a token is. Nothing is taken back by name alone that is neither. It is root's alone, in
/var/lib/storpool-ovirt, and goes with the last thing that is taken back.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from typing import Any

from storpool_ovirt import documents, errors, presence, rights, text
from storpool_ovirt.setup import placing

FOLDER = "/var/lib/storpool-ovirt"
_OWNER = (0, 0)
# Below these is all that setup puts anywhere.
_TOPS = (
    FOLDER,
    "/etc/logrotate.d",
    "/etc/multipath/conf.d",
    "/etc/ovirt-engine",
    "/etc/sudoers.d",
    "/etc/systemd/system",
    "/etc/tmpfiles.d",
    "/usr/libexec/storpool-ovirt",
    "/usr/libexec/vdsm",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share/ovirt-engine",
    "/var/log/ovirt-engine",
    "/var/log/storpool-ovirt",
)


class Record:
    """The record of one place (engine, host), on a machine whose `/` is `root`."""

    def __init__(self, root: str, place: str) -> None:
        self._root = root
        self._folder = root + FOLDER
        self._path = f"{self._folder}/setup-{place}.json"
        self._facts = self._read()

    def is_links(self, path: str, target: str) -> bool:
        """Return whether we made a link, and it leads where it led."""
        return bool(self._facts["links"].get(path) == target)

    def is_files(self, path: str, content: bytes) -> bool:
        """Return whether we made a file, and this is in it."""
        return bool(self._facts["files"].get(path) == _sum(content))

    def is_folders(self, path: str) -> bool:
        """Return whether we made a folder."""
        return path in self._facts["folders"]

    @property
    def folders(self) -> list[str]:
        """The folders that we made, the deepest first; none that no step would have made."""
        return sorted(filter(self._can_be_made, self._facts["folders"]), reverse=True)

    @property
    def configured_at(self) -> float:
        """When a key of Engine's was changed last, in seconds since 1970; 0 for never."""
        return float(self._facts["configured_at"])

    def link(self, path: str, target: str) -> None:
        """Write down a link that is about to be made."""
        self._facts["links"][path] = target
        self._write()

    def file(self, path: str, content: bytes) -> None:
        """Write down a file that is about to be made."""
        self._facts["files"][path] = _sum(content)
        self._write()

    def folder(self, path: str) -> None:
        """Write down a folder that is about to be made."""
        if path not in self._facts["folders"]:
            self._facts["folders"].append(path)
            self._write()

    def configured(self) -> None:
        """Write down that a key of Engine's is about to be changed."""
        self._facts["configured_at"] = time.time()
        self._write()

    def forget(self, path: str) -> None:
        """Forget what is gone, or somebody else's now."""
        known = self._facts["links"].pop(path, None), self._facts["files"].pop(path, None)
        if path in self._facts["folders"]:
            self._facts["folders"].remove(path)
        elif known == (None, None):
            return
        self._write()

    def close(self, with_folder: bool) -> None:
        """Take the record away: what is still in it was left for good. `with_folder`: its folder
        too, where nothing else is in it and no package has it."""
        seen = placing.look(self._path)
        if seen.kind == placing.FILE:
            placing.removed(self._path, seen)
        if with_folder:
            placing.emptied(self._folder)

    def renew(self) -> None:
        """Read it again, as it is now that no other run can change it, and take away what a run
        left that died while it wrote this."""
        self._facts = self._read()
        seen = placing.look(placing.second_name(self._path))
        if seen.kind == placing.FILE:
            placing.removed(placing.second_name(self._path), seen)

    def _read(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"links": {}, "files": {}, "folders": [], "configured_at": 0.0}
        if not presence.named(self._path):
            return facts
        advice = f"move it away: without it, {self._path} is made anew, and less can be taken back"
        self._check_roots(advice)
        seen = placing.look(self._path)
        if seen.kind != placing.FILE:
            raise errors.ConfigError(self._path, f"is {seen.words}", advice)
        if os.geteuid() == 0 and seen.mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise errors.ConfigError(self._path, "is not trusted: others can write it", advice)
        content = text.decoded(seen.content, self._path)
        given = documents.parse(content, self._path, advice, errors.ConfigError)
        if not isinstance(given, dict) or not _is_written({**facts, **given}):
            raise errors.ConfigError(self._path, "is not what setup wrote", advice)
        return {key: given.get(key, kind) for key, kind in facts.items()}

    def _check_roots(self, advice: str) -> None:
        """Raise ConfigError where another user than root could have put it there."""
        try:
            holder = rights.of(self._path)
        except OSError as error:
            raise presence.unseen(self._path, error) from error
        if holder is not None:
            why = f"the user with the id {holder.uid} can replace it"
            raise errors.ConfigError(self._path, f"is not trusted: {why}", advice)

    def _can_be_made(self, path: str) -> bool:
        tops = [f"{self._root}{each}" for each in _TOPS]
        return path == os.path.normpath(path) and any(
            path == top or path.startswith(f"{top}/") or top.startswith(f"{path}/") for top in tops
        )

    def _write(self) -> None:
        if not presence.there(self._folder):
            placing.folder(self._folder, 0o755, _OWNER)  # what doctor finds is there too
        content = json.dumps(self._facts, indent=1, sort_keys=True).encode()
        placing.file(self._path, placing.New(content, 0o600, _OWNER), placing.look(self._path))


def _is_written(given: dict[str, Any]) -> bool:
    """Return whether facts are of the kind that setup writes."""
    maps = [given["links"], given["files"]]
    if not all(isinstance(each, dict) for each in maps) or not isinstance(given["folders"], list):
        return False
    words = [*given["folders"], *(word for each in maps for pair in each.items() for word in pair)]
    at = given["configured_at"]
    is_right = all(isinstance(each, str) and "\0" not in each for each in words)
    return is_right and isinstance(at, float)


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
