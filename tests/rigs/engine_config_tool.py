"""engine-config, played: a program for a test machine that keeps Engine's options in a file.

It answers as ovirt-engine 4.5.7's does (EngineConfigCLIParser.java, EngineConfigLogic.java,
FenceConfigValueHelper.java, UserDefinedVMPropertiesValueHelper.java): `-g KEY` prints a line for
each version, with `--cver` the value alone; `-s KEY=VALUE` asks which version is meant where there
are several; a fence key is set to nothing that its pattern refuses, and never to nothing at all,
properties of VMs to nothing that Engine could not split at its semicolons; all complaints are on
stdout, with code 1. `-m` is for UserDefinedVMProperties, which alone of these keys says that it can
be merged.

    keys = engine_config_tool.installed(machine, CustomVdsFenceType={"general": "other"})
    keys.values()          what is stored now
    keys.calls()           the command lines so far
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rigs.machine import Machine

STORE = "/var/tmp/engine-config.json"
CALLS = "/var/tmp/engine-config.calls"
# As 0000_config.sql of 4.5.7 makes them, in a shorter list of versions.
FRESH: dict[str, dict[str, str]] = {
    "CustomVdsFenceType": {"general": ""},
    "CustomVdsFenceOptionMapping": {"general": ""},
    "UserDefinedVMProperties": {"4.6": "", "4.7": "", "4.8": ""},
    "ManagedBlockDomainSupported": {"4.5": "false", "4.6": "true", "4.7": "true"},
}
_PROGRAM = r"""#!PYTHON -IS
import json, re, sys

STORE, CALLS = {store!r}, {calls!r}
PATTERNS = {{
    "CustomVdsFenceType": r"((\w)+[,]{{0,1}})+",
    "CustomVdsFenceOptionMapping":
        r"([\w]+[:]([\w]*[=][\w]*[,]{{0,1}}[;]{{0,1}}){{0,3}}[;]{{0,1}})+",
}}
PROPERTIES = "UserDefinedVMProperties"
PROPERTIES_PATTERN = r"([a-z_A-Z0-9]+=[^;]*(;[a-z_A-Z0-9]+=[^;]*)*;?)?"

def main(words):
    action, rest = words[0], words[1:]
    version = next((each[7:] for each in rest if each.startswith("--cver=")), None)
    with open(STORE) as file:
        stored = json.load(file)
    key, _, value = rest[0].partition("=")
    if key not in stored:
        return "null"
    if action == "-g":
        if version is None:
            for each, found in stored[key].items():
                print(f"{{key}}: {{found}} version: {{each}}")
        elif version in stored[key]:
            print(stored[key][version])
        else:
            return f"Error fetching {{key}} value: no such entry with version '{{version}}'."
        return ""
    if action == "-m" and key != "UserDefinedVMProperties":
        return "null"
    if version is None:
        if len(stored[key]) > 1:
            print("Please select a version:")
            return "null"
        version = next(iter(stored[key]))
    if key in PATTERNS and not value.strip():
        return f"Cannot set value {{value}} to key {{key}}. This key value cannot be empty."
    if key in PATTERNS and not re.fullmatch(PATTERNS[key], value):
        return f"Cannot set value {{value}} to key {{key}}. The entered key value is invalid."
    if key == PROPERTIES and not re.fullmatch(PROPERTIES_PATTERN, value):
        return (f"Cannot set value {{value}} to key {{key}}. Invalid syntax, user defined VM"
                " properties specification should conform to " + PROPERTIES_PATTERN)
    if version not in stored[key]:
        return f"Error setting {{key}}'s value. No such entry with version {{version}}."
    if action == "-m" and stored[key][version].strip():
        new = stored[key][version].strip()
        for each in value.split(";"):
            if each not in new.split(";"):
                new += ("" if new.endswith(";") else ";") + each
        value = new
    stored[key][version] = value
    with open(STORE, "w") as file:
        json.dump(stored, file)
    return ""

with open(CALLS, "a") as file:
    print(*sys.argv[1:], file=file)
wrong = main(sys.argv[1:])
if wrong:
    print(wrong)
sys.exit(1 if wrong else 0)
"""


class Keys:
    """The options of the Engine of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def values(self, key: str = "") -> dict[str, Any]:
        """Return all options, or the versions of one."""
        stored: dict[str, Any] = json.loads(self._machine.read(STORE))
        return stored[key] if key else stored

    def set(self, key: str, value: str, version: str = "general") -> None:
        """Have somebody else set one."""
        stored = self.values()
        stored[key][version] = value
        self._machine.write(STORE, json.dumps(stored))

    def calls(self) -> list[str]:
        """Return the command lines of all calls."""
        return self._machine.do(f"cat {CALLS} 2>/dev/null || true").splitlines()

    def run(self, *words: str) -> tuple[int, str]:
        """Run it as a person does."""
        done = self._machine.run("engine-config", *words)
        return done.returncode, done.stdout


def installed(machine: Machine, python: str = "", **given: dict[str, str]) -> Keys:
    """Put it on a machine, with the options of a fresh Engine and these; `python` runs it."""
    machine.write(STORE, json.dumps({**FRESH, **given}))
    program = _PROGRAM.format(store=STORE, calls=CALLS)
    python = python or machine.do("readlink -f /opt/storpool-ovirt/bin/python3").strip()
    machine.write("/usr/bin/engine-config", program.replace("PYTHON", python, 1), 0o755)
    return Keys(machine)
