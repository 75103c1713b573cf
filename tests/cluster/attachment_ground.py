"""What the tests of attachments share: a volume to attach, and who has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.core_fixtures import GIB, Core
from storpool_ovirt import names
from storpool_ovirt.cluster import attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan

TAGS = {"virt": "ovirt"}


@pytest.fixture
def target(core: Core) -> attachments.Target:
    """A volume in the cluster."""
    made = volumes.create(core.client(), Plan(Owner("ovirt--x", TAGS), GIB))
    core.queries()
    return attachments.Target(made, "ovirt--x")


def attached(core: Core) -> set[tuple[str, int, str]]:
    """What StorPool lists: name, client, mode."""
    return {(each.name, each.client_id, each.access_mode) for each in core.client().attachments()}


def device(core: Core, client_id: int, target: attachments.Target) -> Path:
    """Where the device of a target is on this machine."""
    return Path(core.root(client_id) + names.device_path(target.global_id))
