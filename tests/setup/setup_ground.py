"""Machines with what oVirt's packages bring, and `storpool-ovirt setup` run on them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rigs.machine import PREFIX

if TYPE_CHECKING:
    import subprocess

    from rigs.machine import Machine

COMMAND = f"{PREFIX}/bin/storpool-ovirt"
TOKEN = "1234567890123456789"
CONF = (
    f"SP_AUTH_TOKEN={TOKEN}\nSP_API_HTTP_HOST=127.0.0.1\n[alpha]\nSP_OURID=1\n[beta]\nSP_OURID=2\n"
)
VDSM = "/usr/libexec/vdsm"
STOCK = "/usr/share/ovirt-engine/cinderlib/cinderlib-client.py"
# All that any step may touch, and what is above it.
TOPS = (
    "/etc",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/share/ovirt-engine",
    "/var/log",
    "/run",
)


class Setup:
    """One place of a machine, as root sets it up."""

    def __init__(self, machine: Machine, place: str) -> None:
        self.machine = machine
        self.place = place
        self.command = COMMAND

    def run(self, *words: str, code: int | None = 0, stdin: str = "") -> dict[str, Any]:
        """Run it for a program; return its document."""
        done = self.typed(*words, "--json", stdin=stdin)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def typed(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it for a person; it never shows the token."""
        done = self.machine.run(self.command, "setup", self.place, *words, stdin=stdin)
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def tree(self) -> dict[str, str]:
        """Return all that is where setup works."""
        return {**self.machine.tree(*TOPS), **self.record()}

    def record(self) -> dict[str, str]:
        """Return what setup has written down, with the folder of that."""
        folder = "/var/lib/storpool-ovirt"
        if not self.machine.path(folder).exists():
            return {}
        return {folder: "there", **self.machine.tree(folder)}


def states(document: dict[str, Any]) -> dict[str, str]:
    """Return the state of each step."""
    return {step["id"]: step["state"] for step in document["steps"]}


def step(document: dict[str, Any], name: str) -> dict[str, str]:
    """Return one step."""
    found: dict[str, str] = next(each for each in document["steps"] if each["id"] == name)
    return found


def host(machine: Machine, conf: str = CONF) -> Setup:
    """Give a machine what a host has: Vdsm's folders, sudo, storpool.conf; its name is alpha."""
    machine.do(
        f"mkdir -p {VDSM}/hooks/before_vm_start {VDSM}/hooks/after_get_caps /etc/multipath;"
        "install -d -o vdsm -g kvm /var/log/vdsm /var/lib/vdsm/storage"
    )
    name = machine.do("uname -n").strip()
    machine.write("/etc/storpool.conf", conf.replace("[alpha]", f"[{name}]"), 0o600)
    return Setup(machine, "host")


def engine(machine: Machine, release: str = "4.5.7", conf: str = CONF) -> Setup:
    """Give a machine what Engine's packages bring: a release up to 4.5.7, or master."""
    machine.do(
        "mkdir -p /etc/ovirt-engine/engine.conf.d /usr/share/ovirt-engine/dbscripts;"
        "install -d -o ovirt -g ovirt -m 0700 /var/log/ovirt-engine"
    )
    if release == "master":
        machine.do(
            "mkdir -p /usr/share/ovirt-engine/managedblock;"
            "install -d -o ovirt -g ovirt -m 0700 /var/log/ovirt-engine/managedblock"
        )
    else:
        machine.write(STOCK, "#!/usr/bin/python3\n# Engine's own\n", 0o755)
        machine.write("/usr/share/ovirt-engine/cinderlib/config.py", "\n")
    machine.write("/etc/storpool.conf", conf, 0o600)
    return Setup(machine, "engine")
