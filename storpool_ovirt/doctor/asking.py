"""A tool of the machine is asked: with a limit, as some user, without what our caller has in its
environment."""

from __future__ import annotations

import os
import pwd
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

from storpool_ovirt import text, tool
from storpool_ovirt.doctor.checks import Site

# Most tools answer at once; one that does not must leave the check time to tell.
TOOL_SECONDS = 5.0
RESERVE_SECONDS = 0.3
ANSWER_MAX_BYTES = 8 << 20
_PIECE_BYTES = 1 << 16


class Unasked(Exception):
    """A tool could not be asked; the text says why. The check could not look."""


class Missing(Unasked):
    """The tool, or the user, is not here."""


class Silent(Unasked):
    """The tool did not end in time, or told more than can be read."""


class Answer(NamedTuple):
    """What a tool said: its exit code (negative: a signal), stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last words, on one line: what it has to say of a failure.

        A program of ours shows there what it was told in several lines: the first is it.
        """
        lines = [each.strip() for each in text.lines(self.err or self.out) if each.strip()]
        return lines[-1].split("\\n")[0] if lines else f"exit code {self.code}"


class As(NamedTuple):
    """As whom, where and with what a tool is started."""

    user: str = ""
    folder: str = "/"
    environment: Mapping[str, str] = {}
    given: bytes = b""


def ask(
    site: Site, command: Sequence[str], how: As | None = None, seconds: float = TOOL_SECONDS
) -> Answer:
    """Run a tool, found in PATH or by its whole path, and return its answer.

    Raises Missing when the tool or the user is not there or may not be had, Silent when there was
    no answer within the seconds, or within those that the check still has.
    """
    limit = min(seconds, site.left() - RESERVE_SECONDS)
    if limit <= 0:
        raise Silent(f"{command[0]} was not asked: no time was left")
    how = how or As()
    # Memory, not a file: a full disk is what somebody may be looking for.
    with open(os.memfd_create("given"), "r+b") as given:
        given.write(how.given)
        given.seek(0)
        process = _started(command, how, given)
    with process:  # whoever it started holds its streams, and is ended with this check
        try:
            out, err = _read(process, time.monotonic() + limit)
            code = process.wait(max(0.1, limit))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise Silent(f"{command[0]} did not end within {limit:.3g} s") from None
        except OverflowError:
            raise Silent(f"{command[0]} tells more than can be read") from None
        finally:
            if process.poll() is None:
                process.kill()
    return Answer(code, out, err)


def known(user: str) -> pwd.struct_passwd:
    """Return a user of this machine; raise Missing where there is no such user."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise Missing(f"user {user} is not known here") from None


def account(user: str) -> pwd.struct_passwd:
    """Return a user of this machine that we can be; raise Missing where there is no such user, or
    only root could be it."""
    entry = known(user)
    if os.geteuid() not in (0, entry.pw_uid):
        raise Missing(f"only root can be user {user}: run this as root")
    return entry


def can_read(site: Site, path: str, user: str) -> bool:
    """Return whether a user can read a file: the kernel says it; raise Silent where it does not."""
    answer = ask(site, ["test", "-r", path], As(user))
    if answer.code not in (0, 1):
        raise Silent(f"test -r {path}, as user {user}: {answer.said}")
    return answer.code == 0


def _started(command: Sequence[str], how: As, given: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [tool.found(command[0]) or command[0], *command[1:]],
            cwd=how.folder,
            env={**tool.environment(), **how.environment},
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **_rights(how.user),
        )
    except FileNotFoundError as error:
        where = how.folder if str(error.filename) == how.folder else command[0]
        raise Missing(f"{where} is not here") from error
    except (OSError, subprocess.SubprocessError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Missing(f"{command[0]} cannot be started ({why})") from error


def _rights(user: str) -> dict[str, Any]:
    """Return what Popen needs to be a user; "" is who we are."""
    entry = account(user) if user else None
    if entry is None or os.geteuid() == entry.pw_uid:
        return {}
    return tool.rights_of(entry)


def _read(process: subprocess.Popen[bytes], end: float) -> tuple[str, str]:
    """Return what it writes until both streams end.

    Raises TimeoutError at the end of the time, OverflowError when that is more than can be read.
    """
    streams = [each for each in (process.stdout, process.stderr) if each is not None]
    pieces: list[list[bytes]] = [[] for _ in streams]
    length = 0
    with selectors.DefaultSelector() as open_ones:
        for at, stream in enumerate(streams):
            open_ones.register(stream, selectors.EVENT_READ, at)
        while open_ones.get_map():
            ready = open_ones.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE_BYTES)
                pieces[key.data].append(piece)
                length += len(piece)
                if not piece:
                    open_ones.unregister(key.fileobj)
            if length > ANSWER_MAX_BYTES:
                raise OverflowError
    out, err = (b"".join(each).decode(errors="replace") for each in pieces)
    return out, err
