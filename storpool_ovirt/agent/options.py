"""What an administrator may set of the agent: keys of the host's storpool.conf.

`OPTIONS` is the one place where one lives: its name, how it is read, its default, and why one would
set it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

from storpool_ovirt import errors, option_table, option_values, storpool_conf

PREFIX = f"{storpool_conf.OWN_PREFIX}AGENT_"
# Ours: as short as an administrator who extends a disk waits, and next to nothing in work.
PERIOD_SECONDS = 10.0
# Ours: a guest that writes nothing for a second is noticed by nobody; `guests.pause` has what is so
# with many VMs.
THAW_PERIOD_SECONDS = 0.5
# Ours: a verb of the adapter's ends within its deadline, and the next one begins at once. So when
# for longer no disk has got a snapshot, no verb for this VM is under way.
THAW_LATEST_SECONDS = option_table.DEADLINE_SECONDS + 20.0
# Ours: twice what Engine gives a live snapshot (LiveSnapshotTimeoutInMinutes, 30 where it is not
# set); it thaws by itself within that, if at all.
THAW_MIXED_SECONDS = 3600.0
DAY_SECONDS = 86400.0


class Option(NamedTuple):
    """One key: its name behind `PREFIX`, how it is read, its default, and why one would set it."""

    name: str
    parse: Callable[[str], Any]
    default: str
    meaning: str

    @property
    def key(self) -> str:
        """How storpool.conf has it."""
        return f"{PREFIX}{self.name.upper()}"


@dataclass(frozen=True)
class Options:
    """What the agent does, and when."""

    grow: bool = True
    thaw: bool = True
    period: float = PERIOD_SECONDS
    thaw_period: float = THAW_PERIOD_SECONDS
    thaw_after: float = 0.0
    thaw_latest: float = THAW_LATEST_SECONDS
    thaw_mixed: float = THAW_MIXED_SECONDS
    libvirt: str = "qemu:///system"


def _address(given: str) -> str:
    here = given.startswith(("qemu:///", "qemu+unix:///"))
    if not here or not given.isprintable() or " " in given:
        raise ValueError("is no address of a libvirt on this host", "give qemu:///system")
    return given


OPTIONS = (
    Option(
        "grow", option_values.boolean, "true", "false: a disk's new size is not shown to guests"
    ),
    Option("thaw", option_values.boolean, "true", "false: no guest is thawed"),
    Option(
        "period",
        option_values.number(1, 3600),
        f"{PERIOD_SECONDS:g}",
        "seconds from one look at the sizes of all disks to the next; udev's word comes sooner",
    ),
    Option(
        "thaw_period",
        option_values.number(0.1, 60),
        f"{THAW_PERIOD_SECONDS:g}",
        "seconds from one question to a guest, whether it is frozen, to the next; more with many"
        " VMs",
    ),
    Option(
        "thaw_after",
        option_values.number(0, 60),
        "0",
        "seconds that a guest stays frozen when all its disks have got their snapshot",
    ),
    Option(
        "thaw_latest",
        option_values.number(0, DAY_SECONDS),
        f"{THAW_LATEST_SECONDS:g}",
        "seconds without a new snapshot after which a guest is thawed all the same; 0: never",
    ),
    Option(
        "thaw_mixed",
        option_values.number(0, DAY_SECONDS),
        f"{THAW_MIXED_SECONDS:g}",
        "the same from its freeze on, for a VM that has disks elsewhere too; 0: never",
    ),
    Option("libvirt", _address, "qemu:///system", "another libvirt than that of Vdsm"),
)


# Every key of storpool.conf that is ours, of the agent or of other programs: a site may have one
# file for all.
KEYS = (
    *(option.key for option in OPTIONS),
    storpool_conf.MULTICLUSTER_KEY,
    storpool_conf.BACKUP_KEEP_KEY,
    *(
        option.conf_key
        for option in option_table.OPTIONS
        if option.conf_key and option.conf_key.startswith(storpool_conf.OWN_PREFIX)
    ),
)


def parsed(keys: Mapping[str, str]) -> Options:
    """Return what the keys of storpool.conf say; raise ConfigError for a key of the agent, or a
    value, that is none."""
    known = [option.key for option in OPTIONS]
    for key in keys:
        if key.startswith(PREFIX) and key not in known:
            raise errors.ConfigError(f"{key} in {storpool_conf.FILE}", "is not known", _advice(key))
    return Options(**{each.name: _value(each, keys.get(each.key, "")) for each in OPTIONS})


def _value(option: Option, given: str) -> Any:
    where = f"{option.key} in {storpool_conf.FILE}"
    return option_values.parsed(option.parse, given or option.default, where)


def unknown(keys: Mapping[str, str]) -> dict[str, str]:
    """Return the keys that can only be meant as ours and are none, and what to do about each.

    No program reads them.
    """
    return {key: _advice(key) for key in keys if key not in KEYS and _is_meant_as_ours(key)}


def _is_meant_as_ours(key: str) -> bool:
    return _word(key).startswith(storpool_conf.OWN_PREFIX)


def _word(key: str) -> str:
    return key.upper().replace("-", "_")


def _advice(key: str) -> str:
    """Return what to do about a key that is not known: the nearest one, or all."""
    word = _word(key)
    prefix = PREFIX if word.startswith(PREFIX) else storpool_conf.OWN_PREFIX
    keys = [each for each in KEYS if each.startswith(prefix)]
    near = option_values.nearest(word, keys, prefix)
    return f"do you mean {near}?" if near else f"use {', '.join(keys)}"
