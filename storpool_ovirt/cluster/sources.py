"""What a volume was made of, where its name alone does not prove it, and what it stores."""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, identity
from storpool_ovirt.cluster.plans import Plan
from storpool_ovirt.cluster.words import Words


def check(client: api.Client, there: api.Volume, plan: Plan) -> None:
    """Raise Conflict unless it is proved that a volume with the name of `plan` was made of what
    `plan` says.

    Its tag proves it. Of one without, StorPool tells the chain of its parents: an empty volume has
    none but that of its template, a copy of a snapshot stands on that, and a clone on a transient
    snapshot of its source, for a while. What nothing proves is not taken: it might be an earlier
    create's, with other data.
    """
    if not plan.source_tag or there.kind != "volume":
        return
    told = there.tags.get(plan.source_tag)
    if told is None:
        is_right = _stands_on_source(client, there, plan)
    else:
        is_volume = plan.base_on is not None and plan.base_on == plan.source
        is_right = told == plan.source or (is_volume and is_one(client, told, str(plan.base_on)))
    if not is_right:
        wanted = f"a copy of ~{plan.source}" if plan.source else "empty"
        raise errors.Conflict(
            f"volume {there.name} (~{there.global_id})",
            (
                f"exists with the data of ~{told}"
                if told
                else f"exists, and nothing proves that it was made as {wanted}"
            ),
            "the same id cannot be used for another source: choose another id, or delete that"
            " volume first",
        )


def is_one(client: api.Client, told: str, source: str) -> bool:
    """Return whether something says by `told` that it was made of the volume with the global id
    `source`; it may say so by an id that the volume had before a revert."""
    if told == source:
        return True
    try:
        return identity.are_one(client, "volume", source, told)
    except errors.NotFound:
        return False


def stored(client: api.Client, there: api.Volume) -> list[int]:
    """Return the bytes that are stored for a volume, by itself and what it stands on, by each list
    that has it; StorPool looks at all of its volumes for that."""

    def held(each: api.Volume, _own: int, used: int) -> int | None:
        return used if each.global_id == there.global_id else None

    return [each for each in client.scanned("volume", held, Words()) if each is not None]


def _stands_on_source(client: api.Client, there: api.Volume, plan: Plan) -> bool:
    if not there.parent:
        return plan.source is None
    named = identity.by_address(client.snapshots())
    name = there.parent
    while name:
        parent = named.pop(name, None)
        if parent is None:
            return False  # nothing proves it
        if not parent.was_made_of(there):
            return _is_source(client, parent, plan)
        name = parent.parent  # a snapshot of its own, made since
    return plan.source is None


def _is_source(client: api.Client, parent: api.Volume, plan: Plan) -> bool:
    if plan.parent is not None:
        return parent.global_id == plan.parent
    if plan.base_on is not None:
        told = parent.made_from
        return parent.transient and told is not None and is_one(client, told, plan.base_on)
    own = (parent.name, names.address(parent.global_id))
    template = plan.policy.template
    return template is not None and client.template_parent(template) in own
