"""Fixtures of this room."""

from attachments_ground import named_hosts

__all__ = ["named_hosts"]
