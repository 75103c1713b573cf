"""The programs that setup runs as root, and what is left where one fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from setup_ground import states, step

if TYPE_CHECKING:
    from setup_ground import Setup

SUDOERS = "/etc/sudoers.d/storpool-ovirt"


@pytest.mark.parametrize("path", [":/usr/sbin:/usr/bin:/sbin:/bin", ".", "/srv/theirs"])
def test_root_runs_no_program_of_the_callers_folder(host: Setup, path: str) -> None:
    """An empty part of PATH, or ".", is the folder in which somebody stands."""
    host.machine.write("/srv/theirs/visudo", "#!/bin/sh\necho >/srv/was-run\n", 0o755)
    host.machine.run(host.command, "setup", "host", cwd="/srv/theirs", env={"PATH": path})
    assert not host.machine.path("/srv/was-run").exists()
    assert SUDOERS in host.tree()


def test_a_program_has_nothing_of_the_callers(host: Setup) -> None:
    """Neither the environment nor the folder."""
    host.machine.tool("visudo", "env >/srv/environment; pwd >/srv/folder")
    given = {"LD_PRELOAD": "", "BASH_ENV": "/srv/x", "EDITOR": "x"}
    host.machine.run(host.command, "setup", "host", cwd="/srv", env=given)
    names = {line.partition("=")[0] for line in host.machine.read("/srv/environment").splitlines()}
    assert names <= {"PATH", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}
    assert host.machine.read("/srv/folder") == "/\n"


def test_a_program_ends_when_it_ends(host: Setup) -> None:
    """Not with what it has left behind, which holds its streams."""
    host.machine.tool("visudo", "sleep 50 & exit 0")
    began = time.monotonic()
    assert states(host.run())["sudoers"] == "changed"
    assert time.monotonic() - began < 15


def test_what_was_refused_leaves_nothing(host: Setup) -> None:
    """Neither of a check that says no, nor of a disk that is full."""
    host.machine.tool("visudo", "echo no >&2; exit 1")
    assert "(no)" in step(host.run(code=1), "sudoers")["what"]
    assert host.machine.do("ls -A /etc/sudoers.d").split() == ["README"]
    host.machine.do(
        "mount -t tmpfs -o size=4k,mode=750 none /etc/sudoers.d;"
        "dd if=/dev/zero of=/etc/sudoers.d/full bs=4k count=1"
    )
    assert states(host.run(code=1))["sudoers"] == "failed"
    assert host.machine.do("ls -A /etc/sudoers.d").split() == ["full"]
