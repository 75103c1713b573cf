"""What fence_storpool tells about itself, in the form of ClusterLabs' fence-agents
(lib/metadata.rng there)."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from storpool_ovirt.fence import options
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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
# A storage fence has none (FenceAgentAPI): it is understood, and not told.
REBOOT = "reboot"


def document(program: str, actions: Iterable[str]) -> str:
    """Return the XML document; `actions` are all that the agent understands."""
    parameters = "\n".join(_parameter(each) for each in options.OPTIONS if each.told)
    lines = "\n".join(
        f'\t<action name="{each}"{_ON if each == "on" else ""} />'
        for each in actions
        if each != REBOOT
    )
    return (
        f'<?xml version="1.0" ?>\n<resource-agent name="{program}" shortdesc={quoteattr(SHORT)} >\n'
        f"<longdesc>{escape(LONG)}</longdesc>\n<vendor-url>{URL}</vendor-url>\n"
        f"<parameters>\n{parameters}\n</parameters>\n<actions>\n{lines}\n</actions>\n</resource-agent>"
    )


_ON = ' automatic="0"'


def _parameter(each: options.Option) -> str:
    default = "" if each.default is None else f" default={quoteattr(each.default)}"
    required = int(each.name == "action")
    return (
        f'\t<parameter name="{each.name}" unique="0" required="{required}">\n\t\t<getopt'
        f' mixed={quoteattr(options.mixed(each))} />\n\t\t<content type="{each.type}"{default}'
        f' />\n\t\t<shortdesc lang="en">{escape(each.meaning)}</shortdesc>\n\t</parameter>'
    )
