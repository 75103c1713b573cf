"""What lives in the cluster: volumes and snapshots, made once, found again, deleted only when they
are ours.

Callers name objects and own tags (`names.py`); they decide about trees and intents. Nothing here
touches hosts.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, sources
from storpool_ovirt.cluster.plans import Limits, Owner, Plan
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Callable, TypeVar, Union

    _T = TypeVar("_T")
    Tags = Union[Mapping[str, str], Callable[[api.Volume], Mapping[str, str]]]

# After an ambiguous failure: look, then try again. The deadline ends it earlier.
CREATE_ATTEMPTS = 5
# A revert whose answer was lost may have given the volume another id; then it is done again.
REVERT_ATTEMPTS = 3


def create(client: api.Client, plan: Plan) -> str:
    """Make the volume of `plan` unless it is there already, and return its global id.

    What is there is known by its owner, its size and its source; the policy that it has stays.
    Raises Conflict when the name belongs to something else, NoSpace, NotFound (template, parent or
    source).
    """
    body: dict[str, object] = {"name": plan.name, "tags": names.fitted(plan.name, plan.tags)}
    if plan.size_bytes is not None:
        body["size"] = plan.size_bytes
    if plan.policy.template is not None:
        body["template"] = plan.policy.template
    if plan.policy.replication is not None:
        body["replication"] = plan.policy.replication
    body.update(plan.policy.limits.body())
    if plan.parent is not None:
        body["parent"] = names.address(plan.parent)
    if plan.base_on is not None:
        body["baseOn"] = names.address(plan.base_on)
    return _made(
        client,
        lambda: client.volume_create(body),
        lambda: _found_volume(client, plan),
        _other_kind(plan),
    )


def snapshot(client: api.Client, volume_id: str, plan: Plan) -> str:
    """Freeze the volume with global id `volume_id` as the snapshot of `plan`, once, and return its
    global id."""
    names.check_length(plan.name, plan.tags)
    body: dict[str, object] = {"name": plan.name, "tags": plan.tags}
    if plan.policy.delete_after:
        body["deleteAfter"] = plan.policy.delete_after
    address = names.address(volume_id)
    return _made(
        client,
        lambda: client.volume_snapshot(address, body),
        lambda: _found_snapshot(client, plan, volume_id),
        _other_kind(plan),
    )


def group_snapshot(client: api.Client, members: Sequence[tuple[str, Plan]]) -> list[str]:
    """Freeze several volumes at one moment, all or none; return the snapshots' global ids in the
    order of `members`.

    A member is a volume's global id and the plan of its snapshot. Raises Conflict when a name
    belongs to something else, NotFound when a volume is missing. That StorPool makes all or none is
    its own word; where it made some all the same (Conflict, or its error), they are there.
    """
    for _, plan in members:
        names.check_length(plan.name, plan.tags)
    body = {
        "volumes": [
            {"volume": names.address(volume_id), "name": plan.name, "tags": plan.tags}
            for volume_id, plan in members
        ]
    }
    what = ", ".join(plan.name for _, plan in members)

    def post() -> list[str]:
        made = client.group_snapshot(body, what)
        missing = [plan.name for volume_id, plan in members if volume_id not in made]
        if missing:
            raise errors.Conflict(
                f"the group of {what}",
                f"was made without {', '.join(missing)}",
                "not all of it is of one moment; try again",
            )
        return [made[volume_id] for volume_id, _ in members]

    taken = errors.Conflict(what, "exists in part, or as something else", "choose another id")
    return _made(client, post, lambda: _found_group(client, members), taken)


def find(client: api.Client, kind: str, plan: Plan) -> str | None:
    """Return the global id of what an earlier try made of `plan`; None when there is nothing of
    that name."""
    if kind == "volume":
        return _found_volume(client, plan)
    return _found_snapshot(client, plan, None)


def grow(client: api.Client, global_id: str, size_bytes: int) -> int:
    """Give the volume this size (bytes, absolute, never smaller) and return the cluster's
    generation of that change."""
    return client.volume_update(names.address(global_id), {"size": size_bytes})


def change(  # noqa: PLR0913  one request, so one call
    client: api.Client,
    seen: api.Volume,
    *,
    name: str | None = None,
    size_bytes: int | None = None,
    template: str | None = None,
    tags: Tags | None = None,
    delete_after: int | None = None,
) -> bool:
    """Rename, grow, move to a template and retag a volume or a snapshot in one request: all of it
    or nothing. Return false when there was nothing to do.

    `delete_after` is when StorPool deletes a snapshot by itself, in seconds from now; 0 is never.

    `tags` are those that change, or a function of the object as it is now that tells them; an empty
    value removes a tag (StorPool's own Cinder patches rely on it). No other function changes tags:
    StorPool's update may replace all of them by what it is sent. So the others are sent along as
    they are now, and not as they were `seen`, which would take the object back from who got it
    since. Raises Foreign when somebody did, Exists when
    another object has the name, InputError when name and tags are longer than StorPool takes.
    """
    body = {
        "rename": name,
        "size": size_bytes,
        "template": template,
        "tags": _all_tags(client, seen, name, tags) if tags else None,
        "deleteAfter": delete_after,
    }
    body = {key: value for key, value in body.items() if value is not None}
    if not body:
        return False
    address = names.address(seen.global_id)
    update = client.volume_update if seen.kind == "volume" else client.snapshot_update
    try:
        update(address, body)
    except errors.Exists:
        # A repetition after a lost answer finds its own work.
        if name is None or read(client, seen.kind, address).name != name:
            raise
    return True


def _all_tags(
    client: api.Client, seen: api.Volume, name: str | None, tags: Tags
) -> dict[str, str] | None:
    """Return the tags of an object as of now with `tags` in them, as they fit beside the name that
    it gets; None where it has those."""
    client.be_current()
    now = read(client, seen.kind, names.address(seen.global_id))
    if names.owner_marks(now.name, now.tags) != names.owner_marks(seen.name, seen.tags):
        raise errors.Foreign(
            f"{now.kind} {now.name} (~{now.global_id})",
            "has got other tags or another name just now",
            "it is left alone; try again, or see storpool-ovirt audit",
        )
    changed = tags(now) if callable(tags) else tags
    wanted = names.fitted(name or now.name, {**now.tags, **changed})
    return None if _has(now.tags, wanted) else wanted


def _has(there: Mapping[str, str], wanted: dict[str, str]) -> bool:
    """Return whether tags mean the same: an empty one is none, and an id has two forms."""
    keys = {*there, *wanted} - {names.TAG_ROOT}
    wanted = names.with_long_uuid(wanted)
    return names.root_of(there) == names.root_of(wanted) and all(
        there.get(key, "") == wanted.get(key, "") for key in keys
    )


def limit(client: api.Client, global_id: str, limits: Limits) -> None:
    """Set how fast a volume may be, where that is limited: a revert, and StorPool's storpool_qos,
    set other limits."""
    body = limits.body()
    if body:
        client.volume_update(names.address(global_id), body)


def revert(client: api.Client, volume_id: str, snapshot_id: str) -> api.Volume:
    """Give the volume the data of the snapshot and let it keep its size and its limits; return it
    as it is then, with a global id that may be another one. No host may have it attached meanwhile.

    Whether StorPool keeps these is not documented (its plugin for CloudStack sends the limits
    again), so they are looked at and put right.
    """
    before, limits = client.limited_volume(names.address(volume_id))
    there, limits_now = client.limited_volume(_reverted(client, before, snapshot_id))
    lost: dict[str, object] = {
        key: value for key, value in limits.items() if limits_now.get(key) != value
    }
    if there.size_bytes < before.size_bytes:
        lost["size"] = before.size_bytes
    if lost:
        client.volume_update(names.address(there.global_id), lost)
    return there._replace(size_bytes=max(there.size_bytes, before.size_bytes))


def _reverted(client: api.Client, before: api.Volume, snapshot_id: str) -> str:
    """Revert it; return how it is addressed then."""
    there = before
    for attempt in range(REVERT_ATTEMPTS):
        address = names.address(there.global_id)
        try:
            now = client.volume_revert(address, names.address(snapshot_id))
        except errors.NotFound:
            found = still(client, before)
            if found is None or found.global_id == there.global_id:
                raise  # it is gone, or it is the snapshot that is missing
            if attempt == REVERT_ATTEMPTS - 1:
                raise
            there = found
        else:
            return names.address(now) if now else _way_to(client, before)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _way_to(client: api.Client, before: api.Volume) -> str:
    """Return how a volume is addressed after a revert whose answer does not tell its id."""
    now = still(client, before)
    return names.address(now.global_id if now is not None else before.global_id)


def still(client: api.Client, seen: api.Volume) -> api.Volume | None:
    """Return a volume as it is now, which had this id and this name a moment ago; None where it is
    gone.

    A revert may have given it another id, and then its name leads to it, and its visible id says
    that it is the same.
    """
    for address in (names.address(seen.global_id), seen.name):
        try:
            there = client.volume(address)
        except errors.NotFound:
            continue
        same_number = there.serial == seen.serial and there.serial > 0
        if there.global_id == seen.global_id or (there.name == seen.name and same_number):
            return there
    return None


def read(client: api.Client, kind: str, address: str) -> api.Volume:
    """Return a volume or a snapshot by `~globalId` or name; raise NotFound when there is none of
    this kind."""
    return _reader(client, kind)(address)


def read_any(client: api.Client, address: str) -> api.Volume:
    """Return the volume or the snapshot with this address, also one that is about to be dropped.

    Raises NotFound when it is neither.
    """
    try:
        return client.volume(address)
    except errors.NotFound as missing:
        try:
            return client.snapshot(address)
        except errors.NotFound:
            raise errors.NotFound("volume or snapshot", address, missing.where) from missing


def delete(client: api.Client, global_id: str) -> bool:
    """Delete a volume; absent is fine, but may mean that it got another global id (a revert).

    Returns whether it was there. Raises InUse when it is attached to a host.
    """
    try:
        client.volume_delete(names.address(global_id))
    except errors.NotFound:
        return False
    return True


def delete_snapshot(client: api.Client, global_id: str) -> bool:
    """Delete a snapshot; absent is fine: return whether it was there. What was made from it keeps
    its data."""
    try:
        client.snapshot_delete(names.address(global_id))
    except errors.NotFound:
        return False
    return True


def capacity(client: api.Client, template: str | None) -> api.Template | None:
    """Return the space of a template; without a name, that of the largest, as templates may share
    disks.

    None when the cluster has no template at all; NotFound when it has not this one.
    """
    templates = client.templates()
    if template is None:
        return max(templates, key=lambda each: each.capacity_bytes, default=None)
    return named_template(templates, template, client.address)


def named_template(templates: Sequence[api.Template], name: str, where: str) -> api.Template:
    """Return the template of this name; raise NotFound when there is none, `where` is the API's
    address."""
    for each in templates:
        if each.name == name:
            return each
    raise errors.NotFound(
        "template", name, f"in the StorPool cluster at {where}: check sp_template"
    )


def _made(
    client: api.Client,
    post: Callable[[], _T],
    look: Callable[[], _T | None],
    taken: errors.Conflict,
) -> _T:
    """Create once: after an ambiguous failure look for what the try may have made, and only else
    try again.

    `taken` is raised when the name exists but `look` finds nothing of ours under it.
    """
    for attempt in range(CREATE_ATTEMPTS):
        try:
            return post()
        except errors.Exists as error:
            found = look()
            if found is None:
                raise taken from error
            return found
        except errors.ApiUnavailable as error:
            if not error.ambiguous or attempt == CREATE_ATTEMPTS - 1:
                raise
            try:
                found = look()
            except errors.Conflict:
                raise
            except errors.Error as unseen:
                # Not knowing what was made is the worse news: a clear no to the look must not be
                # taken for one to it.
                raise error from unseen
            if found is not None:
                return found
            client.pause(attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _other_kind(plan: Plan) -> errors.Conflict:
    # Volumes and snapshots share one name space.
    return errors.Conflict(plan.name, "belongs to an object of another kind", "choose another id")


def _reader(client: api.Client, kind: str) -> Callable[[str], api.Volume]:
    return client.volume if kind == "volume" else client.snapshot


def _found(read: Callable[[str], api.Volume], plan: Plan) -> str | None:
    try:
        there = read(plan.name)
    except errors.NotFound:
        return None
    _check_owner(there, plan.owner)
    if plan.size_bytes is not None and there.size_bytes != plan.size_bytes:
        why = f"exists with {there.size_bytes} bytes in place of {plan.size_bytes}"
        raise errors.Conflict(plan.name, why, "the same id cannot be used for another size")
    return there.global_id


def _found_snapshot(client: api.Client, plan: Plan, made_from: str | None) -> str | None:
    def checked(name: str) -> api.Volume:
        there = client.snapshot(name)
        _check_owner(there, plan.owner)
        if plan.policy.delete_after and not there.goes_at:
            why = "exists without the date at which StorPool was to delete it"
            raise errors.Conflict(plan.name, why, "StorPool did not honour the date")
        told = there.made_from
        if made_from is None or told is None or _is_snapshot_of(client, there, made_from):
            return there
        why = f"exists as a snapshot of {told} in place of {made_from}"
        raise errors.Conflict(plan.name, why, "the same id cannot be used for another source")

    return _found(checked, plan)


def _is_snapshot_of(client: api.Client, there: api.Volume, volume_id: str) -> bool:
    """Return whether it is a snapshot of this volume, which may have had an id then that leads
    nowhere by now."""
    if sources.is_one(client, str(there.made_from), volume_id):
        return True
    try:
        return there.was_made_of(client.volume(names.address(volume_id)))
    except errors.NotFound:
        return False


def _found_volume(client: api.Client, plan: Plan) -> str | None:
    def checked(name: str) -> api.Volume:
        there = client.volume(name)
        _check_owner(there, plan.owner)
        sources.check(client, there, plan)
        return there

    return _found(checked, plan)


def _found_group(client: api.Client, members: Sequence[tuple[str, Plan]]) -> list[str] | None:
    found = [_found_snapshot(client, plan, volume_id) for volume_id, plan in members]
    return None if None in found else [each for each in found if each is not None]


def _check_owner(there: api.Volume, owner: Owner) -> None:
    foreign = sorted(names.differing(owner.tags, there.tags))
    others = sorted(key for key in owner.never if key in there.tags)
    if others:
        raise errors.Foreign(
            f"{there.name} ({there.global_id})",
            f"has a tag that ours never has ({', '.join(others)})",
            "it belongs to another owner, or has other data, and is left alone",
        )
    if foreign:
        raise errors.Foreign(
            f"{there.name} ({there.global_id})",
            f"does not carry our tags ({', '.join(foreign)})",
            "it belongs to another owner and is left alone",
        )
