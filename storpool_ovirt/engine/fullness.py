"""Whether StorPool has hardly any room left for the disks of a storage domain: a cluster that is
full stops the VMs that write to it."""

from __future__ import annotations

from storpool_ovirt import errors, sizes
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.engine import tree

# Ours: so much of a template's capacity may be used before anybody is told. StorPool needs room to
# recover a disk that died, and a purge of the trash frees its space in the background.
FULL_PERCENT = 90.0


def used_percent(template: api.Template) -> float:
    """Return how much of a template's capacity is used; 0 where it has none."""
    if template.capacity_bytes <= 0:
        return 0.0
    used = template.capacity_bytes - template.free_bytes
    return max(0.0, min(100.0, 100.0 * used / template.capacity_bytes))


def is_nearly_full(template: api.Template) -> bool:
    """Return whether hardly any room is left."""
    return used_percent(template) > FULL_PERCENT


def said(template: api.Template) -> str:
    """Return how full a template is, for people."""
    free, all_of = (
        f"{each / sizes.GIB:.1f}" for each in (template.free_bytes, template.capacity_bytes)
    )
    return f"{used_percent(template):.0f} % of it are used: {free} of {all_of} GiB are free"


def silent_look(work: tree.Work) -> api.Template | None:
    """Return the template of the domain where it is nearly full, None where it is not, or does not
    tell: nothing rests on it, so a failure is only logged."""
    try:
        template = volumes.capacity(work.client, work.domain.template)
    except errors.Error as error:
        work.log.line("capacity_not_read", reason=error)
        return None
    return template if template is not None and is_nearly_full(template) else None
