"""Whether an address of StorPool's API takes a connection."""

from __future__ import annotations

import socket
from typing import Any


def refusal(place: tuple[int, Any], seconds: float) -> str:
    """Return why an address, as `wire.resolved` has it, takes no connection, or nothing."""
    family, address = place
    try:
        with socket.socket(family, socket.SOCK_STREAM) as there:
            there.settimeout(seconds)
            there.connect(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""
