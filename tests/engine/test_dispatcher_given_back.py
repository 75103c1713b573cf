"""A verb of a domain of Engine's own client that runs while the diversion is taken away."""

from __future__ import annotations

import subprocess
import sys

import pytest
from diversion_ground import STARTS, Machine

from storpool_ovirt.engine import dispatcher

LIMIT_SECONDS = 60
CODE = "import sys; from storpool_ovirt.engine.dispatcher import main; sys.exit(main(sys.argv[1:]))"


def called(machine: Machine) -> tuple[int, str]:
    """Go on as a dispatcher that Engine started before; return its exit code and answer."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, f"./{dispatcher.CLIENT}", "save_device", "{}"],
        cwd=machine.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    return done.returncode, done.stdout


def test_it_becomes_the_client_that_was_given_back(machine: Machine) -> None:
    """It is at Engine's own name again, and at no other."""
    machine.package(text='#!/bin/sh\necho "$0 $1 $2"\n')
    assert called(machine) == (0, f"./{dispatcher.CLIENT} save_device {{}}\n")


@pytest.mark.parametrize("what", ["copy", "link", "nothing"])
def test_it_never_becomes_itself(machine: Machine, what: str) -> None:
    """What leads to us is no stock client: one sentence, no loop."""
    machine.client.unlink()
    if what == "copy":
        machine.client.write_text(STARTS)
        machine.client.chmod(0o755)
    elif what == "link":
        machine.client.symlink_to(machine.own)
    code, said = called(machine)
    assert (code, said.count("\n")) == (1, 1)
    assert f"{dispatcher.STOCK} cannot be started (No such file or directory)" in said
