"""Machines to be looked at: Engine's."""

from engine_ground import engines

__all__ = ["engines"]
