"""A Cinder volume driver for StorPool: Cinder's words on one side, `storpool_ovirt` on the other.

It is for Cinder itself, for cinderlib scripts, and for oVirt's stock path (`volume_driver` is
`cinder_driver.driver.StorPoolDriver`). Names, pools and the extra spec `storpool_template` are
those of the upstream driver, so that volumes which it made go on working. docs/driver.md says what
differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cinder import exception, interface
from cinder.volume import driver, volume_utils
from oslo_config import cfg
from oslo_log import log as logging

from cinder_driver import (
    capacity,
    failures,
    groups,
    hosts,
    managed,
    migration,
    options,
    registration,
    specs,
)
from cinder_driver.session import LIMITS, Session, size_bytes, size_gib, target
from storpool_ovirt.cluster import attachments, volumes

LOG = logging.getLogger(__name__)

# At the start an answer comes within a second or not at all, and under cinderlib every verb begins
# with this question.
SETUP_SECONDS = 10.0
# Cinder asks for statistics once a minute, in the thread of all its periodic tasks. One must not
# wait for the next.
STATS_SECONDS = 30.0
# os-brick's name of the connector, and `cinder.common.constants.STORPOOL` where Cinder has it
# (Yoga does not).
PROTOCOL = "storpool"


@interface.volumedriver
class StorPoolDriver(driver.VolumeDriver):
    """Volumes on a StorPool cluster.

    Every method raises Cinder's exceptions as `failures` maps ours. No path of it sends `force`: a
    device that a host has open is never pulled, whatever Cinder asks for.

    Version history:

    .. code-block:: none

        3.0.0   - first version, apart from the upstream driver (which is 2.x)
    """

    limits = LIMITS

    VERSION = "3.0.0"
    VENDOR = "StorPool"
    CI_WIKI_NAME = "StorPool_distributed_storage_CI"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(options.OPTIONS)
        self._settings: options.Settings | None = None
        self._stats_are_fresh = False

    @staticmethod
    def get_driver_options() -> list[cfg.Opt]:
        """Return the driver's own options."""
        return options.OPTIONS

    # Start and statistics

    def do_setup(self, context: Any) -> None:
        """Read the options, and make our connector the one that this process uses.

        Raises when an option is wrong.
        """
        with failures.of():
            self._settings = options.settings(self.configuration)
        registration.register()

    def check_for_setup_error(self) -> None:
        """Raise when the backend cannot work.

        So it is when the cluster cannot be reached, refuses the token, is not the pinned one or
        lacks the template.
        """
        self._update_volume_stats(SETUP_SECONDS)
        self._stats_are_fresh = True

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        """Return the statistics of the backend and its pools.

        The first refresh after the start has them already.
        """
        is_fresh, self._stats_are_fresh = self._stats_are_fresh, False
        stats: dict[str, Any] = super().get_volume_stats(refresh and not is_fresh)
        return stats

    def _update_volume_stats(self, seconds: float | None = None) -> None:
        session = self._session(min(seconds or STATS_SECONDS, self._ready().deadline_seconds))
        with failures.of():
            templates = session.client.templates()
            if session.settings.template:
                volumes.named_template(templates, session.settings.template, session.client.address)
        common = {
            "reserved_percentage": self.configuration.safe_get("reserved_percentage") or 0,
            "max_over_subscription_ratio": self.configuration.safe_get(
                "max_over_subscription_ratio"
            ),
            "location_info": migration.location(session.settings),
            "filter_function": self.get_filter_function(),
            "goodness_function": self.get_goodness_function(),
            "multiattach": True,
            "QoS_support": False,  # no QoS specs of Cinder; StorPool's QoS class is an extra spec
            "thick_provisioning_support": False,
            "thin_provisioning_support": True,
            "online_extend_support": True,
            "consistent_group_snapshot_enabled": True,
        }
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name") or "storpool",
            "vendor_name": self.VENDOR,
            "driver_version": self.VERSION,
            "storage_protocol": PROTOCOL,
            "sparse_copy_volume": True,
            **common,
            **capacity.stats(session.settings, templates, common),
        }

    def get_pool(self, volume: Any) -> str:
        """Return the pool of a volume: that of its template."""
        return capacity.pool_of(specs.template_of(self._ready(), volume))

    def _init_vendor_properties(self) -> tuple[dict[str, Any], str]:
        """Return the extra specs that volume types may have, for Cinder's capabilities API."""
        properties: dict[str, Any] = {}
        what = "Class of StorPool's storpool_qos service; it becomes the tag qc of a volume."
        self._set_property(properties, specs.QOS_CLASS, "QoS class", what, "string")
        return properties, "storpool"

    # Volumes

    def create_volume(self, volume: Any) -> None:
        """Make an empty volume; a repetition after a lost answer finds what the first try made."""
        global_id = self._session().create(volume)
        LOG.info("volume_created volume=%s global_id=%s", volume["id"], global_id)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """Make a volume with the data of a snapshot, in the template of the volume's own type."""
        session = self._session()
        global_id = session.create(volume, parent=session.snapshot(snapshot))
        LOG.info(
            "volume_created volume=%s global_id=%s snapshot=%s",
            volume["id"],
            global_id,
            snapshot["id"],
        )

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        """Make a volume with the data that another one has now; no snapshot of ours remains."""
        session = self._session()
        global_id = session.create(volume, base_on=session.volume(src_vref))
        LOG.info(
            "volume_created volume=%s global_id=%s source=%s",
            volume["id"],
            global_id,
            src_vref["id"],
        )

    def delete_volume(self, volume: Any) -> None:
        """Delete a volume; absent is fine.

        One that a host has open is VolumeIsBusy and stays as it is.
        """
        self._session().delete_volume(volume)
        LOG.info("volume_deleted volume=%s", volume["id"])

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Grow a volume to `new_size` GiB, and wait until its running hosts know it."""
        session = self._session()
        there = session.volume(volume)
        with failures.of(volume=volume["id"]):
            generation = volumes.grow(session.client, there.global_id, size_bytes(new_size))
            behind = attachments.wait_for_hosts(session.client, generation, target(there))
        LOG.info(
            "volume_extended volume=%s gib=%s hosts_that_are_down=%s",
            volume["id"],
            new_size,
            behind,
        )

    # Snapshots

    def create_snapshot(self, snapshot: Any) -> None:
        """Freeze a volume; a repetition after a lost answer finds what the first try made."""
        session = self._session()
        there = session.volume(snapshot["volume"])
        with failures.of(snapshot=snapshot["id"]):
            global_id = volumes.snapshot(
                session.client, there.global_id, session.snapshot_plan(snapshot)
            )
        LOG.info("snapshot_created snapshot=%s global_id=%s", snapshot["id"], global_id)

    def delete_snapshot(self, snapshot: Any) -> None:
        """Delete a snapshot; absent is fine. Volumes made from it keep their data."""
        self._session().delete_snapshot(snapshot)
        LOG.info("snapshot_deleted snapshot=%s", snapshot["id"])

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        """Give a volume the data of a snapshot, and keep its size.

        One that a host has open is VolumeIsBusy.
        """
        session = self._session()
        source, there = session.snapshot(snapshot), session.volume(volume)
        with failures.of(volume=volume["id"]):
            attachments.release(session.client, [target(there)], {})
            now = volumes.revert(session.client, there.global_id, source.global_id)
        LOG.info(
            "volume_reverted volume=%s global_id=%s snapshot=%s",
            volume["id"],
            now.global_id,
            snapshot["id"],
        )

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """Return False: Cinder needs no safety copy.

        A revert is one request, which is done or is not.
        """
        return False

    # Hosts

    def validate_connector(self, connector: Mapping[str, Any]) -> None:
        """Raise InvalidConnectorException for a host whose StorPool client id nobody says."""
        hosts.client_id(connector, self._own_names(), self._ready().api)

    def initialize_connection(
        self, volume: Any, connector: Mapping[str, Any], initiator_data: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return how a host attaches a volume; the host does it by itself, this changes nothing.

        The data serves our os-brick connector, which goes by `global_id`, and os-brick's own, which
        goes by name.
        """
        client_id = hosts.client_id(connector, self._own_names(), self._ready().api)
        there = self._session().volume(volume)
        admin_metadata = volume.get("admin_metadata", None) or {}
        is_read_only = connector.get("mode") == "ro" or admin_metadata.get("readonly") == "True"
        data = {
            "client_id": int(client_id),
            "volume": volume["name_id"],
            "global_id": there.global_id,
            "access_mode": "ro" if is_read_only else "rw",
        }
        return {"driver_volume_type": PROTOCOL, "data": data}

    def terminate_connection(
        self, volume: Any, connector: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        """Detach a volume from a host (None: from all) where it is closed.

        Where it is open it is VolumeIsBusy. With `force` too: Cinder would forget the attachment,
        and the next host would write beside the first. Returns True where another attachment of
        Cinder's needs the same device (a volume shared by two guests of one host).
        """
        session = self._session()
        with failures.of(volume=volume["id"]):
            # "Nobody has it" lets Cinder give it to another host: this is asked behind the barrier
            # of the first read.
            there = session.find_volume(volume)
            clients = hosts.clients_of(session.client, target(there)) if there else []
        if there is None or not clients:
            return False
        if connector is not None:
            if hosts.is_shared_there(volume, connector):
                return True
            client_id = hosts.client_id(connector, self._own_names(), self._ready().api)
            clients = [each for each in clients if each == client_id]
        with failures.of(volume=volume["id"]):
            hosts.release(session.client, target(there), clients)
        if clients:
            LOG.info("volume_detached volume=%s clients=%s", volume["id"], clients)
        return False

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Do nothing: StorPool has no exports."""

    def create_export(self, context: Any, volume: Any, connector: Mapping[str, Any]) -> None:
        """Do nothing: StorPool has no exports."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Do nothing: StorPool has no exports."""

    # Types and moves

    def retype(
        self,
        context: Any,
        volume: Any,
        new_type: Any,
        diff: Mapping[str, Any],
        host: Mapping[str, Any],
    ) -> tuple[bool, dict[str, Any] | None]:
        """Give a volume the template and the QoS class of another type, in place."""
        is_done = migration.retype(self._session(), volume, new_type, diff)
        if is_done:
            LOG.info("volume_retyped volume=%s type=%s", volume["id"], new_type["id"])
        return is_done, None

    def migrate_volume(
        self, context: Any, volume: Any, host: Mapping[str, Any]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Move a volume to another backend or pool of the same cluster without a copy."""
        is_done = migration.move(self._session(), volume, host)
        if is_done:
            LOG.info("volume_moved volume=%s host=%s", volume["id"], host["host"])
        return is_done, None

    def update_migrated_volume(
        self, ctxt: Any, volume: Any, new_volume: Any, original_volume_status: str
    ) -> dict[str, Any]:
        """Give the copy that Cinder made here the original's name.

        Returns by which name Cinder finds it.
        """
        update = migration.finish(self._session(), volume, new_volume, original_volume_status)
        LOG.info(
            "volume_migrated volume=%s from=%s name_id=%s",
            volume["id"],
            new_volume["id"],
            update["_name_id"],
        )
        return update

    # Groups

    def create_group(self, context: Any, group: Any) -> dict[str, Any]:
        """Begin a group: StorPool knows none, so there is nothing to make."""
        _check_is_consistent(group)
        return {"status": "available"}

    def delete_group(
        self, context: Any, group: Any, volumes: Sequence[Any]
    ) -> tuple[dict[str, Any], groups.Updates]:
        """Delete the volumes of a group.

        What cannot be deleted is reported; the others are gone.
        """
        _check_is_consistent(group)
        return groups.delete(volumes, self.delete_volume)

    def update_group(
        self, context: Any, group: Any, add_volumes: Any = None, remove_volumes: Any = None
    ) -> tuple[None, None, None]:
        """Do nothing: who is in a group, only Cinder's database knows."""
        _check_is_consistent(group)
        return None, None, None

    def create_group_snapshot(
        self, context: Any, group_snapshot: Any, snapshots: Sequence[Any]
    ) -> tuple[dict[str, Any], groups.Updates]:
        """Freeze all volumes of a group at one moment: all or none."""
        _check_is_consistent(group_snapshot)
        groups.snapshot(self._session(), snapshots)
        LOG.info("group_snapshot_created id=%s snapshots=%s", group_snapshot["id"], len(snapshots))
        return {"status": "available"}, [
            {"id": each["id"], "status": "available"} for each in snapshots
        ]

    def delete_group_snapshot(
        self, context: Any, group_snapshot: Any, snapshots: Sequence[Any]
    ) -> tuple[dict[str, Any], groups.Updates]:
        """Delete the snapshots of a group.

        What cannot be deleted is reported; the others are gone.
        """
        _check_is_consistent(group_snapshot)
        return groups.delete(snapshots, self.delete_snapshot)

    def create_group_from_src(
        self,
        context: Any,
        group: Any,
        volumes: Sequence[Any],
        group_snapshot: Any = None,
        snapshots: Sequence[Any] | None = None,
        source_group: Any = None,
        source_vols: Sequence[Any] | None = None,
    ) -> tuple[None, None]:
        """Make the volumes of a new group as of one moment.

        They come from a group snapshot, or from the volumes of a group.
        """
        _check_is_consistent(group)
        if group_snapshot is not None:
            groups.create_from_snapshots(self._session(), volumes, snapshots or [])
        else:
            groups.create_from_volumes(self._session(), volumes, source_vols or [])
        LOG.info("group_created group=%s volumes=%s", group["id"], len(volumes))
        return None, None

    # What exists already

    def manage_existing(self, volume: Any, existing_ref: Mapping[str, str]) -> None:
        """Take a volume of the cluster into Cinder's care.

        It gets Cinder's name, and whole GiB.
        """
        global_id = managed.take_volume(self._session(), volume, existing_ref)
        LOG.info("volume_managed volume=%s global_id=%s", volume["id"], global_id)

    def manage_existing_get_size(self, volume: Any, existing_ref: Mapping[str, str]) -> int:
        """Return the size of such a volume in GiB, rounded up."""
        return size_gib(managed.find(self._session(), "volume", existing_ref).size_bytes)

    def get_manageable_volumes(
        self,
        cinder_volumes: Any,
        marker: Any,
        limit: int,
        offset: int,
        sort_keys: Any,
        sort_dirs: Any,
    ) -> list[dict[str, Any]]:
        """Return the volumes of the cluster, with the reason where one cannot be managed."""
        session = self._session()
        found = managed.manageable_volumes(session, cinder_volumes)
        page: list[dict[str, Any]] = volume_utils.paginate_entries_list(
            found, marker, limit, offset, sort_keys, sort_dirs
        )
        managed.mark_managed(session, "volume", page)
        return page

    def unmanage(self, volume: Any) -> None:
        """Leave the volume as it is, name and all, so that it can be managed again."""

    def manage_existing_snapshot(self, snapshot: Any, existing_ref: Mapping[str, str]) -> None:
        """Take a snapshot of a volume that Cinder has into Cinder's care."""
        global_id = managed.take_snapshot(self._session(), snapshot, existing_ref)
        LOG.info("snapshot_managed snapshot=%s global_id=%s", snapshot["id"], global_id)

    def manage_existing_snapshot_get_size(
        self, snapshot: Any, existing_ref: Mapping[str, str]
    ) -> int:
        """Return the size of such a snapshot in GiB, rounded up."""
        return size_gib(managed.find(self._session(), "snapshot", existing_ref).size_bytes)

    def get_manageable_snapshots(
        self,
        cinder_snapshots: Any,
        marker: Any,
        limit: int,
        offset: int,
        sort_keys: Any,
        sort_dirs: Any,
    ) -> list[dict[str, Any]]:
        """Return the snapshots of the cluster, with the reason where one cannot be managed."""
        session = self._session()
        found = managed.manageable_snapshots(session, cinder_snapshots)
        page: list[dict[str, Any]] = volume_utils.paginate_entries_list(
            found, marker, limit, offset, sort_keys, sort_dirs
        )
        managed.mark_managed(session, "snapshot", page)
        return page

    def unmanage_snapshot(self, snapshot: Any) -> None:
        """Leave the snapshot as it is, name and all, so that it can be managed again."""

    def _ready(self) -> options.Settings:
        if self._settings is None:
            raise exception.DriverNotInitialized
        return self._settings

    def _session(self, seconds: float | None = None) -> Session:
        return Session(self._ready(), seconds, self.limits)

    def _own_names(self) -> set[str]:
        own = volume_utils.extract_host(self.host, "host") if self.host else None
        return {name for name in (cfg.CONF.host, own) if name}


def _check_is_consistent(group: Any) -> None:
    """Raise NotImplementedError for groups of other types.

    It leaves them to Cinder, which does them one volume at a time.
    """
    if not volume_utils.is_group_a_cg_snapshot_type(group):
        raise NotImplementedError
