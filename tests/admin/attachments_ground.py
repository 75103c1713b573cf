"""What the tests of `storpool-ovirt attachments` share: hosts with names, and how its answers are
read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs import shared_stage
from rigs.admin_site import AdminSite, told

HOSTS = "[host1.example]\nSP_OURID=1\n[host2.example]\nSP_OURID=2\n"


@pytest.fixture
def named_hosts(site: AdminSite) -> Iterator[None]:
    """Have storpool.conf of Engine's machine and of both hosts name the hosts."""
    roots = [site.folder, *site.stage.simulator.hosts.values()]
    for root in roots:
        folder = Path(root) / "etc" / "storpool.conf.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.conf").write_text(HOSTS)
    yield
    for root in roots:
        shutil.rmtree(Path(root) / "etc" / "storpool.conf.d")


def on(site: AdminSite, client_id: int) -> dict[str, str]:
    """Return what makes the command run on a host."""
    return {"STORPOOL_OVIRT_ROOT": str(site.stage.simulator.hosts[client_id])}


def listed(site: AdminSite, *arguments: str, **environment: str) -> list[str]:
    """Return the lines of a listing."""
    return told(site.run("attachments", *arguments, **environment), 0)


def document(site: AdminSite, *arguments: str, **environment: str) -> dict[str, Any]:
    """Return a listing as programs read it."""
    found: dict[str, Any] = json.loads("\n".join(listed(site, "--json", *arguments, **environment)))
    return found


def global_id(site: AdminSite, disk: str) -> str:
    """Return the global id of a disk's volume."""
    return str(shared_stage.volumes(site.stage.simulator)[disk]["globalId"])
