"""A disk's life with cinderlib: create, attach, write, snapshot, clone, detach, delete.

As root, as cinderlib attaches to this machine, with a set of requirements/cinder-*.txt installed:

    storpool-simulator --token 4711 --state /tmp/cluster --template nvme --host 1=/tmp/host1 \
        --devices loop &
    STORPOOL_OVIRT_ROOT=/tmp/host1 python3 docs/cinderlib_script.py

On a StorPool client the same, without the simulator and without STORPOOL_OVIRT_ROOT: address and
token come from /etc/storpool.conf. The template is an argument, nvme if it is left out.
"""

import sys
from pathlib import Path

from cinder_driver import releases

fault = releases.cinderlib_fault()
if fault:
    sys.exit(fault)

import cinderlib  # noqa: E402  it dies of what has just been asked for

TEMPLATE = sys.argv[1] if len(sys.argv) > 1 else "nvme"
TEXT = b"written through cinderlib".ljust(4096, b".")


def read(path: str) -> bytes:
    """Return the beginning of a device."""
    with Path(path).open("rb") as device:
        return device.read(len(TEXT))


# `env` runs what needs root as it is: we are root.
cinderlib.setup(root_helper="env", disable_logs=True)
backend = cinderlib.Backend(
    volume_backend_name="storpool",
    volume_driver="cinder_driver.driver.StorPoolDriver",
    storpool_template=TEMPLATE,
)
stats = backend.stats()
print(
    f"{stats['free_capacity_gb']:.0f} of {stats['total_capacity_gb']:.0f} GiB are free in"
    f" {TEMPLATE}"
)

volume = backend.create_volume(size=1)
path = volume.attach().path
with Path(path).open("r+b") as device:
    device.write(TEXT)
print(f"{volume.id} is attached as {path}, and written to")

snapshot = volume.create_snapshot()
volume.extend(2)
copy, clone = snapshot.create_volume(), volume.clone(size=2)
for each in (copy, clone):
    assert read(each.attach().path) == TEXT
    each.detach()
print(f"{copy.id} from its snapshot and {clone.id}, its clone, have the same data")

volume.detach()
snapshot.delete()
for each in (clone, copy, volume):
    each.delete()
print("all of it is deleted")
