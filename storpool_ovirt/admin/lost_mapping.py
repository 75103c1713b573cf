"""A mapping without a disk beside disks that no Engine claims: the sign of a database that was
lost.

Engine's first verb makes tables and a location anew. Mapping and cluster agree then, as neither has
anything of that location. The claims (`claims.py`) say which other locations live: an Engine that
is new beside a living one is well.
"""

from __future__ import annotations

from storpool_ovirt import errors, sentences
from storpool_ovirt.admin import rebuild, survey, twins
from storpool_ovirt.admin.findings import LOST, WARNING, Finding
from storpool_ovirt.engine import claims, tree

LOCATIONS_SHOWN = 8  # and asked for


def findings(work: tree.Work, view: survey.View) -> list[Finding]:
    """Return the finding for what others left here, when we have nothing.

    Asks StorPool's key-value store, and raises what that raises.
    """
    if view.records or view.ours:
        return []
    there = [each for each in rebuild.locations(view) if each.name != view.location][
        :LOCATIONS_SHOWN
    ]
    left = [each for each in there if not _lives(work, view, each.name)]
    if not left:
        return []
    named = ", ".join(map(_named, left))
    return [
        Finding(
            kind=LOST,
            severity=WARNING,
            what=f"location {view.location}",
            uuid="",
            disk="",
            cause=(
                "it has no disk, and no Engine that works claims these locations of the cluster:"
                f" {named}"
            ),
            mend=(
                "if this Engine's database was lost: storpool-ovirt rebuild --dry-run --location"
                f" {left[0].name}; if it is a new Engine, this ends with its first disk"
            ),
        )
    ]


def _lives(work: tree.Work, view: survey.View, location: str) -> bool:
    """Return whether an Engine on another machine than ours says that it works with this
    location."""
    try:
        claim = claims.read(work.client, location)
    except errors.Rejected:  # a cluster without such a store
        return False
    engines = [] if claim is None else [claim.engine, *claim.others]
    machine = view.own.machine if view.own is not None else ""
    return any(
        view.now - each.at < twins.ALIVE_SECONDS and each.machine != machine for each in engines
    )


def _named(left: rebuild.Location) -> str:
    disks, objects = (
        sentences.counted(left.disks, "disk"),
        sentences.counted(left.objects, "object"),
    )
    return f"{left.name} ({disks}, {objects})"
