"""Machines to be looked at: Engine's, and a host."""

from engine_ground import engines, served, simulator
from host_ground import cluster, host, host_layer

__all__ = ["cluster", "engines", "host", "host_layer", "served", "simulator"]
