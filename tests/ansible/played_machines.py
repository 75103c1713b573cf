"""Engine's machine and a host on which roles are played; what oVirt's packages bring is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller import Controller, Played

from rigs import engine_conf_files, engine_config_tool

if TYPE_CHECKING:
    from rigs.machine import Machine

COMMAND = "/opt/storpool-ovirt/bin/storpool-ovirt"
TOKEN = "1234567890123456789"
PASSWORD = "canary-of-a-password"
# Where setup and the roles work; Ansible's own files are elsewhere.
TOPS = (
    "/etc",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/local",
    "/usr/share/ovirt-engine",
    "/var/log",
    "/var/lib/storpool-ovirt",
    "/run",
)
RECORD = "/var/lib/storpool-ovirt/setup-engine.json"
_LVMS = "/run/lock"  # made by its tools, which doctor asks
POST_TASKS = "/etc/ovirt-engine/ansible/ovirt-host-deploy-post-tasks.yml"
HOST_TASKS = "/etc/ovirt-engine/ansible/storpool-ovirt-host.yml"
# No systemd runs there: it keeps what is enabled and started, and answers what Ansible asks.
KEPT = "/var/tmp/systemctl"
_SYSTEMCTL = (
    f"kept={KEPT} wanted=/etc/systemd/system/multi-user.target.wants\n"
    + r"""
for each; do case $each in -*) ;; *) unit=$each ;; esac; done
case "$*" in
    *is-enabled*) [ -e "$kept/enabled-$unit" ] && echo enabled && exit 0; echo disabled; exit 1 ;;
    *show*)
        state=inactive; [ ! -e "$kept/started-$unit" ] || state=active
        printf 'Id=%s\nLoadState=loaded\nActiveState=%s\nSubState=x\n' "$unit" "$state" ;;
    *disable*) rm -f "$kept/enabled-$unit" "$wanted/$unit"; echo "disable $unit" >>$kept/done ;;
    *enable*storpool-vm-agent*)
        mkdir -p "$wanted" && ln -sf "/etc/systemd/system/$unit" "$wanted/$unit"
        echo "enable $unit" >>$kept/done ;;
    *enable*) touch "$kept/enabled-$unit"; echo "enable $unit" >>$kept/done ;;
    *restart*|*start*) touch "$kept/started-$unit"; echo "${*%% *} $unit" >>$kept/done ;;
esac
"""
)
_A_STEP = re.compile(r'^ +"(.*?): (changed|would change|undone|would undo): ', re.MULTILINE)


class Site:
    """One of both, and its role."""

    def __init__(self, machine: Machine, role: str) -> None:
        self.machine = machine
        self.role = role
        self.controller = Controller(machine)
        machine.tool("systemctl", _SYSTEMCTL)
        machine.do(f"mkdir {KEPT}; touch {KEPT}/started-ovirt-engine {KEPT}/started-vdsmd")

    def play(self, *options: str, **variables: Any) -> Played:
        """Play its role on what pip has installed there."""
        given = {"install": "nothing", "command": COMMAND, **variables}
        return self.from_packages(*options, **given)

    def from_packages(self, *options: str, **variables: Any) -> Played:
        """Play its role; no secret is in what it writes."""
        given = {"token": TOKEN} if self.role == "engine" else {}
        played = self.controller.play(self.role, *options, **{**given, **variables})
        for secret in (TOKEN, PASSWORD):
            assert secret not in played.text
        return played

    def part(self, tasks_from: str, **variables: Any) -> Played:
        """Play a part of what both roles share."""
        given = {"place": self.role, "command": COMMAND, **variables}
        role = {"name": "storpool.ovirt.product", "tasks_from": tasks_from}
        task = {
            "ansible.builtin.include_role": role,
            "vars": {f"product_{name}": value for name, value in given.items()},
        }
        return self.controller.playbook(
            [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
        )

    def tree(self) -> dict[str, str]:
        """Return all that is where the role works, but logs, and when a key was last changed."""
        found = self.machine.tree(*TOPS)
        return {
            name: each
            for name, each in found.items()
            if name != RECORD and name[-4:] != ".log" and not name.startswith(_LVMS)
        }

    def served(self) -> list[str]:
        """Return what systemd was told to do."""
        return self.machine.do(f"cat {KEPT}/done 2>/dev/null || true").splitlines()


def steps(played: Played) -> list[str]:
    """Return the titles of the steps that setup changed, or would."""
    return sorted(title for title, _ in _A_STEP.findall(played.text))


def engine(machine: Machine) -> Site:
    """Make a machine Engine's, of release 4.5.7, with its managed block database."""
    machine.do(
        "mkdir -p /etc/ovirt-engine/engine.conf.d /etc/ovirt-engine/ansible"
        " /usr/share/ovirt-engine/dbscripts /usr/share/ovirt-engine/cinderlib;"
        "install -d -o ovirt -g ovirt -m 0700 /var/log/ovirt-engine"
    )
    client = "/usr/share/ovirt-engine/cinderlib/cinderlib-client.py"
    if not machine.path(client).exists():
        machine.write(client, "#!/usr/bin/python3\n# Engine's own\n", 0o755)
        machine.write("/usr/share/ovirt-engine/cinderlib/config.py", "\n")
    folder = "/etc/ovirt-engine/engine.conf.d"
    facts = engine_conf_files.lines("CINDERLIB_DB_")
    machine.write(f"{folder}/{engine_conf_files.CINDERLIB}", facts, 0o640, "root:ovirt")
    machine.write(f"{folder}/10-setup-cinderlib.conf", "CINDERLIB_DB_ENABLE=true\n")
    engine_config_tool.installed(
        machine,
        CustomVdsFenceType={"general": "other"},
        CustomVdsFenceOptionMapping={"general": "other:port=ipport"},
    )
    return Site(machine, "engine")


def host(machine: Machine) -> Site:
    """Make a machine a host, with Vdsm's folders and StorPool's client."""
    machine.do(
        "mkdir -p /usr/libexec/vdsm/hooks/before_vm_start /etc/multipath;"
        "install -d -o vdsm -g kvm /var/log/vdsm /var/lib/vdsm/storage"
    )
    name = machine.do("uname -n").strip()
    text = f"SP_AUTH_TOKEN={TOKEN}\nSP_API_HTTP_HOST=127.0.0.1\n[{name}]\nSP_OURID=1\n"
    machine.write("/etc/storpool.conf", text, 0o600)
    return Site(machine, "host")
