"""fapolicyd.py: Engine's own client is trusted under its second name, as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest
from diversion_ground import Machine, ran

from rigs import programs
from storpool_ovirt.engine import fapolicyd

FAPOLICYD = """#!{python}
import hashlib, pathlib, sys
root = pathlib.Path({root!r})
with open(root / "calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "--update":
    sys.exit(1)  # the daemon does not run
if (root / "refuses").exists():
    sys.exit("no room")
file = root / "etc/fapolicyd/trust.d" / sys.argv[5]
lines = file.read_text().splitlines() if file.exists() else []
path = pathlib.Path(sys.argv[3])
kept = [each for each in lines if not each.startswith(f"{{path}} ")]
if sys.argv[2] == "add":
    data = path.read_bytes()
    kept.append(f"{{path}} {{len(data)}} {{hashlib.sha256(data).hexdigest()}}")
file.write_text("".join(f"{{each}}\\n" for each in kept))
"""


@pytest.fixture
def trusted(machine: Machine) -> Path:
    """Give the trust file of a machine with a stand-in for fapolicyd's program."""
    program = Path(f"{machine.root}{fapolicyd.PROGRAM}")
    program.parent.mkdir(parents=True)
    programs.written(program, FAPOLICYD, root=str(machine.root))
    folder = Path(f"{machine.root}{fapolicyd.TRUST_FOLDER}")
    folder.mkdir(parents=True)
    return folder / fapolicyd.TRUST_FILE


def test_fapolicyd_trusts_the_moved_file(machine: Machine, trusted: Path) -> None:
    """As it is now, once; and no more when it is given back."""
    calls = machine.root / "calls"
    for _ in range(2):
        assert ran(machine, "on")[0] == 0
        assert trusted.read_text().startswith(f"{machine.kept} ")
        assert calls.read_text().count("\n") == 2, "the second time nothing is to be done"
    machine.package()
    ran(machine, "on")
    assert trusted.read_text().count("\n") == 1
    assert [each.split()[1] for each in calls.read_text().splitlines() if "--file" in each] == [
        "add",
        "delete",
        "add",
    ]
    ran(machine, "off")
    assert trusted.read_text() == ""
    machine.package()
    ran(machine, "on")
    machine.erase()
    ran(machine, "off")
    assert trusted.read_text() == ""


def test_fapolicyd_that_refuses_is_told(machine: Machine, trusted: Path) -> None:
    """The diversion is made all the same: our own domains need no trust for that file."""
    (machine.root / "refuses").touch()
    code, said, _ = ran(machine, "on")
    assert code == 0
    assert f"; but fapolicyd does not trust {machine.kept} (no room)" in said
    (machine.root / "refuses").unlink()
    ran(machine, "on")
    assert trusted.read_text().startswith(f"{machine.kept} ")
