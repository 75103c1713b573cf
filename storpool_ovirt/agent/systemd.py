"""systemd is told how the service is (sd_notify(3)): by a datagram, without a library."""

from __future__ import annotations

import os
import socket


def notify(text: str) -> None:
    """Tell systemd how the service is (sd_notify(3)); nothing where it did not ask."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
            there.setblocking(False)
            there.sendto(text.encode(), address)
    except OSError:
        return  # systemd is started anew, or its queue is full: it is told again
