"""The driver and an API that answers oddly: each case is one operation and one damage to one kind
of reply.

    python tests/cinder/fuzz_driver.py [CASES [SEED]]

What must hold: the operation succeeds and it is true, or one exception of Cinder's with one
sentence; within its limit; with no token in it; and what the operation should not touch is as it
was.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cinder import exception

from cinder_driver import session
from rigs import clusters, driver_rig, fuzz_cases, odd_api
from rigs.core_fixtures import TOKEN, Core
from rigs.driver_rig import connector, snapshot, volume, volume_type
from storpool_ovirt.cluster import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_SECONDS = 2.0
GRACE_SECONDS = 6.0  # an undo, on a busy machine
QUERIES = tuple(
    (
        "Volume Snapshot VolumeCreate VolumeUpdate VolumeDelete VolumeSnapshot SnapshotDelete "
        "VolumeRevert VolumesGroupSnapshot AttachmentsList VolumesReassignWait ClientsConfigDump "
        "VolumeTemplatesStatus VolumesList SnapshotsList KV"
    ).split()
)


@dataclass
class Scene:
    """What an operation works on: a volume with a snapshot, attached to client 1, and one that is
    nobody's business."""

    backend: driver_rig.Backend
    made: Any
    frozen: Any
    new: Any

    @property
    def driver(self) -> Any:
        """The driver."""
        return self.backend.driver

    def name(self, of: Any) -> str:
        """Return a volume's name in StorPool."""
        return f"os--volume-{of.id}"

    def created(self) -> bool:
        """Tell whether the new volume is there, as large as it should be."""
        there = self.backend.there().get(self.name(self.new))
        return there is not None and there.size_bytes == driver_rig.GIB

    def stored(self) -> api.Volume:
        """Return the volume as it is."""
        return self.backend.there()[self.name(self.made)]


def _retype(scene: Scene) -> Any:
    difference = {
        "extra_specs": {"storpool_template": ("nvme", "hdd")},
        "qos_specs": {},
        "encryption": {},
    }
    host = {"host": "engine.example.com@storpool#template_hdd"}
    return scene.driver.retype(None, scene.made, volume_type(template="hdd"), difference, host)


def _describe(scene: Scene) -> Any:
    said = scene.driver.initialize_connection(scene.made, connector(1))["data"]
    assert said["global_id"] == scene.stored().global_id, said


def _from_volumes(scene: Scene) -> Any:
    scene.new.source_volid = scene.made.id
    return scene.driver.create_group_from_src(
        None, {"id": "g"}, [scene.new], None, None, {}, [scene.made]
    )


# Each operation, and what is true after its success.
OPERATIONS: dict[str, tuple[Callable[[Scene], Any], Callable[[Scene], bool]]] = {
    "create": (lambda scene: scene.driver.create_volume(scene.new), Scene.created),
    "from a snapshot": (
        lambda scene: scene.driver.create_volume_from_snapshot(scene.new, scene.frozen),
        Scene.created,
    ),
    "clone": (
        lambda scene: scene.driver.create_cloned_volume(scene.new, scene.made),
        Scene.created,
    ),
    "group": (_from_volumes, Scene.created),
    "delete": (
        lambda scene: scene.driver.delete_volume(scene.made),
        lambda scene: scene.name(scene.made) not in scene.backend.there(),
    ),
    "delete snapshot": (
        lambda scene: scene.driver.delete_snapshot(scene.frozen),
        lambda scene: not any("--snap--" in name for name in scene.backend.there()),
    ),
    "snapshot": (
        lambda scene: scene.driver.create_snapshot(snapshot(scene.made)),
        lambda scene: sum("--snap--" in name for name in scene.backend.there()) == 2,
    ),
    "group snapshot": (
        lambda scene: scene.driver.create_group_snapshot(None, {"id": "g"}, [snapshot(scene.made)]),
        lambda scene: sum("--snap--" in name for name in scene.backend.there()) == 2,
    ),
    "extend": (
        lambda scene: scene.driver.extend_volume(scene.made, 3),
        lambda scene: scene.stored().size_bytes == 3 * driver_rig.GIB,
    ),
    "revert": (
        lambda scene: scene.driver.revert_to_snapshot(None, scene.made, scene.frozen),
        lambda _scene: True,
    ),
    "retype": (_retype, lambda scene: scene.stored().template == "hdd"),
    "describe": (_describe, lambda _scene: True),
    "terminate": (
        lambda scene: scene.driver.terminate_connection(scene.made, connector(1)),
        lambda scene: scene.backend.attached() == set(),
    ),
    "statistics": (
        lambda scene: scene.driver.get_volume_stats(refresh=True),
        lambda scene: scene.driver.get_volume_stats()["total_capacity_gb"] == 100,
    ),
    "manageable": (
        lambda scene: scene.driver.get_manageable_volumes(
            [scene.made], None, 10, 0, ["size"], ["asc"]
        ),
        lambda _scene: True,
    ),
    "manage": (
        lambda scene: scene.driver.manage_existing(scene.new, {"source-name": "old"}),
        Scene.created,
    ),
}


# For what would else be hours of waiting.
HASTY = session.LIMITS._replace(
    retry_seconds=0.6, last_try_seconds=0.3, first_pause_seconds=0.01, undo_seconds=2.0
)


@contextlib.contextmanager
def consistent_groups() -> Iterator[None]:
    """Have groups that are consistent."""
    import pytest
    from cinder.volume import volume_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volume_utils, "is_group_a_cg_snapshot_type", lambda _group: True)
        yield


def case(core: Core, proxy: odd_api.Proxy, seed: int) -> str | None:
    """Run one case; return what did not hold, None when all did."""
    chance = random.Random(seed)
    operation = chance.choice(list(OPERATIONS))
    kind, query = chance.choice(odd_api.KINDS), chance.choice(QUERIES)
    name = f"seed {seed}: {operation}, {kind} in the reply to {query}"
    with driver_rig.backend(
        core,
        storpool_api_http_port=proxy.port,
        storpool_deadline=LIMIT_SECONDS,
        storpool_api_http_host="127.0.0.1",
    ) as backend:
        backend.driver.limits = HASTY
        scene = Scene(backend, volume(), None, volume())
        scene.frozen = snapshot(scene.made)
        bystander = volume()
        client = core.client()
        for each in (scene.made, bystander):
            client.volume_create(
                {"name": scene.name(each), "size": driver_rig.GIB, "template": "nvme"}
            )
        frozen_name = f"os--snap--none--snapshot-{scene.frozen.id}"
        client.volume_snapshot(scene.name(scene.made), {"name": frozen_name})
        if operation == "manage":
            client.volume_create({"name": "old", "size": driver_rig.GIB, "template": "nvme"})
        backend.attach(scene.made, 1)
        other = backend.attach(bystander, 2)
        run, holds = OPERATIONS[operation]
        proxy.damage = odd_api.Damage(query, kind, seed, times=chance.choice((1, 1, 1000)))
        begun, said = time.monotonic(), ""
        try:
            run(scene)
        except exception.CinderException as error:
            said = str(error)
        except AssertionError as error:
            return f"{name}: {error}"
        except Exception:
            return f"{name}: {traceback.format_exc()}"
        seconds = time.monotonic() - begun
        proxy.damage = None
        fault = fuzz_cases.fault_of(said, seconds, LIMIT_SECONDS + GRACE_SECONDS)
        if fault is None and not said:
            core.client().be_current()
            if operation == "terminate":
                detached = not any(client_id == 1 for _, client_id, _ in backend.attached())
                fault = None if detached else "a success, and it is attached"
            elif not holds(scene):
                fault = "a success that is not true"
        there, attached = backend.there(), backend.attached()
        if scene.name(bystander) not in there or (other, 2, "rw") not in attached:
            fault = "a volume that is nobody's business was touched"
    _clear(core)
    return f"{name}: {fault} ({said[:300]})" if fault else None


def _clear(core: Core) -> None:
    client = core.client()
    client.be_current()
    for each in client.attachments():
        client.reassign(
            [{"volume": f"~{each.global_id}", "detach": [each.client_id], "force": True}], 5, "all"
        )
    for there in client.volumes():
        client.volume_delete(f"~{there.global_id}")
    for there in client.snapshots():
        if not (there.dying or there.transient):
            client.snapshot_delete(f"~{there.global_id}")


def run(cases: int, seed: int) -> list[str]:
    """Run so many cases, the first with this seed; return what did not hold."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hosts = {client_id: folder / f"host{client_id}" for client_id in (1, 2, 3)}
        for each in hosts.values():
            each.mkdir()
        templates = {"nvme": 100 * driver_rig.GIB, "hdd": None}
        conf = folder / "engine" / "etc" / "storpool.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text(
            "".join(f"[host{client_id}.example.com]\nSP_OURID={client_id}\n" for client_id in hosts)
        )
        import pytest

        with (
            clusters.running(
                folder / "state", token=TOKEN, templates=templates, hosts=hosts
            ) as running,
            odd_api.before(running.host, running.port) as proxy,
            driver_rig.database(folder),
            consistent_groups(),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("STORPOOL_OVIRT_ROOT", str(folder / "engine"))
            core = Core(running, folder)
            for number in range(cases):
                fault = case(core, proxy, seed + number)
                if fault:
                    faults.append(fault)
                    proxy.damage = None
                    _clear(core)
    return faults


if __name__ == "__main__":
    sys.exit(fuzz_cases.main(run, sys.argv[1:]))
