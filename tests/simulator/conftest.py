"""Fixtures of this room: a simulator in this process, and who calls it by HTTP."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from device_rig import file, loop, rig
from simulator_fixtures import Peer, opened_peer

from storpool_simulator.devices.devices import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["file", "loop", "rig"]

pytest.register_assert_rewrite("copies_machine", "copies_story")  # they say what differs


@pytest.fixture
def peer_options() -> dict[str, Any]:
    """Give what the cluster of `peer` has beside the usual; modules have their own."""
    return {}


@pytest.fixture
def peer(tmp_path: Path, peer_options: dict[str, Any]) -> Iterator[Peer]:
    """Give a cluster to call."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(opened_peer(tmp_path, **peer_options))
        except DeviceError as problem:
            pytest.skip(str(problem))
        yield running


@pytest.fixture
def v(peer: Peer) -> str:
    """Make a volume `v`, and give its global id."""
    return peer.create("v")
