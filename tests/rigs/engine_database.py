"""Engine's own database on a real PostgreSQL: the tables that we read, with Engine's definitions.

    engine = engine_database.made(database, "4.5.7")        # or "master"; with no rows but options
    center = engine.add_data_center("Default")              # with a cluster of the same name in it
    engine.add_data_domain("nfs", center)                   # active, the master
    domain = engine.add_domain("storpool", {"adapter": "storpool", "sp_template": "nvme"}, center)
    host = engine.add_host("host1", center, connector={"host": "host1"})
    engine.set_option("ManagedBlockDomainSupported", "true", "4.7")
    engine.write_conf(root)                                 # engine.conf.d/10-setup-database.conf
    engine.place("storpool", disk)                          # which domain a disk is in
    engine.execute("UPDATE vds_dynamic SET status = 4 WHERE vds_id = %s", host)

    engine_database.with_images(database, root, disk)       # nothing but which images there are

`database` is a fixture of `rigs/stage_fixtures.py` (its own, empty one for each test), beside the
one of the mapping: take `database.fresh("engine")` where the test has both, and `drop` it.

What is missing in it: columns that nobody here reads and that may be empty, views, functions,
audit_log, VMs and disks; what has a foreign key to those has none. The definitions are those of
ovirt-engine 4.5.7 and its master (packaging/dbscripts/create_tables.sql with all of upgrade/).
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovirt_demo.database import Database

RELEASES = ("4.5.7", "master")
CONF = "10-setup-database.conf"
NFS, MANAGED_BLOCK = 1, 10  # StorageType
MASTER, DATA, MANAGED = 0, 1, 7  # StorageDomainType
ACTIVE, UP = 3, 3  # StorageDomainStatus, VDSStatus

_TABLES = """
CREATE SEQUENCE vdc_options_seq;
CREATE TABLE vdc_options (
    option_id integer DEFAULT nextval('vdc_options_seq'::regclass) NOT NULL PRIMARY KEY,
    option_name character varying(100) NOT NULL,
    option_value text NOT NULL,
    version character varying(40) DEFAULT 'general'::character varying NOT NULL,
    default_value text NOT NULL
);
CREATE TABLE storage_domain_static (
    id uuid NOT NULL PRIMARY KEY,
    storage character varying(250) NOT NULL,
    storage_name character varying(250) NOT NULL,
    storage_domain_type integer NOT NULL,
    storage_type integer NOT NULL,
    storage_domain_format_type character varying(50) DEFAULT '0'::character varying NOT NULL,
    storage_description character varying(4000) NOT NULL,
    storage_comment text NOT NULL
);
CREATE TABLE storage_domain_dynamic (
    id uuid NOT NULL PRIMARY KEY REFERENCES storage_domain_static(id),
    available_disk_size integer,
    used_disk_size integer,
    external_status integer DEFAULT 0 NOT NULL
);
CREATE TABLE storage_pool (
    id uuid NOT NULL PRIMARY KEY,
    name character varying(40) NOT NULL,
    description character varying(4000) NOT NULL,
    status integer NOT NULL,
    master_domain_version integer NOT NULL,
    compatibility_version character varying(40) DEFAULT '2.2'::character varying NOT NULL,
    free_text_comment text NOT NULL
);
CREATE TABLE storage_pool_iso_map (
    storage_id uuid NOT NULL REFERENCES storage_domain_static(id) ON DELETE CASCADE,
    storage_pool_id uuid NOT NULL REFERENCES storage_pool(id) ON DELETE CASCADE,
    status integer,
    CONSTRAINT pk_storage_domain_pool_map PRIMARY KEY (storage_id, storage_pool_id)
);
CREATE TABLE cluster (
    cluster_id uuid NOT NULL PRIMARY KEY,
    name character varying(40) NOT NULL,
    description character varying(4000) NOT NULL,
    free_text_comment text NOT NULL,
    storage_pool_id uuid REFERENCES storage_pool(id) ON DELETE SET NULL,
    compatibility_version character varying(40) DEFAULT '2.2'::character varying NOT NULL
);
CREATE TABLE vds_static (
    vds_id uuid NOT NULL PRIMARY KEY,
    vds_name character varying(255) NOT NULL,
    vds_unique_id character varying(128),
    host_name character varying(255) NOT NULL,
    port integer NOT NULL,
    cluster_id uuid NOT NULL REFERENCES cluster(cluster_id),
    free_text_comment text NOT NULL,
    UNIQUE (vds_name, cluster_id),
    UNIQUE (host_name, cluster_id)
);
CREATE TABLE vds_dynamic (
    vds_id uuid NOT NULL PRIMARY KEY REFERENCES vds_static(vds_id),
    status integer NOT NULL,
    software_version character varying(40),
    hooks text DEFAULT ''::character varying,
    rpm_version character varying(256) DEFAULT NULL::character varying,
    connector_info jsonb
);
CREATE TABLE cinder_storage (
    storage_domain_id uuid NOT NULL,
    driver_options jsonb NOT NULL,
    driver_sensitive_options text,
    CONSTRAINT pk_cinder_storage PRIMARY KEY (storage_domain_id),
    FOREIGN KEY (storage_domain_id) REFERENCES storage_domain_static(id) ON DELETE CASCADE
);
"""
_PLACES = """
CREATE TABLE IF NOT EXISTS images (image_guid uuid PRIMARY KEY, image_group_id uuid);
CREATE TABLE IF NOT EXISTS image_storage_domain_map (
    image_id uuid NOT NULL, storage_domain_id uuid NOT NULL,
    PRIMARY KEY (image_id, storage_domain_id)
);
"""
# upgrade/04_05_0320_rename_cinderlib_storage_to_mb_storage.sql
_LATER = """
ALTER TABLE cinder_storage RENAME TO mb_storage;
ALTER INDEX pk_cinder_storage RENAME TO pk_mb_storage;
"""
# As engine-setup leaves them (upgrade/pre_upgrade/0000_config.sql), 4.5 and what it supports.
LEVELS = ("4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "4.8")
_SINCE = "4.6"


@dataclass(frozen=True)
class EngineDatabase:
    """Engine's database; see the module."""

    database: Database
    release: str

    @property
    def storage(self) -> str:
        """The table of drivers' options."""
        return "mb_storage" if self.release == "master" else "cinder_storage"

    def execute(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement, and return its rows."""
        with (
            contextlib.closing(self.database.connect()) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def empty(self) -> None:
        """Take all rows away but those of the options."""
        self.execute(
            f"TRUNCATE storage_domain_static, storage_domain_dynamic, {self.storage}, storage_pool,"
            " storage_pool_iso_map, cluster, vds_static, vds_dynamic"
        )

    def add_data_center(self, name: str = "Default", level: str = "4.7", status: int = 1) -> str:
        """Make a data center with one cluster of the same name, and return its id."""
        center = str(uuid.uuid4())
        self.execute(
            "INSERT INTO storage_pool VALUES (%s, %s, '', %s, 1, %s, '')",
            *(center, name, status, level),
        )
        self.execute(
            "INSERT INTO cluster VALUES (%s, %s, '', '', %s, %s)",
            *(str(uuid.uuid4()), name, center, level),
        )
        return center

    def add_domain(
        self,
        name: str,
        options: Mapping[str, object],
        data_center: str | None = None,
        *,
        sealed: str | None = None,
        status: int = ACTIVE,
    ) -> str:
        """Make a managed block domain, attached to a data center or not, and return its id.

        `sealed` is the text of driver_sensitive_options as Engine stores it (encrypted); a text of
        JSON stands for itself.
        """
        domain = self._domain(name, MANAGED, MANAGED_BLOCK, data_center, status)
        self.execute(
            f"INSERT INTO {self.storage} VALUES (%s, %s, %s)",
            *(domain, json.dumps(options), sealed),
        )
        return domain

    def place(self, domain: str, *disks: str) -> None:
        """Have these disks be in the domain of this name."""
        self.execute(_PLACES)
        for disk in disks:
            image = str(uuid.uuid4())
            self.execute("INSERT INTO images VALUES (%s, %s)", image, disk)
            self.execute(
                "INSERT INTO image_storage_domain_map SELECT %s, id FROM storage_domain_static"
                " WHERE storage_name = %s",
                *(image, domain),
            )

    def add_data_domain(
        self, name: str, data_center: str, *, master: bool = True, status: int = ACTIVE
    ) -> str:
        """Make a domain on NFS in a data center, and return its id."""
        return self._domain(name, MASTER if master else DATA, NFS, data_center, status)

    def _domain(self, name: str, kind: int, storage: int, center: str | None, status: int) -> str:
        domain = str(uuid.uuid4())
        self.execute(
            "INSERT INTO storage_domain_static VALUES (%s, '', %s, %s, %s, '0', '', '')",
            *(domain, name, kind, storage),
        )
        self.execute("INSERT INTO storage_domain_dynamic VALUES (%s)", domain)
        if center is not None:
            self.execute(
                "INSERT INTO storage_pool_iso_map VALUES (%s, %s, %s)", domain, center, status
            )
        return domain

    def add_host(
        self,
        name: str,
        data_center: str,
        *,
        vdsm: str | None = "vdsm-4.50.7-1.el9",
        connector: Mapping[str, object] | None = None,
        status: int = UP,
        hooks: str = "",
    ) -> str:
        """Make a host in the first cluster of a data center, and return its id.

        `connector` is what it told of itself; None is a host that did not.
        """
        host = str(uuid.uuid4())
        self.execute(
            "INSERT INTO vds_static SELECT %s, %s, %s, %s, 54321, cluster_id, '' FROM cluster"
            " WHERE storage_pool_id = %s ORDER BY name LIMIT 1",
            *(host, name, host, f"{name}.example", data_center),
        )
        told = None if connector is None else json.dumps(connector)
        self.execute(
            "INSERT INTO vds_dynamic VALUES (%s, %s, '4.50', %s, %s, %s)",
            *(host, status, hooks, vdsm, told),
        )
        return host

    def set_option(self, name: str, value: str, version: str = "general") -> None:
        """Set what `engine-config -s` sets."""
        self.execute(
            "DELETE FROM vdc_options WHERE option_name = %s AND version = %s", name, version
        )
        self.execute(
            "INSERT INTO vdc_options (option_name, option_value, version, default_value)"
            " VALUES (%s, %s, %s, %s)",
            *(name, value, version, value),
        )

    def write_conf(self, root: Path, **facts: str) -> Path:
        """Write what engine-setup writes about this database, below a folder that stands for `/`.

        `facts` are other values than the right ones, like `PASSWORD="wrong"`.
        """
        folder = root / "etc" / "ovirt-engine" / "engine.conf.d"
        folder.mkdir(parents=True, exist_ok=True)
        login = self.database.login
        told = {
            "HOST": login.host,
            "PORT": str(login.port),
            "USER": login.user,
            "PASSWORD": login.password,
            "DATABASE": self.database.name,
            **facts,
        }
        file = folder / CONF
        file.write_text("".join(f'ENGINE_DB_{key}="{value}"\n' for key, value in told.items()))
        return file


def with_images(database: Database, root: Path, *uuids: str) -> EngineDatabase:
    """Have Engine know these disks and snapshots and no others, and say where it does; `database`
    may have the mapping too."""
    engine = EngineDatabase(database, "4.5.7")
    engine.execute("CREATE TABLE IF NOT EXISTS images (image_guid uuid PRIMARY KEY)")
    engine.execute("TRUNCATE images")
    engine.execute("INSERT INTO images SELECT unnest(%s::uuid[])", list(uuids))
    engine.write_conf(root)
    return engine


def made(database: Database, release: str = "4.5.7") -> EngineDatabase:
    """Make Engine's tables in an empty database, with the options of a fresh Engine."""
    assert release in RELEASES
    engine = EngineDatabase(database, release)
    engine.execute(_TABLES + (_LATER if release == "master" else ""))
    for level in LEVELS:
        supported = str(level >= _SINCE).lower()
        engine.set_option("ManagedBlockDomainSupported", supported, level)
        engine.set_option("UserDefinedVMProperties", "", level)
    later = release == "master"
    for name, value in {
        "ProductRPMVersion": "4.5.8-0.master.el9" if later else "4.5.7-1.el9",
        f"{'ManagedBlock' if later else 'Cinderlib'}CommandTimeoutInMinutes": "2",
        "CustomVdsFenceType": "",
        "CustomVdsFenceOptionMapping": "",
        "CustomFenceAgentMapping": "",
    }.items():
        engine.set_option(name, value)
    return engine
