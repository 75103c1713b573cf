"""The options of a storage domain: the one home of each, with how it is read, what it is without,
and why one would set it.

How a text is read is in `option_values.py`, what all of them together say in `config.py`.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, option_values, storpool_conf, text
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

API_PORT = 81  # StorPool's default, `storpool.spconfig.DEFAULTS`
# Below Engine's own two minutes, which count only after our output has ended.
DEADLINE_SECONDS = 100.0
# Longer than anybody means to keep what was deleted: a number that is none by mistake.
TRASH_DAYS_MAX = 366
DELETES_MAX = 10_000  # ours: Engine starts no so many verbs
IOPS_MAX = 100_000_000  # ours: no volume comes near it
BANDWIDTH_MAX = 1_000_000  # ours, in MiB/s
SNAPSHOTS_MAX = 10_000  # ours: a longer chain of one disk is no plan of anybody's


class Option(NamedTuple):
    """One driver option: its name, how it is read, where it comes from when absent, and why one
    would set it.

    `is_policy`: what storpool.conf has of it fails no verb, whatever it is (`conf_faults`).
    """

    name: str
    parse: Callable[[str], Any]
    conf_key: str | None
    default: str | None
    meaning: str
    is_policy: bool = False

    def given(self, options: Mapping[str, object]) -> Any:
        """Return what a domain's options say of this one, None for nothing; raise ConfigError."""
        value = options.get(self.name)
        if value is None or value == "":
            return None
        if isinstance(value, bool):
            value = str(value).lower()
        where = f"driver option {self.name}"
        if not isinstance(value, (str, int, float)):
            raise errors.ConfigError(where, "is not a plain value", "give a text or a number")
        return option_values.parsed(self.parse, text.stripped(str(value)), where)

    def of_conf(self, value: str, file: str = storpool_conf.FILE) -> Any:
        """Return what a text of storpool.conf's, or the default, says of this one; raise
        ConfigError."""
        return option_values.parsed(self.parse, value, f"{self.conf_key} in {file}")


# By which the API is reached; a host has them in its storpool.conf alone.
OF_API = (
    Option(
        "sp_api_http_host",
        option_values.host,
        "SP_API_HTTP_HOST",
        None,
        "address of the StorPool API, best the floating one",
    ),
    Option(
        "sp_api_http_port",
        option_values.port,
        "SP_API_HTTP_PORT",
        str(API_PORT),
        "port of the StorPool API",
    ),
    Option(
        "sp_auth_token",
        option_values.token,
        "SP_AUTH_TOKEN",
        None,
        "API token; every local user of Engine's machine can see it",
    ),
)
OPTIONS = (
    *OF_API,
    Option(
        "sp_auth_token_file",
        option_values.path,
        None,
        None,
        "file with the token alone: it stays out of argv and of Engine's log",
    ),
    Option(
        "sp_template",
        option_values.shaped(
            names.TEMPLATE, "give the name of a StorPool template (letters, digits, _ and -)"
        ),
        None,
        None,
        "template of new volumes; without it the cluster's default placement",
    ),
    Option(
        "sp_multicluster",
        option_values.boolean,
        None,
        "false",
        "true where several clusters form one name space; hosts need SP_OVIRT_MULTICLUSTER=1 then",
    ),
    Option(
        "sp_cluster_id",
        option_values.shaped(names.CLUSTER_ID, "give the id as SP_CLUSTER_ID has it, like bgu4.n"),
        None,
        None,
        "pins the cluster (recommended): every verb refuses another one, also after a change of"
        " address",
    ),
    Option(
        "sp_deadline",
        option_values.number(1, DEADLINE_SECONDS),
        None,
        f"{DEADLINE_SECONDS:g}",
        "seconds until a verb gives up",
    ),
    Option(
        "sp_group_snapshot",
        option_values.boolean,
        None,
        "true",
        "false: a snapshot of a running VM is made disk by disk, and not of all at one moment",
    ),
    Option(
        "sp_snapshot_key",
        option_values.one_of(option_values.CORRELATION_KEY, option_values.ENGINE_KEY),
        None,
        option_values.CORRELATION_KEY,
        "engine: the snapshots of one action are told by the id that Engine's database has for it",
    ),
    Option(
        "sp_vm_tag",
        option_values.vm_tag,
        storpool_conf.VM_TAG_KEY,
        names.TAG_VM,
        f"tag that names the VM of a volume; hosts need the same as {storpool_conf.VM_TAG_KEY}",
    ),
    Option(
        "sp_transport",
        option_values.one_of(*option_values.TRANSPORTS),
        storpool_conf.TRANSPORT_KEY,
        option_values.AUTO,
        "binding: StorPool's official binding carries every request, wire: our own code does; auto:"
        " each program has what suits it",
    ),
    Option(
        "sp_delete_delay",
        option_values.duration(TRASH_DAYS_MAX),
        storpool_conf.DELETE_DELAY_KEY,
        "48h",
        "how long a deleted disk is kept in the trash, like 48h or 7d; 0: it is gone at once",
    ),
    Option(
        "sp_snapshot_delete_delay",
        option_values.duration(TRASH_DAYS_MAX),
        storpool_conf.SNAPSHOT_DELETE_DELAY_KEY,
        "0",
        "the same for a single snapshot that is deleted",
    ),
    Option(
        "sp_backup_on_delete",
        option_values.copy_to_or_nowhere,
        storpool_conf.BACKUP_KEY,
        "none",
        "StorPool location to which a disk is copied before it is deleted; 'LOCATION:tag KEY=VALUE"
        " ...' gives the copies tags",
    ),
    Option(
        "sp_max_snapshots",
        option_values.count(SNAPSHOTS_MAX),
        storpool_conf.MAX_SNAPSHOTS_KEY,
        "0",
        "how many snapshots a disk may have; one more is refused, for a VM before any is made; 0:"
        " any number",
    ),
    Option(
        "sp_max_deletes",
        option_values.count(DELETES_MAX),
        storpool_conf.MAX_DELETES_KEY,
        "10",
        "how many disks may be deleted a minute, over ten minutes; more are refused; 0: any number",
    ),
    Option(
        "sp_qos_class",
        option_values.policy_value,
        storpool_conf.QOS_CLASS_KEY,
        None,
        "QoS class of new disks, for StorPool's storpool_qos; none: none",
        is_policy=True,
    ),
    Option(
        "sp_qos_classes",
        option_values.classes,
        storpool_conf.QOS_CLASSES_KEY,
        None,
        "the QoS classes that there are, like gold,silver: a mistyped one is refused",
        is_policy=True,
    ),
    Option(
        "sp_vc_policy",
        option_values.policy_value,
        storpool_conf.VC_POLICY_KEY,
        None,
        "policy of StorPool's VolumeCare for new disks; no: it leaves them alone; none: none",
        is_policy=True,
    ),
    Option(
        "sp_tags",
        option_values.free_tags,
        storpool_conf.TAGS_KEY,
        None,
        "further tags of new disks, 'KEY=VALUE ...', as far as StorPool has room for them",
        is_policy=True,
    ),
    Option(
        "sp_iops",
        option_values.count(IOPS_MAX),
        storpool_conf.IOPS_KEY,
        None,
        "most requests a second of a new disk, where no QoS class says it; 0: any number",
        is_policy=True,
    ),
    Option(
        "sp_bw",
        option_values.count(BANDWIDTH_MAX),
        storpool_conf.BANDWIDTH_KEY,
        None,
        "most MiB a second of a new disk, where no QoS class says it; 0: any number",
        is_policy=True,
    ),
)


def conf_faults(conf: Mapping[str, str]) -> Iterator[tuple[str, errors.ConfigError]]:
    """Yield the keys of storpool.conf that no verb fails for although they are wrong, each with
    what is wrong with it."""
    for option in OPTIONS:
        value = conf.get(option.conf_key or "")
        if not option.is_policy or not value:
            continue
        try:
            option.of_conf(value)
        except errors.ConfigError as error:
            yield str(option.conf_key), error
