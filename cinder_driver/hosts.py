"""Which client of StorPool a host is, and what it lets go of."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cinder import exception

from storpool_ovirt import api, attachments, config, errors, storpool_conf, text

# What our os-brick connector reports of its host (its own SP_OURID).
CLIENT_ID = "storpool_client_id"


def client_id(connector: Mapping[str, Any], own_names: Collection[str]) -> int:
    """Return the client id of the host that `connector` describes; raise InvalidConnectorException, never guess.

    The host says it itself where it has our connector; else the section of storpool.conf here that has the host's name
    does.  `own_names` are names of this machine that need not be its node name (Cinder's option `host`).
    """
    reported = connector.get(CLIENT_ID)
    host = connector.get("host")
    if reported is None:
        if not host:
            raise exception.InvalidConnectorException(missing=f"{CLIENT_ID} or host")
        try:
            root = config.root()
            reported = storpool_conf.client_id(host, root)
            if reported is None and host in own_names:
                reported = storpool_conf.client_id(platform.node(), root)
        except errors.ConfigError as error:
            raise exception.InvalidConnectorException(missing=f"{CLIENT_ID} ({error})") from error
    number = text.number(str(reported), 1, config.CLIENT_ID_MAX)
    if number is None:
        missing = f"{CLIENT_ID}, and {storpool_conf.FILE} has no section [{host}] with SP_OURID from 1 to 4095"
        raise exception.InvalidConnectorException(missing=missing)
    return number


def holding(client: api.Client, target: attachments.Target) -> list[int]:
    """Return the clients that have it attached (`AttachmentsList`)."""
    return attachments.holders(client, target)


def release(client: api.Client, target: attachments.Target, clients: Sequence[int]) -> None:
    """Detach from these clients where the device is closed; raise InUse for the others when all are done.

    One request for each, as a request is all or nothing.
    """
    open_at: list[str] = []
    for client_id in clients:
        try:
            client.reassign([attachments.let_go(target, [client_id])], attachments.ATTACH_TIMEOUT_SECONDS, str(target))
        except errors.InUse as error:
            open_at.extend(error.holders or (f"client {client_id}",))
    if open_at:
        raise errors.InUse(str(target), tuple(open_at))
