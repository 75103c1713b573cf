"""Engine's calls go on while packages put their file in the client's place and it is diverted
again."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from diversion_ground import Machine

from ovirt_demo import children
from storpool_ovirt.engine import dispatcher

if TYPE_CHECKING:
    from pathlib import Path

CALLS, TURNS_MAX = 20, 3000
LIMIT_SECONDS = 60
# Both are for Python, as oVirt's is: the kernel reads the first line, Python the file behind it,
# and they need not be of one file.
ANSWERS = "#!{python}\nimport sys\nprint(sys.argv[4] + ':{name}')\n"


def called(machine: Machine, number: int) -> tuple[str, str]:
    """Call as Engine does, in turn for a domain of either kind; return which, and the answer."""
    kind = "adapter" if number % 2 else "stock"
    options = {"adapter": "storpool"} if number % 2 else {"volume_driver": "x"}
    argv = [f"./{dispatcher.CLIENT}", "save_device", json.dumps(options), "url", "an-id"]
    done = subprocess.run(
        argv,
        cwd=machine.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    return kind, done.stdout


def test_every_call_is_answered_while_packages_come(tmp_path: Path) -> None:
    """Each meets a whole client, be it a new one of Engine's or the link: a domain of Engine's own
    client is that one's whatever comes between two steps, and ours is once it is diverted."""
    machine = Machine(tmp_path / "root")
    adapters = machine.folder.parent / dispatcher.ADAPTERS
    adapters.mkdir(parents=True)
    (adapters / "storpool-adapter").write_text(
        ANSWERS.format(python=sys.executable, name="adapter")
    )
    (adapters / "storpool-adapter").chmod(0o755)
    stock = ANSWERS.format(python=sys.executable, name="stock")
    diversion = machine.diversion(children.find(dispatcher.PROGRAM))
    answers: dict[str, set[str]] = {"stock": set(), "adapter": set()}
    machine.package(text=stock)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(called, machine, number) for number in range(CALLS)]
        turns = 0
        while not all(each.done() for each in waiting) and turns < TURNS_MAX * CALLS:
            turns += 1
            diversion.on()
            machine.package(text=stock)
        for each in waiting:
            kind, answer = each.result()
            answers[kind].add(answer)
    assert answers["stock"] == {"an-id:stock\n"}
    assert answers["adapter"] <= {"an-id:stock\n", "an-id:adapter\n"}
    assert turns > 1
    diversion.on()
    assert called(machine, 1) == ("adapter", "an-id:adapter\n")
