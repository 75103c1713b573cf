"""Fixtures of this room: virtual machines."""

from vm_domains import agent_parts, daemon_of, domains
from vm_fixtures import machines, vm_parts

__all__ = ["agent_parts", "daemon_of", "domains", "machines", "vm_parts"]
