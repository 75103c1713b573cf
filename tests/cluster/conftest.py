"""Fixtures of this room: a volume to attach."""

from attachment_ground import target

__all__ = ["target"]
