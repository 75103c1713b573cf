"""What a host is told of a volume that was reverted by hand, where StorPool's management service
has an instance that is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rigs import reverts
from rigs.disk_model import GIB
from rigs.yard import DISK, opened_yard

if TYPE_CHECKING:
    from pathlib import Path

    from ovirt_demo.database import Database


@pytest.mark.parametrize("asked", [("connection",), ("connect", None)])
@pytest.mark.parametrize("lag", ["1", "6"])
@pytest.mark.parametrize("turn", [0, 1])
def test_a_host_is_told_the_id_that_the_volume_has_now(
    module_database: Database,
    tmp_path: Path,
    asked: tuple[Any, ...],
    lag: str,
    turn: int,
) -> None:
    """Every other look is of before the revert, the first one or the second: the id of now is told
    all the same, as the one of before leads nowhere."""
    with opened_yard(module_database, tmp_path, revert_identity="all", lag=lag) as yard:
        yard.verb("create", DISK, GIB)
        yard.verb("connection", DISK)
        address = yard.address(DISK)
        for gib in range(2, 8):
            yard.ask(f"VolumeUpdate/{address}", {"size": gib * GIB})
        with yard.engine("extend") as engine:
            for _ in range(turn):
                engine.client.volume(address)  # so that the next look is the other instance's
        now = reverts.revert(yard, address)
        verb, *connector = asked
        told = yard.verb(verb, DISK, *connector)
        assert told["data"]["global_id"] == now
