"""Vdsm's run links on this host: one for each managed volume that it has attached, to its device.

They do not outlive a reboot: a link that leads to a device says that Vdsm attached the volume since
this host was started. Where they are and what they look like is Vdsm's (oVirt's vdsm,
managedvolume.py). Who looks at a folder of Vdsm's, or removes something in it, does so here.
"""

from __future__ import annotations

import os

from storpool_ovirt import names, presence, rights
from storpool_ovirt.light import TYPE_CHECKING, contextmanager, suppress

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_live(root: str, vol_id: str) -> bool:
    """Return whether a run link of this volume leads to a device: attached since the host was
    started, and still so.

    Raises Unseen where links or devices cannot be looked at, as `linked` and `remove_dangling` do.
    """
    with folder_of(root + names.RUN_FOLDER) as folder:
        targets = [_target(folder, name) for name in names_in(folder, vol_id)]
    return any(target and _leads(root, target) for target in targets)


def live(root: str) -> set[str]:
    """Return the ids of all volumes that `is_live`; the folder is listed once."""
    with folder_of(root + names.RUN_FOLDER) as folder:
        targets = {name: _target(folder, name) for name in _listed(folder)}
    return {
        name.partition("_")[2]
        for name, target in targets.items()
        if target and _leads(root, target)
    }


def linked(root: str) -> set[str]:
    """Return the global ids of the devices to which run links lead."""
    with folder_of(root + names.RUN_FOLDER) as folder:
        targets = [_target(folder, name) for name in _listed(folder)]
    found = (
        names.global_id_of(target, root) for target in targets if target and _leads(root, target)
    )
    return {global_id for global_id in found if global_id}


def dangling(root: str) -> dict[str, str]:
    """Return the run links to devices of StorPool's that are not there: the global id by the
    volume's id.

    It costs a list of each folder, and nothing more where there is no link. Raises Unseen.
    """
    with folder_of(root + names.RUN_FOLDER) as folder:
        targets = {name: _target(folder, name) for name in _listed(folder)}
    named = {name: names.global_id_of(target, root) for name, target in targets.items() if target}
    if not any(named.values()):
        return {}
    there = {*presence.listed(root + names.DEVICE_FOLDER)}
    volumes = {name.partition("_")[2]: global_id for name, global_id in named.items()}
    return {
        volume: global_id
        for volume, global_id in volumes.items()
        if names.UUID.fits(volume) and global_id and global_id not in there
    }


def remove_dangling(root: str, vol_id: str, global_id: str) -> list[str]:
    """Remove the run links of this volume that point to its device while that is not there; return
    their names.

    Vdsm leaves one when a device is taken away from a host that stays up, and fails over it when it
    attaches the volume again (its os.symlink). One that cannot be removed is left to Vdsm to
    complain of.
    """
    removed = []
    with folder_of(root + names.RUN_FOLDER) as folder:
        for name in names_in(folder, vol_id):
            target = _target(folder, name)
            if (
                target
                and names.global_id_of(target, root) == global_id
                and not _leads(root, target)
            ):
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                    removed.append(name)
    return removed


@contextmanager
def folder_of(path: str) -> Iterator[int | None]:
    """Open a folder, None when there is none: what is removed by it is in exactly this folder,
    whoever moves names.

    A folder that cannot be opened, and a link in its place, are no missing folder: Unseen. What is
    done in it is done with the rights of whoever could replace it.
    """
    is_open = False
    try:
        with rights.taken(rights.of(path)):
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            is_open = True
            try:
                yield folder
            finally:
                os.close(folder)
    except OSError as error:
        if is_open:  # what is done in it has failed
            raise
        if not isinstance(error, FileNotFoundError):
            raise presence.unseen(path, error) from error
    if not is_open:
        yield None


def names_in(folder: int | None, vol_id: str, prefix: str = "", suffix: str = "") -> list[str]:
    """Return the names `<prefix><storage domain>_<volume><suffix>` of this volume."""
    found = []
    for name in _listed(folder):
        middle = name[len(prefix) : len(name) - len(suffix)]
        if name == f"{prefix}{middle}{suffix}" and middle.partition("_")[2] == vol_id:
            found.append(name)
    return found


def _listed(folder: int | None) -> list[str]:
    return [] if folder is None else presence.listed(folder)


def _target(folder: int | None, name: str) -> str | None:
    """Return where a link in an open folder points to; None for anything else."""
    return None if folder is None else presence.target(name, folder)


def _leads(root: str, target: str) -> bool:
    global_id = names.global_id_of(target, root)
    path = (
        root + names.device_path(global_id)
        if global_id
        else os.path.join(root + names.RUN_FOLDER, target)
    )
    return presence.there(path)
