"""Programs of others that root runs: within a limit, their words as text, no stdin.

What our caller has in its environment and its folder decides nothing.
"""

from __future__ import annotations

import os
import pwd
import selectors
import shutil
import subprocess
import time
from typing import Any, NamedTuple

from storpool_ovirt import config, errors, program

# systemctl, visudo, multipathd: each answers in moments, or does not at all.
LIMIT_SECONDS = 20.0
# What a program wrote is there when it ends; whoever it left behind may hold its streams for ever.
GRACE_SECONDS = 0.2
_PIECE_BYTES = 1 << 16
_MAX_BYTES = 8 << 20


class Ended(NamedTuple):
    """How a program ended: its exit code, its stdout, its last words."""

    code: int
    out: str
    said: str


def found(name: str) -> str | None:
    """Return the path of a program, None where it is not here."""
    return shutil.which(name, path=program.PATH)


def run(
    name: str,
    *arguments: str,
    seconds: float = LIMIT_SECONDS,
    user: pwd.struct_passwd | None = None,
) -> Ended:
    """Run a program, as a user with all groups of theirs; raise NotFound where it is not here,
    Unavailable where it does not end."""
    path = found(name)
    if path is None:
        raise errors.NotFound("program", name, "on this machine")
    try:
        process = subprocess.Popen(
            [path, *arguments],
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **({} if user is None else rights_of(user)),
        )
    except OSError as error:
        raise errors.InputError(
            path, f"cannot be run ({error.strerror})", "correct that, then run this again"
        ) from error
    with process:
        try:
            out, err = _read(process, time.monotonic() + seconds)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            what = f"{name} {' '.join(arguments[:2])}"
            raise errors.DeadlineExceeded(what, seconds) from error
        finally:
            if process.poll() is None:
                process.kill()
    words = err.strip() or out.strip()
    return Ended(process.returncode, out, words or f"exit code {process.returncode}")


def environment() -> dict[str, str]:
    """Return all that a program of others gets of an environment."""
    own = {"LC_ALL": "C.UTF-8", "PATH": program.PATH}
    return {**own, config.ROOT_VARIABLE: config.root()} if config.root() else own


def rights_of(user: pwd.struct_passwd) -> dict[str, Any]:
    """Return what Popen needs for a user with all groups of theirs, as a service has them."""
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}


def _read(process: subprocess.Popen[bytes], end: float) -> tuple[str, str]:
    """Return what a program writes until it ends; raise TimeoutError where it does not."""
    streams = [each for each in (process.stdout, process.stderr) if each is not None]
    pieces = [bytearray() for _ in streams]
    with selectors.DefaultSelector() as left:
        for stream, piece in zip(streams, pieces):
            left.register(stream, selectors.EVENT_READ, piece)
        while left.get_map():
            has_ended = process.poll() is not None
            ready = left.select(GRACE_SECONDS)
            if has_ended and not ready:
                break
            if time.monotonic() > end:
                raise TimeoutError
            for key, _ in ready:
                new = os.read(key.fd, _PIECE_BYTES)
                key.data.extend(new[: _MAX_BYTES - len(key.data)])
                if not new:
                    left.unregister(key.fileobj)
    process.wait(max(0.1, end - time.monotonic()))
    out, err = (piece.decode("utf-8", "replace") for piece in pieces)
    return out, err
