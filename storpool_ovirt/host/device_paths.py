"""Which StorPool object a path on this host leads to, whatever links are between.

A VM's disk is named by Vdsm's run link, by StorPool's own links or by the device itself; on an
older cluster level it is the path that the helper returned (oVirt's LibvirtVmXmlBuilder, vdsm's
managedvolume.py).
"""

from __future__ import annotations

import errno
import os
import stat

from storpool_ovirt import errors, names, presence

NAMES_FOLDER = "/dev/storpool"
LINKS_MAX = 16
# What StorPool's client calls its devices (StorPool's knowledge base; README of oVirt's vendors
# excludes the same names from multipath).
_KERNEL_NAME = "/dev/sp-"  # and a number


def global_ids(path: str, root: str = "") -> list[str]:
    """Return the global ids of the StorPool object that a VM gets under this path; none when it is
    not StorPool's.

    A device has several after a revert: the id that its volume has, and the one that it had. Only
    StorPool knows whether they are one volume's. A link whose device is not there (yet) names it
    too. Raises NotFound where a path should lead to a device of StorPool's or of oVirt's managed
    volumes but nobody can tell to which, Unseen where it cannot be looked at.
    """
    path = _plain(path)
    here, is_storpools = root + path, False
    for _ in range(LINKS_MAX):
        name = here[len(root) :] if here.startswith(f"{root}/") else here
        found = names.global_id_of(name)
        if found is not None:
            return [found]
        is_storpools = is_storpools or name.startswith(f"{NAMES_FOLDER}/") or _is_kernels(name)
        if not (is_storpools or may_be_ours(name)):
            # A link led out of the folders of devices: what is there is not even looked at
            return []
        target = presence.target(here)
        if target is None:
            break
        here = os.path.normpath(os.path.join(os.path.dirname(here), target))
    is_managed = path.startswith(f"{names.RUN_FOLDER}/")
    device = _identity(here, in_circles_is_absent=not (is_storpools or is_managed))
    same = _same_device(device, root, is_storpools) if device else []
    if not same and (is_storpools or (is_managed and not presence.named(root + path))):
        raise errors.NotFound(
            "device", path, "on this host that is known by its id: Engine attaches the disk first"
        )
    return same


def volume_of_run_link(path: str) -> str | None:
    """Return the id of oVirt's volume in the path of a run link (`<domain>_<volume>`), None for any
    other path."""
    folder, _, name = _plain(path).rpartition("/")
    uuid = name.rpartition("_")[2]
    return uuid if folder == names.RUN_FOLDER and names.UUID.fits(uuid) else None


def may_be_ours(path: str) -> bool:
    """Return whether a path is worth a look: others may be on a server that does not answer."""
    return _plain(path).startswith(("/dev/", f"{names.RUN_FOLDER}/"))


def _is_kernels(name: str) -> bool:
    """Return whether a path is what the kernel calls a device of StorPool's."""
    number = name[len(_KERNEL_NAME) :]
    return name.startswith(_KERNEL_NAME) and number.isascii() and number.isdigit()


def _plain(path: str) -> str:
    path = os.path.normpath(path)
    path = path[1:] if path.startswith("//") else path  # which POSIX, and so normpath, leaves alone
    return path[len("/var") :] if path.startswith("/var/run/") else path


def _same_device(device: tuple[int, ...], root: str, is_storpools: bool) -> list[str]:
    """Return the global ids whose node is this very device (or, in the simulator, this very file).

    A link by id that leads nowhere, or in a circle, is no device's. One that cannot be looked at
    matters only to a device that is StorPool's by its name, and has no other link: a VM without one
    starts whatever lies there.
    """
    found, unseen = [], None
    for name in presence.listed(root + names.DEVICE_FOLDER):
        try:
            if (
                names.GLOBAL_ID.fits(name)
                and _identity(f"{root}{names.DEVICE_FOLDER}/{name}") == device
            ):
                found.append(name)
        except errors.Unseen as error:
            unseen = error
    if unseen is not None and is_storpools and not found:
        raise unseen
    return found


def _identity(path: str, in_circles_is_absent: bool = True) -> tuple[int, ...] | None:
    """Return what makes a device differ from all others, None where there is no device.

    Raises Unseen where it cannot be looked at.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP and in_circles_is_absent:
            return None
        raise presence.unseen(path, error) from error
    return (status.st_rdev,) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)
