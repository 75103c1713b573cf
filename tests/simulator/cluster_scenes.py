"""For each switch about several clusters a scene, and what it tells for every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import copy_scenes
from clusters_rig import Trio, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

SCENES: dict[str, Callable[[Trio], str]] = {**copy_scenes.SCENES}

EXPECTED = {
    **copy_scenes.EXPECTED,
    "bridge_down_error": {"multiCluster": "multiCluster False", "notReady": "notReady True"},
    "mc_unreachable": {"error": "multiCluster multiCluster", "omit": "ok objectDoesNotExist"},
    "mc_detach_all": {"all": "", "asked": "loc.b"},
    "mc_create_from": {"owner": "loc.b", "refuse": "invalidParam"},
    "remote_multicluster": {"take": "ok", "refuse": "unknownQuery"},
    "mc_group": {"refuse": "invalidParam", "split": "ok"},
    "move_template": {"refuse": "objectDoesNotExist", "drop": "ok ''"},
    "mc_generation": {"asked": "asked", "owner": "owner"},
    "snapshot_update_multicluster": {"true": "ok", "false": "unknownQuery"},
}


def scene(function: Callable[[Trio], str]) -> Callable[[Trio], str]:
    """The scene of the switch that the function is called after."""
    SCENES[function.__name__.lstrip("_")] = function
    return function


@scene
def _bridge_down_error(trio: Trio) -> str:
    """[addon mc] tells `multiCluster` apart."""
    trio.cut()
    error = trio.one.raw("GET", "/ctrl/1.0/RemoteCommand/two/VolumesList").json["error"]
    return f"{error['name']} {error['transient']}"


@scene
def _mc_unreachable(trio: Trio) -> str:
    """A list, and a look for what nobody has."""
    trio.cut()
    listed = outcome(lambda: trio.one.get("MultiCluster/VolumesList"))
    looked = outcome(lambda: trio.one.get("MultiCluster/Volume/x"))
    return f"{listed} {looked}"


@scene
def _mc_detach_all(trio: Trio) -> str:
    """A volume that clients of two clusters have."""
    trio.one.create("v")
    trio.one.reassign({"volume": "v", "rw": [1]})
    item = {"volume": "v", "rw": [3], "mcMode": "export"}
    trio.two.post("MultiCluster/VolumesReassignWait", {"reassign": [item]})
    taken = {"reassign": [{"volume": "v", "detach": "all"}]}
    trio.one.post("MultiCluster/VolumesReassignWait", taken)
    left = trio.one.get("MultiCluster/AttachmentsList")
    return " ".join(str(one["clusterId"]) for one in left)


@scene
def _mc_create_from(trio: Trio) -> str:
    """A volume of one cluster from a snapshot of another."""
    trio.two.create("v")
    trio.two.snapshot("v", "s")
    body = {"name": "child", "parent": "s"}
    result = outcome(lambda: trio.one.post("MultiCluster/VolumeCreate", body))
    if result != "ok":
        return result
    (child,) = trio.one.get("MultiCluster/Volume/child")
    return str(child["clusterId"])


@scene
def _remote_multicluster(trio: Trio) -> str:
    """Either of the two works alone."""
    trio.two.create("v")
    trio.one.get("RemoteCommand/two/Volume/v")
    trio.one.get("MultiCluster/Volume/v")
    return outcome(lambda: trio.one.get("RemoteCommand/two/MultiCluster/Volume/v"))


@scene
def _mc_group(trio: Trio) -> str:
    """Volumes of two clusters in one group: both get their snapshot, or none."""
    trio.one.create("v")
    trio.two.create("w")
    body = {"volumes": [{"volume": one, "name": f"{one}-s"} for one in ("v", "w")]}
    result = outcome(lambda: trio.one.post("MultiCluster/VolumesGroupSnapshot", body))
    made = {one["name"] for one in trio.one.get("MultiCluster/SnapshotsList")}
    assert made == ({"v-s", "w-s"} if result == "ok" else set())
    return result


@scene
def _mc_generation(trio: Trio) -> str:
    """A change of the other cluster's volume."""
    for number in range(5):
        trio.two.create(f"v{number}")
    reply = trio.one.raw("POST", "/ctrl/1.0/MultiCluster/VolumeUpdate/v1", {"tags": {"a": "b"}})
    generations = {reply.json["generation"], reply.json["data"]["generation"]}
    owner = trio.two.simulator.cluster.generation
    asked = trio.one.simulator.cluster.generation
    assert owner != asked
    return {owner: "owner", asked: "asked"}[generations.pop()] if len(generations) == 1 else "two"


@scene
def _snapshot_update_multicluster(trio: Trio) -> str:
    """[addon mc] sends it, the binding has none [spapi]."""
    trio.two.create("v")
    trio.two.snapshot("v", "s")
    return outcome(lambda: trio.one.post("MultiCluster/SnapshotUpdate/s", {"tags": {"a": "b"}}))


@scene
def _move_template(trio: Trio) -> str:
    """Moves keep templates by name [git 2152d9a]; nothing is told of one that the target lacks."""
    trio.one.post("VolumeTemplateCreate", {"name": "only-here"})
    trio.one.create("v", template="only-here")
    moved = outcome(lambda: trio.one.post("VolumeMoveToRemote/v", {"cluster": "two"}))
    return moved if moved != "ok" else f"ok '{trio.two.volume('v')['templateName']}'"
