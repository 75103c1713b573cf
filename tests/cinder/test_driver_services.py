"""driver.py beside storpool_qos and VolumeCare: what they go by stays, and what they made is
theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs import near
from rigs.core_fixtures import TOKEN
from rigs.driver_rig import Backend, connector, snapshot, volume, volume_type
from rigs.services import Services, idle
from rigs.tag_updates import with_both
from storpool_ovirt.cluster import volumes

if TYPE_CHECKING:
    from collections.abc import Callable

# What others have written to a volume: StorPool's connector, an administrator, somebody.
OTHERS = {"osvm": "7c0ffee0", "disk": "vda", "vc-policy": "hourly", "me": "x"}


def retype(backend: Backend, made: Any, wanted: Any) -> None:
    """Give a volume another class by its type."""
    change = {"extra_specs": {"storpool:qos_class": (None, wanted.extra_specs)}}
    assert backend.driver.retype(None, made, wanted, change, {}) == (True, None)
    made.volume_type = wanted  # as Cinder writes then


@pytest.mark.parametrize("limits", ["keep", "snapshot"])
@with_both
def test_all_tags_survive_each_call(backend: Backend, limits: str, tag_update: str) -> None:
    """T79, T76: growth, snapshots, a revert, retypes, a move, attaches: the class is its type's,
    each other tag stays, limits are those of the class at the next pass, and each backup is there
    until its date."""
    simulator, driver = backend.core.simulator, backend.driver
    simulator.switches.set({"revert_limits": limits, "tag_update": tag_update})
    made = volume(volume_type=volume_type(qos_class="silver"))
    driver.create_volume(made)
    volumes.change(backend.core.client(), backend.stored(made), tags=OTHERS)
    services = Services(simulator.host, simulator.port, TOKEN)
    frozen, clone = snapshot(made), volume(2)
    gold, silver = volume_type(qos_class="gold"), volume_type(qos_class="silver")
    steps: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("silver", lambda: driver.create_snapshot(frozen)),
        ("silver", lambda: driver.extend_volume(made, 2)),
        ("gold", lambda: retype(backend, made, gold)),
        ("gold", lambda: driver.revert_to_snapshot(None, made, frozen)),
        ("gold", lambda: driver.create_cloned_volume(clone, made)),
        ("gold", lambda: driver.initialize_connection(made, connector(1, storpool_client_id=1))),
        ("gold", lambda: driver.terminate_connection(made, None)),
        ("silver", lambda: retype(backend, made, silver)),
        ("silver", lambda: driver.delete_snapshot(frozen)),
        ("silver", lambda: driver.delete_volume(clone)),
    )
    for tier, step in steps:
        services.volumecare()
        step()
        assert backend.stored(made).tags == {**OTHERS, "qc": tier}
        services.qos()
        services.check(*(near.ask(simulator, f"{kind}sList") for kind in ("Volume", "Snapshot")))
    driver.delete_volume(made)
    services.volumecare()
    assert idle(services.done) == []
