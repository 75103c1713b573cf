"""The way of user vdsm's programs to root: one request through sudo, and one answer.

Each of root's doors is a program that is named by one path, which our file for sudo lets
user vdsm run: the hook asks `storpool-vm-door`, the fence agent `storpool-fence-door`.
"""

from __future__ import annotations

import os
import select

from storpool_ovirt import config, errors, presence, sentences, storpool_conf
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
else:  # `signal` itself makes enumerations of all that there is
    import _signal as signal

DOOR = "/usr/libexec/storpool-ovirt/storpool-vm-door"
FENCE_DOOR = "/usr/libexec/storpool-ovirt/storpool-fence-door"
EVEN_IF_IT_RUNS = "even-if-it-runs"
SUDO = "/usr/bin/sudo"
# Nothing of what Vdsm gives to hooks goes on: a VM's custom properties are in it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C"}

# Why the agent is not answered where sudoers let it through the door, but not with that argument.
NOT_THOUGH_IT_RUNS = "sudoers does not allow even_if_it_runs"

# The doors' words on their stdout; the fence agent's exit code is its door's.
DONE = b"done\n"
REFUSED = b"refused "
REFUSED_CODE = 2
ANSWER = "answer "
ANSWER_MAX_BYTES = 64 << 10
_SUDO_FAILED = 1  # sudo(8): it could not, or must not, run the program
_CHUNK_BYTES = 64 << 10


def ask(request: bytes, root: str, deadline: Deadline) -> str:
    """Have root do what the hook asks.

    Returns "" when it is done, else why root cannot be asked on this host. `root` is the folder
    that stands for the host's `/`. Raises Error with root's own words when it refuses, Conflict
    when it ended without an answer, DeadlineExceeded; what it had begun it then ends within its own
    limit.
    """
    ended = through(root + DOOR, (), request, deadline)
    if isinstance(ended, str):
        return ended
    if ended == ProgramEnd(0, DONE, ended.err):
        return ""
    if ended.code == REFUSED_CODE and ended.out.startswith(REFUSED) and ended.out.endswith(b"\n"):
        raise errors.Error(_words(ended.out[len(REFUSED) :]))
    raise no_answer("storpool-vm-door", ended)


def fence(
    options: bytes, even_if_it_runs: bool, root: str, deadline: Deadline
) -> tuple[int, str] | str:
    """Have root carry out a fence agent's action.

    Returns its exit code and words, or why root cannot be asked. That a host may be fenced though
    it runs is an argument, which sudoers allow or not. Raises as `ask` does.
    """
    arguments = (EVEN_IF_IT_RUNS,) if even_if_it_runs else ()
    ended = through(root + FENCE_DOOR, arguments, options, deadline)
    if isinstance(ended, str):
        if even_if_it_runs and _is_allowed(root + FENCE_DOOR, deadline):
            return NOT_THOUGH_IT_RUNS
        return ended
    said = ended.out.decode("utf-8", "backslashreplace")
    if ended.code in (0, 1, 2) and said.startswith(ANSWER) and said.endswith("\n"):
        return ended.code, said[len(ANSWER) : -1]
    raise no_answer("storpool-fence-door", ended)


def through(
    door: str, arguments: Sequence[str], request: bytes, deadline: Deadline
) -> ProgramEnd | str:
    """Run one of root's doors with this request.

    Returns how it ended, or why it could not be run.
    """
    if not presence.named(door):
        return f"{door} is not there"
    try:
        ended = _talk([SUDO, "-n", "--", door, *arguments], request, deadline)
    except OSError as error:
        return f"{SUDO} cannot be run ({error.strerror})"
    if ended.code == _SUDO_FAILED and not ended.out:
        return _words(ended.err) or "sudo refused it without a word"
    return ended


def _is_allowed(door: str, deadline: Deadline) -> bool:
    """Return whether sudo would run a door without arguments (`sudo -l COMMAND`)."""
    try:
        return _talk([SUDO, "-n", "-l", "--", door], b"", deadline).code == 0
    except OSError:
        return False


def no_answer(door: str, ended: ProgramEnd) -> errors.Conflict:
    """Return the error for a door that may have done something, or not."""
    return errors.Conflict(
        f"{door}, which was asked as root,",
        f"ended with code {ended.code} and no answer",
        "see its log, or syslog, on this host",
    )


def own_settings(root: str, closed: str, door: str, environment: bool) -> config.HostSettings:
    """Return what storpool.conf says, where this user may read it.

    `closed` is why root could not be asked. Raises ConfigError, which names both ways to mend it
    where the file cannot be read.
    """
    try:
        return config.host(root, environment=environment)
    except errors.ConfigError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        if closed == NOT_THOUGH_IT_RUNS:
            raise errors.ConfigError(
                "sudoers",
                "does not allow even_if_it_runs",
                "add STORPOOL_FENCE_RUNNING to the last line of /etc/sudoers.d/storpool-ovirt"
                " (docs/fencing.md)",
            ) from error
        raise errors.ConfigError(
            error.what,
            f"{error.why} and root cannot be asked ({closed})",
            f"run storpool-ovirt setup host, which has {door} put there, or make it readable for"
            f" {storpool_conf.user()} (docs/security.md)",
        ) from error


class ProgramEnd(NamedTuple):
    """How a program ended, and what it wrote."""

    code: int
    out: bytes
    err: bytes


class _Child(NamedTuple):
    """A process that runs, and our ends of its streams."""

    pid: int
    stdin: int
    stdout: int
    stderr: int


def _talk(command: list[str], request: bytes, deadline: Deadline) -> ProgramEnd:
    """Run the command, give it the request, and return how it ended.

    Its stdin stays open until it has ended, so it sees that we are there. We cannot end what runs
    as root: it ends by itself, by its own limit, and asks nothing more of StorPool when we have
    gone.
    """
    child = _started(command)
    try:
        out, err = _exchange(child, request, deadline)
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    finally:
        for end in child[1:]:
            os.close(end)
    return ProgramEnd(code, out, err)


def _started(command: list[str]) -> _Child:
    """Start the command with pipes for its streams.

    It is not done by `subprocess`, whose import takes as long as all of the rest.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for writes in (True, False, False):
            reading, writing = os.pipe()
            ours.append(writing if writes else reading)
            theirs.append(reading if writes else writing)
        pid = os.posix_spawn(
            command[0],
            command,
            ENVIRONMENT,
            file_actions=[(os.POSIX_SPAWN_DUP2, end, stream) for stream, end in enumerate(theirs)],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGALRM],
        )
    except OSError:
        for end in ours:
            os.close(end)
        raise
    finally:
        for end in theirs:
            os.close(end)
    os.set_blocking(ours[0], False)
    return _Child(pid, *ours)


def _exchange(child: _Child, request: bytes, deadline: Deadline) -> tuple[bytes, bytes]:
    """Write the request while the child reads; return what it writes to both streams.

    It is read until it has closed both.
    """
    said = {child.stdout: b"", child.stderr: b""}
    poll = select.poll()
    poll.register(child.stdin, select.POLLOUT)
    for stream in said:
        poll.register(stream, select.POLLIN)
    reading = set(said)
    while reading:
        for stream, _ in poll.poll(deadline.left("root to answer") * 1000):
            if stream == child.stdin:
                request = _written(stream, request)
                if not request:
                    poll.unregister(stream)
                continue
            data = os.read(stream, _CHUNK_BYTES)
            said[stream] = (said[stream] + data)[:ANSWER_MAX_BYTES]
            if not data:
                poll.unregister(stream)
                reading.discard(stream)
    return said[child.stdout], said[child.stderr]


def _written(stream: int, data: bytes) -> bytes:
    """Write what fits, and return the rest.

    Nothing is left for a child that does not read: its answer says why.
    """
    try:
        return data[os.write(stream, data) :]
    except BrokenPipeError:
        return b""


def _words(text: bytes) -> str:
    return sentences.visible(text.decode("utf-8", "backslashreplace").strip())
