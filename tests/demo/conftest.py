"""Fixtures of this room: an Engine with a program of the test's own, and a log of calls."""

from demo_callers import log, make_engine

__all__ = ["log", "make_engine"]
