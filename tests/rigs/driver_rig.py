"""What the driver's tests share: Cinder's objects as Cinder makes them, and a backend that is
started like Cinder's."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rigs.core_fixtures import GIB, TOKEN, Core

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cinder import context, db, objects
    from cinder.db.sqlalchemy import api as db_api
    from cinder.db.sqlalchemy import models
    from cinder.objects import fields
    from cinder.volume import configuration
    from oslo_config import cfg
    from oslo_db.sqlalchemy import enginefacade

    from cinder_driver import driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storpool_ovirt.cluster import api

objects.register_all()

GROUP = "storpool"
CONTEXT = context.get_admin_context()
CONSISTENT = "11111111-2222-4333-8444-555555555555"


@dataclass
class Backend:
    """A driver that is set up, and the cluster under it."""

    driver: driver.StorPoolDriver
    core: Core

    def there(self) -> dict[str, api.Volume]:
        """Return what is in the cluster by name."""
        return self.core.objects()

    def stored(self, volume: Any) -> api.Volume:
        """Return a Cinder volume as the cluster has it."""
        return self.core.client().volume(f"os--volume-{volume['name_id']}")

    def attach(
        self, volume: Any, client_id: int, *, is_open: bool = False, mode: str = "rw"
    ) -> str:
        """Attach a volume to a client as a host would; return its global id."""
        global_id = self.stored(volume).global_id
        self.core.client().reassign([{"volume": f"~{global_id}", mode: [client_id]}], 5, "volume")
        if is_open:
            self.core.set_client(client_id, open=[global_id])
        return global_id

    def attached(self) -> set[tuple[str, int, str]]:
        """Return what is attached: global id, client, mode."""
        return {
            (each.global_id or "", each.client_id, each.access_mode)
            for each in self.core.client().attachments()
        }

    def fault(self, kind: str, query: str, times: int = 1) -> None:
        """Let the next calls of a query fail."""
        self.core.simulator.faults.add(kind, query=query, times=times, seconds=0.1)

    def queries(self) -> tuple[str, ...]:
        """Return the queries since the last call of this."""
        return self.core.queries()


@contextlib.contextmanager
def backend(core: Core, **given: Any) -> Iterator[Backend]:
    """Start a driver with these options (`None`: not set) beside the cluster's address and
    token."""
    with configured(core, **given) as made:
        made.do_setup(CONTEXT)
        made.check_for_setup_error()
        made.set_initialized()
        core.queries()
        yield Backend(made, core)


@contextlib.contextmanager
def configured(core: Core, **given: Any) -> Iterator[driver.StorPoolDriver]:
    """Make a driver with these options, not started."""
    values = {
        "storpool_api_http_host": core.simulator.host,
        "storpool_api_http_port": core.simulator.port,
        "storpool_auth_token": TOKEN,
        "storpool_template": "nvme",
        **given,
    }
    cfg.CONF.register_group(cfg.OptGroup(GROUP))
    settings = configuration.Configuration([], config_group=GROUP)
    made = driver.StorPoolDriver(configuration=settings, host="engine.example.com@storpool")
    for name, value in values.items():
        cfg.CONF.set_override(name, value, GROUP)
    try:
        yield made
    finally:
        for name in values:
            cfg.CONF.clear_override(name, GROUP)


class Database:
    """Cinder's own database code on an SQLite file: what another backend, or another service,
    has."""

    def volume(self, volume_id: str, name_id: str | None = None) -> None:
        """Enter a volume; `name_id` as a migration may have left it."""
        given = {
            "id": volume_id,
            "_name_id": name_id,
            "size": 1,
            "status": "available",
            "use_quota": True,
        }
        db.volume_create(CONTEXT, {**given, "volume_type_id": volume_id})

    def snapshot(self, snapshot_id: str, volume_id: str) -> None:
        """Enter a snapshot."""
        given = {
            "id": snapshot_id,
            "volume_id": volume_id,
            "volume_size": 1,
            "status": "available",
            "use_quota": True,
        }
        db.snapshot_create(CONTEXT, {**given, "volume_type_id": volume_id})


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Database]:
    """Put an empty database under Cinder's code."""
    made = enginefacade.transaction_context()
    made.configure(connection=f"sqlite:///{folder}/cinder.sqlite")
    # SQLite cannot make the table of services' work with older releases' description of it.
    tables = [each for each in models.BASE.metadata.sorted_tables if each.name != "workers"]
    engine = made.writer.get_engine()
    models.BASE.metadata.create_all(engine, tables=tables)
    restore = db_api.main_context_manager.patch_factory(made)
    try:
        yield Database()
    finally:
        restore()
        engine.dispose()


def volume_type(**extra_specs: str) -> Any:
    """Make a volume type; `qos_class` stands for the extra spec `storpool:qos_class`, `template`
    for its template."""
    names = {"qos_class": "storpool:qos_class", "template": "storpool_template"}
    specs = {names.get(key, key): value for key, value in extra_specs.items()}
    return objects.VolumeType(CONTEXT, id=str(uuid.uuid4()), name="type", extra_specs=specs)


def volume(size: int = 1, **values: Any) -> Any:
    """Make a Cinder volume as the database would give it."""
    given = {
        "id": str(uuid.uuid4()),
        "size": size,
        "status": "available",
        "attach_status": "detached",
        **values,
    }
    given = {"admin_metadata": {}, "volume_attachment": objects.VolumeAttachmentList(), **given}
    if given.get("volume_type") is not None:
        given["volume_type_id"] = given["volume_type"].id
    made = objects.Volume(CONTEXT, **{**_nulls(objects.Volume), **given})
    made.obj_reset_changes()
    return made


def snapshot(of: Any, **values: Any) -> Any:
    """Make a Cinder snapshot of a volume."""
    given = {
        "id": str(uuid.uuid4()),
        "volume_id": of.id,
        "volume": of,
        "volume_size": of.size,
        "status": "available",
    }
    return objects.Snapshot(CONTEXT, **{**_nulls(objects.Snapshot), **given, **values})


def attachment(of: Any, host: str) -> Any:
    """Make Cinder's record of an attachment."""
    given = {
        "id": str(uuid.uuid4()),
        "volume_id": of.id,
        "attached_host": host,
        "attach_status": fields.VolumeAttachStatus.ATTACHED,
        "connector": {"host": host},
    }
    return objects.VolumeAttachment(CONTEXT, **given)


def connector(client_id: int, **more: Any) -> dict[str, Any]:
    """Return what a host without our os-brick connector tells of itself."""
    return {"host": f"host{client_id}.example.com", "ip": "192.0.2.1", "multipath": False, **more}


def _nulls(of: Any) -> dict[str, Any]:
    return {
        name: None
        for name, field in of.fields.items()
        if field.nullable and not name.endswith("metadata")
    }


__all__ = ["GIB"]
