"""StorPool volumes as oVirt managed block storage."""
