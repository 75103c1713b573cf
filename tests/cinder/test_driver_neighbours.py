"""The driver beside others: what the upstream driver made, hosts with os-brick's own connector,
cinderlib."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import cinderlib_functional
import pytest

from cinder_driver import releases
from rigs import clusters
from rigs.core_fixtures import GIB, TOKEN
from rigs.driver_rig import Backend, connector, snapshot, volume
from storpool_ovirt import storpool_conf

SCRIPT = Path(__file__).parents[2] / "docs" / "cinderlib_script.py"


def test_what_the_upstream_driver_made_goes_on_working(backend: Backend) -> None:
    """[upstream] Its requests, word for word: VolumeCreate and VolumeSnapshot by name, without
    tags."""
    old, clone = volume(), volume()
    frozen = snapshot(old)
    client = backend.core.client()
    client.volume_create({"name": f"os--volume-{old.id}", "size": GIB, "template": "hdd"})
    client.volume_snapshot(
        f"os--volume-{old.id}", {"name": f"os--snap--none--snapshot-{frozen.id}"}
    )
    backend.driver.create_volume_from_snapshot(clone, frozen)
    backend.driver.extend_volume(old, 2)
    backend.driver.revert_to_snapshot(None, old, frozen)
    backend.driver.delete_snapshot(frozen)
    backend.driver.delete_volume(old)
    assert list(backend.there()) == [f"os--volume-{clone.id}"]


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_a_host_with_os_bricks_own_connector_attaches_our_volumes(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """[brick] The stock connector of the installed os-brick, as it is, with our connection info."""
    reason = "os-brick before 6.11 needs the package storpool.spopenstack for its own connector"
    utils = pytest.importorskip("os_brick.initiator.storpool_utils", reason=reason)
    from os_brick.initiator.connectors import storpool

    host = backend.core.root(1)
    monkeypatch.setattr(
        utils, "get_conf", lambda *_args: storpool_conf.read(host)
    )  # it reads /etc alone
    made = volume()
    backend.driver.create_volume(made)
    info = backend.driver.initialize_connection(made, connector(1, mode=mode))["data"]
    stock = storpool.StorPoolConnector("sudo")
    device = stock.connect_volume(info)
    global_id = backend.stored(made).global_id
    assert device == {"type": "block", "path": f"/dev/storpool-byid/{global_id}"}
    assert backend.attached() == {(global_id, 1, mode)}
    stock.disconnect_volume(info, device)
    assert backend.attached() == set()
    backend.driver.terminate_connection(made, connector(1))


def test_u24_cinderlib_on_cinder_29_is_told_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    """U24: cinderlib 5.2.0 dies on Cinder 29 of a missing module: who tries is told so before it
    does."""
    versions = {"cinder": "29.0.0", "cinderlib": "5.2.0"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    assert "cinderlib 5.2.0 cannot work with Cinder 29.0.0" in (releases.cinderlib_fault() or "")
    versions["cinder"] = "28.0.0"
    assert releases.cinderlib_fault() is None


def test_without_cinderlib_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and exit code 2."""

    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert cinderlib_functional.main([]) == 2
    assert "use one of the sets in requirements/" in capsys.readouterr().err


def test_the_script_of_the_docs_runs_as_it_stands(tmp_path: Path) -> None:
    """[cinderlib] Create, attach, write, snapshot, clone, detach, delete: in a process of its own,
    on real devices."""
    fault = cinderlib_functional.unfit()
    if fault:
        pytest.skip(fault)
    host = tmp_path / "host1"
    host.mkdir()
    with clusters.running(
        tmp_path / "state", token=TOKEN, templates={"nvme": None}, hosts={1: host}, devices="loop"
    ) as running:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(SCRIPT)],
            cwd=tmp_path,
            env={**os.environ, "STORPOOL_OVIRT_ROOT": str(host)},
            capture_output=True,
            text=True,
            check=False,
        )
        queries = running.calls.queries()
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all of it is deleted\n")
    assert queries.count("VolumeCreate") == queries.count("VolumeDelete") == 3
