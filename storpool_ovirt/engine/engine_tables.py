"""Engine's own database, read only: its managed block domains, its hosts, what it is set to.

The tables and the numbers in them are oVirt's (ovirt-engine, packaging/dbscripts; the enums
StorageDomainStatus, VDSStatus, StorageType, StorageDomainType). Nothing is written here: each
connection is told so, and each question has an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from storpool_ovirt import config, errors, names
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import conf, connection, database, database_url, driver
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from storpool_ovirt.engine import tree

# A server that is there answers within this.
CONNECT_SECONDS = 5.0
# All of it: a few small tables. Who asks a person, or a monitor, waits for it.
READ_SECONDS = 8.0
WHAT = "Engine's own database"

# What Engine is set to, as `engine-config -g` has it.
OPTIONS = (
    "CinderlibCommandTimeoutInMinutes",
    "CustomFenceAgentMapping",
    "CustomVdsFenceOptionMapping",
    "CustomVdsFenceType",
    "ManagedBlockCommandTimeoutInMinutes",
    "ManagedBlockDomainSupported",
    "ProductRPMVersion",
    "UserDefinedVMProperties",
)
RELEASE, GENERAL = "ProductRPMVersion", "general"

ACTIVE, UP = "active", "up"
_DOMAIN_STATUS = (
    "unknown",
    "uninitialized",
    "unattached",
    ACTIVE,
    "inactive",
    "locked",
    "maintenance",
    "preparing for maintenance",
    "detaching",
    "activating",
)
_HOST_STATUS = (
    "unassigned",
    "down",
    "maintenance",
    UP,
    "non responsive",
    "error",
    "installing",
    "install failed",
    "reboot",
    "preparing for maintenance",
    "non operational",
    "pending approval",
    "initializing",
    "connecting",
    "installing its system",
    "kdumping",
)
_CENTER_STATUS = (
    "uninitialized",
    UP,
    "maintenance",
    "not operational",
    "non responsive",
    "contend",
)

_MANAGED_BLOCK = 10  # StorageType.MANAGED_BLOCK_STORAGE
_DATA = (0, 1)  # StorageDomainType.Master, Data


@dataclass(frozen=True)
class Attachment:
    """A domain in a data center; the status is in words, like `active`."""

    data_center_id: str
    data_center: str
    status: str


@dataclass(frozen=True)
class Domain:
    """A managed block domain, whoever serves it.

    `options` are those that Engine shows to its users, `sealed` are the sensitive ones as they
    stand in the database (`sealed_options.opened` reads them). Neither is for anybody's eyes:
    somebody may have put a token into the wrong one.
    """

    id: str
    name: str
    options: Mapping[str, object] = field(repr=False)
    sealed: Secret | None
    attachments: Sequence[Attachment]

    @property
    def adapter(self) -> str | None:
        """The adapter that Engine gives this domain to, None where it gives it to none."""
        said = self.options.get(names.ADAPTER_KEY)
        return said if isinstance(said, str) else None

    @property
    def is_ours(self) -> bool:
        """Whether Engine gives this domain to our adapter, and to nothing beside it."""
        return self.adapter == names.ADAPTER and config.CINDER_DRIVER not in self.options

    @property
    def mistake(self) -> str:
        """Why a domain that is meant to be ours is not, in words; empty for all others."""
        if self.is_ours:
            return ""
        if self.adapter == names.ADAPTER:
            return (
                f"it has the option {config.CINDER_DRIVER} beside {names.ADAPTER_KEY}, so Engine's"
                " own cinderlib client serves it too"
            )
        near = [key for key in self.options if key.strip().lower() == names.ADAPTER_KEY]
        said = [self.options[key] for key in near]
        for key, value in zip(near, said):
            if key != names.ADAPTER_KEY and _is_nearly(value):
                return f"its option {names.shown(key)} must be written {names.ADAPTER_KEY}"
        if near and (any(map(_is_nearly, said)) or self._has_ours):
            return f"its {names.ADAPTER_KEY} is {names.shown(str(said[0]))}, not {names.ADAPTER}"
        return f"it has no option {names.ADAPTER_KEY}" if self._has_ours and not near else ""

    @property
    def _has_ours(self) -> bool:
        return any(key.strip().lower().startswith(config.PREFIX) for key in self.options)


@dataclass(frozen=True)
class Host:
    """A host of Engine's.

    `vdsm` is its package, like vdsm-4.50.7-1.el9, empty where the host never told it; `connector`
    is what it told about itself for managed block storage, None where it did not: such a host gets
    no disk. `hooks` are those of its capabilities, as text.
    """

    id: str
    name: str
    address: str
    cluster: str
    cluster_level: str
    data_center: str
    status: str
    vdsm: str
    connector: Mapping[str, object] | None
    hooks: str = field(repr=False)

    @property
    def volume_type(self) -> str | None:
        """Under which type the host asks for our volumes (`names.VOLUME_TYPE_KEY`), None where it
        does not ask."""
        said = (self.connector or {}).get(names.VOLUME_TYPE_KEY)
        return said if isinstance(said, str) else None


@dataclass(frozen=True)
class DataCenter:
    """A data center; `data_domains` are those of its active domains that hold leases and can be
    master, which no managed block domain can."""

    id: str
    name: str
    level: str
    status: str
    data_domains: Sequence[str]


@dataclass(frozen=True)
class Tables:
    """What Engine knows, all of one look.

    `release` is that of Engine's package, empty where it is not told. `is_later` tells an Engine
    after 4.5.7, which starts adapters itself. `other_domains` are the names of domains of other
    types. `options` are values by name and version ("general", "4.7"). `at` is the server's clock
    then, in seconds since 1970.
    """

    release: str
    is_later: bool
    domains: Sequence[Domain]
    other_domains: Sequence[str]
    hosts: Sequence[Host]
    data_centers: Sequence[DataCenter]
    options: Mapping[str, Mapping[str, str]] = field(repr=False)
    at: float

    @property
    def ours(self) -> list[Domain]:
        """The domains that Engine gives to our adapter, whoever else it gives them to."""
        return [each for each in self.domains if each.adapter == names.ADAPTER]

    @property
    def storage(self) -> str:
        """The table of the domains' options."""
        return storage_table(self.is_later)

    def option(self, name: str, version: str = GENERAL) -> str | None:
        """Return what Engine is set to, None where its database has no such value."""
        return self.options.get(name, {}).get(version)


def storage_table(is_later: bool) -> str:
    """Return the table in which an Engine has the options of managed block domains."""
    return "mb_storage" if is_later else "cinder_storage"


def of_this_machine(deadline: Deadline, root: str = "") -> Tables:
    """Return what the Engine of this machine knows.

    Raises ConfigError where this is not Engine's machine or its files may not be read, else as
    `read` does.
    """
    return read(conf.own_database(root), deadline)


def read(address: database_url.Database, deadline: Deadline) -> Tables:
    """Return what the Engine knows whose own database this is.

    Raises DatabaseUnavailable, DeadlineExceeded; ConfigError for a database that has no tables of
    Engine's.
    """
    with _opened(address, deadline.within(READ_SECONDS)) as ask:
        is_later, is_released, is_engines, at = ask(_WHICH)[0]
        if not is_engines or not (is_later or is_released):
            raise errors.ConfigError(
                f"{WHAT} {address}",
                "has no tables of an Engine with managed block storage",
                "is it Engine's, 4.3 or newer?",
            )
        options = _options(ask(_OPTIONS, [*OPTIONS]))
        return Tables(
            release=options.get(RELEASE, {}).get(GENERAL, ""),
            is_later=is_later,
            domains=_domains(ask, storage_table(is_later)),
            other_domains=[name for (name,) in ask(_OTHER_DOMAINS, _MANAGED_BLOCK)],
            hosts=[_host(row) for row in ask(_HOSTS)],
            data_centers=_data_centers(ask),
            options=options,
            at=float(at),
        )


_WHICH = """
    SELECT to_regclass('public.mb_storage') IS NOT NULL,
        to_regclass('public.cinder_storage') IS NOT NULL,
        to_regclass('public.storage_domain_static') IS NOT NULL,
        extract(epoch FROM clock_timestamp())
"""
_OPTIONS = """
    SELECT option_name, version, option_value FROM public.vdc_options
    WHERE option_name = ANY (%s) ORDER BY option_id
"""
_DOMAINS = """
    SELECT d.id::text, d.storage_name, s.driver_options, s.driver_sensitive_options
    FROM public.storage_domain_static d LEFT JOIN public.{} s ON s.storage_domain_id = d.id
    WHERE d.storage_type = %s ORDER BY d.storage_name, d.id
"""
_OTHER_DOMAINS = """
    SELECT storage_name FROM public.storage_domain_static WHERE storage_type <> %s ORDER BY 1
"""
_ATTACHMENTS = """
    SELECT m.storage_id::text, p.id::text, p.name, m.status
    FROM public.storage_pool_iso_map m JOIN public.storage_pool p ON p.id = m.storage_pool_id
    JOIN public.storage_domain_static d ON d.id = m.storage_id
    WHERE d.storage_type = %s ORDER BY p.name
"""
_HOSTS = """
    SELECT h.vds_id::text, h.vds_name, h.host_name, c.name, c.compatibility_version,
        coalesce(p.name, ''), y.status, coalesce(y.rpm_version, ''), y.connector_info,
        coalesce(y.hooks, '')
    FROM public.vds_static h JOIN public.vds_dynamic y ON y.vds_id = h.vds_id
    JOIN public.cluster c ON c.cluster_id = h.cluster_id
    LEFT JOIN public.storage_pool p ON p.id = c.storage_pool_id
    ORDER BY h.vds_name, h.vds_id
"""
_DATA_CENTERS = """
    SELECT id::text, name, compatibility_version, status FROM public.storage_pool ORDER BY name
"""
_DATA_DOMAINS = """
    SELECT m.storage_pool_id::text, d.storage_name
    FROM public.storage_pool_iso_map m JOIN public.storage_domain_static d ON d.id = m.storage_id
    WHERE d.storage_type <> %s AND d.storage_domain_type = ANY (%s) AND m.status = %s
    ORDER BY d.storage_name
"""


class _Questions:
    def __init__(self, connected: Any, address: database_url.Database) -> None:
        self._connected = connected
        self._address = address

    def __call__(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        with connection.translated(self._address), driver.cursor(self._connected) as cursor:
            cursor.execute(sql, args)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows


def silent_asked(
    work: tree.Work, event: str, question: str, *args: object
) -> list[tuple[Any, ...]] | None:
    """Return the rows of one question to Engine's own database; None, and a line of the log with
    this event, where it cannot be asked. Raises Interrupted."""
    try:
        limit = work.mapping.session.deadline.within(READ_SECONDS)
        return database.ask_engine(work.root, work.log, limit, question, *args)
    except errors.Interrupted:
        raise
    except errors.Error as error:
        work.log.line(event, reason=error)
        return None


@contextmanager
def _opened(address: database_url.Database, deadline: Deadline) -> Iterator[_Questions]:
    what = f"{WHAT} {address}"

    def settings() -> dict[str, object]:
        return {
            "default_transaction_read_only": "on",
            "statement_timeout": int(1000 * deadline.left(what)),
        }

    try:
        with connection.opened(address, deadline, settings, what, CONNECT_SECONDS) as connected:
            yield _Questions(connected, address)
    except errors.DatabaseUnavailable as error:
        raise errors.DatabaseUnavailable(error.where, error.why, WHAT) from error


def _options(rows: list[tuple[Any, ...]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, version, value in rows:
        found.setdefault(name, {})[version] = value
    return found


def _domains(ask: _Questions, table: str) -> list[Domain]:
    attached: dict[str, list[Attachment]] = {}
    for domain_id, center_id, center, status in ask(_ATTACHMENTS, _MANAGED_BLOCK):
        word = _word(_DOMAIN_STATUS, status)
        attached.setdefault(domain_id, []).append(Attachment(center_id, center, word))
    return [
        Domain(
            id=domain_id,
            name=name,
            options=options if isinstance(options, dict) else {},
            sealed=Secret(sealed) if sealed else None,
            attachments=attached.get(domain_id, []),
        )
        for domain_id, name, options, sealed in ask(_DOMAINS.format(table), _MANAGED_BLOCK)
    ]


def _host(row: tuple[Any, ...]) -> Host:
    host_id, name, address, cluster, level, center, status, vdsm, connector, hooks = row
    return Host(
        id=host_id,
        name=name,
        address=address,
        cluster=cluster,
        cluster_level=level,
        data_center=center,
        status=_word(_HOST_STATUS, status),
        vdsm=vdsm,
        connector=connector if isinstance(connector, dict) else None,
        hooks=hooks,
    )


def _data_centers(ask: _Questions) -> list[DataCenter]:
    active = _DOMAIN_STATUS.index(ACTIVE)
    rows = ask(_DATA_DOMAINS, _MANAGED_BLOCK, [*_DATA], active)
    return [
        DataCenter(
            id=center_id,
            name=name,
            level=level,
            status=_word(_CENTER_STATUS, status),
            data_domains=[domain for center, domain in rows if center == center_id],
        )
        for center_id, name, level, status in ask(_DATA_CENTERS)
    ]


def _word(words: Sequence[str], number: object) -> str:
    """Return the word for one of Engine's numbers, which a later Engine may have more of."""
    if isinstance(number, int) and 0 <= number < len(words):
        return words[number]
    return "unknown" if number is None else f"unknown ({number})"


def _is_nearly(value: object) -> bool:
    """Return whether a text is meant to be our adapter's name."""
    import difflib

    word = str(value).strip().lower()
    is_near = bool(difflib.get_close_matches(word, [names.ADAPTER], 1, 0.75))
    return is_near or word.startswith(names.ADAPTER)
