"""The bodies of requests about other locations, clusters and bridges, parsed once [sptypes]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from storpool_simulator import errors
from storpool_simulator.model import fields
from storpool_simulator.model.fields import Fields

_ID = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class LocationAdd:
    """RemoteLocationBase."""

    location_id: str
    name: str


@dataclass(frozen=True)
class LocationUpdate:
    """RemoteLocationUpdateDesc; None was not given."""

    location: str
    send_buffer_bytes: int | None
    receive_buffer_bytes: int | None


@dataclass(frozen=True)
class ClusterAdd:
    """RemoteClusterAddDesc."""

    subcluster_id: str
    location: str
    name: str | None


@dataclass(frozen=True)
class ClusterRemove:
    """RemoteClusterRemoveDesc: by its name, or by location and id."""

    name: str | None
    location: str | None
    subcluster_id: str | None


@dataclass(frozen=True)
class BridgeAdd:
    """RemoteBridgeAddDesc: `location`, or `remote`, which is a cluster's name."""

    ip: str
    public_key: str
    location: str | None
    remote: str | None
    minimum_delete_delay: int | None
    no_crypto: bool


def location_add(body: Fields) -> LocationAdd:
    """Parse LocationAdd."""
    parsed = LocationAdd(_id(body, "id"), _name(body, "name"))
    body.end()
    return parsed


def location_remove(body: Fields) -> str:
    """Parse LocationRemove; return the location's name."""
    parsed = _name(body, "location")
    body.end()
    return parsed


def location_update(body: Fields) -> LocationUpdate:
    """Parse LocationUpdate."""
    parsed = LocationUpdate(
        _name(body, "location"), body.integer("sendBufferSize"), body.integer("recvBufferSize")
    )
    body.end()
    return parsed


def renaming(body: Fields, noun: str) -> tuple[str, str]:
    """Parse LocationRename and ClusterRename; return the old name and the new one."""
    parsed = _name(body, noun), _name(body, "name")
    body.end()
    return parsed


def cluster_add(body: Fields) -> ClusterAdd:
    """Parse ClusterAdd."""
    name = _name(body, "name") if body.text("name") else None
    parsed = ClusterAdd(_id(body, "id"), _name(body, "location"), name)
    body.end()
    return parsed


def cluster_remove(body: Fields) -> ClusterRemove:
    """Parse ClusterRemove."""
    parsed = ClusterRemove(body.text("name"), body.text("location"), body.text("id"))
    body.flag("clusterWillNotBeComingBack")
    body.end()
    if parsed.name is None and (parsed.location is None or parsed.subcluster_id is None):
        raise errors.InvalidParamError(f"{body.what}: 'name', or 'location' and 'id', is missing.")
    return parsed


def bridge_add(body: Fields) -> BridgeAdd:
    """Parse RemoteBridgeAdd."""
    parsed = BridgeAdd(
        ip=body.required("ip"),
        public_key=body.required("publicKey"),
        location=body.text("location"),
        remote=body.text("remote"),
        minimum_delete_delay=body.integer("minimumDeleteDelay"),
        no_crypto=body.flag("noCrypto") or False,
    )
    body.end()
    if (parsed.location is None) == (parsed.remote is None):
        raise errors.InvalidParamError(f"{body.what}: exactly one of 'location' and 'remote'.")
    return parsed


def bridge_remove(body: Fields) -> str:
    """Parse RemoteBridgeRemove; return the bridge's address."""
    parsed = body.required("ip")
    body.end()
    return parsed


def _name(body: Fields, key: str) -> str:
    value = body.required(key)
    if not fields.REMOTE_NAME.fits(value):
        raise body.wrong(key, f"a name of at most {fields.REMOTE_NAME.length} characters")
    return value


def _id(body: Fields, key: str) -> str:
    value = body.required(key)
    if not _ID.fullmatch(value):
        raise body.wrong(key, f"an id of {_ID.pattern}")
    return value
