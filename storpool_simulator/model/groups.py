"""Placement groups: named sets of disks, for templates and volumes to be placed in.

They are kept and shown; where data is said to be does not depend on them. The group `default` is
there from the start, with all disks.
"""

from __future__ import annotations

from dataclasses import replace

from storpool_simulator import errors
from storpool_simulator.model import disks, fields, objects
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry, PlacementGroup, Template
from storpool_simulator.model.requests import GroupUpdate

_PLACES = ("place_all", "place_tail", "place_head")


def begin(cluster: Cluster) -> None:
    """Have the group that is always there; inside the change of a start."""
    if cluster.catalog.groups.get(objects.DEFAULT_GROUP) is None:
        cluster.catalog.groups.put(PlacementGroup(objects.DEFAULT_GROUP, 1, disks.DISK_IDS))


def group(cluster: Cluster, name: str) -> PlacementGroup:
    """Return a group by its name, or raise NoSuchObjectError, ImpossibleNameError."""
    found = cluster.catalog.groups.get(name)
    if found is None:
        raise fields.unknown("Placement group", name, possible=fields.GROUP_NAME.fits(name))
    return found


def update(cluster: Cluster, name: str, request: GroupUpdate) -> None:
    """Carry out PlacementGroupUpdate: a group that is not there is made [spapi].

    Raises NoSuchObjectError for a disk that is not there, ObjectExistsError for a taken new name.
    """
    with cluster.change():
        for disk_id in (*request.add_disks, *request.remove_disks):
            disks.said(cluster, disk_id)
        old = cluster.catalog.groups.get(name) or _new(cluster, name)
        members = {*old.disks, *request.add_disks} - {*request.remove_disks}
        new = replace(old, disks=tuple(sorted(members)))
        if request.rename not in (None, name):
            new = _renamed(cluster, new, str(request.rename))
        cluster.catalog.groups.put(new)


def delete(cluster: Cluster, name: str) -> None:
    """Carry out PlacementGroupDelete; a group that something is placed in is busy [inf]."""
    with cluster.change():
        group(cluster, name)
        users = [one.name for one in cluster.catalog.templates if _is_in(one, name)]
        users += [one.listed_name for one in cluster.catalog.entries if _is_in(one, name)]
        if name == objects.DEFAULT_GROUP or users:
            user = users[0] if users else "what names no group"
            raise errors.BusyError(f"Placement group '{name}' is used by {user}.")
        cluster.catalog.groups.drop(name)


def _new(cluster: Cluster, name: str) -> PlacementGroup:
    if not fields.GROUP_NAME.fits(name):
        raise errors.InvalidParamError(f"'{name}' can not be the name of a placement group.")
    return PlacementGroup(name, max(one.number for one in cluster.catalog.groups) + 1, ())


def _renamed(cluster: Cluster, old: PlacementGroup, name: str) -> PlacementGroup:
    if cluster.catalog.groups.get(name) is not None:
        raise errors.ObjectExistsError(f"Placement group '{name}' already exists.")
    if old.name == objects.DEFAULT_GROUP:
        raise errors.BusyError(f"Placement group '{old.name}' is used by what names no group.")
    if cluster.catalog.groups.get(old.name) is not None:
        cluster.catalog.groups.drop(old.name)
    for template in [*cluster.catalog.templates]:
        if _is_in(template, old.name):
            cluster.catalog.templates.put(replace(template, **_moved(template, old.name, name)))
    for entry in [*cluster.catalog.entries]:
        if _is_in(entry, old.name):
            cluster.catalog.entries.put(replace(entry, **_moved(entry, old.name, name)))
    return replace(old, name=name)


def _is_in(placed: Entry | Template, name: str) -> bool:
    return name in (placed.place_all, placed.place_tail, placed.place_head)


def _moved(placed: Entry | Template, old: str, new: str) -> dict[str, str]:
    return {place: new for place in _PLACES if getattr(placed, place) == old}
