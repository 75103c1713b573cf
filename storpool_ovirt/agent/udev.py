"""The kernel's word that a block device has another size: uevents, by netlink and without a
library.

The kernel tells `change` with RESIZE=1 of a device whose size its driver changed while it was open
(`set_capacity_and_notify`, since 5.11). Whether StorPool's driver does so is not documented; so it
only brings forward a look that would come anyhow.
"""

from __future__ import annotations

import errno
import socket

_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1
_MESSAGE_MAX = 8192  # the kernel's own are at most 2048 bytes (UEVENT_BUFFER_SIZE)
_MESSAGES_MAX = 1000


class Uevents:
    """The kernel's messages; `fileno` is readable when there are some."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def resized(self) -> bool:
        """Read all that has come; return whether a device has, or may have, another size."""
        found = False
        for _ in range(_MESSAGES_MAX):
            try:
                message = self._socket.recv(_MESSAGE_MAX)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost: nobody knows what they said
                    raise
                found = True
            else:
                found = found or is_resize(message)
        return found


def opened() -> Uevents | None:
    """Return the kernel's messages, None where this process cannot have them."""
    try:
        listening = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_KOBJECT_UEVENT
        )
    except OSError:
        return None
    try:
        listening.bind((0, _KERNEL_GROUP))
    except OSError:
        listening.close()
        return None
    return Uevents(listening)


def is_resize(message: bytes) -> bool:
    """Return whether a message says that a block device has another size."""
    fields = set(message.split(b"\0")[1:])
    return {b"ACTION=change", b"SUBSYSTEM=block", b"RESIZE=1"} <= fields
