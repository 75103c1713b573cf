"""What root's doors have in common: programs that another user may run by sudo.

They take that user for hostile. Nothing of the environment is used. The start is checked, and the
request is read within limits. No call of StorPool's API is made any more when the asker has gone,
and nobody is waited for who does not take the answer.
"""

from __future__ import annotations

import os
import select
import sys

from storpool_ovirt import errors, program
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.limits import Limits
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# A folder of root's: nothing of root's is written in a folder of the user who asks.
LOG_FOLDER = "/var/log/storpool-ovirt"
LAST_SECONDS = 0.5  # nothing is undone: what was asked last has taken effect, or not

# These take effect before any line of ours: where one is there, sudo's env_reset is off, and
# nothing can be mended from here.
_INHERITED = ("PYTHON", "LD_", "STORPOOL_", "SP_")


class Visit(NamedTuple):
    """How the program was started."""

    arguments: Sequence[str]
    inherited: dict[str, str]

    @property
    def user(self) -> str:
        """The user who asks, as sudo names it."""
        return self.inherited.get("SUDO_USER", "-")


class Door(NamedTuple):
    """A program of root's, as far as it differs from the others.

    `about` is what it says of itself. `work` carries out what is asked; `answer` returns the exit
    code and the words for what came of it, or for why nothing did.
    """

    program: str
    log_file: str
    about: str
    work: Callable[[Visit, str, Log, Limits], Any]
    answer: Callable[[Any, str, Log], tuple[int, str]]


def run(door: Door, argv: Sequence[str] | None, root: str, limits: Limits) -> int:
    """Do what is asked on stdin and answer it on stdout; return the exit code.

    `root` is the folder that stands for the host's `/`; nobody can say so from outside the process.
    """
    arguments = list(sys.argv if argv is None else argv)
    visit = entered(arguments)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        places = [introduction.log(door.log_file)]
        return introduction.given(door.program, arguments[1], door.about, places)
    log = Log(door.program, root + door.log_file)
    answer = program.Answer(log.descriptor)
    done, reason = program.guarded(
        lambda: door.work(visit, root, log, limits), log, door.log_file, limits.answer_seconds
    )
    code, said = door.answer(done, reason, log)
    program.delivered(answer, said, log)
    return code


def entered(argv: Sequence[str]) -> Visit:
    """Leave the starter's folder, umask and environment behind; return how it was started."""
    os.chdir("/")
    os.umask(0o077)
    inherited = dict(os.environ)
    os.environ.clear()
    os.environ["PATH"] = program.PATH
    return Visit(argv[1:], inherited)


def check(name: str, visit: Visit, asker: str, allowed: Sequence[Sequence[str]] = ((),)) -> None:
    """Raise InputError for a start that sudo with our sudoers file does not make."""
    given = sorted(each for each in visit.inherited if each.startswith(_INHERITED))
    if given:
        raise errors.InputError(
            name,
            f"was started with {', '.join(given[:5])} in its environment",
            "have env_reset for it in sudoers: storpool-ovirt setup host puts ours there",
        )
    if tuple(visit.arguments) not in map(tuple, allowed):
        wanted = "takes no arguments" if len(allowed) == 1 else "does not take these arguments"
        raise errors.InputError(name, wanted, f"{asker} starts it")
    if os.geteuid() != 0:
        raise errors.InputError(name, "needs root's rights", f"{asker} starts it through sudo")


def request(end: bytes, bytes_max: int, limits: Limits) -> bytes:
    """Return stdin up to and with `end`, or to its end.

    At most one byte more than `bytes_max` is read. Raises DeadlineExceeded.
    """
    data = b""
    with enforced(Deadline(limits.asked_seconds), "the request to root", limits.last_seconds):
        while end not in data and len(data) <= bytes_max:
            more = os.read(0, bytes_max + 1 - len(data))
            if not more:
                break
            data += more
    return data


class AskedDeadline(Deadline):
    """A limit that is over, too, when the asker is not there any more.

    Nobody waits then for what would be done. Each call of StorPool's API asks how much time is
    left, so after that moment none is made.
    """

    def left(self, what: str) -> float:
        """Return what `Deadline.left` does; raise Conflict when the asker has gone."""
        poll = select.poll()
        poll.register(0, 0)
        if any(events & select.POLLHUP for _, events in poll.poll(0)):
            raise errors.Conflict(
                "the program that asked root", "has ended meanwhile", "nothing more was done"
            )
        return super().left(what)
