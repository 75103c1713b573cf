"""The locks beside setup: one run at a time, and nobody's lock is taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from setup_ground import Setup

from rigs.machine import PREFIX

if TYPE_CHECKING:
    from rigs.machine import Machine

FOLDER = "/run/storpool-ovirt"
# Somebody has opened the lock of a run that ends now, and takes it then; may yet another run begin?
LATE = f"""
import fcntl, os, sys
from storpool_ovirt import errors, rights
from storpool_ovirt.setup import locks
with locks.alone(""):
    late = rights.private("{FOLDER}", "setup.lock")
fcntl.flock(late, fcntl.LOCK_EX | fcntl.LOCK_NB)
try:
    assert not locks._is_at(late, "{FOLDER}/setup.lock")
    with locks.alone(""):
        print("the late one knows that it has nothing")
        try:
            with locks.alone(""):
                print("two")
        except errors.Conflict as error:
            print(error)
finally:
    os.close(late)
"""


def test_a_lock_that_went_while_it_was_opened_holds_nothing(machine: Machine) -> None:
    """Who takes it then looks again; so two runs never hold it both, and it is gone at the end."""
    said = machine.do(f"{PREFIX}/bin/python3 -c '{LATE}'").splitlines()
    assert said[0] == "the late one knows that it has nothing"
    assert "another run of this" in said[1]
    assert len(said) == 2
    assert not machine.path(FOLDER).exists()


def test_an_undo_leaves_a_lock_that_is_held(host: Setup) -> None:
    """Somebody works under it; one that nobody holds goes."""
    host.run()
    host.machine.do(f"install -d -m 0700 {FOLDER}; touch {FOLDER}/free.lock")
    held = host.machine.start("flock", f"{FOLDER}/held.lock", "sleep", "30")
    host.machine.do(f"while flock -n {FOLDER}/held.lock true; do sleep 0.05; done")
    host.run("--undo")
    assert host.machine.do(f"ls -A {FOLDER}") == "held.lock\n"
    held.kill()
