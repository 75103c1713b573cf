"""What a new or updated object gets: placement, limits, tags, and whether there is room for it.

The first of these decides [pve] [addon] [sp-os]: the field itself, the named template, the template
of the parent or of the source, the cluster's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storpool_simulator import errors
from storpool_simulator.model import fields, objects
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry, Template
from storpool_simulator.model.requests import Policy

_INHERITED = (
    *("replication", "place_all", "place_tail", "place_head", "reuse_server"),
    *("bw", "iops", "limit_type"),
)
_NO_TEMPLATE = Template(0, "", objects.DEFAULT_CAPACITY)


def explicit(cluster: Cluster, policy: Policy) -> dict[str, Any]:
    """Return the given fields, checked.

    A limit of 0 is none when the switch `zero_limit` says so. Raises NoSuchObjectError,
    ImpossibleNameError for a placement group that does not exist.
    """
    given = policy.given()
    for key in ("place_all", "place_tail", "place_head"):
        if key in given and cluster.catalog.groups.get(str(given[key])) is None:
            group = str(given[key])
            possible = fields.GROUP_NAME.fits(group)
            raise fields.unknown("Placement group", group, possible=possible)
    for key in ("bw", "iops"):
        if given.get(key) == 0 and cluster.switches["zero_limit"] == "unlimited":
            given[key] = objects.UNLIMITED
    return given


def inherited(source: Entry | Template) -> dict[str, Any]:
    """Return the fields that a new object takes over."""
    values: dict[str, Any] = {key: getattr(source, key) for key in _INHERITED}
    values["template_id"] = source.number if isinstance(source, Template) else source.template_id
    return values


def limits(source: Entry) -> dict[str, Any]:
    """Return how fast an object may be."""
    return {"bw": source.bw, "iops": source.iops, "limit_type": source.limit_type}


def resolve(
    cluster: Cluster, policy: Policy, template: Template | None, source: Entry | None
) -> dict[str, Any]:
    """Return all policy fields of a new volume.

    Raises InvalidParamError when nothing says where it is to be, and the switch `default_placement`
    is false.
    """
    given = explicit(cluster, policy)
    is_placed = template is not None or source is not None or bool(given)
    if not is_placed and not cluster.switches.on("default_placement"):
        raise errors.InvalidParamError("VolumeCreate: no template, placement, parent or baseOn.")
    return {**inherited(template or source or _NO_TEMPLATE), **given}


def of_template(cluster: Cluster, template_id: int) -> Template:
    """Return the template of an object; one without a name when it has none."""
    return cluster.catalog.templates.get(template_id) or _NO_TEMPLATE


def same_template(cluster: Cluster, template: Template) -> Template:
    """Return the template that has the same name here as one of another cluster, or none."""
    name = template.name
    return cluster.catalog.template(name) if cluster.catalog.has_template(name) else _NO_TEMPLATE


def check_space(cluster: Cluster, template_id: int, more_bytes: int) -> None:
    """Raise NoSpaceError when a create or a growth exceeds what the template has free [csi].

    Where the switch `space_limit` says so: a size is "not limited to physical disk or disk pool
    size" [kb].
    """
    if cluster.switches["space_limit"] == "none":
        return
    capacity_bytes = of_template(cluster, template_id).capacity_bytes
    used_bytes = counted_bytes(cluster, template_id)
    if more_bytes > capacity_bytes - used_bytes:
        free_bytes = max(0, capacity_bytes - used_bytes)
        raise errors.NoSpaceError(
            f"Not enough space: {more_bytes} bytes needed, {free_bytes} bytes free."
        )


def counted_bytes(cluster: Cluster, template_id: int) -> int:
    """Return what counts against a template's capacity: data, or whole sizes."""
    tally = cluster.catalog.tally(template_id)
    is_thin = cluster.switches["space_limit"] != "provisioned"
    return tally.stored_bytes if is_thin else tally.provisioned_bytes


def updated_tags(
    cluster: Cluster, old: Mapping[str, str], given: Mapping[str, str] | None
) -> Mapping[str, str]:
    """Return the tags after an update.

    They are merged by key, and an empty value removes its key [cs-up] [sp-os] [pve].
    """
    if given is None:
        return old
    merged = {**old, **given} if cluster.switches["tag_update"] == "merge" else dict(given)
    if cluster.switches["tag_empty"] == "remove":
        return {key: value for key, value in merged.items() if value or key not in given}
    return merged


def check_combined(cluster: Cluster, name: str | None, tags: Mapping[str, str]) -> None:
    """Raise InvalidParamError when name and tags are too long together [kb].

    Whether the name `~old` counts, which nobody gave, is told by no source.
    """
    is_kept_id = name is not None and name.startswith("~")
    if is_kept_id and not cluster.switches.on("kept_id_counts"):
        name = None
    if cluster.switches.on("name_tags_limit"):
        fields.check_combined(name, tags)
