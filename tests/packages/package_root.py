"""A folder that is a machine's `/`, with a package database of its own: rpm installs into it, and
its programs run in it.

Its shell is a static busybox, its Python is one of this machine's, below /opt/python there with
site-packages of its own. Both are seen only in a mount namespace of each command: nothing has to be
taken off afterwards, and no file of this machine is changed. Root is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

LIMIT_SECONDS = 120
DATABASE = "/var/lib/rpm"
PYTHON_HOME = "/opt/python"
_USERS = {"root": (0, 0), "vdsm": (36, 36), "ovirt": (108, 108)}
_GROUPS = {"root": 0, "kvm": 36, "ovirt": 108}
# Debian's rpm says before each work that other packages are meant for Debian.
_DEBIANS_ADVICE = ("rpm: RPM should not be used", "rpm: However assuming you know")
# Seen in the folder only by its own commands: the C library, devices, this machine's Python.
_MOUNTS = ("/lib", "/lib64", "/dev", "/proc")
_INSIDE = """
root=$1 home=$2 prefix=$3 seen=$4 && shift 4
for each in {mounts} "$prefix" $seen; do
    [ ! -d "$each" ] || mount --bind "$(readlink -f "$each")" "$root$each" || exit 125
done
mount --bind "$home" "$root{home}" || exit 125
exec "$@"
"""


class Python(NamedTuple):
    """A Python of this machine, as a home that a root takes; `prefix` is where it is really."""

    version: str
    home: Path
    prefix: str


class Root:
    """One such folder."""

    def __init__(self, folder: Path, python: Python) -> None:
        self.folder = folder
        self.python = python
        self._seen = ""

    def see(self, folder: Path) -> None:
        """Have its programs see a folder of this machine, under the same name."""
        self.path(str(folder)).mkdir(parents=True, exist_ok=True)
        self._seen = str(folder)

    def mount_points(self) -> None:
        """Make the folders in which its commands see something of this machine."""
        for each in (*_MOUNTS, PYTHON_HOME, self.python.prefix):
            self.path(each).mkdir(parents=True, exist_ok=True)

    def copy(self, folder: Path) -> Root:
        """Return another one that is as this one is now."""
        subprocess.run(["cp", "-a", str(self.folder), str(folder)], check=True)
        return Root(folder, self.python)

    def path(self, name: str) -> Path:
        """Return where a file of it is on this machine."""
        return Path(f"{self.folder}{name}")

    def rpm(self, *arguments: object, code: int | None = 0) -> str:
        """Run rpm on it, and return all that it and the scriptlets say."""
        words = ["rpm", "--root", str(self.folder), "--dbpath", DATABASE, "--nosignature"]
        done = self._inside([*words, *map(str, arguments)], None)
        lines = (done.stdout + done.stderr).splitlines(keepends=True)
        said = "".join(line for line in lines if not line.startswith(_DEBIANS_ADVICE))
        assert code is None or done.returncode == code, said
        return said

    def run(
        self,
        *command: str,
        user: str = "root",
        cwd: str = "/",
        stdin: str = "",
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of its own, as one of its users."""
        uid, gid = _USERS[user]
        given = [
            f"{key}={value}"
            for key, value in {"PATH": "/usr/sbin:/usr/bin:/bin", **environment}.items()
        ]
        inside = f'cd "{cwd}" && exec "$@"'
        words = ["chroot", f"--userspec={uid}:{gid}", "--groups=", str(self.folder)]
        words += ["/bin/busybox", "env", "-i", *given, "/bin/sh", "-c", inside, "sh", *command]
        return self._inside(words, stdin)

    def files(self) -> set[str]:
        """Return all that is in it, but rpm's database."""
        found = set()
        for top, folders, names in os.walk(self.folder):
            place = top[len(str(self.folder)) :]
            if place == DATABASE:
                folders.clear()
                continue
            found |= {f"{place}/{each}" for each in (*folders, *names)}
        return found

    def verified(self, *packages: str) -> list[str]:
        """Return what `rpm -V` finds wrong with packages, a line each."""
        return [line for line in self.rpm("-V", *packages, code=None).splitlines() if line.strip()]

    def _inside(self, words: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
        script = _INSIDE.format(mounts=" ".join(_MOUNTS), home=PYTHON_HOME)
        places = [str(self.folder), str(self.python.home), self.python.prefix, self._seen]
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        return subprocess.run(
            [*command, *places, *words],
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
            cwd="/",
        )


def python_home(folder: Path, executable: str, packages: Iterable[Path]) -> Python:
    """Make a home of a Python of this machine, with these packages for its site-packages."""
    code = (
        "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('stdlib'),"
        " '.'.join(map(str, sys.version_info[:3])), sys.version_info[1],"
        " __import__('os').path.realpath(sys.executable))"
    )
    done = subprocess.run(
        [executable, "-I", "-c", code], check=True, capture_output=True, text=True
    )
    prefix, library, version, minor, binary = done.stdout.split()
    name = f"python3.{minor}"
    own = folder / "lib" / name
    own.mkdir(parents=True)
    for each in Path(library).iterdir():
        if each.name not in ("site-packages", "dist-packages"):
            (own / each.name).symlink_to(each)
    (own / "site-packages").mkdir()
    for package in packages:
        shutil.copytree(package, own / "site-packages" / package.name)
    (folder / "bin").mkdir()
    shutil.copy(binary, folder / "bin" / name)
    if prefix == "/usr":
        prefix = library
    return Python(version, folder, prefix)


def made(folder: Path, python: Python, system: Path) -> Root:
    """Make a root with a shell, users, and the packages that the system has."""
    root = Root(folder, python)
    root.mount_points()
    for each in ("/bin", "/usr/bin", "/usr/sbin", "/tmp"):
        Path(f"{folder}{each}").mkdir(parents=True, exist_ok=True)
    for each in ("/etc/logrotate.d", "/etc/sudoers.d", "/usr/lib/tmpfiles.d", "/usr/libexec"):
        Path(f"{folder}{each}").mkdir(parents=True, exist_ok=True)
    for each in (
        "/run",
        "/var/log",
        "/var/lib",
        "/var/tmp",
        "/usr/share/doc",
        "/usr/share/licenses",
    ):
        Path(f"{folder}{each}").mkdir(parents=True, exist_ok=True)
    for version in ("3.9", "3.12"):
        Path(f"{folder}/usr/lib/python{version}/site-packages").mkdir(parents=True)
    Path(f"{folder}/usr/lib/systemd/system").mkdir(parents=True)
    Path(f"{folder}/usr/lib/systemd/system-preset").mkdir()
    Path(f"{folder}/usr/share/man/man8").mkdir(parents=True)
    folder.chmod(0o755)
    busybox = folder / "bin" / "busybox"
    shutil.copy(_busybox(), busybox)
    for applet in "sh rm find echo cat env mkdir".split():
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text(
        "".join(f"{name}:x:{uid}:{gid}::/:/bin/sh\n" for name, (uid, gid) in _USERS.items())
    )
    (folder / "etc" / "group").write_text(
        "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS.items())
    )
    minor = python.version.split(".")[1]
    (folder / "usr" / "bin" / "python3").symlink_to(f"{PYTHON_HOME}/bin/python3.{minor}")
    root.rpm("--initdb")
    root.rpm("-i", system)
    assert root.run("/usr/bin/python3", "-ISB", "-c", "import json").returncode == 0
    return root


def _busybox() -> str:
    """Return a static one: the system's, or that of the guests (.ci/vm-packages)."""
    cache = os.environ.get("STORPOOL_OVIRT_VM") or str(
        Path("~/.cache/storpool-ovirt/vm").expanduser()
    )
    for found in (shutil.which("busybox"), f"{cache}/guest/busybox"):
        if found and Path(found).exists():
            done = subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
            if "=>" not in done.stdout:
                return found
    pytest.skip("a static busybox is not here (.ci/packages)")
