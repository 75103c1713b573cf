"""takeover.py: what stands before StorPool's API gives each of two disks' answers for the other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from rigs import http_peers
from rigs.starts import UUIDS, attached, disk, made
from storpool_ovirt import errors
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.host import takeover
from storpool_ovirt.light import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs.core_fixtures import Core

LIMIT_SECONDS = 10.0


class _Handler(http_peers.Handler):
    """Ask for the other volume of two."""

    def serve(self) -> None:
        simulator, one, other = self.server.facts
        given = f"Volume/~{one}", f"Volume/~{other}"
        for asked, meant in (given, given[::-1]):
            if self.path.endswith(f"/{asked}"):
                self.path = self.path.replace(asked, meant)
                break
        status, content = self.pass_on(
            simulator.host, simulator.port, self.read_body(), LIMIT_SECONDS
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def swapping(core: Core, *ids: str) -> Iterator[api.Client]:
    """Give a client that gets the one's answer for the other."""
    facts: Any = (core.simulator, *ids)
    with http_peers.serving(_Handler, facts) as port:
        yield api.Client(replace(core.settings(), port=port), Deadline(20))


def test_nothing_is_taken_by_another_disks_answer(core: Core) -> None:
    """T81, T41: a disk that two VMs write would be taken from the one, and what is one VM's alone
    from nobody."""
    shared, own = made(core, UUIDS[0], 1, 2), made(core, UUIDS[1], 1, 2)
    disks = [disk(shared, shareable=True), disk(own)]
    before = attached(core)
    with (
        swapping(core, shared.global_id, own.global_id) as client,
        pytest.raises(errors.Conflict, match=f"~{shared.global_id} is another one"),
    ):
        takeover.take(client, core.host(2), disks, "os")
    assert attached(core) == before
