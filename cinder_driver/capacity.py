"""What the scheduler and oVirt get to know about space: a pool for each template.

At top level is the space of the pool of new volumes. `VolumeTemplatesStatus.stored` counts client
data, so replication is accounted already. Templates may share disks: their numbers overlap and are
never added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cinder_driver import options, specs
from storpool_ovirt import sizes
from storpool_ovirt.cluster import api

# The upstream driver's names of pools: volumes that it made keep their `host`.
POOL_WITHOUT_TEMPLATE = "default"
POOL_PREFIX = "template_"


def pool_of(template: str | None) -> str:
    """Return the pool that volumes of this template are in."""
    return POOL_WITHOUT_TEMPLATE if template is None else POOL_PREFIX + template


def template_of(pool: str) -> str | None:
    """Return the template of a pool, None for the pool of volumes without a template."""
    return pool[len(POOL_PREFIX) :] if pool.startswith(POOL_PREFIX) else None


def stats(
    settings: options.Settings, templates: Sequence[api.Template], common: dict[str, Any]
) -> dict[str, Any]:
    """Return Cinder's statistics of a backend; `common` is what is the same for all its pools.

    The pool of new volumes comes first, as cinderlib takes the first. At top level is the space of
    that pool, for callers that do not look into pools (oVirt's Engine).
    """
    by_name = {each.name: each for each in templates}
    largest = max(templates, key=lambda each: each.capacity_bytes, default=None)
    own = by_name.get(settings.template) if settings.template else largest
    pools = []
    if settings.template is None:
        pools.append({**common, **_space(own), "pool_name": POOL_WITHOUT_TEMPLATE})
    for each in sorted(templates, key=lambda each: (each.name != settings.template, each.name)):
        names = {"pool_name": pool_of(each.name), specs.TEMPLATE: each.name}
        pools.append({**common, **_space(each), **names})
    return {**_space(own), "pools": pools}


def _space(template: api.Template | None) -> dict[str, Any]:
    if template is None:
        # A cluster without templates does not report its free space in terms of volumes.
        return {"total_capacity_gb": "unknown", "free_capacity_gb": "unknown"}
    return {
        "total_capacity_gb": template.capacity_bytes / sizes.GIB,
        "free_capacity_gb": template.free_bytes / sizes.GIB,
        "provisioned_capacity_gb": template.provisioned_bytes / sizes.GIB,
    }
