"""The driver's options in cinder.conf or in a storage domain's driver options.

They are completed from /etc/storpool.conf. `storpool_template` and `storpool_replication` are the
upstream driver's. The others are those of oVirt's adapter (`storpool_ovirt/option_table.py`) with
`storpool_` in place of `sp_`, and are read by the same code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from cinder_driver import names, words
from storpool_ovirt import config, errors, option_table, option_values, presence, storpool_conf
from storpool_ovirt import names as storpool_names

PREFIX = "storpool_"

# `storpool.sptypes.VolumeName` without the rest of our names.
_VOLUME_PREFIX = re.compile(r"[A-Za-z0-9_\-.:]{1,64}\Z")

_SHARED = {PREFIX + option.name[len(config.PREFIX) :]: option for option in option_table.OPTIONS}


def _shared(name: str) -> str:
    option = _SHARED[name]
    otherwise = f", else {option.default}" if option.default else ""
    source = f" ({option.conf_key} in storpool.conf{otherwise})" if option.conf_key else ""
    return option.meaning[0].upper() + option.meaning[1:] + source + "."


OPTIONS: list[cfg.Opt] = [
    cfg.HostAddressOpt("storpool_api_http_host", help=_shared("storpool_api_http_host")),
    cfg.PortOpt("storpool_api_http_port", min=1, help=_shared("storpool_api_http_port")),
    cfg.StrOpt(
        "storpool_auth_token", secret=True, help="API token (SP_AUTH_TOKEN in storpool.conf)."
    ),
    cfg.StrOpt(
        "storpool_auth_token_file",
        help="File that holds the API token alone: it is in no cinder.conf then.",
    ),
    cfg.StrOpt(
        "storpool_template",
        help=(
            "Template of volumes whose type has no extra spec storpool_template; "
            "without it the QoS class or the cluster decides where they are placed."
        ),
    ),
    cfg.StrOpt(
        "storpool_volume_prefix",
        help=(
            f"What the names of all volumes begin with ({storpool_conf.OPENSTACK_PREFIX_KEY} in"
            f" storpool.conf, else {storpool_conf.OPENSTACK_PREFIX}); hosts with os-brick's own"
            " connector need the same value in their storpool.conf."
        ),
    ),
    cfg.StrOpt(
        "storpool_qos_class",
        help=(
            "QoS class (tag qc, for StorPool's storpool_qos) of volumes whose type has no"
            " storpool:qos_class."
        ),
    ),
    cfg.IntOpt(
        "storpool_replication",
        default=3,
        min=1,
        max=3,
        help="Copies of a new volume where neither a template nor a QoS class says it.",
    ),
    cfg.BoolOpt("storpool_multicluster", help=_shared("storpool_multicluster")),
    cfg.StrOpt(
        "storpool_cluster_id",
        help="Pins the cluster: another one refuses every request (like bgu4.n).",
    ),
    cfg.FloatOpt(
        "storpool_deadline",
        min=1,
        max=option_table.DEADLINE_SECONDS,
        help=f"Seconds until an operation gives up ({option_table.DEADLINE_SECONDS:g} if not set).",
    ),
]


@dataclass(frozen=True)
class Settings:
    """What one backend's options say."""

    api: config.Api
    template: str | None
    deadline_seconds: float
    prefix: str
    qos_class: str | None
    replication: int


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options for oslo-config-generator; they belong into the section of the backend."""
    return [("backend_defaults", OPTIONS)]


def settings(configuration: Any) -> Settings:
    """Return the settings of a backend (`cinder.volume.configuration.Configuration`).

    Raises ConfigError.
    """
    root = config.root()
    _refuse_unknown(configuration)
    given = {option.name: configuration.safe_get(option.name) for option in OPTIONS}
    # An option of oVirt's alone is none of the driver's.
    shared = {name: given[name] for name in _SHARED if name in given}
    domain = config.domain(shared, root, PREFIX)
    words.hide(domain.api.token)
    prefix = given["storpool_volume_prefix"] or names.prefix(storpool_conf.read(root))
    return Settings(
        api=domain.api,
        template=domain.template,
        deadline_seconds=domain.deadline_seconds,
        prefix=_checked("storpool_volume_prefix", prefix, _VOLUME_PREFIX),
        # What storpool.conf says of new disks is said of oVirt's
        qos_class=(domain.qos_class or None) if given["storpool_qos_class"] else None,
        replication=given["storpool_replication"] or 3,
    )


def _refuse_unknown(configuration: Any) -> None:
    """Raise ConfigError, with the nearest name, for a key that can only be meant as an option.

    oslo.config ignores it, and a volume that is made without the template that was meant is noticed
    much later.
    """
    known = [option.name for option in OPTIONS]
    for key in sorted(_keys(configuration)):
        word = key.lower().replace("-", "_")
        if word.startswith(PREFIX) and key not in known:
            near = option_values.nearest(word, known, PREFIX)
            advice = f"do you mean {near}?" if near else f"the options are {', '.join(known)}"
            raise errors.ConfigError(
                f"driver option {storpool_names.shown(key)}", "is not known", advice
            )


def _keys(configuration: Any) -> set[str]:
    """Return what the backend's options are called where they are set.

    They are set in files, or in what cinderlib was given: cinderlib puts them on the backend's
    group as attributes (`Backend._get_backend_config`).
    """
    group = getattr(configuration, "config_group", None)
    keys = set(vars(getattr(cfg.CONF, group))) if group else set()
    files = [*(getattr(cfg.CONF, "config_file", None) or ())]
    for folder in getattr(cfg.CONF, "config_dirs", None) or ():
        files += _files(str(folder))
    for path in files:
        sections: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(path, sections).parse()
        except (OSError, cfg.ParseError, UnicodeError):
            continue  # Cinder has read it before us, or said what is wrong with it
        for section in (group, "backend_defaults"):
            keys.update(sections.get(section or "", {}))
    return keys


def _files(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in presence.listed(folder) if name.endswith(".conf")]
    except errors.Unseen:
        return []  # as above


def _checked(name: str, value: Any, pattern: re.Pattern[str]) -> Any:
    if value is not None and not pattern.match(value):
        raise errors.ConfigError(
            f"driver option {name}", "is not valid", "give letters, digits and any of _ - . :"
        )
    return value
