"""How long a command of `storpool-ovirt` may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storpool_ovirt.deadline import Deadline, enforced

# What a look at a large cluster takes, and the repair of a bad day, with room to spare.
LOOK_SECONDS = 100.0
MEND_SECONDS = 600.0
# A person waits, and has no patience at night; each check of the doctor has less.
DOCTOR_SECONDS = 10.0
# What mends is done in moments; a tool that hangs must not keep the second look from being told.
FIX_SECONDS = 60.0
# What blocks beyond the limit is broken off so much later: who waits for a reply gets to say which.
LAST_SECONDS = 5.0


@contextmanager
def limited(seconds: float, what: str) -> Iterator[Deadline]:
    """Give the limit of one command, and break it off when something blocks beyond that."""
    deadline = Deadline(seconds)
    with enforced(deadline, what, LAST_SECONDS):
        yield deadline
