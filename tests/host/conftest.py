"""Fixtures of this room: a host that lost its power."""

from boot_fixtures import fresh, left, vm_disk

__all__ = ["fresh", "left", "vm_disk"]
