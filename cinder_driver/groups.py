"""Groups of volumes: snapshots of one moment (`VolumesGroupSnapshot`), and what is made from them.

They are for group types with `consistent_group_snapshot_enabled` only. Cinder does all others
itself, one volume at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from cinder import exception
from oslo_log import log as logging

from cinder_driver import failures, names, words
from cinder_driver.session import Session
from storpool_ovirt import errors
from storpool_ovirt import names as storpool_names
from storpool_ovirt.cluster import api, volumes
from storpool_ovirt.cluster.plans import Owner, Plan

LOG = logging.getLogger(__name__)

Updates = list[dict[str, Any]]


def snapshot(session: Session, snapshots: Sequence[Any]) -> None:
    """Make these snapshots of different volumes at one moment: all of them or none."""
    members = [
        (session.volume(each["volume"]).global_id, session.snapshot_plan(each))
        for each in snapshots
    ]
    if members:
        with failures.of():
            volumes.group_snapshot(session.client, members)


def delete(
    objects: Sequence[Any], delete_one: Callable[[Any], None]
) -> tuple[dict[str, Any], Updates]:
    """Delete each object; return Cinder's updates of the group and of its members.

    One failure does not stop the others.
    """
    updates = []
    for each in objects:
        try:
            delete_one(each)
        except exception.CinderException as error:
            LOG.error("group_member_not_deleted id=%s reason=%s", each["id"], words.sentence(error))  # noqa: TRY400  its sentence says it
            updates.append({"id": each["id"], "status": "error_deleting"})
        else:
            updates.append({"id": each["id"], "status": "deleted"})
    failed = any(each["status"] != "deleted" for each in updates)
    return {"status": "error_deleting" if failed else "deleted"}, updates


def create_from_snapshots(session: Session, made: Sequence[Any], snapshots: Sequence[Any]) -> None:
    """Make each volume from its snapshot (`snapshot_id`); after a failure none of them is left."""
    by_id = {each["id"]: each for each in snapshots}
    sources = [session.snapshot(by_id[volume["snapshot_id"]]) for volume in made]
    _create_all(session, made, sources)


def create_from_volumes(session: Session, made: Sequence[Any], sources: Sequence[Any]) -> None:
    """Make each volume from its source (`source_volid`), all as of one moment.

    After a failure none of them is left. The moment is a group snapshot that is gone at the end.
    Its tag sets it apart from one that an earlier try left: that has the names, and older data.
    """
    by_id = {each["id"]: each for each in sources}
    members = [(session.volume(by_id[volume["source_volid"]]), volume) for volume in made]
    if not members:
        return
    tags = {storpool_names.TAG_CINDER_MOMENT: secrets.token_hex(8)}
    plans = []
    for source, volume in members:
        name = names.clone_snapshot_name(session.settings.prefix, volume["id"])
        plans.append((source.global_id, Plan(Owner(name, tags))))
    try:
        with failures.of():
            frozen = volumes.group_snapshot(session.client, plans)
            parents = [session.client.snapshot(storpool_names.address(each)) for each in frozen]
        _create_all(session, made, parents)
    finally:
        session.make_time()
        for _, plan in plans:
            _silent_delete_snapshot(session, plan)


def _create_all(session: Session, made: Sequence[Any], parents: Sequence[api.Volume]) -> None:
    begun: list[tuple[Any, api.Volume]] = []
    try:
        for volume, parent in zip(made, parents):
            begun.append((volume, parent))
            session.create(volume, parent=parent)
    except BaseException:
        # Whatever it was, the end of the thread too. The last volume may have been made although it
        # failed.
        session.make_time()
        for volume, parent in reversed(begun):
            _silent_delete_volume(session, volume, parent)
        raise


def _silent_delete_volume(session: Session, volume: Any, parent: api.Volume) -> None:
    try:
        there = session.find_volume(volume)
        # What has the name and was made from something else was there before.
        if (
            there is not None
            and there.tags.get(storpool_names.TAG_CINDER_SOURCE) == parent.global_id
        ):
            session.delete_volume(volume)
    except Exception as error:
        LOG.warning("group_volume_left id=%s reason=%s", volume["id"], words.sentence(error))


def _silent_delete_snapshot(session: Session, plan: Plan) -> None:
    try:
        there = session.client.snapshot(plan.name)
        if (
            there.tags.get(storpool_names.TAG_CINDER_MOMENT)
            == plan.owner.tags[storpool_names.TAG_CINDER_MOMENT]
        ):
            volumes.delete_snapshot(session.client, there.global_id)
    except errors.NotFound:
        return
    except Exception as error:
        LOG.warning("group_clone_snapshot_left name=%s reason=%s", plan.name, words.sentence(error))
