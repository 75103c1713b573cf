"""Volumes and snapshots that exist in StorPool and come under Cinder's care.

They are found, checked, and given Cinder's name. A reference is `{"source-name": NAME}` or
`{"source-id": GLOBAL_ID}`. Leaving Cinder's care changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cinder import context, exception, objects

from cinder_driver import failures, names, owners, specs, words
from cinder_driver.session import Session, size_gib
from storpool_ovirt import errors, sizes
from storpool_ovirt import names as storpool_names
from storpool_ovirt.cluster import api, identity, volumes

# Databases take a thousand parameters and more in one query (SQLite: 999).
_IDS_IN_A_QUERY = 500


def find(session: Session, kind: str, reference: Any) -> api.Volume:
    """Return what the reference names.

    Raises ManageExistingInvalidReference when it cannot be managed.
    """
    address = _address(reference)
    read = session.client.volume if kind == "volume" else session.client.snapshot
    try:
        session.client.be_current()  # whose it is, and whether a host has it, is asked as of now
        there = read(address)
    except (errors.NotFound, errors.InputError) as error:
        raise exception.ManageExistingInvalidReference(
            existing_ref=reference, reason=words.sentence(error)
        ) from words.cause(error)
    except errors.Error as error:
        raise exception.VolumeBackendAPIException(data=words.sentence(error)) from words.cause(
            error
        )
    reason = _reason_not_safe(session, there, _attached(session))
    reason = reason or _already_managed(session, there)
    if reason:
        raise exception.ManageExistingInvalidReference(existing_ref=reference, reason=reason)
    return there


def take_volume(session: Session, volume: Any, reference: Mapping[str, str]) -> str:
    """Give the volume Cinder's name, its type's QoS class and whole GiB, in one request.

    Returns its global id.
    """
    there = find(session, "volume", reference)
    volume_type = volume["volume_type"] if volume["volume_type_id"] else None
    wanted = ((volume_type["extra_specs"] or {}) if volume_type else {}).get(specs.TEMPLATE)
    if wanted and wanted != there.template:
        reason = f"the volume is in template {there.template}, the type asks for {wanted}"
        raise exception.ManageExistingVolumeTypeMismatch(reason=reason)
    size_bytes = size_gib(there.size_bytes) * sizes.GIB
    with failures.of(volume=volume["id"]):
        volumes.change(
            session.client,
            there,
            name=session.volume_name(volume),
            size_bytes=size_bytes if size_bytes != there.size_bytes else None,
            tags=specs.of_volume(session.settings, volume).tags,
        )
    return there.global_id


def take_snapshot(session: Session, snapshot: Any, reference: Mapping[str, str]) -> str:
    """Give the snapshot Cinder's name; return its global id.

    It must be one of the snapshot's volume.
    """
    there = find(session, "snapshot", reference)
    source = session.volume(snapshot["volume"])
    if there.made_from is not None and not there.was_made_of(source):
        reason = f"it is a snapshot of {there.made_from}, not of {source.name}"
        raise exception.ManageExistingInvalidReference(existing_ref=reference, reason=reason)
    with failures.of(snapshot=snapshot["id"]):
        volumes.change(session.client, there, name=session.snapshot_name(snapshot))
    return there.global_id


def manageable_volumes(session: Session, known: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the volumes of the cluster as Cinder lists what it could manage.

    Those of oVirt's adapter are not listed. `known` are Cinder's volumes on this backend. What it
    has on others, `mark_managed` says of those to be shown.
    """
    with failures.of():
        there = session.client.volumes()
        attached = _attached(session)
    cinder_ids = {session.volume_name(each): each["id"] for each in known}
    return [
        _entry(session, each, cinder_ids, attached)
        for each in there
        if not (each.dying or owners.is_ovirts(each))
    ]


def manageable_snapshots(session: Session, known: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the snapshots of the cluster as Cinder lists what it could manage.

    Those of oVirt's adapter are not listed.
    """
    with failures.of():
        listed = session.client.volumes()
        name_of = {each.global_id: each.name for each in listed}
        there = identity.with_present_sources(session.client.snapshots(), listed)
        attached = _attached(session)
    cinder_ids = {session.snapshot_name(each): each["id"] for each in known}
    entries = []
    for each in there:
        if each.dying or each.transient or owners.is_ovirts(each):
            continue
        source = each.made_from or ""
        entry = _entry(session, each, cinder_ids, attached)
        entry["source_reference"] = {"source-name": name_of.get(source, source)}
        entries.append(entry)
    return entries


def mark_managed(session: Session, kind: str, entries: Sequence[dict[str, Any]]) -> None:
    """Mark what Cinder has on another backend as managed already.

    `entries` are those of one page; they are changed in place.
    """
    ids: dict[str, str | None] = {}
    for each in entries:
        if each["safe_to_manage"]:
            name = each["reference"]["source-name"]
            ids[name] = _cinder_id(session, kind, name)
    managed = _managed_by_name_id(kind, [each for each in ids.values() if each])
    for each in entries:
        cinder_id = managed.get(ids.get(each["reference"]["source-name"]) or "")
        if cinder_id:
            each["safe_to_manage"] = False
            each["reason_not_safe"] = "already managed"
            each["cinder_id"] = cinder_id


def _entry(
    session: Session, there: api.Volume, cinder_ids: Mapping[str, str], attached: set[str]
) -> dict[str, Any]:
    cinder_id = cinder_ids.get(there.name)
    reason = "already managed" if cinder_id else _reason_not_safe(session, there, attached)
    return {
        "reference": {"source-name": there.name},
        "size": size_gib(there.size_bytes),
        "safe_to_manage": reason is None,
        "reason_not_safe": reason,
        "cinder_id": cinder_id,
        "extra_info": f"global id {there.global_id}, template {there.template or '-'}",
    }


def _reason_not_safe(session: Session, there: api.Volume, attached: set[str]) -> str | None:
    reason = owners.other_than_cinder(there, session.settings.prefix)
    if reason:
        return reason
    if there.dying or there.transient:
        return "StorPool is about to remove it"
    if attached & {there.global_id, there.name}:
        return "it is attached to a host"
    return None


def _already_managed(session: Session, there: api.Volume) -> str | None:
    found = _cinder_id(session, there.kind, there.name)
    cinder_id = _managed_by_name_id(there.kind, [found]).get(found) if found else None
    return f"Cinder manages it already as {cinder_id}" if cinder_id else None


def _cinder_id(session: Session, kind: str, name: str) -> str | None:
    """Return the id in the name of what Cinder had, or has: `unmanage` leaves the name as it is."""
    id_of = names.volume_id if kind == "volume" else names.snapshot_id
    found = id_of(session.settings.prefix, name)
    return found if found and storpool_names.UUID.fits(found) else None


def _managed_by_name_id(kind: str, ids: Sequence[str]) -> dict[str, str]:
    """Return Cinder's own id of each object in its database, by the id in the object's name.

    The object may be on whichever backend. The ids differ for a migrated volume (`_name_id`), which
    is why `volume_utils.check_already_managed_volume` does not see it.
    """
    if not ids:
        return {}
    admin = context.get_admin_context()
    if kind == "snapshot":
        return {each: each for each in ids if objects.Snapshot.exists(admin, each)}
    found: dict[str, str] = {}
    for column in ("id", "_name_id"):
        for start in range(0, len(ids), _IDS_IN_A_QUERY):
            some = list(ids[start : start + _IDS_IN_A_QUERY])
            for each in objects.VolumeList.get_all(admin, filters={column: some}):
                found[each.name_id] = each.id
    return found


def _attached(session: Session) -> set[str]:
    """Return global ids, or names in older releases, of what is attached anywhere."""
    with failures.of():
        return {each.global_id or each.name for each in session.client.attachments()}


def _address(reference: Any) -> str:
    if isinstance(reference, Mapping):
        name, global_id = reference.get("source-name"), reference.get("source-id")
        if name and isinstance(name, str):
            return name
        if isinstance(global_id, str) and storpool_names.GLOBAL_ID.fits(global_id.lstrip("~")):
            return storpool_names.address(global_id.lstrip("~"))
    reason = 'it needs {"source-name": NAME} or {"source-id": GLOBAL_ID}'
    raise exception.ManageExistingInvalidReference(existing_ref=reference, reason=reason)
