"""What a volume was made of, where its name alone does not prove it."""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api
from storpool_ovirt.cluster.plans import Plan


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
    is_right = _stands_on_source(client, there, plan) if told is None else told == plan.source
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


def _stands_on_source(client: api.Client, there: api.Volume, plan: Plan) -> bool:
    if not there.parent:
        return plan.source is None
    listed = client.snapshots()
    named = {
        **{each.name: each for each in listed},
        **{names.address(each.global_id): each for each in listed},
    }
    name = there.parent
    while name:
        parent = named.pop(name, None)
        if parent is None:
            return False  # nothing proves it
        if parent.made_from != there.global_id:
            return _is_source(client, parent, plan)
        name = parent.parent  # a snapshot of its own, made since
    return plan.source is None


def _is_source(client: api.Client, parent: api.Volume, plan: Plan) -> bool:
    if plan.parent is not None:
        return parent.global_id == plan.parent
    if plan.base_on is not None:
        return parent.transient and parent.made_from == plan.base_on
    own = (parent.name, names.address(parent.global_id))
    template = plan.policy.template
    return template is not None and client.template_parent(template) in own
