"""rights.py: nothing breaks in while another user's rights are taken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from storpool_ovirt import rights

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root takes another user's rights")
USER = 54321


@needs_root
def test_rights_are_given_back_when_the_time_is_up() -> None:
    """Whenever the alarm of the limit comes, root's rights are back, and the alarm is not lost.

    In a process without other threads, as the programs are: one could be given the alarm although
    this one blocks it. The loop is a function's own: CPython 3.13.0 lets what is raised at a loop's
    last instruction past the handlers of the block that it ends.
    """
    code = f"""
import os, time
from storpool_ovirt import errors, rights
from storpool_ovirt.deadline import Deadline, enforced
def ids(): return os.geteuid(), os.getegid(), os.getgroups()
def work():
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        with rights.taken(rights.User({USER}, {USER})):
            pass
before, late = ids(), 0
for step in range(60):
    try:
        with enforced(Deadline(1e-5), "this", step * 5e-6):
            work()
    except errors.DeadlineExceeded:
        late += 1
    assert ids() == before, step
print(late)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "60\n", done.stderr


@needs_root
@pytest.mark.parametrize("number", sorted(rights.BREAKING_IN))
def test_nothing_breaks_in_before_they_are_given_back(number: int) -> None:
    """Each signal by which `deadline.enforced` ends a program: it is taken, and is not lost, when
    root's rights are back."""
    code = f"""
import os
from storpool_ovirt import deadline, errors, rights
assert rights.BREAKING_IN == {{*deadline.ENDING_SIGNALS, 14}}
def ids(): return os.geteuid(), os.getegid(), os.getgroups()
before = ids()
try:
    with deadline.enforced(deadline.Deadline(60), "this", 60):
        with rights.taken(rights.User({USER}, {USER})):
            os.kill(os.getpid(), {number})
            print("done")
        print("not taken")
except (errors.Interrupted, errors.DeadlineExceeded):
    print("taken", ids() == before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n") == ["done", "taken True", ""], done.stderr
