"""Whether a guest is to be shown that its disk has grown: decided over what was seen, nothing else.

It can only grow, and only to the very size of the device. What is not known is left alone.
"""

from __future__ import annotations

import enum

SECTOR_BYTES = 512


class Growth(enum.Enum):
    """What is to be done with one disk."""

    NONE = "none"
    GROW = "grow"
    LATER = "later"
    SHRUNK = "shrunk"


def decided(device_bytes: int, shown_bytes: int, *, moving: bool) -> Growth:
    """Return what is to be done with a disk whose device has so many bytes, and whose guest is
    shown so many.

    A VM that moves to another host is left for later: QEMU there opens the device with its size of
    that moment, and is looked at then. A device that shrank is told, and nothing is done: a guest
    that lost the end of its disk must not lose it once more.
    """
    if device_bytes <= 0 or shown_bytes <= 0 or device_bytes % SECTOR_BYTES:
        return Growth.NONE
    if device_bytes == shown_bytes:
        return Growth.NONE
    if device_bytes < shown_bytes:
        return Growth.SHRUNK
    return Growth.LATER if moving else Growth.GROW
