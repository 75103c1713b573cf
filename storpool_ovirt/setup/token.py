"""StorPool's token on Engine's machine: in a file of its own, which engine-backup keeps."""

from __future__ import annotations

from storpool_ovirt import config, errors, rights, storpool_conf, text
from storpool_ovirt.engine import gate
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup import placing
from storpool_ovirt.setup.site import Site
from storpool_ovirt.setup.steps import DONE, NEEDS_YOU, NOT_NEEDED, WOULD_CHANGE, WOULD_UNDO, Found

FOLDER = "/etc/ovirt-engine/storpool-ovirt"
FILE = f"{FOLDER}/token"
FILE_MODE, FOLDER_MODE = 0o640, 0o750


def from_file(path: str) -> Secret:
    """Return the token in a file; raise ConfigError where it cannot be read, or holds no token."""
    where = f"the file {path} (--token-file)"
    try:
        content = rights.read(path)
    except OSError as error:
        raise errors.ConfigError(
            where, f"cannot be read ({error.strerror})", "make it a file that holds the token alone"
        ) from error
    return config.token_in(content, where)


class TokenFile:
    """The token's file, and its folder: root's, for user ovirt to read.

    A token that is given takes the place of what is there. Without one what is there stays, and
    where there is none the token of /etc/storpool.conf is taken, where that has one.
    """

    id = "token"
    title = "StorPool's token for Engine"

    def __init__(self, site: Site, token: Secret | None) -> None:
        self._site = site
        self._given = token
        self._path = site.path(FILE)
        self._folder = site.path(FOLDER)

    def look(self) -> Found:
        """As Step has it."""
        seen = placing.look(self._path)
        if seen.kind not in (placing.MISSING, placing.FILE):
            how = "move it away if nobody needs it, then run this again"
            return Found(NEEDS_YOU, f"{self._path} is {seen.words}, and is left", how)
        wanted = self._wanted(seen)
        if wanted is None:
            return Found(
                NEEDS_YOU,
                f"{self._path} is not there, and {storpool_conf.FILE} has no {gate.TOKEN_KEY}",
                "run this again with --token-file FILE, or give each domain the sensitive option"
                " sp_auth_token",
            )
        wrong = self._wrong(seen, wanted)
        if wrong:
            return Found(WOULD_CHANGE, wrong)
        return Found(DONE, f"{self._path} is there: give it to domains as sp_auth_token_file")

    def do(self) -> None:
        """As Step has it."""
        seen = placing.look(self._path)
        wanted = self._wanted(seen)
        if wanted is None:
            return
        owner = (0, self._group())
        above = placing.look(self._folder)
        if above.kind == placing.MISSING:
            self._site.record.folder(self._folder)
            placing.folder(self._folder, FOLDER_MODE, owner)
        elif self._is_wrong(above, FOLDER_MODE):
            placing.owned(self._folder, FOLDER_MODE, owner, above)
        content = seen.content
        if not self._is_same(seen, wanted):
            content = wanted.reveal().encode() + b"\n"
            self._site.record.file(self._path, content)
        placing.file(self._path, placing.New(content, FILE_MODE, owner), seen)

    def look_back(self) -> Found:
        """As Step has it."""
        seen = placing.look(self._path)
        if seen.kind == placing.MISSING and not placing.is_left(self._path):
            return Found(NOT_NEEDED, f"{self._path} is not there")
        if placing.is_left(self._path) or self._is_ours(seen):
            return Found(WOULD_UNDO, f"{self._path} is there, as setup wrote it")
        return Found(
            NEEDS_YOU,
            f"{self._path} is not as setup wrote it, and is left",
            f"remove it if no domain has it as sp_auth_token_file: rm {self._path}",
        )

    def undo(self) -> None:
        """As Step has it."""
        seen = placing.look(self._path)
        placing.removed(self._path, seen if self._is_ours(seen) else placing.Seen(placing.MISSING))
        self._site.record.forget(self._path)

    def _wanted(self, seen: placing.Seen) -> Secret | None:
        """Return the token that the file is to hold, None where nobody has one."""
        if self._given is not None:
            return self._given
        if seen.kind == placing.FILE:
            return config.token_in(seen.content, f"the file {self._path}")
        written = storpool_conf.read(self._site.root, environment=False).get(gate.TOKEN_KEY)
        where = f"{gate.TOKEN_KEY} in {storpool_conf.FILE}"
        return None if written is None else config.token_in(written.encode(), where)

    def _wrong(self, seen: placing.Seen, wanted: Secret) -> str:
        """Return what is not as it has to be, in words."""
        if seen.kind == placing.MISSING:
            return f"{self._path} is not there"
        if not self._is_same(seen, wanted):
            return f"{self._path} holds another token than the one that is given"
        for path, facts, mode in (
            (self._folder, placing.look(self._folder), FOLDER_MODE),
            (self._path, seen, FILE_MODE),
        ):
            if self._is_wrong(facts, mode):
                return f"{path} has the wrong mode or owner ({facts.had})"
        return f"{self._path} has what a dead run left beside it" * placing.is_left(self._path)

    def _is_same(self, seen: placing.Seen, wanted: Secret) -> bool:
        if seen.kind != placing.FILE:
            return False
        there = text.stripped(seen.content.decode("utf-8", "replace"))
        return there == wanted.reveal()

    def _is_wrong(self, facts: placing.Seen, mode: int) -> bool:
        return (facts.uid, facts.gid, facts.mode) != (0, self._group(), mode)

    def _is_ours(self, seen: placing.Seen) -> bool:
        return seen.kind == placing.FILE and self._site.record.is_files(self._path, seen.content)

    def _group(self) -> int:
        return self._site.account().pw_gid
