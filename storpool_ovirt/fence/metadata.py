"""What fence_storpool tells about itself, in the form of ClusterLabs' fence-agents
(lib/metadata.rng there)."""

from __future__ import annotations

from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

URL = "https://storpool.com"
SHORT = "Takes the StorPool volumes of oVirt's VMs from a lost host"
LONG = (
    "fence_storpool is a storage fence: off takes every StorPool volume and snapshot of oVirt's"
    " from a host by force, so that none of its writes lands there any more. The host is not"
    " switched off, and its disks of other storage are not covered. It refuses while the host's"
    " StorPool client answers, unless even_if_it_runs is set. A storage fence cannot power-cycle:"
    " reboot is carried out as off. Where the StorPool API is, and its token, is read from"
    " /etc/storpool.conf of the host that runs the agent; login and password are ignored."
)


class Parameter(NamedTuple):
    """One option: its name on stdin, its flags, its type and default, what it means."""

    name: str
    flags: str
    type: str
    default: str | None
    meaning: str


PARAMETERS = (
    Parameter(
        "action",
        "-o, --action=[action]",
        "string",
        None,
        "off, on, status, monitor, list or metadata",
    ),
    Parameter(
        "plug",
        "-n, --plug=[id]",
        "string",
        None,
        "The host: its client id (SP_OURID), or its section's name in storpool.conf",
    ),
    Parameter("port", "-n, --plug=[id]", "string", None, "The same as plug"),
    Parameter(
        "nodename",
        "",
        "string",
        None,
        "The host's name in storpool.conf, where neither plug nor port is given",
    ),
    Parameter("ipaddr", "", "string", None, "The same as nodename"),
    Parameter(
        "even_if_it_runs",
        "--even-if-it-runs=[0|1]",
        "boolean",
        "0",
        "Take the volumes also while the host's StorPool client answers; the host then counts as"
        " off when it has none of oVirt's. Only for clusters whose VMs have all of their disks on"
        " StorPool",
    ),
    Parameter(
        "power_timeout",
        "--power-timeout=[seconds]",
        "second",
        "20",
        "How long off waits for the host's StorPool client to go down before it refuses, 0 to 30",
    ),
)
# reboot is not among them: a storage fence has none (FenceAgentAPI), it is understood only.
ACTIONS = ("on", "off", "status", "list", "monitor", "metadata")


def document(program: str) -> str:
    """Return the XML document."""
    parameters = "\n".join(_parameter(each) for each in PARAMETERS)
    actions = "\n".join(
        f'\t<action name="{each}"{_ON if each == "on" else ""} />' for each in ACTIONS
    )
    return (
        f'<?xml version="1.0" ?>\n<resource-agent name="{program}" shortdesc={quoteattr(SHORT)} >\n'
        f"<longdesc>{escape(LONG)}</longdesc>\n<vendor-url>{URL}</vendor-url>\n"
        f"<parameters>\n{parameters}\n</parameters>\n<actions>\n{actions}\n</actions>\n</resource-agent>"
    )


_ON = ' automatic="0"'


def _parameter(each: Parameter) -> str:
    default = "" if each.default is None else f" default={quoteattr(each.default)}"
    required = int(each.name == "action")
    return (
        f'\t<parameter name="{each.name}" unique="0" required="{required}">\n\t\t<getopt'
        f' mixed={quoteattr(each.flags)} />\n\t\t<content type="{each.type}"{default}'
        f' />\n\t\t<shortdesc lang="en">{escape(each.meaning)}</shortdesc>\n\t</parameter>'
    )
