"""What is installed on a host: Vdsm's files of a release, ours beside them, and its daemons.

A host is a folder here. Vdsm's files are stand-ins (players/), at the paths and with the content
that matter to ours; the daemons are one real process, the parent of each helper, with the
environment that Vdsm gives them (oVirt/vdsm v4.50.7, init/daemonAdapter: the folder of the daemon
comes first in PYTHONPATH).
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

from ovirt_demo import children, hooks, releases, vdsm, vdsm_rows

PLAYERS = Path(__file__).with_name("players")
LIBEXEC = "/usr/libexec/vdsm"
SITE = "/usr/lib/python3/site-packages"  # of the host's Python: Vdsm's package, a real os-brick
VDSM_CONF = "/etc/vdsm/vdsm.conf"
PIECE = f"{LIBEXEC}/os_brick"
PACKAGE, PIECE_IN_IT = "storpool_ovirt", "host/os_brick_piece/os_brick"
HELPER = "managedvolume-helper-storpool"
BOOT_HOOK, VM_HOOK = "storpool-boot-hook", "storpool-vm-hook"
BEFORE_VDSM_START = "before_vdsm_start"
VM_POINTS = (
    hooks.BEFORE_VM_START,
    hooks.BEFORE_DISK_HOTPLUG,
    hooks.BEFORE_VM_MIGRATE_SOURCE,
)
DAEMONS = {"LC_ALL": "C.UTF8"}  # what daemonAdapter sets, beside PYTHONPATH
STRICT = "[devel]\napi_strict_mode = true\n"


class Daemon:
    """vdsmd and supervdsmd: a process that starts helpers, until `stop`."""

    def __init__(self, program: Path, environment: dict[str, str]) -> None:
        self._name = f"storpool-ovirt-{secrets.token_hex(8)}"
        self._process = subprocess.Popen(
            [sys.executable, program, self._name],
            cwd="/",
            env=environment,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None  # noqa: S101  it was started with a pipe
        said = self._process.stdout.readline()
        self.imports_os_brick: bool = bool(said) and json.loads(said)["os_brick"]

    def run(
        self, argv: Sequence[str], sent: bytes | None, limit_seconds: float
    ) -> tuple[int | None, bytes, bytes]:
        """Have it run a program; return its exit status (None: killed after the limit) and its
        output."""
        text = None if sent is None else sent.decode("latin-1")
        asked = {"argv": [*map(str, argv)], "stdin": text, "seconds": limit_seconds}
        with socket.socket(socket.AF_UNIX) as line:
            line.connect("\0" + self._name)
            line.sendall(json.dumps(asked).encode())
            line.shutdown(socket.SHUT_WR)
            with line.makefile("rb") as answered:
                answer = json.loads(answered.read())
        texts = (answer[name].encode("latin-1") for name in ("stdout", "stderr"))
        return (answer["returncode"], *texts)

    def stop(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        children.end(self._process, signal.SIGTERM)


@dataclass
class HostSoftware:
    """The software of a host that is a folder.

    `release` is the Vdsm whose files are there; which one runs is `host.release`, from the last
    `restart` on. `said` is what the boot hook wrote at the starts of vdsmd, `observe` is called
    with each of its runs.
    """

    host: vdsm.Host
    release: releases.Vdsm
    said: list[str] = field(default_factory=list)
    observe: Callable[[hooks.HookRun], None] | None = None

    def install(self) -> None:
        """Put Vdsm's files of this release there; who runs goes on with what it has loaded."""
        libexec = self.host.local(LIBEXEC)
        package = self.host.local(SITE) / "vdsm"
        for folder in (libexec, package / "storage", self.host.local("/var/log/vdsm")):
            folder.mkdir(parents=True, exist_ok=True)
        for part in (package, package / "storage"):
            (part / "__init__.py").touch()
        wrapped, types = self.release.dispatches, self.release.driver_types
        _put(libexec / "supervdsmd", "supervdsmd.py")
        _put(libexec / "managedvolume-helper", "managedvolume_helper.py", WRAPPED=wrapped)
        _put(package / "storage" / "managedvolume.py", "managedvolume.py", SUPPORTED_DRIVERS=types)

    def integrate(self) -> None:
        """Put our links there, as our package does."""
        for link, target in self._links().items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def separate(self) -> None:
        """Take away what our package has put there, its logs and its state with it."""
        for link in self._links():
            link.unlink(missing_ok=True)
        shutil.rmtree(self.host.local("/run/storpool-ovirt"), ignore_errors=True)
        for log in self.host.local("/var/log/vdsm").glob("storpool-*.log"):
            log.unlink()

    def have_os_brick(self, *, there: bool) -> None:
        """Put the distribution's os-brick there, as on EL9, or have none, as on EL10."""
        package = self.host.local(SITE) / "os_brick"
        shutil.rmtree(package, ignore_errors=True)
        if there:
            (package / "initiator").mkdir(parents=True)
            for folder in (package, package / "initiator"):
                (folder / "__init__.py").touch()
            _put(package / "initiator" / "connector.py", "os_brick_connector.py")

    def upgrade(self, release: releases.Vdsm) -> None:
        """Put the files of another release there, older or newer, and restart Vdsm as its package
        does at the end of the transaction (oVirt/vdsm v4.50.7, vdsm.spec.in, posttrans)."""
        self.release = release
        self.install()
        self.restart()

    def restart(self) -> None:
        """Start vdsmd and supervdsmd anew: the hooks of that point first, then both with the files
        that are there now. VMs run on."""
        self.stop()
        self.said += self._before_vdsm_start()
        self.host.release, self.host.is_strict = self.release, self._is_strict()
        self.host.environment.update(DAEMONS, PYTHONPATH=self._python_path())
        self.host.daemon = Daemon(self.host.local(LIBEXEC) / "supervdsmd", self.host.environment)

    def stop(self) -> None:
        """Stop both."""
        if isinstance(self.host.daemon, Daemon):
            self.host.daemon.stop()
        self.host.daemon = None

    def reboot(self) -> None:
        """Lose what a reboot loses, and start again."""
        self.stop()
        self.host.reboot()
        self.restart()

    def be_strict(self, *, strict: bool) -> None:
        """Have Vdsm refuse what its schema does not know, or only log it, from its next start on
        (devel.api_strict_mode, lib/vdsm/common/config.py.in)."""
        file = self.host.local(VDSM_CONF)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(STRICT if strict else "", encoding="utf-8")

    def _is_strict(self) -> bool:
        file = self.host.local(VDSM_CONF)
        return file.exists() and file.read_text(encoding="utf-8") == STRICT

    def left(self) -> list[str]:
        """List what of ours is left on the host: links, rows, rules, run links, logs, state."""
        root = self.host.root
        found = [path for path in self._links() if path.is_symlink()]
        folders = (vdsm_rows.RULES_FOLDER, vdsm_rows.RUN_FOLDER, "/run/storpool-ovirt")
        for folder in folders:
            found += self.host.local(folder).glob("*")
        found += self.host.local("/var/log/vdsm").glob("storpool-*")
        rows = [f"row {vol_id}" for vol_id in self.host.rows]
        return sorted(str(path.relative_to(root)) for path in found) + rows

    def _python_path(self) -> str:
        return f"{self.host.local(LIBEXEC)}:{self.host.local(SITE)}"

    def _links(self) -> dict[Path, Path]:
        helper = children.find(HELPER)
        links = {PIECE: _piece(), f"{LIBEXEC}/{HELPER}": helper}
        for point in VM_POINTS:
            links[f"{hooks.FOLDER}/{point}/50_storpool"] = children.find(VM_HOOK)
        boot = f"{hooks.FOLDER}/{BEFORE_VDSM_START}/50_storpool"
        links[boot] = children.find(BOOT_HOOK)
        return {self.host.local(path): target for path, target in links.items()}

    def _before_vdsm_start(self) -> list[str]:
        """Run that point's hooks: vdsmd_init_common.sh, which has no PYTHONPATH yet."""
        self.host.environment.pop("PYTHONPATH", None)
        runner = hooks.Hooks(self.host, observe=self.observe)
        runner.run(BEFORE_VDSM_START)
        return [run.stderr.strip() for run in runner.runs if run.stderr.strip()]


def _put(place: Path, player: str, **values: Any) -> None:
    """Put a stand-in there as a package manager does, beside it and then in its place, with these
    values in it."""
    text = (PLAYERS / player).read_text(encoding="utf-8")
    for name, value in values.items():
        text, times = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", text)
        assert times == 1, f"{player} has no {name}"  # noqa: S101  both are ours
    new = place.with_name(place.name + ";new")
    new.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    new.chmod(0o755)
    new.replace(place)


def _piece() -> Path:
    """Return where our package `os_brick` is installed."""
    found = util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise children.ProgramMissing(PACKAGE, Path(sys.prefix))
    return Path(next(iter(found.submodule_search_locations))) / PIECE_IN_IT
