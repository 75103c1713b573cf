"""storpool-engine-dispatcher: what a released Engine starts in place of its cinderlib client.

Engine 4.4 to 4.5.7 starts `./cinderlib-client.py VERB DRIVER_JSON ...` for each verb, whatever the
domain's option `adapter` says. That name is a link to this program (storpool-engine-divert makes
it), which does what later Engines do themselves: where the driver options have the key `adapter` it
becomes `../managedblock/<adapter>-adapter`, of whichever vendor, in that folder; else it becomes
the stock client beside it, `cinderlib-client.py.ovirt`. Both get the arguments as they came.

It becomes the other program (execve), so that output and exit code are that one's. Where that one
cannot be started the answer is one line, `error:<one sentence>`, with exit code 1. It writes no
log: Engine's own, /var/log/ovirt-engine/engine.log, has that sentence.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # as typing has it; every verb waits for this program, and pays for an import
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from typing import NoReturn
else:
    import _signal as signal  # without its names as enumerations, which take 4 ms

PROGRAM = "storpool-engine-dispatcher"
# The names that a released Engine has: packaging/cinderlib and CinderlibExecutor.java of the tags
# ovirt-engine-4.4.0 to 4.5.7.
CLIENT = "cinderlib-client.py"
STOCK = f"{CLIENT}.ovirt"
ADAPTERS = "managedblock"
# Every start of this program, of a package or of pip, has one of these in it.
_MARKS = (b"storpool_ovirt.engine.dispatcher", PROGRAM.encode())
OPTION = "adapter"
_SHELL = "/bin/sh"
_BLANKS = " \t\r\n"  # those of JSON (RFC 8259); str.strip() takes more


def run() -> NoReturn:
    """Run the program: as `main`."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Become the adapter or the stock client; return the exit code only where that failed."""
    arguments = list(sys.argv if argv is None else argv)
    folder, name = os.path.split(arguments[0])
    if name != CLIENT:
        return _introduced(arguments)
    adapter = asked_for(arguments[2]) if len(arguments) > 2 else None
    try:
        if adapter is None:
            path = f"{folder or '.'}/{STOCK}"
            _become_stock(path, f"{folder or '.'}/{CLIENT}", arguments)
        adapters = f"{os.path.dirname(os.path.abspath(folder))}/{ADAPTERS}"
        path = f"{adapters}/{adapter}-adapter"
        os.chdir(adapters)
        _become(path, arguments)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        return _refused(path, adapter, error)


def asked_for(options: str) -> str | None:
    """Return which adapter the driver options ask for, as Engine names it; None for the stock
    client.

    The rule is that of `getStorageAdapter` in ovirt-engine's ManagedBlockExecutor.java after 4.5.7:
    a key that is there counts, whatever its value (null gives `null-adapter`), and what is no JSON
    object goes to the stock client. Its parser stops at the end of the object.
    """
    try:
        found = _read(options.lstrip(_BLANKS))
    except (ValueError, RecursionError):
        return None
    return _as_java(found[OPTION]) if isinstance(found, dict) and OPTION in found else None


def _read(text: str) -> object:
    """Return the JSON value with which a text begins; raise ValueError or RecursionError.

    The package json takes 7 ms to load. It reads by a scanner in C, which is used alone here; where
    that one does not do, the package reads the text once more, and says why.
    """
    try:
        from _json import make_scanner

        found: object = make_scanner(_Reading)(text, 0)[0]  # type: ignore[arg-type]
    except (ImportError, StopIteration, SystemError, ValueError):
        import json

        found, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


class _Reading:
    """How json.JSONDecoder has that scanner read."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)


def _as_java(value: object) -> str:
    """Return a value as Java adds it to a text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_as_java, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_as_java(each)}' for key, each in value.items())}}}"
    return str(value)


def starts_ours(content: bytes) -> bool:
    """Return whether a file with this content starts this program."""
    return any(mark in content for mark in _MARKS)


def _is_stock(client: str) -> bool:
    """Return whether a regular file that is not ours is at Engine's name."""
    from storpool_ovirt import errors, presence, rights

    try:
        return presence.target(client) is None and not starts_ours(rights.read(client))
    except (OSError, errors.Unseen):
        return False


def _become_stock(path: str, client: str, arguments: Sequence[str]) -> NoReturn:
    """Become the stock client; where the diversion was taken away since Engine started this, it is
    at Engine's own name again."""
    try:
        _become(path, arguments)
    except FileNotFoundError:
        if not _is_stock(client):  # a copy of this program would start itself for ever
            raise
    _become(client, arguments)


def _become(path: str, arguments: Sequence[str]) -> NoReturn:
    """Become a program, in the state in which Engine started this one.

    Python ignores two signals, and some of its versions add a variable where the locale is C. As
    Java's ProcessBuilder does, what has no `#!` line is given to the shell.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    environment = _given_environment()
    given = [path, *arguments[1:]]
    try:
        os.execve(path, given, environment)  # noqa: S606 a shell would read the arguments
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    os.execve(_SHELL, [_SHELL, *given], environment)  # noqa: S606 it runs the file


def _given_environment() -> dict[bytes, bytes]:
    """Return the environment as it was before this Python changed it (PEP 538)."""
    if b"LC_CTYPE" in os.environb:
        import contextlib

        with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
            return dict(each.split(b"=", 1) for each in given if b"=" in each)
    return dict(os.environb)


def _refused(path: str, adapter: str | None, error: Exception) -> int:
    """Answer Engine that the program cannot be started, and what to do."""
    from storpool_ovirt import names, sentences

    if adapter is None:
        what = f"Engine's own cinderlib client {path} cannot be started"
        advice = f"see {_divert()} status on this machine, or reinstall ovirt-engine"
    else:
        what = f"the adapter {names.shown(path, 200)} cannot be started"
        advice = f"install it, or correct the storage domain's driver option {OPTION}"
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return _answered(f"error:{sentences.fit(f'{what} ({why}): {advice}')}\n")


def _introduced(arguments: Sequence[str]) -> int:
    """Answer whoever starts this by another name than Engine does: a person, or a link in a wrong
    place."""
    from storpool_ovirt import introduction, program

    if program.is_asked_who_it_is(arguments):
        return introduction.given(PROGRAM, arguments[1], __doc__, [])
    return _answered(
        f"error:{PROGRAM} was not started as {CLIENT}: {_divert()} on puts it in the place where"
        " Engine starts it\n"
    )


def _divert() -> str:
    """Return the path of the program that has put this one in its place."""
    from storpool_ovirt import installation

    return installation.program("storpool-engine-divert", os.path.realpath(sys.argv[0]))


def _answered(line: str) -> int:
    """Write the line for Engine and return the exit code of a failure."""
    import contextlib

    with contextlib.suppress(OSError):  # nobody reads it: the exit code says it too
        os.write(1, line.encode("utf-8", "backslashreplace"))
    return 1
