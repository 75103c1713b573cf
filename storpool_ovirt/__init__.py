"""StorPool volumes as oVirt managed block storage."""

__version__ = "0.1.0"  # of all that is in this distribution; setup.py reads it from here
