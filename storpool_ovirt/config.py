"""Settings: the options of a storage domain, completed from /etc/storpool.conf, and what a host's
own storpool.conf says.

Each option lives in `option_table.py`, which who needs no settings does not load.
"""

from __future__ import annotations

import os

from storpool_ovirt import documents, errors, names, option_values, rights, storpool_conf, text
from storpool_ovirt.light import TYPE_CHECKING, dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from storpool_ovirt.option_table import Option
    from storpool_ovirt.secret import Secret

ROOT_VARIABLE = "STORPOOL_OVIRT_ROOT"
PREFIX = "sp_"
CINDER_DRIVER = "volume_driver"  # by which cinderlib loads a driver; without it it loads none
ENGINE_LOG_FOLDER = "/var/log/ovirt-engine"
# Of the helper and the boot hook: who asks why a volume was detached finds all of it in one place.
HELPER_LOG = "/var/log/vdsm/storpool-helper.log"


@dataclass(frozen=True)
class Api:
    """How to reach one StorPool cluster.

    `cluster_id` pins it: every request is addressed to that cluster. `transport` is how it is
    talked to.
    """

    host: str
    port: int
    token: Secret
    multicluster: bool = False
    cluster_id: str | None = None
    transport: str = option_values.AUTO

    def preferring(self, transport: str) -> Api:
        """Return these settings with this transport where they leave it to the program."""
        return replace(self, transport=transport) if self.transport == option_values.AUTO else self

    @property
    def address(self) -> str:
        """Where it is, for messages."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Domain:
    """What a storage domain's driver options say.

    The delays are how long what is deleted is kept in the trash, in seconds; 0: it goes at once.
    `backup_on_delete` is where a disk is copied before that.
    `max_snapshots` is how many a disk may have, `max_deletes` how many disks may be deleted a
    minute; 0: any number.
    New disks get this QoS class, this policy of VolumeCare's (None: nothing is said, "": none),
    these tags, and at most so many `iops` and MiB/s (0: no limit). `qos_classes` are the classes
    that there are, empty where that is not known.
    """

    api: Api
    template: str | None
    deadline_seconds: float
    group_snapshot: bool = True
    snapshot_key: str = option_values.CORRELATION_KEY
    vm_tag: str = names.TAG_VM
    delete_delay_seconds: int = 0
    snapshot_delete_delay_seconds: int = 0
    backup_on_delete: option_values.CopyTo | None = None
    max_snapshots: int = 0
    max_deletes: int = 0
    qos_class: str | None = None
    qos_classes: tuple[str, ...] = ()
    vc_policy: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    iops: int = 0
    bandwidth_mib: int = 0

    @property
    def key(self) -> str:
        """By what our tables tell domains apart: the cluster, or the API's address, and the
        template."""
        return f"{self.api.cluster_id or self.api.address} {self.template or '-'}"

    @property
    def has_policy(self) -> bool:
        """Whether the options say anything of new disks."""
        said = self.qos_class is not None or self.vc_policy is not None
        return said or bool(self.tags or self.iops or self.bandwidth_mib)


@dataclass(frozen=True)
class HostSettings:
    """What a host's own storpool.conf says: its cluster, its client id there, what names of
    Cinder's begin with, the tag that names a volume's VM, and which QoS classes there are.

    The tag is empty where it cannot be used, and the classes where nobody knows them: neither is
    worth a refused start.
    """

    api: Api
    client_id: int
    openstack_prefix: str = storpool_conf.OPENSTACK_PREFIX
    vm_tag: str = names.TAG_VM
    qos_classes: tuple[str, ...] = ()


def root() -> str:
    """Return the folder that stands for this host's `/`, or an empty text on a real host."""
    return os.environ.get(ROOT_VARIABLE, "").rstrip("/")


def engine_log(program: str) -> str:
    """Return where a program of Engine's machine writes its log: Engine tells its folder in its
    environment."""
    return (
        f"{os.environ.get('ENGINE_LOG') or root() + ENGINE_LOG_FOLDER}/managedblock/{program}.log"
    )


def parse_driver_json(
    text: str, what: str = "the driver options argument", example: str = ""
) -> dict[str, object]:
    """Return the driver options that Engine passes as one JSON object; raise ConfigError when it is
    none.

    `what` has the text, `example` is shown to a person who wrote it.
    """
    advice = "it must be one JSON object with the domain's driver options" + (
        f", like {example}" if example else ""
    )
    options = documents.parse(text, what, advice, errors.ConfigError)
    if not isinstance(options, dict):
        raise errors.ConfigError(what, "is not a JSON object", advice)
    return options


def domain(options: Mapping[str, object], root: str = "", prefix: str = PREFIX) -> Domain:
    """Return the settings of a storage domain; what `options` lack comes from storpool.conf.

    A key of ours that is not known is refused, keys of others are ignored.

    `prefix` begins the names of the options where they are not oVirt's. Raises ConfigError naming
    the option and what to do; never with a secret in its text.
    """
    given = _read(options, root, prefix)
    api = Api(
        given["api_http_host"],
        given["api_http_port"],
        given["auth_token"],
        given["multicluster"],
        given["cluster_id"],
        given["transport"],
    )
    return Domain(
        api,
        given["template"],
        given["deadline"],
        group_snapshot=given["group_snapshot"],
        vm_tag=given["vm_tag"],
        snapshot_key=given["snapshot_key"],
        delete_delay_seconds=given["delete_delay"],
        snapshot_delete_delay_seconds=given["snapshot_delete_delay"],
        backup_on_delete=given["backup_on_delete"] if given["backup_on_delete"].location else None,
        max_snapshots=given["max_snapshots"],
        max_deletes=given["max_deletes"],
        qos_class=given["qos_class"],
        qos_classes=given["qos_classes"] or (),
        vc_policy=given["vc_policy"],
        tags=given["tags"] or (),
        iops=given["iops"] or 0,
        bandwidth_mib=given["bw"] or 0,
    )


def check_ours_alone(options: Mapping[str, object]) -> None:
    """Raise ConfigError for an option with which Engine's own client would serve the domain too.

    An Engine up to 4.5.7 without our diversion gives all domains to that client. It loads Cinder's
    driver then, and answers the delete of a disk that it does not know with a success
    (ovirt-engine 4.5.7, packaging/cinderlib/cinderlib-client.py.in, delete_volume).
    """
    if CINDER_DRIVER in options:
        raise errors.ConfigError(
            f"driver option {CINDER_DRIVER}",
            "makes the domain one of Engine's own cinderlib client as well",
            "leave it out",
        )


def host(root: str = "", node: str | None = None, environment: bool = True) -> HostSettings:
    """Return the settings of the host that this process runs on; raise ConfigError when
    storpool.conf lacks one.

    `environment`: keys of storpool.conf may come from there too, as StorPool's own reader has it.
    """
    from storpool_ovirt import option_table

    conf = storpool_conf.read(root, node=node, environment=environment)
    values = []
    for option in option_table.OF_API:
        value = conf.get(option.conf_key or "", option.default)
        if value is None:
            _check_there(root)
            raise errors.ConfigError(
                f"{option.conf_key}",
                f"is missing in {root}{storpool_conf.FILE}",
                "set it on this host",
            )
        values.append(option.of_conf(value, f"{root}{storpool_conf.FILE}"))
    our_id = conf.get("SP_OURID")
    if our_id is None:
        _check_there(root)
        where = f"the section [{node or os.uname().nodename}] of {root}{storpool_conf.FILE}"
        raise errors.ConfigError(
            "SP_OURID", f"is missing in {where}", "every host needs its own client id there"
        )
    client_id = names.client_id(our_id)
    if client_id is None:
        raise errors.ConfigError(
            f"SP_OURID in {root}{storpool_conf.FILE}",
            "is not a client id",
            f"give 1 to {names.CLIENT_ID_MAX}",
        )
    transport = conf.get(storpool_conf.TRANSPORT_KEY, "").lower()
    # One that is none is worth no refused start; the doctor tells it.
    is_known = transport in option_values.TRANSPORTS
    api = replace(Api(*values), transport=transport if is_known else option_values.AUTO)
    if storpool_conf.is_multicluster(conf):
        api = replace(api, multicluster=True, cluster_id=_own_cluster(conf, root))
    vm_tag = conf.get(storpool_conf.VM_TAG_KEY) or names.TAG_VM
    usable = "" if names.vm_tag_fault(vm_tag) else vm_tag
    prefix = storpool_conf.openstack_prefix(conf)
    return HostSettings(api, client_id, prefix, usable, _classes(conf))


def token_in(content: bytes, where: str) -> Secret:
    """Return the token that a file or a stream holds; raise ConfigError for anything else.

    `where` is what holds it, for the sentence.
    """
    try:
        return option_values.token(text.stripped(text.decoded(content, where, may_have_mark=True)))
    except ValueError as error:
        raise errors.ConfigError(where, error.args[0], "it must hold the token alone") from None


def _read(options: Mapping[str, object], root: str, prefix: str) -> dict[str, Any]:
    """Return the value of each option by its name without the prefix, completed; None for one that
    nobody says."""
    from storpool_ovirt import option_table

    table = {
        option.name[len(PREFIX) :]: option._replace(name=prefix + option.name[len(PREFIX) :])
        for option in option_table.OPTIONS
    }
    _refuse_unknown(options, prefix, [option.name for option in table.values()])
    given = {key: option.given(options) for key, option in table.items()}
    if given["auth_token"] is None and given["auth_token_file"] is not None:
        given["auth_token"] = _token_from(
            given["auth_token_file"], table["auth_token_file"].name, prefix
        )
    missing = {
        key: option for key, option in table.items() if option.conf_key and given[key] is None
    }
    optional = all(each.default is not None or each.is_policy for each in missing.values())
    conf = _conf_of_domain(root, optional, prefix) if missing else {}
    for key, option in table.items():
        if given[key] is None:
            value = conf.get(option.conf_key, option.default) if option.conf_key else option.default
            if value is not None:
                given[key] = _of_conf(option, value)
    for key, option in missing.items():
        if given[key] is None and not option.is_policy:
            raise errors.ConfigError(
                f"driver option {option.name}",
                "is missing",
                f"set it, or {option.conf_key} in {storpool_conf.FILE}",
            )
    return given


def _refuse_unknown(options: Mapping[str, object], prefix: str, known: list[str]) -> None:
    """Raise ConfigError for a key that can only be meant as one of our options, with the nearest
    name.

    Ignored, it would be found out when the domain has disks, and Engine never lets anybody correct
    it. Other keys are for others (`adapter`, what cinderlib reads).
    """
    for key in options:
        word = key.strip().lower().replace("-", "_")
        if key not in known and word.startswith(prefix):
            near = option_values.nearest(word, known, prefix)
            advice = f"do you mean {near}?" if near else f"the options are {', '.join(known)}"
            raise errors.ConfigError(f"driver option {names.shown(key)}", "is not known", advice)


def _token_from(path: str, option_name: str, prefix: str) -> Secret:
    where = f"the file {path} (driver option {option_name})"
    try:
        content = rights.read(path)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        advice = (
            _whoever_may_read(prefix) if denied else "make it a file that holds the token alone"
        )
        raise errors.ConfigError(where, f"cannot be read ({error.strerror})", advice) from error
    return token_in(content, where)


def _conf_of_domain(root: str, optional: bool, prefix: str) -> dict[str, str]:
    try:
        return storpool_conf.read(root, optional=optional)
    except errors.ConfigError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        raise errors.ConfigError(
            error.what, error.why, _whoever_may_read(prefix)
        ) from error.__cause__


def _whoever_may_read(prefix: str) -> str:
    """Return who is to run a program of Engine's, or of Cinder's, that cannot read where the token
    is."""
    user = storpool_conf.user()
    if os.geteuid() == 0:
        return "make it a file that root can read"
    if prefix == PREFIX and user != "user ovirt":
        return "run this as root or as the user ovirt"
    return f"give it the group of {user} and the mode 0640"


def _of_conf(option: Option, value: str) -> Any:
    """Return what storpool.conf says of an option; None for a policy that is none."""
    try:
        return option.of_conf(value)
    except errors.ConfigError:
        if option.is_policy:
            return None
        raise


def _check_there(root: str) -> None:
    if not storpool_conf.is_there(root):
        raise errors.ConfigError(
            f"{root}{storpool_conf.FILE}",
            "is missing",
            "install StorPool's client on this host, which writes it",
        )


def _own_cluster(conf: Mapping[str, str], root: str) -> str:
    """Return the id of this host's cluster: of several, others' clients have the same numbers."""
    own = conf.get("SP_CLUSTER_ID", "")
    if not names.CLUSTER_ID.fits(own):
        raise errors.ConfigError(
            f"SP_CLUSTER_ID in {root}{storpool_conf.FILE}",
            f"is missing or no cluster id, and {storpool_conf.MULTICLUSTER_KEY} is set",
            "set it, as StorPool's tools do",
        )
    return own


def _classes(conf: Mapping[str, str]) -> tuple[str, ...]:
    """Return the QoS classes that a host knows; none where what it says is no list of them."""
    try:
        return option_values.classes(conf.get(storpool_conf.QOS_CLASSES_KEY, ""))
    except ValueError:
        return ()
