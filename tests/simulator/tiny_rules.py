"""What each call of the tiny model does: one function for each, with the fields of the request.

A function notes what speaks against the call, and does it as far as it can be done; the model that
it worked on is thrown away when anything did. It is told the label of what it makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from tiny_model import CLIENTS, EXISTS, MISSING, WRONG, Model, Template, Thing, Unasked

Body = Mapping[str, Any]


def volume_create(model: Model, label: str, body: Body) -> None:
    """Make a volume: empty, on a snapshot, or as a copy of a volume [sptypes] [pve]."""
    template = model.template(body.get("template"))
    base = model.volume(body["baseOn"]) if "baseOn" in body else None
    parent = None if "baseOn" in body else _parent(model, body, template)
    if "parent" in body and "baseOn" in body:
        model.fault(WRONG)
    model.check_name(body.get("name"))
    tags = _first_tags(model, body)
    model.check_length(body.get("name"), tags)
    source = base or parent
    size = _first_size(model, body, template, source)
    if model.faults:
        return
    own = template or (None if source is None else source.template)
    thing = Thing(label, True, body.get("name") or None, size, parent, own, tags)
    model.add(thing)
    if base is not None:  # by a transient snapshot of the source, which is collected [sptypes]
        transient = _snapshot_of(model, f"{label}-transient", base, {})
        transient.transient, thing.parent = True, transient
        transient.gone_at = model.now + float(model.switches["linger"])


def _first_tags(model: Model, body: Body) -> dict[str, str]:
    tags = dict(body.get("tags", {}))
    if model.is_on("tag_empty_new", "keep"):
        return tags
    return {key: text for key, text in tags.items() if text}


def _parent(model: Model, body: Body, template: Template | None) -> Thing | None:
    if "parent" in body:
        return model.snapshot(body["parent"])
    if template is None or template.parent is None:
        return None
    if template.parent not in model.things or template.parent.deleted:
        model.fault(MISSING)
        return None
    return template.parent


def _first_size(
    model: Model, body: Body, template: Template | None, source: Thing | None
) -> int | None:
    default = None if template is None else template.size
    size: int | None = body.get("size")
    if size is None:
        if source is not None and default is not None:
            raise Unasked  # which of the two goes before is told nowhere
        size = default if source is None else source.size
        if size is None and not model.faults:
            model.fault(WRONG)
    elif source is not None and size < (source.size or 0) and model.is_on("small_child", "refuse"):
        model.fault(WRONG)
    return size


def volume_update(model: Model, _label: str, key: str, body: Body) -> None:
    """Change name, size, template, tags."""
    thing = model.volume(key)
    template = model.template(body.get("template"))
    model.check_name(body.get("rename"), thing)
    if "size" in body and "sizeAdd" in body:
        model.fault(WRONG)
    if thing is None:
        return
    size = body.get("size", (thing.size or 0) + body.get("sizeAdd", 0))
    if size < (thing.size or 0) and not body.get("shrinkOk"):
        model.fault(WRONG)
    thing.size = size
    _change(model, thing, template, body)


def snapshot_update(model: Model, _label: str, key: str, body: Body) -> None:
    """Change name, template, tags, whether it is bound, when it is deleted."""
    thing = model.snapshot(key)
    template = model.template(body.get("template"))
    model.check_name(body.get("rename"), thing)
    if thing is None:
        return
    if "rename" in body:
        thing.automatic = not body["rename"]
    thing.bound = body.get("bind", thing.bound)
    thing.delete_at = _date(model, body, thing.delete_at)
    _change(model, thing, template, body)


def _change(model: Model, thing: Thing, template: Template | None, body: Body) -> None:
    if body.get("rename"):  # it is its own name now, and what it kept of a revert is over
        thing.name, thing.kept = body["rename"], None
    elif "rename" in body:
        thing.name = None
    thing.template = template or thing.template
    given = body.get("tags")
    if given is not None:
        tags = {**thing.tags, **given} if model.is_on("tag_update", "merge") else dict(given)
        if model.is_on("tag_empty", "remove"):
            tags = {key: text for key, text in tags.items() if text or key not in given}
        thing.tags = tags
    model.check_length(thing.name, thing.tags)


def _date(model: Model, body: Body, before: float = 0) -> float:
    if "deleteAfter" in body:
        return int(model.now) + body["deleteAfter"] if body["deleteAfter"] else 0
    return float(body.get("targetDeleteDate", before))


def volume_delete(model: Model, _label: str, key: str, body: Body | None = None) -> None:
    """Delete a volume; one that is attached stays, unless it may be detached [csi] [cs]."""
    thing = model.volume(key)
    if thing is None:
        return
    how = (body or {}).get("onAttached", "fail")
    if how == "detach":
        model.busy_when(bool(thing.open), "busy_error")
    else:
        model.busy_when(bool(thing.clients) and how != "detachForce")
    model.remove(thing)


def volume_freeze(model: Model, _label: str, key: str, body: Body | None = None) -> None:
    """Make a snapshot of a volume: same name, same id [sptypes]."""
    thing = model.volume(key)
    if thing is None:
        return
    model.busy_when("rw" in thing.clients.values())
    model.busy_when(bool(thing.clients) and model.is_on("freeze_attached", "never"))
    thing.volume, thing.automatic = False, thing.name is None
    thing.delete_at = _date(model, body or {})


def volume_revert(model: Model, _label: str, key: str, body: Body) -> None:
    """Put a volume onto a snapshot. An unnamed one gets another id, and the old one for a name
    [git 76ce668]; for others it may change too [pve 7d8e8b0]."""
    thing, snapshot = model.volume(key), model.snapshot(body["toSnapshot"])
    if thing is None or snapshot is None:
        return
    writers = {client for client, rights in thing.clients.items() if rights == "rw"}
    rule = model.switches["revert_attached"]
    model.busy_when(rule == "open" and bool(thing.open & writers))
    model.busy_when(rule == "attached" and bool(thing.clients))
    thing.parent = snapshot
    thing.size = _reverted_size(model, thing, snapshot, body)
    identity = model.switches["revert_identity"]
    if identity == "all" or (identity == "unnamed" and thing.name is None):
        if thing.name is None:
            thing.kept = thing.kept or thing.ids[-1]
        model.reverted = thing


def _reverted_size(model: Model, thing: Thing, snapshot: Thing, body: Body) -> int | None:
    """A volume is not shrunk by it [pve a536de7], and may grow to hold the snapshot whole."""
    rule = "snapshot" if body.get("revertSize") else model.switches["revert_size"]
    if rule == "keep":
        return thing.size
    return snapshot.size if rule == "snapshot" else max(thing.size or 0, snapshot.size or 0)


def volume_rebase(model: Model, _label: str, key: str, body: Body) -> None:
    """Stand on one of the parents of now, or on nothing [sptypes]."""
    _rebase(model, model.volume(key), body)


def snapshot_rebase(model: Model, _label: str, key: str, body: Body) -> None:
    """The same for a snapshot."""
    _rebase(model, model.snapshot(key), body)


def _rebase(model: Model, thing: Thing | None, body: Body) -> None:
    wanted = model.find(body.get("parentName", ""))
    if wanted is not None and wanted.deleted:
        raise Unasked
    parent = model.snapshot(body["parentName"]) if "parentName" in body else None
    if thing is None:
        return
    if parent is not None and parent not in model.chain(thing):
        model.fault(WRONG)
    thing.parent = parent


def snapshot_create(model: Model, label: str, key: str, body: Body) -> None:
    """Make a snapshot, which becomes the volume's parent [spapi]; its tags are those given [kb]."""
    thing = model.volume(key)
    model.check_name(body.get("name"))
    model.check_length(body.get("name"), _first_tags(model, body))
    if thing is None:
        return
    snapshot = _snapshot_of(model, label, thing, body)
    snapshot.bound = body.get("bind", False)
    snapshot.delete_at = _date(model, body)


def _snapshot_of(model: Model, label: str, volume: Thing, body: Body) -> Thing:
    """A snapshot without a name gets one; with the name "" it is listed by its id [cs]."""
    name = body.get("name")
    is_nameless = name == "" and model.is_on("empty_name", "unnamed")
    snapshot = Thing(
        label,
        False,
        name or None,
        volume.size,
        volume.parent,
        volume.template,
        _first_tags(model, body),
        source=volume.ids[-1],
        automatic=not name,
        generated=not name and not is_nameless,
    )
    volume.parent = model.add(snapshot)
    return snapshot


def group(model: Model, label: str, body: Body) -> None:
    """Make snapshots of several volumes, all or none [inf]."""
    found = [each for each in (model.find(item["volume"]) for item in body["volumes"]) if each]
    if len({id(each) for each in found}) < len(found) and model.is_on("group_twice", "refuse"):
        model.fault(WRONG)
    for number, item in enumerate(body["volumes"]):
        tags = {**_first_tags(model, body), **_first_tags(model, item)}
        snapshot_create(model, f"{label}-{number}", item["volume"], {**item, "tags": tags})


def snapshot_delete(model: Model, _label: str, key: str) -> None:
    """Begin to delete a snapshot; one that is attached stays [csi]."""
    found = model.find(key)
    if found is not None and found.deleted:
        raise Unasked  # a second time
    thing = model.snapshot(key)
    if thing is None:
        return
    model.busy_when(bool(thing.clients), "delete_attached_snapshot")
    model.doom(thing)


def snapshot_delete_by_id(model: Model, label: str, global_id: str) -> None:
    """The same by the id alone."""
    snapshot_delete(model, label, f"~{global_id}")


def reassign(model: Model, _label: str, items: list[Body]) -> None:
    """Attach and detach, one item after the other, all or none [addon] [sp-os]."""
    for item in items:
        is_volume = "volume" in item
        thing = model.volume(item["volume"]) if is_volume else model.snapshot(item["snapshot"])
        wanted = {
            **dict.fromkeys(item.get("rw", ()), "rw"),
            **dict.fromkeys(item.get("ro", ()), "ro"),
        }
        if set(wanted) - set(CLIENTS):
            model.fault(WRONG)
        if not is_volume and "rw" in wanted.values():
            model.fault(WRONG)
        asked = item.get("detach", ())
        has_both = bool(set(item.get("rw", ())) & set(item.get("ro", ())))
        contradicts = asked != "all" and bool(set(asked) & set(wanted))
        if has_both or (contradicts and model.is_on("detach_and_rw", "error")):
            model.fault(WRONG)
        if not wanted and not asked and model.is_on("empty_item", "error"):
            model.fault(WRONG)
        if thing is not None:
            _detach(model, thing, item, set(wanted))
            _attach(model, thing, wanted)


def _detach(model: Model, thing: Thing, item: Body, wanted: set[int]) -> None:
    asked = item.get("detach", ())
    leaving = set(thing.clients) if asked == "all" else {int(each) for each in asked}
    if leaving - set(thing.clients) and model.is_on("detach_absent", "error"):
        model.fault(WRONG)
    if model.is_on("own_device", "keep"):
        leaving -= wanted
    for client in leaving & set(thing.clients):
        model.busy_when(client in thing.open and not item.get("force"), "busy_error")
        del thing.clients[client]
        thing.open.discard(client)


def _attach(model: Model, thing: Thing, wanted: Mapping[int, str]) -> None:
    for client, rights in wanted.items():
        if client in thing.open and rights == "ro" and thing.clients.get(client) == "rw":
            model.busy_when(model.is_on("downgrade_open", "busy"), "busy_error")
        thing.clients[client] = rights


def reassign_wait(model: Model, label: str, body: Body) -> None:
    """The same; all clients are up to date here."""
    reassign(model, label, body["reassign"])


def template_create(model: Model, _label: str, body: Body) -> None:
    """Make a template."""
    parent = model.snapshot(body["parent"]) if "parent" in body else None
    if any(each.name == body["name"] for each in model.templates):
        model.fault(EXISTS)
    model.templates.append(Template(body["name"], body.get("size"), parent))


def template_update(model: Model, _label: str, name: str, body: Body) -> None:
    """Rename a template, give it another size."""
    template = model.template(name)
    new = body.get("rename", name)
    if any(each.name == new and each is not template for each in model.templates):
        model.fault(EXISTS)
    if template is not None:
        template.name, template.size = new, body.get("size", template.size)


def template_delete(model: Model, _label: str, name: str) -> None:
    """Delete a template; what happens to one that is in use nobody tells."""
    template = model.template(name)
    if template is None:
        return
    users = [each for each in model.things if each.template is template]
    if users and not model.is_on("template_in_use", "keep"):
        model.fault(model.switches["template_in_use"])
    for each in users:
        each.template = None
    model.templates.remove(template)


def bucket_create(model: Model, _label: str, name: str) -> None:
    """Make a bucket."""
    if name in model.buckets:
        model.fault(EXISTS)
    model.buckets[name] = (0, {})


def bucket_delete(model: Model, _label: str, name: str) -> None:
    """Delete a bucket."""
    if model.buckets.pop(name, None) is None:
        model.fault(MISSING)


def bucket_set(model: Model, _label: str, name: str, body: Body) -> None:
    """Set pairs, if the version is the one that the caller knows; "" deletes [sptypes]."""
    if name not in model.buckets:
        model.fault(MISSING)
        return
    version, pairs = model.buckets[name]
    if body.get("runIfVersionIs", version) != version:
        model.fault("runIfVersionIsMismatch")
    merged = {**pairs, **body["set"]}
    model.buckets[name] = (version + 1, {key: text for key, text in merged.items() if text})


# By the methods of the binding.
CALLS: Mapping[str, Callable[..., None]] = {
    "volumeCreate": volume_create,
    "volumeUpdate": volume_update,
    "volumeDelete": volume_delete,
    "volumeFreeze": volume_freeze,
    "volumeRevert": volume_revert,
    "volumeRebase": volume_rebase,
    "snapshotCreate": snapshot_create,
    "snapshotCreateGroup": group,
    "snapshotUpdate": snapshot_update,
    "snapshotDelete": snapshot_delete,
    "snapshotDeleteById": snapshot_delete_by_id,
    "snapshotRebase": snapshot_rebase,
    "volumesReassign": reassign,
    "volumesReassignWait": reassign_wait,
    "volumeTemplateCreate": template_create,
    "volumeTemplateUpdate": template_update,
    "volumeTemplateDelete": template_delete,
    "kvsCreate": bucket_create,
    "kvsDelete": bucket_delete,
    "kvsUpdate": bucket_set,
}
