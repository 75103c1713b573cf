"""The package os_brick in Vdsm's own folder, in the processes that import it, with toys for what it
hands over to: our helper, a real os-brick further down the path, or none.

With real os-bricks: tests/brick/test_released_vdsm.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import host_software, releases, vdsm
from rigs import programs
from storpool_ovirt import names
from storpool_ovirt.host import volume_type
from storpool_ovirt.host.os_brick_piece import os_brick as piece

VOL = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
DATA = {"volume": VOL, "global_id": "dyo8.b.d", "access_mode": "rw"}
OURS = {"adapter": "storpool", "driver_volume_type": "local", "data": DATA}
# As LINSTOR's driver describes a volume: os-brick's own connector takes the path.
LINSTOR = {"driver_volume_type": "local", "data": {"device_path": "/dev/drbd1000"}}
TAKEN = {"type": "block", "path": "/dev/x"}
# Our helper: notes how it was started, answers as it was told to.
TOY = """#!{python}
import json, os, sys
sent = "" if sys.argv[1] == "connector_info" else sys.stdin.read()
python = {{key: each for key, each in os.environ.items() if key.startswith("PYTHON")}}
with open({noted!r}, "a") as file:
    file.write(json.dumps([sys.argv[1:], sent, python]) + "\\n")
print({answer!r})
"""
# A real os-brick, as far as the stock helper asks it: it notes the arguments of each call.
BRICK = """
import json
def noted(*call):
    with open({noted!r}, "a") as file:
        file.write(json.dumps(call) + "\\n")
def get_connector_properties(root_helper, my_ip, multipath, enforce_multipath):
    noted("properties", root_helper, my_ip, multipath, enforce_multipath)
    return {{"host": "theirs", "multipath": True, "storpool_client_id": 7}}
class InitiatorConnector:
    @staticmethod
    def factory(protocol, root_helper, use_multipath=False, device_scan_attempts=3, conn=None):
        noted("factory", protocol, root_helper, use_multipath, device_scan_attempts, conn)
        return InitiatorConnector()
    def connect_volume(self, data):
        noted("connect", data)
        return {{"type": "block", "path": "/dev/x"}}
    def disconnect_volume(self, data, taken, force, ignore_errors):
        noted("disconnect", data, taken, force, ignore_errors)
"""
ANSWER = {"host": "ours", "multipath": True, names.VOLUME_TYPE_KEY: "local"}


class Ground:
    """A host with Vdsm's files of 4.50.7, the piece, a toy for our helper, and no os-brick."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = vdsm.Host(root, root / "unused")
        self.software = host_software.HostSoftware(self.host, releases.VDSM_4_50_7)
        self.software.install()
        self.software.integrate()
        self.folder = self.host.local(host_software.LIBEXEC)
        self.site = self.host.local(host_software.SITE)
        self.noted = root / "noted"
        self.helper = self.folder / "managedvolume-helper-storpool"
        self.helper.unlink()
        self.write_helper(json.dumps(ANSWER))

    def write_helper(self, answer: str) -> None:
        """Have the toy answer this."""
        programs.written(self.helper, TOY, noted=str(self.noted), answer=answer)

    def add_os_brick(self, connector: str = BRICK, package: str = "") -> None:
        """Put a real os-brick where Vdsm's Python has its libraries."""
        initiator = self.site / "os_brick" / "initiator"
        initiator.mkdir(parents=True)
        (initiator / "__init__.py").touch()
        (initiator.parent / "__init__.py").write_text(package)
        (initiator.parent / "exception.py").write_text("REAL = True\n")
        (initiator / "connector.py").write_text(connector.format(noted=str(self.noted)))

    def run(
        self, verb: str, sent: bytes = b"", *, first: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the stock helper as Vdsm does."""
        stock = self.folder / "managedvolume-helper"
        done = subprocess.run(
            [*first, sys.executable, str(stock), verb],
            input=sent,
            capture_output=True,
            cwd="/",
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": f"{self.folder}:{self.site}",
                **environment,
            },
            timeout=60,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def calls(self) -> list[Any]:
        """List what the toys noted."""
        if not self.noted.exists():
            return []
        return [json.loads(line) for line in self.noted.read_text().splitlines()]

    def python(self, code: str) -> str:
        """Run code with Vdsm's path in a process that is not the stock helper; return its
        stdout."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": f"{self.folder}:{self.site}"},
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Give the ground."""
    return Ground(tmp_path)


def row(info: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what Vdsm sends for a detach."""
    return {"connection_info": info, "attachment": TAKEN, **more}


SHAPES = {
    "attach of a release": ("attach", OURS, {"connection_info": OURS}),
    "attach of master": ("attach", {"connection_info": OURS}, {"connection_info": OURS}),
    "roll-back": ("detach", row(OURS), row(OURS)),
    "row": ("detach", row(OURS, vol_id=VOL, path="/d"), row(OURS, vol_id=VOL, path="/d")),
    "row with multipath": ("detach", row(OURS, multipath_id="m"), row(OURS, multipath_id="m")),
    "the other type": (
        "attach",
        {**OURS, "driver_volume_type": "storpool"},
        {"connection_info": {**OURS, "driver_volume_type": "storpool"}},
    ),
}


@pytest.mark.parametrize("brick", [False, True], ids=["no os-brick", "os-brick"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_volume_of_ours_is_our_helpers(ground: Ground, shape: str, brick: bool) -> None:
    """Whatever Vdsm sends, ours gets what master would send it, and no os-brick is asked."""
    verb, sent, meant = SHAPES[shape]
    if brick:
        ground.add_os_brick()
    done = ground.run(verb, json.dumps(sent).encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, json.dumps(ANSWER) + "\n", "")
    [[argv, received, python]] = ground.calls()
    assert argv == [verb]
    assert json.loads(received) == meant
    assert python == {"PYTHONNOUSERSITE": "1"}, "what Vdsm sets for its own Python is not for ours"


@pytest.mark.parametrize(
    "info", [LINSTOR, {**LINSTOR, "adapter": "linstor"}, {**OURS, "adapter": 1}]
)
def test_other_vendors_volumes_are_os_bricks(ground: Ground, info: dict[str, Any]) -> None:
    """T96: of the same type, with another adapter or none: their connector is asked as ever."""
    ground.add_os_brick()
    assert ground.run("attach", json.dumps({**info, "scan_attempts": 5}).encode()).returncode == 0
    assert ground.run("detach", json.dumps(row(info)).encode()).returncode == 0
    theirs = {"host": "theirs", "multipath": True, "storpool_client_id": 7}
    asked = ["properties", None, None, True, True]
    assert ground.calls() == [
        asked,
        ["factory", "local", None, True, 5, theirs],
        ["connect", info["data"]],
        asked,
        ["factory", "local", None, True, 3, theirs],
        ["disconnect", info["data"], TAKEN, False, False],
    ]


@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_other_vendors_volumes_without_os_brick_are_refused(ground: Ground, verb: str) -> None:
    """One sentence, and nobody is asked."""
    done = ground.run(verb, json.dumps(LINSTOR if verb == "attach" else row(LINSTOR)).encode())
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{piece.NO_OS_BRICK}\n")
    assert ground.calls() == []


@pytest.mark.parametrize(
    "sent",
    [b"", b"{", b"\xff", b"null", b"[" * 100_000, b'{"connection_info": 1}', b'[{"adapter": 1}]'],
    ids=lambda sent: repr(sent[:20]),
)
@pytest.mark.parametrize("brick", [False, True], ids=["no os-brick", "os-brick"])
def test_what_cannot_be_read_attaches_nothing(ground: Ground, sent: bytes, brick: bool) -> None:
    """It is as before where there is an os-brick, and a sentence where there is none."""
    if brick:
        ground.add_os_brick()
    done = ground.run("attach", sent)
    assert done.returncode == 1
    assert brick or done.stderr == f"{piece.NO_OS_BRICK}\n"
    assert all(call[0] == "properties" for call in ground.calls())


def test_a_huge_stdin_comes_through_whole(ground: Ground) -> None:
    """To the real os-brick to the last byte; ours has a limit of its own."""
    ground.add_os_brick()
    data = {"device_path": "/dev/x", "more": "x" * (8 << 20)}
    assert ground.run("attach", json.dumps({**LINSTOR, "data": data}).encode()).returncode == 0
    assert ground.calls()[-1] == ["connect", data]


@pytest.mark.parametrize("broken", ["missing", "not executable", "no interpreter"])
@pytest.mark.parametrize("brick", [False, True], ids=["no os-brick", "os-brick"])
@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_without_our_helper_nothing_is_attached(
    ground: Ground, broken: str, brick: bool, verb: str
) -> None:
    """A package half gone is one sentence, and no other connector takes the volume: os-brick's own
    would say that a detach is done."""
    if brick:
        ground.add_os_brick()
    if broken == "missing":
        ground.helper.unlink()
    elif broken == "not executable":
        ground.helper.chmod(0o644)
    else:
        ground.helper.write_text("#!/nowhere/python3\n")
    done = ground.run(verb, json.dumps(OURS if verb == "attach" else row(OURS)).encode())
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{ground.helper} cannot be run (" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert ground.calls() == []


def test_connector_info_is_the_real_ones_and_our_key(ground: Ground) -> None:
    """All keys that os-brick gives are as it gives them."""
    ground.add_os_brick()
    done = ground.run("connector_info")
    theirs = {"host": "theirs", "multipath": True, "storpool_client_id": 7}
    assert json.loads(done.stdout) == {**theirs, names.VOLUME_TYPE_KEY: "local"}
    assert done.stderr == ""
    file = str(ground.site / "vdsm" / "storage" / "managedvolume.py")
    assert [call[0] for call in ground.calls()] == [["connector_info", file], "properties"]
    ground.write_helper(json.dumps({"host": "ours"}))  # it has looked: no key is an answer
    assert json.loads(ground.run("connector_info").stdout) == theirs


def test_connector_info_without_os_brick_is_ours(ground: Ground) -> None:
    """All of it."""
    done = ground.run("connector_info")
    assert (json.loads(done.stdout), done.stderr) == (ANSWER, "")


@pytest.mark.parametrize(
    "failing", ["", "[]", "null", "not JSON", "exit 1", "exit 1 after an answer", "missing"]
)
@pytest.mark.parametrize("release", releases.VDSMS, ids=lambda release: release.name)
def test_a_helper_that_fails_takes_nothing_from_the_host(
    ground: Ground, release: releases.Vdsm, failing: str
) -> None:
    """Its other storage needs the rest of connector_info. Engine would take a host without the key
    for one that takes `storpool`, which a release undoes: Vdsm's list alone decides then."""
    ground.software.release = release
    ground.software.install()
    ground.add_os_brick()
    ground.write_helper(failing)
    if failing == "missing":
        ground.helper.unlink()
    elif failing.startswith("exit 1"):
        said = "echo '{}'" if "answer" in failing else ""
        ground.helper.write_text(f"#!/bin/sh\n{said}\nexit 1\n")
    done = ground.run("connector_info")
    found = json.loads(done.stdout)
    assert found["host"] == "theirs"
    assert found.get(names.VOLUME_TYPE_KEY) == (None if release.dispatches else "local")
    assert done.stderr != ""


@pytest.mark.parametrize("content", [None, "", "def", "SUPPORTED_DRIVERS = f()\n", "\0", "x = 1\n"])
def test_a_vdsm_without_a_list_is_told_nothing_by_the_piece(
    ground: Ground, content: str | None
) -> None:
    """Nobody can be asked, and nobody knows this Vdsm: all else of the answer is there."""
    ground.add_os_brick()
    ground.helper.unlink()
    file = ground.site / "vdsm" / "storage" / "managedvolume.py"
    file.unlink() if content is None else file.write_text(content)
    assert names.VOLUME_TYPE_KEY not in json.loads(ground.run("connector_info").stdout)


def test_a_helper_that_hangs_is_not_waited_for(ground: Ground, tmp_path: Path) -> None:
    """Beyond its limit, which is shorter here: the host has the rest of what it is, soon."""
    ground.add_os_brick()
    hasty = tmp_path / "hasty" / "os_brick"
    hasty.mkdir(parents=True)
    source = Path(piece.__file__).read_text()
    shorter = source.replace(f"LIMIT_SECONDS = {piece.LIMIT_SECONDS}", "LIMIT_SECONDS = 0.5")
    assert shorter != source
    (hasty / "__init__.py").write_text(shorter)
    link = ground.folder / "os_brick"
    link.unlink()
    link.symlink_to(hasty)
    ground.helper.write_text("#!/bin/sh\nexec sleep 60\n")
    began = time.monotonic()
    done = ground.run("connector_info")
    assert time.monotonic() - began < 20
    found = json.loads(done.stdout)
    assert (found["host"], found[names.VOLUME_TYPE_KEY]) == ("theirs", "local")
    assert "timed out after 0.5 seconds" in done.stderr


@pytest.mark.parametrize(
    "what",
    ["raise OSError(111, 'multipathd')", "raise SystemExit('privsep')", "return None"],
)
def test_an_os_brick_that_fails_is_no_obstacle_for_ours(ground: Ground, what: str) -> None:
    """While multipathd is restarted, say: what StorPool needs of the host is told."""
    ground.add_os_brick()
    connector = ground.site / "os_brick/initiator/connector.py"
    connector.write_text(f"def get_connector_properties(**arguments):\n    {what}\n")
    done = ground.run("connector_info")
    assert (done.returncode, json.loads(done.stdout)) == (0, ANSWER)
    [line] = done.stderr.splitlines()
    assert line.startswith("os-brick cannot be asked (")
    ground.helper.unlink()
    assert "cannot be run (" in ground.run("connector_info").stderr


@pytest.mark.parametrize("kind", ["RuntimeError", "SystemExit"])
@pytest.mark.parametrize("where", ["package", "connector"])
def test_a_broken_os_brick_is_no_obstacle_for_ours(ground: Ground, where: str, kind: str) -> None:
    """connector_info is ours then, attach and detach of ours go on; other volumes fail with its own
    error, as they did."""
    broken = f"raise {kind}('no such library')\n"
    if where == "package":
        ground.add_os_brick(package=broken)
    else:
        ground.add_os_brick(connector=broken)
    said = ground.run("connector_info")
    assert json.loads(said.stdout) == ANSWER
    assert f"os-brick cannot be loaded ({kind}: no such library)" in said.stderr
    assert ground.run("attach", json.dumps(OURS).encode()).returncode == 0
    theirs = ground.run("attach", json.dumps(LINSTOR).encode())
    assert theirs.returncode == 1
    assert "no such library" in theirs.stderr


def test_vdsms_daemons_get_the_real_one(ground: Ground) -> None:
    """Under its own name, with its own submodules, and ours is not loaded twice."""
    ground.add_os_brick()
    code = """
import os_brick, sys
from os_brick import exception
from os_brick.initiator import connector
assert exception.REAL and sys.modules["os_brick"] is os_brick
assert os_brick.initiator.connector is connector
print(os_brick.__file__)
"""
    assert ground.python(code) == str(ground.site / "os_brick" / "__init__.py")


def test_without_a_real_one_vdsms_daemons_get_ours(ground: Ground) -> None:
    """They only ask whether it can be imported; what else they would want of it is not there."""
    code = """
import os_brick
try:
    from os_brick.initiator import connector
except ImportError as error:
    print(error)
"""
    assert ground.python(code) == "No module named 'os_brick.initiator'"
    ground.software.restart()
    try:
        assert ground.host.daemon is not None
        assert ground.host.daemon.imports_os_brick
    finally:
        ground.software.stop()


def test_a_folder_that_is_no_package_is_no_os_brick(ground: Ground) -> None:
    """What a removed package leaves (a __pycache__) is not taken for the real one."""
    (ground.site / "os_brick" / "__pycache__").mkdir(parents=True)
    assert json.loads(ground.run("connector_info").stdout) == ANSWER


def test_taskset_in_front_changes_nothing(ground: Ground) -> None:
    """Vdsm starts its programs so (common/cmdutils.py)."""
    if shutil.which("taskset") is None:
        pytest.skip("needs taskset (util-linux)")
    done = ground.run("attach", json.dumps(OURS).encode(), first=("taskset", "--cpu-list", "0"))
    assert (done.returncode, done.stderr) == (0, "")
    assert ground.calls()[0][0] == ["attach"]


def test_a_closed_stdin_is_no_trace_of_ours(ground: Ground) -> None:
    """Nobody sends it: the one who reads says so."""
    stock = ground.folder / "managedvolume-helper"
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} {stock} attach <&-"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ground.folder}:{ground.site}"},
    )
    assert (done.returncode, done.stderr) == (1, f"{piece.NO_OS_BRICK}\n")


def test_the_piece_stands_alone() -> None:
    """Vdsm's Python has nothing of ours; what is said twice is the same."""
    assert piece.KEY == names.VOLUME_TYPE_KEY
    assert (piece.LIST, piece.LOCAL) == (volume_type.LIST, names.VOLUME_TYPE_LOCAL)
    source = Path(piece.__file__).read_text()
    assert "import storpool_ovirt" not in source
    assert "from storpool_ovirt" not in source
