"""For each switch about backups and copies a scene, and what it tells for every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusters_rig import outcome
from copies_rig import MIB, MIB_SECONDS, backed_up, fetched, recovering, remote_ids, slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from clusters_rig import Trio

SCENES: dict[str, Callable[[Trio], str]] = {}

EXPECTED = {
    "backup_base": {"remove": "", "keep": "v"},
    "backup_base_tags": {"given": "a", "none": ""},
    "backup_field": {"either": "ok", "location": "invalidParam"},
    "group_backup_key": {"schema": "bare", "listed": "listed"},
    "cut_copy": {"wait": "there, going on", "fail": "gone"},
    "recovering_use": {"forward": "ok", "refuse": "busy"},
    "remote_list_cut": {"without": "ok 0", "error": "multiCluster"},
    "delete_exported": {"ok": "ok 0", "busy": "busy 1"},
    "export_again": {"error": "objectExists", "ok": "ok"},
    "fetched_tags": {"given": "", "remote": "a"},
    "deferred_deletion": {"on": "7200 7200", "local": "0 7200", "off": "0 0"},
}


def scene(function: Callable[[Trio], str]) -> Callable[[Trio], str]:
    """The scene of the switch that the function is called after."""
    SCENES[function.__name__.lstrip("_")] = function
    return function


def _volume(trio: Trio) -> None:
    trio.switch(linger="0")
    trio.one.create("v", size=MIB)


def _snapshot(trio: Trio) -> str:
    """A snapshot that is exported elsewhere; returns its id."""
    _volume(trio)
    s = trio.one.snapshot("v", "s")
    trio.one.post("SnapshotExport", {"snapshot": "s", "location": "rem"})
    return s


@scene
def _backup_base(trio: Trio) -> str:
    """No source tells what is left of it when the backup is done."""
    _volume(trio)
    backed_up(trio.one)
    return " ".join(one["onVolume"] for one in trio.one.get("SnapshotsList"))


@scene
def _backup_base_tags(trio: Trio) -> str:
    """Its tags, while the backup is on its way."""
    _volume(trio)
    slow(trio)
    remote_id = backed_up(trio.one, tags={"a": "b"})
    assert trio.far.shot(f"~{remote_id}")["tags"] == {"a": "b"}
    (base,) = trio.one.get("SnapshotsList")
    return " ".join(base["tags"])


@scene
def _backup_field(trio: Trio) -> str:
    """[addon mc]."""
    _volume(trio)
    body = {"volume": "v", "remote": "rem", "tags": {}}
    return outcome(lambda: trio.one.post("VolumeBackup", body))


@scene
def _group_backup_key(trio: Trio) -> str:
    """[sptypes] has names there, without `~`."""
    v = trio.one.create("", size=MIB)
    body = {"volumes": [f"~{v}"], "location": "rem"}
    (key,) = trio.one.post("VolumesGroupBackup", body)["backups"]
    return {v: "bare", f"~{v}": "listed"}[key]


@scene
def _cut_copy(trio: Trio) -> str:
    """A backup whose bridge is cut, and then up again."""
    _volume(trio)
    slow(trio)
    remote_id = backed_up(trio.one)
    trio.cut("far")
    if f"~{remote_id}" not in {f"~{one['globalId']}" for one in trio.far.get("SnapshotsList")}:
        return "gone"
    trio.heal("far")
    trio.one.simulator.advance(MIB_SECONDS)
    return "there, going on" if remote_ids(trio.one) == {remote_id} else "lost"


@scene
def _recovering_use(trio: Trio) -> str:
    """A clone of what is still coming."""
    s = _snapshot(trio)
    slow(trio)
    key = fetched(trio.far, s, "loc")
    assert recovering(trio.far) == {s}
    return outcome(lambda: trio.far.post("VolumeCreate", {"parent": key}))


@scene
def _remote_list_cut(trio: Trio) -> str:
    """What is behind a cut bridge."""
    _snapshot(trio)
    trio.one.control("POST", "bridges/far", {"status": "down"})
    said = outcome(lambda: remote_ids(trio.far))
    return f"ok {len(remote_ids(trio.far))}" if said == "ok" else said


@scene
def _delete_exported(trio: Trio) -> str:
    """Its exports go with it, or it stays."""
    _snapshot(trio)
    said = outcome(lambda: trio.one.post("SnapshotDelete/s"))
    trio.one.get("VolumesList")
    assert len(remote_ids(trio.far)) == (said != "ok")
    return f"{said} {len(trio.one.get('ExportsList')['exports'])}"


@scene
def _export_again(trio: Trio) -> str:
    """A second time to the same location."""
    _snapshot(trio)
    body = {"snapshot": "s", "location": "rem"}
    return outcome(lambda: trio.one.post("SnapshotExport", body))


@scene
def _fetched_tags(trio: Trio) -> str:
    """Without tags in the request; those of a request count always."""
    _volume(trio)
    key = fetched(trio.one, backed_up(trio.one, tags={"a": "b"}))
    tags = trio.one.shot(key)["tags"]
    trio.one.post(f"SnapshotDelete/{key}")
    assert trio.one.shot(fetched(trio.one, key[1:], tags={"c": "d"}))["tags"] == {"c": "d"}
    return " ".join(tags)


@scene
def _deferred_deletion(trio: Trio) -> str:
    """A date that another cluster asks for, and one of the own."""
    _volume(trio)
    trio.far.control("POST", "bridges/one", {"minimumDeleteDelay": 3600})
    remote_id = backed_up(trio.one)
    item = {"location": "rem", "globalSnapshotId": remote_id, "deleteAfter": 7200}
    trio.one.post("SnapshotsRemoteUnexport", {"remoteSnapshots": [item]})
    trio.far.create("w", size=MIB)
    local = trio.far.snapshot("w", "s", deleteAfter=7200)
    now = int(trio.far.control("GET", "clock")["now"])
    dates = [trio.far.shot(f"~{one}")["targetDeleteDate"] for one in (remote_id, local)]
    return " ".join(str(date and date - now) for date in dates)
