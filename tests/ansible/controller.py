"""Ansible's own program, which plays the collection of this tree in a test machine."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import subprocess

    from rigs.machine import Machine

TREE = Path(__file__).parents[2]
COLLECTION = TREE / "ansible"
BIN = Path(sys.executable).parent
# Below a folder that no user's own collections are in.
COLLECTIONS = "/usr/share/storpool-ovirt-test/collections"
LIMIT_SECONDS = 120
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:[\w.]+ : )?(.*?)\] \**$")
_RECAP = re.compile(r"^localhost +: (.*)$", re.MULTILINE)
_COLLECTION = re.compile(r"^storpool\.ovirt\.\w+ : ")


class Played(NamedTuple):
    """What a play did: its exit code, how many tasks were what, those that changed something, and
    all that it wrote."""

    code: int
    counts: dict[str, int]
    changed: list[str]
    text: str

    @property
    def sentences(self) -> str:
        """All that it wrote, in one line with single blanks."""
        return " ".join(self.text.replace("\\n", " ").split())

    def check(self, changed: int | None = None) -> Played:
        """It succeeded, and so many tasks changed something."""
        assert self.code == 0, self.text
        assert self.counts["failed"] == self.counts["unreachable"] == 0
        if changed is not None:
            assert self.counts["changed"] == changed, self.changed
        return self

    def failure(self) -> str:
        """It failed; return what it says."""
        assert self.code == 2, self.text
        return self.sentences


def read(done: subprocess.CompletedProcess[str]) -> Played:
    """Read what ansible-playbook wrote."""
    counts = {}
    for pair in "".join(_RECAP.findall(done.stdout)).split():
        name, _, number = pair.partition("=")
        counts[name] = int(number)
    changed, task = [], ""
    for line in done.stdout.splitlines():
        match = _TASK.match(line)
        if match is not None:
            task = match[1]
        elif line.startswith("changed: ["):
            changed.append(task)
    return Played(done.returncode, counts, changed, done.stdout + done.stderr)


class Controller:
    """A test machine that plays roles on itself."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.see(COLLECTION, f"{COLLECTIONS}/ansible_collections/storpool/ovirt")

    def play(self, role: str, *options: str, **variables: Any) -> Played:
        """Play a role; its variables are named without the prefix that they have."""
        given = {f"{role}_storpool_{name}": value for name, value in variables.items()}
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {"ansible.builtin.dnf": {"use_backend": "dnf4"}},
            "roles": [{"role": f"storpool.ovirt.{role}"}],
            "vars": given,
        }
        return self.playbook([play], *options)

    def playbook(self, plays: list[dict[str, Any]], *options: str) -> Played:
        """Play a playbook."""
        self.machine.write("/root/play/site.yml", json.dumps(plays, indent=1), 0o600)
        words = ["-i", "localhost,", "-c", "local", *options]
        done = self.run("ansible-playbook", *words, "/root/play/site.yml")
        return read(done)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs."""
        return self.machine.run(
            str(BIN / program), *arguments, env=ENVIRONMENT, seconds=LIMIT_SECONDS
        )


ENVIRONMENT = {
    "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
    "ANSIBLE_HOME": "/root/play/ansible",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    "ANSIBLE_LOCALHOST_WARNING": "0",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
}
