"""The host that the connector's tests work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rigs import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brick_rig import Host


@pytest.fixture
def host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Host]:
    """Give a host that is a folder, with our connector; its devices are plain files unless the test
    asks for others."""
    import brick_rig

    devices = getattr(request, "param", "file")
    clusters.need_devices(devices, tmp_path)
    root = tmp_path / "host1"
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(root))
    with (
        brick_rig.cluster(tmp_path, root, devices) as core,
        brick_rig.without_privsep(),
        brick_rig.lock_path(),
    ):
        yield brick_rig.Host(core, root, brick_rig.connector())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let OpenStack's libraries use what Python is about to drop: it is not ours to change."""
    for item in items:
        if item.path.parent.name == "brick":
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
