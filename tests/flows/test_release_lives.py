"""Random lives on hosts whose Vdsm is updated up and down: no attach ends in 929, nor in 927 but
for what docs/host.md tells, and nobody writes who may not.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random

import pytest
import release_lives

from ovirt_demo import flows, releases
from rigs import forked_engine
from rigs.release_stage import Site

BESIDE = True  # StorPool's services make passes all the while

# A step starts three or four programs: about a third of a second. More for whoever has the time.
LIVES = int(os.environ.get("STORPOOL_OVIRT_RELEASE_LIVES", "3"))
TRIES = 40  # half of them make sense at their moment


def test_lives_on_hosts_that_are_updated(released: Site) -> None:
    """Two hosts, four Vdsms, three VMs; Engine's copy of what hosts say is as old as may be."""
    counts: collections.Counter[str] = collections.Counter()
    given = released.domain
    with contextlib.ExitStack() as closing:
        released.be(releases.ENGINE_MASTER, releases.VDSM_4_50_7, releases.VDSM_MASTER)
        caller = closing.enter_context(forked_engine.of(released.stage.engine))
        closing.callback(setattr, released, "domain", given)
        released.domain = flows.Domain(caller, given.id)
        for seed in range(LIVES):
            live(released, seed, counts)
    told = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    assert counts["start"] > LIVES, told
    assert {"attached as local on 4.50.7", "attached as storpool on master"} <= {*counts}, told


def live(released: Site, seed: int, counts: collections.Counter[str]) -> None:
    """Live through one; a failure tells the steps that led to it."""
    chance, history = random.Random(seed), []
    released.be(releases.ENGINE_MASTER, releases.VDSM_4_50_7, releases.VDSM_MASTER)
    life = release_lives.Life(released, counts)
    try:
        for _ in range(TRIES):
            step = chance.choice(release_lives.STEPS)
            numbers = [chance.randrange(12) for _ in range(2)]
            history.append(f"{step.__name__} {numbers}")
            if not step(life, *numbers, 0):
                history.pop()
            life.check()
    except AssertionError as error:
        pytest.fail(f"life {seed}, after {', '.join(history)}: {error}")
    finally:
        life.end()
