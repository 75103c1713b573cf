"""Vdsm's own helper of managed volumes, over os-brick; it lies in a host as
/usr/libexec/vdsm/managedvolume-helper.

    managedvolume-helper connector_info | attach | detach

It imports os_brick before it looks at anything, asks it about the host for each verb, and has the
connector that is named for the type of the volume do the work, with nothing of the connection
information but its `data` (oVirt/vdsm v4.50.7 and fd4b0df2,
lib/vdsm/storage/managedvolume-helper). Releases send the bare connection information for an attach;
where master's helper is played, WRAPPED is True in the copy.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from os_brick.initiator import connector

WRAPPED = False
SCAN_ATTEMPTS = 3


def main(verb: str) -> None:
    """Carry out a verb; whatever fails ends the process with a trace."""
    host = connector.get_connector_properties(
        root_helper=None, my_ip=None, multipath=True, enforce_multipath=True
    )
    if verb == "connector_info":
        answer: Any = host
    else:
        request = json.loads(sys.stdin.read())
        info = request["connection_info"] if WRAPPED or verb == "detach" else request
        volume = _connector(info["driver_volume_type"])(
            None,
            use_multipath=host["multipath"],
            device_scan_attempts=info.get("scan_attempts", SCAN_ATTEMPTS),
            conn=host,
        )
        if verb == "attach":
            answer = volume.connect_volume(info["data"])
        else:
            taken = request["attachment"]
            volume.disconnect_volume(info["data"], taken, force=False, ignore_errors=False)
            answer = {}
    sys.stdout.write(json.dumps(answer) + "\n")


def _connector(protocol: str) -> Any:
    if protocol == "rbd":
        from vdsm.storage import nos_brick

        return nos_brick.RBDConnector
    return lambda *args, **kw: connector.InitiatorConnector.factory(protocol, *args, **kw)


if __name__ == "__main__":
    main(sys.argv[1])
