"""storpool-vm-hook as Vdsm's own user: what it has to be able to read, and what it says when it cannot."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hook_stage import installed, refused

import storpool_ovirt
from storpool_ovirt import api
from storpool_ovirt.demo import hooks, simulator, vdsm

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "nobody"
IMAGE = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
PROGRAM = """#!{python}
import sys
sys.path.insert(0, {library!r})
from storpool_ovirt import vm_hook
sys.exit(vm_hook.main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def program(folder: Path) -> Path:
    """The hook where another user can run it, with a Python that he can run."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a program as another user")
    python = next((each for each in (sys.executable, "/usr/bin/python3") if _runs(each)), None)
    if python is None:
        pytest.skip(f"no Python 3.9 or newer here that user {USER} can run")
    library = folder / "library"
    ours, binding = Path(storpool_ovirt.__file__).parent, Path(str(api.binding().__file__)).parent
    for package in (ours, binding):
        shutil.copytree(package, library / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    made = folder / "storpool-vm-hook"
    made.write_text(PROGRAM.format(python=python, library=str(library)))
    made.chmod(0o755)
    return made


def _runs(python: str) -> bool:
    try:
        ran = subprocess.run(
            [python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"],
            user=USER, cwd="/", capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return ran.returncode == 0


def test_the_user_of_vdsm(folder: Path, program: Path) -> None:
    """It needs to read storpool.conf and nothing else; where it cannot, it names the file and the user, and refuses."""
    tags = {"virt": "ovirt", "ovirt-uuid": IMAGE}
    name = f"ovirt--{IMAGE}"
    with simulator.running(folder / "simulator", {1: folder / "host"}, devices="file") as cluster:
        cluster.api("VolumeCreate", {"name": name, "size": 1 << 30, "template": "hybrid", "tags": tags})
        cluster.api("VolumesReassignWait", {"reassign": [{"volume": name, "rw": [1]}]})
        host = vdsm.Host(cluster.hosts[1], Path("/bin/false"))
        own = installed(host, program, user=pwd.getpwnam(USER).pw_uid)
        document = hooks.domain_xml(hooks.disk_xml({"managed_path": f"/dev/storpool/{name}", "vol_id": IMAGE}))
        conf = host.local("/etc/storpool.conf")
        conf.chmod(0o640)
        with pytest.raises(vdsm.VdsmError):
            own.before_vm_start(document)
        assert f"{conf} cannot be read (Permission denied): make it readable for user {USER}" in refused(own)
        os.chown(conf, -1, pwd.getpwnam(USER).pw_gid)
        own.read_only = True
        assert own.before_vm_start(document) == document
        assert own.runs[-1].stderr == ""
