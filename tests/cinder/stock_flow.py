"""Cinder's own StorPool driver and os-brick's own connector, unchanged, through the whole life of
volumes on the simulator.

    python3 stock_flow.py FOLDER DEVICES [SWITCH=VALUE ...]     one JSON object of how steps end

Run like this, client 1 is this machine itself: `/etc`, `/dev` and `/run` must be for this process
alone (rigs/stock_host.py). `test_stock_flow.py` runs it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cinder import db, objects
    from cinder.volume import configuration, volume_types
    from cinder.volume.drivers import storpool as stock
    from os_brick import privileged
    from os_brick.initiator import connector as factory
    from oslo_config import cfg

    from rigs import clusters, driver_rig
    from rigs.core_fixtures import GIB, TOKEN, Core
    from rigs.driver_rig import CONTEXT, snapshot, volume

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = {1: b"first", 2: b"second"}


class Flow:
    """The driver, the connector of client 1, and what they say."""

    def __init__(self, core: Core, database: driver_rig.Database) -> None:
        self.core = core
        self.said: dict[str, str] = {}
        self._database = database
        specs = {"storpool_template": "hdd"}
        made = volume_types.create(CONTEXT, "gold", specs)
        self.gold = objects.VolumeType(CONTEXT, id=made["id"], name="gold", extra_specs=specs)
        settings = configuration.Configuration(stock.storpool_opts, config_group="stock")
        cfg.CONF.set_override("storpool_template", "nvme", "stock")
        self.driver: Any = stock.StorPoolDriver(
            configuration=settings, host="engine.example.com@stock", db=db
        )
        self.driver.check_for_setup_error()
        self.brick: Any = factory.InitiatorConnector.factory("storpool", None)

    def step(self, name: str, does: Callable[[], object]) -> None:
        """Note how a step ends: "ok", or its error."""
        try:
            does()
        except Exception as error:
            self.said[name] = f"{type(error).__name__}: {error}"
        else:
            self.said[name] = "ok"

    # what steps are made of

    def made(self, **values: Any) -> Any:
        """Make a volume, in Cinder's database too."""
        one = volume(**values)
        self._database.volume(one.id)
        self.driver.create_volume(one)
        return one

    def known(self, **values: Any) -> Any:
        """Return a volume that only Cinder's database knows."""
        one = volume(**values)
        self._database.volume(one.id)
        return one

    def stored(self, one: Any) -> Any:
        """Return it as the cluster has it."""
        return self.core.client().volume(f"os--volume-{one.id}")

    def attached(self) -> set[tuple[str, int]]:
        """Return what is attached."""
        return {(each.name, each.client_id) for each in self.core.client().attachments()}

    @contextlib.contextmanager
    def connected(self, one: Any) -> Iterator[Path]:
        """Attach a volume to client 1 and give its device."""
        info = self.info(one)
        found = self.brick.connect_volume(info)
        try:
            yield Path(found["path"])
        finally:
            self.brick.disconnect_volume(info, found)

    def info(self, one: Any) -> Any:
        """Return the driver's connection info."""
        there = self.driver.initialize_connection(one, {"host": "host1.example.com"})
        assert there["driver_volume_type"] == "storpool"
        return there["data"]

    def write(self, one: Any, what: bytes) -> None:
        """Write to a volume through its device."""
        with self.connected(one) as path, path.open("r+b", buffering=0) as device:
            device.write(what.ljust(512, b"\0"))

    def holds(self, one: Any, what: bytes) -> None:
        """Check what a volume holds, through its device."""
        with self.connected(one) as path, path.open("rb", buffering=0) as device:
            assert device.read(512).rstrip(b"\0") == what


def lives(flow: Flow, *, blocks: bool) -> None:
    """Play the whole life; `blocks`: devices are block devices."""
    driver, step = flow.driver, flow.step
    first, typed = flow.made(), flow.made(volume_type=flow.gold)
    step("create with a type", lambda: check(flow.stored(typed).template, "hdd"))
    step("create again", lambda: driver.create_volume(first))
    step("stats", lambda: check(stats(driver), {"default", "template_nvme", "template_hdd"}))
    step("attach, write, detach", lambda: flow.write(first, WORDS[1]))
    step("detached", lambda: check(flow.attached(), set()))

    shot = snapshot(first)
    step("snapshot", lambda: driver.create_snapshot(shot))
    step("snapshot again", lambda: driver.create_snapshot(shot))
    step("write after it", lambda: flow.write(first, WORDS[2]))
    restored, clone, other = flow.known(), flow.known(), flow.known(volume_type=flow.gold)
    step("from snapshot", lambda: driver.create_volume_from_snapshot(restored, shot))
    step("from snapshot holds", lambda: flow.holds(restored, WORDS[1]))
    step("clone", lambda: driver.create_cloned_volume(clone, first))
    step("clone holds", lambda: flow.holds(clone, WORDS[2]))
    step("clone into another template", lambda: driver.create_cloned_volume(other, first))
    step("its template", lambda: check(flow.stored(other).template, "hdd"))
    step("it holds", lambda: flow.holds(other, WORDS[2]))
    step("revert", lambda: driver.revert_to_snapshot(CONTEXT, first, shot))
    step("revert holds", lambda: flow.holds(first, WORDS[1]))

    step("extend", lambda: driver.extend_volume(restored, 2))
    step("extended", lambda: check(flow.stored(restored).size_bytes, 2 * GIB))
    if blocks:
        step("extend while attached", lambda: grown(flow, clone))
    retyped = {"encryption": {}, "extra_specs": {"storpool_template": ("nvme", "hdd")}}
    step("retype", lambda: driver.retype(CONTEXT, clone, flow.gold, retyped, None))
    same = {"encryption": {}, "extra_specs": {}}
    step("retype of nothing", lambda: check(driver.retype(CONTEXT, clone, None, same, None), True))
    moved = flow.made()
    step("migrate", lambda: check(migrated(driver, typed, moved), {"_name_id": None}))
    ends(flow, first, shot)


def ends(flow: Flow, first: Any, shot: Any) -> None:
    """Play how things go."""
    driver, step = flow.driver, flow.step
    busy = flow.made()
    info = flow.info(busy)
    found = flow.brick.connect_volume(info)
    flow.core.set_client(1, open=[flow.stored(busy).global_id])
    step("delete while open", lambda: driver.delete_volume(busy))
    step("still attached", lambda: check(flow.attached(), {(f"os--volume-{busy.id}", 1)}))
    step("detach while open", lambda: flow.brick.disconnect_volume(info, found))
    step("detached after all", lambda: check(flow.attached(), set()))
    step("delete", lambda: driver.delete_volume(busy))
    step("delete again", lambda: driver.delete_volume(busy))
    step("delete snapshot", lambda: driver.delete_snapshot(shot))
    step("delete snapshot again", lambda: driver.delete_snapshot(shot))
    step("its volume holds", lambda: flow.holds(first, WORDS[1]))
    step("snapshot of nothing", lambda: driver.create_snapshot(snapshot(volume())))
    step("extend of nothing", lambda: driver.extend_volume(volume(), 2))
    step("revert of nothing", lambda: driver.revert_to_snapshot(CONTEXT, volume(), shot))
    step("from nothing", lambda: driver.create_volume_from_snapshot(flow.known(), shot))


def check(found: object, expected: object) -> None:
    """Raise AssertionError for anything else."""
    assert found == expected, f"{found!r}, expected {expected!r}"


def stats(driver: Any) -> set[str]:
    """Return the pools of the driver's statistics; sizes make sense."""
    driver._update_volume_stats()
    found = driver._stats["pools"]
    assert all(0 < pool["free_capacity_gb"] < pool["total_capacity_gb"] for pool in found)
    return {pool["pool_name"] for pool in found}


def grown(flow: Flow, one: Any) -> None:
    """Extend a volume that is attached: its device grows, and os-brick says so."""
    with flow.connected(one):
        flow.driver.extend_volume(one, 3)
        check(flow.brick.extend_volume(flow.info(one)), 3 * GIB)


def migrated(driver: Any, one: Any, other: Any) -> Any:
    """Give a volume the name of another one, as Cinder does after a migration."""
    return driver.update_migrated_volume(CONTEXT, one, other, "available")


def main(folder: Path, devices: str, switches: dict[str, str]) -> None:
    """Play it, and tell how each step ended."""
    folder.mkdir()
    privileged.default.set_client_mode(False)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            clusters.running(
                folder / "state",
                token=TOKEN,
                templates={"nvme": None, "hdd": None},
                hosts={1: Path("/"), 2: folder / "host2"},
                devices=devices,
                switches=switches,
            )
        )
        database = stack.enter_context(driver_rig.database(folder))
        flow = Flow(Core(running, folder), database)
        lives(flow, blocks=devices == "loop")
    json.dump(flow.said, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], dict(each.split("=", 1) for each in sys.argv[3:]))
