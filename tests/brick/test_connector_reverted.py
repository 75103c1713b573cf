"""connector.py: a volume that somebody reverts while it is attached, and one that the driver
describes by another id since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from brick_rig import BOTH_DEVICES, Host, Info, hasty
from os_brick import exception

from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

# eventlet, where it is installed, warns whenever os-brick starts a program.
pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")
every_rule = pytest.mark.parametrize(
    ("rule", "named"),
    [(rule, named) for rule in ("unnamed", "all", "keep") for named in (True, False)],
)


def connected(host: Host, rule: str, named: bool) -> tuple[Info, Any]:
    """A volume with a snapshot that is attached here, and what was said of both."""
    switches = {"revert_identity": rule, "revert_attached": "allow"}
    host.core.simulator.switches.set(switches)
    info = host.volume()
    volumes.snapshot(host.core.client(), info["global_id"], Plan(Owner("shot")))
    if not named:
        host.core.post(f"VolumeUpdate/~{info['global_id']}", {"rename": ""})
    return info, host.connector.connect_volume(info)


def reverted(host: Host, info: Info, named: bool) -> Info:
    """Revert it, and return what a driver says of it afterwards."""
    address = "os--volume-v1" if named else f"~{info['global_id']}"
    reply = host.core.post(f"VolumeRevert/{address}", {"toSnapshot": "shot"})
    return {**info, "global_id": reply["globalId"]}


def is_untold(host: Host, rule: str, named: bool) -> bool:
    """Whether nothing of StorPool's tells that the id of the attach and that of now are one
    volume's: a named one got another id, on a release that does not show the first."""
    return rule == "all" and named and host.core.simulator.switches["preserved_id"] == "false"


@every_rule
@pytest.mark.parametrize("times", [1, 2])
def test_a_detach_by_any_of_its_ids(host: Host, rule: str, named: bool, times: int) -> None:
    """What was said at the attach, and what the driver says now, with and without the path, all let
    go of it; where nothing tells that both are one, a path of then is no path of what is said now,
    and the detach without it goes."""
    for which in ("then", "now", "now without the path"):
        info, told = connected(host, rule, named)
        now = info
        for _ in range(times):
            now = reverted(host, info, named)
        said = info if which == "then" else now
        if which == "now" and is_untold(host, rule, named):
            with pytest.raises(exception.InvalidParameterValue, match="is not that of volume"):
                host.connector.disconnect_volume(said, told)
            told = None
        host.connector.disconnect_volume(said, None if which.startswith("now w") else told)
        assert host.attached() == set(), which
        host.core.post(f"VolumeDelete/~{now['global_id']}", {})
        host.core.post("SnapshotUpdate/shot", {"rename": f"old-{which.replace(' ', '-')}"})


@BOTH_DEVICES
@every_rule
def test_an_open_device_is_never_pulled(host: Host, rule: str, named: bool) -> None:
    """Reverted under a guest that runs: what it has open it keeps, and what it writes is kept."""
    info, told = connected(host, rule, named)
    with Path(told["path"]).open("r+b", buffering=0) as device, hasty():
        now = reverted(host, info, named)
        for said in (info, now):
            path = None if said == now and is_untold(host, rule, named) else told
            with pytest.raises(exception.VolumePathNotRemoved, match="is open at client 1"):
                host.connector.disconnect_volume(said, path)
        device.write(b"after it was reverted".ljust(4096))
    assert len(host.attached()) == 1
    with host.device(now).open("rb") as device:
        assert device.read(21) == b"after it was reverted"


@every_rule
def test_ids_of_two_volumes_contradict_each_other(host: Host, rule: str, named: bool) -> None:
    """The path of a reverted volume with the id of another one is still nobody's wish."""
    info, told = connected(host, rule, named)
    reverted(host, info, named)
    other = host.volume("v2")
    host.connector.connect_volume(other)
    for said, path in ((other, told["path"]), (info, str(host.device(other)))):
        with pytest.raises(exception.InvalidParameterValue, match="is not that of volume"):
            host.connector.disconnect_volume(said, {"path": path})
    assert len(host.attached()) == 2


@every_rule
def test_a_described_volume_is_attached_after_a_revert(host: Host, rule: str, named: bool) -> None:
    """Described before a revert it is attached by that id as long as it leads to it, else it is
    described anew; upstream's description, which has no id, does so while it has a name."""
    info, told = connected(host, rule, named)
    host.connector.disconnect_volume(info, told)
    now = reverted(host, info, named)
    if named and now != info:
        with pytest.raises(exception.NotFound):
            host.connector.connect_volume(info)
        info = now
    assert host.connector.connect_volume(info)["path"] == str(host.device(info))
    if named:
        upstreams = {key: value for key, value in info.items() if key != "global_id"}
        host.connector.disconnect_volume(upstreams, None)
        assert host.attached() == set()
