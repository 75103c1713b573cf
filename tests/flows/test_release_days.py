"""A day on each release of Engine and Vdsm, and on hosts of two releases at once."""

from __future__ import annotations

import pytest
import release_day

from ovirt_demo import releases
from rigs.release_stage import Site

BESIDE = True  # StorPool's services make passes all the while

DAYS = {
    "4.5.4 with 4.50.5.1 and 4.50.7": (
        releases.ENGINE_4_5_4,
        releases.VDSM_4_50_5_1,
        releases.VDSM_4_50_7,
    ),
    "4.5.7 with 4.50.7 and master": (
        releases.ENGINE_4_5_7,
        releases.VDSM_4_50_7,
        releases.VDSM_MASTER,
    ),
    "master with 4.50.7 and PR 483": (
        releases.ENGINE_MASTER,
        releases.VDSM_4_50_7,
        releases.VDSM_MASTER_483,
    ),
}


@pytest.mark.parametrize("day", DAYS)
def test_a_day(released: Site, day: str) -> None:
    """Create, start, migrate there and back, snapshot, plug, extend, preview and commit twice,
    clone, copy, lose a host, boot it, delete."""
    engine, *vdsms = DAYS[day]
    released.be(engine, *vdsms)
    said = [
        host.connector_info.get("storpool_volume_type") for host in released.stage.hosts.values()
    ]
    assert said == [None if "storpool" in each.driver_types else "local" for each in vdsms]
    release_day.live(released)
