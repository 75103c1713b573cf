"""Fixtures of this room: virtual machines."""

from vm_fixtures import machines, vm_parts

__all__ = ["machines", "vm_parts"]
