"""Which client of StorPool a host is, and what it lets go of."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cinder import exception

from cinder_driver import words
from storpool_ovirt import config, errors, names, storpool_conf
from storpool_ovirt.cluster import api, attachments

# What our os-brick connector reports of its host (its own SP_OURID).
CLIENT_ID = "storpool_client_id"
# And, where its cluster is one of several with one name space, of that.
CLUSTER_ID = "storpool_cluster_id"
_NEEDS_THE_DEVICE = ("attached", "attaching")  # cinder.objects.fields.VolumeAttachStatus


def client_id(
    connector: Mapping[str, Any], own_names: Collection[str], settings: config.Api | None = None
) -> int:
    """Return the client id of the host that `connector` describes; never guess.

    The host says it itself where it has our connector. Else the section of storpool.conf here that
    has the host's name says it. `own_names` are names of this machine that need not be its node
    name (Cinder's option `host`). By `settings` with several clusters it is `api.RemoteClient` for
    a host of another one, as numbers are given out by each. Raises InvalidConnectorException.
    """
    host = _host_of(connector)
    try:
        found = _number(connector, host, own_names)
        if settings is None or not settings.multicluster:
            return found
        cluster_id = _cluster_of(connector, host) or settings.cluster_id
    except errors.ConfigError as error:
        raise exception.InvalidConnectorException(
            missing=f"{CLIENT_ID} ({words.sentence(error)})"
        ) from words.cause(error)
    if cluster_id is None:
        missing = (
            f"{CLUSTER_ID}, SP_CLUSTER_ID in {storpool_conf.FILE}, and storpool_cluster_id: of"
            " several clusters each may have such a client"
        )
        raise exception.InvalidConnectorException(missing=missing)
    return found if cluster_id == settings.cluster_id else api.RemoteClient(found, cluster_id)


def _number(connector: Mapping[str, Any], host: str | None, own_names: Collection[str]) -> int:
    reported = connector.get(CLIENT_ID)
    if reported is None:
        if not host:
            raise exception.InvalidConnectorException(missing=f"{CLIENT_ID} or host")
        root = config.root()
        reported = storpool_conf.client_id(host, root)
        if reported is None and host in own_names:
            reported = storpool_conf.client_id(platform.node(), root)
    found = names.client_id(reported)
    if found is None:
        of = names.shown(host or "")
        missing = (
            f"{CLIENT_ID}, and {storpool_conf.FILE} has no section of host {of} with SP_OURID from"
            f" 1 to {names.CLIENT_ID_MAX}"
        )
        raise exception.InvalidConnectorException(missing=missing)
    return found


def _cluster_of(connector: Mapping[str, Any], host: str | None) -> str | None:
    """Return the cluster of a host, as it says itself, or as storpool.conf here says for it."""
    told = connector.get(CLUSTER_ID)
    if told is None and host:
        keys = storpool_conf.read(config.root(), node=host, optional=True, environment=False)
        told = keys.get("SP_CLUSTER_ID")
    if told is None:
        return None
    if not isinstance(told, str) or not names.CLUSTER_ID.fits(told):
        raise errors.ConfigError(f"the cluster {names.shown(str(told))}", "is no cluster's id")
    return told


def is_shared_there(volume: Any, connector: Mapping[str, Any]) -> bool:
    """Return whether several attachments of Cinder's need the volume on one host.

    `connector` describes the host. Attachments count too that are about to begin: the device of a
    guest that just starts is not open yet.
    """
    if not volume.get("multiattach", False):
        return False
    return sum(_is_there(each, connector) for each in volume["volume_attachment"]) > 1


def clients_of(client: api.Client, target: attachments.Target) -> list[int]:
    """Return the clients that have it attached (`AttachmentsList`)."""
    return attachments.clients_of(client, target)


def release(client: api.Client, target: attachments.Target, clients: Sequence[int]) -> None:
    """Detach from these clients where the device is closed.

    Each has a request of its own, as a request is all or nothing. Raises InUse for the others when
    all are done.
    """
    open_at: list[str] = []
    for client_id in clients:
        try:
            client.reassign(
                [attachments.detach_item(target, [client_id])],
                client.limits.attach_timeout_seconds,
                str(target),
            )
        except errors.InUse as error:
            open_at.extend(error.openers or (f"client {client_id}",))
        except (errors.Rejected, errors.Conflict):
            # The host may have let go by itself meanwhile, and whether StorPool takes that for an
            # error is not documented: the list as it is now decides.
            client.be_current()
            if client_id in clients_of(client, target):
                raise
    if open_at:
        raise errors.InUse(str(target), tuple(dict.fromkeys(open_at)))


def _host_of(connector: Mapping[str, Any]) -> str | None:
    host = connector.get("host")
    return host if isinstance(host, str) and host else None


def _is_there(attachment: Any, connector: Mapping[str, Any]) -> bool:
    if attachment["attach_status"] not in _NEEDS_THE_DEVICE:
        return False
    its = attachment["connector"] or {}
    reported = connector.get(CLIENT_ID)
    if reported is not None and its.get(CLIENT_ID) is not None:
        one, other = connector.get(CLUSTER_ID), its.get(CLUSTER_ID)
        is_one_cluster = one == other or None in (one, other)
        return is_one_cluster and names.client_id(reported) == names.client_id(its[CLIENT_ID])
    host = _host_of(connector)
    return host is not None and host in (attachment["attached_host"], its.get("host"))
