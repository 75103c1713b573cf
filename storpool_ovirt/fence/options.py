"""The options of fence_storpool: one table, for its command line, its stdin and what it tells about
itself."""

from __future__ import annotations

from storpool_ovirt.light import NamedTuple

# A power agent that runs beside this one needs a moment, and StorPool one more to see that the host
# is gone.
POWER_TIMEOUT_SECONDS, POWER_TIMEOUT_MAX_SECONDS = 20.0, 30.0


class Option(NamedTuple):
    """One option.

    `name`: what it is called on stdin. `flags`: what it is called on the command line, `value` what
    its value is called there. `type`: one of those of fence-agents' metadata. `same_as`: the option
    that it is another name of. `told`: the metadata has it, and not only older callers.
    """

    name: str
    meaning: str = ""
    flags: tuple[str, ...] = ()
    value: str = ""
    type: str = "string"
    default: str | None = None
    same_as: str = ""
    told: bool = True


OPTIONS = (
    Option(
        "action",
        "off, on, status, monitor, list or metadata",
        flags=("-o", "--action"),
        value="action",
    ),
    Option("option", same_as="action", told=False),
    Option(
        "plug",
        "The host: its client id (SP_OURID), or its section's name in storpool.conf",
        flags=("-n", "--plug"),
        value="id",
    ),
    Option("port", "The same as plug", same_as="plug"),
    Option("nodename", "The host's name in storpool.conf, where neither plug nor port is given"),
    Option("ipaddr", "The same as nodename", same_as="nodename"),
    Option("ip", same_as="nodename", told=False),
    Option(
        "even_if_it_runs",
        "Take the volumes also while the host's StorPool client answers; the host then counts as"
        " off when it has none of oVirt's. Only for clusters whose VMs have all of their disks on"
        " StorPool",
        flags=("--even-if-it-runs",),
        value="0|1",
        type="boolean",
        default="0",
    ),
    Option(
        "power_timeout",
        "How long off waits for the host's StorPool client to go down before it refuses, 0 to"
        f" {POWER_TIMEOUT_MAX_SECONDS:g}",
        flags=("--power-timeout",),
        value="seconds",
        type="second",
        default=f"{POWER_TIMEOUT_SECONDS:g}",
    ),
)
NAMES = frozenset(each.name for each in OPTIONS)
FLAGS = {flag: each.name for each in OPTIONS for flag in each.flags}


def names_of(option: str) -> tuple[str, ...]:
    """Return all names of an option, its own first."""
    return tuple(each.name for each in OPTIONS if option in (each.name, each.same_as))


def mixed(option: Option) -> str:
    """Return the flags of an option, or of the one that it is the same as, with its value, in the
    way of fence-agents: `-n, --plug=[id]`."""
    [named] = [each for each in OPTIONS if each.name == (option.same_as or option.name)]
    return ", ".join(named.flags) + (f"=[{named.value}]" if named.flags else "")
