"""Engine's calls go on while packages put their file in the client's place and it is diverted
again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from diversion_ground import Machine

from ovirt_demo import children
from storpool_ovirt.engine import dispatcher

if TYPE_CHECKING:
    from pathlib import Path

    from storpool_ovirt.engine.diversion import Diversion

CALLS, TURNS_MAX = 10, 100_000
LIMIT_SECONDS = 60
# Both are for Python, as oVirt's is: the kernel reads the first line, Python the file behind it,
# and they need not be of one file.
ANSWERS = "#!{python}\nimport sys\nprint(sys.argv[4] + ':{name}')\n"
STOCK = ANSWERS.format(python=sys.executable, name="stock")


def called(machine: Machine, options: dict[str, str], diversion: Diversion) -> str:
    """Call as Engine does, and let packages come and be diverted as long as it runs; return the
    answer."""
    argv = [f"./{dispatcher.CLIENT}", "save_device", json.dumps(options), "url", "an-id"]
    with subprocess.Popen(
        argv, cwd=machine.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for _ in range(TURNS_MAX):
            if process.poll() is not None:
                break
            diversion.on()
            machine.package(text=STOCK)
        return process.communicate(timeout=LIMIT_SECONDS)[0]


def test_every_call_is_answered_while_packages_come(tmp_path: Path) -> None:
    """Each meets a whole client, be it a new one of Engine's or the link: a domain of Engine's own
    client is that one's whatever comes between two steps, and ours is once it is diverted."""
    machine = Machine(tmp_path / "root")
    adapter = machine.folder.parent / dispatcher.ADAPTERS / "storpool-adapter"
    adapter.parent.mkdir(parents=True)
    adapter.write_text(ANSWERS.format(python=sys.executable, name="adapter"))
    adapter.chmod(0o755)
    diversion = machine.diversion(children.find(dispatcher.PROGRAM))
    machine.package(text=STOCK)
    ours, others = {"adapter": "storpool"}, {"volume_driver": "x"}
    for number in range(CALLS):
        if number % 3:
            diversion.on()
        assert called(machine, others, diversion) == "an-id:stock\n"
        assert called(machine, ours, diversion) in ("an-id:stock\n", "an-id:adapter\n")
    diversion.on()
    argv = [f"./{dispatcher.CLIENT}", "save_device", json.dumps(ours), "url", "an-id"]
    assert subprocess.check_output(argv, cwd=machine.folder, text=True) == "an-id:adapter\n"
