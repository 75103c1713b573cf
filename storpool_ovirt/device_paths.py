"""Which StorPool object a path on this host leads to, whatever links are between.

A VM's disk is named by Vdsm's run link, by StorPool's own links or by the device itself; on an older cluster level it
is the path that the helper returned (oVirt's LibvirtVmXmlBuilder, vdsm's managedvolume.py).
"""

from __future__ import annotations

import errno
import os
import re
import stat

from storpool_ovirt import errors, names

NAMES_FOLDER = "/dev/storpool"
LINKS_MAX = 16
# What StorPool's client calls its devices (StorPool's knowledge base; README of oVirt's vendors excludes the same names
# from multipath).
_KERNEL_NAME = re.compile(r"/dev/sp-[0-9]+\Z")


def global_id(path: str, root: str = "") -> str | None:
    """Return the global id of the StorPool object that a VM gets under this path; None when it is none of StorPool's.

    A link whose device is not there (yet) names it too.  Raises NotFound where a path should lead to a device of
    StorPool's or of oVirt's managed volumes but nobody can tell to which, Conflict where it leads to two,
    InputError where it cannot be looked at.
    """
    path = _plain(path)
    here, is_storpools = root + path, False
    for _ in range(LINKS_MAX):
        name = here[len(root) :] if here.startswith(f"{root}/") else here
        found = names.global_id_of(name)
        if found is not None:
            return found
        is_storpools = is_storpools or name.startswith(f"{NAMES_FOLDER}/") or _KERNEL_NAME.match(name) is not None
        if not (is_storpools or may_be_ours(name)):
            return None  # a link led out of the folders of devices: what is there is not even looked at
        try:
            target = os.readlink(here)  # noqa: PTH115  pathlib is an import that the hot path can spare
        except OSError:
            break
        here = os.path.normpath(os.path.join(os.path.dirname(here), target))  # noqa: PTH118, PTH120
    same = _same_device(here, root)
    if len(same) > 1:
        raise errors.Conflict(
            f"the device {path}", f"has the ids of two volumes, {' and '.join(same)}", "one of these links is wrong"
        )
    if not same and (is_storpools or _is_run_link_missing(path, root)):
        raise errors.NotFound("device", path, "on this host that is known by its id: Engine attaches the disk first")
    return same[0] if same else None


def volume_of_run_link(path: str) -> str | None:
    """Return the id of oVirt's volume in the path of a run link (`<domain>_<volume>`), None for any other path."""
    folder, _, name = _plain(path).rpartition("/")
    uuid = name.rpartition("_")[2]
    return uuid if folder == names.RUN_FOLDER and names.UUID.match(uuid) else None


def may_be_ours(path: str) -> bool:
    """Tell whether a path is worth a look: others may be on a server that does not answer."""
    return _plain(path).startswith(("/dev/", f"{names.RUN_FOLDER}/"))


def _plain(path: str) -> str:
    path = os.path.normpath(path)
    path = path[1:] if path.startswith("//") else path  # which POSIX, and so normpath, leaves alone
    return path[len("/var") :] if path.startswith("/var/run/") else path


def _is_run_link_missing(path: str, root: str) -> bool:
    return path.startswith(f"{names.RUN_FOLDER}/") and not os.path.lexists(root + path)


def _same_device(path: str, root: str) -> list[str]:
    """Return the global ids whose node is the very device (or, in the simulator, the very file) of `path`."""
    try:
        wanted = _identity(path)
        nodes = os.listdir(root + names.DEVICE_FOLDER)  # noqa: PTH208
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise errors.InputError(f"the device {path}", f"cannot be looked at ({error.strerror})") from error
    found = []
    for name in sorted(nodes):
        try:
            if names.GLOBAL_ID.match(name) and _identity(f"{root}{names.DEVICE_FOLDER}/{name}") == wanted:
                found.append(name)
        except FileNotFoundError:
            continue  # it went away while we looked
    return found


def _identity(path: str) -> tuple[int, ...]:
    status = os.stat(path)  # noqa: PTH116
    return (status.st_rdev,) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)
