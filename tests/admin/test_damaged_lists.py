"""The administrator's commands before lists that are cut, damaged, refused half-way, or whose
entries are none: nothing is said to be gone, and nothing is changed."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Callable

import pytest

from rigs import http_peers, refusals, shared_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigs.admin_site import AdminSite

PASS_SECONDS = 20.0
LISTS = ("VolumesList", "SnapshotsList", "AttachmentsList")
REFUSAL = b',"error":{"name":"notReady","descr":"an instance ended","transient":true}}'
# What becomes of a whole reply, and how much of what its header tells.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda body: body[: len(body) - len(body) // 3],
    "cut behind an entry": lambda body: body[: body.rindex(b"}", 0, len(body) - 3) + 1],
    "without its last entries": lambda body: body[: body.rindex(b"{")].rstrip(b",") + b"}",
    "damaged": lambda body: body.replace(b'"globalId":', b'"globalId"', 1),
    "an error behind the entries": lambda body: body.rstrip()[:-1] + REFUSAL,
    "another kind of entry": lambda body: body.replace(b'[{"', b'[7,{"', 1),
    "a wrong type": lambda body: body.replace(b'"globalId":"', b'"globalId":7,"x":"', 1),
}


class _Damaging(http_peers.Handler):
    """Pass everything on; damage what one list answers."""

    def serve(self) -> None:
        (host, port), query, damage = self.server.facts
        status, body = self.pass_on(host, port, self.read_body(), PASS_SECONDS)
        if query in self.path.split("/"):
            body = damage(body)
        self.send_response(status)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


@contextlib.contextmanager
def damaged(site: AdminSite, query: str, damage: str) -> Iterator[None]:
    """Let the command have the API behind such a peer."""
    path = site.folder / "options.json"
    there = site.stage.simulator
    with http_peers.serving(_Damaging, ((there.address, there.port), query, DAMAGES[damage])) as at:
        path.write_text(json.dumps({**site.stage.engine.options, "sp_api_http_port": str(at)}))
        yield
    path.unlink()


def refused(said: subprocess.CompletedProcess[str], code: int) -> None:
    """Check that a command says that the API does not answer as it should, and nothing else."""
    assert "StorPool API" in refusals.of_command(said, code)


@pytest.fixture
def _things(site: AdminSite, disk: str) -> None:
    """Three disks, a snapshot of each, all attached somewhere."""
    import uuid

    for each in (disk, *(str(uuid.uuid4()) for _ in range(2))):
        if each != disk:
            site.stage.engine.run("create_volume", each, "1").require()
        site.stage.engine.run("create_snapshot", each).require()
        item = {"volume": f"ovirt--{each}", "rw": [1]}
        shared_stage.post(site.stage.simulator, "VolumesReassignWait", {"reassign": [item]})


@pytest.mark.usefixtures("_things")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("query", LISTS)
def test_a_damaged_list_is_never_a_shorter_one(site: AdminSite, query: str, damage: str) -> None:
    """T41, T76: what was not told is not taken for gone: no finding, no row, no delete."""
    database, before = site.stage.database, shared_stage.rows(site.stage.database)
    snapshots = shared_stage.snapshots(site.stage.simulator)
    with damaged(site, query, damage):
        refused(site.run("audit", "--limit", "3"), 3)
        refused(site.run("reconcile", "--limit", "3", "--grace", "0"), 1)
        if query != "AttachmentsList":
            shared_stage.sql(database, "DELETE FROM storpool_ovirt.node WHERE kind = 'snapshot'")
            refused(site.run("rebuild", "--limit", "3"), 1)
    kept = [row for row in before if row.kind == "volume"] if query != LISTS[2] else before
    assert shared_stage.rows(database) == kept
    assert shared_stage.snapshots(site.stage.simulator).keys() == snapshots.keys()
