"""Moves: to another template in place, and the name of a volume that Cinder copied here."""

from __future__ import annotations

import ipaddress
import platform
from collections.abc import Mapping
from typing import Any

from oslo_log import log as logging

from cinder_driver import capacity, failures, names, options, specs, words
from cinder_driver.session import Session
from storpool_ovirt import errors
from storpool_ovirt import names as storpool_names
from storpool_ovirt.cluster import volumes
from storpool_ovirt.policy import values

LOG = logging.getLogger(__name__)


def location(settings: options.Settings) -> str:
    """Return Cinder's `location_info`: equal for two backends of one cluster with one naming rule.

    An address of the machine itself is another cluster on each: a volume would "move" to where it
    is not.
    """
    where = settings.api.cluster_id or f"{settings.api.host}:{settings.api.port}"
    is_here = settings.api.cluster_id is None and _is_loopback(settings.api.host)
    here = f"{platform.node()}:" if is_here else ""
    return f"StorPool:{here}{where}:{settings.prefix}"


def move(session: Session, volume: Any, host: Mapping[str, Any]) -> bool:
    """Move a volume to the pool of another backend of the same cluster.

    Returns False when the backend is not of that cluster. StorPool moves the data by itself, while
    the volume is used.
    """
    if (host.get("capabilities") or {}).get("location_info") != location(session.settings):
        return False
    template = capacity.template_of(host["host"].partition("#")[2])
    there = session.volume(volume)
    if template is None:
        # No request takes a volume out of its template.
        return not there.template
    with failures.of(volume=volume["id"]):
        volumes.change(
            session.client, there, template=template if template != there.template else None
        )
    return True


def _is_loopback(host: str) -> bool:
    name = host.strip("[]").lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.startswith("localhost.") or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def retype(session: Session, volume: Any, new_type: Any, diff: Mapping[str, Any]) -> bool:
    """Give a volume the template and the QoS class of another type, in one request.

    Returns False when that is not possible.
    """
    refused = specs.refused_difference(diff)
    if refused:
        LOG.info("retype_refused volume=%s because=%s", volume["id"], refused)
        return False
    old = specs.of_before(session.settings, volume)
    with failures.of(volume=volume["id"]):
        new = specs.of_type(session.settings, new_type)
    there = session.volume(volume)
    if new.template is None and old.template is not None:
        LOG.info(
            "retype_refused volume=%s because=no request takes a volume out of its template",
            volume["id"],
        )
        return False
    tags = {values.TAG[values.QOS]: new.qos_class or ""}
    with failures.of(volume=volume["id"]):
        volumes.change(
            session.client,
            there,
            # Only what differs between the types: the volume may have been moved to another pool
            # since.
            template=new.template if new.template not in (old.template, there.template) else None,
            tags=tags if new.qos_class != old.qos_class else None,
        )
    return True


def finish(
    session: Session, volume: Any, new_volume: Any, original_volume_status: str
) -> dict[str, Any]:
    """Give the copy of a migrated volume the original's name where that is free.

    Returns which name it has. Cinder then deletes the original by the original's id
    (`finish_volume_migration` in cinder/objects/volume.py). So where the original is in this
    cluster, and has the name, the copy keeps its own and Cinder gets it (`_name_id`), as it does
    where a host uses the copy by that name. The rename is one request: it is done or it is not, and
    after a lost answer the volume itself says which.
    """
    kept = {"_name_id": new_volume["_name_id"] or new_volume["id"]}
    if original_volume_status == "in-use":
        return kept
    copy = session.volume(new_volume)
    wanted = names.volume_name(session.settings.prefix, volume["id"])
    try:
        volumes.change(session.client, copy, name=wanted)
    except errors.Error as error:
        LOG.warning(
            "migrated_volume_keeps_its_name volume=%s reason=%s",
            volume["id"],
            words.sentence(error),
        )
        with failures.of(volume=new_volume["id"]):
            # It may have been done although the answer was lost: an old look would give Cinder the
            # wrong name.
            session.client.be_current()
            now = session.client.volume(storpool_names.address(copy.global_id))
        return {"_name_id": None} if now.name == wanted else kept
    return {"_name_id": None}
