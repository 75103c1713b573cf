"""What another cluster's clients wrote into an exported volume is there after it moves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs import two_clusters
from rigs.two_clusters import TWO, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

AT, DATA = 4096, b"written" * 512


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two clusters of one location."""
    with two_clusters.opened(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("how", ["attach", "move"])
def test_what_was_written_through_an_export_moves_along(pair: Pair, how: str) -> None:
    """A volume that never held data when it was exported: nobody has measured it since."""
    global_id = pair.one.client().volume_create({"name": "x", "size": 1 << 30, "template": "nvme"})
    address, there = f"~{global_id}", pair.client(TWO)
    there.reassign([{"volume": address, "rw": [4], "mcMode": "export"}], 5, "volume x")
    device = Path(pair.two.root(4), "dev/storpool-byid", global_id)
    with device.open("r+b") as file:
        os.pwrite(file.fileno(), DATA, AT)
    if how == "attach":
        there.reassign([{"volume": address, "rw": [1]}], 5, "volume x")
    else:
        body = {"cluster": "two", "onAttached": "export"}
        pair.one.post(f"VolumeMoveToRemote/{address}", body)
    assert there.volume(address).cluster_id == TWO
    there.reassign([{"volume": address, "rw": [1]}], 5, "volume x")
    for number in (1, 4):
        device = Path(pair.two.root(number), "dev/storpool-byid", global_id)
        with device.open("rb") as file:
            assert os.pread(file.fileno(), len(DATA), AT) == DATA
