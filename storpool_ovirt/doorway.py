"""The hook's way to root: one request through sudo to `storpool-vm-door`, and one answer.

The door's program is named by one path, which etc/sudoers.d/storpool-ovirt lets user vdsm run and nothing else.
"""

from __future__ import annotations

import os
import select
import signal
from typing import NamedTuple

from storpool_ovirt import errors, presence, sentences
from storpool_ovirt.deadline import Deadline

DOOR = "/usr/libexec/storpool-ovirt/storpool-vm-door"
SUDO = "/usr/bin/sudo"
# Nothing of what Vdsm gives to hooks goes on: a VM's custom properties are in it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C"}

# The door's words on its stdout.
DONE = b"done\n"
REFUSED = b"refused "
REFUSED_CODE = 2
ANSWER_MAX_BYTES = 64 << 10
_SUDO_FAILED = 1  # sudo(8): it could not, or must not, run the program
_CHUNK_BYTES = 64 << 10


def ask(request: bytes, root: str, deadline: Deadline) -> str:
    """Have root do what is asked; return "" when it is done, else why root cannot be asked on this host.

    `root` is the folder that stands for the host's `/`.  Raises Error with root's own words when it refuses, Conflict
    when it ended without an answer, DeadlineExceeded; what it had begun it then ends within its own limit.
    """
    door = root + DOOR
    if not presence.named(door):
        return f"{door} is not there"
    try:
        ended = _talk([SUDO, "-n", "--", door], request, deadline)
    except OSError as error:
        return f"{SUDO} cannot be run ({error.strerror})"
    if ended == _Ended(0, DONE, ended.err):
        return ""
    if ended.code == REFUSED_CODE and ended.out.startswith(REFUSED) and ended.out.endswith(b"\n"):
        raise errors.Error(_words(ended.out[len(REFUSED) :]))
    if ended.code == _SUDO_FAILED and not ended.out:
        return _words(ended.err) or "sudo refused it without a word"
    raise errors.Conflict(
        "storpool-vm-door, which was asked as root,", f"ended with code {ended.code} and no answer",
        "see its log, or syslog, on this host",
    )  # fmt: skip


class _Ended(NamedTuple):
    code: int
    out: bytes
    err: bytes


class _Child(NamedTuple):
    """A process that runs, and our ends of its streams."""

    pid: int
    stdin: int
    stdout: int
    stderr: int


def _talk(command: list[str], request: bytes, deadline: Deadline) -> _Ended:
    """Run the command and give it the request; its stdin stays open until it has ended: so it sees that we are there.

    We cannot end what runs as root: it ends by itself, by its own limit, and asks nothing more of StorPool when we have
    gone.
    """
    child = _started(command)
    try:
        out, err = _exchange(child, request, deadline)
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    finally:
        for end in child[1:]:
            os.close(end)
    return _Ended(code, out, err)


def _started(command: list[str]) -> _Child:
    """Start it with pipes for its streams.  Not by `subprocess`, whose import takes as long as all of the rest."""
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for writes in (True, False, False):
            reading, writing = os.pipe()
            ours.append(writing if writes else reading)
            theirs.append(reading if writes else writing)
        pid = os.posix_spawn(
            command[0], command, ENVIRONMENT,
            file_actions=[(os.POSIX_SPAWN_DUP2, end, stream) for stream, end in enumerate(theirs)],
            setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGALRM],
        )  # fmt: skip
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
    """Write the request while it reads, and read what it writes until it has closed both streams."""
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
    """Write what fits, and return the rest; nothing is left for one that does not read: its answer tells why."""
    try:
        return data[os.write(stream, data) :]
    except BrokenPipeError:
        return b""


def _words(text: bytes) -> str:
    return sentences.visible(text.decode("utf-8", "backslashreplace").strip())
