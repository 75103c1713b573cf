"""Engine's machine, with oVirt's files of a release and ours, of which anything may be broken; and
the doctor's checks, run there as the command runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import ovirt_demo

if TYPE_CHECKING:
    from rigs.machine import Machine

PREFIX = "/opt/storpool-ovirt"
USR = "/usr/share/ovirt-engine"
CLIENT = f"{USR}/cinderlib/cinderlib-client.py"
LINK = f"{USR}/managedblock/storpool-adapter"
CONF_D = "/etc/ovirt-engine/engine.conf.d"
DEFAULTS = f"{USR}/services/ovirt-engine/ovirt-engine.conf"
PLAYER = Path(ovirt_demo.__file__).parent / "players" / "cinderlib_client.py"
# As the command runs them: its own start, and what it finds in a table by their ids.
LOOK = """
import json, sys
from storpool_ovirt.doctor import checks, run, tables
sys.argv[0] = "{prefix}/bin/storpool-ovirt"
wanted = [each for each in tables.of(checks.ENGINE) if each.id in sys.argv[1:]]
fix = "--fix" in sys.argv
found = run.examined(checks.Site(checks.ENGINE), wanted, 10)
said = [each.result.action.do("") for each in found if fix and each.result.action]
rows = [
    (
        each.check.id,
        *list(vars(each.result).values())[:5],
        each.result.action.what if each.result.action else "",
    )
    for each in found
]
print(json.dumps([rows, said]))
"""


class Found(NamedTuple):
    """A result as the doctor tells it; `action` is what --fix would do."""

    id: str
    result: str
    cause: str
    risk: str
    fix: str
    subject: str
    action: str


class EnginesMachine:
    """A machine with a released Engine on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.write, self.do, self.tool = machine.write, machine.do, machine.tool

    def look(self, *ids: str, fix: bool = False) -> list[Found]:
        """Run these checks in it; with `fix`, do then what they say is safe."""
        words = [*ids, *(["--fix"] if fix else [])]
        code = LOOK.format(prefix=PREFIX)
        done = self.machine.run(f"{PREFIX}/bin/python3", "-c", code, *words)
        assert done.returncode == 0, done.stderr
        rows, self.said = json.loads(done.stdout)
        found = [Found(*row) for row in rows]
        for each in found:
            check(each)
        assert {each.id for each in found} == set(ids), found
        return found

    def one(self, check_id: str, *, fix: bool = False) -> Found:
        """Run a check that has one result."""
        [found] = self.look(check_id, fix=fix)
        return found

    def engine(self) -> None:
        """Put there what Engine's package of 4.5.7 has, as far as ours meets it."""
        self.write(CLIENT, PLAYER.read_text(), 0o755)
        self.write(f"{USR}/cinderlib/config.py", "PATHS = {}\n")
        self.write(DEFAULTS, 'PACKAGE_VERSION="4.5.7"\nCINDERLIB_DB_ENABLE=false\n')
        self.do(
            "install -d -m 0750 -o root -g ovirt /etc/ovirt-engine /etc/ovirt-engine/engine.conf.d"
        )
        self.do("install -d -m 0755 -o ovirt -g ovirt /var/log/ovirt-engine")

    def ours(self) -> None:
        """Do what docs/install.md says for pip."""
        self.do(
            f"mkdir -p {USR}/managedblock /usr/libexec/storpool-ovirt\n"
            "install -d -o ovirt -g ovirt -m 0700 /var/log/ovirt-engine/managedblock\n"
            f"ln -s {PREFIX}/bin/storpool-adapter {LINK}\n"
            f"ln -s {PREFIX}/bin/storpool-engine-d* /usr/libexec/storpool-ovirt/\n"
            "/usr/libexec/storpool-ovirt/storpool-engine-divert on\n"
        )


def check(found: Found) -> None:
    """Check that a result can be used: what is wrong has a risk and a step."""
    assert found.cause, found
    assert "internal error" not in found.cause, found
    if found.result in ("warning", "critical"):
        assert found.risk, found
        assert found.fix, found


@pytest.fixture
def engines(machine: Machine) -> Iterator[EnginesMachine]:
    """Give Engine's machine, all well."""
    made = EnginesMachine(machine)
    made.engine()
    made.ours()
    yield made
