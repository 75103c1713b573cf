"""The package os_brick in Vdsm's folder with a real os-brick behind it, in the stock helper of a
released Vdsm: what is not ours goes on as without it.

What happens without a real one, and to ours, is in tests/host/test_os_brick_piece.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("os_brick", reason="os-brick is not installed for this Python")

from ovirt_demo import host_software, releases, vdsm
from rigs import programs
from storpool_ovirt import names

PIECE = Path(host_software.__file__).parents[1] / host_software.PACKAGE / host_software.PIECE_IN_IT
VOL = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OURS = {
    "adapter": "storpool",
    "driver_volume_type": "local",
    "data": {"volume": VOL, "global_id": "dyo8.b.d", "access_mode": "rw"},
}
# As the drivers of the other vendors describe their volumes.
RBD = {"driver_volume_type": "rbd", "data": {"name": "pool/volume-1", "hosts": ["h"], "ports": [1]}}
ISCSI = {
    "driver_volume_type": "iscsi",
    "scan_attempts": 7,
    "data": {"target_iqn": "iqn.2010-10.org:x", "target_portal": "192.0.2.1:3260", "target_lun": 1},
}
LINSTOR = {"driver_volume_type": "local", "data": {"device_path": "/dev/drbd1000"}}
OTHERS = {"rbd": RBD, "iscsi": ISCSI, "local": LINSTOR}
TAKEN = {"type": "block", "path": "/dev/x"}
ANSWER = {"host": "ours", names.VOLUME_TYPE_KEY: "local"}
TOY = """#!{python}
import sys
print({answer!r})
"""
# os-brick becomes root by `sudo`, and asks these about the host.
COMMAND = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
"""
# Loaded by Python at its start: notes how the real connectors are made and what they are asked, in
# the place of what they would do to this machine.
SPY = """
import json, os, sys
from importlib.machinery import PathFinder
WATCHED = {{"iscsi": "ISCSIConnector", "rbd": "RBDConnector", "local": "LocalConnector"}}
class Finder:
    def find_spec(self, name, path=None, target=None):
        kind = name.rpartition(".")[2]
        if not name.startswith("os_brick.initiator.connectors.") or kind not in WATCHED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module
        def loaded(module):
            load(module)
            watch(getattr(module, WATCHED[kind]))
        spec.loader.exec_module = loaded
        return spec
def watch(cls):
    made = cls.__init__
    def init(self, *args, **kw):
        self.made = [list(args), {{key: each for key, each in kw.items() if key != "execute"}}]
        made(self, *args, **kw)
    def note(self, *call):
        with open({noted!r}, "a") as file:
            file.write(json.dumps([cls.__module__, self.made, call], default=repr) + "\\n")
    def connect(self, data):
        note(self, "connect", data)
        return {{"type": "block", "path": "/dev/x"}}
    cls.__init__, cls.connect_volume = init, connect
    cls.disconnect_volume = lambda self, *args, **kw: note(self, "disconnect", args, kw)
sys.meta_path.insert(0, Finder())
"""
NOS_BRICK = """
from os_brick.initiator.connectors import rbd
from os_brick import exception, privileged
class RBDConnector(rbd.RBDConnector):
    pass
"""


class Ground:
    """A host with Vdsm 4.50.7 whose Python has os-brick, and a toy for our helper."""

    def __init__(self, root: Path) -> None:
        self.host = vdsm.Host(root, root / "unused")
        host_software.HostSoftware(self.host, releases.VDSM_4_50_7).install()
        self.libexec = self.host.local(host_software.LIBEXEC)
        self.site = self.host.local(host_software.SITE)
        (self.site / "vdsm/storage/nos_brick.py").write_text(NOS_BRICK)
        self.noted = root / "noted"
        self.spy = root / "spy"
        self.commands = root / "commands"
        for folder in (self.spy, self.commands):
            folder.mkdir()
        (self.spy / "sitecustomize.py").write_text(SPY.format(noted=str(self.noted)))
        for name, more in {"sudo": 'exec "$@"\n', "multipathd": "", "iscsiadm": ""}.items():
            command = self.commands / name
            command.write_text(COMMAND + more)
            command.chmod(0o755)
        self.piece = self.libexec / "os_brick"

    def integrate(self) -> None:
        """Put the piece and the toy there."""
        self.piece.symlink_to(PIECE)
        helper = self.libexec / "managedvolume-helper-storpool"
        programs.written(helper, TOY, answer=json.dumps(ANSWER))

    def run(self, verb: str, sent: Any = None) -> tuple[int, str, str]:
        """Run the stock helper; return its exit code, its answer and its last word."""
        path = [self.commands, Path(sys.executable).parent, "/usr/bin", "/bin"]
        done = subprocess.run(
            [sys.executable, str(self.libexec / "managedvolume-helper"), verb],
            input="" if sent is None else json.dumps(sent),
            capture_output=True,
            text=True,
            cwd="/",
            env={
                "PATH": os.pathsep.join(map(str, path)),
                "PYTHONPATH": f"{self.libexec}:{self.spy}:{self.site}",
                "PYTHONWARNINGS": "ignore",
                "STORPOOL_OVIRT_ROOT": str(self.host.root),
            },
            timeout=120,
            check=False,
        )
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return done.returncode, done.stdout, last if done.returncode else ""

    def asked(self) -> list[Any]:
        """List what the connectors were asked since the last look."""
        lines = self.noted.read_text().splitlines() if self.noted.exists() else []
        self.noted.write_text("")
        return [json.loads(line) for line in lines]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Give the ground."""
    if os.geteuid() != 0:
        pytest.skip("os-brick asks multipathd as root")
    return Ground(tmp_path)


def life(ground: Ground, info: dict[str, Any]) -> list[Any]:
    """Attach and detach as 4.50.7 does; return what was answered, and what connectors were
    asked."""
    row = {"vol_id": VOL, "connection_info": info, "path": "/dev/x", "attachment": TAKEN}
    runs = [ground.run("attach", info), ground.run("detach", row)]
    return [runs, ground.asked()]


@pytest.mark.parametrize("name", OTHERS)
def test_other_vendors_volumes_are_theirs_as_before(ground: Ground, name: str) -> None:
    """T96: the same class of os-brick's is made with the same arguments and asked the same."""
    before = life(ground, OTHERS[name])
    ground.integrate()
    after = life(ground, OTHERS[name])
    assert after == before
    runs, asked = after
    assert [run[0] for run in runs] == [0, 0]
    assert len(asked) == 2
    assert {each[0] for each in asked} == {f"os_brick.initiator.connectors.{name}"}


def test_connector_info_has_all_that_it_had_and_our_key(ground: Ground) -> None:
    """Whatever this os-brick's connectors say of the host."""
    code, before, _ = ground.run("connector_info")
    assert code == 0
    ground.integrate()
    code, after, _ = ground.run("connector_info")
    assert code == 0
    assert json.loads(after) == {**json.loads(before), names.VOLUME_TYPE_KEY: "local"}
    assert "platform" in json.loads(before)


def test_ours_is_never_os_bricks(ground: Ground) -> None:
    """None of its connectors is made."""
    ground.integrate()
    [runs, asked] = life(ground, OURS)
    assert runs == [(0, json.dumps(ANSWER) + "\n", "")] * 2
    assert asked == []


def test_our_connector_in_os_brick_is_reached_beside_the_piece(ground: Ground) -> None:
    """What Cinder's drivers describe has no adapter: it is os-brick's, and so our connector's where
    that is installed."""
    ground.integrate()
    tree = PIECE.parents[3]
    armed = f"import sys; sys.path.append({str(tree)!r})\nfrom cinder_driver import registration\n"
    (ground.spy / "sitecustomize.py").write_text(f"{armed}registration.arm()\n")
    volume = {"driver_volume_type": "storpool", "data": {"volume": VOL, "access_mode": "rw"}}
    code, answer, last = ground.run("attach", volume)
    assert (code, answer) == (1, "")
    assert "/etc/storpool.conf is missing" in last


def test_a_host_without_the_piece_refuses_ours(ground: Ground) -> None:
    """What connect_volume describes has no `device_path`, without which os-brick's own connector
    for this type attaches nothing."""
    (ground.spy / "sitecustomize.py").unlink()
    code, answer, last = ground.run("attach", OURS)
    assert (code, answer) == (1, "")
    assert "device_path" in last


def test_the_daemons_get_the_real_one(ground: Ground) -> None:
    """With all that Vdsm and its nos_brick import of it."""
    ground.integrate()
    code = """
import os_brick
from os_brick import exception, privileged
from os_brick.initiator import connector, connectors
from os_brick.privileged import rootwrap
from vdsm.storage import nos_brick
assert connectors.rbd.RBDConnector in nos_brick.RBDConnector.__mro__
print(os_brick.__file__)
"""
    said = {}
    for path in (f"{ground.libexec}:{ground.site}", str(ground.site)):
        said[path] = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={"PYTHONPATH": path},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
    with_piece, without = said.values()
    assert with_piece == without
