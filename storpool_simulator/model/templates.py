"""Volume templates: named defaults, each with a capacity of its own."""

from __future__ import annotations

from dataclasses import replace

from storpool_simulator import errors
from storpool_simulator.model import objects, policy, requests
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Entry, Template


def create(cluster: Cluster, request: requests.TemplateDesc) -> Template:
    """Carry out VolumeTemplateCreate; return the template."""
    with cluster.change():
        name = request.name or ""
        _check_free(cluster, name)
        blank = Template(cluster.catalog.next_number(), name, objects.DEFAULT_CAPACITY)
        return cluster.catalog.templates.put(_with(cluster, blank, request))


def update(cluster: Cluster, name: str, request: requests.TemplateDesc) -> None:
    """Carry out VolumeTemplateUpdate.

    `propagate` reaches the volumes and snapshots that the template already has [sptypes].
    """
    with cluster.change():
        old = cluster.catalog.template(name)
        if request.name is not None and request.name != name:
            _check_free(cluster, request.name)
        new = cluster.catalog.templates.put(
            _with(cluster, replace(old, name=request.name or name), request)
        )
        if request.propagate:
            values = policy.inherited(new)
            for entry in _entries_of(cluster, old):
                cluster.catalog.entries.put(replace(entry, **values))


def delete(cluster: Cluster, name: str) -> None:
    """Carry out VolumeTemplateDelete.

    What happens to one that volumes or snapshots have is told nowhere: the switch `template_in_use`
    says whether they stay, without a template.
    """
    with cluster.change():
        template = cluster.catalog.template(name)
        tally = cluster.catalog.tally(template.number)
        if tally.volumes or tally.snapshots:
            rule = cluster.switches["template_in_use"]
            if rule != "keep":
                raise errors.BusyError(f"Template '{name}' is in use.", name=rule)
            for entry in _entries_of(cluster, template):
                cluster.catalog.entries.put(replace(entry, template_id=0))
        cluster.catalog.templates.drop(template.number)


def _entries_of(cluster: Cluster, template: Template) -> list[Entry]:
    return [entry for entry in cluster.catalog.entries if entry.template_id == template.number]


def _with(cluster: Cluster, template: Template, request: requests.TemplateDesc) -> Template:
    template = replace(template, **policy.explicit(cluster, request.policy))
    if request.parent is not None:
        parent = cluster.catalog.usable_snapshot(request.parent) if request.parent else None
        template = replace(template, parent_id=None if parent is None else parent.global_id)
    if request.size_bytes is not None:
        template = replace(template, size_bytes=request.size_bytes)
    if request.tags is not None:
        tags = policy.updated_tags(cluster, template.tags or {}, request.tags)
        template = replace(template, tags=tags)
    return template


def _check_free(cluster: Cluster, name: str) -> None:
    if cluster.catalog.has_template(name):
        raise errors.ObjectExistsError(f"Template '{name}' already exists.")
