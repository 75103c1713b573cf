"""os-brick's `initiator/connector.py`, as far as Vdsm's own helper uses it, with the one connector
that a volume of type `local` gets; it lies in a host as os_brick/initiator/connector.py in the
folder of libraries of Vdsm's Python.

What that connector does is os-brick's LocalConnector: it attaches nothing, answers with the path
that it is given and fails without one, and its detach does nothing and succeeds (os-brick 5.2.4 and
6.13, initiator/connectors/local.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get_connector_properties(**_how: Any) -> dict[str, Any]:
    """Return what is known of this host."""
    return {
        "initiator": "iqn.1994-05.com.redhat:played",
        "ip": None,
        "platform": "x86_64",
        "host": "played",
        "do_local_attach": False,
        "os_type": "linux",
        "multipath": True,
    }


class InitiatorConnector:
    """Connectors of any kind."""

    @staticmethod
    def factory(protocol: str, _root_helper: Any, **_how: Any) -> LocalConnector:
        """Return the connector for a type of volumes."""
        if protocol.upper() != "LOCAL":
            raise ValueError(f"Invalid InitiatorConnector protocol specified {protocol}")
        return LocalConnector()


class LocalConnector:
    """The connector of what is on this host anyway."""

    def connect_volume(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the path that `data` has; raise ValueError without one."""
        if "device_path" not in data:
            raise ValueError("Invalid connection_properties specified no device_path attribute.")
        return {"type": "local", "path": data["device_path"]}

    def disconnect_volume(self, data: Mapping[str, Any], taken: Any, **_how: Any) -> None:
        """Do nothing."""
