"""The limits of what waits: a value that each program hands down to all that it calls.

Nobody sets one from outside: there is no option and no variable of the environment for them. A
program that differs from the defaults says so in its own `LIMITS`; tests hand shorter ones to
`main`. docs/faults.md has the table, with those of single modules.
"""

from __future__ import annotations

from storpool_ovirt.light import NamedTuple


class Limits(NamedTuple):
    """How long each thing may take, in seconds.

    Who chose a number, and why, stands beside it; "ours" is chosen by this project.
    """

    # The whole of one run. Ours: a person waits, or Vdsm, which has no limit of its own; Engine
    # gives up after 180 s and may send the next call while we still work.
    deadline_seconds: float = 45.0
    # For an undo, beyond the deadline: all in all less than a minute.
    last_seconds: float = 10.0

    # One request to StorPool. Ours: longer than any call takes on a healthy cluster, short enough
    # to try again within a deadline.
    request_seconds: float = 30.0
    # How long failures are tried over. StorPool's: the official binding gives a failover of the
    # management service 31 s in all, which one of 30 s just misses when its last pause is a long
    # one.
    retry_seconds: float = 45.0
    # The least that a last try needs, so that no pause takes it.
    last_try_seconds: float = 0.5
    # Pauses between tries double from the one to the other. Ours: an instance that is restarted is
    # back in a second, a failover takes half a minute.
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 5.0
    # How long a barrier serves the questions that come after it, unless a request of ours is lost
    # meanwhile. Ours: longer than a verb works on a healthy cluster, so that how many calls it
    # makes is no matter of luck.
    moment_seconds: float = 10.0

    # Another attach or detach of the same volume on this host: as long as it may take itself.
    lock_seconds: float = 20.0
    # How long StorPool waits for a client that is away (`attachTimeout`, whole seconds); without
    # it StorPool would wait for ever.
    attach_timeout_seconds: int = 15
    # From StorPool's answer to the link in /dev: its own client makes it before it answers, udev
    # may be slower.
    device_seconds: float = 10.0
    # From StorPool's answer to the end of the link in /dev, which udev may take down later.
    gone_seconds: float = 2.0
    # A VM that has just stopped closes its disks within moments.
    close_seconds: float = 5.0
    # What an attach keeps back of its time so that it can undo itself.
    undo_seconds: float = 8.0
    # The helper, for what other volumes left: a VM waits, and the next attach goes on with it.
    sweep_seconds: float = 0.5
    # Whoever else holds Vdsm's database (a backup) does so for moments.
    busy_seconds: float = 3.0

    # After its time, for a child process that its user has stopped, so that it cannot end itself.
    stopped_seconds: float = 1.0

    # A client that runs learns in milliseconds that a disk was taken from it; one that hangs, or
    # whose host was just switched off, is said to be down after a while. Ours: below what a start
    # has.
    loser_seconds: float = 25.0
    # Others may have lost it in a start that was refused. Ours: one that hangs must not delay all
    # starts by much.
    bystander_seconds: float = 2.0
    # StorPool's list may come from an instance of its management that is a moment behind.
    list_seconds: float = 2.0
    # A client whose disks a fence took, and that runs. Ours: one that hangs must not use up the
    # time of the person who waits.
    known_seconds: float = 10.0

    # Who asks root writes at once; who does not is not waited for.
    asked_seconds: float = 5.0
    # Whoever asked root may not read: the answer of a program of root's is not waited for either.
    answer_seconds: float = 2.0


LIMITS = Limits()
