"""What of the package `vdsm` tells which types of volumes it takes; it lies in a host as
vdsm/storage/managedvolume.py in the folder of libraries of Vdsm's Python.

The values are written in when it is copied there (oVirt/vdsm v4.50.5.1, v4.50.7 and fd4b0df2,
lib/vdsm/storage/managedvolume.py). It imports what is on a real host alone, so it can be read but
not imported elsewhere.
"""

from vdsm.storage import lvm  # noqa: F401

SUPPORTED_DRIVERS = ("rbd", "iscsi")
