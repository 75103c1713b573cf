"""setup killed at any moment: the next run finishes, an undo takes back, nothing is half."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import setup_ground
from setup_ground import Setup, states

# Runs setup again and again, each time in a child of its own, which may be killed before its Nth
# call that changes something (a rename, an unlink, a folder, another program ...).
RUNNING = """
import json, os, signal, subprocess, sys
from storpool_ovirt.admin import command
from storpool_ovirt.admin.commands import setup
from storpool_ovirt.host import in_use

left = -1

def counted(real):
    def call(*arguments, **given):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*arguments, **given)
    return call

for name in "rename unlink mkdir rmdir symlink link chown chmod fchown fchmod write fsync".split():
    setattr(os, name, counted(getattr(os, name)))
subprocess.run = counted(subprocess.run)
for line in sys.stdin:
    after, words = json.loads(line)
    child = os.fork()
    if not child:
        left = after
        out = os.open("/var/tmp/said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os._exit(command.main(["storpool-ovirt", "setup", *words, "--json"]))
    _, status = os.waitpid(child, 0)
    with open("/var/tmp/said") as file:
        said = file.read() if os.WIFEXITED(status) else "{}"
    print(json.dumps([os.waitstatus_to_exitcode(status), json.loads(said)]), flush=True)
"""
KILLED = -9
# No run of either place makes fewer changes of its own.
CHANGES, CHANGES_BACK = 90, 60
POINTS = 5  # at which each test kills it
TOPS = (
    "/etc/logrotate.d",
    "/etc/multipath",
    "/etc/ovirt-engine",
    "/etc/sudoers.d",
    "/etc/systemd",
    "/etc/tmpfiles.d",
    "/run",
    "/usr/libexec/storpool-ovirt",
    "/usr/libexec/vdsm",
    "/usr/local/sbin",
    "/usr/share/ovirt-engine",
    "/var/log",
)


class Runs:
    """Runs of setup on one machine, with a process that has loaded it."""

    def __init__(self, place: Setup) -> None:
        self._place = place
        python = f"{setup_ground.PREFIX}/bin/python3"
        self._process = place.machine.start(python, "-c", RUNNING)

    def run(self, *words: str) -> dict[str, Any]:
        """Run it to its end; no step may fail."""
        code, said = self._asked(-1, *words)
        assert code == 0, said
        return said

    def is_killed(self, after: int, *words: str) -> bool:
        """Run it and kill it after so many changes; return whether it came to that."""
        code, said = self._asked(after, *words)
        assert code in (0, KILLED), said
        return code == KILLED

    def tree(self) -> dict[str, str]:
        """Return what is there."""
        seen = self._place.machine.tree(*TOPS)
        return {**seen, **self._place.record()}

    def _asked(self, after: int, *words: str) -> tuple[int, dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([after, [self._place.place, *words]]) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        return code, said


@pytest.fixture
def runs(place: Setup) -> Runs:
    """Setup of each place."""
    return Runs(place)


def check_whole(seen: dict[str, str], *allowed: dict[str, str]) -> None:
    """Nothing that anybody looks at is half: each path is as it was, or as it will be."""
    for path, what in seen.items():
        name = path.rpartition("/")[2]
        is_beside = name.startswith(".") and "storpool-ovirt" in name
        if not is_beside and not path.startswith(("/var/lib/storpool-ovirt", "/run/storpool-ov")):
            assert what in {tree.get(path) for tree in allowed}, path


@pytest.mark.parametrize("seed", range(3))
def test_killed_while_it_sets_up(runs: Runs, seed: int) -> None:
    """The next run finishes what it was about, and an undo takes all of it back, with or without
    that."""
    chance = random.Random(seed)
    before = runs.tree()
    runs.run()
    wanted = runs.tree()
    runs.run("--undo")
    for after in chance.sample(range(CHANGES), POINTS):
        assert runs.is_killed(after), after
        check_whole(runs.tree(), before, wanted)
        if chance.random() < 0.5:
            runs.run()
            assert runs.tree().keys() == wanted.keys()
            assert runs.run()["changed"] == 0
        runs.run("--undo")
        assert runs.tree() == before, after


@pytest.mark.parametrize("seed", range(3))
def test_killed_while_it_takes_back(runs: Runs, seed: int) -> None:
    """The next undo takes the rest; a setup in its place makes all whole again."""
    chance = random.Random(seed)
    before = runs.tree()
    runs.run()
    wanted = runs.tree()
    for after in chance.sample(range(CHANGES_BACK), POINTS):
        assert runs.is_killed(after, "--undo"), after
        check_whole(runs.tree(), before, wanted)
        if chance.random() < 0.5:
            runs.run("--undo")
            assert runs.tree() == before, after
        runs.run()
        assert runs.run()["changed"] == 0
        assert runs.tree().keys() == wanted.keys()
    runs.run("--undo")
    assert runs.tree() == before


def test_a_death_is_one(runs: Runs) -> None:
    """The counting is of this process's own changes: a first one that is killed has made none."""
    before = runs.tree()
    assert runs.is_killed(0)
    assert runs.tree() == before
    assert "changed" in states(runs.run()).values()
