"""Machines to be looked at: Engine's, and a host."""

from engine_ground import engine_layer, engine_tables, engines, mapping_database, served, simulator
from host_ground import cluster, host, host_layer

__all__ = ["cluster", "engine_layer", "engine_tables", "engines", "host", "host_layer"]
__all__ += ["mapping_database", "served", "simulator"]
