"""A machine that is this one with changes of its own: a copy-on-write of its `/` in a mount and a
process namespace, so that anything may be broken for real and nothing of it reaches this machine.

Users ovirt, vdsm, qemu and sanlock are there, and our programs as pip puts them, in
/opt/storpool-ovirt. What runs in it ends with it. Its network is this machine's: a simulator and a
PostgreSQL on loopback are reached from inside. Root, overlayfs and namespaces are needed.

    machine.run("storpool-ovirt", "doctor", user="ovirt", cwd="/", stdin="", env={...})
    machine.start("/usr/bin/java", ...)          runs until the machine ends
    machine.write("/etc/x", text, mode=0o640, owner="root:ovirt"), machine.read("/etc/x")
    machine.tool("multipathd", "echo running")   a program in /usr/sbin; a shell script
    machine.see(folder, "/dev/storpool-byid")    a folder of this machine, under another name there
    machine.tree("/etc", "/usr/libexec")         every file: mode, owner, link or content
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import storpool_ovirt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "/opt/storpool-ovirt"
NOT_LIBRARIES = {"storpool_ovirt", "cinder_driver", "ovirt_demo", "storpool_simulator"}
LIMIT_SECONDS = 60.0
SETTLED_NS = 2_000_000_000  # a kernel's clock goes on in steps of some milliseconds
# Ids as oVirt's packages have them (vdsm.spec.in, ovirt-engine.spec.in of the releases), qemu as
# EL's.
USERS = {"vdsm": (36, 36), "qemu": (107, 107), "ovirt": (108, 108), "sanlock": (179, 179)}
GROUPS = {
    "kvm": (36, ""),
    "qemu": (107, "vdsm,sanlock"),
    "ovirt": (108, ""),
    "sanlock": (179, "vdsm"),
}
_PATH = f"{PREFIX}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICES = "null:3 zero:5 full:7 random:8 urandom:9"
_sums: dict[tuple[int, int, int, int], str] = {}
# A layer is copied: overlayfs takes none that lies in another.
_BEGIN = r"""
own=$1 devices=$2 && shift 2 &&
mount -t tmpfs -o mode=755 storpool-ovirt-test "$own" &&
mkdir -p "$own/up" "$own/work" "$own/root" || exit 1
for layer in "$@"; do cp -a "$layer/." "$own/up/" || exit 1; done
mount -t overlay -o "lowerdir=/,upperdir=$own/up,workdir=$own/work" overlay "$own/root" &&
mount -t proc proc "$own/root/proc" && mount --rbind /sys "$own/root/sys" &&
mount -t tmpfs -o mode=755 dev "$own/root/dev" && mkdir "$own/root/dev/shm" "$own/root/dev/pts" &&
mount -t tmpfs -o mode=755 run "$own/root/run" || exit 1
for each in $devices; do
    mknod -m 666 "$own/root/dev/${each%:*}" c 1 "${each#*:}" || exit 1
done
mknod -m 666 "$own/root/dev/tty" c 5 0 && ln -s /proc/self/fd "$own/root/dev/fd" || exit 1
echo ready
read _
"""


class Machine:
    """One such machine; it ends with `end`."""

    # How its first process begins, and the namespaces that it has of its own.
    _BEGIN = _BEGIN
    _APART = ("--mount", "--pid")

    def __init__(self, folder: Path, *layers: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._own = folder
        apart = ["unshare", *self._APART, "--fork", "--kill-child"]
        words = [*apart, "--propagation", "private", "sh", "-c", self._BEGIN, "sh"]
        self._process = subprocess.Popen(
            [*words, folder, _DEVICES, *layers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            said = self._process.communicate()[1]
            pytest.skip(f"this machine lets nobody have a copy of it: {said.strip()}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._init = children.read_text().split()[0]
        self._started: list[subprocess.Popen[str]] = []

    def path(self, name: str) -> Path:
        """Return where a file of it can be read and written from here.

        A link on the way that begins with / leads to this machine's file: `run` sees what it does.
        """
        return Path(f"/proc/{self._init}/root{self._root}{name}")

    def run(
        self,
        *command: str,
        user: str = "root",
        cwd: str = "/",
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        seconds: float = LIMIT_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it to its end."""
        words = self._words(command, user, cwd, env)
        return subprocess.run(
            words, input=stdin, capture_output=True, text=True, check=False, timeout=seconds
        )

    def do(self, script: str, *arguments: str) -> str:
        """Run a shell script that has to succeed, as root; return what it writes."""
        done = self.run("/bin/sh", "-ec", script, "sh", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(
        self,
        *command: str,
        user: str = "root",
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program that runs until it is ended here, or with the machine."""
        process = subprocess.Popen(
            self._words(command, user, cwd, env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def read(self, name: str) -> str:
        """Return the text of a file as its programs see it."""
        return self.do('cat "$1"', name)

    def write(self, name: str, text: str, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file, in place of what is there."""
        done = self.run(
            "/bin/sh",
            "-ec",
            'mkdir -p "${1%/*}"; rm -rf "$1"; cat >"$1"; chown "$2" "$1"; chmod "$3" "$1"',
            "sh",
            name,
            owner,
            f"{mode:o}",
            stdin=text,
        )
        assert done.returncode == 0, done.stderr

    def tool(self, name: str, script: str) -> None:
        """Put a program there whose real one cannot be had here; it is a shell script."""
        self.write(f"/usr/sbin/{name}", f"#!/bin/sh\n{script}\n", 0o755)

    def without(self, name: str) -> None:
        """Take a program away from all folders of PATH."""
        self.do('for each in /usr/sbin /usr/bin /sbin /bin; do rm -f "$each/$1"; done', name)

    def see(self, folder: Path, name: str) -> None:
        """Have it see a folder of this machine under a name of its own."""
        inside = 'mkdir -p "$2" && mount --bind "$1" "$2"'
        words = ["nsenter", "-t", self._init, "-m", "sh", "-c", inside, "sh"]
        subprocess.run([*words, folder, f"{self._root}{name}"], check=True)

    def tree(self, *tops: str) -> dict[str, str]:
        """Return all files below some folders: what each is, whose, and a sum of what is in it."""
        return {name: each for top in tops for name, each in self._below(top)}

    def save(self, folder: Path) -> None:
        """Copy all that is not this machine's: a layer of machines that begin as this one is, but
        for what is in /run and /dev."""
        changed = f"/proc/{self._init}/root{self._own}/up"
        subprocess.run(["cp", "-a", changed, folder], check=True)

    @property
    def _root(self) -> str:
        """Where its `/` is, for its first process."""
        return f"{self._own}/root"

    def end(self) -> None:
        """End it, and all that runs in it."""
        self._process.send_signal(signal.SIGKILL)
        for process in (self._process, *self._started):
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.wait(LIMIT_SECONDS)

    def _words(
        self, command: tuple[str, ...], user: str, cwd: str, env: Mapping[str, str] | None
    ) -> list[str]:
        given = {"PATH": _PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **(env or {})}
        inside = ["nsenter", "-t", self._init, "-m", "-p", "chroot", self._root or "/"]
        if user != "root":
            inside += ["setpriv", f"--reuid={user}", f"--regid={USERS[user][1]}", "--init-groups"]
        variables = [f"{key}={value}" for key, value in given.items()]
        return [*inside, "env", "-i", "-C", cwd, *variables, *command]

    def _below(self, top: str) -> Iterator[tuple[str, str]]:
        start = len(str(self.path("")))
        for folder, folders, names in os.walk(self.path(top)):
            for name in (*folders, *names):
                path = f"{folder}/{name}"
                facts = os.lstat(path)
                what = f"{stat.filemode(facts.st_mode)} {facts.st_uid}:{facts.st_gid}"
                if stat.S_ISLNK(facts.st_mode):
                    what += f" -> {Path(path).readlink()}"
                elif stat.S_ISREG(facts.st_mode):
                    what += f" {_sum(path, facts)}"
                yield path[start:], what


def _sum(path: str, facts: os.stat_result) -> str:
    """Return a sum of what is in a file. Nearly all are this machine's, in each copy of it: each is
    read once.

    Who writes to a file cannot help that it has another time of change, if only the clock has gone
    on since the one before; and what is written in a copy becomes another file.
    """
    known = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    found = _sums.get(known)
    if found is None:
        found = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
        if time.time_ns() - facts.st_ctime_ns > SETTLED_NS:
            _sums[known] = found
    return found


def made_layer(folder: Path) -> Path:
    """Make what each such machine has beyond this one: users, and a way to Python for them."""
    for name, entries in (
        ("passwd", [f"{user}:x:{uid}:{gid}::/:/bin/sh" for user, (uid, gid) in USERS.items()]),
        ("group", [f"{group}:x:{gid}:{who}" for group, (gid, who) in GROUPS.items()]),
    ):
        file = folder / "etc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        mine = {each.partition(":")[0] for each in entries}
        theirs = Path(f"/etc/{name}").read_text().splitlines()
        kept = [each for each in theirs if each.partition(":")[0] not in mine]
        # Ours first: this machine may have a group of its own under one of the ids.
        file.write_text("\n".join([*entries, *kept]) + "\n")
    # The folders in which Python and libraries lie may be closed for all but root.
    for place in {sys.base_prefix, sys.prefix, *map(str, _libraries())}:
        for parent in (Path(place).resolve(), *Path(place).resolve().parents):
            (folder / str(parent)[1:]).mkdir(parents=True, exist_ok=True)
            (folder / str(parent)[1:]).chmod(0o755)
    (folder / "etc").chmod(0o755)
    folder.chmod(0o755)
    return folder


def pip_layer(folder: Path) -> Path:
    """Make /opt/storpool-ovirt as `pip install` does: a virtual environment with our files and
    programs; libraries are those that the tests have."""
    home = folder / PREFIX[1:]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", home], check=True)
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = home / "lib" / minor / "site-packages"
    for package in _packages():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, site / package.name, ignore=ignored)
        compileall.compile_dir(site / package.name, quiet=2, stripdir=str(folder), prependdir="/")
    for each in (found for folder in _libraries() for found in folder.iterdir()):
        # Ours may be there too, and would answer where the copy above is broken.
        if not (each.name in NOT_LIBRARIES or each.suffix == ".pth" or (site / each.name).exists()):
            (site / each.name).symlink_to(each)
    for entry in importlib.metadata.distribution("storpool-ovirt").entry_points:
        if entry.group == "console_scripts":
            module, _, function = entry.value.partition(":")
            program = home / "bin" / entry.name
            program.write_text(
                f"#!{PREFIX}/bin/python3\nimport sys\n\nfrom {module} import {function}\n\n"
                f"sys.exit({function}())\n"
            )
            program.chmod(0o755)
    for each in (folder, folder / "opt", home, home / "bin", site):
        each.chmod(0o755)
    return folder


def _packages() -> list[Path]:
    ours = Path(storpool_ovirt.__file__).parent
    return [ours, ours.parent / "cinder_driver"]


def _libraries() -> list[Path]:
    return [Path(sysconfig.get_path("purelib"))]


@pytest.fixture(scope="session")
def machine_layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What lies over this machine's files in a test machine: ours as pip has it, and the rest."""
    if os.geteuid() != 0:
        pytest.skip("only root can have a copy of this machine")
    folder = tmp_path_factory.mktemp("layers")
    folder.chmod(0o755)
    return pip_layer(folder / "pip"), made_layer(folder / "machine")


@pytest.fixture
def machine(machine_layers: tuple[Path, Path], tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own for one test, with our programs as pip puts them."""
    made = Machine(tmp_path / "machine", *machine_layers)
    yield made
    made.end()


@pytest.fixture
def bare_machine(machine_layers: tuple[Path, Path], tmp_path: Path) -> Iterator[Machine]:
    """The same without anything of ours."""
    made = Machine(tmp_path / "machine", machine_layers[1])
    yield made
    made.end()
