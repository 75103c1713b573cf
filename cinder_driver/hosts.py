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
_NEEDS_THE_DEVICE = ("attached", "attaching")  # cinder.objects.fields.VolumeAttachStatus


def client_id(connector: Mapping[str, Any], own_names: Collection[str]) -> int:
    """Return the client id of the host that `connector` describes; never guess.

    The host says it itself where it has our connector. Else the section of storpool.conf here that
    has the host's name says it. `own_names` are names of this machine that need not be its node
    name (Cinder's option `host`). Raises InvalidConnectorException.
    """
    reported = connector.get(CLIENT_ID)
    host = _host_of(connector)
    if reported is None:
        if not host:
            raise exception.InvalidConnectorException(missing=f"{CLIENT_ID} or host")
        try:
            root = config.root()
            reported = storpool_conf.client_id(host, root)
            if reported is None and host in own_names:
                reported = storpool_conf.client_id(platform.node(), root)
        except errors.ConfigError as error:
            raise exception.InvalidConnectorException(
                missing=f"{CLIENT_ID} ({words.sentence(error)})"
            ) from words.cause(error)
    found = names.client_id(reported)
    if found is None:
        of = names.shown(host or "")
        missing = (
            f"{CLIENT_ID}, and {storpool_conf.FILE} has no section of host {of} with SP_OURID from"
            f" 1 to {names.CLIENT_ID_MAX}"
        )
        raise exception.InvalidConnectorException(missing=missing)
    return found


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
        return names.client_id(reported) == names.client_id(its[CLIENT_ID])
    host = _host_of(connector)
    return host is not None and host in (attachment["attached_host"], its.get("host"))
