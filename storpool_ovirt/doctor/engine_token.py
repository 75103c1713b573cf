"""The file of StorPool's token that domains name: what may be done to it, and what is advised.

Its path is out of Engine's database, and so may be of any file of this machine. Only what is in the
folder that setup makes is given to user ovirt.
"""

from __future__ import annotations

import grp
import os
import stat
from functools import partial

from storpool_ovirt import errors, rights
from storpool_ovirt.doctor import asking, checks, engine_machine
from storpool_ovirt.doctor.checks import Action
from storpool_ovirt.doctor.engine_commands import command
from storpool_ovirt.engine import gate
from storpool_ovirt.setup import token as setup_token

_USER = engine_machine.USER
_MODE = setup_token.FILE_MODE


def closing(path: str) -> str:
    """Return the command that lets only root and Engine's user read a file that is StorPool's."""
    return command(f"chown -h root:{_USER} {{}} && chmod 0640 {{}}", path, path)


def step(path: str) -> str:
    """Return what gives a token file the right owner and mode: setup's, or a move to its place."""
    if is_setups(path):
        return f"{closing(path)}; {command('namei -l {}', path)}"
    return MOVE


MOVE = (
    f"{engine_machine.SETUP} --token-file FILE, where FILE has the token alone; then give domains"
    f" {setup_token.FILE} as {gate.TOKEN_FILE}"
)


def action(path: str) -> Action | None:
    """Return what closes a file in setup's folder; None for any other."""
    if not is_setups(path):
        return None
    return Action(f"let only root and user {_USER} read {path}", partial(close, path))


def is_setups(path: str) -> bool:
    """Return whether a path is of a regular file with one name, no link on the way, in setup's
    folder, in which only root can replace anything."""
    if not path.startswith(f"{setup_token.FOLDER}/"):
        return False
    try:
        facts = os.lstat(path)
        is_alone = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
        is_there = os.path.realpath(path) == path
        return is_alone and is_there and rights.holder(os.path.dirname(path)) is None
    except (OSError, ValueError):
        return False


def close(path: str, root: str) -> str:
    """Let only root and Engine's user read a file of setup's folder."""
    if not is_setups(path):
        raise errors.Conflict(path, f"is no file of root's {setup_token.FOLDER} alone", MOVE)
    try:
        group = grp.getgrnam(_USER).gr_gid
    except KeyError:
        raise asking.Missing(f"group {_USER} is not known here") from None
    file = rights.opened(path, os.O_RDONLY)
    try:
        if os.fstat(file).st_nlink != 1:
            raise errors.Conflict(path, "has more than one name", MOVE)
        os.fchown(file, 0, group)
        os.fchmod(file, _MODE)
    finally:
        os.close(file)
    if not asking.can_read(checks.Site(checks.ENGINE, root), path, _USER):
        why = f"still cannot be read by user {_USER}"
        raise errors.Conflict(path, why, f"{command('namei -l {}', path)} shows what is in the way")
    return f"{path} is root's, and user {_USER} can read it"
