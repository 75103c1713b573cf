"""A world that stays: some disks, one of them deleted by mistake, and what an administrator types
in another terminal, until Ctrl-C."""

from __future__ import annotations

import uuid
from pathlib import Path

from ovirt_demo import children, flows, interruption, scene

TITLE = "A world to try storpool-ovirt in: oVirt's calls, a simulated StorPool"
ROOT = "STORPOOL_OVIRT_ROOT"  # the folder that stands for `/`, for each of our programs


def play(stage: scene.Scene) -> None:
    """Fill the world, tell what can be typed, and wait for the signal that ends it."""
    _furnish(stage.machine, stage)
    stage.step("Add the storage domain")
    flows.add_domain(stage.domain)
    stage.step("Create two disks, and a snapshot of the first")
    disks = [flows.create_disk(stage.domain, size_gib) for size_gib in (1, 2)]
    flows.create_snapshot(stage.domain, disks[0])
    stage.step("Delete a disk by mistake")
    deleted = flows.create_disk(stage.domain, 1)
    flows.delete_disk(stage.domain, deleted)
    stage.screen.gap()
    stage.screen.summary("This world stays until Ctrl-C. In another terminal:", good=True)
    for line in _commands(stage, disks[0].id, deleted.id):
        stage.screen.line(f"    {line}")
    try:
        stage.wait()
    except interruption.Interrupted:
        stage.screen.summary("The world ends here: all that was started is stopped", good=True)


def _furnish(root: Path, stage: scene.Scene) -> None:
    """Write what Engine's machine has: where the mapping database is, and StorPool's API."""
    login, cluster = stage.mapping.login, stage.cluster
    told = {
        "HOST": login.host,
        "PORT": login.port,
        "USER": login.user,
        "PASSWORD": login.password,
        "DATABASE": stage.mapping.name,
        "ENABLE": "true",
    }
    conf = root / "etc" / "ovirt-engine" / "engine.conf.d"
    _write(
        conf / "20-setup-cinderlib-database.conf",
        [f'CINDERLIB_DB_{key}="{value}"' for key, value in told.items()],
    )
    api = {
        "SP_API_HTTP_HOST": cluster.address,
        "SP_API_HTTP_PORT": cluster.port,
        "SP_AUTH_TOKEN": cluster.token,
    }
    _write(
        root / "etc" / "storpool.conf",
        [
            *(f"{key}={value}" for key, value in api.items()),
            *(f"[host{number}.example]\nSP_OURID={number}" for number in cluster.hosts),
        ],
    )
    (root / "var" / "log" / "ovirt-engine" / "managedblock").mkdir(parents=True)


def _commands(stage: scene.Scene, disk: str, deleted: str) -> list[str]:
    command = scene.ADMIN
    return [
        f"export {ROOT}={stage.machine} PATH={Path(children.find(command)).parent}:$PATH",
        f"{command} audit",
        f"{command} space",
        f"{command} snapshots",
        f"{command} policy set {disk} --qos gold",
        f"{command} policy explain {disk}",
        f"{command} trash list",
        f"{command} trash restore {deleted} --into {uuid.uuid4()} --dry-run",
    ]


def _write(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    file.chmod(0o600)
