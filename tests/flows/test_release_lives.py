"""Random lives on hosts whose Vdsm is updated up and down: no attach ends in 929, nor in 927 but
for what docs/host.md tells, and nobody writes who may not.
"""

from __future__ import annotations

import collections
import contextlib
import os

import release_lives
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovirt_demo import flows, releases
from rigs import forked_engine
from rigs.release_stage import Site

# A step starts three or four programs: about a third of a second. More for whoever has the time.
LIVES = int(os.environ.get("STORPOOL_OVIRT_RELEASE_LIVES", "4"))
STEP = st.tuples(st.integers(0, len(release_lives.STEPS) - 1), *[st.integers(0, 11)] * 2)


def test_lives_on_hosts_that_are_updated(released: Site) -> None:
    """Two hosts, five Vdsms, three VMs; Engine's copy of what hosts say is as old as may be."""
    released.be(releases.ENGINE_MASTER, releases.VDSM_4_50_7, releases.VDSM_MASTER)
    counts: collections.Counter[str] = collections.Counter()

    @settings(
        max_examples=LIVES,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[*HealthCheck],
    )
    @given(st.lists(STEP, min_size=14, max_size=18))
    def live(steps: list[tuple[int, int, int]]) -> None:
        released.be(releases.ENGINE_MASTER, releases.VDSM_4_50_7, releases.VDSM_MASTER)
        life = release_lives.Life(released, counts)
        try:
            for kind, first, second in steps:
                release_lives.STEPS[kind](life, first, second, 0)
                life.check()
        finally:
            life.end()

    with contextlib.ExitStack() as closing:
        caller = closing.enter_context(forked_engine.of(released.stage.engine))
        given_domain = released.domain
        closing.callback(setattr, released, "domain", given_domain)
        released.domain = flows.Domain(caller, given_domain.id)
        live()
    assert counts["start"] > LIVES
