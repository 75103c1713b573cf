"""A host for os-brick's own connector, which knows no folder that stands for `/`.

A process in a mount namespace of its own: what it writes to /etc and /dev goes to layers above them
that vanish with it, and its /run and /var/spool are empty. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# overlayfs wants its upper layer on a file system that is none itself.
SCRIPT = """set -e
mount -t tmpfs layers "$1"
for each in etc dev; do
    mkdir "$1/$each" "$1/$each.work"
    mount -t overlay "$each" -o "lowerdir=/$each,upperdir=$1/$each,workdir=$1/$each.work" "/$each"
done
mount -t tmpfs run /run
mount -t tmpfs spool /var/spool
mkdir /var/spool/openstack-storpool
echo '{}' >/var/spool/openstack-storpool/openstack-attach.json
shift
exec "$@"
"""


def run(folder: Path, *arguments: str) -> str:
    """Run this Python with these arguments on such a host, and return its stdout."""
    layers = folder / "layers"
    layers.mkdir()
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        SCRIPT,
        "sh",
        str(layers),
        sys.executable,
        *arguments,
    ]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def need() -> None:
    """Skip where there cannot be one."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a mount namespace with an /etc and a /dev of its own")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    if (
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("no mount namespaces for this process")
